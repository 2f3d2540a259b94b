"""How sure a number is: intervals from replicates, and differences that are more than chance."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtr, stdtrit  # scipy.stats checks its arguments for longer

from classify.metrics import Floats

METHODS = ("percentile", "bca")
FEWEST_BEYOND = 10  # replicates on the far side of 0 that still say how rare they are


@dataclass(frozen=True)
class Difference:
    """First minus second of two estimates on the same rows, its interval, and its two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


def interval(
    estimate: float,
    replicates: Floats,
    *,
    people: int | None = None,
    method: str = "percentile",
    jackknife: Floats | None = None,
    level: float = 0.95,
) -> tuple[float, float]:
    """Compute a confidence interval from bootstrap replicates.

    Percentiles of the replicates are too narrow by the factor of a standard deviation with divisor n instead of
    n - 1, and of normal instead of t quantiles; `people` widens them by both (the expanded percentile interval:
    Hesterberg 2015, The American Statistician 69, 371-386). BCa also corrects the percentiles for bias and
    skewness (Efron 1987, JASA 82; DiCiccio and Efron 1996, Statistical Science 11). `benchmarks.coverage` measures
    what each holds: widened percentiles of 95 % intervals 92 % or more from a dozen people on, without the work
    of BCa.

    Parameters
    ----------
    estimate : float
        On the rows as they are.
    replicates : (B,) float
        NaN where undefined; such are left out.
    people : int, optional
        How many people the estimate rests on (`Resampling.fewest`); None: no widening.
    method : str
        ``percentile`` or ``bca``.
    jackknife : (P,) float, for ``bca``
        The estimate under each row of `Resampling.jackknife`.
    level : float
        Intended coverage.

    Returns
    -------
    (float, float)
        The estimate twice where all replicates equal it: the rows then show no variation, which is not the same
        as certainty. NaN where nothing can be said: an undefined estimate, fewer than two people, more than
        1 - `level` of the replicates undefined, and under BCa all replicates on one side of the estimate.

    Raises
    ------
    ValueError
        Another method, or ``bca`` without jackknife values.

    >>> interval(0.0, np.linspace(-1, 1, 2001))
    (-0.95, 0.95)
    """
    if method not in METHODS or (method == "bca" and jackknife is None):
        raise ValueError(
            f"Expected a method in {METHODS}, bca with jackknife values; got {method!r}. Choose one or add them."
        )
    known = replicates[np.isfinite(replicates)]
    few = len(known) < max(level * len(replicates), 1) or (people is not None and people < 2)
    if few or not np.isfinite(estimate):
        return float("nan"), float("nan")
    if (known == estimate).all():
        return float(estimate), float(estimate)
    ends = _widened(np.array([-1.0, 1.0]) * ndtri((1 + level) / 2), people)
    if jackknife is not None and method == "bca":
        ends = _corrected(ends, estimate, replicates=known, jackknife=jackknife)
    if not np.isfinite(ends).all():
        return float("nan"), float("nan")
    low, high = np.quantile(known, ndtr(ends))
    return float(low), float(high)


def paired_difference(
    first: tuple[float, Floats],
    second: tuple[float, Floats],
    *,
    people: int | None = None,
    level: float = 0.95,
) -> Difference:
    """Compare two models scored on the same rows, replicate by replicate.

    The p-value is the level at which the interval of the difference just reaches 0, from the replicates d* of
    the difference: the smaller of (1 + #{d* <= 0}) / (B + 1) and (1 + #{d* >= 0}) / (B + 1), doubled (Efron and
    Tibshirani 1993, section 15.4; one is added so that no p-value is 0: Davison and Hinkley 1997, section 4.2),
    and, with `people`, taken back through the widening of `interval`. Fewer than ten replicates beyond 0 cannot tell
    how rare they are; the tail is then that of a normal distribution with the replicates' standard deviation, so that
    a correction over many models can still find what is plain.

    Parameters
    ----------
    first, second : (float, (B,) float)
        Estimate and replicates of each model, under the same weights.
    people, level
        As `interval`.

    Returns
    -------
    Difference
        Identical models: 0, 0, 0 and p = 1. NaN where `interval` gives NaN.

    >>> same = (0.7, np.array([0.6, 0.8]))
    >>> paired_difference(same, same)
    Difference(value=0.0, low=0.0, high=0.0, p=1.0)
    """
    value, replicates = first[0] - second[0], first[1] - second[1]
    low, high = interval(value, replicates, people=people, level=level)
    p = 2 * _narrowed_tail(_tail(value, replicates), people) if np.isfinite(low) else float("nan")
    return Difference(float(value), low, high, float(p))


