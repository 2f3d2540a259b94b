import errno
import hashlib
import itertools
import os
import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.speed import store as speed
from extract import matrices as matrices_module
from extract import store as store_module
from extract.errors import UnreadableClip
from extract.faces import Faces
from extract.files import STALE_SECONDS, write_json
from extract.store import Store, read_png, write_png

KEY, OTHER_KEY = "mtcnn-16-abc", "none-16-def"
FEATURES = f"net-123-torch-fp32/{KEY}"
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def some_faces(seed=0, n=3, size=16):
    rng = np.random.default_rng(seed)
    return Faces(
        crops=rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8),
        frames=np.arange(n) * 10,
        boxes=rng.uniform(-5, 100, (n, 4)).astype(np.float32),
        confidences=rng.uniform(0.9, 1, n).astype(np.float32),
        landmarks=rng.uniform(0, 100, (n, 5, 2)).astype(np.float32),
        turned=np.array([0, 90, 270])[np.arange(n) % 3],
        sizes=rng.uniform(20, 100, n).astype(np.float32),
        sharpness=rng.uniform(10, 1000, n).astype(np.float32),
        outside=rng.uniform(0, 0.5, n).astype(np.float32),
        searched=n + 1,
        people=2,
        note="truncated: 4 of 9 frames can be read",
    )


def rows_of(*pairs):
    return pd.DataFrame(pairs, columns=["content", "face"])


def vector(content, face):
    """The one feature vector that a face can have."""
    return np.array([ord(content[0]), face, (7 * ord(content[0]) + face**3) % 97], np.float32)


def vectors(rows):
    return np.stack([vector(row.content, row.face) for row in rows.itertuples()])


def matrices(store):
    return sorted((store.root / "features").glob("*/*/matrix-*"))


