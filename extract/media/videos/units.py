"""What the first bytes of a packet say of its picture, without decoding it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av

H264_SLICES, H264_REFRESH = range(1, 6), 5  # types of units that hold pictures: ITU-T H.264, table 7-1
HEVC_SLICES, HEVC_REFRESH = range(32), range(16, 21)  # BLA and IDR: ITU-T H.265, table 7-1
HEVC_UNREFERRED = range(0, 15, 2)  # sub-layer non-reference pictures
WITH_REFRESH = {"h264", "hevc"}  # have key frames that decoding cannot start at
UNREFERRED = -1  # the layer of a picture that no other refers to
PICTURE, VOP = (
    b"\0\0\1\0",
    b"\0\0\1\xb6",
)  # start codes of MPEG-2 (H.262, table 6-1) and MPEG-4 (14496-2, table 6-3)


@dataclass(frozen=True)
class Picture:
    """What is known of a packet's picture.

    Attributes
    ----------
    restarts : bool
        Whether the decoder can start here and know all that follows.
    layer : int
        `UNREFERRED`, or HEVC's temporal layer, else 0: pictures of higher layers may refer to those below, whatever
        these say.
    shown : bool
    """

    restarts: bool = False
    layer: int = 0
    shown: bool = True


def read_picture(packet: av.Packet[Any], coding: av.VideoCodecContext) -> Picture:
    """Read what a packet says of its picture; of a codec that is not known here, that anything may refer to it."""
    data, key = memoryview(packet), packet.is_keyframe
    match coding.name:
        case "h264":
            return _h264(_units(data, coding, at=4))
        case "hevc":
            return _hevc(_units(data, coding, at=21))
        case "mpeg1video" | "mpeg2video":
            return Picture(layer=UNREFERRED if _type_after(data, PICTURE, at=5, shift=3) == 3 else 0)
        case "mpeg4":
            return Picture(layer=UNREFERRED if _type_after(data, VOP, at=4, shift=6) == 2 else 0)
        case "vp8":  # RFC 6386, 9.1: some pictures are there for others alone
            return Picture(restarts=key and not data[0] & 1, shown=bool(data[0] & 16))
        case "vp9":
            return Picture(restarts=key and _is_vp9_key(data[0]))
    return Picture(restarts=key and bool(coding.codec.intra_only))


def _h264(units: Iterator[bytes]) -> Picture:
    """Read the first slice: IDR pictures are refreshes (7.4.1.2.4), ``nal_ref_idc`` 0 has no referrer (7.4.1)."""
    for unit in units:
        if unit[0] & 31 in H264_SLICES:
            return Picture(unit[0] & 31 == H264_REFRESH, 0 if unit[0] & 96 else UNREFERRED)
    return Picture()


def _hevc(units: Iterator[bytes]) -> Picture:
    """Read the first slice: 7.4.2.2, and 8.1.3 on what comes before an instantaneous refresh."""
    for unit in units:
        kind, layer = (unit[0] >> 1) & 63, (unit[-1] & 7) - 1
        if kind in HEVC_SLICES:
            return Picture(
                kind in HEVC_REFRESH, UNREFERRED if kind in HEVC_UNREFERRED and not layer else layer
            )
    return Picture()


def _is_vp9_key(first: int) -> bool:
    """Whether a VP9 packet begins with the header of a key frame (specification, 6.2)."""
    shift = 2 if (first >> 4) & 3 == 3 else 3  # profile 3 has one more bit
    return first >> 6 == 2 and not (first >> shift) & 1 and not (first >> (shift - 1)) & 1


def _type_after(data: memoryview, code: bytes, *, at: int, shift: int) -> int:
    """Return the three bits of a picture's type, `at` bytes behind its start code; 0 where there is none."""
    whole = bytes(data)
    start = whole.find(code)
    return whole[start + at] >> shift & 7 if 0 <= start < len(whole) - at else 0


def _units(data: memoryview, coding: av.VideoCodecContext, *, at: int) -> Iterator[bytes]:
    """Yield the first two bytes of each unit of H.264 or HEVC.

    Parameters
    ----------
    at : int
        Where a file's decoder configuration says how long the lengths before units are (ISO/IEC 14496-15); without one
        they stand behind start codes (annex B of both).
    """
    extra = coding.extradata or b""
    if extra[:1] == b"\1" and len(extra) > at:
        width, start = (extra[at] & 3) + 1, 0
        while start + width + 1 < len(data):
            yield bytes(data[start + width : start + width + 2])
            start += width + int.from_bytes(data[start : start + width], "big")
        return
    whole, start = bytes(data), 0
    while 0 <= (start := whole.find(b"\0\0\1", start)) < len(whole) - 4:
        start += 3
        yield whole[start : start + 2]
