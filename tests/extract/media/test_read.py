import math
import os
import re
import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from extract.errors import UnreadableClip
from extract.media.frames import Frames, Sampling, spread
from extract.media.read import read_frames

TOTALS = st.integers(0, 100_000)
COUNTS = st.integers(1, 500)


@given(TOTALS, COUNTS)
def test_spread_is_sorted_unique_within_range_and_of_the_right_count(total, count):
    chosen = spread(total, count)
    assert len(chosen) == min(total, count)
    assert all(a < b for a, b in pairwise(chosen))
    assert not chosen or (chosen[0] >= 0 and chosen[-1] < total)


@given(TOTALS.filter(bool), COUNTS)
def test_spread_leaves_no_gap_longer_than_a_stretch(total, count):
    chosen = spread(total, count)
    stretch = math.ceil(total / len(chosen))
    assert max((b - a for a, b in pairwise(chosen)), default=0) <= stretch
    assert chosen[0] <= stretch / 2
    assert total - 1 - chosen[-1] <= stretch / 2


def check_contents(frames: Frames, frame_number):
    assert [frame_number(image) for image in frames.images] == frames.numbers
    assert all(image.dtype == np.uint8 and image.shape == (48, 64, 3) for image in frames.images)


CODECS = [("clip.mp4", "mp4v"), ("clip.avi", "MJPG")]


@pytest.mark.parametrize(("name", "codec"), CODECS)
@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({"count": 4}, [5, 15, 25, 35]),
        ({"count": 1}, [20]),
        ({"count": 40}, list(range(40))),
        ({"count": 99}, list(range(40))),
        ({"count": 99, "stride": 13}, [0, 13, 26, 39]),
        ({"count": 2, "stride": 10}, [10, 30]),
    ],
)
def test_frame_numbers_are_those_of_the_content(
    tmp_path, save_video, numbered_frames, frame_number, name, codec, options, numbers
):
    path = save_video(tmp_path / name, numbered_frames(40), codec)
    frames = read_frames(path, Sampling(**options))
    assert frames.numbers == numbers
    assert frames.note == ""
    check_contents(frames, frame_number)


def test_video_frames_are_rgb(tmp_path, save_video):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 220
    (image,) = read_frames(save_video(tmp_path / "red.mp4", [red] * 3), Sampling(count=1)).images
    assert image[..., 0].min() > 180
    assert image[..., 1:].max() < 60


def atoms(data, start=0):
    """Yield name, start and end of an MP4 file's boxes."""
    while start + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, start)
        yield name.decode(), start, start + size
        start += size


def index_first(data):
    """Move an MP4 file's index before its frames, as for streaming: a cut file can then still be opened."""
    parts = {name: data[start:end] for name, start, end in atoms(data)}
    moov = bytearray(parts.pop("moov"))
    table = moov.index(b"stco") + 8
    for i in range(struct.unpack_from(">I", moov, table)[0]):
        place = table + 4 + 4 * i
        struct.pack_into(">I", moov, place, struct.unpack_from(">I", moov, place)[0] + len(moov))
    return parts.pop("ftyp") + bytes(moov) + b"".join(parts.values())


@pytest.fixture(scope="module")
def whole(tmp_path_factory, save_video, numbered_frames):
    folder = tmp_path_factory.mktemp("whole")
    mp4 = save_video(folder / "clip.mp4", numbered_frames(40))
    avi = save_video(folder / "clip.avi", numbered_frames(40), "MJPG")
    return {
        "index last.mp4": mp4.read_bytes(),
        "index first.mp4": index_first(mp4.read_bytes()),
        "index last.avi": avi.read_bytes(),
    }


LAYOUTS = ["index last.mp4", "index first.mp4", "index last.avi"]


def cut(path, data, share):
    path.write_bytes(data[: round(len(data) * share)])
    return path


def readable_frames(frames):
    return int(re.match(r"truncated: (\d+) of 40 frames can be read$", frames.note)[1])


def but_the_torn(frames):
    """Leave out the last readable frame, of which the decoder may have had the first bytes only."""
    kept = [i for i, number in enumerate(frames.numbers) if number < readable_frames(frames) - 1]
    return Frames([frames.images[i] for i in kept], [frames.numbers[i] for i in kept])


