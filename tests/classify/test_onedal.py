import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from classify.models import CLASSIFIERS
from classify.search import search

pytest.importorskip("sklearnex")


@pytest.mark.parametrize(
    "params", [{"C": 1.0}, {"C": 0.1, "kernel": "poly"}, {"kernel": "linear"}, {"C": 10.0, "gamma": 0.02}]
)
def test_an_svc_has_the_decision_values_of_onedal(params, noisy):
    from sklearnex.svm import SVC as Solved

    X, y = noisy(n=200, d=8)
    y[:60] = 0  # unbalanced
    model = CLASSIFIERS["svc_onedal"].build(params, 0).fit(X[:150], y[:150])
    solved = Solved(**params, n_jobs=1).fit(X[:150].astype(np.float64), y[:150])
    assert type(model) is SVC
    expected = solved.decision_function(X.astype(np.float64))
    np.testing.assert_allclose(model.decision_function(X), expected, rtol=0, atol=1e-9)
    plain = SVC(**params).fit(X[:150], y[:150])
    assert vars(model).keys() == vars(plain).keys()
    assert roc_auc_score(y[150:], plain.decision_function(X[150:])) == pytest.approx(
        roc_auc_score(y[150:], expected[150:]), abs=0.03
    )
    assert (model.predict(X) == solved.predict(X.astype(np.float64))).all()


def test_a_forest_is_scikit_learns_of_onedals_trees(noisy):
    from sklearnex.ensemble import RandomForestClassifier as Grown

    X, y = noisy(n=200, d=8)
    model = CLASSIFIERS["random_forest_onedal"].build({"n_estimators": 9}, 4).fit(X[:150], y[:150])
    assert type(model) is RandomForestClassifier
    grown = Grown(n_estimators=9, random_state=4, n_jobs=1).fit(X[:150], y[:150])
    np.testing.assert_allclose(model.predict_proba(X), grown.predict_proba(X), rtol=0, atol=1e-6)
    again = CLASSIFIERS["random_forest_onedal"].build({"n_estimators": 9}, 4).fit(X[:150], y[:150])
    for one, other in zip(model.estimators_, again.estimators_, strict=True):
        assert one.tree_.__getstate__()["nodes"].tobytes() == other.tree_.__getstate__()["nodes"].tobytes()
    assert (model.predict(X[150:]) == y[150:]).mean() > 0.6


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("svc_onedal", {"C": [0.1, 1.0, 10.0]}),
        (
            "random_forest_onedal",
            {"n_estimators": [3, 9, 5], "max_depth": [None, 2], "min_samples_leaf": [1, 4]},
        ),
    ],
)
def test_a_search_has_the_answers_of_separate_fits(name, grid, noisy, thirds):
    X, y = noisy()
    request = {"classifier": name, "grid": grid, "metric": "f1", "seed": 2}
    found, again = (search(X, y, folds=thirds(66), n_jobs=n_jobs, **request) for n_jobs in (1, 2))
    assert found.scores.tobytes() == again.scores.tobytes()
    kind = CLASSIFIERS[name]
    for fold in thirds(66):
        alone = kind.score(kind.build(found.best, 2).fit(X[fold.train], y[fold.train]), X[fold.test])
        np.testing.assert_array_equal(found.scores[fold.test], alone)
