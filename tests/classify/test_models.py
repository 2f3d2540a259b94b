import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import ParameterGrid

from classify.models import CLASSIFIERS, check_grid, fitted_as, installed
from extract.errors import RequestError

SUITE = Path(__file__).parents[2] / "benchmarks" / "suites" / "papic2025.toml"
GRIDS = tomllib.loads(SUITE.read_text(encoding="utf-8"))["classifiers"]
every_classifier = pytest.mark.parametrize("name", installed())


def first_point(name):
    point = next(iter(ParameterGrid(GRIDS[fitted_as(name)])))
    return {key: None if value == "none" else value for key, value in point.items()}


@pytest.fixture
def fit(noisy):
    """Fit a classifier at the first point of its grid on noisy rows; returns it with rows it has not seen."""

    def make(name, *, seed=0, **changes):
        X, y = noisy()
        estimator = CLASSIFIERS[name].build({**first_point(name), **changes}, seed)
        return estimator.fit(X, y), noisy(n=200, seed=1)[0]

    return make


def test_the_classifiers_are_registered():
    own = ["logistic_regression", "svc", "random_forest", "xgboost"]
    assert list(CLASSIFIERS) == [*own, "svc_onedal", "random_forest_onedal"]
    assert [name for name in CLASSIFIERS if fitted_as(name) == name] == own


def test_a_classifier_whose_package_is_missing_is_refused(monkeypatch):
    monkeypatch.setattr("classify.models.find_spec", lambda name: None)
    assert installed() == ["logistic_regression", "svc", "random_forest", "xgboost"]
    with pytest.raises(RequestError, match=r"Expected sklearnex for classifier svc_onedal.*bench\[accel\]"):
        check_grid("svc_onedal", {"C": [1.0]})


@every_classifier
def test_the_grid_of_the_paper_is_accepted(name):
    check_grid(
        name,
        {key: [None if v == "none" else v for v in values] for key, values in GRIDS[fitted_as(name)].items()},
    )
    assert set(GRIDS[fitted_as(name)]) <= set(CLASSIFIERS[name].parameters)


@every_classifier
@pytest.mark.parametrize("n", [1, 200])
def test_scores_are_one_float64_a_row(name, n, fit):
    fitted, X = fit(name)
    scores = CLASSIFIERS[name].score(fitted, X[:n])
    assert scores.shape == (n,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


@every_classifier
def test_a_higher_score_is_more_likely_fake(name, noisy):
    X, y = noisy(shift=9.0)
    kind = CLASSIFIERS[name]
    fitted = kind.build(first_point(name), 0).fit(X, y)
    new, labels = noisy(shift=9.0, seed=1)
    assert roc_auc_score(labels, kind.score(fitted, new)) == 1.0


@every_classifier
def test_the_default_threshold_is_the_estimators_own_decision(name, fit):
    kind, (fitted, X) = CLASSIFIERS[name], fit(name)
    scores = kind.score(fitted, X)
    untied = scores != kind.default_threshold
    called = scores >= kind.default_threshold
    assert untied.mean() > 0.9
    np.testing.assert_array_equal(called[untied], fitted.predict(X)[untied] == 1)


@every_classifier
def test_scores_are_distances_or_probabilities_as_declared(name, fit):
    kind, (fitted, X) = CLASSIFIERS[name], fit(name)
    scores = kind.score(fitted, X)
    if kind.output == "decision_function":
        assert kind.default_threshold == 0.0
        np.testing.assert_array_equal(scores, fitted.decision_function(X))
    else:
        assert kind.default_threshold == np.nextafter(0.5, 1)
        np.testing.assert_array_equal(scores, fitted.predict_proba(X)[:, 1].astype(float))


@every_classifier
def test_the_same_seed_gives_the_same_bits(name, fit):
    kind = CLASSIFIERS[name]
    once, again = (kind.score(*fit(name, seed=5)) for _ in range(2))
    assert once.tobytes() == again.tobytes()


@pytest.mark.parametrize(
    ("name", "changes"),
    [("random_forest", {}), ("xgboost", {"colsample_bytree": 0.5})],
    ids=["forest", "xgb"],
)
def test_another_seed_gives_another_model(name, changes, fit):
    kind = CLASSIFIERS[name]
    once, other = (kind.score(*fit(name, seed=seed, **changes)) for seed in (0, 1))
    assert (once != other).any()


@every_classifier
def test_a_fit_is_single_threaded(name):
    parameters = CLASSIFIERS[name].build(first_point(name), 0).get_params()
    wanted = {"random_forest": 1, "xgboost": 1}.get(
        fitted_as(name)
    )  # the others have no threads of their own: None
    assert parameters.get("n_jobs") == wanted


@every_classifier
def test_every_point_of_the_grid_reaches_the_estimator(name):
    for point in ParameterGrid(GRIDS[fitted_as(name)]):
        built = CLASSIFIERS[name].build(point, 0).get_params()
        assert {key: built[key] for key in point} == point


@every_classifier
def test_a_parameter_that_is_not_tuned_is_refused_with_those_that_are(name):
    known = ", ".join(CLASSIFIERS[name].parameters)
    with pytest.raises(RequestError, match=f"Expected a grid over {known} for {name}; got 'n_jobs'"):
        check_grid(name, {"n_jobs": [2]})


@every_classifier
def test_a_parameter_without_values_is_refused(name):
    parameter = next(iter(CLASSIFIERS[name].parameters))
    with pytest.raises(RequestError, match=rf"Expected values for {name}\.{parameter}; got none"):
        check_grid(name, {parameter: []})


def test_an_unknown_classifier_is_refused_with_the_nearest():
    with pytest.raises(RequestError, match=r"Expected a known classifier; got 'svm'. Did you mean 'svc'\?"):
        check_grid("svm", {"C": [1.0]})


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("logistic_regression", {"C": ["1.0"]}),
        ("svc", {"kernel": ["rbff"]}),
        ("random_forest", {"n_estimators": [0]}),
    ],
)
def test_a_value_that_the_classifier_cannot_take_is_refused(name, grid):
    with pytest.raises(RequestError, match=name):
        check_grid(name, grid)
