import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from sklearn.model_selection import ParameterGrid

import classify.units
from classify.inputs import Inputs, save_inputs
from classify.models import CLASSIFIERS
from classify.paths import PATHS
from classify.protocols import Fold
from classify.units import GRAM, cut, do_unit, families, is_done, run_unit, thin

GRIDS = {
    "logistic_regression": {"C": [0.1, 1.0, 10.0]},
    "svc": {"kernel": ["rbf", "linear"], "C": [0.1, 1.0, 10.0]},
    "random_forest": {"n_estimators": [3, 6], "max_depth": [None, 2], "min_samples_leaf": [1, 5]},
    "xgboost": {"n_estimators": [3, 6], "max_depth": [2, 3], "colsample_bytree": [0.5, 1.0]},
}
UNITS = {"logistic_regression": 3, "svc": 2, "random_forest": 2, "xgboost": 4}  # a fold
every_classifier = pytest.mark.parametrize("name", list(GRIDS))


def units(name, *, folds=3, share=True):
    points = list(ParameterGrid(GRIDS[name]))
    alike = families(points, classifier=name, share=share)
    return points, cut(list(product(range(folds), alike)), points, classifier=name, seed=1, share=share)


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


def test_values_that_are_equal_and_mean_something_else_are_not_fitted_together():
    points = [{"max_features": 1}, {"max_features": 1.0}]
    assert families(points, classifier="random_forest") == [(0,), (1,)]


def test_a_result_of_shared_products_has_a_name_of_its_own():
    unit = units("svc")[1][0]
    assert unit.name == replace(unit, configurations=(7,)).name != replace(unit, share=False).name


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
    unit = units(name)[1][0]
    assert len(pickle.dumps(unit)) < 1000
    assert pickle.loads(pickle.dumps(unit)) == unit


@every_classifier
def test_a_unit_returns_what_separate_fits_return(name, noisy):
    X, y = noisy()
    fold = Fold(np.arange(0, 44), np.arange(44, 66))
    kind = CLASSIFIERS[name]
    for unit in units(name, folds=1)[1]:
        found = run_unit(replace(unit, share=False), Inputs(X, y, [fold]))
        for point, scores in zip(unit.points, found.scores, strict=True):
            alone = kind.score(kind.build(point, 1).fit(X[fold.train], y[fold.train]), X[fold.test])
            np.testing.assert_array_equal(scores, alone)


def test_an_unknown_kind_of_classifier_has_units_of_one_in_the_grids_order(register):
    register("plain", lambda params, seed: None)
    points = [{"C": [1]}, {"C": [2]}]  # values that have no hash
    alike = families(points, classifier="plain")
    assert alike == [(0,), (1,)]
    found = cut(list(product(range(2), alike)), points, classifier="plain", seed=0)
    assert [(unit.fold, unit.configurations) for unit in found] == [(k, (i,)) for k in (0, 1) for i in (0, 1)]


@every_classifier
def test_units_have_names_of_their_own(name):
    found = units(name)[1]
    found += [replace(unit, part=3) for unit in found] + [replace(unit, seed=2) for unit in found]
    assert len({unit.name for unit in found}) == len(found)


# -- results that are written --------------------------------------------------------------------------------


@pytest.fixture
def saved(noisy, tmp_path):
    X, y = noisy()
    return save_inputs(X, y, [Fold(np.arange(0, 44), np.arange(44, 66))], parent=tmp_path)


@pytest.fixture
def counted(monkeypatch):
    """The units that are fitted, in a list."""
    fitted, real = [], classify.units.run_unit
    monkeypatch.setattr(
        classify.units, "run_unit", lambda unit, *a, **k: fitted.append(unit) or real(unit, *a, **k)
    )
    return fitted


