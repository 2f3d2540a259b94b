"""What a score is worth. Fake (1) is the positive class throughout; scikit-learn's functions wherever it has one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn import metrics

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    Attributes
    ----------
    title : str
        In tables.
    better : {1, -1}
        1 where higher is better, -1 where lower is.
    percent : bool
        Whether tables show it in percent.
    """

    title: str
    better: int = 1
    percent: bool = True

    def show(self, value: float, *, digits: int = 2) -> str:
        """Write a value as tables do, a dash where it is not known.

        >>> Metric("AUC").show(0.8125), Metric("MCC", percent=False).show(0.5)
        ('81.25', '0.500')
        """
        if np.isnan(value):
            return "-"
        return f"{100 * value:.{digits}f}" if self.percent else f"{value:.{digits + 1}f}"


# Depend on the order of the scores only.
RANKING = {"auc": Metric("AUC"), "average_precision": Metric("Average precision")}
# Depend on the threshold.
DECISIONS = {
    "f1": Metric("F1"),
    "precision": Metric("Precision"),
    "recall": Metric("Recall"),
    "specificity": Metric("Specificity"),
    "accuracy": Metric("Accuracy"),
    "balanced_accuracy": Metric("Balanced accuracy"),
    "mcc": Metric("MCC", percent=False),
}
# What may select a configuration.
SELECTION = RANKING | DECISIONS
# In the words of ISO/IEC 30107-3: of the worst attack, and of genuine users.
PRESENTATION = {"apcer": Metric("APCER, worst attack", -1), "bpcer": Metric("BPCER", -1)}
# At thresholds that a rate fixes. The number in a name is the rate in percent.
OPERATING = {
    "eer": Metric("EER", -1),
    "tpr_at_fpr_10": Metric("TPR at FPR 10 %"),
    "tpr_at_fpr_1": Metric("TPR at FPR 1 %"),
    "tpr_at_fpr_0.1": Metric("TPR at FPR 0.1 %"),
    "bpcer_at_apcer_10": Metric("BPCER at APCER 10 %", -1),
    "bpcer_at_apcer_5": Metric("BPCER at APCER 5 %", -1),
    "bpcer_at_apcer_1": Metric("BPCER at APCER 1 %", -1),
}
# Of scores that read as probabilities.
PROBABILITY = {
    "log_loss": Metric("Log loss", -1, percent=False),
    "brier": Metric("Brier score", -1, percent=False),
    "ece": Metric("Calibration error", -1),
}
METRICS: Mapping[str, Metric] = SELECTION | PRESENTATION | OPERATING | PROBABILITY
BINS = 10  # of the calibration error


def evaluate(y: Labels, score: Floats, *, threshold: float) -> dict[str, float]:
    """Compute every metric of `SELECTION` of one set of scores.

    Parameters
    ----------
    y : (n,) int, 1 = fake
    score : (n,) float, higher = more likely fake
    threshold : float
        A score at or above it is called fake; NaN (no threshold could be chosen) leaves what depends on it NaN.

    Returns
    -------
    dict
        Shares from 0 to 1; MCC from -1 to 1. Undefined ratios count as 0.

    Raises
    ------
    ValueError
        One class only.
    """
    return rank(y, score) | call(y, score, threshold=threshold)


def rank(y: Labels, score: Floats) -> dict[str, float]:
    """Compute every metric of `RANKING`; parameters and errors as for `evaluate`."""
    if len(np.unique(y)) < 2:
        raise ValueError("Expected both classes for an AUC; got one. Add rows of the other class.")
    return {
        "auc": float(metrics.roc_auc_score(y, score)),
        "average_precision": float(metrics.average_precision_score(y, score)),
    }


def call(y: Labels, score: Floats, *, threshold: float) -> dict[str, float]:
    """Compute every metric of `DECISIONS`; parameters as for `evaluate`."""
    if np.isnan(threshold):
        return dict.fromkeys(DECISIONS, np.nan)
    return decisions(y, (score >= threshold).astype(int))


def decisions(y: Labels, called: npt.NDArray[np.int64]) -> dict[str, float]:
    """Compute every metric of `DECISIONS` of labels and calls (n,) of 0 and 1.

    As scikit-learn's functions of these names define them, from four counts: a search asks for them thousands of times.
    """
    fake, called_fake = np.asarray(y) == 1, np.asarray(called) == 1
    tp, positives, calls = int((fake & called_fake).sum()), int(fake.sum()), int(called_fake.sum())
    fp, fn = calls - tp, positives - tp
    tn = len(fake) - positives - fp
    recall, specificity = _share(tp, positives), _share(tn, tn + fp)
    sides = [side for side, count in ((recall, positives), (specificity, tn + fp)) if count]
    product = positives * calls * (tn + fp) * (tn + fn)  # whole numbers of any size
    return {
        "f1": _share(2 * tp, positives + calls),
        "precision": _share(tp, calls),
        "recall": recall,
        "specificity": specificity,
        "accuracy": _share(tp + tn, len(fake)),
        "balanced_accuracy": sum(sides) / len(sides) if sides else 0.0,
        "mcc": (tp * tn - fp * fn) / math.sqrt(product) if product else 0.0,
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def baselines(y: Labels) -> dict[str, dict[str, float]]:
    """Compute what needs no model: calling everything fake, everything real, or fakes at random at their base rate.

    Parameters
    ----------
    y : (n,) int, 1 = fake

    Returns
    -------
    dict of dict
        Baseline -> metric -> value, for every metric of `SELECTION` and `PROBABILITY`; in expectation where random. As
        probabilities the first two are certain, which log loss punishes without end.
    """
    y = np.asarray(y)
    share = float(np.mean(y))
    ranking = {"auc": 0.5, "average_precision": share}
    certain = {
        name: ranking
        | decisions(y, np.full(len(y), call))
        | {"log_loss": np.inf, "brier": abs(call - share), "ece": abs(call - share)}
        for name, call in (("call everything fake", 1), ("call everything real", 0))
    }
    guess = {
        **ranking,
        **dict.fromkeys(("f1", "precision", "recall"), share),
        **{"specificity": 1 - share, "accuracy": share**2 + (1 - share) ** 2},
        **{"balanced_accuracy": 0.5, "mcc": 0.0, "brier": share * (1 - share), "ece": 0.0},
        "log_loss": float(-share * np.log(share) - (1 - share) * np.log(1 - share)),
    }
    return {**certain, "guess at the base rate": guess}


def mean_and_deviation(values: npt.ArrayLike) -> tuple[float, float]:
    """Return mean and sample standard deviation (divisor k - 1) over k folds; NaN for the deviation of one.

    >>> mean_and_deviation([0.5, 1.0, 1.5])
    (1.0, 0.5)
    """
    folds = np.asarray(values, float)
    return float(folds.mean()), float(folds.std(ddof=1)) if len(folds) > 1 else float("nan")