def everything_in(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# -- hashes --------------------------------------------------------------------------------------------------


@pytest.fixture
def clip(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"first")
    return tmp_path / "clip.mp4"


def test_the_content_is_the_sha_256_of_the_bytes(store, clip):
    assert store.content(clip) == sha(b"first")


def test_the_content_does_not_depend_on_where_the_file_lies(store, clip, tmp_path):
    copy = Path(shutil.copy(clip, tmp_path / "copy.avi"))
    assert store.content(copy) == store.content(clip)


def test_the_content_is_remembered_for_path_size_and_time(store, clip):
    store.content(clip)
    before = clip.stat()
    clip.write_bytes(b"FIRST")
    os.utime(clip, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.content(clip) == sha(b"first"), "the file was hashed again though nothing told it to"


def test_the_memory_outlives_the_process(store, clip):
    store.content(clip)
    before = clip.stat()
    clip.write_bytes(b"FIRST")
    os.utime(clip, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Store(store.root).content(clip) == sha(b"first")


def test_the_content_is_renewed_when_the_size_changes(store, clip):
    store.content(clip)
    before = clip.stat()
    clip.write_bytes(b"second")
    os.utime(clip, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.content(clip) == sha(b"second")


def test_the_content_is_renewed_when_the_time_changes(store, clip):
    store.content(clip)
    before = clip.stat()
    clip.write_bytes(b"FIRST")
    os.utime(clip, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert store.content(clip) == sha(b"FIRST")


def test_a_file_that_cannot_be_read_is_an_error_about_the_clip(store, clip, monkeypatch):
    def broken(path):
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(
        UnreadableClip, match=r"cannot be read: No such file or directory \[E_CLIP_NOT_READ\]"
    ):
        store.content(clip.with_name("gone.avi"))
    monkeypatch.setattr("extract.store.hash_file", broken)
    with pytest.raises(UnreadableClip, match="E_CLIP_NOT_READ"):
        store.content(clip)
    clip.write_bytes(b"")
    with pytest.raises(UnreadableClip, match="E_CLIP_EMPTY"):
        store.content(clip)


def test_a_full_disk_is_no_error_about_the_clip(store, clip, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("extract.store.write_json", full)
    with pytest.raises(OSError, match="No space left"):
        store.content(clip)


# -- faces ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 3), (16, 16, 3), (31, 47, 3)])
def test_png_round_trip_is_lossless(tmp_path, rng, shape):
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    write_png(tmp_path / "face.png", image)
    np.testing.assert_array_equal(read_png(tmp_path / "face.png"), image)


def test_a_broken_png_says_what_to_do(tmp_path):
    (tmp_path / "0000.png").write_bytes(b"not a picture")
    with pytest.raises(OSError, match=r"0000\.png; it cannot be decoded\. Delete its folder and run again"):
        read_png(tmp_path / "0000.png")


def test_faces_round_trip(store):
    faces = some_faces()
    store.write_faces(KEY, A, faces=faces)
    index = store.face_index(KEY, A)
    assert (index["searched"], index["note"]) == (4, "truncated: 4 of 9 frames can be read")
    assert index["people"] == 2
    names = {"frame": "frames", "box": "boxes", "confidence": "confidences", "size": "sizes"}
    for name in ("frame", "box", "confidence", "landmarks", "turned", "size", "sharpness", "outside"):
        known = getattr(faces, names.get(name, name))
        np.testing.assert_array_equal(np.array([f[name] for f in index["faces"]], known.dtype), known)
    crops = [store.read_face(KEY, A, face=i) for i in range(3)]
    np.testing.assert_array_equal(np.stack(crops), faces.crops)


def test_a_clip_without_faces_is_known_as_such(store):
    store.write_faces(KEY, A, faces=some_faces(n=0))
    assert store.face_index(KEY, A)["faces"] == []


def test_a_clip_that_was_not_searched_is_unknown(store):
    store.write_faces(KEY, A, faces=some_faces())
    assert store.face_index(KEY, B) is None
    assert store.face_index(OTHER_KEY, A) is None


def test_a_writer_that_fails_in_the_middle_leaves_nothing(store, monkeypatch):
    written = []

    def write_two(path, image, **how):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write_png(path, image)

    monkeypatch.setattr(store_module, "write_png", write_two)
    with pytest.raises(KeyboardInterrupt):
        store.write_faces(KEY, A, faces=some_faces())
    assert store.face_index(KEY, A) is None
    assert everything_in(store.root) == {}


def test_a_reader_sees_nothing_until_the_writer_is_done(store, monkeypatch):
    seen = []

    def write_and_look(path, image, **how):
        write_png(path, image)
        seen.append((store.face_index(KEY, A), store.faces_folder(KEY, A).exists()))

    monkeypatch.setattr(store_module, "write_png", write_and_look)
    store.write_faces(KEY, A, faces=some_faces())
    assert seen == [(None, False)] * 3
    assert store.face_index(KEY, A) is not None


def leave_scratch(store, final, age=0.0):
    """Lay down what a writer leaves that was killed in the middle."""
    folder = store.scratch / f"{final}-{'0' * 32}"
    folder.mkdir(parents=True)
    write_png(folder / "0000.png", some_faces().crops[0])
    os.utime(folder, (time.time() - age,) * 2)
    return folder


def test_what_a_killed_writer_left_is_not_read_and_not_in_the_way(store):
    leave_scratch(store, A)
    assert store.face_index(KEY, A) is None
    store.write_faces(KEY, A, faces=some_faces())
    assert len(store.face_index(KEY, A)["faces"]) == 3


def test_sweeping_deletes_old_scratch_only(store):
    old, young = leave_scratch(store, A, age=STALE_SECONDS + 60), leave_scratch(store, B, age=60)
    store.write_faces(KEY, C, faces=some_faces())
    store.sweep()
    assert not old.exists()
    assert young.exists()
    assert store.face_index(KEY, C) is not None


def test_writers_of_the_same_clip_at_once_leave_one_whole_clip(store):
    faces, start = some_faces(n=5), threading.Barrier(6)

    def write(_):
        start.wait()
        store.write_faces(KEY, A, faces=faces)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert sorted(path.name for path in store.faces_folder(KEY, A).iterdir()) == [
        *(f"{i:04d}.png" for i in range(5)),
        "index.json",
    ]
    crops = [store.read_face(KEY, A, face=i) for i in range(5)]
    np.testing.assert_array_equal(np.stack(crops), faces.crops)
    assert list(store.scratch.iterdir()) == []


# -- features ------------------------------------------------------------------------------------------------


def test_an_empty_store_has_an_empty_index(store):
    index = store.feature_index(FEATURES)
    assert list(index.columns) == ["content", "face", "part", "row"]
    assert index.empty
    assert not store.has_features(FEATURES)


def test_features_come_back_bit_for_bit(store, rng):
    rows = rows_of((A, 0), (A, 1), (B, 0))
    X = rng.normal(size=(3, 5)).astype(np.float32)
    X[1, :3] = np.nan, np.inf, -0.0
    store.write_features(FEATURES, rows, X=X)
    got = store.gather(FEATURES, rows)
    assert got.dtype == np.float32
    assert got.tobytes() == X.tobytes()


def test_stored_features_are_known_by_their_key(store):
    store.write_features(FEATURES, rows_of((A, 0)), X=vectors(rows_of((A, 0))))
    assert store.has_features(FEATURES)
    assert not store.has_features(f"net-123-torch-bf16/{KEY}")


def test_features_of_other_keys_are_not_seen(store):
    store.write_features(FEATURES, rows_of((A, 0)), X=vectors(rows_of((A, 0))))
    assert store.feature_index(f"net-123-torch-bf16/{KEY}").empty
    assert store.feature_index(f"net-123-torch-fp32/{OTHER_KEY}").empty


def test_features_are_in_formats_that_other_tools_open(store):
    rows = rows_of((A, 0), (B, 0))
    store.write_features(FEATURES, rows, X=vectors(rows))
    (part,) = (store.root / "features" / FEATURES).iterdir()
    np.testing.assert_array_equal(np.load(part / "X.npy", allow_pickle=False), vectors(rows))
    pd.testing.assert_frame_equal(pd.read_parquet(part / "rows.parquet"), rows, check_dtype=False)


def test_a_part_that_is_being_written_is_not_seen(store, monkeypatch):
    seen = []

    def look_and_die(*arguments, **keywords):
        seen.append(store.feature_index(FEATURES))
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_parquet", look_and_die)
    with pytest.raises(KeyboardInterrupt):
        store.write_features(FEATURES, rows_of((A, 0)), X=np.zeros((1, 3), np.float32))
    assert seen[0].empty
    assert store.feature_index(FEATURES).empty
    assert everything_in(store.root) == {}


FACES = st.tuples(st.sampled_from([A, B, C]), st.integers(0, 4))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(FACES, min_size=1, max_size=6, unique=True), min_size=1, max_size=5), st.randoms())
def test_any_sequence_of_overlapping_writes_gives_each_face_its_own_vector(writes, random):
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for pairs in writes:
            store.write_features(FEATURES, rows_of(*pairs), X=vectors(rows_of(*pairs)))
        written = sorted({pair for pairs in writes for pair in pairs})
        index = store.feature_index(FEATURES)
        assert sorted(zip(index["content"], index["face"], strict=True)) == written
        random.shuffle(written)
        rows = rows_of(*written)
        np.testing.assert_array_equal(store.gather(FEATURES, rows), vectors(rows))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(FACES, min_size=1, max_size=6, unique=True), min_size=1, max_size=4))
def test_purging_after_any_sequence_of_writes_leaves_exactly_the_others(writes):
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for pairs in writes:
            store.write_features(FEATURES, rows_of(*pairs), X=vectors(rows_of(*pairs)))
        store.purge([A])
        left = sorted({pair for pairs in writes for pair in pairs if pair[0] != A})
        index = store.feature_index(FEATURES)
        assert sorted(zip(index["content"], index["face"], strict=True)) == left
        if left:
            np.testing.assert_array_equal(store.gather(FEATURES, rows_of(*left)), vectors(rows_of(*left)))


@pytest.mark.parametrize("some", [True, False], ids=["some stored", "none stored"])
def test_faces_that_are_not_stored_are_refused_and_not_made_up(store, some):
    store.write_features(FEATURES, rows_of((A, 0)), X=vectors(rows_of((A, 0))))
    wanted = rows_of((A, 0), (B, 1)) if some else rows_of((B, 1), (B, 0))
    with pytest.raises(LookupError, match=r"stored features of face 1 of b{64}; there are none\. Run again"):
        store.gather(FEATURES, wanted)
    assert matrices(store) == list(store.scratch.iterdir()) == []


# -- gathered matrices ---------------------------------------------------------------------------------------


def by_hand(store, rows, key=FEATURES):
    """Gather rows one by one."""
    index = store.feature_index(key).set_index(["content", "face"])
    places = [index.loc[(row.content, row.face)] for row in rows.itertuples()]
    return np.stack([np.load(Path(place["part"]) / "X.npy")[place["row"]] for place in places])


@pytest.fixture
def stored(store):
    """Three parts of 40 faces with 5 features, one of them longer than a block."""
    rng = np.random.default_rng(3)
    for content, n in ((B, 12), (A, 8), (C, 20)):
        rows = rows_of(*((content, face) for face in range(n)))
        store.write_features(FEATURES, rows, X=rng.normal(size=(n, 5)).astype(np.float32))
    return store


@pytest.fixture
def blocks_of(monkeypatch):
    return lambda n: monkeypatch.setattr(matrices_module, "BLOCK", n)


FORTY = rows_of(*((content, face) for content, n in ((C, 20), (B, 12), (A, 8)) for face in range(n)))
ORDERS = {
    "as written": FORTY,
    "backwards": FORTY[::-1],
    "shuffled": FORTY.sample(frac=1, random_state=0),
    "a part of it": FORTY[7:29:3],
    "one": FORTY[5:6],
}


@pytest.mark.parametrize("size", [1, 3, 4096])
@pytest.mark.parametrize("rows", ORDERS.values(), ids=ORDERS)
def test_rows_are_gathered_in_their_order(stored, blocks_of, rows, size):
    blocks_of(size)
    X = stored.gather(FEATURES, rows)
    assert X.tobytes() == by_hand(stored, rows).tobytes()
    assert (X.shape, X.dtype) == ((len(rows), 5), np.float32)


def test_a_matrix_is_mapped_from_its_file_and_cannot_be_written(stored):
    X = stored.gather(FEATURES, FORTY)
    assert isinstance(X, np.memmap)
    assert X.filename == matrices(stored)[0] / "X.npy"
    with pytest.raises(ValueError, match="read-only"):
        X[0] = 0


def test_a_matrix_is_found_again_without_its_parts(stored, monkeypatch):
    assert stored.gathered(FEATURES, FORTY) is None
    X = np.array(stored.gather(FEATURES, FORTY))
    monkeypatch.setattr(matrices_module, "feature_index", None)
    monkeypatch.setattr(matrices_module, "write_matrix", None)
    again = Store(stored.root)
    for found in (again.gather(FEATURES, FORTY.copy()), again.gathered(FEATURES, FORTY)):
        np.testing.assert_array_equal(found, X)
    assert len(matrices(stored)) == 1


def test_columns_and_index_beside_the_faces_do_not_matter(stored):
    stored.gather(FEATURES, FORTY)
    other = FORTY.assign(label=1, face=FORTY["face"].astype("int32")).set_index("label")
    assert stored.gathered(FEATURES, other) is not None


def test_other_rows_another_order_and_another_key_are_other_matrices(stored):
    swapped = rows_of((A, 1), (A, 0))
    for rows in (FORTY, FORTY[::-1], FORTY[1:], swapped, swapped[::-1]):
        assert stored.gathered(FEATURES, rows) is None
        stored.gather(FEATURES, rows)
    assert len(matrices(stored)) == 5
    assert stored.gathered(NETS[1], FORTY) is None


def test_a_matrix_is_in_formats_that_other_tools_open(stored):
    stored.gather(FEATURES, FORTY)
    (folder,) = matrices(stored)
    assert sorted(path.name for path in folder.iterdir()) == ["X.npy", "rows.parquet"]
    np.testing.assert_array_equal(np.load(folder / "X.npy", allow_pickle=False), by_hand(stored, FORTY))
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "rows.parquet"), FORTY, check_dtype=False)


