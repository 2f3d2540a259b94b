from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.thresholds import RULES, cross_fit, cut_points, tune_threshold
from extract.errors import RequestError

SEEDED = settings(derandomize=True, deadline=None)
every_rule = pytest.mark.parametrize("rule", list(RULES))

# Few distinct values, so that ties are common, or any ordinary float.
values = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-1e9, 1e9, allow_nan=False, allow_subnormal=False, width=64)
)


@st.composite
def scored(draw):
    """Labels of both classes with scores: two lists of two to 25."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 1), values), max_size=23))
    pairs += [(0, draw(values)), (1, draw(values))]
    return [label for label, _ in pairs], [score for _, score in pairs]


def worth(y, score, threshold, rule):
    """Compute a rule's objective from its definition, exactly."""
    called = [s >= threshold for s in score]
    tp, fp = (sum(c and label == kind for c, label in zip(called, y, strict=True)) for kind in (1, 0))
    fakes, reals = y.count(1), y.count(0)
    recall, fpr = Fraction(tp, fakes), Fraction(fp, reals)
    missed = fakes - tp
    return {
        "f1": Fraction(2 * tp, 2 * tp + fp + missed),
        "youden": recall + (1 - fpr) - 1,
        "eer": -abs((1 - recall) - fpr),
    }[rule]


def candidates(score):
    """Return thresholds that realise every way to cut the scores, ascending."""
    return [*sorted(set(score)), float(np.nextafter(max(score), np.inf))]


def tune(y, score, rule):
    return tune_threshold(np.array(y), np.array(score), rule=rule).value


@every_rule
@SEEDED
@given(data=scored())
def test_no_other_cut_is_better(rule, data):
    y, score = data
    best = max(worth(y, score, threshold, rule) for threshold in candidates(score))
    assert float(worth(y, score, tune(y, score, rule), rule)) == pytest.approx(float(best), abs=1e-12)


@SEEDED
@given(data=scored())
def test_of_equal_cuts_the_lowest_is_chosen_by_f1(data):
    y, score = data
    worths = [worth(y, score, threshold, "f1") for threshold in candidates(score)]
    cut = candidates(score)[worths.index(max(worths))]
    assert [s >= tune(y, score, "f1") for s in score] == [s >= cut for s in score]


@pytest.mark.parametrize(
    ("rule", "y", "score", "lowest"),
    [
        ("youden", [0, 0, 0, 0, 1, 0, 0, 1], [0, 1, 1, 1, 1, 2, 2, 2], 0.5),  # J = 1/6 at 0.5 and at 1.5
        (
            "eer",
            [0, 1, 0, 0, 0, 0, 1],
            [0, 0, 1, 1, 1, 2, 2],
            0.5,
        ),  # the rates differ by 0.3 at 0.5 and at 1.5
    ],
)
def test_of_equal_cuts_the_lowest_is_chosen(rule, y, score, lowest):
    assert tune(y, np.array(score, float), rule) == lowest


@every_rule
@SEEDED
@given(data=scored())
def test_cuts_count_what_they_call_fake(rule, data):
    y, score = (np.array(column) for column in data)
    cuts = cut_points(y, score)
    assert (np.diff(cuts.thresholds) > 0).all()
    assert np.isfinite(cuts.thresholds).all()
    assert len(cuts.thresholds) == len(set(score.tolist())) + 1
    for threshold, tp, fp in zip(cuts.thresholds, cuts.tp, cuts.fp, strict=True):
        assert tp == np.sum((score >= threshold) & (y == 1))
        assert fp == np.sum((score >= threshold) & (y == 0))


Y = [0, 0, 1, 0, 1, 1]
SCORE = [0.1, 0.2, 0.3, 0.4, 0.6, 0.9]


