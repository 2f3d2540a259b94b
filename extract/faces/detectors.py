"""What finds faces in frames, by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import starmap
from typing import Protocol

import numpy as np
import numpy.typing as npt

from extract.faces.cascade import SMALLEST, Cascade
from extract.faces.settings import MIN_FACE, FaceSettings
from extract.media.frames import Image
from extract.registry import Registry

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Detection:
    """One face in one frame.

    Attributes
    ----------
    box : (4,) float32
        x1, y1, x2, y2 in pixels of that frame.
    confidence : float
    landmarks : (5, 2) float32
        x, y of the left eye, the right eye, the nose and the corners of the mouth, as they lie in the frame; zeros from
        a detector that finds none.
    """

    box: Floats
    confidence: float
    landmarks: Floats

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        x1, y1, x2, y2 = self.box
        return float((x2 - x1) * (y2 - y1))

    @property
    def side(self) -> float:
        """Pixels of the box's longer side."""
        x1, y1, x2, y2 = self.box
        return float(max(x2 - x1, y2 - y1))


class FaceDetector(Protocol):
    """Finds faces. `fingerprint` changes whenever the same frame could give another box."""

    fingerprint: str

    def __call__(self, frames: Sequence[Image]) -> list[list[Detection]]:
        """Return the faces of each (h, w, 3) uint8 RGB frame, largest first."""
        ...


FACE_DETECTORS: Registry[type[FaceDetector]] = Registry("face detector")


@FACE_DETECTORS.register("none")
class WholeFrame:
    """Takes the whole frame as the face, for images that are crops already."""

    fingerprint = "none"

    def __call__(self, frames: Sequence[Image]) -> list[list[Detection]]:
        return [[self._whole(*frame.shape[:2])] for frame in frames]

    @staticmethod
    def _whole(height: int, width: int) -> Detection:
        return Detection(np.array([0, 0, width, height], np.float32), 1.0, np.zeros((5, 2), np.float32))


@FACE_DETECTORS.register("mtcnn")
class MTCNN:
    """MTCNN (Zhang et al. 2016) with the weights in facenet-pytorch, on a GPU where there is one.

    Parameters
    ----------
    min_face : float
        As in `FaceSettings`.
    """

    fingerprint = f"mtcnn facenet-pytorch {version('facenet-pytorch')}"

    def __init__(self, *, min_face: float = MIN_FACE) -> None:
        self.min_face = min_face
        self._cascade = Cascade()

    def __call__(self, frames: Sequence[Image]) -> list[list[Detection]]:
        found: list[list[Detection]] = [[] for _ in frames]
        shapes = {frame.shape for frame in frames if min(frame.shape[:2]) >= SMALLEST}
        for shape in sorted(shapes):
            rows = [i for i, frame in enumerate(frames) if frame.shape == shape]
            smallest = max(SMALLEST, self.min_face * max(shape))
            tables = self._cascade.detect([frames[i] for i in rows], smallest=smallest)
            for i, table in zip(rows, tables, strict=True):
                detections = starmap(self._detection, zip(*table, strict=True))
                found[i] = sorted(detections, key=lambda one: one.area, reverse=True)
        return found

    @staticmethod
    def _detection(box: Floats, confidence: np.float32, landmarks: Floats) -> Detection:
        return Detection(box, float(confidence), landmarks)


def face_detector(settings: FaceSettings) -> FaceDetector:
    """Build the face detector that settings name."""
    made = FACE_DETECTORS[settings.detector]
    return MTCNN(min_face=settings.min_face) if made is MTCNN else made()
