"""Decode few frames of an H.264 file without decoding the rest, where that gives exactly the same frames.

Two things can be left out. A picture that no other refers to (``nal_ref_idc`` 0, ITU-T H.264 section 7.4.1) is
skipped where it is not wanted itself. And nothing after an instantaneous refresh refers to what was before it
(section 7.4.1.2.4), so that what lies between a wanted frame and the refresh before the next one is not read at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extract.workers import threads

if TYPE_CHECKING:
    import av

    from extract.video import Image

SLICE, REFRESH = 1, 5  # kinds of the units that hold pictures


@dataclass(frozen=True)
class _Packet:
    """One picture of the file, in the order of decoding."""

    time: int
    refreshes: bool


def decode_few(path: Path, wanted: Sequence[int], *, total: int) -> list[Image] | None:
    """Decode chosen frames of a video.

    Parameters
    ----------
    wanted : sequence of int
        Positions of frames in the order in which they are shown, ascending.
    total : int
        Frames that the container states.

    Returns
    -------
    list of (h, w, 3) uint8 RGB, or None
        None where the file is not plain, whole H.264, so that only decoding all of it tells what it shows.
    """
    import av  # here, for a start without it where nothing is decoded

    try:
        with av.open(str(path)) as container:
            packets = _packets(container, total)
        if packets is None:
            return None
        times = sorted(packet.time for packet in packets)
        with av.open(str(path)) as container:
            return _pictures(container, packets, [times[number] for number in wanted])
    except (av.FFmpegError, ValueError):  # not a video, damaged, colours that cannot be converted
        return None


def _packets(container: av.container.InputContainer, total: int) -> list[_Packet] | None:
    """List the pictures of a file of one plain H.264 video in which every packet is one shown frame."""
    if len(container.streams.video) != 1:
        return None
    stream = container.streams.video[0]
    coding = stream.codec_context
    if coding.name != "h264" or coding.pix_fmt != "yuv420p" or stream.frames != total:
        return None
    packets = []
    for packet in container.demux(stream):
        if packet.size == 0:
            continue
        if packet.pts is None or packet.is_corrupt or packet.is_discard:
            return None
        packets.append(_Packet(packet.pts, packet.is_keyframe and _refreshes(packet, coding.extradata)))
    plain = len({packet.time for packet in packets}) == len(packets) == total
    return packets if plain and packets[0].refreshes else None


def _refreshes(packet: av.Packet[Any], extradata: bytes | None) -> bool:
    """Whether the decoder can start at a packet, of an MP4 file or one like it, and know all that follows."""
    if not extradata or extradata[0] != 1:  # units behind their lengths: ISO/IEC 14496-15
        return False
    data, width, start = bytes(packet), (extradata[4] & 3) + 1, 0
    while start + width < len(data):
        kind = data[start + width] & 31
        if SLICE <= kind <= REFRESH:
            return kind == REFRESH
        start += width + int.from_bytes(data[start : start + width], "big")
    return False


def _needed(packets: Sequence[_Packet], wanted: set[int]) -> list[bool]:
    """Whether each packet lies between a wanted one and the refresh before it."""
    needed, here = [], False
    for packet in reversed(packets):
        here = here or packet.time in wanted
        needed.append(here)
        here = here and not packet.refreshes
    return needed[::-1]


def _pictures(
    container: av.container.InputContainer, packets: Sequence[_Packet], times: Sequence[int]
) -> list[Image] | None:
    wanted, images = set(times), {}
    for frame in _shown(container, packets, wanted):
        if frame.pts in wanted:
            if frame.is_corrupt or frame.rotation or frame.interlaced_frame or frame.format.name != "yuv420p":
                return None
            images[frame.pts] = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            if len(images) == len(wanted):
                return [images[time] for time in times]
    return None


def _shown(
    container: av.container.InputContainer, packets: Sequence[_Packet], wanted: set[int]
) -> Iterator[av.VideoFrame]:
    """Decode what is needed; yields wanted frames and some others, those of one stretch in their order."""
    stream = container.streams.video[0]
    coding = stream.codec_context
    coding.thread_count = threads()
    coding.thread_type = "FRAME" if threads() > 1 else "SLICE"
    needed, jumped = _needed(packets, wanted), False
    real = (packet for packet in container.demux(stream) if packet.size)
    for packet, needs in zip(real, needed, strict=True):
        if needs:
            if jumped:
                yield from coding.decode(None)
                coding.flush_buffers()
            coding.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            yield from coding.decode(packet)
        jumped = not needs
    yield from coding.decode(None)
