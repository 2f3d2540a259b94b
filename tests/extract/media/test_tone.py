"""HDR to SDR: patches computed here from the light of the scene, not by the code under test."""

import numpy as np
import pillow_heif
import pytest

from benchmarks.studies.bars import PATCHES, Encoding, encode, patches, read_number, scene, upright
from extract.media.frames import Sampling
from extract.media.read import read_frames
from extract.media.tone import KNEE, compress, peak, to_bt709, to_sdr

# SMPTE RP 177's matrices as ITU-R BT.2087 prints one of them.
BT709_TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def scene_light(levels):
    """Linear light of an SDR camera's levels: BT.709, item 1.2, inverted; a white sheet is 1."""
    v = np.asarray(levels, np.float64) / 255
    return np.where(v < 0.081, v / 4.5, ((v + 0.099) / 1.099) ** (1 / 0.45))


def hlg(light):
    """BT.2100, table 5, with a white sheet at 75 % of the signal."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    e = light * (np.exp((0.75 - c) / a) + b) / 12
    return np.where(e <= 1 / 12, np.sqrt(3 * e), a * np.log(np.maximum(12 * e - b, 1e-9)) + c)


def pq(light):
    """BT.2100, table 4: BT.709's signal on a display of gamma 2.4, a white sheet at 203 cd/m2."""
    v = np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)
    y = (203 * v**2.4 / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


SIGNALS = {"hlg": (hlg, 18), "pq": (pq, 16)}


def test_the_matrix_is_the_published_one():
    np.testing.assert_allclose(np.linalg.inv(to_bt709("bt2020")), BT709_TO_BT2020, atol=1e-4)


@pytest.mark.parametrize("transfer", SIGNALS)
def test_light_below_the_knee_is_stored_as_an_sdr_camera_does(transfer):
    levels = np.arange(0, 210, dtype=np.float64)  # of light 0.66
    colours = np.stack([levels, np.roll(levels, 40), np.roll(levels, 90)], axis=1)[None]
    signal = SIGNALS[transfer][0](np.clip(scene_light(colours) @ BT709_TO_BT2020.T, 0, None))
    seen = to_sdr(np.rint(signal * 65535).astype(np.uint16), transfer=transfer, primaries="bt2020")
    assert np.abs(seen - colours).max() <= 1.5


def test_the_curve_is_smooth_rises_and_ends_at_the_peak():
    m = np.linspace(KNEE, peak(), 10_000, dtype=np.float32)
    f = compress(m)
    assert f[0] == pytest.approx(KNEE)
    assert f[-1] == pytest.approx(1)
    assert (np.diff(f) > 0).all()
    assert (f[1] - f[0]) / (m[1] - m[0]) == pytest.approx(1, abs=0.02)
    assert compress(np.array([50], np.float32))[0] == pytest.approx(1)
    # A white sheet, computed by hand: x = 1, X = (3.963 - 0.7) / 0.3 for the peak of 1,000 cd/m2.
    assert peak() == pytest.approx(3.963, abs=1e-3)
    assert compress(np.array([1], np.float32))[0] == pytest.approx(0.7 + 0.15 * (1 + 1 / 10.878**2), abs=1e-4)


def test_hdr_grey_stays_grey():
    ramp = np.linspace(0, 65535, 4096).astype(np.uint16)
    for transfer in SIGNALS:
        seen = to_sdr(np.stack([ramp] * 3, axis=1)[None], transfer=transfer, primaries="bt2020").astype(int)
        assert (np.ptp(seen, axis=2) <= 1).all()
        assert (np.diff(seen[0, :, 0]) >= 0).all()


def test_bands_do_not_show(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 30, 3), dtype=np.uint16)
    whole = to_sdr(pixels, transfer="hlg", primaries="bt2020")
    monkeypatch.setattr("extract.media.tone.BAND", 100)
    np.testing.assert_array_equal(to_sdr(pixels, transfer="hlg", primaries="bt2020"), whole)


@pytest.mark.parametrize("codec", ["libx265", "libx264"])
@pytest.mark.parametrize("transfer", SIGNALS)
def test_a_scene_in_hdr_looks_as_in_sdr(tmp_path, transfer, codec):
    signal, code = SIGNALS[transfer]
    frames = [signal(scene_light(scene(number)) @ BT709_TO_BT2020.T) for number in range(4)]
    how = Encoding(
        codec=codec,
        pixels="yuv420p10le",
        options={"x265-params": "crf=10:log-level=none:pools=none:frame-threads=1"}
        if codec == "libx265"
        else {"crf": "10"},
        tags={"colorspace": 9, "color_trc": code, "color_primaries": 9, "color_range": 1},
    )
    path = encode(tmp_path / "hdr.mp4", [np.rint(f * 65535).astype(np.uint16) for f in frames], how)
    read = read_frames(path, Sampling(count=2))
    for number, image in zip(read.numbers, read.images, strict=True):
        assert read_number(image) == number
        assert upright(image)
        assert np.abs(patches(image) - PATCHES).max() <= 5


@pytest.mark.parametrize(("primaries", "code"), [("bt2020", 9), ("p3", 12)])
def test_wide_gamut_becomes_bt709(tmp_path, primaries, code):
    light = scene_light(scene(1)) @ np.linalg.inv(to_bt709(primaries)).T
    levels = np.where(light < 0.018, 4.5 * light, 1.099 * np.maximum(light, 0) ** 0.45 - 0.099)
    how = Encoding(
        codec="libx264",
        pixels="yuv420p10le",
        options={"crf": "10"},
        tags={"colorspace": 9 if code == 9 else 1, "color_trc": 1, "color_primaries": code, "color_range": 1},
    )
    path = encode(tmp_path / "wide.mp4", [np.rint(levels * 65535).astype(np.uint16)] * 3, how)
    for image in read_frames(path, Sampling(count=2)).images:
        assert np.abs(patches(image) - PATCHES).max() <= 5


@pytest.mark.parametrize(("transfer", "code"), [("hlg", 18), ("pq", 16)])
def test_a_still_in_hdr_looks_as_in_sdr(tmp_path, transfer, code):
    signal = SIGNALS[transfer][0](scene_light(scene(5)) @ BT709_TO_BT2020.T)
    deep = np.rint(signal * 65535).astype(np.uint16)
    size = deep.shape[1::-1]
    points = {
        "color_primaries": 9,
        "transfer_characteristics": code,
        "matrix_coefficients": 9,
        "full_range_flag": 1,
    }
    pillow_heif.encode("RGB;16", size, deep.tobytes(), tmp_path / "a.heic", quality=98, chroma=444, **points)
    image = read_frames(tmp_path / "a.heic", Sampling(count=1)).images[0]
    assert np.abs(patches(image) - PATCHES).max() <= 5
