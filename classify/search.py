"""Grid search over folds that were made beforehand, keeping out-of-fold scores; and the same inside each fold."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import ParameterGrid

from classify.device import processes
from classify.fitting import Matrix, Scored
from classify.folds import nested_folds
from classify.gram import gram_bytes
from classify.groups import Ints
from classify.inputs import Inputs, rows_of, save_inputs
from classify.metrics import DECISIONS, METRICS, SELECTION, Floats, Labels, decisions, evaluate
from classify.models import CLASSIFIERS, Params, check_grid
from classify.paths import TREES, Resource
from classify.protocols import Fold
from classify.units import Unit, cut, do_unit, families, forget, is_done, resource_of
from extract.cluster import Cluster
from extract.files import read_json, write_json
from extract.memory import available_memory
from extract.progress import Track, no_progress
from extract.workers import Workers, run_units

How = Literal["exhaustive", "halving"]
FACTOR = 3  # halving: a round has so many times as much as the one before, and one in so many of its configurations
LEAST: Mapping[Resource, int] = {"rows": 500, "trees": 10}  # that a round gives at least

Family = tuple[int, ...]


@dataclass(frozen=True)
class Inner:
    """What was chosen inside the training part of one fold, without its test part.

    Attributes
    ----------
    best : dict
        The parameters.
    converged : bool
        Whether all fits that chose them, and the one on the whole training part, converged.
    scores : (n,) float64
        Out-of-fold scores of the inner folds, which thresholds can be chosen on; NaN where none tests.
    number : (n,) int64
        The inner fold that tests each row, -1 where none does.
    """

    best: dict[str, Any]
    converged: bool
    scores: Floats
    number: Ints


@dataclass(frozen=True)
class Nested:
    """A search inside each fold's training part.

    Attributes
    ----------
    scores : (n,) float64
        Of each fold's test part, by the parameters that were chosen without it; NaN for rows that no fold tests.
    inner : tuple of Inner, one a fold
    """

    scores: Floats
    inner: tuple[Inner, ...]


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    best : dict
        The parameters with the best mean of the selection metric over folds; of equal ones the first in the
        grid's order, as in scikit-learn's GridSearchCV.
    configurations : DataFrame, one line a configuration and fold
        ``configuration`` (number), the parameters (as JSON-able values), ``fold``, every metric at the default
        threshold, ``converged``, ``part`` (above 1 where halving left it out: it got one row, or tree, of so many).
    scores : (n,) float64
        Out-of-fold scores of the best configuration; NaN for rows that no fold tests.
    converged : bool
        Whether all its fits converged.
    nested : Nested, optional
        Where it was asked for.
    """

    best: dict[str, Any]
    converged: bool
    configurations: pd.DataFrame
    scores: Floats
    nested: Nested | None = None


