"""Pillow's pictures as 8-bit arrays, and arrays turned upright."""

import cv2
import numpy as np
from PIL import Image

from extract.errors import UnreadableClip
from extract.media.stills.still import NOT_AN_IMAGE, Pixels

BAND = 1 << 18  # pixels converted at a time: no second whole picture is held, and they stay in the cache
_CHANNELS: dict[str, tuple[int, ...]] = {"L": (), "RGB": (3,), "CMYK": (4,)}
_GREY = frozenset({"1", "LA", "La"})
_COLOUR = frozenset({"P", "PA", "RGBA", "RGBX", "YCbCr"})
_TURNS = {
    3: cv2.ROTATE_180,
    6: cv2.ROTATE_90_CLOCKWISE,
    8: cv2.ROTATE_90_COUNTERCLOCKWISE,
}  # EXIF 2.3, 0x0112
_MIRRORS = {2: 1, 4: 0}  # cv2.flip's codes: left and right, top and bottom


def to_array(picture: Image.Image, *, bits: int = 16) -> Pixels:
    """Convert a loaded picture to (h, w) grey, (h, w, 3) RGB or (h, w, 4) CMYK uint8; alpha is dropped.

    Of more than 8 bits the highest 8 are kept. Whole numbers of 32 bits are taken where they are 16-bit ones.

    Parameters
    ----------
    picture : PIL.Image.Image
    bits : int
        How many bits the values of a picture of 16-bit mode have.

    Raises
    ------
    UnreadableClip
        E_CLIP_UNREADABLE: floating-point or other pixels of which nobody can say what white is.
    """
    if picture.mode in ("L", "RGB", "CMYK"):
        return _by_bands(picture, picture.mode)
    picture.info.pop("transparency", None)
    if picture.mode in _GREY:
        return _by_bands(picture, "L")
    if picture.mode in _COLOUR:
        return _by_bands(picture, "RGB")
    if picture.mode == "RGBa":
        return to_array(picture.convert("RGBA"))
    if picture.mode.startswith("I;16"):
        return (np.asarray(picture) >> (bits - 8)).astype(np.uint8)
    if picture.mode == "I":
        return _high_byte(np.asarray(picture))
    raise UnreadableClip(
        f"{NOT_AN_IMAGE}: pixels in floating point ({picture.mode}); save it in 8 or 16 bits"
    )


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation; one that is none of 2 to 8 changes nothing.

    Parameters
    ----------
    pixels : (h, w, 3) uint8
    orientation : int

    Returns
    -------
    (h, w, 3) or (w, h, 3) uint8, C-contiguous
    """
    if orientation in _MIRRORS:
        return _uint8(cv2.flip(pixels, _MIRRORS[orientation]))
    if orientation in _TURNS:
        return _uint8(cv2.rotate(pixels, _TURNS[orientation]))
    if orientation == 5:
        return _uint8(cv2.transpose(pixels))
    if orientation == 7:
        return _uint8(cv2.flip(cv2.transpose(pixels), -1))
    return pixels


def _uint8(pixels: object) -> Pixels:
    return np.asarray(pixels, np.uint8)


def _by_bands(picture: Image.Image, mode: str) -> Pixels:
    """Copy a picture out of Pillow, which spends four bytes on each pixel, some rows at a time."""
    width, height = picture.size
    rows = max(1, BAND // width)
    if rows >= height:
        return np.array(picture if picture.mode == mode else picture.convert(mode))
    pixels = np.empty((height, width, *_CHANNELS[mode]), np.uint8)
    for top in range(0, height, rows):
        band = picture.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = np.asarray(band if band.mode == mode else band.convert(mode))
    return pixels


def _high_byte(values: np.ndarray) -> Pixels:
    if values.min() < 0 or not 255 < values.max() <= 65535:
        raise UnreadableClip(f"{NOT_AN_IMAGE}: 32-bit whole numbers have no stated white")
    return (values >> 8).astype(np.uint8)