@pytest.mark.parametrize("share", [0.001, 0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_truncated_video_gives_fewer_frames_with_a_note_or_none(
    tmp_path, whole, frame_number, layout, share
):
    path = cut(tmp_path / layout, whole[layout], share)
    try:
        frames = read_frames(path, Sampling(count=8))
    except UnreadableClip:
        return
    assert frames.images
    check_contents(but_the_torn(frames), frame_number)


@pytest.mark.parametrize("layout", ["index first.mp4", "index last.avi"])
def test_what_can_be_read_of_a_truncated_video_is_spread_over_anew(tmp_path, whole, frame_number, layout):
    frames = read_frames(cut(tmp_path / layout, whole[layout], 0.5), Sampling(count=4))
    check_contents(but_the_torn(frames), frame_number)
    readable = readable_frames(frames)
    assert 10 <= readable <= 30
    assert frames.numbers == spread(readable, 4)


def test_a_video_whose_index_is_cut_off_is_unreadable(tmp_path, whole):
    path = cut(tmp_path / "clip.mp4", whole["index last.mp4"], 0.5)
    with pytest.raises(UnreadableClip, match="cannot be decoded as a video"):
        read_frames(path, Sampling(count=4))


@pytest.mark.parametrize("name", ["clip.mp4", "face.png"])
def test_an_empty_file_is_unreadable(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(UnreadableClip, match="E_CLIP_EMPTY"):
        read_frames(tmp_path / name, Sampling(count=1))


@pytest.mark.parametrize(
    ("name", "kind"), [("a.mp4", "a video"), ("a.png", "an image"), ("a.jpg", "an image")]
)
def test_a_text_file_of_another_name_is_unreadable(tmp_path, name, kind):
    (tmp_path / name).write_text("This is no picture, and no film either.\n" * 50)
    with pytest.raises(UnreadableClip, match=f"cannot be decoded as {kind}"):
        read_frames(tmp_path / name, Sampling(count=1))


def test_a_png_of_which_only_the_beginning_is_left_is_damaged(tmp_path, save_image, rng):
    path = save_image(tmp_path / "face.png", rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UnreadableClip, match="E_CLIP_DAMAGED"):
        read_frames(path, Sampling(count=1))


def read_one(path):
    frames = read_frames(path, Sampling(count=8))
    assert frames.numbers == [0]
    assert frames.note == ""
    return frames.images[0]


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".PNG"])
def test_lossless_images_come_back_as_they_are(tmp_path, save_image, rng, ending):
    image = rng.integers(0, 256, (9, 13, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_one(save_image(tmp_path / f"face{ending}", image)), image)


def test_a_one_pixel_image(tmp_path, save_image):
    path = save_image(tmp_path / "dot.png", np.array([[[250, 120, 3]]], np.uint8))
    assert read_one(path).tolist() == [[[250, 120, 3]]]


def test_a_grey_image_becomes_rgb(tmp_path, save_image):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    image = read_one(save_image(tmp_path / "grey.png", grey))
    np.testing.assert_array_equal(image, np.stack([grey] * 3, axis=2))


def test_alpha_is_dropped(tmp_path, save_image, rng):
    image = rng.integers(0, 256, (6, 5, 4), dtype=np.uint8)
    np.testing.assert_array_equal(read_one(save_image(tmp_path / "alpha.png", image)), image[..., :3])


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_sixteen_bits_become_eight(tmp_path, save_image, shape, rng):
    deep = rng.integers(0, 65536, shape, dtype=np.uint16)
    image = read_one(save_image(tmp_path / "deep.png", deep))
    expected = deep if deep.ndim == 3 else np.stack([deep] * 3, axis=2)
    assert image.dtype == np.uint8
    assert np.abs(image - expected / 257.0).max() <= 1


def test_a_palette_image_becomes_rgb(tmp_path, rng):
    image = np.repeat(rng.integers(0, 256, (1, 8, 3), dtype=np.uint8), 6, axis=0)
    palette = Image.fromarray(image).quantize(8)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_one(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(1, lambda x: x), (3, lambda x: np.rot90(x, 2)), (6, lambda x: np.rot90(x, -1)), (8, np.rot90)],
)
def test_exif_orientation_is_applied(tmp_path, orientation, turned):
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16, 0] = 255
    image[8:, 16:, 1] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(tmp_path / "face.jpg", exif=exif, quality=100, subsampling=0)
    upright = read_one(tmp_path / "face.jpg").astype(int)
    assert upright.shape == turned(image).shape
    assert np.abs(upright - turned(image)).mean() < 4


AWKWARD = ["with space", "Gesicht über Straße", "日本", "take%03d", "50% done?", "it's [1]"]


@pytest.mark.parametrize("stem", AWKWARD)
def test_awkward_image_names(tmp_path, save_image, rng, stem):
    image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_one(save_image(tmp_path / f"{stem}.png", image)), image)


@pytest.mark.parametrize("stem", AWKWARD)
def test_awkward_video_names(tmp_path, whole, frame_number, stem):
    path = tmp_path / f"{stem}.mp4"
    path.write_bytes(whole["index last.mp4"])
    frames = read_frames(path, Sampling(count=3))
    assert frames.numbers == [6, 20, 33]
    check_contents(frames, frame_number)


def test_a_pipe_is_no_clip(tmp_path):
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(UnreadableClip, match="E_FILE_SPECIAL"):
        read_frames(tmp_path / "clip.mp4", Sampling(count=1))


def test_an_image_with_a_video_name_is_read(tmp_path, save_image, rng):
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    path = save_image(tmp_path / "face.png", image).rename(tmp_path / "face.mp4")
    np.testing.assert_array_equal(read_one(path), image)


def test_decoding_twice_gives_the_same_pixels(tmp_path, whole):
    (tmp_path / "clip.mp4").write_bytes(whole["index last.mp4"])
    first, second = (read_frames(tmp_path / "clip.mp4", Sampling(count=5)) for _ in range(2))
    np.testing.assert_array_equal(np.stack(first.images), np.stack(second.images))


def test_a_spread_choice_equals_the_same_frames_of_a_full_decode(tmp_path, whole):
    (tmp_path / "clip.mp4").write_bytes(whole["index last.mp4"])
    every = read_frames(tmp_path / "clip.mp4", Sampling(count=40)).images
    some = read_frames(tmp_path / "clip.mp4", Sampling(count=7))
    for number, image in zip(some.numbers, some.images, strict=True):
        np.testing.assert_array_equal(image, every[number])
