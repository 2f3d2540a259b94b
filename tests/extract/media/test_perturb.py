"""Contracts over every registered family, then what is particular to each."""

import dataclasses
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pydantic
import pytest

from extract import searching
from extract.errors import RequestError, UnreadableClip
from extract.faces import FaceSettings, WholeFrame, crop_faces, faces_key
from extract.manifest import make_manifest
from extract.media import perturb
from extract.media.frames import Frames, Sampling
from extract.media.perturb import FAMILIES, Perturbation, parse_perturbation, parse_perturbations
from extract.media.read import read_frames
from extract.pipeline import find_faces, identify

STANDARD = parse_perturbations(["all"])
ON_IMAGES = [one for one in STANDARD if one.family != "h264"]
WHOLE = FaceSettings(detector="none", size=16)


def natural(height, width, *, seed=0):
    """Make a coloured image of slow gradients and fine texture, far from black and white."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    slopes = np.stack([70 + 110 * x, 180 - 90 * y, 80 + 30 * np.sin(6 * x + 4 * y)], axis=2)
    grains = np.random.default_rng(seed).normal(0, 25, (height, width, 3))
    return np.clip(slopes + cv2.GaussianBlur(grains, (0, 0), 1), 0, 255).astype(np.uint8)


def film(count, height, width):
    """Move a window over a natural image, two pixels a frame."""
    scene = natural(height, width + 2 * count)
    return [np.ascontiguousarray(scene[:, 2 * i : 2 * i + width]) for i in range(count)]


def save_lossless(path, frames):
    """Write RGB frames without loss; OpenCV's writer would cut odd sides."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Make videos of twelve frames of a height and width, once each."""
    folder = tmp_path_factory.mktemp("clips")

    def make(height, width):
        path = folder / f"{height}x{width}.mkv"
        return path if path.exists() else save_lossless(path, film(12, height, width))

    return make


def test_the_clips_are_what_they_were_made_of(clips):
    np.testing.assert_array_equal(read_frames(clips(97, 131), Sampling(count=12)).images, film(12, 97, 131))


def perturbed(one, path, count=4):
    return one.apply(read_frames(path, Sampling(count=count)), path=path)


def damage(one, path):
    pairs = zip(perturbed(one, path).images, read_frames(path, Sampling(count=4)).images, strict=True)
    return np.mean([np.abs(after.astype(float) - before).mean() for after, before in pairs])


# -- every family --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(96, 128), (97, 131), (95, 64)])
@pytest.mark.parametrize("one", STANDARD, ids=lambda one: one.name)
def test_sizes_type_numbers_and_note_are_kept(clips, one, size):
    before, after = read_frames(clips(*size), Sampling(count=4)), perturbed(one, clips(*size))
    assert [(x.shape, x.dtype) for x in after.images] == [((*size, 3), np.uint8)] * 4
    assert (after.numbers, after.note) == (before.numbers, before.note)


@pytest.mark.parametrize("one", STANDARD, ids=lambda one: one.name)
def test_twice_gives_the_same_pixels_and_the_original_is_left_alone(clips, one):
    path = clips(97, 131)
    frames = read_frames(path, Sampling(count=4))
    first, second = (one.apply(frames, path=path) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(frames.images, read_frames(path, Sampling(count=4)).images)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_weakest_changes_something_and_stronger_changes_more(clips, family):
    known = parse_perturbations([family])
    assert sorted(known, key=lambda one: one.severity) == list(known)
    changes = [damage(one, clips(96, 128)) for one in known]
    assert changes[0] > 0
    assert all(a < b for a, b in pairwise(changes))


@pytest.mark.parametrize("one", STANDARD, ids=lambda one: one.name)
def test_no_channel_is_shifted_or_swapped(clips, one):
    path = clips(96, 128)
    shift = np.mean(perturbed(one, path).images, (0, 1, 2)) - np.mean(
        read_frames(path, Sampling(count=4)).images, (0, 1, 2)
    )
    assert np.abs(shift).max() < 2


@pytest.mark.parametrize("one", STANDARD, ids=lambda one: one.name)
def test_a_frame_does_not_depend_on_which_others_are_taken(clips, one):
    path = clips(96, 128)
    every, some = perturbed(one, path, count=12), perturbed(one, path, count=3)
    for number, image in zip(some.numbers, some.images, strict=True):
        np.testing.assert_array_equal(image, every.images[number])


@pytest.mark.parametrize("one", ON_IMAGES, ids=lambda one: one.name)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (20, 3)])
def test_tiny_images_survive(one, size):
    (image,) = one.apply(Frames([natural(*size)], [0]), path=Path("face.png")).images
    assert image.shape == (*size, 3)


