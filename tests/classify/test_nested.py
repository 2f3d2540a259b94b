"""A search inside every fold, against one that is made of separate searches; and halving."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from sklearn.model_selection import ParameterGrid

import classify.search
import classify.units
from classify.folds import identity_folds, nested_folds, shared_people
from classify.inputs import Inputs
from classify.metrics import evaluate
from classify.models import CLASSIFIERS
from classify.protocols import PROTOCOLS, Fold
from classify.search import rounds, search
from classify.units import Unit, run_unit
from extract.errors import RequestError

GRIDS = {
    "logistic_regression": {"C": [0.001, 0.1, 10.0]},
    "svc": {"kernel": ["rbf"], "C": [0.01, 1.0, 100.0]},
    "random_forest": {"n_estimators": [3, 7], "max_depth": [None, 2], "min_samples_leaf": [1, 3]},
    "xgboost": {"n_estimators": [3, 7], "max_depth": [2, 4]},
}
every_classifier = pytest.mark.parametrize("name", list(GRIDS))
BIG = {"max_depth": [1, 2, 3], "learning_rate": [0.05, 0.1, 0.5], "n_estimators": [5, 9]}


def fifths(n):
    return [
        Fold(np.flatnonzero(np.arange(n) % 5 != k), np.flatnonzero(np.arange(n) % 5 == k)) for k in range(5)
    ]


def request(name, folds, **options):
    return {"classifier": name, "grid": GRIDS[name], "folds": folds, "metric": "f1", "seed": 3, **options}


# -- folds inside folds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", sorted(set(PROTOCOLS) - {"official"}))
@given(seed=...)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_inner_folds_obey_the_protocol(protocol, persons, seed: bool):
    rows = persons(9)
    folds = identity_folds(rows, n_splits=3, protocol=protocol, seed=int(seed))
    for (a, b), fold in nested_folds(folds, rows["label"].to_numpy()).items():
        assert not shared_people(rows, fold, PROTOCOLS[protocol].disjoint)
        assert not set(fold.train) & set(fold.test)
        for k, other in ((a, b), (b, a)):
            assert set(fold.train) <= set(folds[k].train)
            assert set(fold.test) <= set(folds[k].train) | set(folds[k].test)
            tested = set(fold.test) & set(folds[k].train)  # inside fold k
            assert tested == set(folds[other].test) & set(folds[k].train)


def test_every_two_folds_share_one():
    y = np.arange(50) // 5 % 2
    found = nested_folds(fifths(50), y)
    assert list(found) == [(a, b) for a in range(5) for b in range(a + 1, 5)]
    assert found[1, 3].test.tolist() == [i for i in range(50) if i % 5 in (1, 3)]
    assert found[1, 3].train.tolist() == [i for i in range(50) if i % 5 in (0, 2, 4)]


def test_two_folds_have_none_inside():
    with pytest.raises(RequestError, match="Expected at least 3 folds to choose inside each; got 2"):
        nested_folds(fifths(50)[:2], np.arange(50) // 5 % 2)


def test_a_fold_inside_that_lacks_a_class_is_refused():
    y = np.isin(np.arange(50) % 5, (0, 3)).astype(int)  # the fakes are all in two folds
    with pytest.raises(
        RequestError, match="Expected real and fake in what is tested inside folds 1 and 2; got 0 real"
    ):
        nested_folds(fifths(50), y)


# -- the search inside -----------------------------------------------------------------------------------------


@every_classifier
def test_a_nested_search_is_a_search_inside_every_training_part(name, noisy):
    X, y = noisy(n=80)
    folds = fifths(80)
    found = search(X, y, nested=True, **request(name, folds))
    tolerance = 1e-9 if name == "svc" else 0
    for k, (fold, inner) in enumerate(zip(folds, found.nested.inner, strict=True)):
        others = [other for j, other in enumerate(folds) if j != k]
        inside = [Fold(np.intersect1d(other.train, fold.train), other.test) for other in others]
        alone = search(X, y, **request(name, inside))
        assert inner.best == alone.best
        np.testing.assert_allclose(inner.scores, alone.scores, rtol=0, atol=tolerance)
        assert [np.flatnonzero(inner.number == j).tolist() for j in range(4)] == [
            f.test.tolist() for f in inside
        ]
        assert (inner.number[fold.test] == -1).all()
        kind = CLASSIFIERS[name]
        scores = kind.score(kind.build(inner.best, 3).fit(X[fold.train], y[fold.train]), X[fold.test])
        np.testing.assert_allclose(found.nested.scores[fold.test], scores, rtol=0, atol=tolerance)


@every_classifier
def test_the_flat_search_is_the_same_beside_a_nested_one(name, noisy):
    X, y = noisy(n=80)
    one, two = (search(X, y, nested=nested, **request(name, fifths(80))) for nested in (False, True))
    assert one.nested is None
    assert one.best == two.best
    assert one.scores.tobytes() == two.scores.tobytes()
    pd.testing.assert_frame_equal(one.configurations, two.configurations)


def test_a_fold_that_sits_rows_out_passes_that_on(noisy):
    X, y = noisy(n=80)
    folds = [Fold(fold.train[fold.train % 7 != k], fold.test) for k, fold in enumerate(fifths(80))]
    inner = search(X, y, nested=True, **request("svc", folds)).nested.inner
    for k in range(5):
        out = np.arange(80) % 7 == k
        assert (inner[k].number[out] == -1).all()
        assert np.isnan(inner[k].scores[out]).all()
        assert (inner[k].number[folds[k].train] >= 0).all()


@pytest.mark.parametrize("n_jobs", [1, 2])
@every_classifier
def test_a_pair_of_folds_is_fitted_once(name, noisy, monkeypatch, n_jobs):
    X, y = noisy(n=80)
    seen = []

    def track(items, description, total=None, note=None):
        seen.append(total)
        return items

    search(X, y, nested=True, track=track, n_jobs=n_jobs, **request(name, fifths(80)))
    each = {"logistic_regression": 3, "svc": 1, "random_forest": 2, "xgboost": 2}[name]
    assert seen == [(5 + 10) * each]


# -- halving ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("families", "most", "expected"),
    [
        (1, 10**6, [1]),
        (2, 10**6, [3, 1]),
        (3, 10**6, [3, 1]),
        (4, 10**6, [9, 3, 1]),
        (9, 4500, [9, 3, 1]),
        (9, 4499, [3, 1]),
        (100, 1499, [1]),
        (27, 10**6, [27, 9, 3, 1]),
    ],
)
def test_rounds_leave_one_to_choose_and_enough_to_fit(families, most, expected):
    assert rounds(families, most, least=500) == expected


@pytest.fixture
def few(monkeypatch):
    """Rounds of few rows and trees; the units that are fitted, in a list."""
    monkeypatch.setattr(classify.search, "LEAST", {"rows": 8, "trees": 1})
    fitted, real = [], classify.units.run_unit
    monkeypatch.setattr(
        classify.units, "run_unit", lambda unit, *a, **k: fitted.append(unit) or real(unit, *a, **k)
    )
    return fitted


def test_halving_keeps_the_best_third_of_what_is_fitted_together(noisy, few):
    X, y = noisy(n=120)
    folds = fifths(120)
    found = search(X, y, how="halving", **request("xgboost", folds, grid=BIG))
    alike = {part: {unit.configurations for unit in few if unit.part == part} for part in (9, 3, 1)}
    assert [len(alike[part]) for part in (9, 3, 1)] == [9, 3, 1]
    table = found.configurations
    assert len(table) == 18 * 5
    assert table.groupby("part")["configuration"].nunique().to_dict() == {1: 2, 3: 4, 9: 12}
    means = table.groupby(["part", "configuration"])["f1"].mean()
    assert set(means[1].index) == set(next(iter(alike[1])))
    points = list(ParameterGrid(BIG))
    assert found.best == points[means[1].idxmax()]


def test_what_was_left_out_was_worse_at_its_round(noisy, few):
    X, y = noisy(n=120)
    folds = fifths(120)
    search(X, y, how="halving", **request("xgboost", folds, grid=BIG))
    units = list(few)
    alike = {part: {unit.configurations for unit in units if unit.part == part} for part in (9, 3, 1)}
    points = list(ParameterGrid(BIG))
    for part, after in ((9, 3), (3, 1)):
        means = {}
        for family in alike[part]:
            f1 = [
                [
                    evaluate(y[fold.test], scores, threshold=CLASSIFIERS["xgboost"].default_threshold)["f1"]
                    for scores in run_unit(
                        Unit("xgboost", 0, family, tuple(points[i] for i in family), 3, part),
                        Inputs(X, y, [fold]),
                    ).scores
                ]
                for fold in folds
            ]
            means[family] = np.mean(f1, axis=0).max()
        worst = min(means[family] for family in alike[after])
        assert alike[after] <= alike[part]
        assert all(means[family] <= worst for family in alike[part] - alike[after])
        assert min(means.values()) < worst  # else it would not matter which are kept


def test_what_came_to_the_end_has_the_figures_of_an_exhaustive_search(noisy, few):
    X, y = noisy(n=120)
    folds = fifths(120)
    grid = {"max_depth": [1, 2, 3], "min_samples_leaf": [1, 30, 60], "n_estimators": [6]}
    found = search(X, y, how="halving", **request("random_forest", folds, grid=grid))
    means = found.configurations.groupby(["part", "configuration"])["f1"].mean()
    exhaustive = search(X, y, **request("random_forest", folds, grid=grid))
    best = means[1].idxmax()
    mine, theirs = (
        table[table["configuration"] == best].drop(columns="part").reset_index(drop=True)
        for table in (found.configurations, exhaustive.configurations)
    )
    pd.testing.assert_frame_equal(mine, theirs)


def test_a_small_table_is_searched_whole(noisy):
    X, y = noisy(n=120)
    one, two = (
        search(X, y, how=how, **request("xgboost", fifths(120), grid=BIG))
        for how in ("exhaustive", "halving")
    )
    assert one.scores.tobytes() == two.scores.tobytes()
    assert (two.configurations["part"] == 1).all()


@pytest.mark.parametrize("name", ["logistic_regression", "svc"])
def test_halving_without_trees_takes_fewer_rows(name, noisy, few):
    X, y = noisy(n=120)
    grid = {"C": [0.01, 1.0, 100.0], **({"gamma": [0.01, 0.1, 1.0]} if name == "svc" else {})}
    search(X, y, how="halving", **request(name, fifths(120), grid=grid))
    assert {unit.part for unit in few} == {3, 1}
    assert len({unit.configurations for unit in few if unit.part == 1}) == 1


def test_halving_inside_every_fold(noisy, few):
    X, y = noisy(n=120)
    folds = fifths(120)
    found = search(X, y, how="halving", nested=True, **request("xgboost", folds, grid=BIG))
    for fold, inner in zip(folds, found.nested.inner, strict=True):
        kind = CLASSIFIERS["xgboost"]
        scores = kind.score(kind.build(inner.best, 3).fit(X[fold.train], y[fold.train]), X[fold.test])
        assert found.nested.scores[fold.test].tobytes() == scores.tobytes()
        assert not np.isnan(inner.scores[fold.train]).any()
