import warnings

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ParameterGrid, cross_val_predict
from sklearn.svm import SVC
from threadpoolctl import threadpool_info, threadpool_limits
from xgboost import XGBClassifier

import classify.search
import classify.units
from classify import fitting
from classify.fitting import fit_fold_models
from classify.folds import fold_numbers
from classify.metrics import SELECTION, evaluate
from classify.models import CLASSIFIERS
from classify.protocols import Fold
from classify.search import search
from extract.errors import RequestError
from extract.workers import cores

SEED = 3
# Odd numbers of fully grown trees: where a score is exactly one half, scikit-learn's own rounding decides.
GRIDS = {
    "logistic_regression": {"C": [0.001, 0.1, 10.0]},
    "svc": {"kernel": ["rbf"], "C": [0.1, 1.0, 10.0], "gamma": ["scale", 0.5]},
    "random_forest": {"n_estimators": [5, 11], "max_features": ["sqrt", 1.0]},
    "xgboost": {
        "n_estimators": [5],
        "max_depth": [2, 3],
        "learning_rate": [0.1, 0.3],
        "colsample_bytree": [0.5],
    },
}
# Written here again, so that the product's own builders are not compared with themselves.
ESTIMATORS = {
    "logistic_regression": LogisticRegression(max_iter=5000),
    "svc": SVC(),
    "random_forest": RandomForestClassifier(random_state=SEED),
    "xgboost": XGBClassifier(tree_method="hist", n_jobs=1, random_state=SEED),
}
TOLERANCE = {"logistic_regression": 1e-6, "svc": 1e-12}  # the others agree to the last bit
METHODS = {"logistic_regression": "decision_function", "svc": "decision_function"}
every_classifier = pytest.mark.parametrize("name", list(GRIDS))


def splits(folds):
    return [(fold.train, fold.test) for fold in folds]


@pytest.fixture
def find(noisy, thirds):
    """Search on noisy rows in three folds; returns the result with (X, y, folds)."""

    def run(name, *, grid=None, metric="f1", **options):
        X, y = noisy()
        grid = GRIDS[name] if grid is None else grid
        found = search(
            X, y, classifier=name, grid=grid, folds=thirds(66), metric=metric, seed=SEED, **options
        )
        return found, (X, y, thirds(66))

    return run


@pytest.mark.parametrize(("metric", "scoring"), [("f1", "f1"), ("auc", "roc_auc"), ("accuracy", "accuracy")])
@every_classifier
def test_the_search_agrees_with_scikit_learn(name, metric, scoring, find):
    found, (X, y, folds) = find(name, metric=metric)
    theirs = GridSearchCV(ESTIMATORS[name], GRIDS[name], scoring=scoring, cv=splits(folds), refit=False).fit(
        X, y
    )
    assert found.best == theirs.best_params_
    ours = found.configurations.pivot_table(index="configuration", columns="fold", values=metric).to_numpy()
    expected = np.column_stack([theirs.cv_results_[f"split{k}_test_score"] for k in range(3)])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE.get(name, 0))


@every_classifier
def test_out_of_fold_scores_are_those_of_the_best_parameters(name, find):
    found, (X, y, folds) = find(name)
    best = ESTIMATORS[name].set_params(**found.best)
    method = METHODS.get(name, "predict_proba")
    expected = cross_val_predict(best, X, y, cv=splits(folds), method=method)
    expected = expected if expected.ndim == 1 else expected[:, 1]
    np.testing.assert_allclose(found.scores, expected, rtol=0, atol=TOLERANCE.get(name, 0))


@every_classifier
def test_one_and_two_processes_give_the_same_bits(name, find):
    (one, _), (two, _) = (find(name, n_jobs=n_jobs) for n_jobs in (1, 2))
    assert one.scores.tobytes() == two.scores.tobytes()
    assert one.best == two.best
    assert one.configurations.equals(two.configurations)


def test_a_row_is_scored_by_the_model_that_did_not_see_it(find):
    found, (X, y, folds) = find("random_forest", grid={"n_estimators": [5]})
    for fold in folds:
        fitted = (
            CLASSIFIERS["random_forest"].build({"n_estimators": 5}, SEED).fit(X[fold.train], y[fold.train])
        )
        np.testing.assert_array_equal(found.scores[fold.test], fitted.predict_proba(X[fold.test])[:, 1])


