import dataclasses

import numpy as np
import pandas as pd
import pytest

from benchmarks import data as find
from benchmarks.data import (
    check_disjoint,
    draw_faces,
    find_all_faces,
    identify_clips,
    read_clips,
    read_data,
    recognise_data,
)
from benchmarks.suite import DataSettings
from extract.datasets.synthetic import SyntheticSettings
from extract.errors import RequestError
from extract.manifest import Manifest, skip_table
from extract.pipeline import NoFaces
from extract.store import Store


def read_all(suite, *, machine):
    clips = identify_clips(read_clips(suite, machine=machine), suite, machine=machine)
    return clips.own, clips.external


def manifest(*lines):
    clips = pd.DataFrame(lines, columns=["identity", "source_identity", "content"])
    return Manifest(clips, skip_table({}))


@pytest.fixture
def table(tmp_path):
    """Write files of the given bytes and a manifest of (name, label, identity); returns its path."""

    def write(*lines, name="clips.csv"):
        for file, _, _, content in lines:
            (tmp_path / file).write_bytes(content)
        rows = pd.DataFrame([line[:3] for line in lines], columns=["path", "label", "identity"])
        rows.to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return write


def both_labels(count):
    """Lines of `count` persons with a real and a fake file each; the files are no images."""
    return [
        (f"{kind}{p}.png", kind, f"p{p}", f"{kind} {p}".encode())
        for p in range(count)
        for kind in ("real", "fake")
    ]


# -- which data set it is ------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    """Make files of a few bytes below a folder; returns the folder."""

    def make(name, *files):
        for file in files:
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_bytes(f"{name}/{file}".encode())
        return tmp_path / name

    return make


CELEBDF = ["Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4"]
CROPS = ["train/real/a_000000.png", "train/fake/b_000000.png"]
FOLDER = ["real/a.png", "fake/b.png"]


def with_folders(suite, *folders, **options):
    return suite.model_copy(update={"data": DataSettings(folder=list(folders), **options)})


def test_a_layout_is_recognised_and_said(tree, tiny, machine, said):
    folder = tree("videos", *CELEBDF)
    suite = recognise_data(with_folders(tiny(), folder), machine=machine)
    assert suite.data.dataset == "celebdf"
    assert said == [f"Data set: Celeb-DF, recognised in {folder}."]


def test_a_data_set_that_is_named_is_taken_without_a_word(tree, tiny, machine, said):
    suite = with_folders(tiny(), tree("videos", *CELEBDF), dataset="celebdf")
    assert recognise_data(suite, machine=machine) == suite
    assert said == []


def test_a_folder_that_looks_like_several_asks_for_the_option(tree, tiny, machine):
    folder = tree("videos", *CELEBDF, *FOLDER)
    with pytest.raises(RequestError, match=r"Pass --dataset celebdf or --dataset folder"):
        recognise_data(with_folders(tiny(), folder), machine=machine)


def test_a_folder_that_looks_like_none_is_refused(tree, tiny, machine):
    with pytest.raises(RequestError, match=r"Expected a known layout in .*notes; got none of"):
        recognise_data(with_folders(tiny(), tree("notes", "a.txt")), machine=machine)


def test_the_options_take_part_in_recognising(tree, tiny, machine):
    folder = tree("both", "real/a.png", "fake/b.png", "Celeb-real/id0_0000.mp4")
    suite = recognise_data(with_folders(tiny(), folder, clip="(.*)"), machine=machine)
    assert suite.data.dataset == "folder"


def test_face_crops_are_taken_as_they_are(tree, tiny, machine, said):
    suite = tiny()
    suite = suite.model_copy(update={"faces": dataclasses.replace(suite.faces, detector="mtcnn")})
    found = recognise_data(with_folders(suite, tree("faces", *CROPS)), machine=machine)
    assert (found.data.dataset, found.faces.detector) == ("crops", "none")
    assert said[1:] == ['These are face crops: taken as they are (detector = "none").']
    assert dataclasses.replace(found.faces, detector="mtcnn") == suite.faces


def test_videos_keep_the_face_detector(tree, tiny, machine):
    suite = tiny()
    suite = suite.model_copy(update={"faces": dataclasses.replace(suite.faces, detector="mtcnn")})
    found = recognise_data(with_folders(suite, tree("videos", *CELEBDF)), machine=machine)
    assert found.faces == suite.faces