def _tail(value: float, replicates: Floats) -> float:
    """Return how rarely a replicate of a difference lies beyond 0, seen from its value."""
    known = replicates[np.isfinite(replicates)]
    beyond = min((known <= 0).sum(), (known >= 0).sum())
    tail = min(0.5, float(1 + beyond) / (1 + len(known)))
    if beyond < FEWEST_BEYOND and known.std() > 0:
        return min(tail, float(ndtr(-abs(value) / known.std())))
    return tail


def holm(p: npt.ArrayLike) -> Floats:
    """Adjust p-values for the number of comparisons (Holm 1979, Scandinavian Journal of Statistics 6).

    The k-th smallest of m is multiplied by m - k + 1; none falls below a smaller one, none exceeds 1.

    Parameters
    ----------
    p : (m,) float
        NaN stays NaN and does not count as a comparison.

    Returns
    -------
    (m,) float64

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    adjusted = np.full(len(values), np.nan)
    order = np.argsort(values, kind="stable")[: int(np.isfinite(values).sum())]  # NaN is sorted last
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def corrected_t(differences: npt.ArrayLike, *, test_over_train: float | None = None) -> float:
    """Test k fold-wise differences of two models by the corrected resampled t-test.

    t = mean / sqrt((1 / k + n_test / n_train) variance), with k - 1 degrees of freedom: training parts overlap,
    so the differences of folds vary less than those of fresh data would (Nadeau and Bengio 2003, Machine
    Learning 52, 239-281).

    Parameters
    ----------
    differences : (k,) float
    test_over_train : float, optional
        n_test / n_train, by default 1 / (k - 1) as in one division into k folds.

    Returns
    -------
    float
        The two-sided p-value: 1 where all differences are 0, 0 where all are another number; NaN where one is
        undefined or there are fewer than two.
    """
    values = np.asarray(differences, np.float64)
    k = len(values)
    if k < 2 or not np.isfinite(values).all():
        return float("nan")
    share = 1 / (k - 1) if test_over_train is None else test_over_train
    error = np.sqrt((1 / k + share) * values.var(ddof=1))
    if error == 0:
        return float(values[0] == 0)
    return float(2 * stdtr(k - 1, -abs(values.mean()) / error))


def _widened(z: Floats, people: int | None) -> Floats:
    """Replace normal by t quantiles with people - 1 degrees of freedom, and divisor n by n - 1."""
    if people is None:
        return z
    return np.asarray(np.sqrt(people / (people - 1)) * stdtrit(people - 1, ndtr(z)))


def _narrowed_tail(tail: float, people: int | None) -> float:
    """Undo `_widened` for the share of one tail."""
    if people is None:
        return tail
    return float(stdtr(people - 1, ndtri(tail) / np.sqrt(people / (people - 1))))


def _corrected(z: Floats, estimate: float, *, replicates: Floats, jackknife: Floats) -> Floats:
    """Correct normal quantiles for median bias z0 and acceleration a (Efron 1987): z0 + (z0+z) / (1 - a(z0+z))."""
    below = np.mean(replicates < estimate) + np.mean(replicates == estimate) / 2
    z0 = ndtri(below)
    deviation = np.nanmean(jackknife) - jackknife
    spread = np.nansum(deviation**2)
    if not np.isfinite(z0) or spread == 0:
        return np.full_like(z, np.nan)
    acceleration = np.nansum(deviation**3) / (6 * spread**1.5)
    return np.asarray(z0 + (z0 + z) / (1 - acceleration * (z0 + z)))