def test_the_table_has_one_line_a_configuration_and_fold(find):
    found, (_, y, folds) = find("svc")
    table = found.configurations
    assert list(table) == ["configuration", "C", "gamma", "kernel", "fold", *SELECTION, "converged", "part"]
    points = list(ParameterGrid(GRIDS["svc"]))
    assert table[["configuration", "fold"]].to_numpy().tolist() == [
        [i, k] for i in range(6) for k in range(3)
    ]
    assert table[["C", "gamma", "kernel"]].to_dict("records") == [p for p in points for _ in range(3)]
    mine = table[table["configuration"] == points.index(found.best)]
    for fold, line in zip(folds, mine.to_dict("records"), strict=True):
        figures = evaluate(y[fold.test], found.scores[fold.test], threshold=0.0)
        assert {metric: line[metric] for metric in SELECTION} == figures


@pytest.mark.parametrize("gammas", [[0.1, 1.0, 10.0], [10.0, 0.1, 1.0]])
def test_of_equal_configurations_the_first_of_the_grid_wins(gammas, find):
    grid = {"kernel": ["linear"], "C": [1.0], "gamma": gammas}  # a linear kernel ignores gamma
    found, _ = find("svc", grid=grid)
    assert found.configurations.groupby("configuration")["f1"].mean().nunique() == 1
    assert found.best["gamma"] == gammas[0]


def test_the_metric_selects(noisy, thirds):
    X, y = noisy(n=60)
    y = (np.arange(60) % 6 > 0).astype(np.int64)  # five fakes a real: "all fake" has the best recall
    grid = {"C": [1e-6, 10.0]}
    request = {"classifier": "logistic_regression", "grid": grid, "folds": thirds(60), "seed": 0}
    found = {metric: search(X, y, metric=metric, **request) for metric in ("recall", "auc")}
    for metric, result in found.items():
        means = result.configurations.groupby("C")[metric].mean()
        assert means[result.best["C"]] == means.max()
    assert found["recall"].best == {"C": 1e-6}


def test_an_empty_grid_is_the_classifiers_own_defaults(find):
    found, _ = find("logistic_regression", grid={})
    assert found.best == {}
    assert len(found.configurations) == 3


def test_none_is_a_value_like_any_other(find):
    grid = {"n_estimators": [5], "max_depth": [None, 1]}
    found, _ = find("random_forest", grid=grid)
    assert found.configurations["max_depth"].isna().tolist() == [True] * 3 + [False] * 3


def test_fits_that_do_not_converge_are_recorded(register, find):
    register("hasty", lambda params, seed: LogisticRegression(**params), ("C", "max_iter"))
    found, _ = find("hasty", grid={"C": [100.0], "max_iter": [1, 5000]})
    assert found.configurations.groupby("max_iter")["converged"].all().to_dict() == {1: False, 5000: True}


@pytest.mark.parametrize(("iterations", "converged"), [(1, False), (5000, True)])
def test_the_best_configuration_says_whether_it_converged(register, find, iterations, converged):
    register("hasty", lambda params, seed: LogisticRegression(max_iter=iterations, **params))
    assert find("hasty", grid={"C": [100.0]})[0].converged is converged


def test_convergence_is_recorded_where_warnings_are_silenced(register, find):
    register("hasty", lambda params, seed: LogisticRegression(max_iter=1, **params))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not find("hasty", grid={"C": [100.0]})[0].converged


class Warning_(SVC):
    def fit(self, X, y):
        warnings.warn("nothing about convergence", UserWarning, stacklevel=1)
        return super().fit(X, y)


def test_other_warnings_are_not_about_convergence(register, find):
    register("loud", lambda params, seed: Warning_(**params))
    with pytest.warns(UserWarning, match="nothing about convergence"):
        assert find("loud", grid={"C": [1.0]})[0].converged


def threads():
    return {library["num_threads"] for library in threadpool_info()}


class Watched(SVC):
    seen: dict[str, set[int]]  # set by the test, on the class

    def fit(self, X, y):
        self.seen["fit"] = threads()
        return super().fit(X, y)

    def decision_function(self, X):
        self.seen["score"] = threads()
        return super().decision_function(X)


@pytest.fixture
def watched(register, find, monkeypatch):
    monkeypatch.setattr(Watched, "seen", {}, raising=False)
    register("watched", lambda params, seed: Watched(**params))
    with threadpool_limits(limits=2):
        find("watched", grid={"C": [1.0]})
    return Watched.seen


