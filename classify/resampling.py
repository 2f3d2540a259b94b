"""Draw people again, not rows: bootstrap weights of people, and what a set of scores is worth under them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array

from classify.groups import Ints
from classify.metrics import Floats, Labels

KINDS = ("two-way", "target", "rows")
COLUMNS = ["clip", "identity", "source_identity", "label"]
LEFT_OUT = 1000  # most groups of the jackknife: past that, its cost would pass the bootstrap's

Weights = npt.NDArray[Any]  # (B, G) of numbers: B replicates, G cells


@dataclass(frozen=True)
class Resampling:
    """Replicate weights of n rows, the same for every model that scored them.

    Attributes
    ----------
    cells : (n,) int64
        The cell of each row; rows that depend on the same people share one.
    weights : (B, G) uint16
        How often each replicate draws each of the G cells; whole numbers, so that weighted counts are exact.
    members : (G, 2) int64
        The one or two people (or rows, under kind ``rows``) of each cell, numbered from 0; `people` stands for
        nobody.
    people : int
        How many people (or rows) each replicate draws.
    fewest : int
        The fewest people that one role rests on: targets of reals, targets of fakes, sources of fakes. Two
        fakes of unknown target or source count as two people. 0 where a class is missing.
    """

    cells: Ints
    weights: Weights
    members: Ints
    people: int
    fewest: int

    @property
    def unit(self) -> Weights:
        """Weights that leave the rows as they are, for the estimate itself: (1, G) uint8."""
        return np.ones((1, len(self.members)), np.uint8)

    @property
    def jackknife(self) -> Weights:
        """Weights of the cells with each person left out in turn: (min(people, 1000), G) uint8.

        More than 1,000 people are left out in groups (the delete-a-group jackknife): skewness and with it the
        acceleration of BCa are the same in expectation.
        """
        groups = min(self.people, LEFT_OUT)
        group = np.append(np.arange(self.people) % groups, groups)[self.members]
        return np.stack([(group != left_out).all(axis=1) for left_out in range(groups)]).astype(np.uint8)


def resample(rows: pd.DataFrame, *, seed: int, replicates: int = 2000, kind: str = "two-way") -> Resampling:
    """Draw replicate weights of rows by drawing the people in them with replacement.

    Each replicate draws P of P people; w_p is how often person p came. A row weighs w_target w_source: the
    product-weight or pigeonhole bootstrap (McCullagh 2000, Bernoulli 6; Owen 2007, Annals of Applied Statistics 1;
    Owen and Eckles 2012, Annals of Applied Statistics 6). Targets and sources are one population and share one
    draw, as for jointly exchangeable arrays (Davezies, D'Haultfoeuille and Guyonvarch 2021, Annals of Statistics
    49): a person who is easy to detect in both roles, or hard in one and easy in the other, moves both at once.
    Separate draws cover the same where the roles are independent, and too little where they are alike
    (`benchmarks.coverage`, kind ``separate``). What fakes of the same two people do not share is counted up to
    three times over (Owen 2007), so intervals are a little wide where fakes are few, never narrow for it.

    The draws follow from the people's names and the seed, neither from scores nor from the order of rows, so
    replicates of two models, or of faces and of clips, are paired.

    Parameters
    ----------
    rows : DataFrame of n rows
        ``clip``, ``identity``, ``source_identity``, ``label`` (1 = fake). A clip of unknown identity is a
        person of its own; an unknown source weighs 1; a source that is also the target counts once.
    seed : int
    replicates : int
        B.
    kind : str
        ``two-way``, or to compare: ``target`` forgets the sources, ``rows`` also that rows share people.

    Raises
    ------
    ValueError
        A kind that is not in `KINDS`; no rows; a missing column.
    """
    _check(rows, kind)
    people, roles = _roles(rows, kind)
    members, cells = np.unique(np.sort(roles, axis=1), axis=0, return_inverse=True)
    weights = _drawn(people, members.tobytes(), seed, replicates)
    fewest = _fewest(rows["label"].to_numpy(), roles, people)
    return Resampling(cells.reshape(-1), weights, members, people, fewest)


@lru_cache(2)  # models share their people, and so do faces and clips; large ones are many bytes
def _drawn(people: int, members: bytes, seed: int, replicates: int) -> Weights:
    """Draw the weights of cells, with their members as `Resampling` has them: (B, G) uint16, not to be written to."""
    first, second = np.frombuffer(members, np.int64).reshape(-1, 2).T
    rng = np.random.default_rng(seed)
    weights = np.empty((replicates, len(first)), np.uint16)
    for replicate in weights:
        drawn = np.append(np.bincount(rng.integers(people, size=people), minlength=people), 1)
        replicate[:] = drawn[first] * drawn[second]
    weights.flags.writeable = False
    return weights


def totals(values: npt.ArrayLike, *, cells: Ints, weights: Weights) -> Floats:
    """Compute weighted sums of columns in every replicate: confusion counts, losses, errors by attack or bin.

    Parameters
    ----------
    values : (n,) or (n, k), bool or number
    cells : (n,) int64
        Of the same rows; `Resampling.cells`, or a part of it with the same part of the values.
    weights : (B, G) of numbers

    Returns
    -------
    (B,) or (B, k) float64

    >>> called, cells = np.array([1, 0, 1]), np.array([0, 0, 1])
    >>> totals(called, cells=cells, weights=np.array([[1, 1], [2, 0]]))
    array([2., 2.])
    """
    columns = np.asarray(values, np.float64)
    by_cell = _incidence(cells, np.arange(len(cells)), weights.shape[1], len(cells)) @ columns
    return in_chunks(lambda part: np.asarray(part @ by_cell), weights)


def weighted_auc(y: Labels, score: Floats, *, fold: Ints, cells: Ints, weights: Weights) -> Floats:
    """Compute the area under the ROC curve within folds, in every replicate.

    The weighted share of pairs of a fake and a real, both scored by the same fold's models, in which the fake
    scores higher; ties count one half (Hanley and McNeil 1982; pairs of different folds compare scores of
    different models and are left out: Forman and Scholz 2010, SIGKDD Explorations 12). A fold counts by its
    number of pairs. Exact: O(n log n) once, O(n) a replicate.

    Parameters
    ----------
    y : (n,) int, 1 = fake
    score : (n,) float, higher = more likely fake
    fold : (n,) int
        Rows of one number are compared; all alike where rows were judged once.
    cells : (n,) int64
    weights : (B, G) of numbers

    Returns
    -------
    (B,) float64
        NaN where no fold has weight in both classes.

    Raises
    ------
    ValueError
        Scores that are not finite.
    """
    y, score = np.asarray(y), _finite(score)
    kernels = []
    for number in np.unique(fold):
        fakes, reals = ((fold == number) & (y == label) for label in (1, 0))
        kernels.append(
            _Concordance.of(score[fakes], score[reals], cells[fakes], cells[reals], weights.shape[1])
        )
    concordant, pairs = in_chunks(lambda part: _add_up(kernels, part), weights).T
    return ratio(concordant, pairs)


def in_chunks(statistic: Callable[[Floats], Floats], weights: Weights, *, size: int = 64) -> Floats:
    """Apply a statistic of (b, G) float64 weights to b <= `size` replicates at a time: (B,) or (B, k) float64."""
    starts = range(0, len(weights), size)
    return np.concatenate([statistic(weights[at : at + size].astype(np.float64)) for at in starts])


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide; NaN where the denominator is 0: a class without weight has no rate."""
    undefined = np.full(np.shape(denominator), np.nan)
    return np.asarray(np.divide(numerator, denominator, out=undefined, where=denominator > 0))


