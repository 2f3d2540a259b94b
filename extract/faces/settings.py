"""The settings of the crops: which frames, which faces, how they are cut out."""

import math
import re
from typing import Annotated, Any, Literal, Self

import numpy as np
import pydantic

from extract.errors import RequestError
from extract.media.frames import MAX_PIXELS, Damaged, Sampling
from extract.media.perturb import parse_perturbation

MIN_FACE = 0.045  # in 640 pixels: the search begins one size of MTCNN's pyramid later, at half the cost
DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s)")
UNITS = {"s": 1.0, "ms": 0.001}


def seconds(duration: str) -> float:
    """Read a duration in seconds or milliseconds.

    Raises
    ------
    RequestError
        Another unit, no unit, or nothing above zero.

    >>> seconds("500ms"), seconds("1s")
    (0.5, 1.0)
    """
    found = DURATION.fullmatch(duration.strip())
    length = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 0 < length < math.inf:
        raise RequestError(
            f"Expected a duration above zero such as 1s, 0.5s or 500ms; got {duration!r}.", code="E_DURATION"
        )
    return length


def _duration(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else repr(value)
    return f"{np.format_float_positional(seconds(text), trim='-')}s"  # 500ms and 0.5s are one key


def _perturbation_name(name: str) -> str:
    return parse_perturbation(name).name if name else ""


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class FaceSettings:
    """Which frames are taken from a clip, and how faces are found and cropped in them.

    At most one of `stride`, `every` and ``at = "keyframes"`` may be given.

    Attributes
    ----------
    frames : int
        The most frames to take from a clip.
    stride : int, optional
        Take every `stride`-th frame.
    every : str, optional
        Take one frame in each interval of this length: ``1s``, ``0.5s``, ``500ms``.
    at : {"spread", "keyframes"}
        Spread the frames evenly over the clip's duration, or take only those that the file stores whole, which is
        several times faster. Without meaning where `stride` or `every` is given.
    max_pixels : int
        The most pixels of one picture: larger ones are refused before they are decoded, which bounds memory
        (`docs/files.md`, Memory). Frames of a video are held some 35 million pixels at a time, whatever this is.
    damaged : {"skip", "use"}
        Leave a damaged clip out, or use what can be decoded of it; it is listed either way.
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
    select : {"largest", "track", "all"}
        Which faces of a clip to use: the largest of each frame, which may be another person in the next one; those of
        the person who is seen longest, see `extract.faces.tracks`; or all.
    upright : {"as_is", "try"}
        Whether frames that show no face for sure are searched again turned by 90, 180 and 270 degrees; the turn with
        the surest face is used.
    margin : float
        The crop is a square of (1 + margin) times the longer side of the box around its centre. Pixels outside
        the frame are black.
    size : int
        Side of the stored crops, pixels.
    no_face : {"skip", "fail"}
        A clip without a usable face is left out and reported, or ends the run.
    perturb : str
        One perturbation of `extract.media.perturb`, ``jpeg-30``, that every clip goes through before faces are
        searched; empty for none. A clip that it does not apply to is one without a usable face.
    """

    frames: int = pydantic.Field(default=32, ge=1)
    stride: int | None = pydantic.Field(default=None, ge=1)
    every: Annotated[str | None, pydantic.BeforeValidator(_duration)] = None
    at: Literal["spread", "keyframes"] = "spread"
    max_pixels: int = pydantic.Field(default=MAX_PIXELS, ge=1_000_000)
    damaged: Damaged = "skip"
    detector: str = "mtcnn"
    detect_size: int = pydantic.Field(default=640, ge=64)
    min_face: float = pydantic.Field(default=MIN_FACE, ge=0, le=0.5)
    min_confidence: float = pydantic.Field(default=0.9, ge=0, le=1)
    select: Literal["largest", "track", "all"] = "largest"
    upright: Literal["as_is", "try"] = "as_is"
    margin: float = pydantic.Field(default=0.3, ge=0)
    size: int = pydantic.Field(default=224, ge=16)
    no_face: Literal["skip", "fail"] = "skip"
    perturb: Annotated[str, pydantic.AfterValidator(_perturbation_name)] = ""

    @property
    def sampling(self) -> Sampling:
        """Which frames to decode."""
        every = seconds(self.every) if self.every else None
        return Sampling(count=self.frames, stride=self.stride, every=every, keyframes=self.at == "keyframes")

    @pydantic.model_validator(mode="after")
    def _one_sampling(self) -> Self:
        given = {
            "stride": self.stride is not None,
            "every": self.every is not None,
            'at = "keyframes"': self.at == "keyframes",
        }
        names = [name for name, there in given.items() if there]
        if len(names) > 1:
            raise RequestError(
                f"Expected one way to choose frames; got {' and '.join(names)}. Keep one.",
                code="E_FACES_SAMPLING",
            )
        return self