def test_the_cuts_of_a_small_example():
    cuts = cut_points(np.array(Y), np.array(SCORE))
    np.testing.assert_allclose(cuts.thresholds, [0.1, 0.15, 0.25, 0.35, 0.5, 0.75, np.nextafter(0.9, 1)])
    assert cuts.tp.tolist() == [3, 3, 3, 2, 2, 1, 0]
    assert cuts.fp.tolist() == [3, 2, 1, 1, 0, 0, 0]
    assert (cuts.fakes, cuts.reals) == (3, 3)
    np.testing.assert_allclose(cuts.recall, [1, 1, 1, 2 / 3, 2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(cuts.fpr, [1, 2 / 3, 1 / 3, 1 / 3, 0, 0, 0])
    np.testing.assert_allclose(cuts.f1, [6 / 9, 6 / 8, 6 / 7, 4 / 6, 4 / 5, 2 / 4, 0])


@pytest.mark.parametrize(
    ("rule", "value"),
    [("f1", 0.25), ("youden", 0.25), ("eer", 0.35)],  # youden: 2/3 at 0.25 and at 0.5, the lower is taken
)
def test_each_rule_on_the_small_example(rule, value):
    chosen = tune_threshold(np.array(Y), np.array(SCORE), rule=rule)
    assert chosen.rule == rule
    assert chosen.value == pytest.approx(value, rel=1e-15)


def test_rules_differ_on_unbalanced_labels():
    # 1 real in 6: F1 takes all fakes and the real; Youden gives up a fake to spare the real.
    y, score = [1, 0, 1, 1, 1, 1], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert tune(y, score, "f1") == 1.0
    assert tune(y, score, "youden") == 2.5


@every_rule
def test_separable_scores_are_cut_in_the_middle_of_the_gap(rule):
    assert tune([0, 0, 1, 1], [-3.0, -1.0, 2.0, 5.0], rule) == 0.5


@every_rule
def test_constant_scores_leave_all_or_nothing(rule):
    assert tune([0, 1, 1], [0.5, 0.5, 0.5], rule) == 0.5  # "all fake" is the lower of the two cuts


@every_rule
@pytest.mark.parametrize("low", [0.0, 0.1, 1.0, -1.0, 1e300, -1e-300, 5e-324])
def test_adjacent_floats_are_still_told_apart(rule, low):
    high = np.nextafter(low, np.inf)
    assert tune([0, 1], [low, high], rule) == high


@every_rule
def test_reversed_scores_give_a_finite_threshold(rule):
    assert np.isfinite(tune([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], rule))


@pytest.mark.filterwarnings("ignore:overflow")
def test_thresholds_between_huge_scores_are_finite():
    assert np.isfinite(tune([0, 1], [-1e308, 1e308], "f1"))


@every_rule
def test_a_hundred_thousand_scores(rule, rng):
    y = rng.integers(0, 2, 100_000)
    score = rng.normal(size=100_000) + y
    chosen = tune_threshold(y, score, rule=rule).value
    for other in np.quantile(score, np.linspace(0.01, 0.99, 25)):
        assert worth_of_array(y, score, chosen, rule) >= worth_of_array(y, score, other, rule)


def worth_of_array(y, score, threshold, rule):
    tp, fp = ((score >= threshold) & (y == 1)).sum(), ((score >= threshold) & (y == 0)).sum()
    recall, fpr = tp / (y == 1).sum(), fp / (y == 0).sum()
    return {"f1": 2 * tp / (tp + fp + (y == 1).sum()), "youden": recall - fpr, "eer": -abs(1 - recall - fpr)}[
        rule
    ]


@pytest.mark.parametrize(
    ("y", "score"),
    [([1, 1], [0.1, 0.2]), ([0, 0], [0.1, 0.2]), ([0, 1], [0.1, np.nan]), ([0, 1], [0.1, np.inf])],
    ids=["fakes", "reals", "nan", "infinite"],
)
def test_one_class_or_scores_that_are_not_finite_are_refused(y, score):
    with pytest.raises(ValueError, match="Expected finite scores of both classes"):
        tune(y, score, "f1")


def test_an_unknown_rule_is_refused_with_the_nearest():
    with pytest.raises(
        RequestError, match=r"Expected a known threshold rule; got 'yoden'. Did you mean 'youden'"
    ):
        tune([0, 1], [0.0, 1.0], "yoden")


@pytest.fixture
def folded(rng):
    """Return (y, score, fold) of 60 rows in four folds."""
    y = np.arange(60) % 2
    return y, rng.normal(size=60) + y, np.arange(60) // 15


@every_rule
def test_a_folds_own_scores_do_not_move_its_threshold(rule, folded):
    y, score, fold = folded
    before = cross_fit(y, score, fold, rule=rule)
    for number in range(4):
        wild = np.where(fold == number, 1000 - 77 * score, score)
        assert cross_fit(y, wild, fold, rule=rule)[number] == before[number]


@every_rule
def test_a_folds_scores_move_the_others_thresholds(rule, folded):
    y, score, fold = folded
    before = cross_fit(y, score, fold, rule=rule)
    after = cross_fit(y, np.where(fold == 2, score + 50, score), fold, rule=rule)
    moved = before != after
    assert not moved[2]
    assert moved.any()


@every_rule
def test_each_folds_threshold_is_tuned_on_all_other_rows(rule, folded):
    y, score, fold = folded
    thresholds = cross_fit(y, score, fold, rule=rule)
    assert thresholds.shape == (4,)
    for number, threshold in enumerate(thresholds):
        others = fold != number
        assert threshold == tune_threshold(y[others], score[others], rule=rule).value


def test_cross_fit_refuses_folds_whose_complement_has_one_class():
    with pytest.raises(ValueError, match="both classes"):
        cross_fit(np.array([0, 1, 1]), np.arange(3.0), np.array([0, 0, 1])[::-1].copy(), rule="f1")
