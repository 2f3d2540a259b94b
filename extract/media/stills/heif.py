"""HEIF by libheif: tiles joined, `irot` and `imir` applied, 10 and 12 bits scaled to 8."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif

from extract.errors import UnreadableClip, first_line
from extract.media.codepoints import HDR_TRANSFERS, sdr_inputs
from extract.media.frames import Damaged, check_size
from extract.media.stills import boxes
from extract.media.stills.profiles import profile_of
from extract.media.stills.quiet import quiet
from extract.media.stills.still import CodePoints, Pixels, Still, check_damage
from extract.media.tone import to_sdr


def read_heif(data: bytes, *, max_pixels: int, damaged: Damaged) -> Still:
    """Decode the primary picture. An orientation in EXIF is not applied: by the standard it only repeats `irot`.

    libheif leaves tiles grey without a word where a file is cut, so the boxes are asked whether it is whole.

    Raises
    ------
    UnreadableClip
        E_CLIP_TOO_LARGE, E_CLIP_DAMAGED, E_CLIP_COLOUR.
    """
    with quiet():
        file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    picture = file[file.primary_index]
    check_size(*picture.size, max_pixels=max_pixels)
    points = _code_points(picture.info)
    notes = check_damage(boxes.missing(data), damaged)
    try:
        if points and points.transfer in HDR_TRANSFERS:
            return Still(pixels=_from_hdr(data, points), notes=notes)
        pixels = _colours(np.asarray(picture))
    except Exception as error:
        raise UnreadableClip(f"damaged: {first_line(error)}", code="E_CLIP_DAMAGED") from error
    return Still(pixels=pixels, profile=_profile(picture.info, points), notes=notes)


def _from_hdr(data: bytes, points: CodePoints) -> Pixels:
    """Decode again with all bits, which libheif scales to 16, and convert as frames of a video are."""
    with quiet():
        file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    decoded = np.asarray(file[file.primary_index])[..., :3]
    deep = decoded if decoded.dtype == np.uint16 else decoded.astype(np.uint16) * 257
    primaries, transfer = sdr_inputs(*points)
    return to_sdr(deep, transfer=transfer, primaries=primaries)


def _colours(decoded: npt.NDArray[np.uint8 | np.uint16]) -> Pixels:
    """Drop alpha; of grey of more than 8 bits, which libheif leaves at 16, keep the high ones."""
    if decoded.ndim == 3:
        decoded = decoded[..., 0] if decoded.shape[2] == 2 else decoded[..., :3]
    high = decoded >> 8 if decoded.dtype == np.uint16 else decoded
    return np.ascontiguousarray(high, np.uint8)


def _code_points(info: dict[str, Any]) -> CodePoints | None:
    nclx = info.get("nclx_profile")
    return CodePoints(nclx["color_primaries"], nclx["transfer_characteristics"]) if nclx else None


def _profile(info: dict[str, Any], points: CodePoints | None) -> bytes:
    return info.get("icc_profile") or profile_of(points)
