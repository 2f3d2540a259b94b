from collections import Counter

import numpy as np
import pytest

import classify.comparisons
from classify.comparisons import STEPS, leakage, new_attack, training_sets, transfer
from classify.protocols import PROTOCOLS
from classify.trials import run_tasks
from extract.errors import RequestError

PEOPLE = ["identity", "source_identity"]
APART = {"target": ["identity"], "component": PEOPLE, "strict": PEOPLE}
DISJOINT = [name for name in PROTOCOLS if PROTOCOLS[name].disjoint]
REQUEST = {"n_splits": 3, "protocol": "strict", "seed": 0}
every_disjoint = pytest.mark.parametrize("protocol", DISJOINT)


@pytest.fixture(scope="module")
def make(clips):
    """Make clips of two faces: twelve persons in pairs, two data sets, two reals a person and one fake an attack.

    Pairs are swapped both ways; `across` more fakes of attack a join persons of different pairs, ten of them all.
    """

    def make(attacks=("a", "b", "c"), across=0):
        lines = [(f"r{p}-{i}", f"p{p:02}", "", 0) for p in range(12) for i in range(2)]
        lines += [(f"{a}{p}", f"p{p:02}", f"p{p ^ 1:02}", 1, a) for p in range(12) for a in attacks]
        lines += [(f"x{p}", f"p{p:02}", f"p{p + 2:02}", 1, "a") for p in range(across)]
        rows = clips(*(line for line in lines for _ in range(2)))
        return rows.assign(dataset=np.where(rows["identity"] < "p06", "one", "two"))

    return make


@pytest.fixture(scope="module")
def rows(make):
    """Rows of which some must sit out under strict."""
    return make(across=10)


@pytest.fixture(scope="module")
def pairs(make):
    """Rows that every protocol can divide."""
    return make()


@pytest.fixture(scope="module")
def leaks(rows):
    return leakage(rows, repeats=2, **REQUEST)


def people(rows, columns=PEOPLE):
    return {name for column in columns for name in rows[column] if name}


def trials_of(plan):
    return [trial for task in plan.tasks for trial in task.trials]


def settings_of(plan):
    return [tuple(trial.settings.values()) for trial in trials_of(plan)]


def where(condition):
    return set(np.flatnonzero(condition))


def same(plan, other):
    def flat(plan):
        return [
            (
                *trial.settings.items(),
                trial.train.tolist(),
                [(name, test.tolist()) for name, test in trial.tests.items()],
            )
            for trial in trials_of(plan)
        ]

    return flat(plan) == flat(other)


# leakage


def test_leakage_tries_every_step_fold_and_repeat(leaks):
    assert list(trials_of(leaks)[0].settings) == ["protocol", "repeat", "fold"]
    assert settings_of(leaks) == [(step, r, k) for r in range(2) for step in STEPS for k in range(3)]


def test_leakage_goes_from_the_leakiest_to_the_one_without():
    assert STEPS == ("frame", "clip", "target", "strict")


def test_training_sets_of_a_repeat_are_of_one_size_in_each_class(rows, leaks):
    sizes = {0: set(), 1: set()}
    for trial in trials_of(leaks):
        count = Counter(rows["label"].iloc[trial.train])
        sizes[trial.settings["repeat"]].add((count[0], count[1]))
        assert len(set(trial.train)) == len(trial.train)
    assert all(len(size) == 1 for size in sizes.values())


def test_training_sets_are_as_large_as_the_smallest_allows(rows, leaks):
    every = [Counter(rows["label"].iloc[fold.train]) for folds in leaks.folds.values() for fold in folds]
    first = Counter(rows["label"].iloc[trials_of(leaks)[0].train])
    assert first == {label: min(count[label] for count in every) for label in (0, 1)}


def test_training_rows_are_those_of_the_protocol_and_the_fold(leaks):
    first = [trial for trial in trials_of(leaks) if trial.settings["repeat"] == 0]
    for trial in first:
        fold = leaks.folds[trial.settings["protocol"]][trial.settings["fold"]]
        assert set(trial.train) <= set(fold.train)
        assert set(trial.tests["common"]) <= set(fold.test)


def test_training_rows_are_ascending_and_drawn_without_repetition(leaks):
    for trial in trials_of(leaks):
        assert trial.train.tolist() == sorted(set(trial.train))


