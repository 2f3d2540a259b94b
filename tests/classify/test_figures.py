from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from classify.figures import RATES, decision_figures, probability_figures, score_figures
from classify.metrics import DECISIONS, METRICS, OPERATING, PRESENTATION, PROBABILITY, RANKING, decisions
from classify.resampling import resample


def every_figure(rows, weights=None):
    """Compute all figures of rows, each a cell of its own: metric -> (B,)."""
    weights = np.ones((1, len(rows)), np.uint8) if weights is None else np.asarray(weights)
    given = {"cells": np.arange(len(rows)), "weights": weights}
    found = (statistic(rows, **given) for statistic in (decision_figures, score_figures, probability_figures))
    return {name: values for part in found for name, values in part.items()}


def figure(rows, name, weights=None):
    return every_figure(rows, weights)[name].tolist()


def scores(fakes, reals, attack="swap"):
    """Make rows of one fold from the scores of fakes and of reals; the attack is one or one each."""
    rows = pd.DataFrame({"label": [1] * len(fakes) + [0] * len(reals), "score": [*fakes, *reals]}).astype(
        {"score": float}
    )
    attacks = [attack] * len(fakes) if isinstance(attack, str) else attack
    return rows.assign(attack=[*attacks, *[""] * len(reals)], fold=0, called=1.0, probability=0.5)


# -- every metric by hand ----------------------------------------------------------------------------------------

HAND = pd.DataFrame(
    {
        "label": [0, 0, 1, 0, 1, 1],
        "score": [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0],
        "attack": ["", "", "swap", "", "lips", "swap"],
        "called": [0.0, 0.0, 0.0, 1.0, 1.0, 1.0],  # TP 2, FN 1, FP 1, TN 2
        "probability": [0.1, 0.2, 0.3, 0.4, 0.6, 0.9],
        "fold": 0,
    }
)
BY_HAND = {
    "auc": 8 / 9,  # of nine pairs only the lowest fake with the highest real is in the wrong order
    "average_precision": (1 + 1 + 3 / 4) / 3,  # precision at each fake, from the highest
    "f1": 4 / 6,
    "precision": 2 / 3,
    "recall": 2 / 3,
    "specificity": 2 / 3,
    "accuracy": 4 / 6,
    "balanced_accuracy": 2 / 3,
    "mcc": (2 * 2 - 1 * 1) / 9,
    "apcer": 1 / 2,  # one of two swaps missed, no lips
    "bpcer": 1 / 3,
    "eer": 1 / 3,  # one of three missed and one of three rejected, between 0 and 1
    "tpr_at_fpr_10": 2 / 3,  # no real passed: two of three fakes caught
    "tpr_at_fpr_1": 2 / 3,
    "tpr_at_fpr_0.1": 2 / 3,
    "bpcer_at_apcer_10": 1 / 3,  # no fake missed: one of three rejected
    "bpcer_at_apcer_5": 1 / 3,
    "bpcer_at_apcer_1": 1 / 3,
    "log_loss": -np.log([0.9, 0.8, 0.3, 0.6, 0.6, 0.9]).mean(),
    "brier": (0.01 + 0.04 + 0.49 + 0.16 + 0.16 + 0.01) / 6,
    "ece": (0.1 + 0.2 + 0.7 + 0.4 + 0.4 + 0.1) / 6,  # each in a bin of its own
}


@pytest.mark.parametrize("name", list(METRICS))
def test_every_metric_by_hand(name):
    assert figure(HAND, name) == pytest.approx([BY_HAND[name]])


def test_the_figures_are_the_named_ones():
    assert set(every_figure(HAND)) == set(METRICS) == set(BY_HAND)
    given = {"cells": np.arange(6), "weights": np.ones((1, 6))}
    assert list(decision_figures(HAND, **given)) == [*DECISIONS, *PRESENTATION]
    assert list(score_figures(HAND, **given)) == [*RANKING, *OPERATING]
    assert list(probability_figures(HAND, **given)) == list(PROBABILITY)


def test_the_number_in_a_name_is_the_rate_in_percent():
    assert RATES == {
        **{"tpr_at_fpr_10": 0.1, "tpr_at_fpr_1": 0.01, "tpr_at_fpr_0.1": 0.001},
        **{"bpcer_at_apcer_10": 0.1, "bpcer_at_apcer_5": 0.05, "bpcer_at_apcer_1": 0.01},
    }