def test_a_fit_uses_one_thread(watched):
    assert watched["fit"] == {1}


def test_scoring_uses_one_thread(watched):
    assert watched["score"] == {1}


def test_progress_counts_every_unit_and_tells_the_best(find):
    seen, notes = [], []

    def track(items, description, total=None, note=None):
        seen.append((description, total))
        for item in items:
            yield item
            notes.append(note())

    found, _ = find("logistic_regression", track=track)
    assert seen == [("search logistic_regression", 9)]
    assert notes[0] == ""  # no configuration has been tried on all folds yet
    best = found.configurations.groupby("configuration")["f1"].mean().max()
    assert notes[-1] == f"best F1 {100 * best:.2f}: C {found.best['C']:g}"


def test_an_unknown_classifier_is_refused(find):
    with pytest.raises(RequestError, match="Expected a known classifier; got 'svm'"):
        find("svm", grid={"C": [1.0]})


@every_classifier
def test_new_rows_get_the_mean_of_the_fold_models(name, noisy, thirds):
    (X, y), folds, (new, _) = noisy(), thirds(66), noisy(n=9, seed=2)
    params = next(iter(ParameterGrid(GRIDS[name])))
    kind = CLASSIFIERS[name]
    each = [kind.score(kind.build(params, SEED).fit(X[f.train], y[f.train]), new) for f in folds]
    request = {"classifier": name, "params": params, "folds": folds, "seed": SEED}
    scores = fit_fold_models(X, y, **request).score(new)
    assert scores.shape == (9,)
    np.testing.assert_allclose(scores, sum(each) / 3, rtol=1e-12)


def test_new_rows_are_scored_with_the_models_of_the_search(find):
    # scored by its own fold's model only: a single "fold" that tests everything leaves the search's own score
    found, (X, y, folds) = find("svc", grid={"C": [1.0]})
    for fold in folds:
        request = {"classifier": "svc", "params": found.best, "folds": [fold], "seed": SEED}
        np.testing.assert_allclose(
            fit_fold_models(X, y, **request).score(X[fold.test]), found.scores[fold.test], rtol=0, atol=1e-12
        )


def test_new_rows_get_the_same_bits_from_two_processes(noisy, thirds):
    (X, y), (new, _) = noisy(), noisy(n=9, seed=2)
    request = {"classifier": "xgboost", "params": {"n_estimators": 5}, "folds": thirds(66), "seed": SEED}
    one, two = (fit_fold_models(X, y, n_jobs=n_jobs, **request).score(new) for n_jobs in (1, 2))
    assert one.tobytes() == two.tobytes()


@every_classifier
def test_many_rows_are_scored_block_by_block(noisy, thirds, monkeypatch, name):
    (X, y), (new, _) = noisy(), noisy(n=17, seed=2)
    params = next(iter(ParameterGrid(GRIDS[name])))
    models = fit_fold_models(X, y, classifier=name, params=params, folds=thirds(66), seed=SEED)
    whole, sizes, real = models.score(new), [], type(CLASSIFIERS[name]).score

    def count(kind, fitted, rows):
        sizes.append(len(rows))
        return real(kind, fitted, rows)

    monkeypatch.setattr(type(CLASSIFIERS[name]), "score", count)
    monkeypatch.setattr(fitting, "SCORED", 8)
    np.testing.assert_allclose(models.score(new), whole, rtol=1e-12)
    assert sizes == [8, 8, 1] * 3


def test_processes_map_a_matrix_that_is_mapped_from_a_file_and_get_the_same_bits(noisy, thirds, tmp_path):
    X, y = noisy()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    where = Parallel(n_jobs=2)(delayed(lambda X: (X.filename, X.flags.writeable))(mapped) for _ in range(2))
    assert where == [(tmp_path / "X.npy", False)] * 2
    request = {"classifier": "svc", "grid": {"C": [0.1, 1.0]}, "metric": "auc", "seed": SEED}
    one, two = (search(rows, y, folds=thirds(66), n_jobs=2, **request) for rows in (X, mapped))
    assert one.scores.tobytes() == two.scores.tobytes()


