"""How far the scores of an exported classifier may be from Python's, and which labels that leaves open.

Bounds on sums are Higham's (Accuracy and Stability of Numerical Algorithms, 2002, section 3.1): a sum of k products is
off by at most k u times the sum of their magnitudes, in any order, u = 2^-53 in float64. Where Python sums in float32,
its error on each row is measured against float64 instead: the bound would be some hundred times wider.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import expit

from benchmarks.onnx_trees import boosted_leaves, boosted_trees, leaf_values
from classify.fitting import FoldModels, Matrix, score
from classify.metrics import Floats

SINGLE, DOUBLE = 2.0**-24, 2.0**-53  # unit roundoff u


def single_precision_band(models: FoldModels, X: Matrix, *, threshold: float) -> Floats:
    """Bound how near to the threshold a row's score must be for its label to depend on rounding.

    The exported score is float32; it is compared with the threshold rounded to float32. Rounding keeps order, so it
    takes no score at or above the threshold below it, and lifts one to the threshold only from within one spacing of
    float32 numbers there. To that comes the error of the sums, `score_error`. Comparing with the float64 threshold
    instead can change labels within the same band only.

    Parameters
    ----------
    X : (n, d) float32

    Returns
    -------
    (n,) float64
        Where |score - threshold| is larger, the exported label is `FoldModels.score(X) >= threshold`.
    """
    return score_error(models, X) + float(np.spacing(np.float32(abs(threshold))))


def score_error(models: FoldModels, X: Matrix) -> Floats:
    """Bound |exported score before it is rounded to float32 - `FoldModels.score`| for rows (n, d): (n,) float64."""
    bound = BOUNDS[models.classifier]
    mean = np.mean([bound(model, X) for model in models.models], axis=0)
    return np.asarray(mean * (1 + 1e-6) + 1e-15)  # and the rounding of the means themselves


def _logistic_regression(model: Any, X: Matrix) -> Floats:
    """scikit-learn keeps the features' float32 here; what that costs is measured, by the same sum in float64."""
    weights, rows = model.coef_[0].astype(np.float64), X.astype(np.float64)
    intercept = float(model.intercept_[0])
    measured = np.abs(score(model, X, classifier="logistic_regression") - (rows @ weights + intercept))
    magnitude = np.abs(rows) @ np.abs(weights) + abs(intercept)
    return np.asarray(measured + 2 * (X.shape[1] + 2) * DOUBLE * magnitude)


def _svc(model: Any, X: Matrix) -> Floats:
    """Kernel arguments, the kernel's slope, and the sum over support vectors; twice, for Python's and the graph's."""
    coefficients = np.abs(model.dual_coef_[0]).sum()
    rows = np.linalg.norm(X.astype(np.float64), axis=1)
    argument, slope, value = KERNELS[model.kernel](
        model, rows, np.linalg.norm(model.support_vectors_, axis=1).max()
    )
    terms = X.shape[1] + 8  # products, and the few operations around them
    kernel = terms * argument * slope + (len(model.support_vectors_) + 8) * value
    return np.asarray(2 * DOUBLE * (coefficients * kernel + abs(model.intercept_[0])))


Bound = tuple[
    Floats, Floats | float, Floats | float
]  # magnitude of the argument, slope, magnitude of the value


def _linear(model: Any, rows: Floats, longest: float) -> Bound:
    return rows * longest, 1.0, rows * longest


def _rbf(model: Any, rows: Floats, longest: float) -> Bound:
    return model._gamma * (rows + longest) ** 2, 1.0, 1.0


def _sigmoid(model: Any, rows: Floats, longest: float) -> Bound:
    return model._gamma * rows * longest + abs(model.coef0), 1.0, 1.0


def _poly(model: Any, rows: Floats, longest: float) -> Bound:
    argument = model._gamma * rows * longest + abs(model.coef0)
    return argument, model.degree * argument ** (model.degree - 1), argument**model.degree


KERNELS: Mapping[str, Callable[[Any, Floats, float], Bound]] = {
    "linear": _linear,
    "rbf": _rbf,
    "sigmoid": _sigmoid,
    "poly": _poly,
}


def _random_forest(model: Any, X: Matrix) -> Floats:
    return np.full(len(X), 2 * (len(model.estimators_) + 4) * DOUBLE)  # sums of shares of at most 1


def _xgboost(model: Any, X: Matrix) -> Floats:
    """XGBoost adds its leaves in float32; what that costs is measured, by the same sum in float64."""
    trees, base = boosted_trees(model)
    leaves = leaf_values(trees, boosted_leaves(model, X))
    exact = expit(leaves.sum(axis=1) + base)
    magnitude = np.abs(leaves).sum(axis=1) + abs(base)
    measured = np.abs(score(model, X, classifier="xgboost") - exact)
    return np.asarray(
        measured + 2 * (len(trees) + 8) * DOUBLE * (magnitude / 4 + 1)
    )  # a slope of at most 1/4


BOUNDS: Mapping[str, Callable[[Any, Matrix], Floats]] = {
    "logistic_regression": _logistic_regression,
    "svc": _svc,
    "random_forest": _random_forest,
    "xgboost": _xgboost,
}
