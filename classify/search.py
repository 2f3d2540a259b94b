"""Grid search over folds that were made beforehand, keeping out-of-fold scores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import Parallel, delayed
from sklearn.model_selection import ParameterGrid

from classify.fitting import Matrix, fit, score
from classify.metrics import SELECTION, Floats, Labels, evaluate
from classify.models import CLASSIFIERS, Params
from classify.protocols import Fold
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
        A name in `SELECTION`; its mean over folds at the default threshold selects the configuration.
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
    done: Iterable[_Fit] = track(work, f"search {classifier}", len(tasks))
    scores = np.full((len(points), len(y)), np.nan)
    converged = np.empty((len(points), len(folds)), bool)
    for one in done:
        scores[one.configuration, folds[one.fold].test] = one.scores
        converged[one.configuration, one.fold] = one.converged
    table = _table(y, scores, converged, points=points, folds=folds, classifier=classifier)
    winner = int(table.groupby("configuration")[metric].mean().to_numpy().argmax())
    return SearchResult(dict(points[winner]), bool(converged[winner].all()), table, scores[winner])


def _fit(
    X: Matrix, y: Labels, *, classifier: str, params: Params, fold: Fold, seed: int, at: tuple[int, int]
) -> _Fit:
    model, converged = fit(X, y, classifier=classifier, params=params, rows=fold.train, seed=seed)
    return _Fit(*at, score(model, X[fold.test], classifier=classifier), converged)


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
