"""Read a still: any kind of picture file in, one upright sRGB image out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from extract.errors import UnreadableClip, first_line
from extract.media.frames import Damaged, Frames
from extract.media.kinds import still_format
from extract.media.stills.heif import read_heif
from extract.media.stills.jpeg import read_jpeg
from extract.media.stills.pillow import read_with_pillow
from extract.media.stills.pixels import upright
from extract.media.stills.profiles import to_srgb
from extract.media.stills.still import NOT_AN_IMAGE, Still

_BYTES_A_PIXEL = 8  # four channels of 16 bits, uncompressed


def read_image(path: Path, *, max_pixels: int, damaged: Damaged) -> Frames:
    """Decode a still as its viewer would show it.

    Orientation is applied (EXIF; in HEIF and AVIF `irot` and `imir`), colours are converted to sRGB by the ICC profile
    or the code points of the file, alpha is dropped, and of 16 bits the high ones are kept. Of several pictures in one
    file it is the first, with a note if they are frames or pages; HEIF has one that is marked as the primary.

    Peak memory, 3 bytes of it the result, in bytes a pixel beside the file itself: JPEG 6, progressive 9, CMYK 7; PNG,
    TIFF, BMP and GIF 7; HEIF 8; AVIF 10; WebP 16; JPEG 2000 20 (measured on 9 to 100 megapixels).

    Parameters
    ----------
    path : Path
        Any name; only the bytes of the file count.
    max_pixels : int
        The most pixels to decode, compared with the header before anything is decoded. A file of more than eight
        bytes for each of them is not read.
    damaged : {"skip", "use"}
        Refuse a picture that its decoder complains of, or take what can be decoded of it, with a note.

    Returns
    -------
    Frames
        One (h, w, 3) uint8 RGB image, C-contiguous, of number 0.

    Raises
    ------
    UnreadableClip
        E_CLIP_NOT_READ, E_CLIP_EMPTY, E_CLIP_UNREADABLE, E_CLIP_DAMAGED, E_CLIP_COLOUR, E_CLIP_TOO_LARGE,
        E_CLIP_MEMORY.
    """
    with _refusals():
        still = _decode(_bytes_of(path, max_pixels), max_pixels, damaged)
        rgb, notes = to_srgb(still.pixels, still.profile)
        image = np.require(upright(rgb, still.orientation), requirements=["C", "W"])
    return Frames([image], [0], "; ".join(still.notes + notes))


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn whatever a decoder raises into the refusal of this file."""
    try:
        yield
    except UnreadableClip:
        raise
    except MemoryError as error:
        raise UnreadableClip("not enough memory to decode it", code="E_CLIP_MEMORY") from error
    except Exception as error:
        words = first_line(error)
        words = words if " " in words else f"{type(error).__name__} {words}"  # a bare KeyError is its key
        raise UnreadableClip(f"{NOT_AN_IMAGE}: {words}") from error


def _bytes_of(path: Path, max_pixels: int) -> bytes:
    limit = _BYTES_A_PIXEL * max_pixels
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read() if size <= limit else b""
    except OSError as error:
        raise UnreadableClip(f"cannot be read: {error.strerror}", code="E_CLIP_NOT_READ") from error
    if size > limit:
        words = f"{size:,} bytes are more than {_BYTES_A_PIXEL} for each of max_pixels = {max_pixels:,}"
        raise UnreadableClip(words, code="E_CLIP_TOO_LARGE")
    if not data:
        raise UnreadableClip("empty file", code="E_CLIP_EMPTY")
    return data


def _decode(data: bytes, max_pixels: int, damaged: Damaged) -> Still:
    form = still_format(data[:1024])
    if form is None:
        raise UnreadableClip(f"{NOT_AN_IMAGE}: it begins like none of the known kinds")
    if form == "jpeg":
        return read_jpeg(data, max_pixels=max_pixels, damaged=damaged)
    if form == "heif":
        return read_heif(data, max_pixels=max_pixels, damaged=damaged)
    return read_with_pillow(data, form, max_pixels=max_pixels, damaged=damaged)
