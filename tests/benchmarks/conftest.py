"""A tiny data set, a fast extractor, suites over them and a finished run, for the tests of `benchmarks`."""

import itertools
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from benchmarks.machine import Machine
from benchmarks.runner import run
from benchmarks.suite import read_suite
from extract import hub
from extract.store import Store

PLUGIN = '''
"""Means and deviations of the pixels: fast, and enough to see the difference."""
import numpy as np

class Pixels:
    name, title, dim, fingerprint = "{name}", "Pixel means", 6, "pixels 1"

    def __call__(self, faces):
        flat = faces.reshape(len(faces), -1, 3).astype(np.float32)
        return np.concatenate([flat.mean(1), flat.std(1)], axis=1)

def extractor():
    return Pixels()
'''

COLUMNS = ["identity", "source_identity", "attack", "dataset", "split"]

SUITE = """
name = "tiny"
protocol = "{protocol}"
folds = {folds}
nested = {nested}
weights = "{weights}"
replicates = 200
extractors = {extractors}
{top}

[data]
manifest = "{data}"

[faces]
detector = "none"
size = 32

[classifiers.logistic_regression]
C = [0.01, 1.0]

[classifiers.random_forest]
n_estimators = [5]
max_depth = ["none", 2]

{sections}
"""


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    monkeypatch.setattr(hub, "answers", lambda: False)
    monkeypatch.setattr(hub, "cached", lambda repository: None)


@pytest.fixture(scope="session")
def write_face():
    """Write a 32 x 32 image; fakes are a little brighter, in much noise."""

    def write(path, *, fake, rng):
        pixels = rng.normal(120 + rng.normal(0, 8) + 12 * fake, 20, (32, 32, 3))
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.clip(pixels, 0, 255).astype(np.uint8))

    return write


@pytest.fixture(scope="session")
def make_clips(write_face):
    """Write a manifest of persons, each with a real and a fake clip of two images; returns its path."""

    def make(folder, *, persons, prefix, seed):
        rng, lines = np.random.default_rng(seed), []
        for person in range(persons):
            for label, kind in enumerate(("real", "fake")):
                for frame in range(2):
                    name = f"{kind}/{prefix}{person}_{frame}.png"
                    write_face(folder / name, fake=label, rng=rng)
                    lines.append((name, kind, f"{prefix}{person}", f"{kind}-{prefix}{person}"))
        table = pd.DataFrame(lines, columns=["path", "label", "identity", "clip"])
        table.to_csv(folder / "clips.csv", index=False)
        return folder / "clips.csv"

    return make


@pytest.fixture(scope="session")
def training(tmp_path_factory, make_clips):
    """Return the manifest of nine persons: 36 images of 18 clips, a repeated file and an unreadable one."""
    manifest = make_clips(tmp_path_factory.mktemp("training"), persons=9, prefix="p", seed=1)
    real = manifest.parent / "real"
    shutil.copy(real / "p0_0.png", real / "copy.png")
    (real / "broken.png").write_bytes(b"no image")
    with manifest.open("a") as file:
        file.write("real/copy.png,real,p0,real-p0\nreal/broken.png,real,p0,broken\n")
    return manifest


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory, make_clips):
    """Return the external manifest of four other persons: 16 images of 8 clips."""
    return make_clips(tmp_path_factory.mktemp("external"), persons=4, prefix="q", seed=2)


@pytest.fixture(scope="session")
def make_swaps(write_face):
    """Write a manifest of persons in groups of four, whose faces are swapped within; returns its path.

    Each has a real clip and a fake one of each of two attacks, of two images; groups have a split and a data set.
    """

    def make(folder, *, splits, seed=3):
        rng, lines = np.random.default_rng(seed), []
        for group, split in enumerate(splits):
            for person, attack in itertools.product(range(4), ("", "blend", "swap")):
                partner = {"": "", "blend": f"p{group}{person ^ 1}", "swap": f"p{group}{person ^ 2}"}[attack]
                half, clip = (
                    ("fake", f"{attack}-p{group}{person}") if attack else ("real", f"p{group}{person}")
                )
                for frame in range(2):
                    name = f"{half}/{clip}_{frame}.png"
                    write_face(folder / name, fake=bool(attack), rng=rng)
                    who = (f"p{group}{person}", partner, attack, ("one", "two")[group > 1], split)
                    lines.append((name, half, *who, f"{half}/{clip}"))
        table = pd.DataFrame(lines, columns=["path", "label", *COLUMNS, "clip"])
        table.to_csv(folder / "clips.csv", index=False)
        return folder / "clips.csv"

    return make


@pytest.fixture(scope="session")
def swaps(tmp_path_factory, make_swaps):
    """Return a manifest of five groups: 40 real and 80 fake images; one group has no split."""
    return make_swaps(tmp_path_factory.mktemp("swaps"), splits=["train", "train", "val", "test", ""])


@pytest.fixture(scope="session")
def plugin(tmp_path_factory):
    """Make a plugin file whose extractor has the given name; returns its path."""

    def make(file="pixels.py", name="pixels"):
        path = tmp_path_factory.mktemp("plugin") / file
        path.write_text(PLUGIN.format(name=name), encoding="utf-8")
        return str(path)

    return make


@pytest.fixture(scope="session")
def write_suite(training, plugin):
    """Write and read the tiny suite; by default the training data, one plugin, and no external data."""
    pixels = plugin()

    def write(folder, *, external=None, extractors=None, sections="", **keys):
        keys = {"protocol": "target", "folds": 3, "nested": "false", **keys}
        keys = {"weights": "auto", "data": training, "top": "", **keys}
        sections += f'[external]\nmanifest = "{external}"\n' if external else ""
        text = SUITE.format(extractors=extractors or [pixels], sections=sections, **keys)
        (folder / "tiny.toml").write_text(text, encoding="utf-8")
        return read_suite(str(folder / "tiny.toml"))

    return write


@pytest.fixture
def tiny(write_suite, tmp_path):
    """Make the tiny suite, see `write_suite`."""
    return lambda **changes: write_suite(tmp_path, **changes)


@pytest.fixture
def said():
    """Return the lines that `machine` said."""
    return []


@pytest.fixture
def machine(tmp_path, said):
    return Machine(Store(tmp_path / "cache"), say=said.append)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, write_suite, elsewhere):
    """Return the results folder of a finished run with external data, for reading only."""
    home = tmp_path_factory.mktemp("finished")
    suite = write_suite(home, external=elsewhere, protocol="component")
    return run(suite, machine=Machine(Store(home / "cache")), out=home / "out")


@pytest.fixture
def results(finished, tmp_path):
    """Return a copy of the finished run's folder, for writing."""
    return shutil.copytree(finished, tmp_path / "results")


@pytest.fixture(scope="session")
def plain_home(tmp_path_factory, write_suite):
    home = tmp_path_factory.mktemp("plain")
    run(write_suite(home), machine=Machine(Store(home / "cache")), out=home / "out")
    return home


@pytest.fixture
def done(plain_home, tmp_path):
    """Return a copy of the folder of a finished run of `tiny()`, whose cache is that of `machine`."""
    shutil.copytree(plain_home / "cache", tmp_path / "cache")
    return shutil.copytree(plain_home / "out", tmp_path / "out")
