import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from classify import trials
from classify.metrics import SELECTION
from classify.trials import INNER, Task, Trial, run_tasks
from extract.errors import RequestError

SEED = 5
ONE = {"C": [1.0]}


@pytest.fixture
def rows(clips):
    """Eight persons with a real clip of two faces and a fake clip of three."""
    lines = [(f"{kind}{p}", f"p{p}", "", label) for p in range(8) for label, kind in enumerate(("r", "f"))]
    return clips(*(line for line in lines for _ in range(2 + line[3])))


@pytest.fixture
def X(rows, rng):
    """Features that tell real from fake imperfectly: (40, 4) float32."""
    y = rows["label"].to_numpy()
    return (rng.normal(size=(len(rows), 4)) + 0.8 * y[:, None]).astype(np.float32)


@pytest.fixture
def outcome(X, rows):
    """Run tasks of logistic regression with C = 1, unless told otherwise."""

    def run(*tasks, features=None, table=None, **options):
        request = {"classifier": "logistic_regression", "grid": ONE, "metric": "auc", "seed": SEED}
        table = rows if table is None else table
        return run_tasks(X if features is None else features, table, tasks, **(request | options))

    return run


def of(rows, *numbers):
    """Return the rows of some persons."""
    return np.flatnonzero(rows["identity"].isin([f"p{number}" for number in numbers]))


def task(rows, train=range(6), test=(6, 7), **settings):
    numbers = of(rows, *train)
    return Task(numbers, [Trial(settings, numbers, {"others": of(rows, *test)})])


class Column:
    """Take one column of the features as score; nothing is fitted."""

    def __init__(self, column):
        self.column = column

    def fit(self, X, y):
        return self

    def decision_function(self, X):
        return X[:, self.column].astype(np.float64)


@pytest.fixture
def column(register):
    register("column", lambda params, seed: Column(**params), ("column",))
    return {"classifier": "column", "grid": {"column": [0, 1]}}


def parameters(table):
    return [json.loads(text) for text in table["parameters"]]


# How parameters are chosen


@pytest.mark.parametrize("good", [0, 1])
def test_parameters_are_chosen_without_the_test_rows(good, rows, outcome, column):
    right = np.where(rows["label"] == 1, 1, -1)
    features = np.zeros((len(rows), 2), np.float32)
    features[:, good] = np.where(rows["identity"].isin(["p6", "p7"]), -right, right)
    features[:, 1 - good] = -features[:, good]  # this one is right where it is tested
    table = outcome(task(rows), features=features, **column)
    assert parameters(table) == [{"column": good}] * 2
    assert table["auc"].tolist() == [0, 0]


def test_parameters_are_chosen_on_the_rows_of_the_task_alone(rows, outcome, column):
    right = np.where(rows["label"] == 1, 1, -1)
    inside = rows["identity"].isin(["p0", "p1", "p2"]).to_numpy()
    features = np.stack([right * np.where(inside, 1, -1), right * np.where(inside, -1, 1)], axis=1)
    trial = Trial({}, of(rows, *range(6)), {"others": of(rows, 6, 7)})
    for chosen_on, best in ((of(rows, 0, 1, 2), 0), (of(rows, 3, 4, 5), 1)):
        table = outcome(Task(chosen_on, [trial]), features=features.astype(np.float32), **column)
        assert parameters(table) == [{"column": best}] * 2


def test_each_task_chooses_its_own_parameters(rows, outcome, column):
    right = np.where(rows["label"] == 1, 1, -1)
    first = rows["identity"].isin(["p0", "p1", "p2"]).to_numpy()
    features = np.stack([np.where(first, right, 0), np.where(first, 0, right)], axis=1).astype(np.float32)
    tasks = [task(rows, (0, 1, 2)), task(rows, (3, 4, 5))]
    assert parameters(outcome(*tasks, features=features, **column)[::2]) == [{"column": 0}, {"column": 1}]


@pytest.mark.parametrize(("metric", "best"), [("auc", 0), ("accuracy", 1)])
def test_the_metric_chooses(metric, best, rows, outcome, column):
    y = rows["label"].to_numpy()
    features = np.stack([y + 1.0, y - 0.5], axis=1).astype(np.float32)  # the first calls everything fake
    features[of(rows, 0)[:1], 1] = 0.6  # the second is wrong about one face
    table = outcome(task(rows), features=features, metric=metric, **column)
    assert parameters(table) == [{"column": best}] * 2


def test_labels_of_test_rows_change_nothing_but_the_figures(rows, outcome):
    grid = {"C": [0.001, 0.1, 10.0]}
    turned = rows.copy()
    turned.loc[of(rows, 6, 7), "label"] = 1 - turned["label"]
    table, other = (outcome(task(rows), table=t, grid=grid) for t in (rows, turned))
    assert np.allclose(table["auc"], 1 - other["auc"])  # the scores are the same
    same = ["train_reals", "train_fakes", "parameters", "converged", "test", "level"]
    assert table[same].equals(other[same])