def test_every_protocol_tests_the_faces_that_strict_tests_once(rows, leaks):
    for repeat in range(2):
        tested = {
            step: [
                row
                for trial in trials_of(leaks)
                if trial.settings["protocol"] == step and trial.settings["repeat"] == repeat
                for row in trial.tests["common"]
            ]
            for step in STEPS
        }
        assert all(sorted(each) == sorted(set(tested["strict"])) for each in tested.values())
        assert 0 < len(tested["strict"]) < len(rows)  # fakes across pairs sit out
        if repeat == 0:
            assert set(tested["strict"]) == {row for fold in leaks.folds["strict"] for row in fold.test}


def test_each_step_keeps_apart_what_it_says_in_every_repeat(rows, leaks):
    for trial in trials_of(leaks):
        train, test = rows.iloc[trial.train], rows.iloc[trial.tests["common"]]
        assert not set(trial.train) & set(trial.tests["common"])
        columns = {"frame": [], "clip": ["clip"], "target": ["clip", "identity"], "strict": ["clip", *PEOPLE]}
        for column in columns[trial.settings["protocol"]]:
            assert not people(train, [column]) & people(test, [column])
        if trial.settings["protocol"] == "strict":
            assert not people(train) & people(test)


def test_frame_trains_on_frames_of_the_clips_that_it_tests(rows, leaks):
    for trial in trials_of(leaks):
        if trial.settings["protocol"] == "frame":
            assert set(rows["clip"].iloc[trial.train]) & set(rows["clip"].iloc[trial.tests["common"]])


def test_parameters_are_chosen_inside_each_training_set(leaks):
    for task in leaks.tasks:
        assert len(task.trials) == 1
        assert np.array_equal(task.choose_on, task.trials[0].train)


def test_repeats_have_other_folds(leaks):
    for step in ("frame", "clip", "target"):
        first, second = (
            {
                tuple(trial.tests["common"])
                for trial in trials_of(leaks)
                if trial.settings["protocol"] == step and trial.settings["repeat"] == repeat
            }
            for repeat in range(2)
        )
        assert first != second


def test_the_folds_to_audit_are_those_of_the_first_repeat(rows, leaks):
    assert list(leaks.folds) == list(STEPS)
    assert same(leaks, leakage(rows, repeats=2, **REQUEST))
    alone = leakage(rows, repeats=1, **REQUEST)
    assert settings_of(alone) == settings_of(leaks)[:12]
    for step in STEPS:
        pairs = zip(alone.folds[step], leaks.folds[step], strict=True)
        assert all(np.array_equal(a.test, b.test) for a, b in pairs)


def test_leakage_refuses_what_one_of_its_protocols_refuses(rows):
    unknown = rows.assign(source_identity=rows["source_identity"].where(rows["clip"] != "a3", ""))
    with pytest.raises(RequestError, match="source identity of every fake for protocol strict; 1 fake clips"):
        leakage(unknown, repeats=1, **REQUEST)


def test_what_a_model_knows_of_clips_shows_as_leakage(rows, leaks, rng):
    of_clips = rng.normal(size=(rows["clip"].nunique(), 60))  # tells clips apart, nothing else
    X = of_clips[rows["clip"].factorize()[0]].astype(np.float32)
    request = {"classifier": "logistic_regression", "grid": {"C": [100.0]}, "metric": "auc", "seed": 0}
    table = run_tasks(X, rows, leaks.tasks, **request)
    auc = table[table["level"] == "image"].groupby("protocol")["auc"].mean()
    assert auc["frame"] > 0.8
    assert auc.drop("frame").between(0.3, 0.7).all()


def test_where_nothing_leaks_no_step_scores_better_or_worse(pairs, rng):
    faces = pairs.iloc[np.arange(len(pairs)).repeat(5)].reset_index(drop=True)  # ten a clip, each on its own
    X = (rng.normal(size=(len(faces), 2)) + 0.3 * faces[["label"]].to_numpy()).astype(np.float32)
    plan = leakage(faces, repeats=1, **REQUEST)
    request = {"classifier": "logistic_regression", "grid": {"C": [1.0]}, "metric": "auc", "seed": 0}
    table = run_tasks(X, faces, plan.tasks, **request)
    auc = table[table["level"] == "image"].groupby("protocol")["auc"].mean()
    assert auc.max() - auc.min() < 0.08


# Training on some, testing on each


