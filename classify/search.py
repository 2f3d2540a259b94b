"""Grid search over folds that were made beforehand, keeping out-of-fold scores."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ParameterGrid
from threadpoolctl import threadpool_limits

from classify.metrics import METRICS, Floats, Labels, evaluate
from classify.models import CLASSIFIERS, Params
from classify.protocols import Fold
from extract.progress import Track, no_progress

Matrix = npt.NDArray[np.float32]


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
) -> SearchResult:
    """Fit every configuration on every fold's training part and score its test part.

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
        A name in `METRICS`; its mean over folds at the default threshold selects the configuration.
    seed : int
        Of every fit.
    n_jobs : int
        Processes; each fit is single-threaded.

    Raises
    ------
    RequestError
        An unknown classifier.
    """
    points = list(ParameterGrid(dict(grid)))
    tasks = [(i, k) for i in range(len(points)) for k in range(len(folds))]
    work = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_fit)(X, y, classifier=classifier, params=points[i], fold=folds[k], seed=seed, at=(i, k))
        for i, k in tasks
    )
    fits: Iterable[_Fit] = track(work, f"search {classifier}", len(tasks))
    scores = np.full((len(points), len(y)), np.nan)
    converged = np.empty((len(points), len(folds)), bool)
    for fit in fits:
        scores[fit.configuration, folds[fit.fold].test] = fit.scores
        converged[fit.configuration, fit.fold] = fit.converged
    table = _table(y, scores, converged, points=points, folds=folds, classifier=classifier)
    winner = int(table.groupby("configuration")[metric].mean().to_numpy().argmax())
    return SearchResult(dict(points[winner]), bool(converged[winner].all()), table, scores[winner])


def score_with_fold_models(
    X: Matrix,
    y: Labels,
    new: Matrix,
    *,
    classifier: str,
    params: Params,
    folds: Sequence[Fold],
    seed: int,
    n_jobs: int = 1,
    track: Track = no_progress,
    what: str = "external",
) -> Floats:
    """Score new rows (m, d) with the mean of the models fitted on each fold's training part: (m,) float64.

    These are the models whose out-of-fold scores chose the threshold; a refit on all rows would shift scores
    against it.
    """
    work = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(fit_and_score)(X, y, new, classifier=classifier, params=params, rows=fold.train, seed=seed)
        for fold in folds
    )
    fits: Iterable[tuple[Floats, bool]] = track(work, f"{what} {classifier}", len(folds))
    return np.asarray(np.mean([scores for scores, _ in fits], axis=0))


def _fit(
    X: Matrix, y: Labels, *, classifier: str, params: Params, fold: Fold, seed: int, at: tuple[int, int]
) -> _Fit:
    scores, converged = fit_and_score(
        X, y, X[fold.test], classifier=classifier, params=params, rows=fold.train, seed=seed
    )
    return _Fit(*at, scores, converged)


def fit_and_score(
    X: Matrix,
    y: Labels,
    new: Matrix,
    *,
    classifier: str,
    params: Params,
    rows: npt.NDArray[np.int64],
    seed: int,
) -> tuple[Floats, bool]:
    """Fit on some rows (k,) of X and score new ones (m, d): (m,) float64, and whether the fit converged."""
    kind = CLASSIFIERS[classifier]
    # One thread whatever the number of processes: sums in another order would change the last bits.
    with threadpool_limits(limits=1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        fitted = kind.build(params, seed).fit(X[rows], y[rows])
        scores = kind.score(fitted, new)
    others = [warning for warning in caught if not issubclass(warning.category, ConvergenceWarning)]
    for warning in others:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return scores, len(others) == len(caught)


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
    return pd.DataFrame(lines, columns=["configuration", *points[0], "fold", *METRICS, "converged"])
