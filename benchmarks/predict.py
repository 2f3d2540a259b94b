"""Files or pictures in, one prediction each out: in order, in full batches, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from classify.metrics import Floats
from extract.errors import RequestError, first_line
from extract.extractors import BATCH
from extract.faces import FaceDetector, Faces, FaceSettings, crop_faces, crop_frames
from extract.video import Frames, Image, UnreadableClip

Verdict = Literal["fake", "real", "no-face", "unreadable"]
Input = str | Path | Image
WAITING = 64  # inputs that wait for a batch to fill before it is computed as it is


@dataclass(frozen=True)
class FaceScore:
    """One face: frame number, box (x1, y1, x2, y2) in pixels of the frame, detection confidence, score."""

    frame: int
    box: tuple[float, float, float, float]
    confidence: float
    score: float


@dataclass(frozen=True)
class Prediction:
    """What a detector says of one file or picture.

    Attributes
    ----------
    name : str
        The path as it was given; ``image 0``, ``image 1``, ... for pictures in memory, counted with the files.
    verdict : {"fake", "real", "no-face", "unreadable"}
        Fake where the score is at or above the threshold. Without a face there is no verdict.
    score : float or None
        The aggregate of the faces' scores.
    probability : float or None
        Of fake, where the detector is calibrated.
    threshold : float
    faces : tuple of FaceScore
    note : str
        Why there is no verdict, or what to know about it; else empty.
    """

    name: str
    verdict: Verdict
    score: float | None
    probability: float | None
    threshold: float
    faces: tuple[FaceScore, ...]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Looked:
    """An input after the search for faces: they, without crops, or why it gives none."""

    name: str
    faces: Faces
    error: str = ""

    @property
    def count(self) -> int:
        return len(self.faces.frames)


def predict(
    inputs: Iterable[Input],
    *,
    settings: FaceSettings,
    find: FaceDetector,
    score: Callable[[Image], Floats],
    judge: Callable[[Looked, Floats], Prediction],
) -> Iterator[Prediction]:
    """Predict one input after another.

    Faces of several inputs make one batch: an input with few faces does not cost a whole one. What is kept is at
    most `WAITING` inputs without pixels, a batch of crops, and the frames of one input.

    Parameters
    ----------
    score : callable
        Crops (n, s, s, 3) uint8, n at most `BATCH` -> scores (n,).
    judge : callable
        An input and the scores of its faces -> its prediction.

    Yields
    ------
    Prediction
        One an input, in their order.

    Raises
    ------
    RequestError
        An input that is neither a path nor a picture.
    """
    waiting: deque[Looked] = deque()
    crops: list[Image] = []
    scores: list[float] = []

    def finished() -> Iterator[Prediction]:
        while waiting and waiting[0].count <= len(scores):
            looked = waiting.popleft()
            mine = np.array(scores[: looked.count])
            del scores[: looked.count]
            yield judge(looked, mine)

    for number, given in enumerate(inputs):
        looked = _look(given, number, settings=settings, find=find)
        crops.extend(looked.faces.crops)
        waiting.append(replace(looked, faces=replace(looked.faces, crops=np.empty(0, np.uint8))))
        while len(crops) >= BATCH or (crops and len(waiting) > WAITING):
            scores.extend(score(np.stack(crops[:BATCH])))
            del crops[:BATCH]
        yield from finished()
    if crops:
        scores.extend(score(np.stack(crops)))
    yield from finished()


def _look(given: Input, number: int, *, settings: FaceSettings, find: FaceDetector) -> Looked:
    """Decode an input and find its faces; a file that gives no frame is an answer, not an error."""
    if isinstance(given, np.ndarray):
        frames = Frames([_checked(given, number)], [0])
        return Looked(f"image {number}", crop_frames(frames, settings, find))
    if not isinstance(given, str | Path):
        raise RequestError(f"Expected a path or an array; got {type(given).__name__}. Pass a path.")
    try:
        return Looked(str(given), crop_faces(Path(given), settings, find))
    except UnreadableClip as error:
        return Looked(str(given), _no_faces(), error.message)
    except OSError as error:
        return Looked(str(given), _no_faces(), f"cannot be read: {error.strerror or first_line(error)}")
    except (
        cv2.error,
        ValueError,
        MemoryError,
    ) as error:  # what a path or a picture can break, one file at a time
        return Looked(str(given), _no_faces(), f"cannot be read: {first_line(error)}")


def _checked(image: Image, number: int) -> Image:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise RequestError(
            f"Expected pictures (h, w, 3) uint8 RGB; image {number} is {image.shape} {image.dtype}. Convert it."
        )
    return image


def _no_faces() -> Faces:
    empty = np.empty(0)
    return Faces(
        crops=np.empty(0, np.uint8),
        frames=empty.astype(np.int64),
        boxes=np.empty((0, 4), np.float32),
        confidences=empty.astype(np.float32),
        searched=0,
    )
