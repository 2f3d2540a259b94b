"""The protocols: ways to tell training from test, from nobody on both sides to the leaky habits."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from classify.groups import Ints, group_sizes, groups_of
from classify.partition import partition
from extract.errors import RequestError
from extract.registry import Registry

ATTEMPTS = 50  # orders of the groups to try, from the seed on
PEOPLE = ("identity", "source_identity")


@dataclass(frozen=True)
class Fold:
    """Row numbers, (n_train,) and (n_test,) int64, ascending. A row in neither sits this fold out."""

    train: Ints
    test: Ints


@dataclass(frozen=True)
class Protocol:
    """A way to tell training from test.

    Attributes
    ----------
    apart : str
        What it keeps apart, in the words of the tables.
    split : callable
        (rows, n_splits, seed) -> folds. Each row is tested in at most one. A single fold means that the split
        was given, not made: parameters and thresholds are then chosen inside its training part.
    disjoint : tuple of str
        Columns whose people, taken together, are never on both sides.
    leaky : bool
        One of the habits that this project exists to replace: on request only, marked wherever it appears.
    """

    apart: str
    split: Callable[[pd.DataFrame, int, int], list[Fold]]
    disjoint: tuple[str, ...] = ()
    leaky: bool = False


PROTOCOLS: Registry[Protocol] = Registry("protocol")


def check_classes(folds: Sequence[Fold], y: npt.NDArray[np.int64], protocol: str) -> None:
    """Refuse a side of a fold that is empty or lacks a class; `RequestError` with the counts."""
    for number, fold in enumerate(folds):
        for side, rows in (("training", fold.train), ("test", fold.test)):
            if set(y[rows]) != {0, 1}:
                remedy = "Use fewer folds or add identities" if len(folds) > 1 else "Choose another protocol"
                raise RequestError(
                    f"Expected real and fake in the {side} part of every fold; fold {number + 1} of {len(folds)} "
                    f"has {np.sum(y[rows] == 0)} real and {np.sum(y[rows] == 1)} fake rows under protocol "
                    f"{protocol}. {remedy}.",
                    code="E_CLASS_MISSING",
                )


def _by_groups(
    rows: pd.DataFrame, n_splits: int, seed: int, *, protocol: str, columns: tuple[str, ...]
) -> list[Fold]:
    """Deal out groups of rows that clips and people tie together."""
    groups = groups_of(rows, columns)
    _check_group_count(rows, groups, n_splits=n_splits, protocol=protocol)
    return _balanced(StratifiedGroupKFold, rows, groups, n_splits=n_splits, protocol=protocol, seed=seed)


def _by_rows(rows: pd.DataFrame, n_splits: int, seed: int) -> list[Fold]:
    """Deal out single faces: frames of one clip end up on both sides."""
    least = int(rows["label"].value_counts().reindex([0, 1], fill_value=0).min())
    if least < n_splits:
        raise RequestError(
            f"Expected at least {n_splits} real and {n_splits} fake faces for {n_splits} folds (protocol frame); "
            f"got {least} of one. Use fewer folds or add clips.",
            code="E_FACES_FEW",
        )
    return _balanced(StratifiedKFold, rows, None, n_splits=n_splits, protocol="frame", seed=seed)


def _balanced(
    kind: type[StratifiedGroupKFold | StratifiedKFold],
    rows: pd.DataFrame,
    groups: Ints | None,
    *,
    n_splits: int,
    protocol: str,
    seed: int,
) -> list[Fold]:
    """Balance folds in label and attack; in label alone where that leaves a fold without a class."""
    y, refusal = rows["label"].to_numpy(), None
    for strata in (_strata(rows), y):
        for attempt in range(ATTEMPTS):  # the dealer is greedy: another order can find what this one missed
            splitter = kind(n_splits=n_splits, shuffle=True, random_state=seed + attempt)
            folds = _deal(splitter, strata, groups)
            try:
                check_classes(folds, y, protocol)
            except RequestError as error:
                refusal = refusal or error
            else:
                return folds
    assert refusal is not None  # ATTEMPTS is at least 1
    raise refusal


def _by_people(rows: pd.DataFrame, n_splits: int, seed: int) -> list[Fold]:
    """Assign people to folds, so that as many fakes as possible have all of theirs in one; the rest sit out.

    A test fold keeps the clips all of whose people are in it, its training part those none of whose are.
    """
    _check_sources(rows)
    clips = rows.drop_duplicates("clip")
    own = "clip " + clips["clip"]  # whom a clip of nobody known shows: somebody of its own
    first = np.where(clips["identity"] != "", "person " + clips["identity"], own)
    second = np.where(clips["source_identity"] != "", "person " + clips["source_identity"], first)
    first = np.where((clips["identity"] == "") & (clips["source_identity"] != ""), second, first)
    # Numbered by name, so that the order of the rows decides nothing, then shuffled, so that the seed decides who
    # meets whom where several assignments are equally good.
    names, codes = np.unique(np.concatenate([first, second]).astype(str), return_inverse=True)
    codes = np.random.default_rng(seed).permutation(len(names))[codes]
    pairs, fake = codes.reshape(2, -1).T, (clips["label"] == 1).to_numpy()
    assigned = partition(pairs[fake], pairs[~fake, 0], n_people=len(names), n_splits=n_splits, seed=seed)
    places = dict(zip(clips["clip"], assigned[pairs].tolist(), strict=True))
    sides = np.array([places[clip] for clip in rows["clip"]])
    return [
        Fold(np.flatnonzero((sides != k).all(axis=1)), np.flatnonzero((sides == k).all(axis=1)))
        for k in range(n_splits)
    ]


def _as_given(rows: pd.DataFrame, n_splits: int, seed: int) -> list[Fold]:
    """Take the data set's own split; clips without one sit out."""
    split = rows["split"].to_numpy()
    fold = Fold(np.flatnonzero(np.isin(split, ("train", "val"))), np.flatnonzero(split == "test"))
    if not (len(fold.train) and len(fold.test)):
        missing = "test" if len(fold.train) else "training" if len(fold.test) else "training and no test"
        raise RequestError(
            f"Expected clips with split train and test for protocol official; got no {missing} clip. "
            "Fill the column split, or choose another protocol.",
            code="E_SPLIT_UNKNOWN",
        )
    return [fold]


