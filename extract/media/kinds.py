"""What kind of file it is: by its bytes, and by its name where only that is at hand."""

import os
import struct
from pathlib import Path
from typing import Literal

Kind = Literal["image", "video"]
StillFormat = Literal["jpeg", "png", "gif", "bmp", "webp", "tiff", "jpeg2000", "heif", "avif"]

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
        *(".heic", ".heics", ".heif", ".heifs", ".hif", ".avif", ".avifs"),
        *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    }
)
VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".avi", ".divx", ".flv"),
        *(".wmv", ".asf", ".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".ogv", ".mxf"),
        *(".dv", ".gxf", ".nut", ".y4m", ".ivf", ".obu", ".av1", ".h264", ".264", ".hevc", ".h265", ".265"),
    }
)

_HEAD = 1024  # bytes that tell every kind, the lists of brands of ISO files included

# ISO/IEC 23008-12, annex B, and the AVIF specification, section 6
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_STILL_BRANDS = frozenset({b"mif1", b"mif2", b"msf1", b"miaf", b"MiHB", b"MiHE", b"MiAB", b"1pic"})
_BITMAP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})  # bytes of each version

_VIDEO_MAGIC = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF
    b"OggS",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG-1 and MPEG-2 video
    b"\x00\x00\x01\xb0",  # MPEG-4 part 2
    b"\x00\x00\x01\x0f",  # VC-1
    b"\x00\x00\x00\x01",  # H.264 and HEVC, Annex B
    b"\x06\x0e\x2b\x34",  # MXF
    b"\x00\x00\x00\x00\x01\xbc",  # GXF
    b"\x1f\x07\x00",  # DV
    b"\x12\x00\x0a",  # AV1 open bitstream units
    b"DKIF",  # IVF
    b"YUV4MPEG2",
    b"nut/multimedia container",
)
_ATOMS = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def is_image(name: str) -> bool:
    """Whether a file is an image by its name."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_video(name: str) -> bool:
    """Whether a file is a video by its name."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def kind_of(path: Path) -> Kind:
    """Tell a still from a video by a file's bytes; by its name where it cannot be read or its bytes say nothing.

    A HEIC or a video named ``.jpg`` and a JPEG named ``.mp4`` are what they are. A text, or any other file that begins
    like neither, is an image if its suffix is one of `IMAGE_SUFFIXES`, otherwise a video.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        head = b""
    if still_format(head):
        return "image"
    if _begins_a_video(head):
        return "video"
    return "image" if is_image(path.name) else "video"


def still_format(head: bytes) -> StillFormat | None:
    """Name the format of a still by the first bytes of its file; None where they begin no still.

    >>> still_format(b"GIF89a" + bytes(10))
    'gif'
    """
    for magic, name in _STILL_MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in _BITMAP_HEADERS:
        return "bmp"
    if head.startswith(_JP2_BOX):
        return None if head[20:24] == b"mjp2" else "jpeg2000"  # Motion JPEG 2000 has the same signature
    return _iso_still(head) if head[4:8] == b"ftyp" else None


_JP2_BOX = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_STILL_MAGIC: tuple[tuple[bytes, StillFormat], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),  # BigTIFF
    (b"MM\x00+", "tiff"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),  # codestream without a box
)


def _iso_still(head: bytes) -> StillFormat | None:
    """Tell HEIF and AVIF from movies by the major brand, and from each other by all brands."""
    size = struct.unpack_from(">I", head)[0]
    major, brands = head[8:12], {head[i : i + 4] for i in range(16, min(size, len(head)), 4)}
    if major in _AVIF_BRANDS:
        return "avif"
    if major in _HEIF_BRANDS:
        return "heif"
    if major not in _STILL_BRANDS:
        return None
    return "avif" if brands & _AVIF_BRANDS and not brands & _HEIF_BRANDS else "heif"


def _begins_a_video(head: bytes) -> bool:
    if head.startswith(_VIDEO_MAGIC) or head[4:8] in _ATOMS or head.startswith(_JP2_BOX):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    return _is_transport_stream(head, 0, 188) or _is_transport_stream(head, 4, 192)


def _is_transport_stream(head: bytes, first: int, packet: int) -> bool:
    """Whether the sync byte 0x47 begins each packet; Blu-ray's are 192 bytes with a time stamp before it."""
    places = head[first::packet]
    return len(places) >= 2 and set(places) == {0x47}