def test_several_folders_are_combined(tree, tiny, machine, said):
    one, two = tree("one", *CELEBDF), tree("two", *FOLDER)
    suite = recognise_data(with_folders(tiny(), one, two), machine=machine)
    assert suite.data.dataset == "combined"
    assert said == [f"Data set: Combined data sets, recognised in {one}, {two}."]
    clips = read_data(suite.data, machine=machine).clips
    assert set(clips["dataset"]) == {"celebdf", "two"}
    assert len(clips) == 4


def test_several_folders_of_crops_are_crops(tree, tiny, machine):
    suite = tiny()
    suite = suite.model_copy(update={"faces": dataclasses.replace(suite.faces, detector="mtcnn")})
    found = recognise_data(with_folders(suite, tree("one", *CROPS), tree("two", *CROPS)), machine=machine)
    assert found.faces.detector == "none"


@pytest.mark.parametrize("data", [None, DataSettings(synthetic=SyntheticSettings())])
def test_without_a_folder_there_is_nothing_to_recognise(data, tiny, machine, said):
    suite = tiny().model_copy(update={"data": data})
    assert recognise_data(suite, machine=machine) is suite
    assert said == []


def test_notes_of_a_data_set_are_said(tree, machine, said):
    read_data(DataSettings(folder=[tree("videos", *CELEBDF)], dataset="celebdf"), machine=machine)
    assert said[0].startswith("2 identities in Celeb-real and Celeb-synthesis")
    assert said[1].startswith("There is no List_of_testing_videos.txt")
    assert len(said) == 2


# -- what is said about identities ---------------------------------------------------------------------------

HINT = "(a manifest or --identity REGEX can name them): each counts as an identity of its own"


def test_a_folder_without_identity_says_so_in_one_line(training, machine, said):
    read = read_data(DataSettings(folder=[training.parent]), machine=machine)
    assert said[0] == "Passed over: 1 file that no rule of the data set explains."  # the table beside them
    assert len(said) == 2
    assert HINT in said[1]
    assert said[1].endswith("people who appear twice can be on both sides of a split.")
    assert "\n" not in said[1]
    assert set(read.clips["identity"]) == {""}


def test_a_folder_with_identity_says_nothing(training, machine, said):
    settings = DataSettings(folder=[training.parent], identity=r"(p\d|copy|broken)", clip=r"(\w+?)(_\d)?\.")
    read = read_data(settings, machine=machine)
    assert len(said) == 1
    assert said[0].startswith("Passed over")
    assert set(read.clips["identity"]) == {*(f"p{number}" for number in range(9)), "copy", "broken"}
    assert read.clips["clip"].nunique() == 9 * 2 + 2


def test_a_manifest_without_identities_says_so_in_one_line(table, machine, said):
    path = table(*((file, label, "", content) for file, label, _, content in both_labels(3)))
    read_data(DataSettings(manifest=path), machine=machine)
    assert len(said) == 1
    assert said[0].startswith(f"6 of 6 clips name no identity in the data {HINT}")


def test_a_manifest_with_identities_says_nothing(table, machine, said):
    read_data(DataSettings(manifest=table(*both_labels(3))), machine=machine)
    assert said == []


def test_synthetic_clips_are_generated_once(machine, monkeypatch):
    settings = SyntheticSettings(identities=2, real_clips=1, fake_clips=0, frames=1, size=64)
    first = read_data(DataSettings(synthetic=settings), machine=machine)
    monkeypatch.setattr("extract.datasets.synthetic._make_clip", None)  # would fail if it were called
    again = read_data(DataSettings(synthetic=settings), machine=machine)
    assert len(first.clips) == 2
    pd.testing.assert_frame_equal(first.clips, again.clips)
    with pytest.raises(TypeError):
        read_data(DataSettings(synthetic=dataclasses.replace(settings, seed=1)), machine=machine)


# -- external data -------------------------------------------------------------------------------------------


def test_other_people_and_files_pass():
    check_disjoint(manifest(("ann", "bob", "1"), ("", "", "2")), manifest(("cid", "", "3"), ("", "dan", "4")))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("ann", "", "1"), ("ann", "", "2")),
        (("ann", "", "1"), ("bob", "ann", "2")),
        (("bob", "ann", "1"), ("ann", "", "2")),
        (("bob", "ann", "1"), ("cid", "ann", "2")),
    ],
)
def test_a_shared_person_is_refused_whoever_shows_the_face(ours, theirs):
    with pytest.raises(RequestError, match="it shares 1 identities with the training data, first ann"):
        check_disjoint(manifest(ours), manifest(theirs))


def test_shared_bytes_are_refused():
    ours, theirs = manifest(("ann", "", "1"), ("ann", "", "2")), manifest(("bob", "", "2"), ("bob", "", "1"))
    with pytest.raises(RequestError, match="it shares 2 files with the training data, first 1"):
        check_disjoint(ours, theirs)