def test_folds_of_different_sizes_keep_their_rows(noisy):
    X, y = noisy(n=30)
    tests = [np.arange(0, 4), np.arange(4, 14), np.arange(14, 30)]
    folds = [Fold(np.setdiff1d(np.arange(30), test), test) for test in tests]
    found = search(X, y, classifier="svc", grid={"C": [1.0]}, folds=folds, metric="auc", seed=0)
    table = found.configurations.set_index("fold")
    for number, fold in enumerate(folds):
        figures = evaluate(y[fold.test], found.scores[fold.test], threshold=0.0)
        assert table.loc[number, "auc"] == figures["auc"]
    assert np.bincount(fold_numbers(folds, 30)).tolist() == [4, 10, 16]


def test_rows_that_no_fold_tests_have_no_score(noisy, thirds):
    (X, y), (first, _, last) = noisy(), thirds(66)
    request = {"classifier": "svc", "grid": {"C": [0.1, 1.0]}, "metric": "auc", "seed": SEED}
    found = search(X, y, folds=[first, last], **request)
    assert np.flatnonzero(np.isnan(found.scores)).tolist() == list(range(22, 44))
    assert sorted(set(found.configurations["fold"])) == [0, 1]
    assert found.configurations[list(SELECTION)].notna().all(axis=None)


def test_rows_that_sit_a_fold_out_do_not_train_it(noisy, thirds):
    X, y = noisy()
    folds = [Fold(fold.train[fold.train % 11 > 0], fold.test) for fold in thirds(66)]
    found = search(X, y, classifier="svc", grid={"C": [1.0]}, folds=folds, metric="auc", seed=SEED)
    for fold in folds:
        expected = SVC(C=1.0).fit(X[fold.train], y[fold.train]).decision_function(X[fold.test])
        np.testing.assert_allclose(found.scores[fold.test], expected, rtol=0, atol=1e-12)


def test_one_given_fold_is_enough(noisy):
    X, y = noisy()
    fold = Fold(np.arange(40), np.arange(40, 60))
    found = search(X, y, classifier="svc", grid={"C": [0.1, 1.0]}, folds=[fold], metric="auc", seed=SEED)
    assert found.configurations["auc"].max() == evaluate(y[40:60], found.scores[40:60], threshold=0.0)["auc"]


@pytest.mark.parametrize("n_jobs", [1, 2, -1, 64])
@every_classifier
def test_processes_and_threads_are_no_more_than_asked_for(name, n_jobs, find, monkeypatch):
    seen, real = [], classify.search.run_units

    def run_units(work, units, *, workers):
        seen.append(workers * work.keywords["threads"])
        return real(work, units, workers=workers)

    monkeypatch.setattr(classify.search, "run_units", run_units)
    find(name, n_jobs=n_jobs)
    assert seen == [cores() if n_jobs == -1 else min(n_jobs, cores())]


@pytest.mark.parametrize(
    ("name", "grid", "why"),
    [
        ("svc", {"kernel": ["poly"], "degree": [2, 3]}, "Expected a grid over C, kernel, gamma for svc; got"),
        ("random_forest", {"bootstrap": [False]}, "for random_forest; got 'bootstrap'"),
        ("random_forest", {"max_features": [1]}, "shares such as 1.0 for random_forest.max_features; got 1"),
    ],
)
def test_what_a_classifier_does_not_tune_is_refused(name, grid, why, find):
    with pytest.raises(RequestError, match=why):
        find(name, grid=grid)


# -- a search of SVCs that is continued with other memory ------------------------------------------------------


@pytest.fixture
def continued(find, tmp_path, monkeypatch):
    """Search SVCs in a folder, with so much memory; how many units were fitted, and what was said."""

    def run(memory):
        fitted, said, real = [], [], classify.units.run_unit
        with monkeypatch.context() as patch:
            patch.setattr(
                classify.units, "run_unit", lambda unit, *a, **k: fitted.append(unit) or real(unit, *a, **k)
            )
            find("svc", folder=tmp_path, memory=memory, say=said.append)
        return len(fitted), said

    return run


def test_a_search_that_shared_starts_anew_where_memory_has_become_short(continued):
    assert continued(2**30) == (2 * 3, [])
    fitted, said = continued(1)
    assert fitted == 6 * 3
    assert "more than the 0.0 GB that they may" in said[0]


def test_a_search_that_did_not_share_goes_on_so(continued):
    assert continued(1)[0] == 6 * 3
    fitted, said = continued(2**30)
    assert fitted == 0
    assert said[0].startswith("SVC: goes on as it was begun")
