import numpy as np
import pytest

from classify.metrics import DECISION_METRICS, METRICS, evaluate, mean_and_deviation

Y = np.array([0, 0, 0, 1, 1])
SCORE = np.array([0.1, 0.4, 0.6, 0.5, 0.9])


def test_every_figure_by_hand():
    figures = evaluate(Y, SCORE, threshold=0.45)  # called fake: 0.6 (real), 0.5, 0.9
    assert figures == {
        "auc": pytest.approx(5 / 6),  # of six pairs only (0.6, 0.5) is in the wrong order
        "recall": 1.0,
        "precision": pytest.approx(2 / 3),
        "f1": pytest.approx(4 / 5),
        "accuracy": pytest.approx(4 / 5),
    }


def test_the_figures_are_the_named_ones_in_order():
    assert tuple(evaluate(Y, SCORE, threshold=0)) == METRICS == ("auc", *DECISION_METRICS)


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