@pytest.mark.parametrize("line", [("new.png", "real", "p0", b"new"), ("new.png", "real", "q0", b"real 0")])
def test_external_data_of_the_same_people_or_files_is_refused(line, table, tiny, machine):
    external = table(line, ("other.png", "fake", "q1", b"other"), name="external.csv")
    suite = tiny(data=table(*both_labels(3)), external=external)
    with pytest.raises(RequestError, match="Expected an external manifest of other people and files"):
        read_all(suite, machine=machine)


def test_both_manifests_come_back_with_contents(table, tiny, machine):
    external = table(("r.png", "real", "q0", b"r"), ("f.png", "fake", "q0", b"f"), name="external.csv")
    ours, theirs = read_all(tiny(data=table(*both_labels(3)), external=external), machine=machine)
    assert len(ours.clips) == 6
    assert len(theirs.clips) == 2
    assert set(ours.clips["content"]).isdisjoint(theirs.clips["content"])
    assert ours.clips["content"].str.fullmatch("[0-9a-f]{64}").all()


def test_without_external_data_there_is_none(table, tiny, machine):
    assert read_all(tiny(data=table(*both_labels(3))), machine=machine)[1] is None


# -- what cannot work is refused before it starts ------------------------------------------------------------


def test_a_suite_without_data_is_refused(tiny, machine):
    with pytest.raises(
        RequestError, match=r"Expected data; the suite names none\. Pass --data DIR or --manifest"
    ):
        read_all(tiny().model_copy(update={"data": None}), machine=machine)


@pytest.mark.parametrize(("kept", "word"), [("real", "real"), ("fake", "fake")])
def test_one_class_only_is_refused(kept, word, table, tiny, machine):
    lines = [line for line in both_labels(4) if line[1] == kept]
    with pytest.raises(RequestError, match=f"real and fake clips in manifest; got {word} clips only"):
        read_all(tiny(data=table(*lines)), machine=machine)


def test_an_external_manifest_of_one_class_is_refused(table, tiny, machine):
    external = table(("r.png", "real", "q0", b"r"), name="external.csv")
    with pytest.raises(RequestError, match="in the external manifest; got real clips only"):
        read_all(tiny(data=table(*both_labels(3)), external=external), machine=machine)


def test_one_class_left_without_empty_files_is_refused(table, tiny, machine):
    lines = [(file, label, who, b"" if label == "fake" else b) for file, label, who, b in both_labels(3)]
    with pytest.raises(RequestError, match=r"without empty and repeated files.*; got real clips only"):
        read_all(tiny(data=table(*lines)), machine=machine)


def test_the_same_bytes_under_two_labels_are_refused(table, tiny, machine):
    lines = [*both_labels(3), ("again.png", "fake", "p0", b"real 0")]
    with pytest.raises(
        RequestError, match=r"one label for the same bytes; got both for .*real0.* and .*again"
    ):
        read_all(tiny(data=table(*lines)), machine=machine)


def test_impossible_folds_are_refused_before_a_face_is_searched(table, tiny, machine):
    # The files are no images: had anything been decoded, the message would be about that.
    with pytest.raises(
        RequestError, match=r"at least 5 groups of identities with real clips for 5 folds .* got 4"
    ):
        read_all(tiny(data=table(*both_labels(4)), folds=5), machine=machine)
    assert not (machine.store.root / "faces").exists()


def test_a_few_videos_are_not_too_few_faces(table, tiny, machine):
    lines = [
        (file.replace("png", "mp4"), label, who, content) for file, label, who, content in both_labels(2)
    ]
    own, _ = read_all(tiny(data=table(*lines), protocol="frame", folds=5), machine=machine)
    assert len(own.clips) == 4


def test_a_missing_manifest_is_refused(tiny, machine, tmp_path):
    with pytest.raises(RequestError, match=r"no\.csv, which does not exist"):
        read_all(tiny(data=tmp_path / "no.csv"), machine=machine)


# -- a data set's own split ----------------------------------------------------------------------------------


@pytest.fixture
def split_table(table):
    """Write persons with a real and a fake file each: (split, number of persons) -> a manifest's path."""

    def write(**counts):
        splits = [split for split, count in counts.items() for _ in range(2 * count)]
        lines = both_labels(sum(counts.values()))
        path = table(*lines)
        pd.read_csv(path).assign(split=splits).to_csv(path, index=False)
        return path

    return write