def test_a_matrix_is_not_a_part(stored):
    index = stored.feature_index(FEATURES)
    stored.gather(FEATURES, FORTY)
    pd.testing.assert_frame_equal(stored.feature_index(FEATURES), index)
    for part in (stored.root / "features" / FEATURES).glob("part-*"):
        shutil.rmtree(part)
    assert not stored.has_features(FEATURES)


def test_features_of_one_key_that_differ_in_width_are_refused(store):
    store.write_features(FEATURES, rows_of((A, 0)), X=np.zeros((1, 3), np.float32))
    store.write_features(FEATURES, rows_of((B, 0)), X=np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match=r"Expected 3 features of every face .*; got 4 of one"):
        store.gather(FEATURES, rows_of((A, 0), (B, 0)))


def die_after(monkeypatch, blocks, *, leave):
    """Let gathering die after some blocks; `leave` what it has written, as a kill does."""
    real = matrices_module._blocks

    def some(places):
        yield from itertools.islice(real(places), blocks)
        raise KeyboardInterrupt

    monkeypatch.setattr(matrices_module, "_blocks", some)
    if leave:
        monkeypatch.setattr(shutil, "rmtree", lambda *arguments, **keywords: None)


@pytest.mark.parametrize("blocks", [0, 1, 2, 3])
@pytest.mark.parametrize("leave", [False, True], ids=["interrupted", "killed"])
def test_gathering_that_dies_in_the_middle_leaves_no_matrix(stored, monkeypatch, blocks, leave):
    with monkeypatch.context() as patch:
        die_after(patch, blocks, leave=leave)
        with pytest.raises(KeyboardInterrupt):
            stored.gather(FEATURES, FORTY)
    assert stored.gathered(FEATURES, FORTY) is None
    assert len(list(stored.scratch.iterdir())) == leave
    np.testing.assert_array_equal(stored.gather(FEATURES, FORTY), by_hand(stored, FORTY))


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_purge_removes_what_killed_gathering_left(stored, monkeypatch, blocks):
    with monkeypatch.context() as patch:
        die_after(patch, blocks, leave=True)
        with pytest.raises(KeyboardInterrupt):
            stored.gather(FEATURES, FORTY)
    stored.purge([A])
    assert list(stored.scratch.iterdir()) == []


