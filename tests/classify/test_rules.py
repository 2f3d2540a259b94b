from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.cuts import cut_points
from classify.rules import RULES, expected_cost, parse_rule
from classify.thresholds import Unreachable, choose, tune_threshold
from extract.errors import RequestError

# -- every cut against every definition, in fractions ------------------------------------------------------------


class Cut:
    """What a threshold calls fake, counted row by row."""

    def __init__(self, y, attack, called):
        self.n, self.fakes, self.reals = len(y), y.count(1), y.count(0)
        self.tp = sum(c and label == 1 for c, label in zip(called, y, strict=True))
        self.fp = sum(called) - self.tp
        self.fn, self.tn = self.fakes - self.tp, self.reals - self.fp
        self.recall, self.fpr = Fraction(self.tp, self.fakes), Fraction(self.fp, self.reals)
        self.precision = Fraction(self.tp, self.tp + self.fp) if self.tp + self.fp else Fraction(0)
        fakes = [(name, c) for name, c, label in zip(attack, called, y, strict=True) if label == 1]
        missed = {name: [not c for kind, c in fakes if kind == name] for name, _ in fakes}
        self.apcer = max(Fraction(sum(m), len(m)) for m in missed.values())

    @property
    def mcc(self):
        """MCC squared, with its sign."""
        top = self.tp * self.tn - self.fp * self.fn
        under = (self.tp + self.fp) * (self.fn + self.tn) * self.fakes * self.reals
        return Fraction(top * abs(top), under) if under else Fraction(0)

    def cost(self, missed, rejected, prior):
        share = Fraction(prior) if prior else Fraction(self.fakes, self.n)
        return share * Fraction(missed) * (1 - self.recall) + (1 - share) * Fraction(rejected) * self.fpr


# Rule -> what it maximises at a cut; None where it forbids the cut.
DEFINITIONS = {
    "f1": lambda c: Fraction(2 * c.tp, 2 * c.tp + c.fp + c.fn),
    "youden": lambda c: c.recall + (1 - c.fpr) - 1,
    "balanced_accuracy": lambda c: (c.recall + (1 - c.fpr)) / 2,
    "mcc": lambda c: c.mcc,
    "eer": lambda c: -abs((1 - c.recall) - c.fpr),
    "cost(missed=2,rejected=1)": lambda c: -c.cost(2, 1, None),
    "cost(missed=0.3,rejected=0.1)": lambda c: -c.cost("0.3", "0.1", None),
    "cost(missed=20,rejected=1,prior=0.02)": lambda c: -c.cost(20, 1, "0.02"),
    "cost(missed=3,rejected=2,prior=0.4)": lambda c: -c.cost(3, 2, "0.4"),
    "recall>=0.75": lambda c: c.precision if c.recall >= Fraction(3, 4) and c.fp < c.reals else None,
    "recall>=0.6": lambda c: c.precision if c.recall >= Fraction(3, 5) and c.fp < c.reals else None,
    "fpr<=0.2": lambda c: (c.recall, -c.fpr) if c.fpr <= Fraction(1, 5) and c.tp else None,
    "fpr<=0": lambda c: (c.recall, -c.fpr) if c.fpr == 0 and c.tp else None,
    "apcer<=0.3": lambda c: -c.fpr if c.apcer <= Fraction(3, 10) and c.fp < c.reals else None,
    "apcer<=0.5": lambda c: -c.fpr if c.apcer <= Fraction(1, 2) and c.fp < c.reals else None,
}
every_rule = pytest.mark.parametrize("rule", list(DEFINITIONS))
LINES = st.tuples(st.integers(0, 1), st.integers(0, 6), st.sampled_from(["swap", "lips"]), st.integers(0, 3))


@st.composite
def scored(draw):
    """Labels of both classes, scores with many ties, attacks, whole weights: four arrays of two to 16."""
    lines = draw(st.lists(LINES, max_size=14))
    lines += [(label, draw(st.integers(0, 6)), "swap", 1) for label in (0, 1)]
    y, score, attack, weight = zip(*lines, strict=True)
    return np.array(y), np.array(score, float), np.array(attack), np.array(weight)


