import numpy as np
import pytest

from extract.faces import FaceSettings
from extract.faces.search import SURE, search
from extract.faces.turns import TURNS, turn


class Upright:
    """Finds the bright half of a frame where it lies above the dark one; the redder, the surer."""

    fingerprint = "upright"

    def __init__(self, detection):
        self.detection, self.searched = detection, 0

    def __call__(self, frames):
        self.searched += len(frames)
        return [self._find(frame) for frame in frames]

    def _find(self, frame):
        height, width = frame.shape[:2]
        upper, lower = frame[: height // 2, :, 0].mean(), frame[height // 2 :, :, 0].mean()
        if upper < lower + 100:
            return []
        return [self.detection(2, 1, width - 4, height / 2, confidence=float(upper) / 255)]


@pytest.fixture
def upright(detection):
    return Upright(detection)


@pytest.fixture
def head():
    """Make a frame, bright above and dark below."""

    def make(height=40, width=60, level=255):
        image = np.zeros((height, width, 3), np.uint8)
        image[: height // 2] = level
        return image

    return make


TRY = FaceSettings(upright="try", min_confidence=0.5)


@pytest.mark.parametrize("degrees", TURNS)
def test_a_frame_without_a_face_is_turned_until_there_is_one(upright, head, degrees):
    image = turn(head(), 360 - degrees)
    (seen,) = search([image], TRY, upright)
    assert seen.turned == degrees
    assert [face.box.tolist() for face in seen.faces] == [[2, 1, 56, 20]]


def test_boxes_are_in_pixels_of_the_full_turned_frame(upright, head):
    image = turn(head(400, 600), 90)
    (seen,) = search([image], FaceSettings(upright="try", detect_size=64, min_confidence=0.5), upright)
    assert seen.turned == 270
    np.testing.assert_allclose(seen.faces[0].box, np.array([2, 1, 60, 21.5]) * 600 / 64, atol=5)


def test_only_frames_without_a_face_are_turned(upright, head):
    frames = [head(), turn(head(), 180), head(), np.zeros((40, 60, 3), np.uint8)]
    seen = search(frames, TRY, upright)
    assert [one.turned for one in seen] == [0, 180, 0, 0]
    assert [len(one.faces) for one in seen] == [1, 1, 1, 0]
    assert upright.searched == 4 + 3 * 2


def test_as_it_is_nothing_is_turned(upright, head):
    (seen,) = search([turn(head(), 90)], FaceSettings(), upright)
    assert (seen.turned, seen.faces) == (0, [])
    assert upright.searched == 1


def test_the_turn_with_the_surest_face_is_taken(detection):
    # A frame of 3 x 5 pixels: its turns differ in shape and in where the mark is.
    image = np.zeros((3, 5, 3), np.uint8)
    image[0, 0] = 9
    chances = {(5, 3): [0.6, 0.7], (3, 5): [0.95]}

    def find(frames):
        return [
            [] if frame[0, 0, 0] else [detection(0, 0, 2, 2, confidence=chances[frame.shape[:2]].pop())]
            for frame in frames
        ]

    (seen,) = search([image], TRY, find)
    assert seen.turned == 180
    assert [face.confidence for face in seen.faces] == [0.95]


def test_a_face_that_is_not_sure_is_searched_turned_and_the_surest_is_taken(detection):
    # Of a frame of 3 x 5 pixels: as it is, turned by 90, 180, 270.
    def found(*chances):
        left = list(chances)

        def find(frames):
            return [[detection(0, 0, 2, 2, confidence=left.pop(0))] for _ in frames]

        (seen,) = search([np.zeros((3, 5, 3), np.uint8)], TRY, find)
        return seen.turned, seen.faces[0].confidence, len(left)

    assert found(SURE, 0.9999, 1.0, 1.0) == (0, SURE, 3)
    assert found(0.95, 0.9, 0.97, 0.96) == (180, 0.97, 0)
    assert found(0.95, 0.95, 0.95, 0.9) == (0, 0.95, 0)


def test_an_unsure_face_of_a_turned_frame_is_none(upright, head):
    (seen,) = search([turn(head(level=110), 90)], FaceSettings(upright="try"), upright)
    assert (seen.turned, seen.faces) == (0, [])
