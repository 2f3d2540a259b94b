"""Where to call a score fake: exact over all cut points, and never judged on the rows that chose it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from classify.metrics import Floats, Labels
from extract.registry import Registry


@dataclass(frozen=True)
class Cuts:
    """Every distinct way to cut a set of scores, from "all fake" to "none fake".

    Attributes
    ----------
    thresholds : (k,) float64, ascending
        A score at or above it is called fake. Between two scores it is their midpoint; the first is the lowest
        score, the last the next number above the highest.
    tp, fp : (k,) int64
        Fakes and reals called fake.
    fakes, reals : int
    """

    thresholds: Floats
    tp: npt.NDArray[np.int64]
    fp: npt.NDArray[np.int64]
    fakes: int
    reals: int

    @property
    def recall(self) -> Floats:
        return self.tp / self.fakes

    @property
    def fpr(self) -> Floats:
        return self.fp / self.reals

    @property
    def f1(self) -> Floats:
        """F1 = 2 TP / (2 TP + FP + FN) (van Rijsbergen 1979); the denominator is at least the fakes' number."""
        return 2 * self.tp / (self.tp + self.fp + self.fakes)


@dataclass(frozen=True)
class Threshold:
    """A decision threshold: a score at or above `value` is called fake. `rule` says what chose it."""

    rule: str
    value: float


# What a rule maximises; in whole numbers where it can be, so that equal cuts compare equal.
Objective = Callable[[Cuts], npt.NDArray[Any]]
RULES: Registry[Objective] = Registry("threshold rule")


@RULES.register("f1")
def f1(cuts: Cuts) -> Floats:
    """Maximum F1."""
    return cuts.f1


@RULES.register("youden")
def youden(cuts: Cuts) -> npt.NDArray[np.int64]:
    """Maximum of Youden's J = recall + specificity - 1 (Youden 1950), times fakes times reals."""
    return np.asarray(cuts.tp * cuts.reals - cuts.fp * cuts.fakes)


@RULES.register("eer")
def equal_error(cuts: Cuts) -> npt.NDArray[np.int64]:
    """Equal error rate: the smallest difference of miss rate and false-positive rate, times fakes times reals."""
    return np.asarray(-np.abs((cuts.fakes - cuts.tp) * cuts.reals - cuts.fp * cuts.fakes))


def cut_points(y: Labels, score: Floats) -> Cuts:
    """Enumerate all cut points of n scores in O(n log n).

    Parameters
    ----------
    y : (n,) int, 1 = fake
    score : (n,) float, higher = more likely fake

    Raises
    ------
    ValueError
        One class only, or scores that are not finite.
    """
    y, score = np.asarray(y), np.asarray(score, np.float64)
    if len(np.unique(y)) < 2 or not np.isfinite(score).all():
        raise ValueError("Expected finite scores of both classes; got one class or NaN. Check the scores.")
    values, inverse = np.unique(score, return_inverse=True)
    fakes = np.bincount(inverse, weights=y == 1, minlength=len(values))
    reals = np.bincount(inverse, weights=y == 0, minlength=len(values))
    return Cuts(
        thresholds=np.concatenate([values[:1], _midpoints(values), [np.nextafter(values[-1], np.inf)]]),
        tp=_at_or_above(fakes),
        fp=_at_or_above(reals),
        fakes=int(fakes.sum()),
        reals=int(reals.sum()),
    )


def tune_threshold(y: Labels, score: Floats, *, rule: str) -> Threshold:
    """Choose the cut point that is best by a rule; of equal ones the lowest, which misses the fewest fakes.

    Parameters and errors as `cut_points`; `rule` is a name in `RULES`.
    """
    cuts = cut_points(y, score)
    return Threshold(rule, float(cuts.thresholds[int(np.argmax(RULES[rule](cuts)))]))


def cross_fit(y: Labels, score: Floats, fold: npt.NDArray[np.int64], *, rule: str) -> Floats:
    """Choose each fold's threshold on the other folds' scores.

    Parameters
    ----------
    y : (n,) int, 1 = fake
    score : (n,) float
        Out-of-fold scores.
    fold : (n,) int
        The fold, from 0, that tests each row.

    Returns
    -------
    (k,) float64
        The threshold to apply to fold 0, 1, ...
    """
    others = [fold != number for number in range(int(fold.max()) + 1)]
    return np.array([tune_threshold(y[rows], score[rows], rule=rule).value for rows in others])


def _midpoints(values: Floats) -> Floats:
    """Midpoints of ascending numbers, moved to the upper one where rounding would reach the lower."""
    low, high = values[:-1], values[1:]
    middle = low / 2 + high / 2  # not (low + high) / 2, which can overflow
    return np.where(middle > low, middle, high)


def _at_or_above(counts: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    total = np.concatenate([np.cumsum(counts[::-1])[::-1], [0]])
    return total.astype(np.int64)
