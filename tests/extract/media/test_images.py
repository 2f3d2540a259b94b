"""Stills of every kind: right pixels, right way up, first of several, within the budget."""

import importlib.util
import io
import os
import shutil
import struct
import subprocess
import sys
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from extract.errors import UnreadableClip
from extract.media.frames import MAX_PIXELS
from extract.media.images import read_image

CORNERS = (
    (220, 30, 40),
    (40, 200, 60),
    (30, 60, 210),
    (230, 210, 50),
)  # top left, top right, bottom left, bottom right
LOSSLESS = {".png": {}, ".webp": {"lossless": True}, ".tif": {}, ".tiff": {"compression": "tiff_lzw"}}
LOSSY = {
    ".jpg": {"quality": 95, "subsampling": 0},
    ".heic": {"quality": 95, "chroma": 444},
    ".avif": {"quality": 95, "subsampling": "4:4:4"},
}
TURNED = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.fixture(scope="module", autouse=True)
def heif():
    pillow_heif.register_heif_opener()


def read(path, *, max_pixels=MAX_PIXELS, damaged="skip"):
    frames = read_image(path, max_pixels=max_pixels, damaged=damaged)
    (image,) = frames.images
    assert frames.numbers == [0]
    assert image.dtype == np.uint8
    assert image.shape[2:] == (3,)
    assert image.flags.c_contiguous
    assert image.flags.writeable
    return image, frames.note


def pixels(path):
    image, note = read(path)
    assert note == ""
    return image


def corners(height=64, width=96):
    """A picture of four colours, none of which is in the same place after any turn or mirror."""
    image = np.zeros((height, width, 3), np.uint8)
    for number, colour in enumerate(CORNERS):
        rows, columns = divmod(number, 2)
        image[rows * height // 2 :][: height // 2, columns * width // 2 :][:, : width // 2] = colour
    return image


def patches(image):
    height, width = image.shape[:2]
    return [
        image[y, x].astype(int) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)
    ]


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", [*LOSSLESS, *LOSSY])
def test_every_orientation(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = (LOSSLESS | LOSSY)[suffix]
    Image.fromarray(corners()).save(tmp_path / f"a{suffix}", exif=exif.tobytes(), **options)
    image, expected = pixels(tmp_path / f"a{suffix}"), TURNED[orientation](corners())
    assert image.shape == expected.shape
    if suffix in LOSSLESS:
        np.testing.assert_array_equal(image, expected)
    assert np.abs(np.subtract(patches(image), patches(expected))).max() <= 5


def test_heif_is_turned_by_its_properties_and_not_by_exif(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(corners()).save(tmp_path / "a.heic", exif=exif, **LOSSY[".heic"])
    data = (tmp_path / "a.heic").read_bytes()
    assert b"Exif" in data  # pillow-heif writes irot as well where EXIF comes as bytes
    assert b"irot" not in data
    assert pixels(tmp_path / "a.heic").shape == corners().shape


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {}),
        ("a.jpe", {"quality": 50, "progressive": True}),
        ("a.jfif", {"subsampling": 1, "optimize": True}),
        ("a.png", {}),
        ("a.bmp", {}),
        ("a.tif", {"compression": "tiff_adobe_deflate"}),
        ("a.webp", {"quality": 60}),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_pictures_have_the_pixels_that_opencv_gives(tmp_path, rng, mode, name, options):
    noise = Image.fromarray(rng.integers(0, 256, (9, 13, 3), dtype=np.uint8))
    path = tmp_path / name
    noise.resize((201, 133), Image.Resampling.BICUBIC).convert(mode).save(path, **options)
    np.testing.assert_array_equal(
        pixels(path), cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
    )


@pytest.mark.parametrize(
    ("mode", "suffix"), [("1", ".png"), ("1", ".tif"), ("P", ".png"), ("P", ".gif"), ("P", ".bmp")]
)
def test_bits_and_palettes_become_rgb(tmp_path, mode, suffix):
    picture = Image.fromarray(corners()).convert(mode)
    picture.save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(pixels(tmp_path / f"a{suffix}"), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_dropped(tmp_path, mode, suffix):
    if (mode, suffix) == ("P", ".tif"):
        pytest.skip("TIFF has no transparent palettes")
    picture = Image.fromarray(corners()).convert(mode)
    if mode == "P":
        picture.info["transparency"] = bytes(range(256))
    else:
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    picture.save(tmp_path / f"a{suffix}", **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    picture.info.pop("transparency", None)
    np.testing.assert_array_equal(pixels(tmp_path / f"a{suffix}"), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_of_sixteen_bits_the_high_ones_are_kept(tmp_path, save_image, rng, suffix, shape):
    deep = rng.integers(0, 65536, shape, dtype=np.uint16)
    high = (deep >> 8).astype(np.uint8)[..., :3] if len(shape) == 3 else np.stack([deep >> 8] * 3, axis=2)
    image = pixels(save_image(tmp_path / f"a{suffix}", deep))
    np.testing.assert_array_equal(image, high)


def tiff(values, *, bits, photometric):
    """Write grey values as a TIFF of one strip, 12 bits packed or 16."""
    height, width = values.shape
    data = values.astype("<u2").tobytes()
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(int)
        data = b"".join((a << 12 | b).to_bytes(3, "big") for a, b in pairs.tolist())
    tags = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 8),
        (277, 1),
        (278, height),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in [*tags, (279, len(data))])
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", 9) + entries + bytes(4)


@pytest.mark.parametrize(("bits", "photometric"), [(12, 1), (16, 1), (16, 0)])
def test_a_tiff_states_its_bits_and_which_end_is_white(tmp_path, rng, bits, photometric):
    values = rng.integers(0, 2**bits, (4, 6), dtype=np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff(values, bits=bits, photometric=photometric))
    expected = (values >> (bits - 8)).astype(np.uint8)
    expected = expected if photometric else 255 - expected
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), np.stack([expected] * 3, axis=2))