def best_calls(rule, y, score, attack):
    """Try every way to cut: what the first of the best ones calls fake, None where the rule forbids all."""
    every = [score >= threshold for threshold in [*np.unique(score), np.inf]]
    worth = [DEFINITIONS[rule](Cut(y.tolist(), attack.tolist(), called.tolist())) for called in every]
    allowed = [w for w in worth if w is not None]
    return every[worth.index(max(allowed))].tolist() if allowed else None


@every_rule
@settings(max_examples=60)
@given(data=scored())
def test_the_first_of_the_best_cuts_is_chosen(rule, data):
    y, score, attack, _ = data
    expected = best_calls(rule, y, score, attack)
    if expected is None:
        with pytest.raises(Unreachable, match=r"Expected a threshold with .* on these \d+ scores"):
            tune_threshold(y, score, rule=rule, attack=attack)
    else:
        assert (score >= tune_threshold(y, score, rule=rule, attack=attack).value).tolist() == expected


@every_rule
@settings(max_examples=40)
@given(data=scored())
def test_whole_weights_are_repeated_rows(rule, data):
    y, score, attack, weight = data
    again = np.repeat(np.arange(len(y)), weight)
    parsed = parse_rule(rule)
    once = cut_points(y, score, attack=attack, weights=np.stack([np.ones(len(y)), weight]))
    unit, weighted = choose(once, parsed)
    assert unit == choose(cut_points(y, score, attack=attack), parsed)
    repeated = cut_points(y[again], score[again], attack=attack[again])
    place = choose(repeated, parsed)
    assert (weighted < 0) == (place < 0)
    if place >= 0:
        calls = score[again] >= once.thresholds[weighted]
        np.testing.assert_array_equal(calls, score[again] >= repeated.thresholds[place])


# -- each rule by hand --------------------------------------------------------------------------------------------

Y = np.array([0, 0, 1, 0, 1, 1])
SCORE = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.9])
# thresholds  0.1  0.15  0.25  0.35  0.5  0.75  above 0.9
# missed        0     0     0     1    1     2     3       of 3
# rejected      3     2     1     1    0     0     0       of 3
BY_HAND = [
    ("f1", 0.25),  # 6/7; next 0.5 with 4/5
    ("youden", 0.25),  # 2/3, as at 0.5: the lower is taken
    ("balanced_accuracy", 0.25),  # 5/6, as at 0.5
    ("mcc", 0.25),  # (3 x 2 - 0) / sqrt(4 x 3 x 2 x 3), as at 0.5 (2 x 3 - 0) / sqrt(2 x 3 x 4 x 3)
    ("eer", 0.35),  # both rates 1/3
    ("cost(missed=1,rejected=2)", 0.5),  # 1 x 1, against 1 x 2 at 0.25
    ("cost(missed=2,rejected=1)", 0.25),  # 1 x 1, against 1 x 2 at 0.5
    ("cost(missed=1,rejected=1)", 0.25),  # 1, as at 0.5
    ("cost(missed=1,rejected=1,prior=0.1)", 0.5),  # 0.1 / 3, against 0.9 / 3 at 0.25
    ("cost(missed=20,rejected=1,prior=0.1)", 0.25),  # 0.9 / 3, against 2 / 3 at 0.5
    ("cost(missed=9,rejected=1,prior=0.1)", 0.25),  # 0.9 / 3, as at 0.5
    ("cost(missed=1,rejected=1,prior=1)", 0.1),  # nobody rejected counts
    ("recall>=1", 0.25),  # all fakes caught, precision 3/4
    ("recall>=0.6", 0.5),  # two of three, precision 1
    ("fpr<=0", 0.5),  # two of three fakes caught; one at 0.75
    ("fpr<=0.34", 0.25),  # one of three rejected, all caught
    ("apcer<=0", 0.25),  # one rejected; two at 0.15
    ("apcer<=0.34", 0.5),  # one of three missed, nobody rejected
]


@pytest.mark.parametrize(("rule", "value"), BY_HAND)
def test_each_rule_on_a_small_example(rule, value):
    chosen = tune_threshold(Y, SCORE, rule=rule)
    assert chosen.rule == rule
    assert chosen.value == pytest.approx(value, rel=1e-15)


def test_every_rule_has_its_example():
    assert {rule for rule, _ in BY_HAND if rule.isidentifier()} == set(RULES)