def test_eer_is_the_mean_where_the_rates_differ_least():
    # Missed / rejected from the lowest cut: 0/4 4/4, 0/4 3/4, 1/4 3/4, 1/4 2/4, 2/4 2/4, ...
    assert figure(scores([2, 4, 6, 8], [1, 3, 5, 5.5]), "eer") == [2 / 4]
    # 0 1, 0 1/2, 1/3 1/2, 1/3 0: no cut has equal rates; those of the third differ by a sixth
    assert figure(scores([2, 5, 6], [1, 3]), "eer") == pytest.approx([(1 / 3 + 1 / 2) / 2])


def test_of_equal_differences_the_lowest_cut_gives_the_eer():
    # Missed 1/2 and rejected 4/5, then missed 1/2 and rejected 1/5: they differ by 3/10 at both.
    assert figure(scores([0, 2], [0, 1, 1, 1, 2]), "eer") == pytest.approx([(1 / 2 + 4 / 5) / 2])


def test_reversed_scores_have_an_eer_of_one_or_near():
    assert figure(scores([0, 1], [2, 3]), "eer") == [1.0]
    assert figure(scores([2, 3], [0, 1]), "eer") == [0.0]


@pytest.mark.parametrize(
    ("name", "reals", "above", "tpr"),
    [
        ("tpr_at_fpr_1", 100, 1, 1.0),  # 1 of 100 is allowed
        ("tpr_at_fpr_1", 99, 1, 0.5),  # 1 of 99 is not, and nothing is interpolated
        ("tpr_at_fpr_10", 10, 1, 1.0),
        ("tpr_at_fpr_10", 19, 2, 0.5),
        ("tpr_at_fpr_0.1", 1000, 1, 1.0),
        ("tpr_at_fpr_0.1", 999, 1, 0.5),
    ],
)
def test_tpr_at_an_fpr_hit_exactly(name, reals, above, tpr):
    # To catch the second fake, `above` of the reals are rejected.
    rows = scores([1.0, 9.0], np.where(np.arange(reals) < above, 5.0, 0.0))
    assert figure(rows, name) == [tpr]


@pytest.mark.parametrize(
    ("name", "fakes", "bpcer"),
    [
        ("bpcer_at_apcer_5", 20, 0.25),  # 1 of 20 may be missed: one of four reals is rejected
        ("bpcer_at_apcer_5", 19, 0.75),  # none of 19 may
        ("bpcer_at_apcer_10", 10, 0.25),
        ("bpcer_at_apcer_10", 9, 0.75),
        ("bpcer_at_apcer_1", 100, 0.25),
        ("bpcer_at_apcer_1", 99, 0.75),
    ],
)
def test_bpcer_at_an_apcer_hit_exactly(name, fakes, bpcer):
    reals = [0.0, 3.0, 3.0, 6.0]
    assert figure(scores([2.0] + [5.0] * (fakes - 1), reals), name) == [bpcer]


def test_bpcer_is_at_the_apcer_of_the_worst_attack():
    # One of ten fakes missed, but one of two lips: 10 % of all, 50 % of the worst attack.
    fakes, reals = [2.0] + [5.0] * 9, [0.0, 3.0, 3.0, 6.0]
    assert figure(scores(fakes, reals), "bpcer_at_apcer_10") == [0.25]
    attacks = ["lips", "lips"] + ["swap"] * 8
    assert figure(scores(fakes, reals, attacks), "bpcer_at_apcer_10") == [0.75]


def test_apcer_is_that_of_the_worst_attack():
    rows = scores(range(10), [0], ["lips", "lips"] + ["swap"] * 8).assign(called=[0, *[1] * 8, 0, 0])
    assert figure(rows, "apcer") == [0.5]  # one of two lips, one of eight swaps


def test_calibration_error_pools_ten_equal_bins():
    # [0.6, 0.7): half fake, mean 0.65. [0.9, 1], with its upper edge: half fake, mean 0.95. [0, 0.1): one real, 0.05.
    rows = scores([0, 0], [0, 0, 0]).assign(probability=[0.62, 0.9, 0.68, 1.0, 0.05])
    assert figure(rows, "ece") == pytest.approx([(2 * 0.15 + 2 * 0.45 + 0.05) / 5])