@pytest.mark.parametrize(("kind", "mode"), [(np.float32, "floating point"), (np.int32, "32-bit")])
def test_numbers_without_a_white_are_refused_by_name(tmp_path, kind, mode):
    Image.fromarray(np.linspace(0, 1e6, 20).astype(kind).reshape(4, 5)).save(tmp_path / "a.tif")
    with pytest.raises(UnreadableClip, match=rf"{mode}.*E_CLIP_UNREADABLE"):
        read(tmp_path / "a.tif")


def test_whole_numbers_of_the_range_of_sixteen_bits_are_those(tmp_path):
    values = np.array([[0, 256, 40000, 65535]], np.int32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 1, 156, 255]


@pytest.mark.parametrize(
    ("suffix", "word"), [(".gif", "frames"), (".webp", "frames"), (".png", "frames"), (".tif", "pages")]
)
def test_the_first_of_several_pictures_is_taken_and_named(tmp_path, suffix, word):
    first, *others = (Image.new("RGB", (20, 10), colour) for colour in CORNERS)
    options = LOSSLESS.get(suffix, {})
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=others, **options)
    image, note = read(tmp_path / f"a{suffix}")
    assert image[5, 5].tolist() == list(CORNERS[0])
    assert note == f"first of 4 {word}"


def test_the_first_picture_of_a_phones_jpeg_is_taken_without_a_note(tmp_path):
    first, second = (Image.new("RGB", (32, 16), colour) for colour in CORNERS[:2])
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    assert np.abs(pixels(tmp_path / "a.jpg")[8, 8] - np.array(CORNERS[0], int)).max() <= 5


def test_the_primary_picture_of_a_heif_is_taken(tmp_path):
    pictures = [Image.new("RGB", (64, 64), colour) for colour in CORNERS]
    pictures[0].save(tmp_path / "a.heic", save_all=True, append_images=pictures[1:], primary_index=2)
    assert np.abs(pixels(tmp_path / "a.heic")[8, 8] - np.array(CORNERS[2], int)).max() <= 5


@pytest.mark.parametrize("suffix", [".jp2", ".j2k"])
def test_jpeg_2000(tmp_path, suffix):
    Image.fromarray(corners()).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(pixels(tmp_path / f"a{suffix}"), corners())


def encodes_hevc():
    found = shutil.which("ffmpeg")
    return (
        found
        and b"libx265"
        in subprocess.run([found, "-hide_banner", "-encoders"], capture_output=True, check=False).stdout
    )