def test_several_that_gather_at_once_see_one_whole_matrix(stored):
    expected, start = by_hand(stored, FORTY), threading.Barrier(6)

    def gather(_):
        start.wait()
        return stored.gather(FEATURES, FORTY)

    with ThreadPoolExecutor(6) as pool:
        for X in pool.map(gather, range(6)):
            np.testing.assert_array_equal(X, expected)
    assert len(matrices(stored)) == 1
    assert list(stored.scratch.iterdir()) == []


def test_matrices_that_nobody_asked_for_are_swept_and_open_ones_stay_readable(stored):
    old, used = stored.gather(FEATURES, FORTY), stored.gather(FEATURES, FORTY[::-1])
    stored.gather(FEATURES, FORTY[:3])
    for folder in matrices(stored):
        os.utime(folder, (time.time() - matrices_module.UNUSED_SECONDS - 60,) * 2)
    assert stored.gathered(FEATURES, FORTY[::-1]) is not None  # used again just now
    stored.sweep()
    assert matrices(stored) == [used.filename.parent]
    np.testing.assert_array_equal(old, by_hand(stored, FORTY))
    np.testing.assert_array_equal(stored.gather(FEATURES, FORTY), old)
    assert list(stored.scratch.iterdir()) == []


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(FACES, min_size=1, max_size=6, unique=True), min_size=1, max_size=5),
    st.integers(1, 4),
    st.data(),
)
def test_any_rows_of_any_overlapping_parts_are_gathered(writes, block, data):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrices_module, "BLOCK", block)
        store = Store(Path(folder))
        for pairs in writes:
            store.write_features(FEATURES, rows_of(*pairs), X=vectors(rows_of(*pairs)))
        written = sorted({pair for pairs in writes for pair in pairs})
        for _ in range(3):
            asked = data.draw(st.lists(st.sampled_from(written), min_size=1, unique=True))
            np.testing.assert_array_equal(store.gather(FEATURES, rows_of(*asked)), vectors(rows_of(*asked)))