# -- names ---------------------------------------------------------------------------------------------------


def test_the_standard_strengths():
    assert [one.name for one in STANDARD] == [
        *("jpeg-90", "jpeg-70", "jpeg-50", "jpeg-30"),
        *("blur-1", "blur-2", "blur-4"),
        *("resize-0.75", "resize-0.5", "resize-0.25"),
        *("noise-5", "noise-10", "noise-20"),
        *("h264-23", "h264-40"),
    ]


@pytest.mark.parametrize(
    "name", ["jpeg-0", "jpeg-100", "blur-0.5", "resize-0.00001", "noise-2.25", "h264-51"]
)
def test_names_round_trip(name):
    assert parse_perturbation(name).name == name
    assert parse_perturbations([name]) == (parse_perturbation(name),)


def test_another_spelling_of_a_strength_is_the_same_perturbation():
    assert parse_perturbation("jpeg-030.0") == Perturbation("jpeg", 30) == parse_perturbation("jpeg-30")


def test_families_are_expanded_duplicates_dropped_and_the_order_kept():
    found = parse_perturbations(["noise-20", "resize", "noise", "resize-0.1", "resize"])
    assert [one.name for one in found] == [
        *("noise-20", "resize-0.75", "resize-0.5", "resize-0.25", "noise-5", "noise-10", "resize-0.1"),
    ]
    assert parse_perturbations([]) == ()


