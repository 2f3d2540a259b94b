"""A decoded still, and the refusals that every decoder shares."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from extract.errors import UnreadableClip
from extract.media.codepoints import HDR_TRANSFERS
from extract.media.frames import Damaged

Pixels = npt.NDArray[np.uint8]
NOT_AN_IMAGE = "cannot be decoded as an image"
_ORIENTATION = 0x0112


class CodePoints(NamedTuple):
    """Colour primaries and transfer function as numbered in ITU-T H.273."""

    primaries: int
    transfer: int


@dataclass(frozen=True, kw_only=True)
class Still:
    """The pixels of one picture as they are stored.

    Attributes
    ----------
    pixels : (h, w) grey, (h, w, 3) RGB or (h, w, 4) CMYK uint8
        C-contiguous; 0 in CMYK is no ink.
    profile : bytes
        The ICC profile of the pixels, empty where there is none.
    orientation : int
        EXIF orientation that is still to be applied, 1 to 8.
    notes : tuple of str
        What a user has to know of the picture.
    """

    pixels: Pixels
    profile: bytes = b""
    orientation: int = 1
    notes: tuple[str, ...] = ()


def check_damage(words: str, damaged: Damaged) -> tuple[str, ...]:
    """Refuse a damaged file, or return the note of one that is to be used; `words` are empty where it is whole.

    Raises
    ------
    UnreadableClip
        Code E_CLIP_DAMAGED.
    """
    if words and damaged == "skip":
        raise UnreadableClip(f"damaged: {words}", code="E_CLIP_DAMAGED")
    return (f"damaged: {words}",) if words else ()


def check_transfer(points: CodePoints | None) -> None:
    """Refuse a high dynamic range of which a decoder gives only 8 bits; without code points, pixels are sRGB's.

    Raises
    ------
    UnreadableClip
        Code E_CLIP_COLOUR.
    """
    if points is not None and points.transfer in HDR_TRANSFERS:
        name = HDR_TRANSFERS[points.transfer].upper()
        raise UnreadableClip(f"an HDR still ({name}), which is converted in HEIF only", code="E_CLIP_COLOUR")


def orientation_of(picture: Image.Image) -> int:
    """Return the EXIF orientation of a picture, 1 where it has none or its EXIF is broken."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) else 1