def test_too_few_people_to_choose_on_are_refused_before_a_face_is_searched(split_table, tiny, machine):
    suite = tiny(data=split_table(train=2, test=3), protocol="official", folds=3)
    with pytest.raises(RequestError, match=r"at least 3 groups of identities with real clips .*; got 2"):
        read_all(suite, machine=machine)
    assert not machine.store.root.exists()


def test_a_validation_part_is_chosen_on_however_few_train(split_table, tiny, machine):
    suite = tiny(data=split_table(train=1, val=1, test=1), protocol="official", folds=3)
    assert len(read_all(suite, machine=machine)[0].clips) == 6


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_with_one_class_is_refused_before_a_face_is_searched(part, split_table, tiny, machine):
    path = split_table(train=3, val=3, test=3)
    clips = pd.read_csv(path)
    clips[(clips["split"] != part) | (clips["label"] == "fake")].to_csv(path, index=False)
    with pytest.raises(RequestError, match=r"has 0 real and 3 fake rows under protocol official"):
        read_all(tiny(data=path, protocol="official"), machine=machine)
    assert not machine.store.root.exists()


def test_data_without_a_split_is_refused_by_official(table, tiny, machine):
    with pytest.raises(RequestError, match="got no training and no test clip"):
        read_all(tiny(data=table(*both_labels(3)), protocol="official"), machine=machine)


# -- fakes whose source is not known -------------------------------------------------------------------------


@pytest.fixture
def some_sources(table):
    """Write a manifest of six persons: fakes of the even ones were made from the next person, the others of nobody."""
    path = table(*both_labels(6))
    clips = pd.read_csv(path)
    known = (clips["label"] == "fake") & (clips["identity"].str[1].astype(int) % 2 == 0)
    number = clips["identity"].str[1].astype(int) + 1
    clips.assign(source_identity=("p" + number.astype(str)).where(known, "")).to_csv(path, index=False)
    return path


def test_strict_refuses_fakes_of_unknown_source(some_sources, tiny, machine):
    with pytest.raises(RequestError, match=r'3 fake clips name none.*unknown_sources = "leave_out"'):
        read_all(tiny(data=some_sources, protocol="strict"), machine=machine)


def test_strict_leaves_them_out_on_request_with_the_reason(some_sources, tiny, machine):
    suite = tiny(data=some_sources, protocol="strict", top='unknown_sources = "leave_out"')
    own, _ = read_all(suite, machine=machine)
    assert own.clips["label"].value_counts().to_dict() == {0: 6, 1: 3}
    left = own.skipped[own.skipped["reason"] == "its source identity is not known (protocol strict)"]
    assert [path.rsplit("/", 1)[1] for path in left["path"]] == ["fake1.png", "fake3.png", "fake5.png"]


def test_other_protocols_keep_them(some_sources, tiny, machine):
    suite = tiny(data=some_sources, protocol="target", top='unknown_sources = "leave_out"')
    assert len(read_all(suite, machine=machine)[0].clips) == 12


def test_nothing_left_after_leaving_out_is_refused(table, tiny, machine):
    suite = tiny(data=table(*both_labels(3)), protocol="strict", top='unknown_sources = "leave_out"')
    with pytest.raises(RequestError, match="real and fake clips in manifest; got real clips only"):
        read_all(suite, machine=machine)


# -- drawing faces -------------------------------------------------------------------------------------------


def face_rows(**counts):
    """Rows of real and of fake faces by split, two of each clip."""
    lines = [
        (f"{split}-{label}-{i // 2}", i % 2, label, split)
        for split, both in counts.items()
        for label, count in enumerate(both)
        for i in range(count)
    ]
    return pd.DataFrame(lines, columns=["content", "face", "label", "split"])


def drawn(rows, suite):
    return {(row.content, row.face) for row in draw_faces(rows, suite).itertuples()}


@pytest.fixture
def drawing(tiny):
    """Make the tiny suite with numbers to draw, by split."""
    return lambda seed=0, **draw: tiny().model_copy(update={"draw": draw, "seed": seed})


ROWS = face_rows(train=(30, 20), val=(4, 4), test=(12, 40))


def test_without_numbers_every_face_is_kept(tiny):
    assert draw_faces(ROWS, tiny()) is ROWS


def test_as_many_real_as_fake_faces_are_drawn_from_each_split_that_is_named(drawing):
    rows = draw_faces(ROWS, drawing(train=8, test=5))
    assert rows.groupby(["split", "label"]).size().to_dict() == {
        **{("train", 0): 8, ("train", 1): 8},
        **{("test", 0): 5, ("test", 1): 5},
    }
    assert not rows.duplicated().any()
    assert rows.index.tolist() == list(range(26))


