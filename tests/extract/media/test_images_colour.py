"""Stills in other colours than sRGB, with the values that formulas give."""

import io
import struct
import zlib

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from extract.errors import UnreadableClip
from extract.media.frames import MAX_PIXELS
from extract.media.images import read_image
from extract.media.stills.profiles import profile_of
from extract.media.stills.still import CodePoints

P3, BT2020 = 12, 9  # ITU-T H.273
COLOURS = np.array(
    [
        [224, 172, 150],
        [141, 85, 60],
        [60, 120, 90],
        [90, 100, 160],
        [128, 128, 128],
        [255, 255, 255],
        [20, 10, 5],
    ]
)
# linear RGB to XYZ, D65
SRGB_XYZ = np.array(
    [[0.4123908, 0.3575843, 0.1804808], [0.2126390, 0.7151687, 0.0721923], [0.0193308, 0.1191948, 0.9505322]]
)
P3_XYZ = np.array(
    [[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0.0, 0.0451134, 1.0439444]]
)
BT2020_XYZ = np.array(
    [[0.6369580, 0.1446169, 0.1688810], [0.2627002, 0.6779981, 0.0593017], [0.0, 0.0280727, 1.0609851]]
)


@pytest.fixture(scope="module", autouse=True)
def heif():
    pillow_heif.register_heif_opener()


def read(path, note=""):
    frames = read_image(path, max_pixels=MAX_PIXELS, damaged="skip")
    assert frames.note == note
    return frames.images[0]


def stripes(colours):
    """Stripes of 16 pixels of each colour, whatever the number of channels."""
    return np.repeat(np.asarray(colours, np.uint8)[None], 16, axis=1).repeat(16, axis=0)


def read_stripes(image):
    return image[8, 8::16].astype(int)


def in_srgb(colours, to_xyz):
    values = np.asarray(colours) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ to_xyz.T @ np.linalg.inv(SRGB_XYZ).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(("primaries", "to_xyz"), [(P3, P3_XYZ), (BT2020, BT2020_XYZ)])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".heic", ".avif"])
def test_colours_of_an_icc_profile_become_those_of_srgb(tmp_path, suffix, primaries, to_xyz):
    options = {
        ".jpg": {"quality": 98, "subsampling": 0},
        ".webp": {"lossless": True},
        ".avif": {"quality": 98},
    }
    options[".heic"] = {"quality": 98, "chroma": 444}
    path = tmp_path / f"a{suffix}"
    profile = profile_of(CodePoints(primaries, 13))
    Image.fromarray(stripes(COLOURS)).save(path, icc_profile=profile, **options.get(suffix, {}))
    expected = in_srgb(COLOURS, to_xyz)
    assert np.abs(expected - COLOURS).max() > 8
    limit = 1 if suffix in (".png", ".tif", ".webp") else 5
    assert np.abs(read_stripes(read(path)) - expected).max() <= limit


def test_a_large_picture_is_converted_in_bands_without_a_seam(tmp_path):
    noise = np.random.default_rng(3).integers(0, 256, (701, 903, 3), dtype=np.uint8)
    Image.fromarray(noise).save(
        tmp_path / "a.png", icc_profile=profile_of(CodePoints(P3, 13)), compress_level=1
    )
    assert np.abs(read(tmp_path / "a.png") - in_srgb(noise, P3_XYZ)).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_pixels_with_a_profile_of_srgb_stay_as_they_are(tmp_path, rng, mode):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).convert(mode)
    picture.save(tmp_path / "a.png", icc_profile=profile)
    note = "colour profile ignored: cannot build transform" if mode == "L" else ""
    np.testing.assert_array_equal(read(tmp_path / "a.png", note), np.asarray(picture.convert("RGB")))


def grey_profile(gamma):
    """Write an ICC profile of grey with a power curve (ICC.1:2010)."""
    white = b"XYZ " + struct.pack(">I3i", 0, 63190, 65536, 54061)
    curve = b"curv" + struct.pack(">IIH2x", 0, 1, round(gamma * 256))
    table = struct.pack(">I4sII4sII", 2, b"wtpt", 156, len(white), b"kTRC", 156 + len(white), len(curve))
    size = 156 + len(white) + len(curve)
    head = struct.pack(
        ">I4sI4s4s4s12s4s24xI3i48x",
        size,
        bytes(4),
        0x02400000,
        b"mntr",
        b"GRAY",
        b"XYZ ",
        bytes(12),
        b"acsp",
        0,
        63190,
        65536,
        54061,
    )
    return head + table + white + curve


def test_grey_of_a_profile_becomes_grey_of_srgb(tmp_path):
    levels = np.arange(0, 256, 15)
    Image.fromarray(stripes(levels)).save(tmp_path / "a.png", icc_profile=grey_profile(1.0))
    linear = levels / 255
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(read_stripes(read(tmp_path / "a.png")) - expected[:, None]).max() <= 1


