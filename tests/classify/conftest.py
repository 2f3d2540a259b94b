"""Small random tables for the tests of `classify`."""

import numpy as np
import pandas as pd
import pytest

from classify.folds import Fold


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def clips():
    """Make a table of clips from (clip, identity, source identity, label), one row each."""

    def make(*lines):
        return pd.DataFrame(lines, columns=["clip", "identity", "source_identity", "label"])

    return make


@pytest.fixture
def persons():
    """Make `count` persons with two real and three fake clips each; no swap crosses persons."""

    def make(count):
        lines = [(f"{p}-{i}", f"p{p}", "", int(i >= 2)) for p in range(count) for i in range(5)]
        return pd.DataFrame(lines, columns=["clip", "identity", "source_identity", "label"])

    return make


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
