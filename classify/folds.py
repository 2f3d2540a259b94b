"""Which rows train and which test, checked against what the protocol promises."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from classify.groups import Ints, people_of
from classify.metrics import Labels
from classify.protocols import PROTOCOLS, Fold, check_classes
from extract.errors import RequestError


def identity_folds(rows: pd.DataFrame, *, n_splits: int, protocol: str, seed: int) -> list[Fold]:
    """Divide rows into folds under a protocol, each with both classes on both sides.

    Parameters
    ----------
    rows : DataFrame of n rows
        ``label`` (1 = fake, 0 = real), ``clip``, ``identity``, ``source_identity``; ``attack`` and ``split``
        where known.
    n_splits : int
        Number of folds; without meaning under ``official``, which gives the data set's one.
    protocol : str
        A name in `PROTOCOLS`.
    seed : int
        Everything random follows from it.

    Raises
    ------
    RequestError
        A fold without both classes on both sides; too few groups; under ``strict`` a fake whose source is not
        known; under ``official`` no training or no test clips.
    """
    folds = PROTOCOLS[protocol].split(rows, n_splits, seed)
    check_folds(folds, rows, protocol=protocol)
    return folds


def inner_folds(rows: pd.DataFrame, train: Ints, *, n_splits: int, protocol: str, seed: int) -> list[Fold]:
    """Divide a training part again, to choose parameters and thresholds without its test part.

    Under ``official`` that is the data set's own validation part where it has one, otherwise folds of protocol
    ``target``; under every other protocol, folds of the same.

    Parameters
    ----------
    rows : DataFrame of n rows
    train : (n_train,) int64

    Returns
    -------
    list of Fold
        In row numbers of `rows`.

    Raises
    ------
    RequestError
        As `identity_folds`.
    """
    part = rows.iloc[train]
    validation = (part["split"] == "val").to_numpy() if protocol == "official" else np.zeros(len(part), bool)
    if validation.any():
        given = Fold(train[~validation], train[validation])
        check_folds([given], rows, protocol=protocol)
        return [given]
    protocol = "target" if protocol == "official" else protocol
    folds = identity_folds(part, n_splits=n_splits, protocol=protocol, seed=seed)
    return [Fold(train[fold.train], train[fold.test]) for fold in folds]


def nested_folds(folds: Sequence[Fold], y: Labels) -> dict[tuple[int, int], Fold]:
    """Divide every fold's training part by the other folds, two at a time.

    Inside fold a, fold b is an inner test part, whose training part is what may train both; inside fold b the same
    rows train, and fold a is tested. One fit serves both: half the work of a search inside each fold. As a part of both
    training parts, it shares with neither test part what the protocol keeps apart.

    Parameters
    ----------
    folds : sequence of k Fold
    y : (n,) int, 1 = fake

    Returns
    -------
    dict of (a, b), a < b, to Fold
        k (k - 1) / 2 of them. What is tested of fold a trains fold b, and the other way round.

    Raises
    ------
    RequestError
        Fewer than three folds; a side of an inner fold that lacks a class.
    """
    if len(folds) < 3:
        raise RequestError(
            f"Expected at least 3 folds to choose inside each; got {len(folds)}. Use more folds, or nested = false.",
            code="E_FOLDS_FEW",
        )
    pairs = {}
    for a, b in combinations(range(len(folds)), 2):
        one, other = folds[a], folds[b]
        tested = {a: np.intersect1d(one.test, other.train), b: np.intersect1d(other.test, one.train)}
        pairs[a, b] = Fold(np.intersect1d(one.train, other.train), np.union1d(tested[a], tested[b]))
        for rows, what in [(pairs[a, b].train, "trains"), *((rows, "is tested") for rows in tested.values())]:
            if set(y[rows]) != {0, 1}:
                raise RequestError(
                    f"Expected real and fake in what {what} inside folds {a + 1} and {b + 1}; got "
                    f"{np.sum(y[rows] == 0)} real and {np.sum(y[rows] == 1)} fake rows. Use fewer folds, add "
                    "identities, or nested = false.",
                    code="E_CLASS_MISSING",
                )
    return pairs


def fold_numbers(folds: Sequence[Fold], n: int) -> Ints:
    """Return for each of n rows the fold, from 0, that tests it, -1 where none does: (n,) int64."""
    numbers = np.full(n, -1, np.int64)
    for number, fold in enumerate(folds):
        numbers[fold.test] = number
    return numbers


def shared_people(rows: pd.DataFrame, fold: Fold, columns: Sequence[str]) -> list[str]:
    """Return everybody named in any of the columns on both sides of a fold, sorted."""
    train, test = (people_of(rows.iloc[side], columns) for side in (fold.train, fold.test))
    return sorted(train & test)


def check_folds(folds: Sequence[Fold], rows: pd.DataFrame, *, protocol: str) -> None:
    """Refuse folds that cannot be scored; stop at folds that break their protocol's promise.

    Raises
    ------
    RequestError
        A side of a fold that is empty or lacks a class.
    AssertionError
        A person or a row on both sides, or a row that is tested twice: a defect of the splitter.
    """
    check_classes(folds, rows["label"].to_numpy(), protocol)
    for number, fold in enumerate(folds):
        shared = shared_people(rows, fold, PROTOCOLS[protocol].disjoint)
        if shared or _times(fold.train, len(rows))[fold.test].any():
            raise AssertionError(
                f"Fold {number} of protocol {protocol} has {shared or 'rows'} on both sides."
            )
    if (_times(np.concatenate([fold.test for fold in folds]), len(rows)) > 1).any():
        raise AssertionError(f"Protocol {protocol} tests a row more than once.")


def _times(numbers: Ints, n: int) -> Ints:
    """Count how often each of n rows is named: (n,) int64; a tenth of the time of sorting or hashing a million."""
    return np.bincount(numbers, minlength=n)