def test_the_training_sets_of_three():
    assert training_sets(["a", "b", "c"]) == {
        "all": ["a", "b", "c"],
        "all but a": ["b", "c"],
        "all but b": ["a", "c"],
        "all but c": ["a", "b"],
        "only a": ["a"],
        "only b": ["b"],
        "only c": ["c"],
    }


def test_of_two_all_but_one_is_the_other_alone():
    assert list(training_sets(["a", "b"])) == ["all", "only a", "only b"]


@every_disjoint
def test_attacks_are_trained_and_tested_as_named(protocol, pairs):
    plan = transfer(pairs, n_splits=3, protocol=protocol, seed=0, repeats=1, by="attack")
    sets = training_sets(["a", "b", "c"])
    assert settings_of(plan) == [(name, 0, k) for k in range(3) for name in sets]
    for trial in trials_of(plan):
        fold = plan.folds[protocol][trial.settings["fold"]]
        kept = ["", *sets[trial.settings["trained_on"]]]
        assert set(trial.train) == set(fold.train) & where(pairs["attack"].isin(kept))
        assert list(trial.tests) == ["a", "b", "c"]
        for attack, test in trial.tests.items():
            assert set(test) == set(fold.test) & where(pairs["attack"].isin(["", attack]))


@every_disjoint
@pytest.mark.parametrize("by", ["attack", "dataset"])
def test_nobody_is_trained_on_and_tested(protocol, by, pairs):
    plan = transfer(pairs, n_splits=3, protocol=protocol, seed=0, repeats=2, by=by)
    columns = APART.get(protocol, PROTOCOLS[protocol].disjoint)
    for trial in trials_of(plan):
        for test in trial.tests.values():
            assert not people(pairs.iloc[trial.train], columns) & people(pairs.iloc[test], columns)


def test_data_sets_bring_their_own_real_clips(pairs):
    plan = transfer(pairs, n_splits=3, protocol="component", seed=0, repeats=1, by="dataset")
    assert {trial.settings["trained_on"] for trial in trials_of(plan)} == {"all", "only one", "only two"}
    for trial in trials_of(plan):
        fold = plan.folds["component"][trial.settings["fold"]]
        kept = training_sets(["one", "two"])[trial.settings["trained_on"]]
        assert set(trial.train) == set(fold.train) & where(pairs["dataset"].isin(kept))
        for name, test in trial.tests.items():
            assert set(test) == set(fold.test) & where(pairs["dataset"] == name)


def test_parameters_of_a_transfer_are_chosen_on_its_training_set(rows):
    for task in transfer(rows, repeats=1, by="attack", **REQUEST).tasks:
        (trial,) = task.trials
        assert np.array_equal(task.choose_on, trial.train)


def test_a_transfer_is_repeated_with_other_folds(rows):
    request = {"n_splits": 3, "protocol": "target", "seed": 0}
    plan = transfer(rows, repeats=2, by="attack", **request)
    assert [trial.settings["repeat"] for trial in trials_of(plan)] == [0] * 21 + [1] * 21
    tests = [frozenset(trial.tests["a"]) for trial in trials_of(plan)]
    assert set(tests[:21]) != set(tests[21:])
    assert same(plan, transfer(rows, repeats=2, by="attack", **request))


def test_fakes_without_an_attack_are_neither_trained_nor_tested(rows):
    unnamed = rows.assign(attack=rows["attack"].where(rows["attack"] != "c", ""))
    plan = transfer(unnamed, repeats=1, by="attack", **REQUEST)
    hidden = where((unnamed["label"] == 1) & (unnamed["attack"] == ""))
    assert hidden
    for trial in trials_of(plan):
        assert not hidden & set(trial.train)
        assert not any(hidden & set(test) for test in trial.tests.values())


def test_a_training_set_without_fakes_is_left_out(make):
    rows = make(attacks=("a", "b"))
    rare = rows[(rows["attack"] != "b") | (rows["identity"] == "p00")].reset_index(drop=True)
    plan = transfer(rare, repeats=1, by="attack", **REQUEST)
    (tested,) = (k for k, fold in enumerate(plan.folds["strict"]) if "p00" in people(rare.iloc[fold.test]))
    assert [k for name, _, k in settings_of(plan) if name == "only b"] == [k for k in range(3) if k != tested]


