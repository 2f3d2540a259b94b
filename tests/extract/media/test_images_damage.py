"""Stills that are cut, corrupt, empty, gone or too much for memory."""

import io
import warnings
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from extract.errors import UnreadableClip
from extract.media import images
from extract.media.frames import MAX_PIXELS
from extract.media.images import read_image

KINDS = {
    "a.jpg": {},
    "progressive.jpg": {"progressive": True},
    "a.png": {},
    "a.webp": {},
    "a.tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "deflate.tif": {"compression": "tiff_adobe_deflate"},
    "a.gif": {},
    "a.bmp": {},
    "a.jp2": {},
    "a.heic": {},
    "a.avif": {},
}
PARTLY = ["a.jpg", "progressive.jpg", "a.png", "a.tif", "a.gif", "a.bmp"]  # decoded as far as they go
CHECKED = [
    "a.jpg",
    "progressive.jpg",
    "a.png",
    "lzw.tif",
    "deflate.tif",
    "a.gif",
]  # whose decoders see changed bytes


@pytest.fixture(autouse=True)
def silence(capfd):
    """Nothing is printed, and no warning leaves."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == ""


@pytest.fixture(scope="module")
def scene():
    pillow_heif.register_heif_opener()
    noise = np.random.default_rng(5).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((240, 160), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def whole(scene):
    files = {}
    for name, options in KINDS.items():
        data = io.BytesIO()
        scene.save(data, Image.registered_extensions()[Path(name).suffix], **options)
        files[name] = data.getvalue()
    return files


def write(path, data):
    path.write_bytes(data)
    return path


def read(path, damaged="skip"):
    return read_image(path, max_pixels=MAX_PIXELS, damaged=damaged)


@pytest.mark.parametrize("damaged", ["skip", "use"])
@pytest.mark.parametrize("name", KINDS)
def test_a_whole_picture_has_no_note(tmp_path, whole, name, damaged):
    assert read(write(tmp_path / name, whole[name]), damaged).note == ""


@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
@pytest.mark.parametrize("name", KINDS)
def test_a_cut_picture_is_damaged(tmp_path, whole, name, share):
    path = write(tmp_path / name, whole[name][: int(len(whole[name]) * share)])
    with pytest.raises(UnreadableClip, match=r"damaged: .+E_CLIP_DAMAGED"):
        read(path)
    if name not in PARTLY:
        with pytest.raises(UnreadableClip, match="E_CLIP_DAMAGED"):
            read(path, "use")


@pytest.mark.parametrize("name", PARTLY)
def test_what_is_left_of_a_cut_picture_can_be_used(tmp_path, whole, name):
    image = read(write(tmp_path / name, whole[name])).images[0]
    frames = read(write(tmp_path / name, whole[name][: int(len(whole[name]) * 0.7)]), "use")
    assert frames.note.startswith("damaged: ")
    assert frames.images[0].shape == image.shape
    rows = slice(-40, None) if name == "a.bmp" else slice(40)  # bitmaps begin at the bottom
    limit = 30 if name == "progressive.jpg" else 0  # which has all rows, less sharp
    assert np.abs(frames.images[0][rows].astype(int) - image[rows]).mean() <= limit


def changed(data, seed):
    """Change eight bytes behind the header."""
    rng = np.random.default_rng(seed)
    place = rng.integers(len(data) // 3, len(data) - 20)
    return data[:place] + rng.bytes(8) + data[place + 8 :]


def code_of(path):
    try:
        read(path)
    except UnreadableClip as error:
        return error.code
    return ""


@pytest.mark.parametrize("name", CHECKED)
def test_bytes_that_a_decoder_complains_of_are_damage(tmp_path, whole, name):
    codes = [code_of(write(tmp_path / name, changed(whole[name], seed))) for seed in range(10)]
    assert set(codes) <= {"", "E_CLIP_DAMAGED"}
    assert codes.count("E_CLIP_DAMAGED") >= (10 if name == "a.png" else 2)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_with_a_missing_stretch_is_damaged_in_every_colour(tmp_path, scene, mode, progressive):
    scene.convert(mode).save(tmp_path / "a.jpg", progressive=progressive)
    data = (tmp_path / "a.jpg").read_bytes()
    path = write(tmp_path / "a.jpg", data[: len(data) // 2] + data[len(data) // 2 + 400 :])
    with pytest.raises(UnreadableClip, match="E_CLIP_DAMAGED"):
        read(path)
    frames = read(path, "use")
    assert frames.note.startswith("damaged: Corrupt JPEG data") or frames.note.startswith(
        "damaged: Premature end"
    )
    assert frames.images[0].shape == (160, 240, 3)


def test_a_jpeg_of_unusual_sampling_is_read_and_said_to_be_unchecked(tmp_path, whole):
    data = bytearray(whole["a.jpg"])
    frame = data.index(b"\xff\xc0")
    assert data[frame + 11] == 0x22  # the samples of brightness to those of colour: 2 x 2
    data[frame + 14] = 0x21  # of the first colour: 2 x 1, which nobody names
    frames = read(write(tmp_path / "a.jpg", bytes(data)))
    assert frames.note == "unusual chroma subsampling: not checked for damage"
    with pytest.raises(UnreadableClip, match="E_CLIP_DAMAGED"):
        read(write(tmp_path / "a.jpg", bytes(data[: len(data) // 2])))


def test_a_png_with_a_wrong_checksum_in_an_extra_chunk_is_whole_when_used(tmp_path, whole):
    data = whole["a.png"]
    extra = b"\0\0\0\4eXIfjunk\0\0\0\0"
    path = write(tmp_path / "a.png", data[:33] + extra + data[33:])
    with pytest.raises(UnreadableClip, match=r"eXIf.*E_CLIP_DAMAGED"):
        read(path)
    frames = read(path, "use")
    np.testing.assert_array_equal(frames.images[0], read(write(path, data)).images[0])
    assert "eXIf" in frames.note


def test_broken_exif_does_not_spoil_a_picture(tmp_path, scene):
    for name in ("a.jpg", "a.png", "a.webp"):
        scene.save(tmp_path / name, exif=b"Exif\0\0II*\0\xff\xff\xff\xffjunk")
        assert read(tmp_path / name).images[0].shape == (160, 240, 3)


@pytest.mark.parametrize("name", ["a.png", "a.heic", "a"])
def test_an_empty_file(tmp_path, name):
    with pytest.raises(UnreadableClip, match=r"empty file.*E_CLIP_EMPTY"):
        read(write(tmp_path / name, b""))


MAGIC = [
    *(
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"II*\0",
        b"RIFF\0\0\0\0WEBP",
        b"\xff\x4f\xff\x51",
    ),
    *(b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypavif"),
]


@pytest.mark.parametrize("magic", MAGIC)
def test_what_is_no_picture_is_unreadable(tmp_path, magic):
    with pytest.raises(UnreadableClip, match=r"E_CLIP_UNREADABLE|E_CLIP_DAMAGED"):
        read(write(tmp_path / "a.png", magic + b"This is no picture.\n" * 50))


def test_a_text_is_unreadable_by_its_code(tmp_path):
    with pytest.raises(UnreadableClip, match=r"cannot be decoded as an image: .*E_CLIP_UNREADABLE"):
        read(write(tmp_path / "a.jpg", b"This is no picture.\n" * 50))


def test_a_file_that_is_gone_or_a_folder_is_not_read(tmp_path):
    with pytest.raises(UnreadableClip, match=r"No such file.*E_CLIP_NOT_READ"):
        read(tmp_path / "a.png")
    with pytest.raises(UnreadableClip, match=r"cannot be read: .*E_CLIP_NOT_READ"):
        read(tmp_path)


def test_memory_that_does_not_suffice_is_a_refusal_of_the_file(tmp_path, whole, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(images, "upright", fail)
    with pytest.raises(UnreadableClip, match="E_CLIP_MEMORY"):
        read(write(tmp_path / "a.png", whole["a.png"]))


def mutated(data, rng):
    """Change some bytes, cut, or repeat a stretch."""
    data = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        data[place] = rng.integers(256)
    if rng.random() < 0.3:
        data = data[: rng.integers(1, len(data))]
    if rng.random() < 0.3:
        place = rng.integers(len(data))
        data[place:place] = data[max(0, place - 40) : place]
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["skip", "use"])
@pytest.mark.parametrize("name", KINDS)
def test_a_mutated_picture_is_read_or_refused(tmp_path, whole, name, damaged):
    for seed in range(50):
        path = write(tmp_path / name, mutated(whole[name], np.random.default_rng(seed)))
        try:
            (image,) = read_image(path, max_pixels=1_000_000, damaged=damaged).images
        except UnreadableClip:
            continue
        assert image.dtype == np.uint8
        assert image.shape[0] * image.shape[1] <= 1_000_000