def _deal(splitter: StratifiedGroupKFold | StratifiedKFold, strata: Ints, groups: Ints | None) -> list[Fold]:
    with warnings.catch_warnings():
        # A stratum with fewer members than folds is dealt as far as it goes; both classes are checked later.
        warnings.filterwarnings("ignore", message="The least populated class")
        return [Fold(train, test) for train, test in splitter.split(np.zeros(len(strata)), strata, groups)]


def _strata(rows: pd.DataFrame) -> Ints:
    """Number real rows 0 and those of each attack from 1: (n,) int64."""
    attacks = pd.factorize(rows["attack"])[0] if "attack" in rows else 0
    return np.where(rows["label"] == 1, attacks + 1, 0).astype(np.int64)


def _check_group_count(rows: pd.DataFrame, groups: Ints, *, n_splits: int, protocol: str) -> None:
    y = rows["label"].to_numpy()
    for label, name in ((0, "real"), (1, "fake")):
        count = len(np.unique(groups[y == label]))
        if count < n_splits:
            sizes = f" ({_sizes(rows, groups)})" if protocol == "component" else ""
            other = "protocol strict" if protocol == "component" else "another protocol"
            raise RequestError(
                f"Expected at least {n_splits} groups of {GROUPS[protocol]} with {name} clips for {n_splits} folds "
                f"(protocol {protocol}); got {count}{sizes}. Use fewer folds, {other}, or add identities.",
                code="E_IDENTITIES_FEW",
            )


def _sizes(rows: pd.DataFrame, groups: Ints) -> str:
    """Write the number of people in each component, largest first, a long run of equal ones once."""
    sizes, times = np.unique(group_sizes(rows, groups, PEOPLE), return_counts=True)
    words = [
        "/".join([str(size)] * n) if n <= 4 else f"{size} ({n} times)"
        for size, n in zip(sizes, times, strict=True)
    ]
    return f"components of {'/'.join(reversed(words)) or 'no'} identities"


def _check_sources(rows: pd.DataFrame) -> None:
    unknown = rows[(rows["label"] == 1) & (rows["source_identity"] == "")].drop_duplicates("clip")
    if len(unknown):
        raise RequestError(
            f"Expected the source identity of every fake for protocol strict; {len(unknown)} fake clips name none, "
            f"first {unknown['clip'].iloc[0]}. Fill source_identity (the identity itself where no other face was put "
            'in), leave those clips out (--leave-out-unknown, or in a suite unknown_sources = "leave_out"), or choose '
            "another protocol.",
            code="E_SOURCE_UNKNOWN",
        )


GROUPS = {
    "target": "identities",
    "component": "identities joined by their fakes",
    "clip": "frames of one clip",
}

PROTOCOLS.add(
    "target",
    Protocol(
        "no person shown is on both sides; a face put in may be",
        partial(_by_groups, protocol="target", columns=("identity",)),
        ("identity",),
    ),
)
PROTOCOLS.add(
    "component",
    Protocol(
        "no person, shown or put in, is on both sides",
        partial(_by_groups, protocol="component", columns=PEOPLE),
        PEOPLE,
    ),
)
PROTOCOLS.add(
    "strict",
    Protocol(
        "no person, shown or put in, is on both sides; clips that would break this sit out",
        _by_people,
        PEOPLE,
    ),
)
PROTOCOLS.add("official", Protocol("the data set's own split, whoever is on both sides", _as_given))
PROTOCOLS.add(
    "clip",
    Protocol(
        "frames of one clip stay together, people do not",
        partial(_by_groups, protocol="clip", columns=()),
        leaky=True,
    ),
)
PROTOCOLS.add("frame", Protocol("nothing: frames of one clip are on both sides", _by_rows, leaky=True))
