"""Kinds of files that people have: the right frames, upright, in the right size and colours, or the stated refusal."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from benchmarks.studies.bars import (
    HEIGHT,
    PATCHES,
    WIDTH,
    Encoding,
    encode,
    patches,
    read_number,
    scene,
    upright,
)
from benchmarks.studies.damage import textured
from extract.errors import UnreadableClip
from extract.media.frames import Sampling, spread
from extract.media.read import read_frames

FRAMES = 40
SPREAD = [2, 8, 14, 20, 25, 31, 37]
LEVELS = 5  # that a patch may be off
X265 = {"x265-params": "crf=20:log-level=none:pools=none:frame-threads=1"}
MPEG2 = {"b": "4M", "bf": "2"}
FULL = {"color_range": 2}

ZOO = {
    "h264.mp4": Encoding(codec="libx264"),
    "h264.mov": Encoding(codec="libx264"),
    "h264.mkv": Encoding(codec="libx264"),
    "h264.ts": Encoding(codec="libx264"),
    "h264.m2ts": Encoding(codec="libx264", container="mpegts", muxing={"mpegts_m2ts_mode": "1"}),
    "h264.flv": Encoding(codec="libx264"),
    "h264-without-times.avi": Encoding(codec="libx264"),
    "raw.h264": Encoding(codec="libx264", container="h264"),
    "fragmented.mp4": Encoding(
        codec="libx264", muxing={"movflags": "frag_keyframe+empty_moov"}, options={"g": "10"}
    ),
    "interlaced.mp4": Encoding(codec="libx264", options={"x264-params": "tff=1:fake-interlaced=1"}),
    "open-groups.mp4": Encoding(codec="libx264", options={"x264-params": "open-gop=1:keyint=10:bframes=3"}),
    "full-range.mp4": Encoding(codec="libx264", pixels="yuvj420p", tags=FULL),
    "bt709.mp4": Encoding(codec="libx264", tags={"colorspace": 1, "color_range": 1}),
    "bt601.mp4": Encoding(codec="libx264", tags={"colorspace": 6, "color_range": 1}),
    "yuv444.mp4": Encoding(codec="libx264", pixels="yuv444p"),
    "422-ten-bits.mp4": Encoding(codec="libx264", pixels="yuv422p10le"),
    "hevc.mp4": Encoding(codec="libx265", options=X265),
    "hevc.mkv": Encoding(codec="libx265", options=X265),
    "hevc.ts": Encoding(codec="libx265", options=X265),
    "raw.hevc": Encoding(codec="libx265", options=X265, container="hevc"),
    "hevc-ten-bits.mp4": Encoding(codec="libx265", pixels="yuv420p10le", options=X265),
    "vp8.webm": Encoding(codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16", "b": "1M"}),
    "vp9.webm": Encoding(codec="libvpx-vp9"),
    "vp9.mp4": Encoding(codec="libvpx-vp9"),
    "av1.mp4": Encoding(codec="libsvtav1"),
    "av1.mkv": Encoding(codec="libsvtav1"),
    "av1.ivf": Encoding(codec="libsvtav1"),
    "mpeg2.mpg": Encoding(codec="mpeg2video", options=MPEG2),
    "mpeg2.ts": Encoding(codec="mpeg2video", options=MPEG2),
    "mpeg2.vob": Encoding(codec="mpeg2video", options=MPEG2),
    "mpeg2.m2v": Encoding(codec="mpeg2video", options=MPEG2, container="mpeg2video"),
    "mpeg2.mxf": Encoding(codec="mpeg2video", options=MPEG2),
    "mpeg4.avi": Encoding(codec="mpeg4", options=MPEG2),
    "mpeg4.mp4": Encoding(codec="mpeg4", options=MPEG2),
    "mjpeg.avi": Encoding(codec="mjpeg", pixels="yuvj420p", tags=FULL, options={"qmin": "2", "qmax": "3"}),
    "prores.mov": Encoding(codec="prores_ks", pixels="yuv422p10le"),
    "ffv1.mkv": Encoding(codec="ffv1"),
    "wmv2.wmv": Encoding(codec="wmv2", options={"b": "4M"}),
    "sorenson.flv": Encoding(codec="flv", options={"b": "4M"}),
    "raw.y4m": Encoding(codec="rawvideo", container="yuv4mpegpipe"),
}

WITHOUT_LAST = {"hevc.ts", "raw.hevc"}  # nothing tells whether their last picture is whole


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Write a clip of `FRAMES` test cards once; returns its path."""
    folder = tmp_path_factory.mktemp("zoo")

    def write(name, how, images=None):
        path = folder / name
        return path if path.exists() else encode(path, images or map(scene, range(FRAMES)), how)

    return write


