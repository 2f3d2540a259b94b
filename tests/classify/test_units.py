import pickle

import numpy as np
import pytest
from sklearn.model_selection import ParameterGrid

from classify.models import CLASSIFIERS
from classify.paths import PATHS
from classify.protocols import Fold
from classify.units import cut, new_data, rows_of, run_unit

GRIDS = {
    "logistic_regression": {"C": [0.1, 1.0, 10.0]},
    "svc": {"kernel": ["rbf", "linear"], "C": [0.1, 1.0, 10.0]},
    "random_forest": {"n_estimators": [3, 6], "max_depth": [None, 2], "min_samples_leaf": [1, 5]},
    "xgboost": {"n_estimators": [3, 6], "max_depth": [2, 3], "colsample_bytree": [0.5, 1.0]},
}
UNITS = {"logistic_regression": 3, "svc": 2, "random_forest": 2, "xgboost": 4}  # a fold
every_classifier = pytest.mark.parametrize("name", list(GRIDS))


def units(name, *, folds=3, **options):
    points = list(ParameterGrid(GRIDS[name]))
    return points, cut(points, classifier=name, folds=folds, seed=1, **options)


@every_classifier
def test_every_configuration_is_in_one_unit_of_every_fold(name):
    points, found = units(name)
    assert sorted((i, unit.fold) for unit in found for i in unit.configurations) == [
        (i, k) for i in range(len(points)) for k in range(3)
    ]
    assert all(points[i] == p for u in found for i, p in zip(u.configurations, u.points, strict=True))


@every_classifier
def test_configurations_of_a_unit_differ_in_what_they_share(name):
    _, found = units(name)
    assert len(found) == 3 * UNITS[name]
    for unit in found:
        rest = [{k: v for k, v in p.items() if k not in PATHS[name].shared} for p in unit.points]
        assert all(other == rest[0] for other in rest)


@every_classifier
def test_a_unit_may_be_one_configuration(name):
    points, found = units(name, share=False)
    assert len(found) == 3 * len(points)
    assert all(len(unit.configurations) == 1 for unit in found)


@every_classifier
def test_long_units_come_first(name):
    costs = [max(map(PATHS[name].cost, unit.points)) for unit in units(name)[1]]
    assert costs == sorted(costs, reverse=True)


def test_units_of_equal_cost_come_fold_by_fold():
    _, found = units("xgboost")
    assert [(unit.points[0]["max_depth"], unit.fold) for unit in found] == [
        (depth, fold) for depth in (3, 2) for fold in range(3) for _ in range(2)
    ]


@every_classifier
def test_a_unit_is_small_and_can_be_sent(name):
    unit = units(name, data=new_data())[1][0]
    assert len(pickle.dumps(unit)) < 1000
    assert pickle.loads(pickle.dumps(unit)) == unit


@every_classifier
def test_a_unit_returns_what_separate_fits_return(name, noisy):
    X, y = noisy()
    fold = Fold(np.arange(0, 44), np.arange(44, 66))
    kind = CLASSIFIERS[name]
    for unit in units(name, folds=1)[1]:
        found = run_unit(unit, X, y, fold)
        for point, scores in zip(unit.points, found.scores, strict=True):
            alone = kind.score(kind.build(point, 1).fit(X[fold.train], y[fold.train]), X[fold.test])
            np.testing.assert_array_equal(scores, alone)


def test_an_unknown_kind_of_classifier_has_units_of_one_in_the_grids_order(register):
    register("plain", lambda params, seed: None)
    points = [{"C": [1]}, {"C": [2]}]  # values that have no hash
    found = cut(points, classifier="plain", folds=2, seed=0)
    assert [(unit.fold, unit.configurations) for unit in found] == [(k, (i,)) for k in (0, 1) for i in (0, 1)]


def test_searches_have_data_of_their_own():
    assert new_data() != new_data()


def test_rows_of_folds_are_those_that_train_or_are_tested():
    folds = [Fold(np.array([1, 3]), np.array([7])), Fold(np.array([3, 7]), np.array([1]))]
    assert rows_of(folds).tolist() == [1, 3, 7]
