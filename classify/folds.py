"""Which rows train and which test, checked against what the protocol promises."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from classify.groups import Ints, people_of
from classify.protocols import PROTOCOLS, Fold, check_classes


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