def check(frames, numbers, *, size=(HEIGHT, WIDTH), levels=LEVELS):
    assert frames.numbers == numbers
    assert [read_number(image) for image in frames.images] == numbers
    for image in frames.images:
        assert (image.dtype, image.shape) == (np.uint8, (*size, 3))
        assert upright(image)
        assert np.abs(patches(image) - PATCHES).max() <= levels


@pytest.mark.parametrize("name", ZOO)
def test_the_right_frames_in_the_right_colours(make, name):
    path, total = make(name, ZOO[name]), FRAMES
    if name in WITHOUT_LAST:
        total = len(read_frames(path, Sampling(count=FRAMES)).images)
        assert FRAMES - 4 <= total < FRAMES
    frames = read_frames(path, Sampling(count=len(SPREAD)))
    check(frames, spread(total, len(SPREAD)))
    assert frames.note == ""


@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mp4", "vp9.webm", "av1.mp4", "mpeg2.mpg"])
def test_what_a_file_is_called_does_not_matter(make, tmp_path, name):
    path = tmp_path / "clip.jpg"
    path.write_bytes(make(name, ZOO[name]).read_bytes())
    check(read_frames(path, Sampling(count=len(SPREAD))), SPREAD)


# -- orientation and proportions -----------------------------------------------------------------------------

TURNS = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


