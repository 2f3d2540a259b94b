"""A search against scikit-learn's GridSearchCV on the same folds, and against plain estimators."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_predict
from sklearn.svm import SVC
from xgboost import XGBClassifier

from classify.fitting import fit_fold_models
from classify.protocols import Fold
from classify.search import search

GRIDS = {
    "logistic_regression": {"C": [0.001, 0.1, 10.0]},
    "svc": {"kernel": ["rbf", "poly"], "C": [0.01, 1.0, 100.0], "gamma": ["scale", 0.3]},
    # odd numbers of trees: where a score is exactly one half, scikit-learn's own rounding decides
    "random_forest": {"n_estimators": [5, 11, 3], "max_depth": [None, 3, 6], "min_samples_leaf": [1, 3]},
    "xgboost": {
        "n_estimators": [3, 9],
        "max_depth": [2, 5],
        "learning_rate": [0.5],
        "colsample_bytree": [0.5, 1.0],
    },
}
TOLERANCE = {"logistic_regression": 1e-6, "svc": 1e-6}  # of scores; trees agree to the last bit
METHODS = {"logistic_regression": "decision_function", "svc": "decision_function"}


def estimator(name, seed):
    return {
        "logistic_regression": LogisticRegression(max_iter=5000),
        "svc": SVC(),
        "random_forest": RandomForestClassifier(random_state=seed),
        "xgboost": XGBClassifier(tree_method="hist", n_jobs=1, random_state=seed),
    }[name]


def plain(noisy, seed):
    return noisy(n=72, d=7, seed=seed)


def unbalanced(noisy, seed):
    X, _ = noisy(n=72, d=7, seed=seed)
    return X, ((np.arange(72) % 6 == 0) | (X[:, 0] > 2.2)).astype(np.int64)


def tied(noisy, seed):
    X, y = noisy(n=72, d=7, seed=seed)
    X = np.round(X)
    X[:, 5] = -1.0
    X[30:42], X[60:66] = X[18:30], X[0:6]
    return X, y


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("make", [plain, unbalanced, tied])
@pytest.mark.parametrize("name", list(GRIDS))
def test_the_search_has_the_answers_of_separate_fits(name, make, seed, noisy):
    X, y = make(noisy, seed)
    number = np.where(np.arange(72) % 17 == 3, -1, np.arange(72) // 24)  # some rows are never tested
    splits = PredefinedSplit(number)
    folds = [Fold(train, test) for train, test in splits.split()]
    found = search(X, y, classifier=name, grid=GRIDS[name], folds=folds, metric="f1", seed=seed)
    theirs = GridSearchCV(estimator(name, seed), GRIDS[name], scoring="f1", cv=splits, refit=False).fit(X, y)
    assert found.best == theirs.best_params_
    ours = found.configurations.pivot_table(index="configuration", columns="fold", values="f1").to_numpy()
    expected = np.column_stack([theirs.cv_results_[f"split{k}_test_score"] for k in range(3)])
    np.testing.assert_array_equal(ours, expected)
    scores = out_of_fold(estimator(name, seed).set_params(**found.best), X, y, folds, name)
    np.testing.assert_allclose(found.scores, scores, rtol=0, atol=TOLERANCE.get(name, 0))


def out_of_fold(model, X, y, folds, name):
    scores = np.full(len(y), np.nan)
    for fold in folds:
        found = getattr(model.fit(X[fold.train], y[fold.train]), METHODS.get(name, "predict_proba"))(
            X[fold.test]
        )
        scores[fold.test] = found if found.ndim == 1 else found[:, 1]
    return scores


@pytest.mark.parametrize("name", list(GRIDS))
def test_models_fitted_again_have_the_scores_of_the_search(name, noisy, thirds):
    X, y = noisy()
    request = {"classifier": name, "folds": thirds(66), "seed": 4}
    found = search(X, y, grid=GRIDS[name], metric="auc", **request)
    models = fit_fold_models(X, y, params=found.best, **request)
    again = models.score_own(X, np.repeat([0, 1, 2], 22))
    np.testing.assert_allclose(again, found.scores, rtol=0, atol=1e-6 if name == "svc" else 0)


def test_without_the_memory_every_svc_computes_its_own_kernel(noisy, thirds):
    X, y = noisy()
    said = []
    request = {"classifier": "svc", "grid": GRIDS["svc"], "folds": thirds(66), "metric": "f1", "seed": 0}
    found = search(X, y, memory=66 * 66 * 8 - 1, say=said.append, **request)
    expected = cross_val_predict(
        SVC(**found.best), X, y, cv=[(f.train, f.test) for f in thirds(66)], method="decision_function"
    )
    np.testing.assert_array_equal(found.scores, expected)
    [line] = said
    assert line.startswith("SVC: inner products of all 66 faces would take 0.0 GB, more than the 0.0 GB")
    shared = search(X, y, memory=66 * 66 * 8, say=said.append, **request)
    assert shared.best == found.best
    assert len(said) == 1
    np.testing.assert_allclose(shared.scores, found.scores, rtol=0, atol=1e-9)


def test_memory_is_asked_for_the_rows_that_folds_use(noisy):
    X, y = noisy()
    folds, said = [Fold(np.arange(0, 20), np.arange(20, 30))], []
    request = {"classifier": "svc", "grid": {"C": [1.0]}, "folds": folds, "metric": "auc", "seed": 0}
    search(X, y, memory=30 * 30 * 8, say=said.append, **request)
    assert said == []
