import gc
import pickle
import weakref

import cv2
import numpy as np
import pytest

from extract.errors import RequestError, UnreadableClip
from extract.faces import FaceSettings, WholeFrame, crop_faces, crop_frames, one_file, read_clip, reading
from extract.media.frames import Frames, Sampling

ALL = FaceSettings(detector="none", size=16)


def frames_of(rng, count, *, start=0):
    return [rng.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture
def batches(monkeypatch):
    """Let a clip come in the given batches; returns the calls of the reader."""

    def install(*given):
        calls = []

        def read(path, sampling, **options):
            calls.append((path, sampling, options))
            yield from given

        monkeypatch.setattr(reading, "read_batches", read)
        return calls

    return install


# -- batches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("select", ["largest", "track", "all"])
@pytest.mark.parametrize("perturb", ["", "jpeg-30"])
def test_batches_give_what_the_clip_gives_at_once(batches, rng, tmp_path, select, perturb):
    images, numbers = frames_of(rng, 5), [0, 3, 7, 8, 20]
    settings = FaceSettings(detector="none", size=16, select=select, perturb=perturb)
    batches(Frames(images, numbers))
    known = crop_faces(tmp_path, settings, WholeFrame())
    batches(Frames(images[:2], numbers[:2]), Frames(images[2:], numbers[2:]), Frames([], [], "a note"))
    found = crop_faces(tmp_path, settings, WholeFrame())
    assert (known.note, found.note) == ("", "a note")
    for name in vars(known):
        if name != "note":
            np.testing.assert_array_equal(getattr(found, name), getattr(known, name))


def test_a_batch_is_gone_before_the_next_is_decoded(monkeypatch, rng, tmp_path):
    images, alive = [], []

    def read(path, sampling, **options):
        for number in range(4):
            gc.collect()
            alive.append(sum(reference() is not None for reference in images))
            image = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            images.append(weakref.ref(image))
            batch = Frames([image], [number])
            del image
            yield batch
            del batch

    monkeypatch.setattr(reading, "read_batches", read)
    assert len(crop_faces(tmp_path, ALL, WholeFrame()).frames) == 4
    assert alive == [0, 0, 0, 0]


def test_the_settings_say_what_is_read(batches, rng, tmp_path):
    calls = batches(Frames(frames_of(rng, 1), [0]))
    settings = FaceSettings(
        detector="none", frames=3, every="500ms", max_pixels=5_000_000, damaged="use", size=16
    )
    crop_faces(tmp_path, settings, WholeFrame())
    assert list(read_clip(tmp_path, settings))
    wanted = (tmp_path, Sampling(count=3, every=0.5), {"max_pixels": 5_000_000, "damaged": "use"})
    assert calls == [wanted] * 2


def test_a_track_goes_on_in_the_next_batch(batches, rng, tmp_path):
    def find(frames):  # a large face in the first two frames, a small one in all
        return [
            [box(20, 20, 60, 60), box(0, 0, 10, 10)] if frame[0, 0, 0] else [box(1, 0, 11, 10)]
            for frame in frames
        ]

    def box(*corners):
        from extract.faces import Detection

        return Detection(np.array(corners, np.float32), 0.99, np.zeros((5, 2), np.float32))

    both, one = np.full((64, 64, 3), 9, np.uint8), np.zeros((64, 64, 3), np.uint8)
    batches(Frames([both, both], [0, 5]), Frames([one], [10]), Frames([one, one], [15, 20]))
    found = crop_faces(tmp_path, FaceSettings(size=16, select="track"), find)
    assert found.frames.tolist() == [0, 5, 10, 15, 20]
    assert found.boxes[:, 2].tolist() == [10, 10, 11, 11, 11]
    assert found.people == 2
    largest = crop_faces(tmp_path, FaceSettings(size=16), find)
    assert largest.boxes[:, 2].tolist() == [60, 60, 11, 11, 11]


def test_a_batch_without_a_frame_is_fine(batches, tmp_path):
    batches(Frames([], [], "nothing left"))
    found = crop_faces(tmp_path, FaceSettings(detector="none", perturb="h264-23"), WholeFrame())
    assert (found.searched, len(found.crops), found.note) == (0, 0, "nothing left")


def test_frames_in_memory_give_what_the_file_gives(batches, rng, tmp_path):
    frames = Frames(frames_of(rng, 2), [0, 1])
    batches(frames)
    known, found = crop_faces(tmp_path, ALL, WholeFrame()), crop_frames(frames, ALL, WholeFrame())
    np.testing.assert_array_equal(found.crops, known.crops)


# -- what one file breaks ------------------------------------------------------------------------------------


def no_memory():
    error = cv2.error("Failed to allocate 99 bytes")
    error.code = cv2.Error.StsNoMem
    return error


CASES = [
    (PermissionError(13, "Permission denied"), "E_CLIP_NOT_READ", "Permission denied"),
    (OSError("no number"), "E_CLIP_NOT_READ", "no number"),
    (MemoryError(), "E_CLIP_MEMORY", "max_pixels"),
    (no_memory(), "E_CLIP_MEMORY", "max_pixels"),
    (cv2.error("assertion failed\nmore"), "E_CLIP_UNREADABLE", "assertion failed"),
    (ValueError("embedded null byte"), "E_CLIP_UNREADABLE", "embedded null byte"),
    (UnreadableClip("cut off", code="E_CLIP_DAMAGED"), "E_CLIP_DAMAGED", "cut off"),
]


@pytest.mark.parametrize(("error", "code", "said"), CASES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("where", ["reading", "searching"])
def test_what_one_file_breaks_has_a_code(monkeypatch, tmp_path, rng, error, code, said, where):
    def read(path, sampling, **options):
        yield Frames(frames_of(rng, 1), [0])
        raise error

    def find(frames):
        raise error

    monkeypatch.setattr(reading, "read_batches", read)
    with pytest.raises(UnreadableClip, match=said) as caught:
        crop_faces(tmp_path, ALL, find if where == "searching" else WholeFrame())
    assert caught.value.code == code
    assert "\n" not in caught.value.message
    assert pickle.loads(pickle.dumps(caught.value)).code == code  # it comes from other processes


@pytest.mark.parametrize(
    "error", [RequestError("wrong"), KeyboardInterrupt(), TypeError("ours"), RuntimeError()]
)
def test_everything_else_passes(error):
    with pytest.raises(type(error)), one_file():
        raise error


@pytest.mark.parametrize(
    ("name", "code"), [("gone.png", "E_CLIP_NOT_READ"), ("a\0b.png", "E_CLIP_UNREADABLE")]
)
def test_names_that_lead_nowhere_are_answers(tmp_path, name, code):
    with pytest.raises(UnreadableClip) as caught:
        crop_faces(tmp_path / name, ALL, WholeFrame())
    assert caught.value.code == code
