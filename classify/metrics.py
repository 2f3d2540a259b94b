"""What a score is worth. Fake (1) is the positive class throughout."""

import numpy as np
import numpy.typing as npt
from sklearn import metrics

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

# Each takes labels (n,) and predictions (n,) of 0 and 1; undefined ratios count as 0.
DECISION_METRICS = {
    "recall": lambda y, p: metrics.recall_score(y, p, zero_division=0),
    "f1": lambda y, p: metrics.f1_score(y, p, zero_division=0),
    "accuracy": metrics.accuracy_score,
    "precision": lambda y, p: metrics.precision_score(y, p, zero_division=0),
}
METRICS = ("auc", *DECISION_METRICS)


def evaluate(y: Labels, score: Floats, *, threshold: float) -> dict[str, float]:
    """Compute every metric of one set of scores.

    Parameters
    ----------
    y : (n,) int, 1 = fake
    score : (n,) float, higher = more likely fake
    threshold : float
        A score at or above it is called fake.

    Returns
    -------
    dict
        ``auc`` (area under the ROC curve, does not depend on the threshold) and `DECISION_METRICS`; shares from
        0 to 1.

    Raises
    ------
    ValueError
        One class only, from scikit-learn.
    """
    if len(np.unique(y)) < 2:
        raise ValueError("Expected both classes for an AUC; got one. Add rows of the other class.")
    called = (score >= threshold).astype(int)
    auc = {"auc": float(metrics.roc_auc_score(y, score))}
    return auc | {name: float(metric(y, called)) for name, metric in DECISION_METRICS.items()}


def mean_and_deviation(values: npt.ArrayLike) -> tuple[float, float]:
    """Return mean and sample standard deviation (divisor k - 1) over k folds; NaN for the deviation of one.

    >>> mean_and_deviation([0.5, 1.0, 1.5])
    (1.0, 0.5)
    """
    folds = np.asarray(values, float)
    return float(folds.mean()), float(folds.std(ddof=1)) if len(folds) > 1 else float("nan")
