"""What a file is follows from its bytes; its suffix is a hint."""

import struct

import av
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from extract.media.kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_image, is_video, kind_of, still_format

STILLS = {  # Pillow's name of the format: ours
    "JPEG": "jpeg",
    "MPO": "jpeg",
    "PNG": "png",
    "GIF": "gif",
    "BMP": "bmp",
    "WEBP": "webp",
    "TIFF": "tiff",
    "JPEG2000": "jpeg2000",
    "HEIF": "heif",
    "AVIF": "avif",
}
CONTAINERS = {  # FFmpeg's muxer: encoder
    "mp4": "libx264",
    "mov": "libx264",
    "3gp": "mpeg4",
    "matroska": "libx264",
    "webm": "libvpx",
    "avi": "mpeg4",
    "mpeg": "mpeg2video",
    "mpegts": "libx264",
    "mpeg2video": "mpeg2video",
    "m4v": "mpeg4",
    "flv": "flv",
    "asf": "mpeg4",
    "ogg": "libvpx",
    "mxf": "mpeg2video",
    "nut": "mpeg4",
    "ivf": "libvpx",
    "h264": "libx264",
    "hevc": "libx265",
    "yuv4mpegpipe": "wrapped_avframe",
}


@pytest.fixture(scope="module", autouse=True)
def heif():
    pillow_heif.register_heif_opener()


@pytest.fixture
def picture():
    return Image.new("RGB", (64, 48), (200, 40, 90))


@pytest.mark.parametrize("suffix", [".jpg", ".mp4", ".txt", ""])
@pytest.mark.parametrize("form", STILLS)
def test_a_still_is_one_under_any_name(tmp_path, picture, form, suffix):
    path = tmp_path / f"clip{suffix}"
    picture.save(path, form)
    assert still_format(path.read_bytes()[:1024]) == STILLS[form]
    assert kind_of(path) == "image"


def write_video(path, muxer, encoder):
    with av.open(str(path), "w", format=muxer) as out:
        stream = out.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = 352, 288, "yuv420p"
        for _ in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((288, 352, 3), 90, np.uint8), "rgb24")
            out.mux(stream.encode(frame.reformat(format="yuv420p")))
        out.mux(stream.encode())


@pytest.mark.parametrize("muxer", CONTAINERS)
def test_a_video_is_one_under_the_name_of_a_still(tmp_path, muxer):
    path = tmp_path / "clip.jpg"
    try:
        write_video(path, muxer, CONTAINERS[muxer])
    except (ValueError, OSError) as error:
        pytest.skip(f"this FFmpeg does not write {muxer}: {error}")
    assert still_format(path.read_bytes()[:1024]) is None
    assert kind_of(path) == "video"


def iso(major, *compatible):
    return struct.pack(">I4s4sI", 16 + 4 * len(compatible), b"ftyp", major, 0) + b"".join(compatible)


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (iso(b"heic", b"mif1", b"heic"), "heif"),
        (iso(b"mif1", b"mif1", b"heic", b"hevc"), "heif"),
        (iso(b"mif1", b"avif", b"mif1", b"miaf"), "avif"),
        (iso(b"msf1", b"avis", b"msf1"), "avif"),
        (iso(b"msf1", b"hevc", b"msf1"), "heif"),
        (iso(b"avis", b"avis", b"msf1", b"iso8"), "avif"),
        (iso(b"isom", b"isom", b"iso2", b"avc1", b"mp41"), None),
        (iso(b"mp42", b"mp42", b"mif1"), None),
        (iso(b"qt  ", b"qt  "), None),
        (iso(b"heic")[:12], "heif"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + iso(b"jp2 ", b"jp2 "), "jpeg2000"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + iso(b"mjp2", b"mjp2"), None),
        (b"II+\x00\x08\x00\x00\x00", "tiff"),
        (b"MM\x00+\x00\x08\x00\x00", "tiff"),
        (b"MM\x00*\x00\x00\x00\x08", "tiff"),
        (b"BM are the first letters of this text, not of a bitmap", None),
        (b"", None),
    ],
)
def test_first_bytes(head, form):
    assert still_format(head) == form


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "image"), ("a.mp4", "video"), ("a.heic", "image"), ("a", "video")]
)
def test_of_what_begins_like_neither_the_suffix_decides(tmp_path, name, kind):
    path = tmp_path / name
    assert kind_of(path) == kind  # it is not there
    for data in (b"", b"No picture.\n" * 200, bytes(range(100, 200)) * 20):
        path.write_bytes(data)
        assert kind_of(path) == kind


def test_suffixes_are_compared_without_case_and_belong_to_one_kind():
    assert is_image("A.JFIF")
    assert is_video("00001.MTS")
    assert not is_image("a.txt")
    assert not IMAGE_SUFFIXES & VIDEO_SUFFIXES
