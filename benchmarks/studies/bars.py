"""A test card: frames that carry their own number, colours and orientation, in any codec that PyAV encodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from extract.media.frames import Image

HEIGHT, WIDTH = 192, 256
BITS = 8  # of the bar code along the upper edge: black and white cells
CELL = WIDTH // BITS
PATCH = 48  # pixels
# sRGB levels of the patches, from left to right; the second is skin
PATCHES = ((180, 60, 60), (200, 150, 120), (60, 140, 70), (60, 80, 170), (128, 128, 128))
CORNER = 24  # pixels: a white square at the lower left corner alone says which way up it is


def scene(number: int) -> Image:
    """Draw frame `number`, below 2 ** BITS: (192, 256, 3) uint8 RGB."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    for bit in range(BITS):
        image[:32, bit * CELL : (bit + 1) * CELL] = 235 if number >> bit & 1 else 16
    for place, colour in enumerate(PATCHES):
        image[72 : 72 + PATCH, _left(place) : _left(place) + PATCH] = colour
    image[-CORNER:, :CORNER] = 235
    return image


def read_number(image: Image) -> int:
    """Read the bar code of a frame of any size that is the right way up."""
    height, width = image.shape[:2]
    cells = image[height // 12, (np.arange(BITS) * 2 + 1) * width // (2 * BITS)].mean(axis=1)
    return int(sum(1 << bit for bit, level in enumerate(cells) if level > 128))


def patches(image: Image) -> npt.NDArray[np.float64]:
    """Return the mean colour of the middle of each patch: (5, 3)."""
    height, width = image.shape[:2]
    found = []
    for place in range(len(PATCHES)):
        rows = slice(round((72 + 16) * height / HEIGHT), round((72 + PATCH - 16) * height / HEIGHT))
        columns = slice(*(round((_left(place) + edge) * width / WIDTH) for edge in (16, PATCH - 16)))
        found.append(image[rows, columns].reshape(-1, 3).mean(axis=0))
    return np.array(found)


def upright(image: Image) -> bool:
    """Whether the marked corner is the lower left one."""
    corners = [image[y, x].mean() for y in (-6, 5) for x in (5, -6)]
    lower_left, others = corners[0], (corners[1], image[image.shape[0] * 3 // 4, 5].mean())
    return bool(lower_left > 180 and max(others) < 100)


def _left(place: int) -> int:
    return 4 + place * (PATCH + 2)


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How frames become a file.

    Attributes
    ----------
    codec, pixels : str
        PyAV's names of the encoder and the pixel format.
    container : str
        Of the format; empty: by the path's suffix.
    options, muxing : mapping of str to str
        For the encoder and the container.
    tags : mapping
        Attributes of the encoder: ``colorspace``, ``color_range``, ``sample_aspect_ratio``, ...
    times : callable, optional
        Frame number -> time in units of 1 / 90,000 s; without it 30 frames a second.
    """

    codec: str
    pixels: str = "yuv420p"
    container: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    muxing: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    times: Callable[[int], int] | None = None


def encode(path: Path, images: Iterable[npt.NDArray[Any]], how: Encoding) -> Path:
    """Write images, (h, w, 3) uint8 or uint16 RGB, as a video; returns the path."""
    with av.open(str(path), "w", format=how.container or None, options=dict(how.muxing)) as container:
        stream = container.add_stream(how.codec, rate=Fraction(30), options=dict(how.options))
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = how.pixels
        stream.codec_context.thread_count = 1  # the same bits on every machine
        for name, value in how.tags.items():
            setattr(stream.codec_context, name, value)
        if how.times:
            stream.codec_context.time_base = Fraction(1, 90_000)
        for number, image in enumerate(images):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            container.mux(stream.encode(_frame(image, number, how)))
        container.mux(stream.encode(None))
    return path


def _frame(image: npt.NDArray[Any], number: int, how: Encoding) -> av.VideoFrame:
    given = av.VideoFrame.from_ndarray(image, format="rgb48le" if image.dtype == np.uint16 else "rgb24")
    matrix = how.tags.get("colorspace", 5)
    wide = how.tags.get("color_range", 1)
    frame = given.reformat(
        format=how.pixels,
        dst_colorspace={1: "ITU709", 9: "BT2020"}.get(matrix, "ITU601"),
        dst_color_range="JPEG" if wide == 2 else "MPEG",
        interpolation=CAREFULLY,
    )
    for name in ("colorspace", "color_range", "color_trc", "color_primaries"):
        if name in how.tags:
            setattr(frame, name, how.tags[name])
    frame.pts, frame.time_base = number, Fraction(1, 30)
    if how.times:
        frame.pts, frame.time_base = how.times(number), Fraction(1, 90_000)
    return frame


CAREFULLY = (
    av.video.reformatter.Interpolation.BICUBIC
    | av.video.reformatter.Interpolation.ACCURATE_RND
    | av.video.reformatter.Interpolation.FULL_CHR_H_INT
)