class Watched(Column):
    """Remember whom each model is fitted on and whom it scores, by the first feature."""

    seen: list[tuple[set[float], set[float]]]  # set by the test, on the class

    def fit(self, X, y):
        self.fitted_on = set(X[:, 0])
        return self

    def decision_function(self, X):
        self.seen.append((self.fitted_on, set(X[:, 0])))
        return super().decision_function(X)


@pytest.mark.parametrize("how", ["exhaustive", "halving"])
def test_parameters_are_searched_as_asked(how, outcome, rows, monkeypatch):
    seen, real = [], trials.search
    monkeypatch.setattr(trials, "search", lambda *a, **k: seen.append(k["how"]) or real(*a, **k))
    outcome(task(rows), grid={"C": [0.01, 1.0]}, how=how)
    assert seen == [how]


def test_parameters_are_chosen_on_folds_of_other_persons(rows, outcome, register, monkeypatch):
    monkeypatch.setattr(Watched, "seen", [], raising=False)
    register("watched", lambda params, seed: Watched(**params), ("column",))
    person = rows["identity"].str[1:].astype(np.float32)
    features = np.stack([person, rows["label"]], axis=1).astype(np.float32)
    outcome(task(rows), features=features, classifier="watched", grid={"column": [1, 0]})
    *inner, final = Watched.seen
    assert len(inner) == 2 * INNER
    assert all(not fitted & scored and fitted | scored == set(range(6)) for fitted, scored in inner)
    assert final == (set(range(6)), {6, 7})


def test_a_grid_of_one_point_needs_no_persons_to_choose_on(rows, outcome):
    few = task(rows, train=(0,))
    assert parameters(outcome(few, grid=ONE)) == [{"C": 1.0}] * 2
    with pytest.raises(RequestError, match=rf"at least {INNER} groups of identities .* got 1"):
        outcome(few, grid={"C": [0.1, 1.0]})


def test_too_few_persons_are_refused_before_anything_is_fitted(rows, outcome, register):
    register("costly", lambda params, seed: pytest.fail("something was built"))
    with pytest.raises(RequestError, match="groups of identities"):
        outcome(task(rows), task(rows, train=(0,)), classifier="costly", grid={"C": [0.1, 1.0]})


# What the outcome says


def expected_figures(y, score, called):
    return {
        "auc": metrics.roc_auc_score(y, score),
        "recall": metrics.recall_score(y, called),
        "precision": metrics.precision_score(y, called),
        "f1": metrics.f1_score(y, called),
        "accuracy": metrics.accuracy_score(y, called),
        "fpr": metrics.confusion_matrix(y, called, normalize="true")[0, 1],
        "reals": (y == 0).sum(),
        "fakes": (y == 1).sum(),
    }


# Written here again, so that the product's own builders and thresholds are not compared with themselves.
ESTIMATORS = {
    "logistic_regression": (LogisticRegression(max_iter=5000), {"C": [0.5]}, 0.0),
    "random_forest": (RandomForestClassifier(random_state=SEED), {"n_estimators": [7]}, 0.5),
}


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_the_figures_are_those_of_scikit_learn(name, X, rows, outcome):
    estimator, grid, threshold = ESTIMATORS[name]
    train, test = of(rows, *range(4)), of(rows, *range(4, 8))
    table = outcome(task(rows, range(4), range(4, 8)), classifier=name, grid=grid)
    fitted = estimator.set_params(**{key: values[0] for key, values in grid.items()})
    fitted = fitted.fit(X[train], rows["label"].iloc[train])
    scores = fitted.predict_proba(X[test])[:, 1] if threshold else fitted.decision_function(X[test])
    faces = rows.iloc[test].assign(score=scores)
    videos = faces.groupby("clip").agg({"label": "first", "score": "mean"})
    for line, part in zip(table.to_dict("records"), (faces, videos), strict=True):
        y, score = part["label"].to_numpy(), part["score"].to_numpy()
        expected = expected_figures(y, score, score > threshold)
        assert {key: line[key] for key in expected} == pytest.approx(expected)
    assert table["level"].tolist() == ["image", "video"]
    assert table["fakes"].tolist() == [12, 4]


def test_the_columns_are_the_settings_the_figures_and_the_fit(rows, outcome):
    table = outcome(task(rows, protocol="strict", fold=3))
    assert set(table) == {
        *("protocol", "fold", "test", "level", "reals", "fakes", *SELECTION, "fpr"),
        *("train_reals", "train_fakes", "parameters", "converged", "seconds"),
    }
    assert set(table["protocol"]) == {"strict"}
    assert set(table["fold"]) == {3}
    assert table[["train_reals", "train_fakes"]].to_numpy().tolist() == [[12, 18]] * 2
    assert table["converged"].all()
    assert (table["seconds"] > 0).all()


