"""Files or pictures in, one prediction each out: in order, in full batches, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from classify.metrics import Floats
from extract.errors import RequestError, UnreadableClip
from extract.extractors import BATCH
from extract.faces import FaceDetector, Faces, FaceSettings, crop_faces, crop_frames, one_file, whole_crops
from extract.media.frames import Frames, Image

Verdict = Literal["fake", "real", "no-face", "unreadable"]
Input = str | Path | Image
WAITING = 64  # inputs that wait for a batch to fill before it is computed as it is


@dataclass(frozen=True)
class FaceScore:
    """One face with its score.

    Attributes
    ----------
    frame : int
        Its position in the clip.
    box : tuple of float
        x1, y1, x2, y2 in pixels of the frame.
    confidence : float
        Of the detection.
    score : float
    size : float
        Longer side of the box, pixels of the frame.
    sharpness : float
        Variance of the Laplacian, see `extract.faces.quality.sharpness`.
    outside : float
        Share of the crop that lies outside the frame.
    turned : int
        Degrees by which the frame was turned clockwise to find it.
    note : str
        What is poor about it, else empty.
    """

    frame: int
    box: tuple[float, float, float, float]
    confidence: float
    score: float
    size: float
    sharpness: float
    outside: float
    turned: int = 0
    note: str = ""


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
    code : str
        Of the reason why there is no verdict: that of the `UnreadableClip`, or ``E_NO_FACE``; else empty.
    """

    name: str
    verdict: Verdict
    score: float | None
    probability: float | None
    threshold: float
    faces: tuple[FaceScore, ...]
    note: str = ""
    code: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Looked:
    """An input after the search for faces: they, without crops, or why it gives none, with the code."""

    name: str
    faces: Faces
    error: str = ""
    code: str = ""

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
    if not isinstance(given, str | Path | np.ndarray):
        raise RequestError(f"Expected a path or an array; got {type(given).__name__}. Pass a path.")
    name = f"image {number}" if isinstance(given, np.ndarray) else str(given)
    try:
        return Looked(name, _faces(given, number, settings=settings, find=find))
    except UnreadableClip as error:
        return Looked(name, _no_faces(), error.message, error.code)


def _faces(given: Input, number: int, *, settings: FaceSettings, find: FaceDetector) -> Faces:
    if not isinstance(given, np.ndarray):
        return crop_faces(Path(given), settings, find)
    with one_file():
        return crop_frames(Frames([_checked(given, number)], [0]), settings, find)


def _checked(image: Image, number: int) -> Image:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise RequestError(
            f"Expected pictures (h, w, 3) uint8 RGB; image {number} is {image.shape} {image.dtype}. Convert it."
        )
    return image


def _no_faces() -> Faces:
    return whole_crops(np.empty((0, 1, 1, 3), np.uint8))