def test_they_sort_by_family_and_from_weak_to_strong():
    mixed = parse_perturbations(["h264", "resize-0.1", "jpeg-10", "resize", "jpeg"])
    assert [one.name for one in sorted(mixed, key=lambda one: one.order)] == [
        *("jpeg-90", "jpeg-70", "jpeg-50", "jpeg-30", "jpeg-10"),
        *("resize-0.75", "resize-0.5", "resize-0.25", "resize-0.1", "h264-23", "h264-40"),
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jpg", r"Expected a known perturbation; got 'jpg'\. Did you mean 'jpeg'"),
        ("jpg-30", r"Expected a known perturbation; got 'jpg-30'\. Did you mean 'jpeg-30'"),
        ("rain", r"got 'rain'\. Choose one of: all, blur, h264, jpeg, noise, resize"),
        ("", r"Expected a known perturbation; got ''"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name, message):
    with pytest.raises(RequestError, match=message):
        parse_perturbations(["noise", name])


@pytest.mark.parametrize(
    "name",
    [
        *("jpeg-", "jpeg-x", "jpeg-101", "jpeg--1", "jpeg-33.5"),
        *("blur-0", "blur-nan", "blur-inf", "blur-1e1", "blur-101"),
        *("resize-0", "resize-1", "resize-2"),
        *("noise-0", "noise--5", "noise-256", "noise-" + "9" * 400),
        *("h264-52", "h264--1", "h264-c23"),
    ],
)
def test_strengths_that_make_no_sense_are_refused(name):
    family = name.partition("-")[0]
    with pytest.raises(
        RequestError, match=rf"^Expected a .* after '{family}-'; got '.*'\. Usual are {family}-"
    ):
        parse_perturbations([name])


@pytest.mark.parametrize(("family", "strength"), [("jpeg", 300), ("blur", float("nan")), ("rain", 1)])
def test_a_perturbation_is_checked_however_it_is_made(family, strength):
    with pytest.raises(RequestError, match="Expected a"):
        Perturbation(family, strength)


@pytest.mark.parametrize("name", ["jpeg", "all"])
def test_a_family_is_not_one_perturbation(name):
    with pytest.raises(RequestError, match=rf"got '{name}', which is several\. Choose one of: jpeg-90, "):
        parse_perturbation(name)


# -- one image at a time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [90, 30])
def test_jpeg_is_opencvs_round_trip(quality):
    image = natural(40, 56)
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    expected = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(perturb.compress_jpeg(image, quality), expected)


def test_an_image_too_large_for_jpeg_is_unreadable():
    with pytest.raises(UnreadableClip, match="cannot be encoded as JPEG"):
        perturb.compress_jpeg(np.zeros((1, 65_501, 3), np.uint8), 50)


@pytest.mark.parametrize(("side", "sigma"), [(160, 4), (640, 4), (1280, 8), (1920, 12)])
def test_blur_spreads_a_step_by_its_sigma_and_more_in_large_frames(side, sigma):
    step = np.zeros((64, side, 3), np.uint8)
    step[:, side // 2 :] = 200
    slope = np.diff(perturb.blur(step, 4)[32, :, 0].astype(float))
    places = np.arange(len(slope))
    mean = np.average(places, weights=slope)
    measured = np.sqrt(np.average((places - mean) ** 2, weights=slope))
    assert measured == pytest.approx(sigma, rel=0.05)


def test_resizing_is_down_by_areas_and_up_by_cubic_interpolation():
    image = natural(50, 70)
    means = image.reshape(25, 2, 35, 2, 3).mean(axis=(1, 3))
    expected = cv2.resize(np.rint(means).astype(np.uint8), (70, 50), interpolation=cv2.INTER_CUBIC)
    assert np.abs(perturb.rescale(image, 0.5).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("deviation", [5, 10, 20])
def test_noise_on_grey_has_the_stated_deviation_and_no_mean(deviation):
    grains = perturb.add_noise(np.full((200, 200, 3), 128, np.uint8), deviation) - 128.0
    assert grains.std() == pytest.approx(deviation, rel=0.02)
    assert abs(grains.mean()) < 0.01 * deviation + 0.1
    channels = np.corrcoef(grains.reshape(-1, 3).T)
    assert np.abs(channels - np.eye(3)).max() < 0.03


def test_noise_does_not_wrap_around():
    assert perturb.add_noise(np.full((50, 50, 3), 255, np.uint8), 20).min() > 128
    assert perturb.add_noise(np.zeros((50, 50, 3), np.uint8), 20).max() < 128


def test_noise_belongs_to_the_image_alone():
    one, other = natural(30, 40), natural(30, 40, seed=1)
    alone = perturb.add_noise(one, 10)
    perturb.add_noise(other, 10)
    np.testing.assert_array_equal(perturb.add_noise(one, 10), alone)
    grains = (alone.astype(int) - one).ravel(), (perturb.add_noise(other, 10).astype(int) - other).ravel()
    assert abs(np.corrcoef(grains)[0, 1]) < 0.1


# -- h264 ----------------------------------------------------------------------------------------------------

H264 = parse_perturbation("h264-23")


@pytest.mark.parametrize("options", [{"count": 4}, {"count": 99}, {"count": 99, "stride": 13}, {"count": 1}])
@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "mp4v"), ("clip.avi", "MJPG")])
def test_recompressed_frames_are_those_of_their_numbers(
    tmp_path, save_video, numbered_frames, frame_number, name, codec, options
):
    path = save_video(tmp_path / name, numbered_frames(40), codec)
    before = read_frames(path, Sampling(**options))
    after = H264.apply(before, path=path)
    assert after.numbers == before.numbers
    assert [frame_number(image) for image in after.images] == before.numbers


