"""PNG, GIF, BMP, WebP, TIFF, JPEG 2000 and AVIF by Pillow's plugins.

They are called directly: `Image.open` guesses the format anew, and refuses by a limit that belongs to the process.
"""

import io
from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    Jpeg2KImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from extract.errors import UnreadableClip, first_line
from extract.media.frames import Damaged, check_size
from extract.media.kinds import StillFormat
from extract.media.stills import boxes, png
from extract.media.stills.pixels import to_array
from extract.media.stills.profiles import profile_of
from extract.media.stills.quiet import no_standard_error, quiet
from extract.media.stills.still import (
    NOT_AN_IMAGE,
    CodePoints,
    Pixels,
    Still,
    check_damage,
    check_transfer,
    orientation_of,
)

_PLUGINS: dict[StillFormat, type[ImageFile.ImageFile]] = {
    "png": PngImagePlugin.PngImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "jpeg2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "avif": AvifImagePlugin.AvifImageFile,
}
_BITS, _PHOTOMETRIC, _PLANES, _TILE_WIDTH, _TILE_LENGTH = 258, 262, 284, 322, 323  # TIFF 6.0


def read_with_pillow(data: bytes, form: StillFormat, *, max_pixels: int, damaged: Damaged) -> Still:
    """Decode the first picture of a file.

    Raises
    ------
    UnreadableClip
        E_CLIP_TOO_LARGE, E_CLIP_DAMAGED, E_CLIP_COLOUR. Whatever else Pillow raises is passed on.
    """
    points = _CODE_POINTS.get(form, _none)(data)
    check_transfer(points)
    words = _DAMAGE.get(form, _nothing)(data)
    notes = check_damage(words, damaged)
    if words and form == "png":
        data = png.mended(data)
    with quiet():
        picture = _open(data, form, max_pixels, words)
        if torn := _load(picture):
            notes = notes or check_damage(torn, damaged)
        return Still(
            pixels=_pixels(picture, form),
            profile=picture.info.get("icc_profile") or profile_of(points),
            orientation=orientation_of(picture),
            notes=notes + _first_of_several(picture, data, form),
        )


def _open(data: bytes, form: StillFormat, max_pixels: int, words: str) -> ImageFile.ImageFile:
    """Read the header, and refuse what is larger than the budget, a TIFF's tiles included."""
    if form == "webp":
        check_size(*_webp_canvas(data), max_pixels=max_pixels)  # Pillow takes memory when it reads the header
    try:
        picture = _PLUGINS[form](io.BytesIO(data))
    except Exception:
        check_damage(words, "skip")
        raise
    check_size(*picture.size, max_pixels=max_pixels)
    if form == "tiff":
        check_size(_tag(picture, _TILE_WIDTH, 0), _tag(picture, _TILE_LENGTH, 0), max_pixels=max_pixels)
        if _tag(picture, _PLANES, 1) == 2 and _tag(picture, _BITS, 1) > 8:  # Pillow reads half of each plane
            raise UnreadableClip(
                f"{NOT_AN_IMAGE}: a TIFF of 16 bits in planes; save it with interleaved channels"
            )
    return picture


def _load(picture: ImageFile.ImageFile) -> str:
    """Decode; where that fails in the middle keep what is there, and return the decoder's words."""
    try:
        with no_standard_error() if picture.format == "TIFF" else nullcontext():
            picture.load()
    except MemoryError:
        raise
    except Exception as error:
        if "not available" in str(error):  # a compression that this Pillow was built without
            raise
        done = picture._im
        if done is None or done.getbbox() is None:
            raise UnreadableClip(f"damaged: {first_line(error)}", code="E_CLIP_DAMAGED") from error
        picture.tile = []
        return first_line(error)
    return ""


def _pixels(picture: ImageFile.ImageFile, form: StillFormat) -> Pixels:
    """Return the pixels as an array; a TIFF states how many of 16 bits are used, and which end is white."""
    if form != "tiff" or not picture.mode.startswith("I;16"):
        return to_array(picture)
    pixels = to_array(picture, bits=_tag(picture, _BITS, 16))
    return ~pixels if _tag(picture, _PHOTOMETRIC, 1) == 0 else pixels


def _tag(picture: ImageFile.ImageFile, number: int, default: int) -> int:
    """Return a whole number from the tags of a TIFF."""
    value = getattr(picture, "tag_v2", {}).get(number, default)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else default


def _first_of_several(picture: ImageFile.ImageFile, data: bytes, form: StillFormat) -> tuple[str, ...]:
    """Note how many frames or pages there are where there are several; those behind the first may be damaged."""
    try:
        if form in (
            "gif",
            "tiff",
        ):  # they are counted by going to each, so not in the picture that was decoded
            picture = _PLUGINS[form](io.BytesIO(data))
        count = int(getattr(picture, "n_frames", 1))
    except Exception:
        return ()
    return (f"first of {count} {'pages' if form == 'tiff' else 'frames'}",) if count > 1 else ()


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """Return width and height that the header states (RFC 9649, section 2.7); zeros where they are in the stream.

    Only the extended format can be larger than 16,383 x 16,383.
    """
    if data[12:16] != b"VP8X" or len(data) < 30:
        return 0, 0
    return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1


def _webp_missing(data: bytes) -> str:
    stated = int.from_bytes(data[4:8], "little") + 8
    return f"{len(data):,} of {stated:,} bytes are there" if stated > len(data) else ""


def _tiff_missing(data: bytes) -> str:
    """Say that the first directory is behind the end; it comes last where libtiff wrote the file."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    first = data[8:16] if data[2:4] in (b"+\0", b"\0+") else data[4:8]  # BigTIFF, TIFF
    place = int.from_bytes(first, order)
    return f"{len(data):,} of at least {place:,} bytes are there" if place >= len(data) else ""


def _nothing(data: bytes) -> str:
    return ""


def _none(data: bytes) -> CodePoints | None:
    return None


_DAMAGE: dict[StillFormat, Callable[[bytes], str]] = {
    "png": png.damage,
    "webp": _webp_missing,
    "tiff": _tiff_missing,
    "avif": boxes.missing,
}
_CODE_POINTS: dict[StillFormat, Callable[[bytes], CodePoints | None]] = {
    "png": png.code_points,
    "avif": boxes.code_points,
}