def with_matrix(path, turn, out):
    """Write a display matrix into an MP4 file's track header."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (65536 * value for value in turn)
    struct.pack_into(">9i", data, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    out.write_bytes(data)
    return out


def stored(image, turn):
    """Return what must be stored for an image to be shown upright, pixel by pixel as ISO/IEC 14496-12 says."""
    a, b, c, d = turn
    height, width = image.shape[:2] if not b else image.shape[1::-1]
    q, p = np.mgrid[:height, :width]
    x, y = a * p + c * q, b * p + d * q
    return image[y - y.min(), x - x.min()]


@pytest.mark.parametrize("turn", TURNS)
def test_frames_are_turned_and_mirrored_as_a_player_does(make, tmp_path, turn):
    images = [stored(scene(number), turn) for number in range(5)]
    path = make(f"turned{turn}.mp4", Encoding(codec="libx264"), images)
    frames = read_frames(with_matrix(path, turn, tmp_path / "clip.mp4"), Sampling(count=2))
    check(frames, [1, 3])


@pytest.mark.parametrize(
    ("ratio", "size"),
    [(Fraction(4, 3), (192, 341)), (Fraction(8, 9), (216, 256)), (Fraction(100), (192, 256))],
)
def test_pixels_that_are_not_square_are_stretched(make, ratio, size):
    how = Encoding(codec="libx264", tags={"sample_aspect_ratio": ratio})
    check(read_frames(make(f"{ratio.numerator}.mkv", how), Sampling(count=3)), [6, 20, 33], size=size)


# -- which frames there are ----------------------------------------------------------------------------------


def test_uneven_frames_are_spread_over_time(make):
    def times(number):  # a second of 30, then ten of 0.3 s
        return 3000 * number if number < 30 else 90_000 + 27_000 * (number - 30)

    path = make("uneven.mkv", Encoding(codec="libx264", times=times))
    frames = read_frames(path, Sampling(count=5))
    seconds = [times(number) / 90_000 for number in frames.numbers]
    duration = times(FRAMES - 1) / 90_000 + 1 / 30  # Matroska states the usual rate's
    for i, start in enumerate(seconds):
        assert start <= (i + 0.5) * duration / 5 + 1e-3 < start + 0.3 + 2e-3
    check(frames, frames.numbers)


def test_every_so_many_seconds(make):
    frames = read_frames(make("h264.mp4", ZOO["h264.mp4"]), Sampling(count=9, every=0.5))
    check(frames, [0, 15, 30])


@pytest.mark.parametrize("name", ["h264.mkv", "vp9.webm", "mpeg2.mpg", "mpeg2.ts", "mpeg4.avi"])
def test_whole_pictures_only(make, name):
    how = Encoding(**{**vars(ZOO[name]), "options": {**ZOO[name].options, "g": "10"}})
    frames = read_frames(make(f"short-groups-{name}", how), Sampling(count=9, keyframes=True))
    assert len(frames.numbers) >= 3
    check(frames, frames.numbers)
    every = read_frames(make(f"short-groups-{name}", how), Sampling(count=FRAMES))
    for number, image in zip(frames.numbers, frames.images, strict=True):
        np.testing.assert_array_equal(image, every.images[number])


def test_program_streams_joined_end_to_end(make, tmp_path):
    whole = make("mpeg2.mpg", ZOO["mpeg2.mpg"]).read_bytes()
    (tmp_path / "twice.mpg").write_bytes(whole + whole)
    frames = read_frames(tmp_path / "twice.mpg", Sampling(count=99))
    assert frames.numbers == list(range(2 * FRAMES))
    assert [read_number(image) for image in frames.images] == [*range(FRAMES)] * 2


def trimmed(path, out, first):
    """Write what `ffmpeg -ss -c copy` does: packets from the key frame on, an edit list that shows some of them."""
    with av.open(str(path)) as given, av.open(str(out), "w") as container:
        video = given.streams.video[0]
        stream = container.add_stream_from_template(video)
        for packet in given.demux(video):
            if packet.pts is not None:
                packet.pts, packet.dts = packet.pts - first * 512, packet.dts - first * 512
                packet.stream = stream
                container.mux(packet)


def test_a_trim_without_encoding_is_whole(make, tmp_path):
    trimmed(make("h264.mp4", ZOO["h264.mp4"]), tmp_path / "trim.mp4", 24)
    frames = read_frames(tmp_path / "trim.mp4", Sampling(count=99))
    assert frames.note == ""
    assert frames.numbers == list(range(len(frames.images)))
    assert [read_number(image) for image in frames.images] == list(range(24, FRAMES))


def test_a_header_that_promises_four_thousand_million_frames(make, tmp_path):
    data = bytearray(make("mjpeg.avi", ZOO["mjpeg.avi"]).read_bytes())
    for name, offset in ((b"avih", 24), (b"strh", 40)):
        struct.pack_into("<I", data, data.index(name) + offset, 2**32 - 1)
    (tmp_path / "clip.avi").write_bytes(data)
    check(read_frames(tmp_path / "clip.avi", Sampling(count=4, stride=10)), [0, 10, 20, 30])


MID_GROUP = {
    "h264": Encoding(
        codec="libx264", options={"x264-params": "keyint=10:min-keyint=10:scenecut=0:bframes=2"}
    ),
    "h264 open": Encoding(
        codec="libx264", options={"x264-params": "open-gop=1:keyint=10:min-keyint=10:scenecut=0:bframes=3"}
    ),
    "hevc": Encoding(
        codec="libx265", options={"x265-params": f"{X265['x265-params']}:keyint=10:min-keyint=10"}
    ),
    "mpeg2": Encoding(codec="mpeg2video", options={**MPEG2, "g": "10"}),
}


@pytest.mark.parametrize("share", [0.15, 0.35, 0.6])
@pytest.mark.parametrize("name", MID_GROUP)
def test_a_recording_that_begins_within_a_group_is_used_from_its_first_key_frame(make, tmp_path, name, share):
    data = make(f"{name}-groups.ts", MID_GROUP[name]).read_bytes()
    (tmp_path / "clip.ts").write_bytes(data[round(len(data) * share) // 188 * 188 :])
    frames = read_frames(tmp_path / "clip.ts", Sampling(count=FRAMES))
    seen = [read_number(image) for image in frames.images]
    assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert len(seen) >= 6
    assert seen[-1] >= FRAMES - 5
    for image in frames.images:
        assert np.abs(patches(image) - PATCHES).max() <= LEVELS + 1


@pytest.mark.parametrize("name", ["h264.ts", "mpeg2.ts"])
def test_transport_streams_joined_end_to_end(make, tmp_path, name):
    whole = make(name, ZOO[name]).read_bytes()
    (tmp_path / "twice.ts").write_bytes(whole + whole)
    frames = read_frames(tmp_path / "twice.ts", Sampling(count=99))
    assert [read_number(image) for image in frames.images] == [*range(FRAMES)] * 2


@pytest.mark.parametrize(
    ("name", "share"), [("noisy.ts", 0.31), ("noisy.ts", 0.52), ("noisy.ts", 0.94), ("noisy.hevc", 0.73)]
)
def test_a_picture_of_hevc_that_is_cut_off_is_not_used(make, tmp_path, name, share):
    """Its decoder fills the rest of the picture up with what lies in its memory, and says nothing."""
    how = Encoding(
        codec="libx265", options={"x265-params": "crf=30:log-level=none:pools=none:frame-threads=1"}
    )
    data = make(name, how, list(textured())[:FRAMES]).read_bytes()
    (tmp_path / name).write_bytes(data[: round(len(data) * share)])
    frames = read_frames(tmp_path / name, Sampling(count=FRAMES))
    for image in frames.images:
        assert np.abs(patches(image) - PATCHES).max() <= 3 * LEVELS


def test_the_track_that_is_shown_by_default_is_read(tmp_path):
    with av.open(str(tmp_path / "two.mp4"), "w") as container:
        streams = [container.add_stream("libx264", rate=30) for _ in range(2)]
        streams[0].disposition, streams[1].disposition = 0, av.stream.Disposition.default
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(10):
            for offset, stream in zip((100, 0), streams, strict=True):
                frame = av.VideoFrame.from_ndarray(scene(offset + number), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 30)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    check(read_frames(tmp_path / "two.mp4", Sampling(count=3)), [1, 5, 8])


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("matrix", "name"), [(8, "YCgCo"), (10, "constant luminance"), (14, "ICtCp")])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_matrix_without_a_converter_is_refused_by_name(make, codec, matrix, name):
    how = Encoding(codec=codec, tags={"colorspace": matrix}, options=X265 if codec == "libx265" else {})
    with pytest.raises(UnreadableClip, match=rf"{name}.*E_CLIP_COLOUR"):
        read_frames(make(f"{codec}-{matrix}.mp4", how), Sampling(count=3))


def test_a_trim_that_shows_no_key_frame_has_none_to_choose(make, tmp_path):
    trimmed(make("h264.mp4", ZOO["h264.mp4"]), tmp_path / "trim.mp4", 24)
    with pytest.raises(UnreadableClip, match="E_CLIP_NO_KEYFRAME"):
        read_frames(tmp_path / "trim.mp4", Sampling(count=9, keyframes=True))


@pytest.mark.parametrize(("data", "words"), [(b"no film\n" * 99, "a text"), (b"", "moov")])
def test_a_refusal_says_what_the_file_is(make, tmp_path, data, words):
    whole = make("h264.mp4", ZOO["h264.mp4"]).read_bytes()
    (tmp_path / "clip.mp4").write_bytes(data or whole[: len(whole) // 2])
    with pytest.raises(UnreadableClip, match=rf"{words}.*E_CLIP_UNREADABLE"):
        read_frames(tmp_path / "clip.mp4", Sampling(count=9))


@pytest.mark.parametrize("ending", [".mp3", ".m4a", ".flac"])
def test_the_cover_of_an_album_is_no_video(tmp_path, ending):
    path = tmp_path / f"song{ending}"
    codec = {".mp3": "mp3", ".m4a": "aac", ".flac": "flac"}[ending]
    with av.open(str(path), "w", format="mp4" if ending == ".m4a" else None) as container:
        sound = container.add_stream(codec, rate=44100)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(scene(5), format="rgb24").reformat(format="yuvj420p")
        picture.pts = 0
        container.mux([*cover.encode(picture), *cover.encode(None)])
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        silence = (
            silence
            if codec != "flac"
            else av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "mono")
        )
        silence.rate = 44100
        container.mux([*sound.encode(silence), *sound.encode(None)])
    with pytest.raises(UnreadableClip, match="E_CLIP_NO_VIDEO"):
        read_frames(path, Sampling(count=3))


LEADING_ELSEWHERE = {
    "list.ffconcat": "ffconcat version 1.0\nfile clip.mp4\n",
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nclip.mp4\n#EXT-X-ENDLIST\n",
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "movie.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
    "drawn.ffmeta": ";FFMETADATA1\ntitle=clip.mp4\n",
}


@pytest.mark.parametrize("ending", ["", ".mp4"])
@pytest.mark.parametrize("name", LEADING_ELSEWHERE)
def test_texts_that_lead_to_other_files_are_refused(make, tmp_path, name, ending):
    (tmp_path / "clip.mp4").write_bytes(make("h264.mp4", ZOO["h264.mp4"]).read_bytes())
    path = tmp_path / f"{name}{ending}"
    path.write_text(LEADING_ELSEWHERE[name])
    with pytest.raises(UnreadableClip, match="E_CLIP_FORMAT"):
        read_frames(path, Sampling(count=3))


def test_frames_beyond_the_pixel_budget_are_refused_before_decoding(make):
    with pytest.raises(UnreadableClip, match=r"256 x 192.*E_CLIP_TOO_LARGE"):
        read_frames(make("h264.mp4", ZOO["h264.mp4"]), Sampling(count=3), max_pixels=40_000)