@pytest.mark.parametrize("turns", [None, 1])
def test_the_tiles_of_a_phones_heic_are_one_picture(tmp_path, shared, turns):
    if not encodes_hevc():
        pytest.skip("there is no ffmpeg with libx265 to write the tiles")
    spec = importlib.util.spec_from_file_location("heicgrid", shared("cases/heicgrid.py"))
    heicgrid = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(heicgrid)
    whole = corners(400, 600)
    heicgrid.make(Image.fromarray(whole), tmp_path / "a.jpg", irot=turns)  # a HEIC whatever its name
    image, expected = pixels(tmp_path / "a.jpg"), np.rot90(whole, turns or 0)
    assert image.shape == expected.shape
    assert np.abs(np.subtract(patches(image), patches(expected))).max() <= 5
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.heic").write_bytes(data[: len(data) - 50])
    with pytest.raises(UnreadableClip, match="E_CLIP_DAMAGED"):
        read(tmp_path / "cut.heic")


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def bilevel_png(width, height):
    packer, row = zlib.compressobj(1), bytes(1 + -(-width // 8))
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def peak():
    """Peak memory of this process in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_picture_above_the_budget_is_refused_in_no_time_and_no_memory(tmp_path):
    (tmp_path / "huge.png").write_bytes(bilevel_png(32_700, 32_700))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
    before, start = peak(), time.monotonic()
    with pytest.raises(UnreadableClip, match=r"1,069,290,000 .* max_pixels = 200,000,000 .*E_CLIP_TOO_LARGE"):
        read(tmp_path / "huge.png")
    assert peak() - before < 16_000
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("suffix", [*LOSSLESS, *LOSSY, ".gif", ".bmp", ".jp2"])
def test_the_budget_is_the_same_for_every_kind(tmp_path, suffix):
    Image.fromarray(corners()).save(tmp_path / f"a{suffix}")
    read(tmp_path / f"a{suffix}", max_pixels=64 * 96)
    with pytest.raises(UnreadableClip, match="E_CLIP_TOO_LARGE"):
        read(tmp_path / f"a{suffix}", max_pixels=64 * 96 - 1)


def test_a_file_much_larger_than_its_picture_may_be_is_not_read(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("ab") as file:
        file.write(bytes(10_000))
    with pytest.raises(UnreadableClip, match="E_CLIP_TOO_LARGE"):
        read(tmp_path / "a.png", max_pixels=1000)


def test_pillows_own_limit_neither_warns_nor_refuses(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for suffix in [*LOSSLESS, *LOSSY]:
        Image.fromarray(corners()).save(tmp_path / f"a{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for suffix in [*LOSSLESS, *LOSSY]:
            read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    "name", [b"caf\xe9.png", b"a\nreal 0.1.png", b"-r %d?.jpg", b"a:b.png", b"x" * 246 + b".png"]
)
def test_any_name_is_read(tmp_path, name):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    data = io.BytesIO()
    Image.fromarray(corners()).save(data, "PNG")
    path.write_bytes(data.getvalue())
    np.testing.assert_array_equal(pixels(path), corners())


def test_threads_read_the_same_and_leave_the_filter_of_warnings_alone(tmp_path):
    paths = [tmp_path / f"a{suffix}" for suffix in [*LOSSLESS, *LOSSY]]
    for path in paths:
        Image.fromarray(corners()).save(path, **(LOSSLESS | LOSSY)[path.suffix])
    filters = list(warnings.filters)
    alone = [pixels(path) for path in paths] * 5
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(pixels, paths * 5))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))
    assert warnings.filters == filters


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_sixteen_bits_in_planes_is_refused(tmp_path, order):
    """Pillow reads the first half of each plane, and takes a sample's bytes for two."""
    planes = np.full((3, 8, 8), 40_000, f"{order}u2")
    strips = 8 + 2 + 9 * 12 + 4
    data = planes.tobytes()
    tags = [
        *((256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 3, strips), (259, 3, 1, 1), (262, 3, 1, 2)),
        *((273, 4, 3, strips + 6), (277, 3, 1, 3), (279, 4, 3, strips + 18), (284, 3, 1, 2)),
    ]
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(tags))
    for tag, kind, count, value in tags:
        head += struct.pack(f"{order}HHI", tag, kind, count)
        head += struct.pack(
            f"{order}HH" if kind == 3 and count == 1 else f"{order}I",
            *([value, 0] if kind == 3 and count == 1 else [value]),
        )
    extra = struct.pack(f"{order}3H", 16, 16, 16)
    start = strips + 30
    extra += struct.pack(f"{order}3I", *(start + 128 * i for i in range(3))) + struct.pack(
        f"{order}3I", 128, 128, 128
    )
    (tmp_path / "a.tif").write_bytes(head + bytes(4) + extra + data)
    with pytest.raises(UnreadableClip, match=r"planes.*E_CLIP_UNREADABLE"):
        read_image(tmp_path / "a.tif", max_pixels=MAX_PIXELS, damaged="skip")
