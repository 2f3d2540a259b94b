"""Grid search over folds that were made beforehand, keeping out-of-fold scores."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.model_selection import ParameterGrid

from classify.fitting import Matrix, Scored
from classify.gram import Gram, compute_gram, gram_bytes
from classify.memory import available_memory
from classify.metrics import SELECTION, Floats, Labels, evaluate
from classify.models import CLASSIFIERS
from classify.prefixes import BINNED
from classify.protocols import Fold
from classify.units import Unit, cut, new_data, rows_of, run_unit
from extract.progress import Track, no_progress


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
        threshold, ``converged``.
    scores : (n,) float64
        Out-of-fold scores of the best configuration; NaN for rows that no fold tests.
    converged : bool
        Whether all its fits converged.
    """

    best: dict[str, Any]
    converged: bool
    configurations: pd.DataFrame
    scores: Floats


@dataclass(frozen=True)
class _Fit:
    configuration: int
    fold: int
    scores: Floats
    converged: bool


def search(
    X: Matrix,
    y: Labels,
    *,
    classifier: str,
    grid: Mapping[str, list[Any]],
    folds: Sequence[Fold],
    metric: str,
    seed: int,
    n_jobs: int = 1,
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
    n_jobs : int
        Processes, or of SVCs that share inner products threads; each fit is single-threaded.
    memory : int, optional
        Bytes that the inner products of all rows, (n, n) float64, may take, which SVCs share; a search takes less than
        twice that. Half of what is available where it is left out.
    say : callable
        Takes a line for the user, where that memory is not enough.

    Raises
    ------
    RequestError
        An unknown classifier.
    """
    points = list(ParameterGrid(dict(grid)))
    gram = (
        _share_gram(X, folds, memory=memory, threads=effective_n_jobs(n_jobs), say=say)
        if classifier == "svc"
        else None
    )
    units = cut(
        points,
        classifier=classifier,
        folds=len(folds),
        seed=seed,
        data=new_data(),
        share=gram is not None or classifier != "svc",
    )
    work = _fits(X, y, units, folds, gram=gram, n_jobs=n_jobs)
    done: Iterable[_Fit] = track(work, f"search {classifier}", len(points) * len(folds))
    scores = np.full((len(points), len(y)), np.nan)
    converged = np.empty((len(points), len(folds)), bool)
    for one in done:
        scores[one.configuration, folds[one.fold].test] = one.scores
        converged[one.configuration, one.fold] = one.converged
    table = _table(y, scores, converged, points=points, folds=folds, classifier=classifier)
    winner = int(table.groupby("configuration")[metric].mean().to_numpy().argmax())
    return SearchResult(dict(points[winner]), bool(converged[winner].all()), table, scores[winner])


def _share_gram(
    X: Matrix, folds: Sequence[Fold], *, memory: int | None, threads: int, say: Callable[[str], None]
) -> Gram | None:
    """Compute the inner products that all SVCs share; None, and say so, where they would take too much memory."""
    rows, most = rows_of(folds), available_memory() // 2 if memory is None else memory
    if (needed := gram_bytes(len(rows))) > most:
        say(
            f"SVC: inner products of all {len(rows):,} faces would take {needed / 1e9:.1f} GB, more than the "
            f"{most / 1e9:.1f} GB that they may: every fit computes its own, which takes many times as long."
        )
        return None
    return compute_gram(X, rows, threads=threads)


def _fits(
    X: Matrix, y: Labels, units: Sequence[Unit], folds: Sequence[Fold], *, gram: Gram | None, n_jobs: int
) -> Iterator[_Fit]:
    """Do units, in processes or, where they share inner products, one by one in threads; yield every fit."""
    if gram is not None:
        done = (
            (unit, run_unit(unit, X, y, folds[unit.fold], gram=gram, threads=effective_n_jobs(n_jobs)))
            for unit in units
        )
    else:
        done = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
            delayed(_run)(unit, X, y, folds[unit.fold]) for unit in units
        )
    try:
        for unit, found in done:
            for i, scores, converged in zip(unit.configurations, found.scores, found.converged, strict=True):
                yield _Fit(i, unit.fold, scores, bool(converged))
    finally:
        BINNED.forget()


def _run(unit: Unit, X: Matrix, y: Labels, fold: Fold) -> tuple[Unit, Scored]:
    return unit, run_unit(unit, X, y, fold)


def _table(
    y: Labels,
    scores: Floats,
    converged: npt.NDArray[np.bool_],
    *,
    points: list[dict[str, Any]],
    folds: Sequence[Fold],
    classifier: str,
) -> pd.DataFrame:
    threshold = CLASSIFIERS[classifier].default_threshold
    lines = [
        {"configuration": i, **point, "fold": k}
        | evaluate(y[fold.test], scores[i, fold.test], threshold=threshold)
        | {"converged": bool(converged[i, k])}
        for i, point in enumerate(points)
        for k, fold in enumerate(folds)
    ]
    return pd.DataFrame(lines, columns=["configuration", *points[0], "fold", *SELECTION, "converged"])
