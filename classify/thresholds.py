"""Where to call a score fake: exact over all cut points, and never judged on the rows that chose it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classify.cuts import Cuts, cut_points
from classify.metrics import Floats, Labels
from classify.rules import Rule, parse_rule


@dataclass(frozen=True)
class Threshold:
    """A decision threshold: a score at or above `value` is called fake. `rule` says what chose it."""

    rule: str
    value: float


class Unreachable(ValueError):
    """No cut does what a rule demands; the message says what was reachable."""


def tune_threshold(
    y: Labels, score: Floats, *, rule: str, attack: npt.NDArray[np.str_] | None = None
) -> Threshold:
    """Choose the cut point that is best by a rule; of equal ones the lowest, which misses the fewest fakes.

    Parameters
    ----------
    y : (n,) int, 1 = fake
    score : (n,) float, higher = more likely fake
    rule : str
        As `parse_rule` reads it.
    attack : (n,) str, optional
        The attack of each fake, for rules about APCER; without it all fakes count as one attack.

    Raises
    ------
    Unreachable
        No cut but "all fake" or "none fake" does what the rule demands.
    ValueError
        One class only, or scores that are not finite.
    RequestError
        An unknown rule.
    """
    cuts, chosen = cut_points(y, score, attack=attack), parse_rule(rule)
    best = int(choose(cuts, chosen))
    if best < 0:
        raise Unreachable(
            f"Expected a threshold with {chosen.title} on these {cuts.reals + cuts.fakes} scores; "
            f"{chosen.reachable(cuts)}. Ask for less, or add clips."
        )
    return Threshold(rule, float(cuts.thresholds[best]))


def choose(cuts: Cuts, rule: Rule) -> npt.NDArray[np.int64]:
    """Return the number of the best cut: of the shape of the cuts but for its last.

    -1 where the rule allows none, and where a class has no weight.
    """
    worth = np.where((cuts.fakes > 0) & (cuts.reals > 0), rule.worth(cuts), np.nan)
    best = np.argmax(np.nan_to_num(worth, nan=-np.inf), axis=-1)
    reached = np.take_along_axis(worth, best[..., None], axis=-1)[..., 0] > -np.inf
    return np.where(reached, best, -1)


def cross_fit(
    y: Labels,
    score: Floats,
    fold: npt.NDArray[np.int64],
    *,
    rule: str,
    attack: npt.NDArray[np.str_] | None = None,
) -> Floats:
    """Choose each fold's threshold on the other folds' scores.

    Parameters
    ----------
    y : (n,) int, 1 = fake
    score : (n,) float
        Out-of-fold scores.
    fold : (n,) int
        The fold, from 0, that tests each row.
    rule, attack
        As for `tune_threshold`.

    Returns
    -------
    (k,) float64
        The threshold to apply to fold 0, 1, ...; NaN where the other folds' scores cannot do what the rule demands.
    """
    others = [fold != number for number in range(int(fold.max()) + 1)]
    return np.array([_tuned(y[o], score[o], rule, None if attack is None else attack[o]) for o in others])


def _tuned(y: Labels, score: Floats, rule: str, attack: npt.NDArray[np.str_] | None) -> float:
    try:
        return tune_threshold(y, score, rule=rule, attack=attack).value
    except Unreachable:
        return float("nan")