def test_the_drawn_faces_stay_in_their_order(drawing):
    rows = draw_faces(ROWS, drawing(train=8, test=5))
    kept = ROWS.merge(rows, on=["content", "face", "label", "split"])
    pd.testing.assert_frame_equal(rows, kept)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_rows_does_not_change_the_draw(drawing, seed):
    order = np.random.default_rng(seed).permutation(len(ROWS))
    shuffled = ROWS.iloc[order].reset_index(drop=True)
    assert drawn(shuffled, drawing(train=8, test=5)) == drawn(ROWS, drawing(train=8, test=5))


def test_the_order_of_the_splits_does_not_change_the_draw(drawing):
    # The key of a results folder does not depend on it either.
    assert drawn(ROWS, drawing(train=8, test=5)) == drawn(ROWS, drawing(test=5, train=8))


def test_another_seed_draws_other_faces(drawing):
    assert drawn(ROWS, drawing(train=8)) != drawn(ROWS, drawing(seed=1, train=8))


def test_all_faces_can_be_drawn(drawing):
    assert len(draw_faces(ROWS, drawing(train=20, val=4))) == 48


@pytest.mark.parametrize(
    ("split", "count", "message"),
    [
        ("train", 21, r"at least 21 fake faces with split 'train' to draw from; got 20"),
        ("test", 13, r"at least 13 real faces with split 'test' to draw from; got 12"),
        ("trian", 1, r"at least 1 real faces with split 'trian' to draw from; got 0"),
    ],
)
def test_too_few_faces_are_refused(split, count, message, drawing):
    with pytest.raises(RequestError, match=message):
        draw_faces(ROWS, drawing(**{split: count}))


@pytest.mark.parametrize("draw", ["{ train = 1, tset = 1 }", "{ train = 1 }"], ids=["misspelt", "no test"])
def test_a_draw_that_cannot_work_is_refused_before_a_face_is_searched(draw, split_table, tiny, machine):
    suite = tiny(data=split_table(train=3, test=3), protocol="official", top=f"draw = {draw}")
    with pytest.raises(RequestError, match=r"tset|test"):
        read_all(suite, machine=machine)
    assert not machine.store.root.exists()


# -- perturbed clips -----------------------------------------------------------------------------------------


def found(suite, machine):
    clips = identify_clips(read_clips(suite, machine=machine), suite, machine=machine)
    return find_all_faces(clips, suite, machine=machine)


def test_stills_are_not_recompressed_as_videos(tiny, machine, said):
    faces = found(tiny(top='perturb = ["h264-40", "noise-20"]'), machine)
    assert list(faces.perturbed) == ["noise-20"]
    assert set(faces.files["data"]) == {"own", "noise-20"}
    assert "Perturbation h264-40 applies to none of these clips." in said


def test_every_clip_that_can_be_perturbed_is_counted_whether_it_showed_a_face_or_not(tiny, machine):
    files = found(tiny(top='perturb = ["noise-20"]'), machine).files
    own, noisy = (files[files["data"] == data].drop(columns="data") for data in ("own", "noise-20"))
    pd.testing.assert_frame_equal(noisy.reset_index(drop=True), own.reset_index(drop=True))
    assert (noisy["faces"] == 0).sum() == 1  # broken.png


def test_a_perturbation_that_no_face_survives_is_said_and_counted(tiny, machine, said, monkeypatch):
    real = find.find_faces

    def find_faces(manifest, settings, **options):
        if settings.perturb:
            raise NoFaces("Expected faces in the clips; got none.")
        return real(manifest, settings, **options)

    monkeypatch.setattr(find, "find_faces", find_faces)
    faces = found(tiny(top='perturb = ["noise-20"]'), machine)
    assert len(faces.perturbed["noise-20"]) == 0
    assert (faces.files.query("data == 'noise-20'")["faces"] == 0).all()
    assert any("noise-20" in line and "got none" in line for line in said)


def test_files_say_how_many_people_they_show(tiny, machine, monkeypatch):
    known = Store.face_index

    def crowded(store, key, content):
        index = known(store, key, content)
        return index and {**index, "people": 3 if index["faces"] and content < "8" else index["people"]}

    monkeypatch.setattr(Store, "face_index", crowded)
    files = found(tiny(top='perturb = ["noise-20"]'), machine).files
    wanted = (files["faces"] > 0).astype(int).where((files["content"] >= "8") | (files["faces"] == 0), 3)
    assert set(wanted) == {0, 1, 3}
    assert files["people"].tolist() == wanted.tolist()