def test_a_truncated_video_is_recompressed_as_far_as_it_goes(
    tmp_path, save_video, numbered_frames, frame_number
):
    path = save_video(tmp_path / "clip.avi", numbered_frames(40), "MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = read_frames(path, Sampling(count=4))
    after = H264.apply(before, path=path)
    assert after.note == before.note
    assert after.note.startswith("truncated: ")
    assert [frame_number(image) for image in after.images[:-1]] == before.numbers[:-1]


def test_colours_are_kept_exactly_but_for_what_the_codec_loses(tmp_path):
    colours = [(200, 90, 60), (40, 180, 70), (60, 70, 190), (128, 128, 128), (16, 16, 16), (240, 240, 240)]
    for colour in colours:
        path = save_lossless(tmp_path / "flat.mkv", [np.full((32, 48, 3), colour, np.uint8)] * 3)
        (image,) = perturbed(H264, path, count=1).images
        assert np.abs(image.mean(axis=(0, 1)) - colour).max() < 2


def test_odd_sides_move_no_pixel(clips):
    # Where whole pixels had moved, the difference to the original would be that of neighbouring frames.
    path = clips(97, 131)
    before = np.stack(read_frames(path, Sampling(count=4)).images).astype(float)
    after = np.stack(perturbed(H264, path).images)
    shifts = {s: np.abs(np.roll(after, s, axis=2) - before)[:, :, 2:-2].mean() for s in (-1, 0, 1)}
    assert min(shifts, key=shifts.get) == 0
    downwards = {s: np.abs(np.roll(after, s, axis=1) - before)[:, 2:-2].mean() for s in (-1, 0, 1)}
    assert min(downwards, key=downwards.get) == 0
    edge = np.abs(after[:, -1] - before[:, -1]).mean()
    assert edge < 2 * shifts[0] + 2


def test_recompressing_holds_a_bounded_number_of_frames():
    from extract.media.recompress import USUAL_RATE, _rate, _through

    taken = 0

    def source():
        nonlocal taken
        for image in film(10, 32, 48) * 30:
            taken += 1
            yield image

    ahead = [taken - given for given, _ in enumerate(_through(source(), _rate(USUAL_RATE), 23))]
    assert len(ahead) == 300
    assert max(ahead) < 100


@pytest.mark.parametrize(
    ("stated", "used"),
    [
        (25.0, (25, 1)),
        (30000 / 1001, (30000, 1001)),
        (0.0, (25, 1)),
        (float("nan"), (25, 1)),
        (90000.0, (25, 1)),
    ],
)
def test_the_frame_rate_is_the_clips_own_where_it_makes_sense(stated, used):
    from extract.media.recompress import _rate

    assert _rate(stated).as_integer_ratio() == used


def test_a_still_image_is_left_out_with_the_reason(tmp_path, save_image):
    path = save_image(tmp_path / "face.png", natural(32, 32))
    with pytest.raises(UnreadableClip, match=r"^a still image: h264 perturbs videos only"):
        crop_faces(path, dataclasses.replace(WHOLE, perturb="h264-23"), WholeFrame())


def test_frames_of_different_sizes_are_left_out_with_the_reason(monkeypatch, clips):
    monkeypatch.setattr(
        "extract.media.recompress.every_frame", lambda path: iter([natural(32, 32), natural(32, 40)])
    )
    with pytest.raises(UnreadableClip, match="its frames have different sizes"):
        perturbed(H264, clips(96, 128))


def test_a_frame_that_is_lost_is_no_other_frame(monkeypatch, clips):
    monkeypatch.setattr("extract.media.recompress.every_frame", lambda path: iter(film(7, 32, 48)))
    with pytest.raises(UnreadableClip, match="frame 7 cannot be decoded"):
        perturbed(H264, clips(96, 128))


@pytest.mark.parametrize("first", ["cv2", "av"])
def test_opencv_and_av_share_a_process_whichever_comes_first(clips, first):
    code = f"""
import {first}
from pathlib import Path
from extract.media.frames import Sampling
from extract.media.perturb import parse_perturbation
from extract.media.read import read_frames
path = Path({str(clips(96, 128))!r})
frames = parse_perturbation("h264-40").apply(read_frames(path, Sampling(count=2)), path=path)
print(len(frames.images), read_frames(path, Sampling(count=2)).numbers == frames.numbers)
"""
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("2 True", 0), done.stderr


# -- keys and the store --------------------------------------------------------------------------------------


def test_the_key_of_unperturbed_faces_does_not_depend_on_perturbations(monkeypatch):
    before = faces_key(FaceSettings())
    monkeypatch.setattr(perturb, "PIXELS", perturb.PIXELS + 1)
    assert faces_key(FaceSettings()) == before


def test_keys_of_perturbed_faces_differ_and_can_be_read():
    keys = [faces_key(dataclasses.replace(WHOLE, perturb=one.name)) for one in STANDARD]
    hashes = {key.rsplit("-", 1)[1] for key in [faces_key(WHOLE), *keys]}
    assert len(hashes) == len(STANDARD) + 1
    assert keys[0].startswith("none-16-jpeg-90-")


def test_the_key_is_the_same_however_the_strength_was_written():
    assert dataclasses.replace(WHOLE, perturb="jpeg-30.0") == dataclasses.replace(WHOLE, perturb="jpeg-30")


@pytest.mark.parametrize(
    ("package", "changed"), [("av", {"h264-23", "h264-40"}), ("numpy", {"noise-5", "noise-10", "noise-20"})]
)
def test_the_key_changes_with_the_package_that_makes_the_pixels(monkeypatch, package, changed):
    before = {one.name: one.key for one in STANDARD}
    own = perturb.version
    monkeypatch.setattr(perturb, "version", lambda name: "99" if name == package else own(name))
    assert {one.name for one in STANDARD if one.key != before[one.name]} == changed


def test_the_key_changes_with_the_code(monkeypatch):
    settings = dataclasses.replace(WHOLE, perturb="blur-1")
    before = faces_key(settings)
    monkeypatch.setattr(perturb, "PIXELS", perturb.PIXELS + 1)
    assert faces_key(settings) != before


@pytest.mark.parametrize(
    ("name", "message"),
    [("jpg-30", "Did you mean 'jpeg-30'"), ("jpeg", "which is several"), ("blur-0", "above 0")],
)
def test_settings_take_one_known_perturbation(name, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        FaceSettings(perturb=name)


def test_crops_are_those_of_the_perturbed_frames(tmp_path, save_image):
    image = natural(16, 16)
    path = save_image(tmp_path / "face.png", image)
    found = crop_faces(path, dataclasses.replace(WHOLE, perturb="jpeg-30"), WholeFrame())
    np.testing.assert_array_equal(found.crops[0], perturb.compress_jpeg(image, 30))


@pytest.fixture
def manifest(tmp_path, save_video, save_image, store):
    save_video(tmp_path / "a.mp4", film(6, 48, 64))
    save_image(tmp_path / "b.png", natural(20, 20))
    table = pd.DataFrame({"path": ["a.mp4", "b.png"], "label": [0, 1]})
    return identify(make_manifest(table, base=tmp_path), store)


@pytest.mark.parametrize("name", ["jpeg-50", "h264-40"])
def test_perturbed_faces_are_found_once_and_cached_beside_the_others(manifest, store, monkeypatch, name):
    settings = dataclasses.replace(WHOLE, perturb=name)
    plain, _ = find_faces(manifest, WHOLE, store=store)
    rows, kept = find_faces(manifest, settings, store=store)
    video = rows[rows["path"].str.endswith("a.mp4")]
    assert video["frame"].tolist() == list(range(6))
    content = video["content"].iloc[0]
    first, second = (store.read_face(faces_key(s), content, face=0) for s in (WHOLE, settings))
    assert (first != second).any()
    if name.startswith("h264"):
        assert kept.skipped["reason"].tolist() == ["a still image: h264 perturbs videos only"]
        manifest = kept
    monkeypatch.setattr(searching, "crop_faces", lambda *args: pytest.fail("decoded again"))
    again, _ = find_faces(manifest, settings, store=store)
    pd.testing.assert_frame_equal(again, rows)
    assert len(plain) == 7
