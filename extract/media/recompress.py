"""A video through the H.264 encoder and back, frame by frame: nothing on disk, a second or two of it in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from extract.errors import UnreadableClip
from extract.media.frames import Image
from extract.media.video import every_frame, frame_rate

if TYPE_CHECKING:
    import av
    from av.video.reformatter import Interpolation

USUAL_RATE = 25  # frames a second, where a container states nothing sensible
# x264 gives other bits with another number of threads, and by itself takes as many as there are cores.
ENCODER = {"preset": "medium", "threads": "4"}


def recompress(path: Path, wanted: Sequence[int], *, crf: float) -> list[Image]:
    """Encode all of a video as H.264 (x264, preset medium, yuv420p) at its own frame rate and decode it again.

    Frames go from the decoder of the file through the encoder to the second decoder one by one, so that memory is
    bounded whatever the length. What comes after the last wanted frame is encoded only as far as x264 looks ahead.

    Parameters
    ----------
    path : Path
        A video.
    wanted : sequence of int
        Positions of the frames to keep, ascending, as `read_frames` chose them.
    crf : float
        Constant rate factor, 0 to 51; higher is worse.

    Returns
    -------
    list of (h, w, 3) uint8 RGB, one a wanted frame

    Raises
    ------
    UnreadableClip
        A frame cannot be decoded, or frames have different sizes.
    """
    import av  # here, for a start without it where nothing is recompressed

    kept, numbers = [], set(wanted)
    try:
        for number, image in enumerate(_through(every_frame(path), _rate(frame_rate(path)), crf)):
            if number in numbers:
                kept.append(image)
            if len(kept) == len(wanted):
                return kept
    except av.FFmpegError as error:
        raise UnreadableClip(f"cannot be recompressed: {error}") from error
    raise UnreadableClip(f"cannot be recompressed: frame {wanted[len(kept)]} cannot be decoded")


def _rate(stated: float) -> Fraction:
    sensible = 1 <= stated <= 1000  # false for NaN
    return Fraction(stated).limit_denominator(1001) if sensible else Fraction(USUAL_RATE)


def _through(images: Iterator[Image], rate: Fraction, crf: float) -> Iterator[Image]:
    """Encode and decode images of one size; they come out in their order, dozens later than they go in."""
    import av

    first = next(images, None)
    if first is None:
        return
    shape = first.shape[:2]
    encoder, decoder = _encoder(shape, rate, crf), av.CodecContext.create("h264", "r")
    for number, image in enumerate(chain([first], images)):
        if image.shape[:2] != shape:
            raise UnreadableClip("cannot be recompressed: its frames have different sizes")
        packets = encoder.encode(_to_yuv(image, number))
        yield from (_to_rgb(frame, shape) for packet in packets for frame in decoder.decode(packet))
    for packet in [*encoder.encode(None), None]:
        yield from (_to_rgb(frame, shape) for frame in decoder.decode(packet))


def _encoder(shape: tuple[int, int], rate: Fraction, crf: float) -> av.VideoCodecContext:
    import av

    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = (side + side % 2 for side in shape)
    encoder.pix_fmt = "yuv420p"
    encoder.framerate, encoder.time_base = rate, 1 / rate
    encoder.options = {**ENCODER, "crf": str(crf)}
    return encoder


def _to_yuv(image: Image, number: int) -> av.VideoFrame:
    """Convert to 4:2:0, which needs even sides: an odd one repeats its last row or column."""
    import av

    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
        format="yuv420p", interpolation=_exactly()
    )
    frame.pts = number
    return frame


def _to_rgb(frame: av.VideoFrame, shape: tuple[int, int]) -> Image:
    height, width = shape
    image = cast(Image, frame.to_ndarray(format="rgb24", interpolation=_exactly()))
    return np.ascontiguousarray(image[:height, :width])


def _exactly() -> Interpolation:
    """How colours are converted: the same on every processor, and without the two grey levels by which less darkens."""
    from av.video.reformatter import Interpolation

    careful = Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT
    return Interpolation.BICUBIC | careful
