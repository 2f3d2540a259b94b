"""Bad files among good ones: two runs are equal byte for byte, and the good ones' crops are those of a run without."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.studies.bars import Encoding, encode, scene
from benchmarks.studies.damage import textured
from extract.faces import FaceSettings, faces_key
from extract.manifest import make_manifest
from extract.pipeline import find_faces, identify
from extract.store import Store

SETTINGS = FaceSettings(detector="none", size=64, frames=6)
GOOD = {
    "h264.mp4": Encoding(codec="libx264"),
    "interlaced.mp4": Encoding(codec="libx264", options={"x264-params": "tff=1:fake-interlaced=1"}),
    "av1.mp4": Encoding(codec="libsvtav1"),
    "mpeg2.mpg": Encoding(codec="mpeg2video", options={"b": "4M"}),
}
BAD = {
    "ictcp.mp4": "E_CLIP_COLOUR",
    "flipped.mp4": "E_CLIP_DAMAGED",
    "text.mp4": "E_CLIP_UNREADABLE",
    "half.jpg": "E_CLIP_DAMAGED",
    "list.mp4": "E_CLIP_FORMAT",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    cards = [scene(number) for number in range(30)]
    for number, (name, how) in enumerate(GOOD.items()):
        encode(folder / name, cards[number:], how)
    encode(folder / "ictcp.mp4", cards[5:], Encoding(codec="libx264", tags={"colorspace": 14}))
    whole = encode(folder / "whole.mkv", textured(), Encoding(codec="libx264")).read_bytes()
    (folder / "whole.mkv").unlink()
    (folder / "truncated.mkv").write_bytes(whole[: len(whole) * 3 // 4])
    hurt, rng = bytearray(whole), np.random.default_rng(0)
    for place in rng.integers(2000, len(whole) - 2000, 40):
        hurt[place] ^= 85
    (folder / "flipped.mp4").write_bytes(hurt)
    (folder / "text.mp4").write_text("no film\n" * 99)
    (folder / "list.mp4").write_text("ffconcat version 1.0\nfile h264.mp4\n")
    Image.fromarray(scene(3)).save(folder / "whole.jpg")
    data = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "half.jpg").write_bytes(data[: len(data) // 2])
    return folder


def run(folder, names, cache, workers=1):
    """Find the faces of files; returns the digest of every file of the cache by its place, and what was skipped."""
    store = Store(cache)
    table = pd.DataFrame({"path": names, "label": 1})
    manifest = identify(make_manifest(table, base=folder), store)
    rows, manifest = find_faces(manifest, SETTINGS, store=store, workers=workers)
    below = cache / "faces"
    files = {
        str(f.relative_to(below)): hashlib.sha256(f.read_bytes()).hexdigest() for f in below.rglob("*.*")
    }
    skipped = manifest.skipped.assign(name=[path.rpartition("/")[2] for path in manifest.skipped["path"]])
    return files, skipped.set_index("name"), rows


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_files_change_nothing_about_the_good_ones(folder, tmp_path, workers):
    names = [*GOOD, *BAD, "truncated.mkv"]
    names = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())  # mixed
    first, skipped, rows = run(folder, names, tmp_path / "a", workers)
    second, again, _ = run(folder, names[::-1], tmp_path / "b", workers)
    assert first == second
    assert skipped[skipped["outcome"] == "skipped"]["code"].to_dict() == BAD
    assert again["code"].to_dict() == skipped["code"].to_dict()
    assert skipped.loc["truncated.mkv", "outcome"] == "partial"
    alone, none, _ = run(folder, list(GOOD), tmp_path / "c")
    assert none.empty
    assert alone.items() <= first.items()
    assert faces_key(SETTINGS) in next(iter(first))
    assert len(rows) == len(GOOD) * 6 + 6