def test_apcer_is_that_of_the_worst_attack():
    # Lips are one of three: missing it is APCER 1, though only a third of the fakes.
    attack = np.array(["", "", "swap", "", "lips", "swap"])
    assert tune_threshold(Y, SCORE, rule="apcer<=0.5", attack=attack).value == 0.5  # one of two swaps missed
    assert tune_threshold(Y, SCORE, rule="apcer<=0.49", attack=attack).value == 0.25
    attack = np.array(["", "", "lips", "", "swap", "swap"])
    assert (
        tune_threshold(Y, SCORE, rule="apcer<=0.5", attack=attack).value == 0.25
    )  # the only lips must be caught


TWENTY = np.array([1, 0, 0] + [1] * 19)  # to pass the reals, one fake of twenty is missed
HUNDRED = np.array([0] * 99 + [1, 0, 1])  # to catch both fakes, one real of a hundred is rejected


@pytest.mark.parametrize(
    ("rule", "y", "value"),
    [
        ("recall>=0.95", TWENTY, 2.5),
        ("apcer<=0.05", TWENTY, 2.5),
        ("fpr<=0.01", HUNDRED, 98.5),
        ("fpr<=0.0099", HUNDRED, 100.5),
    ],
)
def test_a_share_hit_exactly_is_met(rule, y, value):
    assert tune_threshold(y, np.arange(len(y)), rule=rule).value == value


@pytest.mark.parametrize("rule", ["recall>=0.9501", "apcer<=0.0499"])
def test_a_share_just_missed_is_not_met(rule):
    y = TWENTY[[0, 1, *range(3, 22)]]  # one real, so that nothing between all and 19 of 20 passes one
    with pytest.raises(Unreachable):
        tune_threshold(y, np.arange(21), rule=rule)


def test_every_share_of_a_hundred_is_met_by_itself():
    for k in range(1, 100):
        y = np.array([1] * (100 - k) + [0] + [1] * k)  # exactly k of 100 fakes are above the real
        for rule in (f"recall>={k}e-2", f"recall>={k / 100}", f"apcer<={100 - k}e-2"):
            assert tune_threshold(y, np.arange(101), rule=rule).value == 100.5 - k


# -- demands that cannot be met ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "y", "why"),
    [
        ("recall>=0.6", [1, 0, 0, 1], "with any genuine one passed, recall reaches 0.5"),
        ("recall>=0.01", [1, 1, 0, 0], "with any genuine one passed, recall reaches 0"),
        (
            "fpr<=0.6",
            [0, 1, 0, 0],
            "with any fake caught, FPR is at least 0.6667",
        ),  # two of three reals are above
        (
            "apcer<=0.49",
            [1, 0, 0, 1],
            "with any genuine one passed, the worst attack's APCER is at least 0.5",
        ),
    ],
)
def test_an_unreachable_demand_says_what_was_reachable(rule, y, why):
    with pytest.raises(Unreachable) as caught:
        tune_threshold(np.array(y), np.arange(4.0), rule=rule)
    assert str(caught.value) == (
        f"Expected a threshold with {parse_rule(rule).title} on these 4 scores; {why}. Ask for less, or add clips."
    )
    assert isinstance(caught.value, ValueError)


def test_what_was_reachable_is_that_of_the_worst_attack():
    # Above the lowest real: swap misses one of three, lips one of one.
    y, attack = np.array([1, 1, 0, 1, 1]), np.array(["swap", "lips", "", "swap", "swap"])
    with pytest.raises(Unreachable, match=r"APCER is at least 1\. Ask for less"):
        tune_threshold(y, np.arange(5.0), rule="apcer<=0.9", attack=attack)


@pytest.mark.parametrize(
    "rule", ["recall>=1", "recall>=0.01", "fpr<=0", "fpr<=0.5", "apcer<=0", "apcer<=0.99"]
)
def test_all_fake_and_none_fake_meet_no_demand(rule):
    with pytest.raises(Unreachable):
        tune_threshold(np.array([0, 1, 1]), np.full(3, 0.5), rule=rule)


@pytest.mark.parametrize("rule", ["recall>=0", "apcer<=1"])
def test_none_fake_meets_what_demands_nothing(rule):
    assert tune_threshold(np.array([0, 1, 1]), np.full(3, 0.5), rule=rule).value > 0.5


# -- cost ---------------------------------------------------------------------------------------------------------


