"""JPEG by libjpeg-turbo, whose warnings are errors here; CMYK and YCCK by Adobe's convention."""

import io
from typing import cast

import numpy as np
import simplejpeg
from PIL import JpegImagePlugin

from extract.errors import UnreadableClip, first_line
from extract.media.frames import Damaged, check_size
from extract.media.stills.pixels import to_array
from extract.media.stills.quiet import quiet
from extract.media.stills.still import Pixels, Still, check_damage, orientation_of

_UNUSUAL = "subsampling"  # in the words of simplejpeg
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}


def read_jpeg(data: bytes, *, max_pixels: int, damaged: Damaged) -> Still:
    """Decode the first picture of a JPEG file or of several in one (MPO, as phones write it).

    Pillow reads the header and hides libjpeg's warnings; simplejpeg reports them. One full decoding does both: a
    scaled one would still parse every coefficient, which is most of the time.

    Raises
    ------
    UnreadableClip
        E_CLIP_TOO_LARGE, E_CLIP_DAMAGED.
    """
    with quiet():
        header = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
        orientation = orientation_of(header)
    check_size(*header.size, max_pixels=max_pixels)
    pixels, words = _decode(data, _SPACES[header.mode], max_pixels)
    notes: tuple[str, ...] = ("unusual chroma subsampling: not checked for damage",)
    if _UNUSUAL in words:
        pixels = _without_check(header)
    else:
        notes = check_damage(words, damaged)
    if pixels is None:
        raise UnreadableClip(f"damaged: {words}", code="E_CLIP_DAMAGED")
    profile = header.info.get("icc_profile") or b""
    return Still(pixels=pixels, profile=profile, orientation=orientation, notes=notes)


def _decode(data: bytes, space: str, max_pixels: int) -> tuple[Pixels | None, str]:
    """Decode strictly, and where that fails as far as it goes; return the decoder's words as well."""
    words = ""
    for strict in (True, False):
        try:
            height, width, *_ = simplejpeg.decode_jpeg_header(data, strict=strict)
            check_size(int(width), int(height), max_pixels=max_pixels)
            pixels = cast(Pixels, simplejpeg.decode_jpeg(data, space, strict=strict))
        except ValueError as error:
            words = words or first_line(error)
        else:
            return _inks(pixels, space), words
    return None, words


def _inks(pixels: Pixels, space: str) -> Pixels:
    """Drop the axis of grey, and count CMYK from 0 for no ink: Adobe stores 255."""
    if space == "CMYK":
        return np.invert(pixels, out=pixels)
    return pixels[..., 0] if space == "GRAY" else pixels


def _without_check(picture: JpegImagePlugin.JpegImageFile) -> Pixels:
    """Decode by Pillow what TurboJPEG's interface has no name for."""
    try:
        with quiet():
            picture.load()
    except OSError as error:
        raise UnreadableClip(f"damaged: {first_line(error)}", code="E_CLIP_DAMAGED") from error
    return to_array(picture)
