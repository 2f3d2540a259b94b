import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV, _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from classify.calibration import METHODS, NONE, Calibration, fit_calibration
from extract.errors import RequestError

every_method = pytest.mark.parametrize("method", list(METHODS))
IDENTITY = Calibration("platt", {"slope": [-1.0], "offset": [0.0]}, prior=0.5)  # score = log odds


@pytest.fixture
def scored(rng):
    """80 labels of both classes with scores, and other scores within and beyond their range."""
    y = (rng.uniform(size=80) < 0.4).astype(np.int64)
    return y, rng.normal(size=80).round(2) + y, np.linspace(-6, 6, 101)


def test_none_is_not_a_method():
    assert list(METHODS) == ["platt", "isotonic"]
    assert NONE not in METHODS


# -- Platt ---------------------------------------------------------------------------------------------------------


def test_platt_by_hand():
    # Fakes' target is (2 + 1) / (2 + 2) = 3/4, reals' is 1 / (2 + 2) = 1/4. Two scores and two parameters: 1/4 at 0
    # and 3/4 at 1, so the log odds run from -ln 3 to ln 3.
    fitted = fit_calibration(np.array([0, 0, 1, 1]), np.array([0.0, 0.0, 1.0, 1.0]), method="platt")
    assert fitted.parameters["offset"] == pytest.approx([np.log(3)], rel=1e-4)
    assert fitted.parameters["slope"] == pytest.approx([-2 * np.log(3)], rel=1e-4)
    assert fitted(np.array([0, 0.5, 1])) == pytest.approx([0.25, 0.5, 0.75], rel=1e-4)


def test_platt_is_scikit_learns(scored):
    y, score, new = scored
    theirs = _SigmoidCalibration().fit(score, y)
    fitted = fit_calibration(y, score, method="platt")
    assert fitted.parameters == {"slope": [theirs.a_], "offset": [theirs.b_]}
    np.testing.assert_allclose(fitted(new), theirs.predict(new), rtol=1e-14)


@pytest.mark.parametrize(("method", "name"), [("platt", "sigmoid"), ("isotonic", "isotonic")])
def test_a_cross_fitted_classifier_is_calibrated_as_scikit_learn_calibrates_it(method, name, noisy, thirds):
    # scikit-learn's calibration of out-of-fold scores; the classifier itself is then fitted to all rows.
    X, y = noisy()
    splits = [(fold.train, fold.test) for fold in thirds(66)]
    theirs = CalibratedClassifierCV(LogisticRegression(), method=name, ensemble=False, cv=splits).fit(X, y)
    score = np.empty(66)
    for train, test in splits:
        score[test] = LogisticRegression().fit(X[train], y[train]).decision_function(X[test])
    every = LogisticRegression().fit(X, y).decision_function(X)
    ours = fit_calibration(y, score, method=method)(every)
    np.testing.assert_allclose(ours, theirs.predict_proba(X)[:, 1], rtol=1e-6, atol=1e-9)


def test_separable_scores_do_not_become_certain():
    fitted = fit_calibration(np.array([0, 0, 1, 1]), np.array([-2.0, -1.0, 1.0, 2.0]), method="platt")
    assert 0.1 < fitted(np.array([-2.0]))[0] < 0.5 < fitted(np.array([2.0]))[0] < 0.9


# -- isotonic --------------------------------------------------------------------------------------------------------


def test_isotonic_by_hand():
    # 0.2 (fake) before 0.4 (real) pools to 1/2; below only a real, above only a fake.
    y, score = np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.4, 0.8])
    fitted = fit_calibration(y, score, method="isotonic")
    assert fitted(score).tolist() == [0, 0.5, 0.5, 1]
    assert fitted(np.array([-9, 0.15, 0.3, 0.6, 9])) == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_isotonic_is_scikit_learns(scored):
    y, score, new = scored
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, y)
    fitted = fit_calibration(y, score, method="isotonic")
    np.testing.assert_allclose(fitted(new), theirs.predict(new), rtol=1e-12)


