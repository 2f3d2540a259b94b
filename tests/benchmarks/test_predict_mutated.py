"""Mutated files among good ones: no crash, no hang, bounded memory, and the verdicts of the good ones as ever."""

import io
import resource
import time

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from benchmarks.predict import Prediction, predict
from benchmarks.studies.bars import Encoding, encode, scene
from extract.faces import FaceSettings, WholeFrame

BUDGET = 1_000_000  # pixels
BYTES_A_PIXEL = 40  # of the budget that memory may grow by: decoder, picture, copies (docs/files.md)
SLACK = 100 * 2**20  # bytes: what libraries load when they are first used
SECONDS = 20  # that no single file takes
VIDEOS = {
    "h264.mp4": Encoding(codec="libx264"),
    "h264.ts": Encoding(codec="libx264"),
    "hevc.mkv": Encoding(
        codec="libx265", options={"x265-params": "log-level=none:pools=none:frame-threads=1"}
    ),
    "vp9.webm": Encoding(codec="libvpx-vp9"),
    "av1.mp4": Encoding(codec="libsvtav1"),
    "mpeg2.mpg": Encoding(codec="mpeg2video", options={"b": "4M", "bf": "2"}),
    "mpeg4.avi": Encoding(codec="mpeg4", options={"b": "4M", "bf": "2"}),
    "prores.mov": Encoding(codec="prores_ks", pixels="yuv422p10le"),
}
STILLS = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp", "GIF": ".gif", "JPEG2000": ".jp2"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Good files of many kinds."""
    folder = tmp_path_factory.mktemp("whole")
    paths = [encode(folder / name, map(scene, range(20)), how) for name, how in VIDEOS.items()]
    for form, suffix in STILLS.items():
        path = folder / f"still{suffix}"
        Image.fromarray(scene(7)).save(path, form)
        paths.append(path)
    heif = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(scene(9))).save(heif, quality=90)
    (folder / "still.heic").write_bytes(heif.getvalue())
    return [*paths, folder / "still.heic"]


def mutated(data, rng):
    """Flip, cut out, insert or cut off bytes, anywhere or where the tables are."""
    data = bytearray(data)
    kind = rng.integers(5)
    if kind == 0:
        for place in rng.integers(0, len(data), rng.integers(1, 60)):
            data[place] = rng.integers(256)
    elif kind == 1:
        del data[rng.integers(1, len(data)) :]
    elif kind == 2:
        start, end = sorted(rng.integers(0, len(data), 2))
        del data[start:end]
    elif kind == 3:
        start = rng.integers(0, len(data))
        data[start:start] = rng.bytes(int(rng.integers(1, 5000)))
    else:
        places = [
            *rng.integers(0, min(len(data), 2000), 5),
            *rng.integers(max(0, len(data) - 3000), len(data), 5),
        ]
        for place in places:
            data[place] = rng.integers(256)
    return bytes(data)


def judge(looked, scores):
    score = float(np.mean(scores)) if len(scores) else None
    return Prediction(
        looked.name, "unreadable" if looked.error else "real", score, None, 0.0, (), looked.error, looked.code
    )


def verdicts(paths):
    """Predict files by the mean of their pixels; the time that each took is bounded."""
    settings = FaceSettings(detector="none", size=32, frames=4, max_pixels=BUDGET)
    found, start = [], time.monotonic()
    for prediction in predict(
        paths,
        settings=settings,
        find=WholeFrame(),
        score=lambda c: c.reshape(len(c), -1).mean(1),
        judge=judge,
    ):
        assert time.monotonic() - start < SECONDS * 70  # WAITING files may be answered together
        found.append(prediction)
    return found


@pytest.mark.parametrize("count", [500, pytest.param(5000, marks=pytest.mark.slow)])
def test_mutated_files_change_nothing_but_their_own_verdicts(whole, tmp_path, count):
    expected = {p.name: (p.verdict, p.score) for p in verdicts(whole)}
    assert {verdict for verdict, _ in expected.values()} == {"real"}
    rng, paths = np.random.default_rng(15), []
    for number in range(count):
        source = whole[rng.integers(len(whole))]
        path = tmp_path / f"{number:03d}{source.suffix}"
        path.write_bytes(mutated(source.read_bytes(), rng))
        paths += [path, *([whole[number % len(whole)]] if number % 5 == 0 else [])]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = verdicts(paths)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert [prediction.name for prediction in found] == [str(path) for path in paths]
    assert grown < BYTES_A_PIXEL * BUDGET + SLACK
    for prediction in found:
        if prediction.name in expected:
            assert (prediction.verdict, prediction.score) == expected[prediction.name]
        elif prediction.verdict == "unreadable":
            assert prediction.code.startswith("E_")
