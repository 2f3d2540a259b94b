import dataclasses
import errno
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky import reusable_executor

from extract import media, searching
from extract.datasets.crops import read_crops
from extract.datasets.frames import read_frames
from extract.datasets.synthetic import SyntheticSettings, generate
from extract.errors import RequestError
from extract.faces import FACE_DETECTORS, Detection, FaceSettings, faces_key
from extract.files import hash_file
from extract.manifest import Reason, make_manifest, read_manifest
from extract.media.frames import Sampling
from extract.media.read import read_frames as decode
from extract.pipeline import export_image_folder, find_faces, identify, load_features
from extract.store import Store, read_png, write_png

WHOLE = FaceSettings(detector="none", size=16)
BRIGHT = FaceSettings(detector="bright", size=16, margin=0)
KEY = faces_key(WHOLE)
DARK = Reason("E_TEST", "too dark")


class BrightFrame:
    """Finds one face in a frame with bright pixels, two in a white one, none in a dark one."""

    fingerprint = "bright frame"
    built = 0

    def __init__(self):
        type(self).built += 1

    def __call__(self, frames):
        return [self._faces(frame) for frame in frames]

    @staticmethod
    def _faces(frame):
        height, width = frame.shape[:2]
        count = 0 if frame.mean() < 60 else 1 if frame.mean() < 245 else 2
        boxes = [(0, 0, width, height), (0, 0, width // 2, height // 2)][:count]
        return [Detection(np.array(box, np.float32), 0.99, np.zeros((5, 2), np.float32)) for box in boxes]


class Colours:
    """Mean colour of each face; counts the faces it has seen and can fail after some calls."""

    name, dim, fingerprint = "colours", 3, "0" * 64

    def __init__(self, fail_at=None):
        self.calls, self.fail_at = [], fail_at

    def __call__(self, faces):
        if self.fail_at is not None and len(self.calls) >= self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(len(faces))
        return faces.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)


@pytest.fixture
def bright(monkeypatch):
    monkeypatch.setitem(FACE_DETECTORS._entries, "bright", BrightFrame)
    monkeypatch.setattr(BrightFrame, "built", 0)
    searching._built.cache_clear()
    return BrightFrame


@pytest.fixture
def clips(tmp_path, save_image):
    """Make a manifest of images: name -> (label, colour or image), with further columns."""

    def make(images, **columns):
        for name, (_, image) in images.items():
            filled = np.full((20, 20, 3), image, np.uint8) if np.ndim(image) <= 1 else image
            save_image(tmp_path / name, filled)
        table = pd.DataFrame({"path": list(images), "label": [label for label, _ in images.values()]})
        return make_manifest(table.assign(**columns), base=tmp_path)

    return make


def six(clips, **columns):
    return clips({f"c{i}.png": (i % 2, (40 * i, 10, 200 - 30 * i)) for i in range(6)}, **columns)


def relative(table, tmp_path):
    return [re.sub(f"{tmp_path}/", "", path) for path in table["path"]]


def reasons(manifest, tmp_path):
    skipped = manifest.skipped
    lines = zip(relative(skipped, tmp_path), skipped["outcome"], skipped["reason"], strict=True)
    return {path: (outcome, reason.replace(f"{tmp_path}/", "")) for path, outcome, reason in lines}


# -- identify ------------------------------------------------------------------------------------------------


def test_files_get_their_content(clips, store):
    manifest = identify(six(clips), store)
    assert manifest.clips["content"].str.fullmatch("[0-9a-f]{64}").all()
    assert manifest.clips["content"].is_unique
    assert manifest.skipped.empty


def test_empty_and_repeated_files_are_dropped_with_a_reason(clips, store, tmp_path):
    manifest = clips(
        {"a.png": (0, 10), "b.png": (1, 20), "c.png": (0, 10), "d.png": (0, 10), "e.png": (1, 30)}
    )
    (tmp_path / "e.png").write_bytes(b"")
    manifest = identify(manifest, store)
    assert relative(manifest.clips, tmp_path) == ["a.png", "b.png"]
    assert manifest.clips.index.tolist() == [0, 1]
    assert reasons(manifest, tmp_path) == {
        "e.png": ("skipped", "empty file"),
        "c.png": ("skipped", "same bytes as a.png"),
        "d.png": ("skipped", "same bytes as a.png"),
    }


def test_a_file_that_is_gone_or_cannot_be_read_is_a_skipped_line(clips, store, tmp_path, monkeypatch):
    manifest = clips({"a.png": (0, 10), "b.png": (1, 20), "c.png": (0, 30)})
    (tmp_path / "b.png").unlink()

    def read(path):
        if path.name == "c.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return hash_file(path)

    monkeypatch.setattr("extract.store.hash_file", read)
    manifest = identify(manifest, store)
    assert relative(manifest.clips, tmp_path) == ["a.png"]
    assert manifest.skipped["code"].tolist() == ["E_CLIP_NOT_READ"] * 2
    assert reasons(manifest, tmp_path) == {
        "b.png": ("skipped", "cannot be read: No such file or directory"),
        "c.png": ("skipped", "cannot be read: Permission denied"),
    }


def test_a_full_disk_ends_the_run(clips, store, monkeypatch):
    manifest = clips({"a.png": (0, 10), "b.png": (1, 20)})

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("extract.store.write_json", full)
    with pytest.raises(OSError, match="No space left"):
        identify(manifest, store)


def test_the_same_bytes_under_two_labels_are_refused(clips, store):
    manifest = clips({"a.png": (0, 10), "b.png": (1, 20), "c.png": (1, 10)})
    with pytest.raises(
        RequestError, match=r"one label for the same bytes; got both for .*a\.png and .*c\.png"
    ):
        identify(manifest, store)


def test_two_empty_files_under_two_labels_are_only_dropped(clips, store, tmp_path):
    manifest = clips({"a.png": (0, 10), "b.png": (1, 20), "c.png": (0, 30)})
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    assert relative(identify(manifest, store).clips, tmp_path) == ["c.png"]


def test_a_file_that_stands_twice_in_the_manifest_counts_once(clips, store, tmp_path):
    manifest = clips({"a.png": (0, 10), "b.png": (1, 20)})
    twice = dataclasses.replace(manifest, clips=pd.concat([manifest.clips] * 2, ignore_index=True))
    assert relative(identify(twice, store).clips, tmp_path) == ["a.png", "b.png"]


def test_what_was_skipped_before_stays_in_the_record(clips, store, tmp_path):
    manifest = clips({"a.png": (0, 10), "b.png": (1, 10)}).leave_out({str(tmp_path / "b.png"): DARK})
    assert reasons(identify(manifest, store), tmp_path) == {"b.png": ("skipped", "too dark")}


# -- find_faces ----------------------------------------------------------------------------------------------


def test_rows_have_the_face_and_the_clips_columns(clips, store, tmp_path):
    manifest = identify(six(clips, identity=list("abcabc"), camera="phone"), store)
    rows, after = find_faces(manifest, WHOLE, store=store)
    assert list(rows.columns[:8]) == ["content", "face", "frame", "x1", "y1", "x2", "y2", "confidence"]
    assert set(manifest.clips.columns) <= set(rows.columns)
    assert rows["identity"].tolist() == list("abcabc")
    assert rows[["x1", "y1", "x2", "y2"]].drop_duplicates().to_numpy().tolist() == [[0, 0, 20, 20]]
    assert relative(rows, tmp_path) == [f"c{i}.png" for i in range(6)]
    pd.testing.assert_frame_equal(after.clips, manifest.clips)
    assert after.skipped.empty


def test_rows_of_a_video_have_its_frames(clips, store, tmp_path, save_video, numbered_frames):
    save_video(tmp_path / "v.avi", numbered_frames(20), "MJPG")
    manifest = make_manifest(pd.DataFrame({"path": ["v.avi"], "label": [1]}), base=tmp_path)
    rows, _ = find_faces(identify(manifest, store), dataclasses.replace(WHOLE, frames=4), store=store)
    assert rows["face"].tolist() == [0, 1, 2, 3]
    assert rows["frame"].tolist() == [2, 7, 12, 17]


@pytest.mark.usefixtures("bright")
def test_clips_without_a_face_and_unreadable_ones_are_skipped_with_the_reason(clips, store, tmp_path):
    manifest = clips({"a.png": (0, 200), "dark.png": (1, 10), "broken.png": (1, 150), "b.png": (1, 100)})
    (tmp_path / "broken.png").write_text("no picture")
    rows, manifest = find_faces(identify(manifest, store), BRIGHT, store=store)
    assert relative(manifest.clips, tmp_path) == relative(rows, tmp_path) == ["a.png", "b.png"]
    assert reasons(manifest, tmp_path) == {
        "broken.png": ("skipped", "cannot be decoded as an image: it begins like none of the known kinds"),
        "dark.png": ("skipped", "no usable face in 1 frame"),
    }


@pytest.mark.usefixtures("bright")
def test_clips_of_which_a_part_is_usable_are_kept_with_a_note(store, tmp_path, save_video):
    flat = [np.full((48, 64, 3), level, np.uint8) for level in (5, 150, 5, 150, 150, 150)]
    save_video(tmp_path / "v.avi", flat, "MJPG")
    manifest = make_manifest(pd.DataFrame({"path": ["v.avi"], "label": [1]}), base=tmp_path)
    rows, manifest = find_faces(identify(manifest, store), BRIGHT, store=store)
    assert rows["frame"].tolist() == [1, 3, 4, 5]
    assert reasons(manifest, tmp_path) == {"v.avi": ("partial", "no face used in 2 of 6 frames")}


@pytest.mark.usefixtures("bright")
def test_a_truncated_clip_is_noted_on_every_run(store, tmp_path, save_video, numbered_frames):
    path = save_video(tmp_path / "v.avi", [frame // 4 + 150 for frame in numbered_frames(40)], "MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    manifest = identify(make_manifest(pd.DataFrame({"path": ["v.avi"], "label": [1]}), base=tmp_path), store)
    for _ in range(2):
        _, after = find_faces(manifest, BRIGHT, store=store)
        ((outcome, reason),) = reasons(after, tmp_path).values()
        assert outcome == "partial"
        assert re.fullmatch(r"truncated: \d+ of 40 frames can be read", reason)


@pytest.mark.usefixtures("bright")
def test_all_faces_of_a_frame_are_numbered(clips, store):
    manifest = identify(clips({"a.png": (0, 255), "b.png": (1, 100)}), store)
    rows, after = find_faces(manifest, dataclasses.replace(BRIGHT, select="all"), store=store)
    assert rows[["face", "frame"]].to_numpy().tolist() == [[0, 0], [1, 0], [0, 0]]
    assert rows["x2"].tolist() == [20, 10, 20]
    assert after.skipped.empty


@pytest.mark.usefixtures("bright")
@pytest.mark.parametrize(
    ("name", "reason"), [("dark.png", "no usable face in 1 frame"), ("broken.png", "cannot be decoded")]
)
def test_a_clip_without_a_face_ends_the_run_where_asked(clips, store, tmp_path, name, reason):
    manifest = clips({"a.png": (0, 200), name: (1, 10)})
    if name == "broken.png":
        (tmp_path / name).write_text("no picture")
    settings = dataclasses.replace(BRIGHT, no_face="fail")
    with pytest.raises(RequestError, match=rf'no_face = "fail"\); got {reason}.* in .*{name}'):
        find_faces(identify(manifest, store), settings, store=store)


def test_faces_searched_with_skip_are_used_with_fail(clips, store, bright):
    manifest = identify(clips({"a.png": (0, 200), "b.png": (1, 100)}), store)
    find_faces(manifest, BRIGHT, store=store)
    find_faces(manifest, dataclasses.replace(BRIGHT, no_face="fail"), store=store)
    assert bright.built == 1


@pytest.mark.usefixtures("bright")
def test_no_face_at_all_is_refused_with_an_example(clips, store):
    manifest = identify(clips({"a.png": (0, 10), "b.png": (1, 20)}), store)
    with pytest.raises(
        RequestError, match=r"got none in 2 clips, first .*a\.png \(no usable face in 1 frame\)"
    ):
        find_faces(manifest, BRIGHT, store=store)


def test_the_detector_is_built_once_and_not_at_all_for_a_cached_run(clips, store, bright):
    manifest = identify(clips({"a.png": (0, 200), "b.png": (1, 100), "dark.png": (1, 5)}), store)
    first, _ = find_faces(manifest, BRIGHT, store=store)
    assert bright.built == 1
    second, _ = find_faces(manifest, BRIGHT, store=store)
    assert bright.built == 1
    pd.testing.assert_frame_equal(first, second)


def test_only_new_clips_are_searched(clips, store, bright, tmp_path):
    images = {"a.png": (0, 200), "b.png": (1, 100)}
    find_faces(identify(clips(images), store), BRIGHT, store=store)
    manifest = identify(clips({**images, "c.png": (1, 150)}), store)
    for name in images:
        (tmp_path / name).unlink()
    rows, _ = find_faces(manifest, BRIGHT, store=store)
    assert relative(rows, tmp_path) == ["a.png", "b.png", "c.png"]


def test_an_interrupted_search_goes_on_where_it_was(clips, store, bright, monkeypatch):
    manifest = identify(six(clips), store)

    def stop(items, description, total=None):
        for i, item in enumerate(items):
            if i == 3:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        find_faces(manifest, WHOLE, store=store, track=stop)
    searched = [store.face_index(KEY, content) is not None for content in manifest.clips["content"]]
    # From the last on; the fourth was stored when its result came.
    assert searched == [False] * 2 + [True] * 4
    rows, _ = find_faces(manifest, WHOLE, store=store)
    assert len(rows) == 6


# -- find_faces in several processes -------------------------------------------------------------------------

SEARCHES = {
    "whole frames": FaceSettings(detector="none", frames=3, size=64),
    "mtcnn": FaceSettings(frames=3, size=64, detect_size=128),
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Twelve drawn clips, eight drawn stills and two files that cannot be read."""
    folder = tmp_path_factory.mktemp("drawn")
    settings = SyntheticSettings(identities=6, real_clips=2, fake_clips=0, frames=3, size=128)
    table = pd.read_csv(generate(settings, folder))[["path", "label"]]
    for i in range(8):
        image = read_one_frame(folder / table["path"][i])
        write_png(folder / f"still{i}.png", image)
    (folder / "broken.mp4").write_text("no film")
    (folder / "broken.png").write_text("no picture")
    others = [f"still{i}.png" for i in range(8)] + ["broken.mp4", "broken.png"]
    more = pd.DataFrame({"path": others, "label": 1})
    return make_manifest(pd.concat([table, more], ignore_index=True), base=folder)


def read_one_frame(path):
    return decode(path, Sampling(count=1)).images[0]


def files_of(store):
    faces = store.root / "faces"
    return {str(path.relative_to(faces)): path.read_bytes() for path in faces.rglob("*") if path.is_file()}


@pytest.fixture(
    scope="module",
    params=["whole frames", pytest.param("mtcnn", marks=pytest.mark.slow)],
)
def alone(request, drawn, tmp_path_factory):
    """What one process finds in the drawn clips: the store's files, rows and manifest."""
    store = Store(tmp_path_factory.mktemp("alone"))
    settings = SEARCHES[request.param]
    rows, after = find_faces(identify(drawn, store), settings, store=store)
    return settings, files_of(store), rows, after


def test_the_drawn_clips_show_faces(alone):
    _, files, rows, after = alone
    assert len(rows) > 30
    assert len(files) == len(rows) + rows["content"].nunique()
    assert len(after.skipped) >= 2


@pytest.fixture
def at_once(monkeypatch):
    """Let several processes start for little work, too."""
    monkeypatch.setattr(searching, "PATIENCE", 0.0)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("workers", [2, 4])
def test_several_processes_store_the_same_bytes_and_give_the_same_rows(drawn, alone, store, workers):
    settings, files, rows, after = alone
    seen = []

    def track(items, description, total=None):
        for item in items:
            seen.append(total)
            yield item

    found, left = find_faces(identify(drawn, store), settings, store=store, workers=workers, track=track)
    assert files_of(store) == files
    pd.testing.assert_frame_equal(found, rows)
    pd.testing.assert_frame_equal(left.skipped, after.skipped)
    assert seen == [22] * 22


@pytest.mark.usefixtures("at_once")
def test_a_worker_that_is_killed_costs_the_clips_in_its_hand(drawn, alone, store):
    settings, files, rows, _ = alone
    stored = {}

    def kill_after_three(items, description, total=None):
        for number, item in enumerate(items):
            if number == 3:
                stored.update({path: path.stat().st_mtime_ns for path in store.root.glob("faces/*/*/*")})
                os.kill(next(iter(reusable_executor._executor._processes)), signal.SIGKILL)
            yield item

    found, _ = find_faces(identify(drawn, store), settings, store=store, workers=2, track=kill_after_three)
    assert files_of(store) == files
    pd.testing.assert_frame_equal(found, rows)
    assert stored
    assert {
        path: path.stat().st_mtime_ns for path in stored
    } == stored  # finished clips were not searched again


def test_another_decoding_revision_sees_neither_old_crops_nor_old_features(clips, store, bright, monkeypatch):
    manifest = identify(six(clips), store)

    def work():
        extractor, before = Colours(), bright.built
        searching._built.cache_clear()
        rows, _ = find_faces(manifest, BRIGHT, store=store)
        load_features(rows, extractor, store=store, faces=faces_key(BRIGHT))
        return bright.built - before, sum(extractor.calls), len(rows)

    built, computed, faces = work()
    assert (built, computed) == (1, faces)
    assert work() == (0, 0, faces)
    monkeypatch.setattr(media, "DECODING", media.DECODING + 1)
    assert work() == (1, faces, faces)


# -- load_features -------------------------------------------------------------------------------------------


@pytest.fixture
def rows(clips, store):
    """Six clips of one face each."""
    return find_faces(identify(six(clips), store), WHOLE, store=store)[0]


EXPECTED = np.array([[40 * i, 10, 200 - 30 * i] for i in range(6)], np.float32)


def test_each_row_has_the_features_of_its_face(rows, store):
    features = load_features(rows, Colours(), store=store, faces=KEY)
    np.testing.assert_array_equal(features.X, EXPECTED)
    assert features.rows is rows


def test_a_second_call_computes_nothing(rows, store):
    load_features(rows, Colours(), store=store, faces=KEY)
    again = Colours()
    np.testing.assert_array_equal(load_features(rows, again, store=store, faces=KEY).X, EXPECTED)
    assert again.calls == []


def test_another_process_computes_nothing(rows, store):
    load_features(rows, Colours(), store=store, faces=KEY)
    again = Colours()
    load_features(rows, again, store=Store(store.root), faces=KEY)
    assert again.calls == []


def test_relabelling_recomputes_nothing(clips, store, rows):
    load_features(rows, Colours(), store=store, faces=KEY)
    manifest = identify(six(clips, identity=list("uvwxyz"), attack="new"), store)
    manifest = dataclasses.replace(manifest, clips=manifest.clips.assign(label=1 - manifest.clips["label"]))
    relabelled, _ = find_faces(manifest, WHOLE, store=store)
    again = Colours()
    features = load_features(relabelled, again, store=store, faces=KEY)
    assert again.calls == []
    assert (features.rows["label"] == 1 - rows["label"]).all()
    np.testing.assert_array_equal(features.X, EXPECTED)


def test_moving_a_clip_recomputes_nothing(clips, store, rows, tmp_path):
    load_features(rows, Colours(), store=store, faces=KEY)
    (tmp_path / "new place").mkdir()
    for path in tmp_path.glob("c?.png"):
        path.rename(tmp_path / "new place" / f"renamed {path.name}")
    names = [f"new place/renamed c{i}.png" for i in range(6)]
    table = pd.DataFrame({"path": names, "label": [0, 1] * 3})
    moved, _ = find_faces(identify(make_manifest(table, base=tmp_path), store), WHOLE, store=store)
    again = Colours()
    np.testing.assert_array_equal(load_features(moved, again, store=store, faces=KEY).X, EXPECTED)
    assert again.calls == []


def test_adding_a_clip_computes_that_clip(clips, store, rows, tmp_path, save_image):
    load_features(rows, Colours(), store=store, faces=KEY)
    save_image(tmp_path / "new.png", np.full((20, 20, 3), (1, 2, 3), np.uint8))
    names = ["c0.png", "new.png", *(f"c{i}.png" for i in range(1, 6))]
    table = pd.DataFrame({"path": names, "label": [0, 1] * 3 + [0]})
    more, _ = find_faces(identify(make_manifest(table, base=tmp_path), store), WHOLE, store=store)
    again = Colours()
    X = load_features(more, again, store=store, faces=KEY).X
    assert again.calls == [1]
    np.testing.assert_array_equal(X, [EXPECTED[0], [1, 2, 3], *EXPECTED[1:]])


def test_dropping_a_clip_deletes_nothing(store, rows):
    load_features(rows, Colours(), store=store, faces=KEY)
    again = Colours()
    few = load_features(rows.iloc[[4, 1]].reset_index(drop=True), again, store=store, faces=KEY)
    np.testing.assert_array_equal(few.X, EXPECTED[[4, 1]])
    np.testing.assert_array_equal(load_features(rows, again, store=store, faces=KEY).X, EXPECTED)
    assert again.calls == []


@pytest.mark.parametrize("change", ["fingerprint", "precision", "backend", "faces"])
def test_another_extractor_or_other_faces_are_never_served_from_the_cache(store, rows, change):
    load_features(rows, Colours(), store=store, faces=KEY)
    other, key = Colours(), KEY
    if change == "faces":
        key = faces_key(dataclasses.replace(WHOLE, size=20))
        find_faces_again(rows, store, size=20)
    else:
        setattr(other, change, "f" * 64)
    load_features(rows, other, store=store, faces=key)
    assert sum(other.calls) == 6


def find_faces_again(rows, store, size):
    clips = rows[["path", "content"]]
    manifest = make_manifest(clips.assign(label=[0, 1] * 3), base=store.root)
    find_faces(manifest, dataclasses.replace(WHOLE, size=size), store=store)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_rows_does_not_matter(store, rows, seed, monkeypatch):
    monkeypatch.setattr("extract.features.PART", 2)
    order = np.random.default_rng(seed).permutation(6)
    shuffled = load_features(rows.iloc[order].reset_index(drop=True), Colours(), store=store, faces=KEY)
    np.testing.assert_array_equal(shuffled.X, EXPECTED[order])
    np.testing.assert_array_equal(load_features(rows, Colours(), store=store, faces=KEY).X, EXPECTED)


@pytest.fixture
def films(store, tmp_path, save_video, numbered_frames):
    """Return rows of three clips of four faces each."""
    for i in range(3):
        save_video(tmp_path / f"v{i}.avi", numbered_frames(20 + i), "MJPG")
    table = pd.DataFrame({"path": [f"v{i}.avi" for i in range(3)], "label": [0, 1, 1]})
    settings = dataclasses.replace(WHOLE, frames=4)
    rows, _ = find_faces(identify(make_manifest(table, base=tmp_path), store), settings, store=store)
    return rows, faces_key(settings)


def copy_of(store, tmp_path):
    """Return a store with the same faces and no features."""
    return Store(shutil.copytree(store.root, tmp_path / "other cache"))


@pytest.mark.parametrize("done", [0, 1, 2])
def test_an_interrupted_extraction_goes_on_where_it_was_with_the_same_bits(
    films, store, tmp_path, monkeypatch, done
):
    monkeypatch.setattr("extract.features.PART", 4)
    rows, key = films
    other = copy_of(store, tmp_path)
    whole = Colours()
    expected = load_features(rows, whole, store=other, faces=key).X
    assert whole.calls == [4, 4, 4]

    with pytest.raises(KeyboardInterrupt):
        load_features(rows, Colours(fail_at=done), store=store, faces=key)
    rest = Colours()
    X = load_features(rows, rest, store=store, faces=key).X
    assert rest.calls == [4] * (3 - done)
    assert X.tobytes() == expected.tobytes()


def test_a_clip_is_never_cut_into_two_parts(films, store, monkeypatch):
    monkeypatch.setattr("extract.features.PART", 3)
    rows, key = films
    extractor = Colours()
    load_features(rows, extractor, store=store, faces=key)
    assert extractor.calls == [4, 4, 4]


def test_small_clips_are_computed_together(films, store, monkeypatch):
    monkeypatch.setattr("extract.features.PART", 8)
    rows, key = films
    extractor = Colours()
    load_features(rows, extractor, store=store, faces=key)
    assert extractor.calls == [8, 4]


def test_a_part_holds_at_least_as_many_faces_as_stated(films, store, monkeypatch):
    monkeypatch.setattr("extract.features.PART", 3)
    rows, key = films
    extractor = Colours()
    load_features(
        rows[rows["content"].ne(rows["content"][4]) | rows["face"].lt(2)], extractor, store=store, faces=key
    )
    assert all(size >= 3 for size in extractor.calls[:-1])


def test_shuffled_faces_of_several_clips_get_their_own_features(films, store, monkeypatch, rng):
    monkeypatch.setattr("extract.features.PART", 4)
    rows, key = films
    order = rng.permutation(len(rows))
    shuffled = load_features(rows.iloc[order].reset_index(drop=True), Colours(), store=store, faces=key).X
    again = Colours()
    np.testing.assert_array_equal(load_features(rows, again, store=store, faces=key).X[order], shuffled)
    assert again.calls == []


def test_an_interrupted_extraction_of_shuffled_faces_goes_on(films, store, tmp_path, monkeypatch):
    monkeypatch.setattr("extract.features.PART", 2)
    rows, key = films
    other = copy_of(store, tmp_path)
    mixed = rows.sort_values(["face", "content"]).reset_index(drop=True)
    expected = load_features(mixed, Colours(), store=other, faces=key).X
    with pytest.raises(KeyboardInterrupt):
        load_features(mixed, Colours(fail_at=1), store=store, faces=key)
    np.testing.assert_array_equal(load_features(mixed, Colours(), store=store, faces=key).X, expected)


def test_more_faces_of_a_clip_may_be_asked_for_later(films, store, tmp_path):
    rows, key = films
    expected = load_features(rows, Colours(), store=copy_of(store, tmp_path), faces=key).X
    load_features(rows[rows["face"] == 0].reset_index(drop=True), Colours(), store=store, faces=key)
    np.testing.assert_array_equal(load_features(rows, Colours(), store=store, faces=key).X, expected)


def test_every_face_is_reported_to_the_progress_bar(films, store):
    rows, key = films
    seen = []

    def track(items, description, total=None):
        items = list(items)
        seen.append((description, total, len(items)))
        return items

    load_features(rows, Colours(), store=store, faces=key, track=track)
    load_features(rows, Colours(), store=store, faces=key, track=track)
    assert seen == [("features colours", 12, 12)]


SPOILT = {
    "float64": lambda X: X.astype(np.float64),
    "one row short": lambda X: X[1:],
    "another width": lambda X: X[:, :2],
    "flat": lambda X: X.ravel(),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_an_extractor_that_breaks_its_contract_is_refused_and_nothing_is_stored(store, rows, spoil):
    class Broken(Colours):
        def __call__(self, faces):
            return spoil(super().__call__(faces))

    with pytest.raises(ValueError, match=r"Expected features \(6, 3\) float32 from colours; got"):
        load_features(rows, Broken(), store=store, faces=KEY)
    np.testing.assert_array_equal(load_features(rows, Colours(), store=store, faces=KEY).X, EXPECTED)


def test_purged_clips_are_computed_again_and_others_are_not(clips, store, rows):
    load_features(rows, Colours(), store=store, faces=KEY)
    store.purge([rows["content"][2]])
    again = Colours()
    fresh, _ = find_faces(identify(six(clips), store), WHOLE, store=store)
    np.testing.assert_array_equal(load_features(fresh, again, store=store, faces=KEY).X, EXPECTED)
    assert again.calls == [1]


# -- export --------------------------------------------------------------------------------------------------


def exported(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def read_again(folder):
    """Return the clips that the data set `crops` reads from a tree, and from its names alone."""
    (folder / "faces.csv").rename(folder.with_name("faces.csv"))
    by_name = read_crops(folder).clips
    folder.with_name("faces.csv").rename(folder / "faces.csv")
    return read_crops(folder).clips, by_name


def test_the_export_is_named_after_label_clip_and_frame(films, store, tmp_path):
    rows, key = films
    table = export_image_folder(rows, tmp_path / "out", store=store, faces=key)
    names = exported(tmp_path / "out")
    assert sorted(table["path"]) == names
    assert names[:4] == [f"fake/v1_{frame:06d}.png" for frame in (2, 7, 13, 18)]
    assert names[8:] == [f"real/v0_{frame:06d}.png" for frame in (2, 7, 12, 17)]


def test_the_export_holds_the_stored_pixels(films, store, tmp_path):
    rows, key = films
    export_image_folder(rows, tmp_path / "out", store=store, faces=key)
    for row in rows.itertuples():
        stem = row.path.rpartition("/")[2].removesuffix(".avi")
        name = f"{'fake' if row.label else 'real'}/{stem}_{row.frame:06d}.png"
        np.testing.assert_array_equal(
            read_png(tmp_path / "out" / name), store.read_face(key, row.content, face=row.face)
        )


def test_clips_of_one_file_name_get_their_hash(clips, store, tmp_path):
    images = {"x/a.png": (0, 10), "y/a.png": (0, 20), "z/a.png": (1, 30), "b.png": (1, 40)}
    rows, _ = find_faces(identify(clips(images), store), WHOLE, store=store)
    export_image_folder(rows, tmp_path / "out", store=store, faces=KEY)
    first, second = (content[:8] for content in rows["content"][:2])
    assert exported(tmp_path / "out") == sorted(
        [
            f"real/a-{first}_000000.png",
            f"real/a-{second}_000000.png",
            "fake/a_000000.png",
            "fake/b_000000.png",
        ]
    )


def test_splits_are_folders_and_no_split_is_none(clips, store, tmp_path):
    split = ["train", "train", "test", "test", "", ""]
    rows, _ = find_faces(identify(six(clips, split=split), store), WHOLE, store=store)
    export_image_folder(rows, tmp_path / "out", store=store, faces=KEY)
    assert exported(tmp_path / "out") == [
        "fake/c5_000000.png",
        "real/c4_000000.png",
        "test/fake/c3_000000.png",
        "test/real/c2_000000.png",
        "train/fake/c1_000000.png",
        "train/real/c0_000000.png",
    ]


@pytest.mark.usefixtures("bright")
def test_further_faces_of_a_frame_are_numbered(clips, store, tmp_path):
    manifest = identify(clips({"a.png": (0, 255), "b.png": (1, 100)}), store)
    settings = dataclasses.replace(BRIGHT, select="all")
    rows, _ = find_faces(manifest, settings, store=store)
    export_image_folder(rows, tmp_path / "out", store=store, faces=faces_key(settings))
    assert exported(tmp_path / "out") == [
        "fake/b_000000.png",
        "real/a_000000+1.png",
        "real/a_000000.png",
    ]


def test_the_table_beside_the_pictures_says_what_they_are(clips, store, tmp_path):
    said = {
        "identity": ["ann", "NA", "007", "", "ä, b", "cid"],
        "source_identity": ["", "ann", "", "", "", "NA"],
        "attack": ["", "x", "", "y", "", "x"],
        "split": ["train", "train", "val", "val", "", ""],
    }
    rows, _ = find_faces(identify(six(clips, **said, dataset="mine"), store), WHOLE, store=store)
    table = export_image_folder(rows, tmp_path / "out", store=store, faces=KEY)
    again = read_manifest(tmp_path / "out" / "faces.csv").clips
    pd.testing.assert_frame_equal(again.assign(path=table["path"]), table)
    columns = ["label", *said, "dataset"]
    pd.testing.assert_frame_equal(table[columns], rows[columns])
    assert [Path(path).relative_to(tmp_path / "out").as_posix() for path in again["path"]] == list(
        table["path"]
    )


def test_the_export_is_read_again_as_the_same_clips(films, store, tmp_path):
    rows, key = films
    export_image_folder(rows, tmp_path / "out", store=store, faces=key)
    for clips in read_again(tmp_path / "out"):
        assert clips.groupby("clip").size().to_dict() == {"real/v0": 4, "fake/v1": 4, "fake/v2": 4}
        assert clips.groupby("label").size().to_dict() == {0: 4, 1: 8}


@pytest.mark.parametrize("stem", ["id1_0002", "clip_1", "ä b+1", "a-12345678", "c_000001", "d.v2"])
@pytest.mark.usefixtures("bright")
def test_awkward_clip_names_survive_the_export(clips, store, tmp_path, stem):
    images = {f"x/{stem}.png": (0, 255), f"y/{stem}.png": (0, 250), f"z/{stem}.png": (1, 100)}
    settings = dataclasses.replace(BRIGHT, select="all")
    rows, _ = find_faces(identify(clips(images), store), settings, store=store)
    export_image_folder(rows, tmp_path / "out", store=store, faces=faces_key(settings))
    for again in read_again(tmp_path / "out"):
        assert sorted(again.groupby("clip").size()) == [1, 2, 2]
        assert f"fake/{stem}" in set(again["clip"])


FRAMES = {
    "real/s1/0.png": (0, 10),
    "real/s1/1.png": (0, 20),
    "fake/s2/0.png": (1, 30),
    "fake/s2/1.png": (1, 40),
}


@pytest.fixture
def frame_rows(clips, store, tmp_path):
    """Return rows of a real and a fake clip of two frames each, in folders."""
    clips(FRAMES)
    return find_faces(identify(read_frames(tmp_path), store), WHOLE, store=store)[0]


def test_frames_of_one_clip_stay_one_clip_in_the_export(frame_rows, store, tmp_path):
    export_image_folder(frame_rows, tmp_path / "out", store=store, faces=KEY)
    assert exported(tmp_path / "out") == [
        *("fake/s2_000000.png", "fake/s2_000001.png", "real/s1_000000.png", "real/s1_000001.png")
    ]
    for again in read_again(tmp_path / "out"):
        assert set(again["clip"]) == {"real/s1", "fake/s2"}


def test_a_clip_keeps_its_name_where_one_of_its_frames_is_exported(frame_rows, store, tmp_path):
    one = frame_rows.drop_duplicates("clip")
    export_image_folder(one, tmp_path / "out", store=store, faces=KEY)
    assert exported(tmp_path / "out") == ["fake/s2_000000.png", "real/s1_000000.png"]


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_the_rows_does_not_change_the_names(films, store, tmp_path, seed):
    rows, key = films
    shuffled = rows.sample(frac=1, random_state=seed)
    for name, part in {"one": rows, "two": shuffled}.items():
        export_image_folder(part, tmp_path / name, store=store, faces=key)
    assert exported(tmp_path / "one") == exported(tmp_path / "two")
    for name in exported(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
