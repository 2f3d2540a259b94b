import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from xgboost import XGBClassifier

from classify import prefixes
from classify.prefixes import BINNED, Kept, score_boosted, score_forests
from classify.protocols import Fold

FOLD = Fold(np.arange(60), np.arange(60, 90))


@pytest.fixture
def rough(noisy):
    """Rows whose features are tied and partly constant, some twice, and few of them fake."""

    def make(seed):
        X, y = noisy(n=90, d=8, seed=seed)
        X[:, :4] = np.round(X[:, :4])
        X[:, 7] = 1.0
        X[30:40] = X[20:30]
        y[:60] *= np.arange(60) % 3 > 0
        return X, y

    return make


def forest(X, y, seed, **params):
    model = RandomForestClassifier(random_state=seed, **params).fit(X[FOLD.train], y[FOLD.train])
    return model.predict_proba(X[FOLD.test])[:, 1]


def boosted(X, y, seed, **params):
    model = XGBClassifier(tree_method="hist", n_jobs=1, random_state=seed, **params)
    return model.fit(X[FOLD.train], y[FOLD.train]).predict_proba(X[FOLD.test])[:, 1]


def check(score, alone, X, y, points, seed):
    found = score(X, y, points, FOLD, seed, "")
    assert found.converged.all()
    for point, scores in zip(points, found.scores, strict=True):
        np.testing.assert_array_equal(scores, alone(X, y, seed, **point))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("leaf", [1, 3])
@pytest.mark.parametrize("columns", ["sqrt", 1.0])
def test_forests_have_the_bits_of_separate_fits(rough, seed, leaf, columns):
    points = [
        {"n_estimators": n, "max_depth": depth, "min_samples_leaf": leaf, "max_features": columns}
        for depth in (4, None, 1, 7)
        for n in (9, 2, 5)
    ]
    check(score_forests, forest, *rough(seed), points, seed)


def test_a_largest_depth_that_all_have_is_one_forest(rough):
    check(score_forests, forest, *rough(0), [{"n_estimators": n, "max_depth": 2} for n in (1, 4)], 0)


def test_depths_need_not_come_in_every_size(rough):
    points = [{"n_estimators": 3, "max_depth": None}, {"n_estimators": 7, "max_depth": 2}]
    check(score_forests, forest, *rough(0), points, 0)


def test_a_forest_without_a_grid_is_scikit_learns(rough):
    check(score_forests, forest, *rough(0), [{}], 0)


def test_missing_values_are_the_forests_own_matter(rough):
    X, y = rough(0)
    X[::7, 2] = np.nan
    points = [{"n_estimators": 4, "max_depth": depth} for depth in (None, 3)]
    check(score_forests, forest, X, y, points, 0)


def test_trees_that_end_above_a_depth_are_not_grown_again(rough, monkeypatch):
    X, y = rough(0)
    grown, real = [], prefixes._grow_again
    monkeypatch.setattr(
        prefixes, "_grow_again", lambda *a, **k: grown.append(k["max_depth"]) or real(*a, **k)
    )
    points = [{"n_estimators": 6, "max_depth": depth} for depth in (None, 40, 2)]
    check(score_forests, forest, X, y, points, 0)
    assert grown == [2] * 6


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("depth", [1, 6])
def test_rounds_have_the_bits_of_separate_fits(rough, seed, share, depth):
    points = [{"n_estimators": n, "max_depth": depth, "colsample_bytree": share} for n in (7, 1, 4)]
    check(score_boosted, boosted, *rough(seed), points, seed)


def test_boosting_without_a_grid_is_xgboosts(rough):
    check(score_boosted, boosted, *rough(0), [{}], 0)


def test_boosting_takes_missing_values(rough):
    X, y = rough(0)
    X[::7, 2] = np.nan
    check(score_boosted, boosted, X, y, [{"n_estimators": 4}], 0)


def test_a_fold_is_binned_once(rough, monkeypatch):
    X, y = rough(0)
    made, real = [], prefixes.xgboost.QuantileDMatrix
    monkeypatch.setattr(prefixes.xgboost, "QuantileDMatrix", lambda *a, **k: made.append(1) or real(*a, **k))
    points = [[{"n_estimators": 3, "max_depth": depth}] for depth in (1, 2, 3)]
    try:
        scores = [score_boosted(X, y, point, FOLD, 0, "data 0").scores[0] for point in points]
    finally:
        BINNED.forget()
    assert len(made) == 1
    for [point], found in zip(points, scores, strict=True):
        np.testing.assert_array_equal(found, boosted(X, y, 0, **point))


def test_one_thing_is_kept_by_its_key():
    kept, made = Kept(), []

    def make(value):
        return lambda: made.append(value) or value

    assert [kept.get(key, make(key)) for key in ("a", "a", "b", "a")] == ["a", "a", "b", "a"]
    assert made == ["a", "b", "a"]
    kept.forget()
    kept.get("a", make("again"))
    assert made[-1] == "again"


def test_nothing_is_kept_without_a_key():
    kept = Kept()
    assert [kept.get("", lambda value=value: value) for value in (1, 2)] == [1, 2]