def search(
    X: Matrix,
    y: Labels,
    *,
    classifier: str,
    grid: Mapping[str, list[Any]],
    folds: Sequence[Fold],
    metric: str,
    seed: int,
    how: How = "exhaustive",
    nested: bool = False,
    n_jobs: Workers = 1,
    folder: Path | None = None,
    track: Track = no_progress,
    memory: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> SearchResult:
    """Fit every configuration on every fold's training part and score its test part.

    Configurations that share work are fitted together (`classify.paths`), with the answers of separate fits.

    Parameters
    ----------
    X : (n, d) float32
    y : (n,) int, 1 = fake
    classifier : str
        A name in `CLASSIFIERS`.
    grid : mapping of parameter to values
    folds : sequence of Fold
        Each row is tested in at most one.
    metric : str
        A name in `SELECTION`; its mean over folds at the default threshold selects the configuration.
    seed : int
        Of every fit.
    how : {"exhaustive", "halving"}
        ``halving`` tries all configurations on few rows, or with few trees, and with more only the best, see `rounds`.
    nested : bool
        Also choose inside each fold's training part, see `nested_folds`.
    n_jobs : int or Cluster
        Processes, or of SVCs that share inner products threads, never more than cores; each fit is single-threaded.
        Or the workers of a cluster, which needs `folder`.
    folder : Path, optional
        Where finished units are kept: the same search finds them there, and does what is left. Features that are
        mapped from a file are known by its name, others by their bytes.
    memory : int, optional
        Bytes that the inner products of all rows, (n, n) float64, may take, which SVCs share; a search takes less than
        twice that. Half of what is available where it is left out.
    say : callable
        Takes a line for the user, where that memory is not enough.

    Raises
    ------
    RequestError
        An unknown classifier; a grid that `check_grid` refuses; folds that cannot be nested.
    """
    check_grid(classifier, grid)
    points = list(ParameterGrid(dict(grid)))
    pairs = nested_folds(folds, y) if nested else {}
    every = (*folds, *pairs.values())
    inputs = save_inputs(X, y, every, parent=folder) if folder else Inputs(X, y, every)
    share = classifier != "svc" or _shares(inputs, memory=memory, n_jobs=n_jobs, say=say)
    # SVCs that share one large matrix are fitted one fold after another, each in a thread of this process.
    workers = n_jobs if isinstance(n_jobs, Cluster) else processes(classifier, n_jobs)
    threads = 1
    if classifier == "svc" and share and isinstance(workers, int):
        workers, threads = 1, workers
    fits = _Fits(
        points,
        inputs,
        classifier=classifier,
        metric=metric,
        seed=seed,
        share=share,
        do=partial(do_unit, inputs=inputs, threads=threads),
        run=partial(run_units, workers=workers),
        track=track,
    )
    outer = [_Test(k, np.arange(len(fold.test)), fold.test) for k, fold in enumerate(folds)]
    within = [_tests_within(k, folds, pairs) for k in range(len(folds))] if nested else []
    alike = families(points, classifier=classifier, share=share)
    resource = resource_of(classifier)
    most = (
        max(int(point.get("n_estimators", TREES)) for point in points)
        if resource == "trees"
        else min(len(fold.train) for fold in every)
    )
    parts = rounds(len(alike), most, least=LEAST[resource]) if how == "halving" else [1]
    try:
        (winner, tried), *inside = _select(fits, [outer, *within], alike, parts)
        winners = [chosen for chosen, _ in inside]
        # What was chosen inside a fold's training part, halving may have left out where it is now tested.
        fits.compute({(k, family) for k, i in enumerate(winners) for family in alike if i in family})
    finally:
        forget()
        if isinstance(workers, Cluster):
            workers.everywhere(forget)
    return SearchResult(
        dict(points[winner]),
        fits.converged(outer, winner),
        fits.table(outer, tried),
        fits.scores(outer, winner),
        _nested(fits, outer, within, winners) if nested else None,
    )


def rounds(families: int, most: int, *, least: int) -> list[int]:
    """Return which part of rows or trees each round gives: one of so many; the last is 1, all of them.

    Halving after Jamieson and Talwalkar 2016, as scikit-learn's `HalvingGridSearchCV` does it, with what is fitted
    together as candidates: each round gives `FACTOR` times as much as the one before, and keeps one in `FACTOR` of
    them. There are as many as leave one candidate at the last, as far as the first still gives `least` of `most` rows
    or trees.

    >>> rounds(18, 500, least=10), rounds(6, 500, least=10), rounds(18, 100, least=10), rounds(1, 500, least=10)
    ([27, 9, 3, 1], [9, 3, 1], [9, 3, 1], [1])
    """
    parts = [1]
    while parts[0] < families and most >= least * FACTOR * parts[0]:
        parts.insert(0, FACTOR * parts[0])
    return parts


def _select(
    fits: "_Fits", searches: Sequence[Sequence["_Test"]], alike: Sequence[Family], parts: Sequence[int]
) -> list[tuple[int, dict[int, int]]]:
    """Find the best configuration of several searches, of equal ones the first, doing rounds of all together.

    Beside it stands, for every configuration, the part of the last round that it was in.
    """
    kept = [list(alike) for _ in searches]
    tried: list[dict[int, int]] = [{} for _ in searches]
    for number, part in enumerate(parts):
        if number:
            kept = [
                _best(fits, tests, mine, parts[number - 1])
                for tests, mine in zip(searches, kept, strict=True)
            ]
        for last, mine in zip(tried, kept, strict=True):
            last |= {i: part for family in mine for i in family}
        wanted = {
            (test.fold, family)
            for tests, mine in zip(searches, kept, strict=True)
            for test in tests
            for family in mine
        }
        fits.compute(wanted, part=part, watched=searches[0])
    return [(fits.best(tests, last), last) for tests, last in zip(searches, tried, strict=True)]


def _best(fits: "_Fits", tests: Sequence["_Test"], alike: Sequence[Family], part: int) -> list[Family]:
    """Keep one in `FACTOR` of the families, those whose best configuration is best, in their order."""
    best = np.array([fits.means(tests, family, part=part).max() for family in alike])
    kept = np.argsort(-best, kind="stable")[: -(-len(alike) // FACTOR)]
    return [alike[i] for i in sorted(kept)]


@dataclass(frozen=True)
class _Test:
    """Rows (m,) that choose: the fold that scores them, and their places in its test part."""

    fold: int
    places: Ints
    rows: Ints


def _tests_within(k: int, folds: Sequence[Fold], pairs: Mapping[tuple[int, int], Fold]) -> list[_Test]:
    """Return what is tested inside fold k: the test parts of the other folds, as far as they train fold k."""
    tests = []
    for number, (pair, fold) in enumerate(pairs.items(), start=len(folds)):
        if k in pair:
            rows = np.intersect1d(fold.test, folds[k].train)
            tests.append(_Test(number, np.searchsorted(fold.test, rows), rows))
    return tests


class _Fits:
    """Configurations fitted and scored on folds, when they are first asked for."""

    def __init__(
        self,
        points: Sequence[Params],
        inputs: Inputs,
        *,
        classifier: str,
        metric: str,
        seed: int,
        share: bool,
        do: Callable[[Unit], Scored],
        run: Callable[..., Iterator[tuple[int, Scored]]],
        track: Track,
    ) -> None:
        self.points, self.inputs, self.classifier, self.metric = points, inputs, classifier, metric
        self.seed, self.share = seed, share
        self.do, self.run, self.track = do, run, track
        self.threshold = CLASSIFIERS[classifier].default_threshold
        self.found: dict[tuple[int, int, int], tuple[Floats, bool]] = {}  # (configuration, fold, part)
        self.values: dict[tuple[int, int, int, int], float] = {}

    def compute(
        self, wanted: Collection[tuple[int, Family]], *, part: int = 1, watched: Sequence[_Test] = ()
    ) -> None:
        """Do the units that are wanted and not done; show the best configuration of those who watch."""
        lacking = sorted(
            (fold, family)
            for fold, family in wanted
            if any((i, fold, part) not in self.found for i in family)
        )
        units = cut(
            lacking, self.points, classifier=self.classifier, seed=self.seed, part=part, share=self.share
        )
        if not units:
            return
        best = _Best(self, watched, part)
        little = f" 1/{part} of {resource_of(self.classifier)}" if part > 1 else ""
        for unit, scored in self.track(
            self._do(units), f"search {self.classifier}{little}", len(units), note=best.describe
        ):
            for i, scores, converged in zip(
                unit.configurations, scored.scores, scored.converged, strict=True
            ):
                self.found[i, unit.fold, part] = scores, bool(converged)
                best.look(i)

    def _do(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Scored]]:
        """Yield what was done before, and then the rest as it is done."""
        left = []
        for unit in units:
            if is_done(unit, self.inputs):
                yield unit, self.do(unit)
            else:
                left.append(unit)
        for number, scored in self.run(self.do, left):
            yield left[number], scored

    def value(self, test: _Test, i: int, part: int = 1) -> float:
        """Return the selection metric of a configuration on one test."""
        key = i, test.fold, int(test.rows[0]), part
        if key not in self.values:
            scores, _ = self.found[i, test.fold, part]
            self.values[key] = _measure(
                self.metric, self.inputs.y[test.rows], scores[test.places], threshold=self.threshold
            )
        return self.values[key]

    def means(self, tests: Sequence[_Test], some: Sequence[int], *, part: int = 1) -> Floats:
        """Return the mean of the selection metric over tests of some configurations: (c,) float64."""
        return np.average([[self.value(test, i, part) for test in tests] for i in some], axis=1)

    def best(self, tests: Sequence[_Test], tried: Mapping[int, int]) -> int:
        """Return the best of the configurations that were tried on all rows, of equal ones the first."""
        last = sorted(i for i, part in tried.items() if part == 1)
        return last[int(self.means(tests, last).argmax())]

    def scores(self, tests: Sequence[_Test], i: int) -> Floats:
        """Return the scores of a configuration, (n,) float64, NaN for rows that are not tested."""
        scores = np.full(len(self.inputs.y), np.nan)
        for test in tests:
            scores[test.rows] = self.found[i, test.fold, 1][0][test.places]
        return scores

    def converged(self, tests: Sequence[_Test], i: int) -> bool:
        return all(self.found[i, test.fold, 1][1] for test in tests)

    def table(self, tests: Sequence[_Test], tried: Mapping[int, int]) -> pd.DataFrame:
        """Return every metric of every configuration on each test, of the last round that it was in."""
        lines = []
        for i, point in enumerate(self.points):
            for test in tests:
                scores, converged = self.found[i, test.fold, tried[i]]
                figures = evaluate(self.inputs.y[test.rows], scores[test.places], threshold=self.threshold)
                place = {"configuration": i, **point, "fold": test.fold}
                lines.append({**place, **figures, "converged": converged, "part": tried[i]})
        columns = ["configuration", *self.points[0], "fold", *SELECTION, "converged", "part"]
        return pd.DataFrame(lines, columns=columns)


class _Best:
    """The best configuration so far, of those that all tests have seen."""

    def __init__(self, fits: _Fits, tests: Sequence[_Test], part: int) -> None:
        self.fits, self.tests, self.part = fits, tests, part
        self.value, self.configuration = -np.inf, 0

    def look(self, i: int) -> None:
        """Look at a configuration of which another fit is done."""
        if self.tests and all((i, test.fold, self.part) in self.fits.found for test in self.tests):
            [value] = self.fits.means(self.tests, [i], part=self.part)
            if (value, -i) > (self.value, -self.configuration):  # of equal ones the first, as in the result
                self.value, self.configuration = float(value), i

    def describe(self) -> str:
        if self.value == -np.inf:
            return ""
        point = self.fits.points[self.configuration]
        words = ", ".join(f"{name} {value}" for name, value in point.items())
        return f"best {METRICS[self.fits.metric].title} {METRICS[self.fits.metric].show(self.value)}: {words}"


def _measure(metric: str, y: Labels, scores: Floats, *, threshold: float) -> float:
    """Compute one metric of `SELECTION`; most of them need no more than four counts."""
    if metric in DECISIONS:
        return decisions(y, (scores >= threshold).astype(np.int64))[metric]
    return evaluate(y, scores, threshold=threshold)[metric]


def _nested(
    fits: _Fits, outer: Sequence[_Test], within: Sequence[Sequence[_Test]], winners: Sequence[int]
) -> Nested:
    scores, inner = np.full(len(fits.inputs.y), np.nan), []
    for k, (tests, i) in enumerate(zip(within, winners, strict=True)):
        number = np.full(len(scores), -1, np.int64)
        for place, test in enumerate(tests):
            number[test.rows] = place
        scores[outer[k].rows] = fits.scores([outer[k]], i)[outer[k].rows]
        converged = fits.converged([*tests, outer[k]], i)
        inner.append(Inner(dict(fits.points[i]), converged, fits.scores(tests, i), number))
    return Nested(scores, tuple(inner))


def _shares(inputs: Inputs, *, memory: int | None, n_jobs: Workers, say: Callable[[str], None]) -> bool:
    """Whether SVCs share inner products: as the search was begun, as long as there is memory for it."""
    file = inputs.folder and inputs.folder / "share.json"
    before = read_json(file) if file else None
    share = _has_memory(inputs.folds, memory=memory, n_jobs=n_jobs, say=say)
    if share and before is False:
        say("SVC: goes on as it was begun, when memory was short: every fit computes its own inner products.")
        share = False
    if file and share != before:
        write_json(file, share)
    return share


def _has_memory(
    folds: Sequence[Fold], *, memory: int | None, n_jobs: Workers, say: Callable[[str], None]
) -> bool:
    """Whether the inner products that all SVCs share may be computed; say so where they would take too much memory."""
    if memory is None:
        memory = n_jobs.memory if isinstance(n_jobs, Cluster) else available_memory() // 2
    rows = len(rows_of(folds))
    if (needed := gram_bytes(rows)) <= memory:
        return True
    say(
        f"SVC: inner products of all {rows:,} faces would take {needed / 1e9:.1f} GB, more than the "
        f"{memory / 1e9:.1f} GB that they may: every fit computes its own, which takes many times as long."
    )
    return False