@every_method
@pytest.mark.parametrize(("y", "value"), [([0, 1, 1], 2 / 3), ([0, 0, 0, 1], 1 / 4)])
def test_scores_that_say_nothing_become_the_share_of_fakes(method, y, value):
    fitted = fit_calibration(np.array(y), np.full(len(y), 0.3), method=method)
    # Platt's targets are smoothed: (fakes (fakes + 1) / (fakes + 2) + reals / (reals + 2)) / n
    fakes, reals = sum(y), len(y) - sum(y)
    smoothed = (fakes * (fakes + 1) / (fakes + 2) + reals / (reals + 2)) / len(y)
    expected = {"isotonic": value, "platt": smoothed}[method]
    assert fitted(np.array([0.3])) == pytest.approx([expected], abs=1e-4)


# -- what both promise -------------------------------------------------------------------------------------------


@every_method
@given(lines=st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), max_size=20))
def test_probabilities_keep_the_order_of_informative_scores(method, lines):
    y, score = (np.array(column) for column in zip(*lines, (0, -3), (1, 3), strict=True))
    probability = fit_calibration(y, score, method=method)(np.linspace(-5, 5, 41))
    assert ((probability >= 0) & (probability <= 1)).all()
    steps = np.diff(probability)
    falls = (
        method == "platt" and np.corrcoef(y, score)[0, 1] < 0
    )  # one slope: of reversed scores it is reversed
    assert (steps <= 1e-12).all() if falls else (steps >= -1e-12).all()


@every_method
def test_calibrated_scores_lose_less(method, scored):
    y, score, _ = scored
    assert log_loss(y, fit_calibration(y, score, method=method)(score)) < log_loss(
        y, 1 / (1 + np.exp(-3 * score))
    )


@every_method
def test_a_calibration_survives_json(method, scored):
    y, score, new = scored
    fitted = fit_calibration(y, score, method=method)
    again = Calibration.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted
    assert again(new).tobytes() == fitted(new).tobytes()


@every_method
def test_the_prior_is_the_share_of_fakes(method, scored):
    y, score, _ = scored
    assert fit_calibration(y, score, method=method).prior == y.mean()


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="Expected both classes to calibrate on; got one"):
        fit_calibration(np.ones(3, int), np.arange(3.0), method="platt")


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(RequestError, match=r"Expected a known calibration; got 'plat'. Did you mean 'platt'"):
        fit_calibration(np.array([0, 1]), np.arange(2.0), method="plat")


# -- another share of fakes ----------------------------------------------------------------------------------------


def test_another_prior_by_hand():
    # Odds of 3 and 1/3 at one fake a real; at one fake nine reals they are 3/9 and 1/27.
    score = np.log([3, 1 / 3])
    assert IDENTITY(score) == pytest.approx([3 / 4, 1 / 4])
    assert IDENTITY(score, prior=0.1) == pytest.approx([1 / 4, 1 / 28])


@every_method
def test_the_same_prior_changes_nothing(method, scored):
    y, score, new = scored
    fitted = fit_calibration(y, score, method=method)
    np.testing.assert_allclose(fitted(new, prior=fitted.prior), fitted(new), atol=1e-12)


def test_another_prior_is_what_counting_says():
    # Scores 0, 1, 2 with reals 6, 3, 1 and fakes 1, 3, 6. With ten times the reals, the shares of fakes among them:
    y = np.repeat([0, 1], 10)
    score = np.repeat([0.0, 1, 2, 0, 1, 2], [6, 3, 1, 1, 3, 6])
    shifted = fit_calibration(y, score, method="isotonic")(np.arange(3.0), prior=1 / 11)
    assert shifted == pytest.approx([1 / 61, 3 / 33, 6 / 16])


def test_certain_ones_stay_certain(recwarn):
    fitted = Calibration("isotonic", {"scores": [0.0, 1.0], "probabilities": [0.0, 1.0]}, prior=0.5)
    assert fitted(np.array([0.0, 1.0]), prior=0.01).tolist() == [0, 1]
    assert not recwarn.list
