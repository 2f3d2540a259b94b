"""What a threshold is chosen for: the best of a figure, the lowest cost, or a demand that must be met."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from classify.cuts import Counts, Cuts
from classify.metrics import Floats
from extract.errors import RequestError, unknown
from extract.registry import Registry

# What a rule maximises, over the last axis; in whole numbers where it can be, so that equal cuts compare equal.
Worth = Callable[[Cuts], Counts]
DEMANDS = ("recall>=", "fpr<=", "apcer<=")
COST = "cost(missed=..., rejected=..., prior=...)"


@dataclass(frozen=True)
class Rule:
    """A threshold rule.

    Attributes
    ----------
    text : str
        As it is written in a suite.
    title : str
        In tables.
    worth : callable
        Takes `Cuts`, returns what to maximise at each, minus infinity where the rule forbids a cut.
    reachable : callable
        Takes the `Cuts` of a rule that forbids all of them, returns in words what comes nearest.
    """

    text: str
    title: str
    worth: Worth
    reachable: Callable[[Cuts], str] = lambda cuts: "none is possible"


@dataclass(frozen=True)
class Goal:
    """A figure to maximise, with its title in tables."""

    title: str
    worth: Worth


RULES: Registry[Goal] = Registry("threshold rule")


def _youden(cuts: Cuts) -> Counts:
    return np.asarray(cuts.tp * cuts.reals - cuts.fp * cuts.fakes)


def _squared_mcc(cuts: Cuts) -> Counts:
    called = cuts.tp + cuts.fp
    product = np.asarray(called * (cuts.fakes + cuts.reals - called), np.float64)
    gain = np.asarray(_youden(cuts), np.float64)
    return gain * np.abs(gain) / np.where(product > 0, product, 1)


def _equal_error(cuts: Cuts) -> Counts:
    return np.asarray(-np.abs((cuts.fakes - cuts.tp) * cuts.reals - cuts.fp * cuts.fakes))


RULES.add("f1", Goal("max. F1", lambda cuts: cuts.f1))
# Youden's J = recall + specificity - 1 (Youden 1950) is twice the balanced accuracy less 1; here times fakes x reals.
RULES.add("youden", Goal("max. Youden's J", _youden))
RULES.add("balanced_accuracy", Goal("max. balanced accuracy", _youden))
# Its square, with its sign, times fakes x reals: a ratio of whole numbers.
RULES.add("mcc", Goal("max. MCC", _squared_mcc))
# The smallest difference of miss rate and false-positive rate, times fakes times reals.
RULES.add("eer", Goal("equal error rate", _equal_error))


def parse_rule(text: str) -> Rule:
    """Read a rule.

    Parameters
    ----------
    text : str
        A name in `RULES`; ``recall>=0.95`` (then the highest precision), ``fpr<=0.01`` (then the highest recall),
        ``apcer<=0.05`` (of the worst attack; then the lowest BPCER); or ``cost(missed=20, rejected=1, prior=0.02)``:
        the lowest expected cost, where a missed fake and a rejected genuine user cost that much and `prior` is the
        share of fakes to expect, that of the data where it is left out.

    Raises
    ------
    RequestError
        Not a rule.
    """
    plain = re.sub(r"\s+", "", text)
    if plain in RULES:
        return Rule(plain, RULES[plain].title, RULES[plain].worth)
    if demand := re.fullmatch(r"(recall>=|fpr<=|apcer<=)([0-9.eE+-]+)", plain):
        return _demand(demand[1], _number(demand[2], text, most=1))
    if cost := re.fullmatch(r"cost\((.*)\)", plain):
        return _cost(plain, cost[1], text)
    raise unknown("threshold rule", text, [*RULES, *(f"{d}SHARE" for d in DEMANDS), COST])


def _demand(kind: str, share: float) -> Rule:
    title, worth, reachable = {
        "recall>=": (f"recall at least {share:g}", _recall, _most_recall),
        "fpr<=": (f"FPR at most {share:g}", _fpr, _least_fpr),
        "apcer<=": (f"APCER at most {share:g}", _apcer, _least_apcer),
    }[kind]
    return Rule(f"{kind}{share:.12g}", title, lambda cuts: worth(cuts, share), reachable)


def _recall(cuts: Cuts, share: float) -> Floats:
    return _where((cuts.recall >= share) & _some_pass(cuts), cuts.precision)


def _fpr(cuts: Cuts, share: float) -> Floats:
    # Of equal recalls the one with fewer false positives.
    return _where((cuts.fpr <= share) & (cuts.tp > 0), cuts.tp * (cuts.reals + 1.0) - cuts.fp)


def _apcer(cuts: Cuts, share: float) -> Floats:
    return _where((cuts.apcer <= share) & _some_pass(cuts), -cuts.fp)


def _some_pass(cuts: Cuts) -> Counts:
    """Whether a genuine one passes: a demand that only "all fake" meets is not met."""
    return np.asarray(cuts.fp < cuts.reals)


def _most_recall(cuts: Cuts) -> str:
    most = np.where(_some_pass(cuts), cuts.recall, -1).max()
    return f"with any genuine one passed, recall reaches {most:.4g}"


def _least_fpr(cuts: Cuts) -> str:
    return f"with any fake caught, FPR is at least {np.where(cuts.tp > 0, cuts.fpr, 2).min():.4g}"


def _least_apcer(cuts: Cuts) -> str:
    least = np.where(_some_pass(cuts), cuts.apcer, 2).min()
    return f"with any genuine one passed, the worst attack's APCER is at least {least:.4g}"


def _cost(plain: str, inside: str, text: str) -> Rule:
    given = dict(part.partition("=")[::2] for part in inside.split(",") if part)
    if strange := [name for name in given if name not in ("missed", "rejected", "prior")]:
        raise RequestError(
            f"Expected {COST}; got {strange[0]!r} in {text!r}. Correct the rule.", code="E_RULE"
        )
    if not {"missed", "rejected"} <= set(given):
        raise RequestError(
            f"Expected {COST}; got {text!r}. Say what a missed and a rejected one cost.", code="E_RULE"
        )
    missed, rejected = (_number(given[name], text) for name in ("missed", "rejected"))
    prior = _number(given["prior"], text, most=1) if "prior" in given else None

    def worth(cuts: Cuts) -> Floats:
        return -expected_cost(cuts, missed=missed, rejected=rejected, prior=prior)

    title = f"lowest cost (missed {missed:g}, rejected {rejected:g}, fakes {_share(prior)})"
    return Rule(plain, title, worth)


def expected_cost(cuts: Cuts, *, missed: float, rejected: float, prior: float | None) -> Floats:
    """Return prior x missed x (1 - recall) + (1 - prior) x rejected x FPR at each cut (Elkan 2001).

    Where `prior` is None it is the share of fakes in the data. Summed in whole numbers, so that equal cuts compare
    equal: the costs are decimals, and counts are.
    """
    fn, fp, of = cuts.fakes - cuts.tp, cuts.fp, cuts.fakes + cuts.reals
    miss, reject = Fraction(str(missed)), Fraction(str(rejected))
    if prior is not None:
        share = Fraction(str(prior))
        fn, fp, of = fn * cuts.reals, fp * cuts.fakes, cuts.fakes * cuts.reals
        miss, reject = share * miss, (1 - share) * reject
    scale = math.lcm(miss.denominator, reject.denominator)
    if max(miss, reject) * scale > 2**53:
        scale = 1  # no whole numbers that a float holds
    cost = float(miss * scale) * fn + float(reject * scale) * fp
    return np.asarray(cost / np.where(of > 0, of, np.nan) / scale, np.float64)


def _share(prior: float | None) -> str:
    return "as in the data" if prior is None else f"{100 * prior:g} %"


def _number(text: str, rule: str, *, most: float = np.inf) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most or not np.isfinite(value):
        what = "a share from 0 to 1" if most == 1 else "a number from 0"
        raise RequestError(
            f"Expected {what} in threshold rule {rule!r}; got {text}. Correct it.", code="E_RULE"
        )
    return value


def _where(allowed: Counts, worth: Counts) -> Floats:
    return np.where(allowed, np.asarray(worth, np.float64), -np.inf)
