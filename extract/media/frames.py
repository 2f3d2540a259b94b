"""What comes out of a file, and which part of it was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from extract.errors import UnreadableClip

Image = npt.NDArray[np.uint8]
Damaged = Literal["skip", "use"]
MAX_PIXELS = 200_000_000  # of one picture, unless settings say otherwise
HELD = 35_000_000  # pixels of the frames that are handed on together: 16 of 1080 lines, one of 8K


@dataclass(frozen=True)
class Frames:
    """Decoded frames of one clip, all or some of them.

    Attributes
    ----------
    images : list of (h, w, 3) uint8 RGB
    numbers : list of int
        Position of each image in the clip, from 0, in the order in which a player shows them.
    note : str
        What was wrong with a clip that could still be used, else empty.
    """

    images: list[Image]
    numbers: list[int]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which frames to take from a video; a still is a clip of one frame.

    Attributes
    ----------
    count : int
        The most frames to take. Where more are asked for, they are spread evenly over those.
    stride : int, optional
        Every `stride`-th frame.
    every : float, optional
        Seconds: one frame in each interval of this length, the one that is shown when it begins.
    keyframes : bool
        Only frames that the file stores whole, which decode without any other.

    Without `stride`, `every` and `keyframes`, frames are spread evenly over the clip's duration.
    """

    count: int
    stride: int | None = None
    every: float | None = None
    keyframes: bool = False


def spread(total: int, count: int) -> list[int]:
    """Choose `count` of `total` frames: the middle frame of each of `count` equal stretches of the clip.

    >>> spread(100, 4)
    [12, 37, 62, 87]
    >>> spread(2, 4)
    [0, 1]
    """
    if total <= count:
        return list(range(total))
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def limited(positions: Sequence[int], count: int) -> list[int]:
    """Choose at most `count` of some positions, spread evenly over them.

    >>> limited([0, 30, 60, 90], 2)
    [30, 90]
    """
    return [positions[i] for i in spread(len(positions), count)]


def check_size(width: int, height: int, *, max_pixels: int) -> None:
    """Refuse a picture of more pixels than the budget; called before any decoder takes memory for them.

    Raises
    ------
    UnreadableClip
        Code E_CLIP_TOO_LARGE.
    """
    if width * height > max_pixels:
        raise UnreadableClip(
            f"{width} x {height} = {width * height:,} pixels are more than max_pixels = {max_pixels:,}",
            code="E_CLIP_TOO_LARGE",
        )
