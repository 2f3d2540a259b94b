import pickle

import numpy as np
import pytest

from classify.inputs import Inputs, open_inputs, rows_of, save_inputs
from classify.protocols import Fold


@pytest.fixture
def table(noisy, thirds):
    return (*noisy(), thirds(66))


def same(one, other):
    assert one.X.tobytes() == other.X.tobytes()
    assert one.y.tolist() == other.y.tolist()
    assert [(f.train.tolist(), f.test.tolist()) for f in one.folds] == [
        (f.train.tolist(), f.test.tolist()) for f in other.folds
    ]
    assert one.key == other.key


def test_saved_inputs_travel_as_the_name_of_their_folder(table, tmp_path):
    inputs = save_inputs(*table, parent=tmp_path)
    sent = pickle.dumps(inputs)
    assert len(sent) < 400
    open_inputs.cache_clear()
    arrived = pickle.loads(sent)
    same(arrived, inputs)
    assert isinstance(arrived.X, np.memmap)
    assert pickle.loads(sent) is arrived  # opened once a process


def test_what_is_saved_again_is_opened_again(table, tmp_path):
    X, y, folds = table
    file = tmp_path / "features.npy"
    opened = []
    for rows in (X, X + 1):
        np.save(file.with_suffix(".new.npy"), rows)
        file.with_suffix(".new.npy").rename(file)
        mapped = np.load(file, mmap_mode="r")
        opened.append(pickle.loads(pickle.dumps(save_inputs(mapped, y, folds, parent=tmp_path))))
    first, second = opened
    assert second.folder == first.folder
    assert second.key != first.key
    assert second.X.tolist() == (X + 1).tolist()


def test_others_travel_as_they_are(table):
    inputs = Inputs(*table)
    same(pickle.loads(pickle.dumps(inputs)), inputs)
    assert Inputs(*table).key != inputs.key


def test_features_that_are_mapped_stay_where_they_are(table, tmp_path):
    X, y, folds = table
    np.save(tmp_path / "features.npy", X)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    inputs = save_inputs(mapped, y, folds, parent=tmp_path / "search")
    assert not (inputs.folder / "X.npy").exists()
    open_inputs.cache_clear()
    arrived = pickle.loads(pickle.dumps(inputs))
    assert str(arrived.X.filename) == str(tmp_path / "features.npy")
    same(arrived, inputs)


@pytest.mark.parametrize(
    "part", [lambda X: X[10:], lambda X: X[:, :2], lambda X: X[::2], lambda X: X[::-1], lambda X: X[:, ::-1]]
)
def test_a_part_of_mapped_features_is_saved(table, tmp_path, part):
    X, y, folds = table
    np.save(tmp_path / "features.npy", X)
    some = part(np.load(tmp_path / "features.npy", mmap_mode="r"))
    inputs = save_inputs(some, y, folds, parent=tmp_path / "search")
    open_inputs.cache_clear()
    assert pickle.loads(pickle.dumps(inputs)).X.tolist() == some.tolist()


def test_mapped_features_that_were_changed_in_memory_are_saved(table, tmp_path):
    X, y, folds = table
    np.save(tmp_path / "features.npy", X)
    changed = np.load(tmp_path / "features.npy", mmap_mode="c")
    changed[0] = 7
    inputs = save_inputs(changed, y, folds, parent=tmp_path / "search")
    assert pickle.loads(pickle.dumps(inputs)).X.tolist() == changed.tolist()


def test_mapped_features_whose_file_is_gone_are_saved(table, tmp_path):
    X, y, folds = table
    np.save(tmp_path / "features.npy", X)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    (tmp_path / "features.npy").unlink()
    inputs = save_inputs(mapped, y, folds, parent=tmp_path / "search")
    assert pickle.loads(pickle.dumps(inputs)).X.tolist() == X.tolist()


def test_the_folder_is_that_of_features_labels_and_folds(table, tmp_path):
    X, y, folds = table
    first = save_inputs(X, y, folds, parent=tmp_path)
    assert save_inputs(X, y, folds, parent=tmp_path).folder == first.folder
    others = [
        (X + 1, y, folds),
        (X, 1 - y, folds),
        (X, y, folds[:2]),
        (X, y, folds[::-1]),
        (X, y, [Fold(f.train[1:], f.test) for f in folds]),
    ]
    assert len({save_inputs(*other, parent=tmp_path).folder for other in others} | {first.folder}) == 6


def test_a_folder_that_is_not_seen_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"Expected a search in {tmp_path}/none; there is none"):
        open_inputs(tmp_path / "none", "key")


def test_rows_of_folds_are_those_that_train_or_are_tested():
    folds = [Fold(np.array([1, 3]), np.array([7])), Fold(np.array([3, 7]), np.array([1]))]
    assert rows_of(folds).tolist() == [1, 3, 7]
