"""Frames that are decoded in part are those of a full decode, whatever the encoder did; damage is noticed."""

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from extract.errors import UnreadableClip
from extract.media.frames import Sampling, spread
from extract.media.read import read_batches, read_frames
from extract.media.video import every_frame
from extract.media.videos import log
from extract.media.videos.container import open_video
from extract.media.videos.index import needed, read_index
from extract.media.videos.log import DecoderLog

FRAMES = 90
X265 = "crf=23:log-level=none:pools=none:frame-threads=1"
ENCODERS = {
    "one group": ("libx264", {"preset": "veryfast", "g": "250", "crf": "20"}),
    "short groups": (
        "libx264",
        {"preset": "veryfast", "g": "12", "keyint_min": "12", "sc_threshold": "0"},
    ),
    "b-frames": (
        "libx264",
        {"preset": "medium", "bf": "8", "g": "30", "x264-params": "b-pyramid=normal:b-adapt=0"},
    ),
    "open groups": (
        "libx264",
        {"preset": "medium", "bf": "3", "x264-params": "open-gop=1:keyint=15:min-keyint=15:scenecut=0"},
    ),
    "refresh by columns": ("libx264", {"preset": "medium", "x264-params": "intra-refresh=1:keyint=20"}),
    "no b-frames": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "g": "20"}),
    "strict pyramid": (
        "libx264",
        {"preset": "slow", "bf": "4", "x264-params": "b-pyramid=strict:keyint=25:ref=4"},
    ),
    "interlaced": ("libx264", {"preset": "medium", "x264-params": "interlaced=1:keyint=20"}),
    "hevc": ("libx265", {"x265-params": f"{X265}:keyint=20"}),
    "hevc, closed groups": (
        "libx265",
        {"x265-params": f"{X265}:keyint=15:min-keyint=15:scenecut=0:open-gop=0"},
    ),
    "mpeg-2": ("mpeg2video", {"b": "2M", "bf": "2", "g": "12"}),
    "mpeg-4": ("mpeg4", {"b": "2M", "bf": "2", "g": "12"}),
    "vp9": ("libvpx-vp9", {"b": "1M", "g": "20"}),
    "prores": ("prores_ks", {}),
}


def moving(count, height=72, width=96):
    """A texture that moves, over noise: nothing is predicted without a residual."""
    rng = np.random.default_rng(3)
    field = cv2.GaussianBlur(rng.integers(0, 256, (height, 3 * width, 3), dtype=np.uint8), (0, 0), 3)
    field = cv2.normalize(field, None, 20, 235, cv2.NORM_MINMAX)
    for i in range(count):
        shifted = np.roll(field, -2 * i, axis=1)[:, :width].astype(int)
        yield np.clip(shifted + rng.integers(-6, 7, shifted.shape), 0, 255).astype(np.uint8)


