"""Fit one classifier on some rows, or one on each fold's training part, and score others with them."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from classify.device import processes
from classify.metrics import Floats, Labels
from classify.models import CLASSIFIERS, Params
from classify.protocols import Fold
from extract.progress import Track, no_progress

Matrix = npt.NDArray[np.float32]

SCORED = 65_536  # rows scored at a time: some classifiers copy what they score as float64


@dataclass(frozen=True)
class FoldModels:
    """The models fitted on each fold's training part.

    New rows are scored by their mean: the thresholds were chosen on these models' scores, and a refit on all rows
    would shift scores against them.

    Attributes
    ----------
    classifier : str
        A name in `CLASSIFIERS`.
    models : tuple of fitted estimators, one a fold
    """

    classifier: str
    models: tuple[Any, ...]

    def score(self, X: Matrix) -> Floats:
        """Score rows (m, d) with the mean of all models: (m,) float64."""
        with threadpool_limits(limits=1):  # once for all: it takes longer than scoring a few rows
            return np.asarray(np.mean([_score(model, X, self.classifier) for model in self.models], axis=0))

    def score_own(self, X: Matrix, fold: npt.NDArray[np.int64]) -> Floats:
        """Score rows (m, d) each with the model of the fold (m,) that tests it: (m,) float64."""
        scores = np.full(len(X), np.nan)
        for number, model in enumerate(self.models):
            mine = fold == number
            if mine.any():
                scores[mine] = score(model, X[mine], classifier=self.classifier)
        return scores


@dataclass(frozen=True)
class Scored:
    """Scores (c, n_test) float64 of c configurations on a fold's test rows; whether each converged, (c,) bool."""

    scores: Floats
    converged: npt.NDArray[np.bool_]


def fit_fold_models(
    X: Matrix,
    y: Labels,
    *,
    classifier: str,
    params: Params,
    folds: Sequence[Fold],
    seed: int,
    n_jobs: int = 1,
    track: Track = no_progress,
) -> FoldModels:
    """Fit the models whose out-of-fold scores a search reported, again.

    The same bits; of SVCs, which a search fits on a matrix that all share, the same scores to about 1e-9.

    Parameters as for `classify.search.search`; `params` is one point of the grid.
    """
    work = Parallel(n_jobs=processes(classifier, n_jobs), return_as="generator")(
        delayed(fit)(X, y, classifier=classifier, params=params, rows=fold.train, seed=seed) for fold in folds
    )
    done: Iterable[tuple[Any, bool]] = track(work, f"fold models {classifier}", len(folds))
    return FoldModels(classifier, tuple(model for model, _ in done))


def fit(
    X: Matrix, y: Labels, *, classifier: str, params: Params, rows: npt.NDArray[np.int64], seed: int
) -> tuple[Any, bool]:
    """Fit on some rows (k,) of X: the estimator, and whether the fit converged."""
    # One thread whatever the number of processes: sums in another order would change the last bits.
    with threadpool_limits(limits=1):
        return _fit(X, y, classifier=classifier, params=params, rows=rows, seed=seed)


def _fit(
    X: Matrix, y: Labels, *, classifier: str, params: Params, rows: npt.NDArray[np.int64], seed: int
) -> tuple[Any, bool]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        fitted = CLASSIFIERS[classifier].build(params, seed).fit(X[rows], y[rows])
    others = [warning for warning in caught if not issubclass(warning.category, ConvergenceWarning)]
    for warning in others:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return fitted, len(others) == len(caught)


def score(model: Any, X: Matrix, *, classifier: str) -> Floats:
    """Score rows (m, d) with a fitted estimator: (m,) float64, higher = more likely fake."""
    with threadpool_limits(limits=1):
        return _score(model, X, classifier)


def score_each(
    X: Matrix, y: Labels, points: Sequence[Params], *, classifier: str, fold: Fold, seed: int
) -> Scored:
    """Fit and score each configuration by itself."""
    scores, converged = np.empty((len(points), len(fold.test))), np.empty(len(points), bool)
    with threadpool_limits(limits=1):
        for i, point in enumerate(points):
            model, converged[i] = _fit(X, y, classifier=classifier, params=point, rows=fold.train, seed=seed)
            scores[i] = _score(model, X[fold.test], classifier)
    return Scored(scores, converged)


def _score(model: Any, X: Matrix, classifier: str) -> Floats:
    blocks = [X[start : start + SCORED] for start in range(0, len(X) or 1, SCORED)]  # views
    return np.concatenate([CLASSIFIERS[classifier].score(model, block) for block in blocks])
