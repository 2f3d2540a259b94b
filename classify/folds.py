"""Which rows train and which test, so that nobody is on both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from extract.errors import RequestError
from extract.registry import Registry

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Row numbers, (n_train,) and (n_test,) int64, ascending."""

    train: Ints
    test: Ints


ATTEMPTS = 50  # orders of the groups to try, from the seed on

# Which columns name the people that tie clips together.
PROTOCOLS: Registry[tuple[str, ...]] = Registry("protocol")
PROTOCOLS.add("target", ("identity",))
PROTOCOLS.add("component", ("identity", "source_identity"))


def groups_of(rows: pd.DataFrame, *, protocol: str) -> Ints:
    """Number the groups that must not be divided between training and test.

    Parameters
    ----------
    rows : DataFrame of n rows
        ``clip``, ``identity``, ``source_identity``; an empty identity ties nothing.
    protocol : str
        ``target``: rows of one identity (the person whose body and scene is shown) belong together.
        ``component``: also identities joined by a fake that has one as target and the other as source, and so
        on: connected components of the graph of identities (Hopcroft and Tarjan 1973, from SciPy).
        Rows of one clip always belong together.

    Returns
    -------
    (n,) int64
    """
    nodes = [pd.Series("clip " + rows["clip"]).to_numpy()]
    for column in PROTOCOLS[protocol]:
        names = rows[column].to_numpy()
        nodes.append(np.where(names == "", nodes[0], np.char.add("person ", names.astype(str))))
    codes, _ = pd.factorize(np.concatenate(nodes))
    row_nodes = codes.reshape(len(nodes), -1)
    here, there = np.tile(row_nodes[0], len(nodes) - 1), row_nodes[1:].ravel()
    size = int(codes.max()) + 1
    graph = coo_array((np.ones(len(here)), (here, there)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return np.asarray(component[row_nodes[0]], np.int64)


def identity_folds(rows: pd.DataFrame, *, n_splits: int, protocol: str, seed: int) -> list[Fold]:
    """Divide rows into folds that share no group, stratified by label.

    Parameters
    ----------
    rows : DataFrame of n rows
        ``label`` (1 = fake, 0 = real) and the columns of `groups_of`.
    n_splits : int
        Number of folds; each row is tested in exactly one.
    seed : int
        Shuffles the groups before scikit-learn's StratifiedGroupKFold deals them out; where that leaves a fold
        without a class, the next seeds are tried.

    Raises
    ------
    RequestError
        Fewer groups than folds, or a fold without both classes on both sides.
    """
    groups, y = groups_of(rows, protocol=protocol), rows["label"].to_numpy()
    _check_group_count(groups, y, n_splits, protocol)
    refusal = None
    for attempt in range(ATTEMPTS):  # the dealer is greedy: another order can find what this one missed
        splitter = StratifiedGroupKFold(n_splits=n_splits, shuffle=True, random_state=seed + attempt)
        folds = [Fold(train, test) for train, test in splitter.split(np.zeros(len(y)), y, groups)]
        try:
            check_folds(folds, y=y, groups=groups, protocol=protocol)
        except RequestError as error:
            refusal = refusal or error
        else:
            return folds
    assert refusal is not None  # ATTEMPTS is at least 1
    raise refusal


def check_folds(folds: Sequence[Fold], *, y: npt.NDArray[np.int64], groups: Ints, protocol: str) -> None:
    """Refuse folds that leak or cannot be scored.

    Raises
    ------
    RequestError
        A side of a fold that is empty or lacks a class.
    AssertionError
        A group on both sides of a fold, or rows that are not tested exactly once: a defect of the splitter.
    """
    for number, fold in enumerate(folds):
        if np.intersect1d(groups[fold.train], groups[fold.test]).size:
            raise AssertionError(f"Fold {number} has a group of protocol {protocol} on both sides.")
        for side, rows in (("training", fold.train), ("test", fold.test)):
            if set(y[rows]) != {0, 1}:
                raise RequestError(
                    f"Expected real and fake in the {side} part of every fold; fold {number + 1} of {len(folds)} "
                    f"has {np.sum(y[rows] == 0)} real and {np.sum(y[rows] == 1)} fake rows under protocol "
                    f"{protocol}. Use fewer folds or add identities."
                )
    tested = np.sort(np.concatenate([fold.test for fold in folds]))
    if not np.array_equal(tested, np.arange(len(y))):
        raise AssertionError("Not every row is tested exactly once.")


def fold_numbers(folds: Sequence[Fold]) -> Ints:
    """Return for each row the fold, from 0, that tests it: (n,) int64."""
    numbers = np.empty(sum(len(fold.test) for fold in folds), np.int64)
    for number, fold in enumerate(folds):
        numbers[fold.test] = number
    return numbers


def _check_group_count(groups: Ints, y: npt.NDArray[np.int64], n_splits: int, protocol: str) -> None:
    for label, name in ((0, "real"), (1, "fake")):
        count = len(np.unique(groups[y == label]))
        if count < n_splits:
            joined = "identities joined by their fakes" if protocol == "component" else "identities"
            raise RequestError(
                f"Expected at least {n_splits} groups of {joined} with {name} clips for {n_splits} folds "
                f"(protocol {protocol}); got {count}. Use fewer folds, another protocol, or add identities."
            )