def test_expected_cost_by_hand():
    cuts = cut_points(Y, SCORE)
    # At 0.5: a third of the fakes missed, nobody rejected. At 0.25: nothing missed, a third rejected.
    costs = expected_cost(cuts, missed=20, rejected=1, prior=0.02)
    assert costs[[4, 2]] == pytest.approx([0.02 * 20 / 3, 0.98 / 3])
    assert costs[[0, -1]] == pytest.approx([0.98, 0.4])  # everybody rejected; every fake missed
    data = expected_cost(cuts, missed=20, rejected=1, prior=None)  # half are fakes
    np.testing.assert_allclose(data, expected_cost(cuts, missed=20, rejected=1, prior=0.5))


def test_the_prior_of_the_data_is_that_of_each_replicate():
    weights = np.array([[1, 1, 1, 1, 1, 1], [3, 3, 1, 3, 1, 1]])
    costs = expected_cost(cut_points(Y, SCORE, weights=weights), missed=4, rejected=1, prior=None)
    for line, prior in zip(costs, (1 / 2, 1 / 4), strict=True):
        fixed = expected_cost(cut_points(Y, SCORE), missed=4, rejected=1, prior=prior)
        np.testing.assert_allclose(line, fixed)


def test_costs_out_of_all_proportion_are_costs():
    chosen = tune_threshold(Y, SCORE, rule="cost(missed=1e300,rejected=1e-300,prior=0.001)")
    assert chosen.value == pytest.approx(0.25)
    assert tune_threshold(Y, SCORE, rule="cost(missed=0,rejected=1e300)").value == pytest.approx(0.5)


# -- how rules are written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "plain", "title"),
    [
        (" f1 ", "f1", "max. F1"),
        ("recall >= 0.95", "recall>=0.95", "recall at least 0.95"),
        ("fpr<= 1e-2", "fpr<=0.01", "FPR at most 0.01"),
        ("apcer <=.05", "apcer<=0.05", "APCER at most 0.05"),
        (
            "cost( missed = 20, rejected = 1, prior = 0.02 )",
            "cost(missed=20,rejected=1,prior=0.02)",
            "lowest cost (missed 20, rejected 1, fakes 2 %)",
        ),
        (
            "cost(rejected=1,missed=5)",
            "cost(rejected=1,missed=5)",
            "lowest cost (missed 5, rejected 1, fakes as in the data)",
        ),
    ],
)
def test_spaces_do_not_matter(text, plain, title):
    rule = parse_rule(text)
    assert (rule.text, rule.title) == (plain, title)
    np.testing.assert_array_equal(
        rule.worth(cut_points(Y, SCORE)), parse_rule(plain).worth(cut_points(Y, SCORE))
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yoden", "Expected a known threshold rule; got 'yoden'. Did you mean 'youden'"),
        ("recall>0.9", "Expected a known threshold rule; got 'recall>0.9'"),
        ("recall>=high", "Expected a known threshold rule; got 'recall>=high'"),
        ("recall<=0.9", "Expected a known threshold rule"),
        ("", "Expected a known threshold rule; got ''"),
        ("recall>=1.5", r"Expected a share from 0 to 1 in threshold rule 'recall>=1.5'; got 1.5"),
        ("fpr<=-0.1", r"Expected a share from 0 to 1 in threshold rule 'fpr<=-0.1'; got -0.1"),
        ("apcer<=5e", r"Expected a share from 0 to 1 in threshold rule 'apcer<=5e'; got 5e"),
        ("cost(missed=1)", r"Expected cost\(missed=.*; got 'cost\(missed=1\)'. Say what"),
        ("cost()", "Say what a missed and a rejected one cost"),
        ("cost(missed=1,rejected=1,price=3)", "got 'price' in 'cost"),
        ("cost(missed=-1,rejected=1)", r"Expected a number from 0 in .*; got -1"),
        ("cost(missed=x,rejected=1)", r"Expected a number from 0 in .*; got x"),
        ("cost(missed=inf,rejected=1)", r"Expected a number from 0 in .*; got inf"),
        ("cost(missed=nan,rejected=1)", r"Expected a number from 0 in .*; got nan"),
        ("cost(missed=1,rejected=1,prior=2)", r"Expected a share from 0 to 1 in .*; got 2"),
        ("cost(missed=1,rejected=1,prior=)", r"Expected a share from 0 to 1 in"),
    ],
)
def test_what_is_not_a_rule_is_refused(text, message):
    with pytest.raises(RequestError, match=message):
        parse_rule(text)
