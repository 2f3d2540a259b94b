"""Every way to cut a set of scores in two, with what each of them gets right and wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from classify.groups import Ints
from classify.metrics import Floats, Labels

Counts = npt.NDArray[Any]  # whole numbers, or sums of weights


@dataclass(frozen=True)
class Cuts:
    """Every distinct way to cut a set of scores, from "all fake" to "none fake".

    With weights for b replicates the counts are weighted sums, one line a replicate; without, they are of shape (k,)
    and the totals are numbers.

    Attributes
    ----------
    thresholds : (k,) float64, ascending
        A score at or above it is called fake. Between two scores it is their midpoint; the first is the lowest
        score, the last the next number above the highest.
    tp, fp : (k,) int64 or (b, k) float64
        Fakes and reals called fake.
    fakes, reals : int or (b, 1) float64
    by_attack : mapping of attack to (tp, fakes)
        The same for the fakes of each attack.
    """

    thresholds: Floats
    tp: Counts
    fp: Counts
    fakes: Any
    reals: Any
    by_attack: Mapping[str, tuple[Counts, Any]]

    @property
    def recall(self) -> Floats:
        """TP / (TP + FN), also TPR."""
        return _ratio(self.tp, self.fakes)

    @property
    def fpr(self) -> Floats:
        """FP / (FP + TN), also BPCER."""
        return _ratio(self.fp, self.reals)

    @property
    def precision(self) -> Floats:
        """TP / (TP + FP); 0 where nothing is called fake."""
        return np.where(self.tp + self.fp > 0, self.tp / np.maximum(self.tp + self.fp, 1e-300), 0.0)

    @property
    def f1(self) -> Floats:
        """F1 = 2 TP / (2 TP + FP + FN) (van Rijsbergen 1979); the denominator is at least the fakes' number."""
        return _ratio(2 * self.tp, self.tp + self.fp + self.fakes)

    @property
    def apcer(self) -> Floats:
        """The highest share of missed fakes of any attack, as ISO/IEC 30107-3 has it."""
        # Not 1 - TP / (TP + FN): 1 - 0.95 is above 0.05.
        missed = [_ratio(fakes - tp, fakes) for tp, fakes in self.by_attack.values()]
        # An attack without weight in a replicate has no error rate there.
        return np.asarray(np.fmax.reduce(missed))


def cut_points(
    y: Labels,
    score: Floats,
    *,
    attack: npt.NDArray[np.str_] | None = None,
    weights: Floats | None = None,
) -> Cuts:
    """Enumerate all cut points of n scores in O(n log n).

    Parameters
    ----------
    y : (n,) int, 1 = fake
    score : (n,) float, higher = more likely fake
    attack : (n,) str, optional
        The attack of each fake; without it all fakes count as one attack.
    weights : (b, n) float, optional
        Of the rows, for b replicates.

    Raises
    ------
    ValueError
        One class only, or scores that are not finite.
    """
    y, score = np.asarray(y), np.asarray(score, np.float64)
    if len(np.unique(y)) < 2 or not np.isfinite(score).all():
        raise ValueError("Expected finite scores of both classes; got one class or NaN. Check the scores.")
    order = np.argsort(score, kind="stable")
    values, starts = np.unique(score[order], return_index=True)
    kinds = np.where(y == 1, "" if attack is None else attack, "")[order]

    def above(which: npt.NDArray[np.bool_]) -> tuple[Counts, Any]:
        return _at_or_above(which, order, starts, weights)

    fake = y[order] == 1
    (tp, fakes), (fp, reals) = above(fake), above(~fake)
    names = [str(name) for name in np.unique(kinds[fake])]
    by_attack = {name: above(fake & (kinds == name)) if len(names) > 1 else (tp, fakes) for name in names}
    thresholds = np.concatenate([values[:1], _midpoints(values), [np.nextafter(values[-1], np.inf)]])
    return Cuts(thresholds, tp, fp, fakes, reals, by_attack)


def _midpoints(values: Floats) -> Floats:
    """Midpoints of ascending numbers, moved to the upper one where rounding would reach the lower."""
    low, high = values[:-1], values[1:]
    middle = low / 2 + high / 2  # not (low + high) / 2, which can overflow
    return np.where(middle > low, middle, high)


def _at_or_above(
    which: npt.NDArray[np.bool_], order: Ints, starts: Ints, weights: Floats | None
) -> tuple[Counts, Any]:
    """Sum the weights of some rows from each start, in ascending order of scores, to the end; and of all of them."""
    places = np.flatnonzero(which)
    first = np.searchsorted(places, np.append(starts, len(which)))  # of these rows, at or above each cut
    if weights is None:
        return len(places) - first, len(places)
    # Summed from the top, so that "none fake" is exactly zero.
    sums = np.cumsum(weights[:, order[places[::-1]]], axis=1)
    counts = np.concatenate([np.zeros((len(weights), 1)), sums], axis=1)[:, len(places) - first]
    return counts, counts[:, :1]


def _ratio(part: Counts, whole: Any) -> Floats:
    """Divide, NaN where the whole is nothing: a class or an attack without weight."""
    whole = np.asarray(whole, np.float64)
    return np.asarray(part / np.where(whole > 0, whole, np.nan), np.float64)
