"""Small random tables for the tests of `classify`."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

import classify.partition
import classify.protocols
from classify.models import CLASSIFIERS, Classifier, Values
from classify.protocols import Fold

COLUMNS = ["clip", "identity", "source_identity", "label", "attack", "split"]
CELEBDF = Path(__file__).resolve().parents[3] / "shared" / "reference" / "celebdf"


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def clips():
    """Make rows from (clip, identity, source identity, label, attack, split), the last two empty if left out."""

    def make(*lines):
        return pd.DataFrame([(*line, *[""] * (6 - len(line))) for line in lines], columns=COLUMNS)

    return make


@pytest.fixture(scope="session")
def persons(clips):
    """Make `count` persons with two real and three fake clips each; no swap crosses persons.

    Persons 0, 1, 2, ... are test, train, train, test, ... in the data set's own split; every protocol can divide
    six of them in three.
    """

    def make(count):
        return clips(
            *(
                (f"{p}-{i}", f"p{p}", f"p{p}" if i >= 2 else "", int(i >= 2), "", split)
                for p in range(count)
                for i, split in enumerate(["train" if p % 3 else "test"] * 5)
            )
        )

    return make


@pytest.fixture(scope="session")
def manifests():
    """A strategy for rows: clips of one to three rows in any order, some of unknown people, attack and split."""
    return _manifests()


@st.composite
def _manifests(draw):
    family = draw(st.sampled_from([1, 2, 14]))  # people who are swapped with each other only
    unknown = draw(st.sampled_from([(), (), ("source", "identity")]))
    lines = []
    for number in range(draw(st.integers(4, 40))):
        person, label, n_rows = draw(st.tuples(st.integers(0, 13), st.integers(0, 1), st.integers(1, 3)))
        partner = person // family * family + draw(st.integers(0, family - 1))
        hidden = draw(st.sampled_from([*unknown, "none", "none"]))
        identity = "" if hidden == "identity" else f"person{person}"
        source = f"person{partner}" if label and hidden != "source" else ""
        attack = draw(st.sampled_from(["", "swap", "face2face"])) if label else ""
        for _ in range(n_rows):  # frame folders may be split in the middle of a clip
            split = draw(st.sampled_from(["train", "test", "val", ""]))
            lines.append((f"clip{number}", identity, source, label, attack, split))
    order = draw(st.permutations(range(len(lines))))
    return pd.DataFrame([lines[i] for i in order], columns=COLUMNS)


@pytest.fixture(scope="session")
def celebdf(clips):
    """The clips of Celeb-DF v2 with its test list as split, read without the product's adapter."""
    if not CELEBDF.exists():
        pytest.skip(f"{CELEBDF} is not on this machine")
    listed = {line.split()[1] for line in (CELEBDF / "List_of_testing_videos.txt").read_text().splitlines()}
    with (CELEBDF / "celeb_df_v2_videos.csv").open(newline="") as file:
        labels = {line["path"]: int(line["label"]) for line in csv.DictReader(file)}
    lines = []
    for path, label in labels.items():
        folder, words = Path(path).parent.name, Path(path).stem.split("_")
        identity = f"youtube {words[0]}" if folder == "YouTube-real" else words[0]
        source = words[1] if folder == "Celeb-synthesis" else ""
        split = "test" if path in listed else "train"
        lines.append((path, identity, source, label, "swap" if source else "", split))
    return clips(*lines)


@pytest.fixture
def quick(monkeypatch):
    """Search less: what a protocol promises must hold wherever the search ends."""
    monkeypatch.setattr(classify.protocols, "ATTEMPTS", 3)
    monkeypatch.setattr(classify.partition, "STARTS", 0)


@pytest.fixture
def noisy():
    """Make (X, y) that a classifier separates imperfectly: (n, d) float32 and (n,) int64."""

    def make(n=66, d=5, seed=0, shift=1.0):
        rng = np.random.default_rng(seed)
        y = np.arange(n) % 2
        X = rng.normal(size=(n, d)) + shift * y[:, None] * (np.arange(d) < 2)
        return X.astype(np.float32), y.astype(np.int64)

    return make


@pytest.fixture
def thirds():
    """Make three folds of n rows in blocks, each with both classes for alternating labels."""

    def make(n):
        parts = np.array_split(np.arange(n), 3)
        return [Fold(np.setdiff1d(np.arange(n), part), part) for part in parts]

    return make


@pytest.fixture
def register(monkeypatch):
    """Register a classifier for the length of a test."""

    def add(name, build, parameters=("C",)):
        anything = {parameter: Values("anything", lambda value: True) for parameter in parameters}
        kind = Classifier(name, build, "decision_function", anything)
        monkeypatch.setitem(CLASSIFIERS._entries, name, kind)

    return add
