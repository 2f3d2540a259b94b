import numpy as np
import pytest
from sklearn import metrics
from sklearn.dummy import DummyClassifier

from classify.metrics import (
    DECISIONS,
    METRICS,
    RANKING,
    SELECTION,
    baselines,
    decisions,
    evaluate,
    mean_and_deviation,
)

Y = np.array([0, 0, 0, 1, 1])
SCORE = np.array([0.1, 0.4, 0.6, 0.5, 0.9])


def test_every_figure_by_hand():
    figures = evaluate(Y, SCORE, threshold=0.45)  # called fake: 0.6 (real), 0.5, 0.9
    assert figures == {
        "auc": pytest.approx(5 / 6),  # of six pairs only (0.6, 0.5) is in the wrong order
        "average_precision": pytest.approx(5 / 6),  # half of the recall at precision 1, half at 2/3
        "recall": 1.0,
        "precision": pytest.approx(2 / 3),
        "f1": pytest.approx(4 / 5),
        "accuracy": pytest.approx(4 / 5),
        "specificity": pytest.approx(2 / 3),
        "balanced_accuracy": pytest.approx(5 / 6),
        "mcc": pytest.approx(2 / 3),  # (2 x 2 - 1 x 0) / sqrt(3 x 2 x 3 x 2)
    }


def test_the_figures_are_the_named_ones_in_order():
    assert tuple(evaluate(Y, SCORE, threshold=0)) == tuple(SELECTION) == (*RANKING, *DECISIONS)
    assert tuple(METRICS)[: len(SELECTION)] == tuple(SELECTION)
    assert next(iter(SELECTION)) == "auc"


@pytest.mark.parametrize(
    ("threshold", "recall"),
    [(0.5, 1.0), (np.nextafter(0.5, 1), 0.5), (0.9, 0.5), (np.nextafter(0.9, 1), 0.0)],
)
def test_a_score_at_the_threshold_is_called_fake(threshold, recall):
    assert evaluate(Y, SCORE, threshold=threshold)["recall"] == recall


def test_auc_does_not_depend_on_the_threshold():
    assert len({evaluate(Y, SCORE, threshold=t)["auc"] for t in (-9, 0.2, 0.55, 9)}) == 1


def test_auc_counts_a_tie_as_half():
    assert evaluate(np.array([0, 1, 1]), np.array([0.3, 0.3, 0.8]), threshold=0)["auc"] == 0.75


def test_reversed_scores_have_auc_zero():
    assert evaluate(np.array([0, 1]), np.array([1.0, 0.0]), threshold=0.5)["auc"] == 0


def test_nothing_called_fake_counts_as_zero_without_a_warning(recwarn):
    figures = evaluate(Y, SCORE, threshold=2.0)
    assert (figures["recall"], figures["precision"], figures["f1"]) == (0, 0, 0)
    assert figures["accuracy"] == 3 / 5
    assert not recwarn.list


def test_calling_everything_fake_has_recall_one_and_the_share_as_accuracy():
    figures = evaluate(Y, SCORE, threshold=-1.0)
    assert (figures["recall"], figures["accuracy"], figures["precision"]) == (1, 2 / 5, 2 / 5)
    assert figures["f1"] == pytest.approx(4 / 7)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_refused(label):
    with pytest.raises(ValueError, match="Expected both classes for an AUC; got one"):
        evaluate(np.full(3, label), np.arange(3.0), threshold=0.5)


def test_scores_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        evaluate(Y, np.array([0.1, np.nan, 0.2, 0.3, 0.4]), threshold=0.5)


def test_mean_and_sample_deviation():
    mean, deviation = mean_and_deviation([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5
    assert deviation == pytest.approx((5 / 3) ** 0.5)


def test_a_single_value_has_no_deviation(recwarn):
    mean, deviation = mean_and_deviation([0.25])
    assert mean == 0.25
    assert np.isnan(deviation)
    assert not recwarn.list


def test_no_threshold_leaves_what_depends_on_it_undefined(recwarn):
    figures = evaluate(Y, SCORE, threshold=np.nan)
    assert {name: figures[name] for name in RANKING} == pytest.approx(
        {"auc": 5 / 6, "average_precision": 5 / 6}
    )
    assert all(np.isnan(figures[name]) for name in DECISIONS)
    assert not recwarn.list


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.4])
def test_every_figure_is_scikit_learns(threshold, rng):
    y = rng.integers(0, 2, 50)
    score = rng.normal(size=50).round(1) + y
    called = score >= threshold
    assert evaluate(y, score, threshold=threshold) == {
        "auc": metrics.roc_auc_score(y, score),
        "average_precision": metrics.average_precision_score(y, score),
        "f1": metrics.f1_score(y, called),
        "precision": metrics.precision_score(y, called),
        "recall": metrics.recall_score(y, called),
        "specificity": metrics.recall_score(y, called, pos_label=0),
        "accuracy": metrics.accuracy_score(y, called),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, called),
        "mcc": metrics.matthews_corrcoef(y, called),
    }


