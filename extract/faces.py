"""Find faces in frames and crop them, at full resolution, by stated rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import starmap
from pathlib import Path
from typing import Annotated, Literal, Protocol, cast

import cv2
import numpy as np
import numpy.typing as npt
import pydantic

from extract.files import digest
from extract.mtcnn import SMALLEST, Cascade
from extract.perturb import parse_perturbation
from extract.registry import Registry
from extract.video import Frames, Image, read_frames

Floats = npt.NDArray[np.float32]
MIN_FACE = 0.045  # in 640 pixels: the search begins one size of MTCNN's pyramid later, at half the cost
CROPS = 2  # of the code below and in video.py: raise it when the same settings give other crops


def _perturbation_name(name: str) -> str:
    return parse_perturbation(name).name if name else ""


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class FaceSettings:
    """Which frames are taken from a clip, and how faces are found and cropped in them.

    Attributes
    ----------
    frames : int
        The most frames to take from a clip.
    stride : int, optional
        Take every `stride`-th frame; without it the frames are spread evenly over the clip.
    detector : str
        ``mtcnn``, or ``none`` for images that are face crops already: the whole frame, scaled to a square, is
        then the face.
    detect_size : int
        Frames are scaled down to this many pixels on the long side before faces are searched; boxes are mapped
        back and crops are taken at full resolution.
    min_face : float
        Faces whose longer side is below this share of the frame's long side need not be found: the search for
        small faces is what costs time. At 0.045 that is 86 pixels in a frame 1920 wide. Faces below 20 pixels of
        the scaled frame are never searched.
    min_confidence : float
        Faces below this detector probability are not used.
    select : {"largest", "all"}
        Which faces of a frame to use.
    margin : float
        The crop is a square of (1 + margin) times the longer side of the box around its centre. Pixels outside
        the frame are black.
    size : int
        Side of the stored crops, pixels.
    no_face : {"skip", "fail"}
        A clip without a usable face is left out and reported, or ends the run.
    perturb : str
        One perturbation of `extract.perturb`, ``jpeg-30``, that every clip goes through before faces are searched;
        empty for none. A clip that it does not apply to is one without a usable face.
    """

    frames: int = pydantic.Field(default=32, ge=1)
    stride: int | None = pydantic.Field(default=None, ge=1)
    detector: str = "mtcnn"
    detect_size: int = pydantic.Field(default=640, ge=64)
    min_face: float = pydantic.Field(default=MIN_FACE, ge=0, le=0.5)
    min_confidence: float = pydantic.Field(default=0.9, ge=0, le=1)
    select: Literal["largest", "all"] = "largest"
    margin: float = pydantic.Field(default=0.3, ge=0)
    size: int = pydantic.Field(default=224, ge=16)
    no_face: Literal["skip", "fail"] = "skip"
    perturb: Annotated[str, pydantic.AfterValidator(_perturbation_name)] = ""


@dataclass(frozen=True)
class Detection:
    """One face in one frame: box (x1, y1, x2, y2) and five landmarks (5, 2) in pixels of that frame."""

    box: Floats
    confidence: float
    landmarks: Floats


@dataclass(frozen=True)
class Faces:
    """The crops of one clip.

    Attributes
    ----------
    crops : (n, s, s, 3) uint8 RGB
    frames : (n,) int, position of each crop's frame in the clip
    boxes : (n, 4) float32, x1, y1, x2, y2 in pixels of the full frame
    confidences : (n,) float32
    searched : int, number of frames that were searched
    note : str, what was wrong with a clip that could still be used, else empty
    """

    crops: Image
    frames: npt.NDArray[np.int64]
    boxes: Floats
    confidences: Floats
    searched: int
    note: str = ""


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
                found[i] = sorted(starmap(self._detection, zip(*table, strict=True)), key=_area, reverse=True)
        return found

    @staticmethod
    def _detection(box: Floats, confidence: np.float32, landmarks: Floats) -> Detection:
        return Detection(box, float(confidence), landmarks)


def face_detector(settings: FaceSettings) -> FaceDetector:
    """Build the face detector that settings name."""
    made = FACE_DETECTORS[settings.detector]
    return MTCNN(min_face=settings.min_face) if made is MTCNN else made()


def faces_key(settings: FaceSettings) -> str:
    """Name the store folder of these settings: readable, and different whenever a crop could differ."""
    # OpenCV and PyAV decode, OpenCV scales: another release may give other pixels.
    made_by = [
        CROPS,
        FACE_DETECTORS[settings.detector].fingerprint,
        cv2.__version__,
        version("av"),
        *_elsewhere(settings),
    ]
    beside = {"no_face", "perturb"}
    values = {k: v for k, v in vars(settings).items() if not k.startswith("_") and k not in beside}
    if not settings.perturb:
        return f"{settings.detector}-{settings.size}-{digest([values, *made_by])[:16]}"
    hashed = digest([values, *made_by, *parse_perturbation(settings.perturb).key])
    return f"{settings.detector}-{settings.size}-{settings.perturb}-{hashed[:16]}"


def _elsewhere(settings: FaceSettings) -> list[str]:
    """Return the device of a detector that runs on another one than the processor: its boxes may differ a little."""
    if FACE_DETECTORS[settings.detector] is not MTCNN:
        return []
    import torch

    return ["cuda"] if torch.cuda.is_available() else []


def crop_faces(path: Path, settings: FaceSettings, detector: FaceDetector) -> Faces:
    """Decode a clip's frames, find faces and crop them.

    Returns
    -------
    Faces
        No row where no face was found.

    Raises
    ------
    UnreadableClip
        The file gives no frame, or the settings' perturbation does not apply to it.
    """
    frames = read_frames(path, count=settings.frames, stride=settings.stride)
    if settings.perturb:
        frames = parse_perturbation(settings.perturb).apply(frames, path=path)
    return crop_frames(frames, settings, detector)


def crop_frames(frames: Frames, settings: FaceSettings, detector: FaceDetector) -> Faces:
    """Find faces in decoded frames and crop them; returns as `crop_faces`."""
    chosen = [
        (number, image, detection)
        for number, image, found in zip(
            frames.numbers, frames.images, _find(frames, settings, detector), strict=True
        )
        for detection in _select(found, settings)
    ]
    side = settings.size
    crops = [crop(image, d.box, margin=_margin(settings), size=side) for _, image, d in chosen]
    return Faces(
        crops=np.stack(crops) if crops else np.empty((0, side, side, 3), np.uint8),
        frames=np.array([number for number, _, _ in chosen], np.int64),
        boxes=np.array([d.box for _, _, d in chosen], np.float32).reshape(-1, 4),
        confidences=np.array([d.confidence for _, _, d in chosen], np.float32),
        searched=len(frames.images),
        note=frames.note,
    )


def crop(image: Image, box: Floats, *, margin: float, size: int) -> Image:
    """Cut a square around a box and scale it.

    Parameters
    ----------
    image : (h, w, 3) uint8 RGB
    box : (4,) x1, y1, x2, y2 in pixels
    margin : float
        Share of the box's longer side that is added to the square's side.
    size : int
        Side of the result, pixels; shrunk by area averaging, enlarged by cubic interpolation.

    Returns
    -------
    (size, size, 3) uint8 RGB
    """
    height, width = image.shape[:2]
    if margin == 0 and tuple(box) == (0, 0, width, height):
        return _scale(image, size)
    x1, y1, x2, y2 = (float(v) for v in box)
    side = max(1, round(max(x2 - x1, y2 - y1) * (1 + margin)))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    square = np.zeros((side, side, 3), np.uint8)
    inside = image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    square[max(-top, 0) :, max(-left, 0) :][: inside.shape[0], : inside.shape[1]] = inside
    return _scale(square, size)


def _find(frames: Frames, settings: FaceSettings, detector: FaceDetector) -> list[list[Detection]]:
    """Search scaled-down frames; boxes and landmarks come back in pixels of the full frames."""
    limit = float("inf") if settings.detector == "none" else settings.detect_size
    scales = [min(1.0, limit / max(image.shape[:2])) for image in frames.images]
    found = detector([_shrink(image, scale) for image, scale in zip(frames.images, scales, strict=True)])
    return [
        [Detection(d.box / np.float32(s), d.confidence, d.landmarks / np.float32(s)) for d in detections]
        for detections, s in zip(found, scales, strict=True)
    ]


def _select(found: list[Detection], settings: FaceSettings) -> list[Detection]:
    sure = [d for d in found if d.confidence >= settings.min_confidence]
    if settings.select == "all":
        return sure
    return sorted(sure, key=_area, reverse=True)[:1]


def _area(detection: Detection) -> float:
    x1, y1, x2, y2 = detection.box
    return float((x2 - x1) * (y2 - y1))


def _margin(settings: FaceSettings) -> float:
    return 0.0 if settings.detector == "none" else settings.margin


def _shrink(image: Image, scale: float) -> Image:
    if scale == 1.0:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cast(Image, cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _scale(image: Image, size: int) -> Image:
    if image.shape[:2] == (size, size):
        return image
    method = cv2.INTER_AREA if min(image.shape[:2]) > size else cv2.INTER_CUBIC
    return cast(Image, cv2.resize(image, (size, size), interpolation=method))