@pytest.mark.parametrize("label", [0, 1])
def test_a_test_set_of_one_class_has_an_accuracy_and_no_auc(label, rows, outcome):
    train, both = of(rows, *range(6)), of(rows, 6, 7)
    tests = {"both": both, "one": both[rows["label"].to_numpy()[both] == label]}
    table = outcome(Task(train, [Trial({}, train, tests)]))
    whole, one = (table[table["test"] == name].reset_index(drop=True) for name in tests)
    assert whole["auc"].notna().all()
    assert one["auc"].isna().all()
    assert one["fpr"].equals(whole["fpr"] if label == 0 else whole["fpr"] * np.nan)
    assert one["accuracy"].tolist() == pytest.approx(
        (whole["recall"] if label else 1 - whole["fpr"]).tolist()
    )
    assert (one[["reals", "fakes"]].to_numpy()[:, 1 - label] == 0).all()


def test_every_metric_has_a_column_though_all_tests_lack_a_class(rows, outcome):
    train = of(rows, *range(6))
    reals = np.flatnonzero((rows["label"] == 0) & rows["identity"].isin(["p6", "p7"]))
    table = outcome(Task(train, [Trial({}, train, {"reals": reals})]))
    assert set(SELECTION) <= set(table)
    assert table["recall"].isna().all()


def test_recall_needs_no_reals(rows, outcome):
    train = of(rows, *range(6))
    fakes = np.flatnonzero((rows["label"] == 1) & rows["identity"].isin(["p6", "p7"]))
    tests = {"both": of(rows, 6, 7), "fakes": fakes}
    table = outcome(Task(train, [Trial({}, train, tests)]))
    assert table["recall"].tolist()[2:] == table["recall"].tolist()[:2]


def test_lines_are_in_the_order_of_tasks_trials_tests_and_levels(rows, outcome):
    train, tests = of(rows, *range(6)), {"b": of(rows, 7), "a": of(rows, 6)}
    tasks = [Task(train, [Trial({"n": n}, train, tests) for n in pair]) for pair in ((3, 1), (2,))]
    table = outcome(*tasks)
    assert table[["n", "test", "level"]].to_numpy().tolist() == [
        [n, test, level] for n in (3, 1, 2) for test in ("b", "a") for level in ("image", "video")
    ]


def test_test_sets_may_overlap_and_come_in_any_order(rows, outcome):
    train, both = of(rows, *range(6)), of(rows, 6, 7)
    tests = {"first": of(rows, 6), "both": both, "backwards": both[::-1]}
    table = outcome(Task(train, [Trial({}, train, tests)])).set_index(["test", "level"])
    alone = outcome(task(rows, test=(6,))).set_index(["test", "level"])
    figures = [*SELECTION, "fpr", "reals", "fakes"]
    for level in ("image", "video"):
        assert table.loc[("first", level), figures].equals(alone.loc[("others", level), figures])
        assert table.loc[("backwards", level), figures].equals(table.loc[("both", level), figures])


def test_a_clip_is_judged_by_those_of_its_faces_that_are_tested(rows, outcome, column):
    features = np.zeros((len(rows), 2), np.float32)
    real, fake = (np.flatnonzero(rows["clip"] == clip) for clip in ("r6", "f6"))
    features[fake, 0] = [-1, -1, 5]
    features[real, 0] = [-1, -2]
    train = of(rows, *range(6))
    tests = {"all": np.concatenate([real, fake]), "some": np.concatenate([real, fake[:2]])}
    request = {"classifier": "column", "grid": {"column": [0]}}
    table = outcome(Task(train, [Trial({}, train, tests)]), features=features, **request)
    videos = table[table["level"] == "video"].set_index("test")
    assert videos["recall"].to_dict() == {"all": 1.0, "some": 0.0}


def test_a_score_at_the_threshold_is_called_fake(rows, outcome, column):
    features = np.zeros((len(rows), 2), np.float32)
    table = outcome(task(rows), features=features, classifier="column", grid={"column": [0]})
    assert table["recall"].tolist() == table["fpr"].tolist() == [1.0, 1.0]


def test_fits_that_do_not_converge_are_recorded(rows, outcome, register):
    register("hasty", lambda params, seed: LogisticRegression(max_iter=1, **params))
    assert not outcome(task(rows), classifier="hasty", grid={"C": [100.0]})["converged"].any()


def test_one_and_two_processes_give_the_same_outcome(rows, outcome):
    tasks = [task(rows, number=number, test=(number,), train=range(6)) for number in (6, 7)]
    one, two = (outcome(*tasks, grid={"C": [0.01, 1.0]}, n_jobs=n_jobs) for n_jobs in (1, 2))
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), two.drop(columns="seconds"), check_exact=True)


def test_the_same_seed_gives_the_same_outcome(rows, outcome):
    request = {"classifier": "random_forest", "grid": {"n_estimators": [3, 5]}}
    one, two = (outcome(task(rows), **request).drop(columns="seconds") for _ in range(2))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_progress_counts_every_task(rows, outcome):
    seen = []

    def track(items, description, total=None):
        seen.append((description, total))
        return items

    outcome(task(rows), task(rows), track=track)
    assert seen == [("compare logistic_regression", 2)]
