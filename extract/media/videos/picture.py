"""A decoded frame of a video as a player shows it: colours, proportions, orientation."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from extract.errors import UnreadableClip
from extract.media.codepoints import MATRICES, REFUSED, UNSPECIFIED, sdr_inputs
from extract.media.frames import Image
from extract.media.tone import to_sdr

WIDEST = 4  # proportion of a pixel beyond which the file is taken to be wrong


class Converter:
    """Turns the frames of one clip into pictures; built once a clip, as its tables take time.

    Parameters
    ----------
    ratio : Fraction or None
        Width of a pixel to its height, as the file states it.
    threads : int
    """

    def __init__(self, ratio: Fraction | None, *, threads: int) -> None:
        self._ratio = ratio if ratio and 1 / WIDEST <= ratio <= WIDEST else Fraction(1)
        self._threads = threads
        self._reformatter = VideoReformatter()
        self._about: _About | None = None

    def __call__(self, frame: av.VideoFrame) -> Image:
        """Return a frame as (h, w, 3) uint8 RGB.

        Interlaced frames are taken as decoded, both fields in one picture.

        Raises
        ------
        UnreadableClip
            Colours that no formula here converts.
        """
        # Of the first frame, for all: PyAV ties a frame to what it says beside its pixels in a cycle, which keeps both
        # in memory until Python looks for garbage.
        self._about = self._about or _read_about(frame)
        _check_colours(frame, self._about)
        return _turned(_stretched(self._colours(frame), self._ratio), self._about.matrix)

    def _colours(self, frame: av.VideoFrame) -> Image:
        primaries, transfer = sdr_inputs(frame.color_primaries, frame.color_trc)
        if transfer == "sdr" and primaries == "bt709":
            return np.asarray(self._reformat(frame, "rgb24"), np.uint8)
        return to_sdr(self._reformat(frame, "rgb48le"), transfer=transfer, primaries=primaries)

    def _reformat(self, frame: av.VideoFrame, name: str) -> np.ndarray:
        try:
            return self._reformatter.reformat(frame, format=name, threads=self._threads).to_ndarray()
        except (OSError, ValueError) as error:  # pixel formats that it does not know
            raise UnreadableClip(
                f"its pixels ({frame.format.name}) cannot be converted to RGB", code="E_CLIP_COLOUR"
            ) from error


@dataclass(frozen=True)
class _About:
    """What a frame says beside its pixels: its display matrix (9,) int32, empty without one; whether Dolby Vision's."""

    matrix: npt.NDArray[np.int32]
    dolby_vision: bool


def _read_about(frame: av.VideoFrame) -> _About:
    beside: Any = frame.side_data
    matrix = beside.get("DISPLAYMATRIX")
    values = np.empty(0, np.int32) if matrix is None else np.frombuffer(bytes(matrix), np.int32)
    return _About(values, beside.get("DOVI_METADATA") is not None)


def _check_colours(frame: av.VideoFrame, about: _About) -> None:
    """Refuse a matrix that would be replaced by another one in silence."""
    if frame.format.is_rgb:
        return
    name = None if frame.colorspace in MATRICES else REFUSED.get(frame.colorspace, "unknown")
    if frame.colorspace == UNSPECIFIED and about.dolby_vision:
        name = "Dolby Vision without a compatible layer (IPT)"
    if name:
        raise UnreadableClip(
            f"{name} colours are not supported (matrix {frame.colorspace} of H.273)",
            code="E_CLIP_COLOUR",
        )


def _stretched(image: Image, ratio: Fraction) -> Image:
    """Make pixels square by making the shorter side longer."""
    if ratio == 1:
        return image
    height, width = image.shape[:2]
    size = (round(width * ratio), height) if ratio > 1 else (width, round(height / ratio))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _turned(image: Image, matrix: npt.NDArray[np.int32]) -> Image:
    """Turn and mirror by the display matrix, (a, b, u, c, d, v, x, y, w) of ISO/IEC 14496-12, 6.2.2.

    A pixel (p, q) is shown at (a p + c q + x, b p + d q + y). Angles between are taken as the nearest of these eight.
    """
    if len(matrix) < 9:
        return image
    a, b, _, c, d = matrix[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):  # columns become rows
        image, a, d = image.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