# -- purge ---------------------------------------------------------------------------------------------------

ROWS = rows_of((A, 0), (A, 1), (B, 0), (B, 1), (C, 0))
NETS = [FEATURES, f"net-999-torch-fp32/{KEY}", f"net-123-torch-bf16/{OTHER_KEY}"]


@pytest.fixture
def filled(store):
    """Three clips: faces of two settings, features of three keys, hashes, scratch."""
    for content in (A, B, C):
        for key in (KEY, OTHER_KEY):
            store.write_faces(key, content, faces=some_faces(seed=ord(content[0])))
        seen = {"path": f"/clips/{content[0]}.mp4", "size": 5, "mtime_ns": 1, "content": content}
        write_json(store.root / "hashes" / f"{content[:32]}.json", seen)
        leave_scratch(store, content)
    for key in NETS:
        store.write_features(key, ROWS[:4], X=vectors(ROWS[:4]))
        store.write_features(key, ROWS[4:], X=vectors(ROWS[4:]))
        for rows in (ROWS, ROWS[2:]):
            store.gather(key, rows)
    return store


def traces(store, content):
    """List the files and the rows of Parquet files in which a content hash occurs."""
    found = [
        p
        for p in store.root.rglob("*")
        if content in str(p) or (p.is_file() and content.encode() in p.read_bytes())
    ]
    tables = [p for p in store.root.rglob("*.parquet") if content in set(pd.read_parquet(p)["content"])]
    return found + tables + [p for p in store.root.rglob("X.npy") if ord(content[0]) in np.load(p)[:, 0]]


