"""Search frames for usable faces, scaled down, and turned where none is found for sure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from extract.faces.crops import shrink
from extract.faces.detectors import Detection, FaceDetector
from extract.faces.settings import FaceSettings
from extract.faces.turns import TURNS, turn
from extract.media.frames import Image

# Confidence from which nobody need look whether the frame is upright. Of 100 photographs turned by 90, 180 and 270
# degrees, MTCNN takes 21, 53 and 25 for a face as they are (0.9 and above), but only 1 of 300 with 0.999 and above,
# where 98 of the 100 upright ones are; in all 300 the right turn has the surest face.
SURE = 0.999


@dataclass(frozen=True)
class Seen:
    """The usable faces of one frame.

    Attributes
    ----------
    turned : int
        Degrees by which the frame was turned clockwise.
    faces : list of Detection
        In pixels of the full frame, turned so; largest first as the detector gives them.
    """

    turned: int
    faces: list[Detection]

    @property
    def confidence(self) -> float:
        """Of the surest face; 0 without any."""
        return max((face.confidence for face in self.faces), default=0.0)


def search(images: Sequence[Image], settings: FaceSettings, detector: FaceDetector) -> list[Seen]:
    """Find the faces in frames (h, w, 3) uint8 RGB that are at least as confident as the settings ask."""
    limit = float("inf") if settings.detector == "none" else settings.detect_size
    scales = [min(1.0, limit / max(image.shape[:2])) for image in images]
    small = [shrink(image, scale) for image, scale in zip(images, scales, strict=True)]
    seen = [Seen(0, faces) for faces in _usable(detector(small), scales, settings)]
    doubtful = [i for i, one in enumerate(seen) if one.confidence < SURE]
    if settings.upright == "try" and doubtful:
        images, scales = [small[i] for i in doubtful], [scales[i] for i in doubtful]
        turned = [_search_turned(images, scales, settings, degrees=d, detector=detector) for d in TURNS]
        for i, *tries in zip(doubtful, *turned, strict=True):
            seen[i] = max([seen[i], *tries], key=lambda one: one.confidence)  # the first of equals: as it is
    return seen


def _search_turned(
    small: Sequence[Image],
    scales: Sequence[float],
    settings: FaceSettings,
    *,
    degrees: int,
    detector: FaceDetector,
) -> list[Seen]:
    found = detector([turn(image, degrees) for image in small])
    return [Seen(degrees, faces) for faces in _usable(found, scales, settings)]


def _usable(
    found: Iterable[list[Detection]], scales: Sequence[float], settings: FaceSettings
) -> list[list[Detection]]:
    """Keep confident faces, in pixels of the full frames."""
    return [
        [_enlarge(face, scale) for face in faces if face.confidence >= settings.min_confidence]
        for faces, scale in zip(found, scales, strict=True)
    ]


def _enlarge(face: Detection, scale: float) -> Detection:
    by = np.float32(scale)
    return Detection(face.box / by, face.confidence, face.landmarks / by)
