import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from classify.cuts import cut_points

Y = np.array([0, 0, 1, 0, 1, 1])
SCORE = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.9])

# Few distinct values, so that ties are common, or any ordinary float.
values = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-1e9, 1e9, allow_nan=False, allow_subnormal=False, width=64)
)


@st.composite
def scored(draw):
    """Labels of both classes, scores, attacks and whole weights: four arrays of two to 25."""
    line = st.tuples(st.integers(0, 1), values, st.sampled_from(["", "swap", "lips"]), st.integers(0, 3))
    lines = draw(st.lists(line, max_size=23))
    lines += [(label, draw(values), "swap", 1) for label in (0, 1)]
    return tuple(np.array(column) for column in zip(*lines, strict=True))


def test_the_cuts_of_a_small_example():
    cuts = cut_points(Y, SCORE)
    np.testing.assert_allclose(cuts.thresholds, [0.1, 0.15, 0.25, 0.35, 0.5, 0.75, np.nextafter(0.9, 1)])
    assert cuts.tp.tolist() == [3, 3, 3, 2, 2, 1, 0]
    assert cuts.fp.tolist() == [3, 2, 1, 1, 0, 0, 0]
    assert (cuts.fakes, cuts.reals) == (3, 3)
    np.testing.assert_allclose(cuts.recall, [1, 1, 1, 2 / 3, 2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(cuts.fpr, [1, 2 / 3, 1 / 3, 1 / 3, 0, 0, 0])
    np.testing.assert_allclose(cuts.precision, [3 / 6, 3 / 5, 3 / 4, 2 / 3, 1, 1, 0])
    np.testing.assert_allclose(cuts.f1, [6 / 9, 6 / 8, 6 / 7, 4 / 6, 4 / 5, 2 / 4, 0])
    np.testing.assert_allclose(cuts.apcer, [0, 0, 0, 1 / 3, 1 / 3, 2 / 3, 1])  # one attack: the miss rate


def test_apcer_is_that_of_the_worst_attack():
    # swap: 0.3 and 0.9; lips: 0.6. From the lowest cut: none missed, then 0.3 of two, then 0.6, the only lips.
    cuts = cut_points(Y, SCORE, attack=np.array(["", "", "swap", "", "lips", "swap"]))
    assert cuts.apcer.tolist() == [0, 0, 0, 0.5, 0.5, 1, 1]
    assert {name: (tp.tolist(), n) for name, (tp, n) in cuts.by_attack.items()} == {
        "lips": ([1, 1, 1, 1, 1, 0, 0], 1),
        "swap": ([2, 2, 2, 1, 1, 1, 0], 2),
    }


def test_what_reals_are_called_as_an_attack_does_not_matter():
    attack = np.array(["swap", "x", "swap", "y", "lips", "swap"])
    assert set(cut_points(Y, SCORE, attack=attack).by_attack) == {"lips", "swap"}


def test_fakes_without_a_name_are_an_attack():
    cuts = cut_points(Y, SCORE, attack=np.array(["", "", "swap", "", "", "swap"]))
    assert cuts.by_attack[""][0].tolist() == [1, 1, 1, 1, 1, 0, 0]


def test_misses_at_exactly_a_share_are_that_share():
    # 1 - 19/20 is a little more than 0.05 in floating point; 1 / 20 is not.
    cuts = cut_points(np.array([1] * 20 + [0]), np.arange(21.0))
    assert cuts.apcer[1] == 0.05
    assert cuts.recall[1] == 0.95


@given(data=scored())
def test_cuts_count_what_they_call_fake(data):
    y, score, attack, weight = data
    weights = np.stack([np.ones(len(y)), weight])
    plain = cut_points(y, score, attack=attack)
    weighted = cut_points(y, score, attack=attack, weights=weights)
    assert (np.diff(plain.thresholds) > 0).all()
    assert np.isfinite(plain.thresholds).all()
    assert len(plain.thresholds) == len(set(score.tolist())) + 1
    np.testing.assert_array_equal(weighted.thresholds, plain.thresholds)
    above = score >= plain.thresholds[:, None]
    for kind, one, many in ((1, plain.tp, weighted.tp), (0, plain.fp, weighted.fp)):
        np.testing.assert_array_equal(one, (above & (y == kind)).sum(axis=1))
        np.testing.assert_array_equal(many, weights @ (above & (y == kind)).T)
    np.testing.assert_array_equal(weighted.fakes[:, 0], weights @ (y == 1))
    np.testing.assert_array_equal(weighted.reals[:, 0], weights @ (y == 0))
    assert set(plain.by_attack) == set(weighted.by_attack) == set(attack[y == 1].tolist())
    for name, (tp, fakes) in weighted.by_attack.items():
        mine = (y == 1) & (attack == name)
        np.testing.assert_array_equal(tp, weights @ (above & mine).T)
        np.testing.assert_array_equal(fakes[:, 0], weights @ mine)


@given(data=scored())
def test_unit_weights_change_no_rate(data):
    y, score, attack, _ = data
    plain = cut_points(y, score, attack=attack)
    weighted = cut_points(y, score, attack=attack, weights=np.ones((2, len(y))))
    for rate in ("recall", "fpr", "precision", "f1", "apcer"):
        np.testing.assert_array_equal(getattr(weighted, rate), np.tile(getattr(plain, rate), (2, 1)))


@given(data=scored())
def test_the_rates_are_scikit_learns(data):
    y, score, _, _ = data
    cuts = cut_points(y, score)
    fpr, tpr, _ = metrics.roc_curve(y, score, drop_intermediate=False)  # from "none fake" on
    np.testing.assert_array_equal(cuts.fpr[::-1], fpr)
    np.testing.assert_array_equal(cuts.recall[::-1], tpr)
    precision, recall, _ = metrics.precision_recall_curve(y, score)  # without "none fake", but for a last 1
    np.testing.assert_array_equal(cuts.precision[:-1], precision[:-1])
    np.testing.assert_array_equal(cuts.recall[:-1], recall[:-1])
    for threshold, f1 in zip(cuts.thresholds, cuts.f1, strict=True):
        assert f1 == pytest.approx(metrics.f1_score(y, score >= threshold), abs=1e-15)


def test_a_class_or_an_attack_without_weight_has_no_rate(recwarn):
    attack = np.array(["", "", "swap", "", "lips", "swap"])
    weights = np.array([[1, 1, 0, 1, 0, 0], [0, 0, 1, 0, 1, 1], [1, 1, 0, 1, 1, 0]])
    no_fake, no_real, no_swap = range(3)
    cuts = cut_points(Y, SCORE, attack=attack, weights=weights)
    assert np.isnan(cuts.recall[no_fake]).all()
    assert np.isnan(cuts.apcer[no_fake]).all()
    assert np.isnan(cuts.fpr[no_real]).all()
    assert cuts.apcer[no_swap].tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert not recwarn.list


@pytest.mark.parametrize(
    ("y", "score"),
    [([1, 1], [0.1, 0.2]), ([0, 0], [0.1, 0.2]), ([0, 1], [0.1, np.nan]), ([0, 1], [0.1, np.inf])],
    ids=["fakes", "reals", "nan", "infinite"],
)
def test_one_class_or_scores_that_are_not_finite_are_refused(y, score):
    with pytest.raises(ValueError, match="Expected finite scores of both classes"):
        cut_points(np.array(y), np.array(score))


@pytest.mark.parametrize("low", [0.0, 0.1, 1.0, -1.0, 1e300, -1e-300, 5e-324])
def test_adjacent_floats_are_still_told_apart(low):
    high = np.nextafter(low, np.inf)
    assert cut_points(np.array([0, 1]), np.array([low, high])).thresholds[:2].tolist() == [low, high]


def test_thresholds_between_huge_scores_are_finite(recwarn):
    assert cut_points(np.array([0, 1]), np.array([-1e308, 1e308])).thresholds[1] == 0
    assert not recwarn.list