def test_fake_is_the_positive_class():
    # TP 3, FN 1, FP 2, TN 4: exchanging the classes would exchange recall and specificity, and change F1.
    y, called = np.array([1] * 4 + [0] * 6), np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    figures = decisions(y, called)
    assert figures == pytest.approx(
        {
            "f1": 6 / 9,
            "precision": 3 / 5,
            "recall": 3 / 4,
            "specificity": 4 / 6,
            "accuracy": 7 / 10,
            "balanced_accuracy": 17 / 24,
            "mcc": (3 * 4 - 2 * 1) / (5 * 4 * 6 * 5) ** 0.5,
        }
    )


def test_titles_and_directions():
    assert {name for name, metric in METRICS.items() if metric.better == -1} == {
        *("apcer", "bpcer", "eer", "bpcer_at_apcer_10", "bpcer_at_apcer_5", "bpcer_at_apcer_1"),
        *("log_loss", "brier", "ece"),
    }
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [("recall", 0.8125, "81.25"), ("mcc", -0.5, "-0.500"), ("brier", 0.25, "0.250"), ("auc", np.nan, "-")],
)
def test_values_are_shown_in_percent_or_as_they_are(metric, value, text):
    assert METRICS[metric].show(value) == text


# -- baselines: 3 fakes of 4 ------------------------------------------------------------------------------------

MOSTLY_FAKE = np.array([1, 0, 1, 1])
FIXED = {"auc": 0.5, "average_precision": 0.75}


def test_calling_everything_one_class_by_hand():
    found = baselines(MOSTLY_FAKE)
    assert found["call everything fake"] == pytest.approx(
        FIXED
        | {"f1": 6 / 7, "precision": 0.75, "recall": 1, "specificity": 0, "accuracy": 0.75}
        | {"balanced_accuracy": 0.5, "mcc": 0, "log_loss": np.inf, "brier": 0.25, "ece": 0.25}
    )
    assert found["call everything real"] == pytest.approx(
        FIXED
        | {"f1": 0, "precision": 0, "recall": 0, "specificity": 1, "accuracy": 0.25}
        | {"balanced_accuracy": 0.5, "mcc": 0, "log_loss": np.inf, "brier": 0.75, "ece": 0.75}
    )


def test_guessing_by_hand():
    entropy = 0.75 * np.log(4 / 3) + 0.25 * np.log(4)
    assert baselines(MOSTLY_FAKE)["guess at the base rate"] == pytest.approx(
        FIXED
        | {"f1": 0.75, "precision": 0.75, "recall": 0.75, "specificity": 0.25, "accuracy": 9 / 16 + 1 / 16}
        | {"balanced_accuracy": 0.5, "mcc": 0, "log_loss": entropy, "brier": 3 / 16, "ece": 0}
    )


def test_baselines_are_scikit_learns_dummies():
    y = np.repeat(MOSTLY_FAKE, 5000)
    X, found = np.zeros((len(y), 1)), baselines(y)
    for name, call in (("call everything fake", 1), ("call everything real", 0)):
        constant = DummyClassifier(strategy="constant", constant=call).fit(X, y)
        p = constant.predict_proba(X)[:, 1]
        assert {n: found[name][n] for n in DECISIONS} == decisions(y, constant.predict(X))
        assert found[name]["brier"] == pytest.approx(metrics.brier_score_loss(y, p))
        assert found[name]["auc"] == metrics.roc_auc_score(y, p)
        assert found[name]["average_precision"] == pytest.approx(metrics.average_precision_score(y, p))
    guess = found["guess at the base rate"]
    drawn = DummyClassifier(strategy="stratified", random_state=0).fit(X, y).predict(X)
    expected = {name: guess[name] for name in DECISIONS}
    assert decisions(y, drawn) == pytest.approx(expected, abs=0.02)  # 5,000 reals: a deviation of 0.006
    prior = DummyClassifier(strategy="prior").fit(X, y).predict_proba(X)[:, 1]
    assert guess["brier"] == pytest.approx(metrics.brier_score_loss(y, prior))
    assert guess["log_loss"] == pytest.approx(metrics.log_loss(y, prior))