def test_a_data_set_that_a_fold_does_not_test_has_no_test_set(pairs):
    few = pairs[pairs["identity"] < "p08"].reset_index(drop=True)  # one pair of data set two
    plan = transfer(few, repeats=1, by="dataset", n_splits=3, protocol="component", seed=0)
    tested = [set(few["dataset"].iloc[fold.test]) for fold in plan.folds["component"]]
    assert sum("two" in names for names in tested) == 1
    for trial in trials_of(plan):
        assert set(trial.tests) == tested[trial.settings["fold"]]


def test_every_trial_tests_something(rows):
    plan = transfer(rows, repeats=1, by="dataset", **REQUEST)
    first = rows.iloc[plan.folds["strict"][0].test]
    unnamed = rows.assign(dataset=rows["dataset"].where(~rows["identity"].isin(people(first)), ""))
    assert all(trial.tests for trial in trials_of(transfer(unnamed, repeats=1, by="dataset", **REQUEST)))


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name not in DISJOINT])
def test_protocols_that_share_people_are_refused(protocol, rows):
    request = {"n_splits": 3, "protocol": protocol, "seed": 0, "repeats": 1}
    message = rf"keeps identities apart \({', '.join(DISJOINT)}\); got {protocol}. Choose one with --protocol"
    with pytest.raises(RequestError, match=message):
        transfer(rows, by="attack", **request)
    with pytest.raises(RequestError, match=message):
        new_attack(rows, **request)


@pytest.mark.parametrize(("left", "got"), [(["a"], "a"), ([], "none")])
def test_fewer_than_two_attacks_are_refused(left, got, rows):
    rows = rows.assign(attack=rows["attack"].where(rows["attack"].isin(left), ""))
    message = f"at least two different values in column attack of the fakes; got {got}. Name them"
    with pytest.raises(RequestError, match=message):
        transfer(rows, repeats=1, by="attack", **REQUEST)
    with pytest.raises(RequestError, match=message):
        new_attack(rows, repeats=1, **REQUEST)


def test_what_real_clips_name_as_attack_is_none(rows):
    rows = rows.assign(attack=np.where(rows["label"] == 1, "a", "original"))
    with pytest.raises(RequestError, match="two different values in column attack of the fakes; got a"):
        transfer(rows, repeats=1, by="attack", **REQUEST)


def test_one_data_set_is_refused(rows):
    with pytest.raises(RequestError, match="at least two different values in column dataset; got one"):
        transfer(rows.assign(dataset="one"), repeats=1, by="dataset", **REQUEST)


@pytest.mark.parametrize("label", [0, 1])
def test_a_data_set_of_one_class_is_refused(label, rows):
    part = rows[(rows["dataset"] == "one") | (rows["label"] == label)]
    with pytest.raises(RequestError, match="real and fake clips in every data set; two has one class only"):
        transfer(part, repeats=1, by="dataset", **REQUEST)


# A new attack


@pytest.fixture(scope="module")
def arrival(rows):
    return new_attack(rows, repeats=3, **REQUEST)


def clips_of(rows, numbers):
    return set(rows["clip"].iloc[list(numbers)])


def base_of(rows, plan, trial):
    fold = plan.folds["strict"][trial.settings["fold"]]
    return set(fold.train) - where(rows["attack"] == trial.settings["attack"])


def test_each_attack_is_new_in_turn_with_every_draw(rows, arrival):
    expected = []
    for attack in "abc":
        for number, fold in enumerate(arrival.folds["strict"]):
            pool = clips_of(rows, set(fold.train) & where(rows["attack"] == attack))
            fitting = [k for k in (0, 1, 5, 10, 50, 100) if k <= len(pool)]
            expected += [(attack, number, k, draw) for draw in range(3) for k in fitting if k or draw == 0]
    assert settings_of(arrival) == expected
    assert {k for _, _, k, _ in expected} == {0, 1, 5, 10}
    assert list(trials_of(arrival)[0].settings) == ["attack", "fold", "clips", "draw"]


def test_exactly_k_clips_of_the_new_attack_are_added(rows, arrival):
    for trial in trials_of(arrival):
        base = base_of(rows, arrival, trial)
        added = set(trial.train) - base
        assert base <= set(trial.train)
        assert len(clips_of(rows, added)) == trial.settings["clips"]
        assert set(rows["attack"].iloc[list(added)]) <= {trial.settings["attack"]}
        assert len(added) == 2 * trial.settings["clips"]  # all faces of each
        assert list(trial.train) == sorted(set(trial.train))