def test_a_bin_begins_with_its_lower_edge():
    rows = scores([0, 0], [0, 0]).assign(probability=[0.3, 0.2, 0.3, 0.2])
    assert figure(rows, "ece") == pytest.approx([(2 * 0.2 + 2 * 0.3) / 4])  # two bins, half of each fake
    together = scores([0, 0], [0, 0]).assign(probability=[0.39, 0.3, 0.39, 0.3])
    assert figure(together, "ece") == pytest.approx([4 * 0.155 / 4])


def test_a_certain_error_costs_what_it_does_in_scikit_learn():
    rows = scores([0, 0], [0]).assign(probability=[0.0, 1.0, 0.5])
    expected = metrics.log_loss([1, 1, 0], [0.0, 1.0, 0.5])
    assert figure(rows, "log_loss") == pytest.approx([expected])
    assert np.isfinite(expected)


# -- any rows, any whole weights ---------------------------------------------------------------------------------


def point(rows):
    """Compute every figure of rows from its definition, NaN where a class is lacking."""
    y, called = (rows[column].to_numpy(int) for column in ("label", "called"))
    missed = (1 - rows["called"])[y == 1].groupby(rows["attack"]).mean()  # by attack
    some = {
        "recall": called[y == 1].mean() if 1 in y else np.nan,
        "apcer": missed.max() if 1 in y else np.nan,
        "specificity": 1 - called[y == 0].mean() if 0 in y else np.nan,
        "bpcer": called[y == 0].mean() if 0 in y else np.nan,
        **probabilities(y, rows["probability"].to_numpy()),
    }
    if len(set(y)) < 2:
        return dict.fromkeys(METRICS, np.nan) | some
    return {
        **some,
        **decisions(y, called),
        "auc": within_folds(metrics.roc_auc_score, rows, by=lambda y: (y == 1).sum() * (y == 0).sum()),
        "average_precision": within_folds(metrics.average_precision_score, rows, by=np.sum),
        **operating(rows),
    }


def within_folds(metric, rows, *, by):
    """Average a metric over the folds that have both classes."""
    parts = [part for _, part in rows.groupby("fold") if part["label"].nunique() == 2]
    values = [metric(part["label"], part["score"]) for part in parts]
    return np.average(values, weights=[by(part["label"]) for part in parts]) if parts else np.nan


def probabilities(y, p):
    if not len(y):
        return dict.fromkeys(PROBABILITY, np.nan)
    bins = [(y[b] - p[b]).sum() for b in (np.minimum(np.floor(p * 10), 9) == k for k in range(10))]
    return {
        "log_loss": metrics.log_loss(y, p, labels=[0, 1]),
        "brier": metrics.brier_score_loss(y, p, labels=[0, 1]),
        "ece": np.abs(bins).sum() / len(y),
    }


def operating(rows):
    """Try every cut, in fractions."""
    y, score = rows["label"].to_numpy(), rows["score"].to_numpy()
    attacks = [(rows["attack"] == name).to_numpy() & (y == 1) for name in set(rows["attack"][y == 1])]
    cuts = []
    for threshold in [*np.unique(score), np.inf]:
        passed = score < threshold
        missed, *by_attack = (Fraction(int(passed[r].sum()), int(r.sum())) for r in (y == 1, *attacks))
        cuts.append((missed, Fraction(int((~passed)[y == 0].sum()), int((y == 0).sum())), max(by_attack)))
    missed, fpr, _ = min(cuts, key=lambda cut: abs(cut[0] - cut[1]))
    found = {"eer": (missed + fpr) / 2}
    for share in ("10", "1", "0.1"):
        found[f"tpr_at_fpr_{share}"] = max(1 - m for m, f, _ in cuts if f <= Fraction(share) / 100)
    for share in ("10", "5", "1"):
        found[f"bpcer_at_apcer_{share}"] = min(f for _, f, a in cuts if a <= Fraction(share) / 100)
    return {name: float(value) for name, value in found.items()}