def test_purge_removes_every_trace(filled):
    assert traces(filled, A)
    filled.purge([A])
    assert traces(filled, A) == []
    for key in NETS:
        assert A not in set(filled.feature_index(key)["content"])


def test_purge_leaves_everything_else_bit_for_bit(filled):
    files = {name: data for name, data in everything_in(filled.root).items() if A not in name}
    filled.purge([A])
    after = everything_in(filled.root)
    untouched = {n: d for n, d in files.items() if not n.startswith("features") and A.encode() not in d}
    assert {name: after[name] for name in untouched} == untouched
    for key in NETS:
        assert filled.gather(key, ROWS[2:]).tobytes() == vectors(ROWS[2:]).tobytes()


def test_purge_counts_what_it_deleted(filled):
    assert filled.purge([A]) == 1 + 2 + 1 + (2 + 1) * len(NETS)
    assert filled.purge([A]) == 0


def test_purge_deletes_the_matrices_of_a_clip_and_no_others(filled):
    opened = {key: filled.gather(key, ROWS) for key in NETS}
    filled.purge([A])
    for key, X in opened.items():
        assert filled.gathered(key, ROWS) is None
        assert filled.gathered(key, ROWS[2:]) is not None
        np.testing.assert_array_equal(X, vectors(ROWS))  # whoever has it open can go on
        with pytest.raises(LookupError, match="Run again"):
            filled.gather(key, ROWS)


def test_purge_of_an_unknown_clip_changes_nothing(filled):
    before = everything_in(filled.root)
    assert filled.purge(["d" * 64]) == 0
    assert everything_in(filled.root) == before


def test_purge_of_an_empty_store(store):
    assert store.purge([A], path=Path("/clips/a.mp4")) == 0


def test_purge_of_a_path_forgets_its_hash_whatever_it_was(store, clip):
    store.content(clip)
    clip.write_bytes(b"replaced")
    assert store.contents_of(clip) == sorted([sha(b"first"), sha(b"replaced")])
    store.content(clip)
    store.purge([], path=clip)
    assert list((store.root / "hashes").iterdir()) == []


def test_the_contents_of_a_deleted_file_are_remembered(store, clip):
    store.content(clip)
    clip.unlink()
    assert store.contents_of(clip) == [sha(b"first")]


def test_the_contents_of_a_file_never_seen(store, clip, tmp_path):
    assert store.contents_of(clip) == [sha(b"first")]
    assert store.contents_of(tmp_path / "nothing.mp4") == []


def test_purge_forgets_every_path_of_the_same_bytes(store, clip, tmp_path):
    copy = Path(shutil.copy(clip, tmp_path / "copy.mp4"))
    store.content(clip)
    store.content(copy)
    store.purge(store.contents_of(clip), path=clip)
    assert list((store.root / "hashes").iterdir()) == []


