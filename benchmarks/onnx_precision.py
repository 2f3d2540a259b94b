"""How far single precision may take the scores of an exported classifier from Python's.

A sum of k terms is off by at most LAMBDA sqrt(k) u times the sum of their magnitudes, except with probability
2 exp(-LAMBDA^2 / 2), if roundings are independent and of mean zero: Higham & Mary, "A new approach to probabilistic
rounding error analysis", SIAM J. Sci. Comput. 41 (2019). The bound without an exception has k for LAMBDA sqrt(k).
"""

from typing import Any

import numpy as np

from classify.fitting import FoldModels, Matrix, score
from classify.metrics import Floats
from classify.models import fitted_as

ROUNDOFF = 2.0**-24  # u of float32
LAMBDA = 6.0  # an exception in 3e7 sums
FEW = 8  # roundings beside a sum's: of weights, of an intercept, in exp, tanh and powers
ROWS = 1024  # at a time: an SVC's bound holds rows x support vectors


def score_error(models: FoldModels, X: Matrix) -> Floats:
    """Bound |exported score - `FoldModels.score`| for rows (n, d) float32: (n,) float64."""
    bound = {"logistic_regression": _linear, "svc": _svc, "random_forest": _forest, "xgboost": _boosted}
    parts = [X[start : start + ROWS] for start in range(0, len(X), ROWS)]
    errors = [
        np.concatenate([bound[fitted_as(models.classifier)](m, rows.astype(np.float64)) for rows in parts])
        for m in models.models
    ]
    scores = [np.abs(score(m, X, classifier=models.classifier)) for m in models.models]
    smallest = float(np.finfo(np.float32).tiny)  # below it, single precision has but zeros
    return np.asarray(np.mean(errors, axis=0) + _error(len(scores), np.mean(scores, axis=0)) + smallest)


def _error(terms: int, magnitude: Any) -> Floats:
    return np.asarray(LAMBDA * np.sqrt(terms + FEW) * ROUNDOFF * magnitude)


def _linear(model: Any, rows: Floats) -> Floats:
    magnitude = np.abs(rows) @ np.abs(model.coef_[0]) + abs(model.intercept_[0])
    return 2 * _error(rows.shape[1], magnitude)  # twice: Python's sum is in single precision too


def _svc(model: Any, rows: Floats) -> Floats:
    """Add the kernel values' errors, independent of each other, to that of the sum over support vectors."""
    weights = np.abs(model.dual_coef_[0])
    argument, slope, value = _kernel(model, rows)
    of_kernel = _error(rows.shape[1], np.sqrt(np.square(argument * slope) @ np.square(weights)))
    return of_kernel + _error(len(weights), np.abs(value) @ weights) + _error(0, abs(model.intercept_[0]))


def _kernel(model: Any, rows: Floats) -> tuple[Floats, Floats, Floats]:
    """Return (n, support vectors): the sum of magnitudes in the kernel's argument, its |slope| and its value."""
    vectors, gamma = model.support_vectors_, model._gamma
    products, magnitude = rows @ vectors.T, np.abs(rows) @ np.abs(vectors).T
    if model.kernel == "linear":
        return magnitude, np.ones_like(products), products
    if model.kernel == "rbf":
        lengths = np.square(rows).sum(axis=1)[:, None] + np.square(vectors).sum(axis=1)
        argument = gamma * (lengths - 2 * products).clip(min=0)
        return argument, np.exp(-argument), np.exp(-argument)
    argument, magnitude = gamma * products + model.coef0, gamma * magnitude + abs(model.coef0)
    if model.kernel == "sigmoid":
        return magnitude, 1 - np.tanh(argument) ** 2, np.tanh(argument)
    return magnitude, model.degree * np.abs(argument) ** (model.degree - 1), argument**model.degree


def _forest(model: Any, rows: Floats) -> Floats:
    return _error(len(model.estimators_), model.predict_proba(rows)[:, 1])  # shares: no leaf is below 0


def _boosted(model: Any, rows: Floats) -> Floats:
    """Bound the sum of log odds by each tree's largest leaf; the sigmoid has a slope of at most 1/4."""
    nodes = model.get_booster().trees_to_dataframe()
    largest = nodes["Gain"].abs().where(nodes["Feature"] == "Leaf").groupby(nodes["Tree"]).max()
    start = np.abs(model.predict(rows, output_margin=True)) + largest.sum()  # margin = start + leaves
    return 2 * (_error(len(largest), start + largest.sum()) / 4 + _error(0, 1.0))  # twice: as in `_linear`