@dataclass(frozen=True)
class _Concordance:
    """Pairs of a fake and a real, counted without forming them.

    With m distinct scores of reals, bin 2j of the fakes lies between the j-th and the next, bin 2j + 1 on it:
    a fake in bin b beats the mean of the reals below position b // 2 and of those below (b + 1) // 2, ties
    counting one half by themselves.
    """

    bins: Ints
    fakes: csr_array
    reals: csr_array

    @classmethod
    def of(cls, fake: Floats, real: Floats, fake_cells: Ints, real_cells: Ints, size: int) -> "_Concordance":
        values, position = np.unique(real, return_inverse=True)
        bins = np.searchsorted(values, fake, "left") + np.searchsorted(values, fake, "right")
        bins, bin_of = np.unique(bins, return_inverse=True)
        fakes = _incidence(bin_of, fake_cells, len(bins), size)
        return cls(bins, fakes, _incidence(position, real_cells, len(values), size))

    def __call__(self, weights: Floats) -> Floats:
        """Concordant pairs and all pairs under (G, b) weights: (2, b)."""
        fakes, reals = self.fakes @ weights, self.reals @ weights
        below = np.concatenate([np.zeros((1, weights.shape[1])), np.cumsum(reals, axis=0)])
        beaten = below[self.bins // 2] + below[(self.bins + 1) // 2]
        return np.stack([np.einsum("kb,kb->b", fakes, beaten) / 2, fakes.sum(axis=0) * below[-1]])


def _add_up(kernels: list[_Concordance], weights: Floats) -> Floats:
    by_cell = np.ascontiguousarray(weights.T)  # the sparse product runs along replicates
    return np.asarray(sum(kernel(by_cell) for kernel in kernels)).T


def _incidence(row: Ints, column: Ints, rows: int, columns: int) -> csr_array:
    """Count how often row and column meet: (rows, columns)."""
    return csr_array((np.ones(len(row)), (row, column)), shape=(rows, columns))


def _finite(score: Floats) -> Floats:
    score = np.asarray(score, np.float64)
    if not np.isfinite(score).all():
        raise ValueError("Expected finite scores; got NaN or infinity. Check the scores.")
    return score


def _check(rows: pd.DataFrame, kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"Expected a kind of resampling in {KINDS}; got {kind!r}. Choose one of them.")
    missing = [column for column in COLUMNS if column not in rows]
    if missing or not len(rows):
        raise ValueError(
            f"Expected rows with columns {COLUMNS}; got {len(rows)} without {missing}. Add them."
        )


def _roles(rows: pd.DataFrame, kind: str) -> tuple[int, Ints]:
    """Number the people, and return target and source of each row, the number of people for no other: (n, 2)."""
    n = len(rows)
    if kind == "rows":
        return n, np.stack([np.arange(n), np.full(n, n)], axis=1)
    clip, target, source = (rows[column].to_numpy(str) for column in COLUMNS[:3])
    two = (source != "") & (source != target) & (kind == "two-way")
    targets = np.where(target == "", np.char.add("clip ", clip), np.char.add("person ", target))
    sources = np.char.add("person ", source[two])
    names, codes = np.unique(np.concatenate([targets, sources]), return_inverse=True)
    roles = np.full((n, 2), len(names))
    roles[:, 0], roles[two, 1] = codes[:n], codes[n:]
    return len(names), roles


def _fewest(label: Labels, roles: Ints, people: int) -> int:
    """Count the people of each role, a source that is unknown as a person; return the smallest count."""
    sources = roles[label == 1, 1]
    known = sources < people
    targets = [len(np.unique(roles[label == kind, 0])) for kind in (0, 1)]
    return min(*targets, len(np.unique(sources[known])) + int((~known).sum()))
