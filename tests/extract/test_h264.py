"""Frames of H.264 files that are decoded in part are those of a full decode, whatever the encoder did."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from extract import h264, video
from extract.h264 import decode_few
from extract.video import read_frames, spread, strided

FRAMES = 90
ENCODERS = {
    "one group": {"preset": "veryfast", "g": "250"},
    "short groups": {"preset": "veryfast", "g": "12", "keyint_min": "12", "sc_threshold": "0"},
    "b-frames": {"preset": "medium", "bf": "8", "g": "30", "x264-params": "b-pyramid=normal:b-adapt=0"},
    "open groups": {
        "preset": "medium",
        "bf": "3",
        "x264-params": "open-gop=1:keyint=15:min-keyint=15:scenecut=0",
    },
    "refresh by columns": {"preset": "medium", "x264-params": "intra-refresh=1:keyint=20"},
    "no b-frames": {"preset": "ultrafast", "tune": "zerolatency", "g": "20"},
    "strict pyramid": {"preset": "slow", "bf": "4", "x264-params": "b-pyramid=strict:keyint=25:ref=4"},
}


def moving(count, height=72, width=96):
    """A texture that moves, over noise: nothing is predicted without a residual."""
    rng = np.random.default_rng(3)
    field = cv2.GaussianBlur(rng.integers(0, 256, (height, 3 * width, 3), dtype=np.uint8), (0, 0), 3)
    field = cv2.normalize(field, None, 20, 235, cv2.NORM_MINMAX)
    for i in range(count):
        shifted = np.roll(field, -2 * i, axis=1)[:, :width].astype(int)
        yield np.clip(shifted + rng.integers(-6, 7, shifted.shape), 0, 255).astype(np.uint8)


def write(path, options, *, times=None, codec="libx264", count=FRAMES, tags=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.options = 96, 72, "yuv420p", options
        stream.time_base = stream.codec_context.time_base = Fraction(1, 600)
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        for number, image in enumerate(moving(count)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base = Fraction(1, 600)
            frame.pts = times[number] if times else 20 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def through(path, wanted):
    """Decode from the beginning as far as the last wanted frame, by OpenCV."""
    return video._decode(path, wanted)[0]


def check(path, *, count=FRAMES):
    for wanted in (
        spread(count, 5),
        spread(count, 32),
        strided(count, 13, 99),
        [0],
        [count - 1],
        [0, count - 1],
    ):
        few = decode_few(path, wanted, total=count)
        assert few is not None
        for image, expected in zip(few, through(path, wanted), strict=True):
            np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("ending", ["mp4", "mov"])
@pytest.mark.parametrize("options", ENCODERS.values(), ids=ENCODERS)
def test_few_frames_are_those_of_a_full_decode(tmp_path, options, ending):
    check(write(tmp_path / f"clip.{ending}", options))


@pytest.mark.parametrize("options", ["short groups", "open groups", "b-frames"])
def test_frames_that_last_differently_are_counted_not_timed(tmp_path, options):
    times = np.cumsum(np.random.default_rng(5).integers(1, 60, FRAMES)).tolist()
    check(write(tmp_path / "clip.mp4", ENCODERS[options], times=times))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_number_of_threads_changes_no_pixel(tmp_path, monkeypatch, threads):
    monkeypatch.setattr(h264, "threads", lambda: threads)
    check(write(tmp_path / "clip.mp4", ENCODERS["b-frames"]))


@pytest.mark.parametrize(
    "tags", [{"colorspace": 1, "color_range": 1}, {"colorspace": 5}, {"color_range": 2}], ids=str
)
def test_stated_colours_are_converted_as_opencv_does_or_left_to_it(tmp_path, tags):
    path = write(tmp_path / "clip.mp4", ENCODERS["short groups"], tags=tags)
    frames = read_frames(path, count=5)
    for image, expected in zip(frames.images, through(path, frames.numbers), strict=True):
        np.testing.assert_array_equal(image, expected)


def decoded(path, wanted, monkeypatch):
    """How many packets the decoder gets."""
    given = []
    needed = h264._needed
    monkeypatch.setattr(h264, "_needed", lambda *args: given.extend(needed(*args)) or given)
    assert decode_few(path, wanted, total=FRAMES) is not None
    return sum(given)


def test_what_lies_before_a_refresh_is_not_decoded(tmp_path, monkeypatch):
    path = write(tmp_path / "clip.mp4", ENCODERS["short groups"])
    assert decoded(path, [50, 85], monkeypatch) <= 24


def test_an_open_group_is_no_refresh(tmp_path, monkeypatch):
    path = write(tmp_path / "clip.mp4", ENCODERS["open groups"])
    assert decoded(path, [80], monkeypatch) > 75


@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "mpeg4"), ("clip.avi", "mjpeg")])
def test_other_codecs_are_decoded_through(tmp_path, save_video, numbered_frames, name, codec):
    path = save_video(tmp_path / name, numbered_frames(20), {"mpeg4": "mp4v", "mjpeg": "MJPG"}[codec])
    assert decode_few(path, [3], total=20) is None


def test_interlaced_video_is_decoded_through(tmp_path):
    options = {"preset": "medium", "x264-params": "interlaced=1:keyint=20"}
    assert decode_few(write(tmp_path / "clip.mp4", options), [3], total=FRAMES) is None


def test_no_video_is_left_to_opencv(tmp_path):
    (tmp_path / "a.mp4").write_text("no film")
    assert decode_few(tmp_path / "a.mp4", [0], total=1) is None


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_damaged_file_gives_the_frames_of_a_full_decode_with_any_number_of_threads(
    tmp_path, monkeypatch, place
):
    path = write(tmp_path / "clip.mp4", ENCODERS["short groups"])
    data = bytearray(path.read_bytes())
    start = round(len(data) * place)
    data[start : start + 400] = bytes(np.random.default_rng(1).integers(0, 256, 400, dtype=np.uint8))
    path.write_bytes(data)
    found = []
    for threads in (1, 2, 4):
        monkeypatch.setattr(h264, "threads", lambda threads=threads: threads)
        found.append(read_frames(path, count=FRAMES))
    assert found[0].numbers == found[1].numbers == found[2].numbers
    for others in found[1:]:
        for image, expected in zip(others.images, found[0].images, strict=True):
            np.testing.assert_array_equal(image, expected)


def test_a_file_that_is_cut_off_is_decoded_through(tmp_path):
    path = write(tmp_path / "clip.mp4", {**ENCODERS["short groups"]})
    assert decode_few(path, [3], total=FRAMES + 1) is None
