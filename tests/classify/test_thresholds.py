import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from classify.cuts import cut_points
from classify.rules import RULES, parse_rule
from classify.thresholds import Threshold, Unreachable, choose, cross_fit, tune_threshold
from extract.errors import RequestError

DEMANDS = ["recall>=0.8", "fpr<=0.25", "apcer<=0.2", "cost(missed=3,rejected=1,prior=0.1)"]
every_goal = pytest.mark.parametrize("rule", list(RULES))
every_rule = pytest.mark.parametrize("rule", [*RULES, *DEMANDS])


def tune(y, score, rule):
    return tune_threshold(np.array(y), np.array(score), rule=rule).value


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


def test_rules_differ_on_unbalanced_labels():
    # 1 real in 6: F1 takes all fakes and the real; Youden gives up a fake to spare the real.
    y, score = [1, 0, 1, 1, 1, 1], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert tune(y, score, "f1") == 1.0
    assert tune(y, score, "youden") == 2.5


@every_goal
def test_separable_scores_are_cut_in_the_middle_of_the_gap(rule):
    assert tune([0, 0, 1, 1], [-3.0, -1.0, 2.0, 5.0], rule) == 0.5


@every_goal
def test_constant_scores_leave_all_or_nothing(rule):
    assert tune([0, 1, 1], [0.5, 0.5, 0.5], rule) == 0.5  # "all fake" is the lower of the two cuts


@every_goal
@pytest.mark.parametrize("low", [0.0, 0.1, 1.0, -1.0, 1e300, -1e-300, 5e-324])
def test_adjacent_floats_are_still_told_apart(rule, low):
    high = np.nextafter(low, np.inf)
    assert tune([0, 1], [low, high], rule) == high


@every_goal
def test_reversed_scores_give_a_finite_threshold(rule):
    assert np.isfinite(tune([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], rule))


def test_thresholds_between_huge_scores_are_finite():
    assert np.isfinite(tune([0, 1], [-1e308, 1e308], "f1"))


@every_goal
def test_a_hundred_thousand_scores(rule, rng):
    y = rng.integers(0, 2, 100_000)
    score = rng.normal(size=100_000) + y
    chosen = tune_threshold(y, score, rule=rule).value
    for other in np.quantile(score, np.linspace(0.01, 0.99, 25)):
        assert worth_of_array(y, score, chosen, rule) >= worth_of_array(y, score, other, rule)


def worth_of_array(y, score, threshold, rule):
    tp, fp = ((score >= threshold) & (y == 1)).sum(), ((score >= threshold) & (y == 0)).sum()
    recall, fpr = tp / (y == 1).sum(), fp / (y == 0).sum()
    return {
        "f1": 2 * tp / (tp + fp + (y == 1).sum()),
        "youden": recall - fpr,
        "balanced_accuracy": (recall + 1 - fpr) / 2,
        "mcc": matthews_corrcoef(y, score >= threshold),
        "eer": -abs(1 - recall - fpr),
    }[rule]


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


def test_a_fold_whose_others_cannot_meet_a_demand_has_no_threshold():
    # Without fold 0, the real is above the fakes; without fold 1, below both.
    y, score, fold = (
        np.array([0, 1, 1, 0, 1, 1]),
        np.array([0.0, 1.0, 2.0, 9.0, 5.0, 6.0]),
        np.array([0] * 3 + [1] * 3),
    )
    thresholds = cross_fit(y, score, fold, rule="recall>=0.5")
    np.testing.assert_array_equal(thresholds, [np.nan, 0.5])


def test_cross_fit_takes_each_folds_own_part_of_the_attacks(folded):
    y, score, fold = folded
    attack = np.where(np.arange(60) % 4 == 1, "swap", "lips")
    thresholds = cross_fit(y, score, fold, rule="apcer<=0.2", attack=attack)
    plain = cross_fit(y, score, fold, rule="apcer<=0.2")
    assert (thresholds != plain).any()
    for number, threshold in enumerate(thresholds):
        o = fold != number
        assert threshold == tune_threshold(y[o], score[o], rule="apcer<=0.2", attack=attack[o]).value


def test_rows_that_no_fold_tests_are_others_to_every_fold(folded):
    y, score, fold = folded
    fold = fold - 1
    np.testing.assert_array_equal(
        cross_fit(y, score, fold, rule="f1"), cross_fit(y, score, np.where(fold < 0, 3, fold), rule="f1")[:3]
    )


# -- replicates ------------------------------------------------------------------------------------------------


@every_rule
def test_all_replicates_at_once_are_each_alone(rule, folded, rng):
    y, score, _ = folded
    score, attack = score.round(1), np.where(np.arange(60) % 4 == 1, "swap", "lips")
    weights = rng.poisson(0.6, size=(30, 60)).astype(float)
    parsed = parse_rule(rule)
    together = choose(cut_points(y, score, attack=attack, weights=weights), parsed)
    alone = [choose(cut_points(y, score, attack=attack, weights=line[None]), parsed)[0] for line in weights]
    assert together.tolist() == alone
    assert len(set(alone)) > 3


@every_rule
def test_a_replicate_without_a_class_chooses_nothing(rule, recwarn):
    y, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.3, 0.8])
    weights = np.array([[1.0, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 1], [0, 0, 0, 0]])
    cuts = cut_points(y, score, attack=np.array(["", "", "swap", "lips"]), weights=weights)
    assert (choose(cuts, parse_rule(rule)) >= 0).tolist() == [False, False, True, False]
    assert not recwarn.list


def test_a_replicate_that_cannot_meet_a_demand_chooses_nothing():
    weights = np.array(
        [[1.0, 1, 1], [2, 1, 1], [1, 1, 2]]
    )  # half, a third and two thirds of the fakes are above
    cuts = cut_points(np.array([1, 0, 1]), np.arange(3.0), weights=weights)
    assert choose(cuts, parse_rule("recall>=0.5")).tolist() == [2, -1, 2]


def test_a_threshold_says_what_chose_it():
    found = tune_threshold(np.array([0, 1]), np.array([0.0, 1.0]), rule="recall >= 0.9")
    assert found == Threshold("recall >= 0.9", 0.5)


def test_an_unreachable_demand_is_a_value_error():
    with pytest.raises(ValueError, match="Ask for less, or add clips") as caught:
        tune([1, 0], [0.0, 1.0], "recall>=0.5")
    assert caught.type is Unreachable