@pytest.mark.parametrize("profile", [b"no profile", b"\0" * 200, grey_profile(2.2)])
def test_a_broken_profile_or_one_of_other_pixels_is_ignored_with_a_note(tmp_path, profile):
    Image.fromarray(stripes(COLOURS)).save(tmp_path / "a.png", icc_profile=profile)
    frames = read_image(tmp_path / "a.png", max_pixels=MAX_PIXELS, damaged="skip")
    assert frames.note.startswith("colour profile ignored: ")
    np.testing.assert_array_equal(read_stripes(frames.images[0]), COLOURS)


INKS = np.array(
    [[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255], [40, 90, 130, 60]]
)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_without_a_profile(tmp_path, suffix):
    picture = Image.frombytes("CMYK", (16 * len(INKS), 16), stripes(INKS).tobytes())
    picture.save(tmp_path / f"a{suffix}", **({"quality": 98} if suffix == ".jpg" else {}))
    image = read(tmp_path / f"a{suffix}")
    expected = (255 - INKS[:, :3]) * (255 - INKS[:, 3:]) / 255
    assert np.abs(read_stripes(image) - expected).max() <= 5
    opencv = cv2.imdecode(np.fromfile(tmp_path / f"a{suffix}", np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(image.astype(int) - opencv).max() <= 5


def test_ycck_of_an_adobe_jpeg(tmp_path):
    stored = np.array(
        [[180, 128, 128, 255], [120, 100, 160, 255], [200, 140, 120, 128]]
    )  # Y, Cb, Cr, inverted K
    picture = Image.frombytes("CMYK", (16 * len(stored), 16), stripes(255 - stored).tobytes())
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=98)
    adobe = data.getvalue().index(b"Adobe") + 11  # the transform: 0 is CMYK, 2 is YCCK
    (tmp_path / "a.jpg").write_bytes(data.getvalue()[:adobe] + b"\2" + data.getvalue()[adobe + 1 :])
    y, blue, red, black = stored.T - np.array([[0], [128], [128], [0]])
    inks = np.clip([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], 0, 255)
    expected = (255 - inks) * black / 255
    assert np.abs(read_stripes(read(tmp_path / "a.jpg")) - expected.T).max() <= 5


def with_chunk(png, name, body):
    """Put a chunk behind the header of a PNG."""
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return png[:33] + chunk + png[33:]


def tagged(path, primaries, transfer):
    """Write stripes whose file states colour primaries and a transfer function."""
    picture, data = Image.fromarray(stripes(COLOURS)), io.BytesIO()
    if path.suffix == ".heic":
        points = {"color_primaries": primaries, "transfer_characteristics": transfer}
        picture.save(path, quality=98, chroma=444, **points)
    elif path.suffix == ".avif":
        picture.save(data, "AVIF", quality=98, subsampling="4:4:4")
        place = data.getvalue().index(b"colrnclx") + 8
        path.write_bytes(
            data.getvalue()[:place] + struct.pack(">HH", primaries, transfer) + data.getvalue()[place + 4 :]
        )
    else:
        picture.save(data, "PNG")
        path.write_bytes(with_chunk(data.getvalue(), b"cICP", bytes([primaries, transfer, 0, 1])))
    return path


@pytest.mark.parametrize(("primaries", "to_xyz"), [(P3, P3_XYZ), (BT2020, BT2020_XYZ), (1, SRGB_XYZ)])
@pytest.mark.parametrize("suffix", [".png", ".heic", ".avif"])
def test_primaries_without_a_profile_become_those_of_srgb(tmp_path, suffix, primaries, to_xyz):
    path = tagged(tmp_path / f"a{suffix}", primaries, 13)
    assert np.abs(read_stripes(read(path)) - in_srgb(COLOURS, to_xyz)).max() <= 5


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
@pytest.mark.parametrize("suffix", [".png", ".avif"])
def test_a_high_dynamic_range_of_which_eight_bits_are_left_is_refused_by_name(
    tmp_path, suffix, transfer, name
):
    path = tagged(tmp_path / f"a{suffix}", BT2020, transfer)
    with pytest.raises(UnreadableClip, match=f"{name}.*E_CLIP_COLOUR"):
        read(path)


@pytest.mark.parametrize("mode", ["RGB;16", "L;16"])
def test_ten_bits_of_a_heic_become_eight(tmp_path, mode):
    channels = 3 if mode == "RGB;16" else 1
    deep = np.full((32, 32, channels), 40_000, np.uint16)
    pillow_heif.encode(mode, (32, 32), deep.tobytes(), tmp_path / "a.heic", quality=95)
    assert np.abs(read(tmp_path / "a.heic") - 40_000 / 257).max() <= 2