@every_classifier
def test_a_finished_unit_is_never_repeated(name, saved, counted):
    unit = units(name, folds=1)[1][0]
    assert not is_done(unit, saved)
    one, two = (do_unit(unit, inputs=saved) for _ in range(2))
    assert is_done(unit, saved)
    assert len(counted) == 1
    assert one.scores.tobytes() == two.scores.tobytes()
    assert one.converged.tolist() == two.converged.tolist()


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:100], lambda data: b"nothing"])
def test_a_spoilt_result_is_computed_again(saved, counted, damage):
    unit = units("svc", folds=1)[1][0]
    whole = do_unit(unit, inputs=saved)
    file = saved.folder / "units" / f"{unit.name}.npz"
    file.write_bytes(damage(file.read_bytes()))
    again = do_unit(unit, inputs=saved)
    assert len(counted) == 2
    assert again.scores.tobytes() == whole.scores.tobytes()
    assert do_unit(unit, inputs=saved).scores.tobytes() == whole.scores.tobytes()
    assert len(counted) == 2


def test_a_unit_that_fails_leaves_nothing(saved, monkeypatch):
    unit = units("svc", folds=1)[1][0]
    monkeypatch.setattr(classify.units, "run_unit", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        do_unit(unit, inputs=saved)
    assert not (saved.folder / "units").exists()


def test_without_a_folder_nothing_is_written(noisy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = noisy()
    inputs = Inputs(X, y, [Fold(np.arange(0, 44), np.arange(44, 66))])
    unit = units("svc", folds=1)[1][0]
    do_unit(unit, inputs=inputs)
    assert not is_done(unit, inputs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["svc", "random_forest"])
def test_inner_products_are_kept_for_svcs_only(name, saved):
    do_unit(units("svc", folds=1)[1][0], inputs=saved)
    kept = GRAM.value
    assert kept.products.shape == (66, 66)
    do_unit(units(name, folds=1)[1][1], inputs=saved)
    assert GRAM.value is (kept if name == "svc" else None)
    GRAM.forget()


# -- fewer rows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_fewer_rows_keep_the_shares_of_the_classes_and_are_among_more(seed):
    y = (np.arange(900) % 3 == 0).astype(np.int64)
    train = np.arange(0, 900, 2)
    thirds, ninths = (thin(train, y, part=part, seed=seed) for part in (3, 9))
    assert [len(thirds), len(ninths)] == [150, 51]
    assert [int(y[rows].sum()) for rows in (thirds, ninths)] == [50, 17]
    assert set(ninths) < set(thirds) < set(train)
    assert (np.diff(thirds) > 0).all()
    assert thin(train, y, part=3, seed=seed).tolist() == thirds.tolist()
    assert thin(train, y, part=3, seed=seed + 1).tolist() != thirds.tolist()


def test_a_class_is_never_lost():
    y = np.array([0] * 50 + [1])
    assert y[thin(np.arange(51), y, part=9, seed=0)].tolist() == [0] * 6 + [1]


def test_all_rows_are_as_they_were():
    train = np.array([4, 7, 9])
    assert thin(train, np.ones(10, np.int64), part=1, seed=0) is train


@pytest.mark.parametrize("name", ["random_forest", "xgboost"])
def test_a_unit_with_fewer_trees_fits_those(name, noisy):
    X, y = noisy()
    inputs = Inputs(X, y, [Fold(np.arange(0, 44), np.arange(44, 66))])
    for unit in units(name, folds=1)[1]:
        found = run_unit(replace(unit, part=3), inputs)
        for point, scores in zip(unit.points, found.scores, strict=True):
            small = replace(
                unit, configurations=(0,), points=({**point, "n_estimators": point["n_estimators"] // 3},)
            )
            assert run_unit(small, inputs).scores[0].tobytes() == scores.tobytes()


@pytest.mark.parametrize("name", ["logistic_regression", "svc"])
def test_a_unit_on_fewer_rows_fits_those(name, noisy):
    X, y = noisy()
    fold = Fold(np.arange(0, 44), np.arange(44, 66))
    unit = replace(units(name, folds=1)[1][0], part=3)
    found = run_unit(unit, Inputs(X, y, [fold]))
    rows = thin(fold.train, y, part=3, seed=1)
    expected = run_unit(replace(unit, part=1), Inputs(X, y, [Fold(rows, fold.test)]))
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-12)