@st.composite
def judged(draw):
    """Rows with every column and both classes, and three replicates of whole weights."""
    line = st.tuples(
        st.integers(0, 1),
        st.integers(0, 5).map(float),
        st.integers(0, 2),
        st.sampled_from(["", "swap", "lips"]),
        st.integers(0, 1).map(float),
        st.integers(1, 99).map(lambda k: k / 100),
    )
    lines = draw(st.lists(line, max_size=18))
    lines += [(label, *draw(line)[1:]) for label in (0, 1)]
    rows = pd.DataFrame(lines, columns=["label", "score", "fold", "attack", "called", "probability"])
    weights = st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))
    return rows, np.array([draw(weights) for _ in range(3)], np.uint16)


def same(found, expected):
    assert set(found) == set(expected)
    for name, value in found.items():
        assert value == pytest.approx(expected[name], abs=1e-12, nan_ok=True), name


@settings(max_examples=40)
@given(data=judged())
def test_unit_weights_give_the_figures_of_the_rows(data):
    rows, _ = data
    same({name: value[0] for name, value in every_figure(rows).items()}, point(rows))


@settings(max_examples=40)
@given(data=judged())
def test_whole_weights_are_repeated_rows(data):
    rows, weights = data
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        found = every_figure(rows, weights)
    for b, weight in enumerate(weights):
        again = rows.loc[np.repeat(np.arange(len(rows)), weight)].reset_index(drop=True)
        same({name: value[b] for name, value in found.items()}, point(again))


@pytest.fixture
def crossed(rng):
    """80 rows of 14 people with every column; models score two folds on scales of their own."""
    label = (rng.uniform(size=80) < 0.6).astype(np.int64)
    fold = np.arange(80) % 2
    score = (rng.normal(size=80) + label).round(1) + 3 * fold
    people = pd.DataFrame(rng.integers(14, size=(80, 2)).astype(str), columns=["identity", "source_identity"])
    people.loc[label == 0, "source_identity"] = ""
    attack = np.where(label == 1, rng.choice(["swap", "lips"], size=80), "")
    called, probability = (score - 3 * fold > 0.5).astype(float), rng.uniform(size=80)
    table = {"label": label, "score": score, "fold": fold, "attack": attack, "called": called}
    return people.assign(clip=[f"clip{n}" for n in range(80)], **table, probability=probability)


def test_replicates_of_people_are_weighted_by_scikit_learn(crossed):
    drawn = resample(crossed, seed=0, replicates=70)  # more than a chunk
    given = {"cells": drawn.cells, "weights": drawn.weights}
    found = decision_figures(crossed, **given) | probability_figures(crossed, **given)
    assert {values.shape for values in found.values()} == {(70,)}
    y, called, p = (crossed[column].to_numpy() for column in ("label", "called", "probability"))
    for b in (0, 35, 69):
        w = drawn.weights[b, drawn.cells].astype(float)
        weighted = {
            "f1": metrics.f1_score(y, called, sample_weight=w),
            "precision": metrics.precision_score(y, called, sample_weight=w),
            "recall": metrics.recall_score(y, called, sample_weight=w),
            "specificity": metrics.recall_score(y, called, pos_label=0, sample_weight=w),
            "accuracy": metrics.accuracy_score(y, called, sample_weight=w),
            "balanced_accuracy": metrics.balanced_accuracy_score(y, called, sample_weight=w),
            "mcc": metrics.matthews_corrcoef(y, called, sample_weight=w),
            "log_loss": metrics.log_loss(y, p, sample_weight=w),
            "brier": metrics.brier_score_loss(y, p, sample_weight=w),
        }
        assert {name: found[name][b] for name in weighted} == pytest.approx(weighted)


def test_curves_of_people_are_weighted_by_scikit_learn(crossed):
    drawn = resample(crossed, seed=0, replicates=70)
    found = score_figures(crossed, cells=drawn.cells, weights=drawn.weights)
    assert {values.shape for values in found.values()} == {(70,)}
    y, score = crossed["label"].to_numpy(), crossed["score"].to_numpy()
    for b in (0, 35, 69):
        w = drawn.weights[b, drawn.cells].astype(float)
        fpr, tpr, _ = metrics.roc_curve(y, score, sample_weight=w, drop_intermediate=False)
        for name in ("tpr_at_fpr_10", "tpr_at_fpr_1", "tpr_at_fpr_0.1"):
            assert found[name][b] == pytest.approx(tpr[fpr <= RATES[name]].max())
        fpr, fnr, _ = metrics.det_curve(y, score, sample_weight=w)
        gap = np.abs(fpr - fnr)
        nearest = (fpr + fnr)[gap < gap.min() + 1e-9] / 2
        assert np.abs(nearest - found["eer"][b]).min() < 1e-12