def write(path, encoder, *, times=None, count=FRAMES):
    codec, options = ENCODERS[encoder]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.codec_context.thread_count = 1  # the same bits every time
        stream.width, stream.height = 96, 72
        stream.pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 600)
        if codec == "mpeg2video":
            stream.time_base = stream.codec_context.time_base = Fraction(1, 30)
        for number, image in enumerate(moving(count)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base = Fraction(1, 600)
            frame.pts = times[number] if times else 20 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def through(path):
    """Decode everything from the beginning, as PyAV does without us."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def check(path):
    whole = through(path)
    assert len(whole) == FRAMES
    for sampling in (Sampling(count=5), Sampling(count=32), Sampling(count=99, stride=13), Sampling(count=1)):
        frames = read_frames(path, sampling)
        for number, image in zip(frames.numbers, frames.images, strict=True):
            np.testing.assert_array_equal(image, whole[number])


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_few_frames_are_those_of_a_full_decode(tmp_path, encoder, ending):
    if (encoder, ending) == ("prores", "mp4"):
        ending = "mov"
    path = write(tmp_path / f"clip.{ending}", encoder)
    check(path)
    assert read_frames(path, Sampling(count=32)).numbers == spread(FRAMES, 32)


@pytest.mark.parametrize("encoder", ["short groups", "open groups", "b-frames", "hevc", "vp9"])
def test_frames_that_last_differently(tmp_path, encoder):
    times = np.cumsum(np.random.default_rng(5).integers(1, 60, FRAMES)).tolist()
    check(write(tmp_path / "clip.mp4", encoder, times=times))


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("encoder", ["b-frames", "hevc", "vp9"])
def test_the_number_of_threads_changes_no_pixel(tmp_path, monkeypatch, threads, encoder):
    monkeypatch.setattr(log, "threads", lambda: threads)
    check(write(tmp_path / "clip.mp4", encoder))


def given_to_the_decoder(path, wanted):
    """How many packets the decoder gets for frames at these positions."""
    with DecoderLog() as said, open_video(path, said, max_pixels=10**6) as (container, stream):
        index = read_index(container, stream, said)
        times = np.sort(index.times)
        return int(needed(index, {int(times[position]) for position in wanted}).sum())


@pytest.mark.parametrize("encoder", ["short groups", "hevc, closed groups"])
def test_what_lies_before_a_refresh_is_not_decoded(tmp_path, encoder):
    assert given_to_the_decoder(write(tmp_path / "clip.mp4", encoder), [50, 85]) <= 30


def test_frames_that_refer_to_no_other_are_decoded_alone(tmp_path):
    assert given_to_the_decoder(write(tmp_path / "clip.mov", "prores"), [3, 50, 85]) == 3


def test_an_open_group_is_no_refresh(tmp_path):
    assert given_to_the_decoder(write(tmp_path / "clip.mp4", "open groups"), [80]) > 20


def test_every_frame_is_every_frame(tmp_path):
    path = write(tmp_path / "clip.mp4", "b-frames")
    np.testing.assert_array_equal(list(every_frame(path)), through(path))


# -- damage --------------------------------------------------------------------------------------------------


def hurt(path, place, count=400):
    data = bytearray(path.read_bytes())
    start = round(len(data) * place)
    data[start : start + count] = bytes(np.random.default_rng(1).integers(0, 256, count, dtype=np.uint8))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_damaged_clip_is_refused_with_any_number_of_threads(tmp_path, monkeypatch, place, threads):
    monkeypatch.setattr(log, "threads", lambda: threads)
    path = hurt(write(tmp_path / "clip.mp4", "short groups"), place)
    with pytest.raises(UnreadableClip, match="E_CLIP_DAMAGED"):
        read_frames(path, Sampling(count=FRAMES))


def test_bytes_that_no_frame_is_marked_for_are_noticed_in_the_log(tmp_path):
    path = write(tmp_path / "clip.mp4", "one group")
    whole, rng = path.read_bytes(), np.random.default_rng(4)
    unmarked = 0
    for place in rng.integers(4000, len(whole) - 4000, 40):
        data = bytearray(whole)
        data[place] ^= 85
        path.write_bytes(data)
        try:
            with av.open(str(path)) as container:
                marked = any(frame.is_corrupt for frame in container.decode(video=0))
        except av.FFmpegError:
            continue
        if not marked:
            with contextlib.suppress(UnreadableClip):
                read_frames(path, Sampling(count=FRAMES))
                continue
            unmarked += 1
    assert unmarked


def test_a_damaged_clip_is_used_on_demand_with_a_note(tmp_path):
    path = hurt(write(tmp_path / "clip.mp4", "short groups"), 0.5)
    frames = read_frames(path, Sampling(count=8), damaged="use")
    assert len(frames.images) == 8
    assert frames.note.startswith("damaged: h264")


def test_the_same_complaint_about_the_next_clip_is_heard(tmp_path):
    path = hurt(write(tmp_path / "clip.mp4", "short groups"), 0.5)
    for _ in range(3):
        with pytest.raises(UnreadableClip, match="E_CLIP_DAMAGED"):
            read_frames(path, Sampling(count=FRAMES))


def test_damage_is_blamed_on_its_own_clip_when_several_threads_read(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "threads", lambda: 2)
    good = write(tmp_path / "good.mp4", "short groups")
    bad = hurt(write(tmp_path / "bad.mp4", "short groups"), 0.5)
    expected = np.stack(read_frames(good, Sampling(count=32)).images)
    together = threading.Barrier(4)

    def read(path):
        together.wait()
        for _ in range(10):
            try:
                yield np.stack(read_frames(path, Sampling(count=32)).images)
            except UnreadableClip as error:
                yield error.code

    with ThreadPoolExecutor(4) as pool:
        goods, bads, *others = pool.map(lambda path: list(read(path)), [good, bad, good, bad])
    for found in goods + others[0]:
        np.testing.assert_array_equal(found, expected)
    assert set(bads + others[1]) == {"E_CLIP_DAMAGED"}


def test_clips_read_in_turn_do_not_wait_for_each_other(tmp_path):
    path = write(tmp_path / "clip.mp4", "b-frames")
    for first, second in zip(every_frame(path), every_frame(path), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "name", [b"\xff\xfe.mp4", b"a:b.mp4", b"50%d.mp4", b"-i.mp4", b"new\nline.mp4", b"x" * 250 + b".mp4"]
)
def test_any_name_is_opened(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    write(tmp_path / "clip.mp4", "no b-frames").rename(path)
    assert read_frames(path, Sampling(count=3)).numbers == [15, 45, 75]


# -- batches -------------------------------------------------------------------------------------------------


def test_frames_come_in_batches_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr("extract.media.video.HELD", 3 * 96 * 72)
    path = write(tmp_path / "clip.mp4", "b-frames")
    batches = list(read_batches(path, Sampling(count=8)))
    assert [len(batch.images) for batch in batches] == [3, 3, 2]
    whole = through(path)
    for batch in batches:
        for number, image in zip(batch.numbers, batch.images, strict=True):
            np.testing.assert_array_equal(image, whole[number])


def test_a_file_that_ends_in_its_last_packet_gives_each_frame_once_though_some_were_handed_on(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("extract.media.video.HELD", 7 * 96 * 72)
    path = write(tmp_path / "clip.h264", "no b-frames")
    path.write_bytes(path.read_bytes()[:-40])
    batches = list(read_batches(path, Sampling(count=FRAMES)))
    numbers = [number for batch in batches for number in batch.numbers]
    assert numbers == list(range(FRAMES - 1))
    assert batches[-1].note == f"truncated: {FRAMES - 1} frames can be read"