@every_disjoint
def test_no_added_clip_is_of_a_tested_identity(protocol, pairs):
    plan = new_attack(pairs, n_splits=3, protocol=protocol, seed=0, repeats=2)
    columns = APART.get(protocol, PROTOCOLS[protocol].disjoint)
    for trial in trials_of(plan):
        train, test = pairs.iloc[trial.train], pairs.iloc[trial.tests["attack"]]
        assert not people(train, columns) & people(test, columns)


def test_the_new_attack_is_tested_with_the_real_clips(rows, arrival):
    for trial in trials_of(arrival):
        fold = arrival.folds["strict"][trial.settings["fold"]]
        wanted = where(rows["attack"].isin(["", trial.settings["attack"]]))
        assert {name: set(test) for name, test in trial.tests.items()} == {"attack": set(fold.test) & wanted}


def test_the_clips_of_a_draw_contain_those_of_its_smaller_k(arrival):
    trains = {tuple(trial.settings.values()): set(trial.train) for trial in trials_of(arrival)}
    for (attack, fold, k, draw), train in trains.items():
        if k == 5:
            assert trains[attack, fold, 0, 0] < trains[attack, fold, 1, draw] < train


def test_draws_differ(arrival):
    fives = {tuple(trial.train) for trial in trials_of(arrival) if trial.settings["clips"] == 5}
    assert len(fives) == 3 * 3 * 3


def test_parameters_are_chosen_once_a_fold_without_the_new_attack(rows, arrival):
    assert len(arrival.tasks) == 9
    for task in arrival.tasks:
        first = task.trials[0]
        assert first.settings["clips"] == 0
        assert set(task.choose_on) == set(first.train) == base_of(rows, arrival, first)


def test_more_clips_than_there_are_to_train_on_are_left_out(pairs, monkeypatch):
    monkeypatch.setattr(classify.comparisons, "CLIPS", (0, 7, 8, 9))
    plan = new_attack(pairs, repeats=1, attacks=["b"], **REQUEST)
    assert [trial.settings["clips"] for trial in trials_of(plan)] == [0, 7, 8] * 3


def test_the_papers_counts_are_tried_where_there_are_enough():
    assert classify.comparisons.CLIPS == (0, 1, 5, 10, 50, 100)


def test_the_attacks_to_hold_out_can_be_named(rows):
    plan = new_attack(rows, repeats=1, attacks=["c", "a"], **REQUEST)
    assert list(dict.fromkeys(trial.settings["attack"] for trial in trials_of(plan))) == ["c", "a"]


def test_an_unknown_attack_is_refused_with_the_known_ones(rows):
    with pytest.raises(RequestError, match=r"an attack among a, b, c; got 'd'\. Correct --attack"):
        new_attack(rows, repeats=1, attacks=["a", "d"], **REQUEST)


def test_the_same_seed_gives_the_same_draws_and_another_others(rows, arrival):
    assert same(arrival, new_attack(rows, repeats=3, **REQUEST))
    assert not same(arrival, new_attack(rows, repeats=3, **(REQUEST | {"seed": 1})))


def test_every_training_set_has_both_classes(make):
    rows = make(attacks=("a", "b"))
    rare = rows[(rows["attack"] != "b") | (rows["identity"] == "p00")].reset_index(drop=True)
    for trial in trials_of(new_attack(rare, repeats=1, **REQUEST)):
        assert set(rare["label"].iloc[trial.train]) == {0, 1}


def test_clips_of_a_new_attack_teach_it(pairs, rng):
    directions = pairs["attack"].map({"": 0, "a": 1, "b": 2, "c": 3})  # each attack shows elsewhere
    X = rng.normal(size=(len(pairs), 4)).astype(np.float32)
    X[np.arange(len(pairs)), directions] += 4
    plan = new_attack(pairs, repeats=1, attacks=["c"], **REQUEST)
    request = {"classifier": "logistic_regression", "grid": {"C": [1.0]}, "metric": "auc", "seed": 0}
    table = run_tasks(X[:, 1:], pairs, plan.tasks, **request)
    recall = table[table["level"] == "image"].groupby("clips")["recall"].mean()
    assert recall[5] > recall[0] + 0.2