def test_auc_and_average_precision_are_taken_within_folds(crossed):
    own = crossed.assign(score=crossed["score"] - 3 * crossed["fold"])
    far, near = every_figure(crossed), every_figure(own)
    for name in RANKING:
        assert far[name] == near[name]
        assert far[name] != pytest.approx(every_figure(crossed.assign(fold=0))[name])
    assert far["eer"] != near["eer"]  # of all scores together, as one threshold cuts them


def test_what_is_counted_is_pooled_over_folds(crossed):
    pooled, folded = every_figure(crossed.assign(fold=0)), every_figure(crossed)
    for name in set(METRICS) - set(RANKING):
        np.testing.assert_array_equal(folded[name], pooled[name])


def test_average_precision_counts_a_fold_by_its_fakes():
    # Fold 0: 1 fake, above its real: 1. Fold 1: 3 fakes below their real: (1/2 + 2/3 + 3/4) / 3.
    rows = pd.concat([scores([1], [0]), scores([1, 2, 3], [9]).assign(fold=1)], ignore_index=True)
    assert figure(rows, "average_precision") == pytest.approx([(1 + 1 / 2 + 2 / 3 + 3 / 4) / 4])
    assert figure(rows, "auc") == [1 / 4]  # one of four pairs within folds


def test_a_fold_without_weight_in_one_class_ranks_nothing():
    # Without its real, the second fold would have average precision 1.
    rows = pd.concat([scores([1], [2]), scores([1, 2, 3], [9]).assign(fold=1)], ignore_index=True)
    weights = [[1, 1, 1, 1, 1, 0], [1, 0, 1, 1, 1, 0], [0, 1, 1, 1, 1, 1]]
    first, second = 1 / 2, (1 / 2 + 2 / 3 + 3 / 4) / 3
    np.testing.assert_allclose(figure(rows, "average_precision", weights), [first, np.nan, second])
    np.testing.assert_allclose(figure(rows, "auc", weights), [0, np.nan, 0])


# -- what is not known ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["called", "probability"])
@pytest.mark.parametrize("places", [[0], range(6)])
def test_without_calls_or_probabilities_their_figures_are_undefined(column, places):
    rows = HAND.copy()
    rows.loc[list(places), column] = np.nan
    names = {"called": [*DECISIONS, *PRESENTATION], "probability": list(PROBABILITY)}[column]
    found, whole = every_figure(rows, np.ones((3, 6))), every_figure(HAND, np.ones((3, 6)))
    for name, value in found.items():
        assert np.isnan(value).all() == (name in names)
        assert value.shape == (3,)
        if name not in names:
            np.testing.assert_array_equal(value, whole[name])


def test_an_attack_without_weight_has_no_error_rate():
    # Without the missed swap: one swap and the lips, all caught, and no fake below a real.
    weights = [[1, 1, 0, 1, 1, 1], [1, 1, 1, 1, 0, 1], [1, 1, 1, 1, 1, 0], [1, 1, 0, 1, 1, 0]]
    assert figure(HAND, "apcer", weights) == [0, 0.5, 1, 0]  # the third: the only swap is missed
    assert figure(HAND, "bpcer_at_apcer_10", weights) == pytest.approx([0, 1 / 3, 1 / 3, 0])


def test_a_replicate_without_a_class_has_no_figure_and_no_warning(recwarn):
    # Reals alone, fakes alone, nobody.
    found = every_figure(HAND, [[1, 1, 0, 1, 0, 0], [0, 0, 1, 0, 1, 1], [0] * 6])
    defined = {name: tuple(~np.isnan(value)) for name, value in found.items()}
    assert {name: on for name, on in defined.items() if any(on)} == {
        **dict.fromkeys(["specificity", "bpcer"], (True, False, False)),
        **dict.fromkeys(["recall", "apcer"], (False, True, False)),
        **dict.fromkeys(PROBABILITY, (True, True, False)),
    }
    assert not recwarn.list
