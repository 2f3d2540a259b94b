"""Face detectors that find what a test says, and pictures to find it in."""

import cv2
import numpy as np
import pytest

from extract.faces import MTCNN, Detection


def make_detection(*values, confidence=0.99):
    return Detection(np.array(values, np.float32), confidence, np.zeros((5, 2), np.float32))


class Fixed:
    """Finds the same faces in every frame."""

    fingerprint = "fixed"

    def __init__(self, *found):
        self.found, self.shapes = list(found), []

    def __call__(self, frames):
        self.shapes += [frame.shape for frame in frames]
        return [self.found for _ in frames]


class BrightPatch:
    """Finds the box around the bright pixels of a frame, and nothing in a dark one."""

    fingerprint = "bright"

    def __call__(self, frames):
        return [self._patch(frame.mean(axis=2) > 127) for frame in frames]

    @staticmethod
    def _patch(bright):
        if not bright.any():
            return []
        y, x = np.nonzero(bright)
        return [make_detection(x.min(), y.min(), x.max() + 1, y.max() + 1)]


@pytest.fixture(scope="session")
def detection():
    """Make a `Detection` of a box."""
    return make_detection


@pytest.fixture
def fixed():
    """Make a detector that finds the given faces in every frame."""
    return Fixed


@pytest.fixture
def bright_patch():
    return BrightPatch()


@pytest.fixture(scope="session")
def coordinates():
    """Make an image whose pixel (y, x) is (x, y, 255)."""

    def make(height, width):
        y, x = np.mgrid[:height, :width]
        return np.stack([x, y, np.full_like(x, 255)], axis=2).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def mtcnn():
    return MTCNN()


@pytest.fixture(scope="session")
def portrait(shared):
    image = cv2.imread(str(shared("data/portraits/female_00.jpg")), cv2.IMREAD_COLOR_RGB)
    return cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)