def test_purge_removes_unfinished_features(store):
    folder = store.scratch / f"part-{'1' * 32}-{'2' * 32}"
    folder.mkdir(parents=True)
    np.save(folder / "X.npy", vectors(ROWS))
    ROWS.to_parquet(folder / "rows.parquet")
    store.purge([A])
    assert traces(store, A) == []


def test_purge_removes_an_unfinished_hash_record(store):
    write_json(store.scratch / f".tmp-{'3' * 32}", {"path": "/clips/a.mp4", "content": A})
    store.purge([A])
    assert traces(store, A) == []


def kill_rmtree(monkeypatch, which):
    """Let the first rmtree of a folder named `which...` delete one file and then die."""
    real = shutil.rmtree

    def rmtree(path, *arguments, **keywords):
        if Path(path).name.startswith(which) and Path(path).is_dir():
            next(p for p in sorted(Path(path).iterdir(), reverse=True) if p.is_file()).unlink()
            raise KeyboardInterrupt
        real(path, *arguments, **keywords)

    monkeypatch.setattr(shutil, "rmtree", rmtree)


def test_a_purge_killed_among_the_faces_leaves_a_store_that_works(store, monkeypatch):
    store.write_faces(KEY, A, faces=some_faces())
    with monkeypatch.context() as patch:
        kill_rmtree(patch, A)
        with pytest.raises(KeyboardInterrupt):
            store.purge([A])
    if store.face_index(KEY, A) is None:
        store.write_faces(KEY, A, faces=some_faces())
    assert len(store.face_index(KEY, A)["faces"]) == 3
    assert [store.read_face(KEY, A, face=i).shape for i in range(3)] == [(16, 16, 3)] * 3


def test_a_purge_killed_among_the_features_leaves_a_store_that_works(store, monkeypatch):
    rows = ROWS[:2]
    store.write_features(FEATURES, rows, X=vectors(rows))
    with monkeypatch.context() as patch:
        kill_rmtree(patch, "part-")
        with pytest.raises(KeyboardInterrupt):
            store.purge([A])
    if store.feature_index(FEATURES).empty:
        store.write_features(FEATURES, rows, X=vectors(rows))
    np.testing.assert_array_equal(store.gather(FEATURES, rows), vectors(rows))


@pytest.mark.parametrize("which", ["part-", "matrix-"])
def test_a_purge_killed_amid_a_deletion_is_completed_by_another(filled, monkeypatch, which):
    with monkeypatch.context() as patch:
        kill_rmtree(patch, which)
        with pytest.raises(KeyboardInterrupt):
            filled.purge([A])
    filled.purge([A])
    assert traces(filled, A) == []


# -- a million faces -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_million_faces_are_gathered_folded_and_read_in_a_third_of_their_memory(store):
    """Sparse parts of 1,024 features each, of which the first row alone is written."""
    faces, dim = 1_000_000, 1024
    rows = speed.table(faces)
    for start in range(0, faces, speed.PART):
        part = store.root / "features" / speed.KEY / f"part-{start:07d}"
        part.mkdir(parents=True)
        here = rows[["content", "face"]].iloc[start : start + speed.PART]
        here.to_parquet(part / "rows.parquet", index=False)
        X = np.lib.format.open_memmap(part / "X.npy", mode="w+", dtype=np.float32, shape=(len(here), dim))
        X[0] = start + np.arange(dim)
    done = [
        speed.measure_apart(step, store.root, faces=faces) for step in ("gather", "read 5 training parts")
    ]
    assert max(step["peak"] for step in done) < faces * dim * 4 / 1e9 / 3
    assert sum(step["seconds"] for step in done) < 60
    X = store.gathered(speed.KEY, rows)
    assert X.shape == (faces, dim)
    np.testing.assert_array_equal(X[:: speed.PART, 7], np.arange(0, faces, speed.PART) + 7)
    np.testing.assert_array_equal(X[5 * speed.PART - 2 : 5 * speed.PART + 1, dim - 1], [0, 0, 1663])
