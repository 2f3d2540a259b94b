import numpy as np
import pytest

from classify.folds import check_folds, fold_numbers, identity_folds, inner_folds, shared_people
from classify.protocols import PROTOCOLS, Fold
from extract.errors import RequestError

TARGET, PEOPLE = ["identity"], ["identity", "source_identity"]
APART = {"target": TARGET, "component": PEOPLE, "strict": PEOPLE, "official": [], "clip": [], "frame": []}
OWN_FOLDS = [name for name in PROTOCOLS if name != "official"]
every_protocol = pytest.mark.parametrize("protocol", list(PROTOCOLS))


def fold(train, test):
    return Fold(np.array(train, np.int64), np.array(test, np.int64))


def people(rows, columns=PEOPLE):
    return {name for column in columns for name in rows[column] if name}


def numbers_of(folds):
    return [(each.train.tolist(), each.test.tolist()) for each in folds]


# Folds inside a training part


def test_inner_folds_are_in_the_row_numbers_of_the_whole_table(persons):
    rows = persons(9).sample(frac=1, random_state=0)
    train = np.flatnonzero(rows["identity"].isin(["p1", "p2", "p4", "p5", "p7"]))
    for each in inner_folds(rows, train, n_splits=3, protocol="target", seed=0):
        assert sorted([*each.train, *each.test]) == train.tolist()
        assert not shared_people(rows, each, TARGET)


@pytest.mark.parametrize("protocol", OWN_FOLDS)
def test_inner_folds_keep_apart_what_the_outer_ones_do(protocol, persons):
    rows = persons(9)
    for outer in identity_folds(rows, n_splits=3, protocol=protocol, seed=0):
        for inner in inner_folds(rows, outer.train, n_splits=3, protocol=protocol, seed=0):
            assert set(inner.train) | set(inner.test) <= set(outer.train)
            assert not set(inner.train) & set(inner.test)
            columns = APART.get(protocol, PROTOCOLS[protocol].disjoint)
            assert not people(rows.iloc[inner.train], columns) & people(rows.iloc[inner.test], columns)


def test_official_chooses_on_its_own_validation_part(persons):
    rows = persons(9)
    rows.loc[rows["identity"].isin(["p1", "p5"]), "split"] = "val"
    (outer,) = identity_folds(rows, n_splits=3, protocol="official", seed=0)
    (inner,) = inner_folds(rows, outer.train, n_splits=3, protocol="official", seed=0)
    assert set(rows["split"].iloc[inner.train]) == {"train"}
    assert set(rows["split"].iloc[inner.test]) == {"val"}
    assert sorted([*inner.train, *inner.test]) == outer.train.tolist()


def test_official_without_a_validation_part_chooses_on_folds_of_target(persons):
    rows = persons(9)
    rows.loc[rows["label"] == 1, "source_identity"] = "p1"  # one component
    (outer,) = identity_folds(rows, n_splits=3, protocol="official", seed=0)
    request = {"n_splits": 3, "seed": 0}
    inner = inner_folds(rows, outer.train, protocol="official", **request)
    assert numbers_of(inner) == numbers_of(inner_folds(rows, outer.train, protocol="target", **request))
    assert sorted(row for each in inner for row in each.test) == outer.train.tolist()


def test_a_validation_part_of_one_class_is_refused(persons):
    rows = persons(9)
    rows.loc[(rows["identity"] == "p1") & (rows["label"] == 0), "split"] = "val"
    (outer,) = identity_folds(rows, n_splits=3, protocol="official", seed=0)
    with pytest.raises(RequestError, match="real and fake in the test part"):
        inner_folds(rows, outer.train, n_splits=3, protocol="official", seed=0)


@pytest.mark.parametrize("protocol", OWN_FOLDS)
def test_a_validation_part_is_nothing_special_to_the_other_protocols(protocol, persons):
    rows, request = persons(9), {"n_splits": 3, "protocol": protocol, "seed": 0}
    marked = rows.assign(split="val")
    train = np.arange(30)
    assert numbers_of(inner_folds(marked, train, **request)) == numbers_of(
        inner_folds(rows, train, **request)
    )


def test_a_training_part_of_too_few_identities_is_refused(persons):
    with pytest.raises(RequestError, match=r"at least 3 groups of identities .* got 2"):
        inner_folds(persons(6), np.arange(10), n_splits=3, protocol="target", seed=0)


# Checks of folds


@pytest.fixture
def four(clips):
    """Ann with a real and a fake clip, then Bob."""
    return clips(("a", "ann", "", 0), ("b", "ann", "cid", 1), ("c", "bob", "", 0), ("d", "bob", "dan", 1))


def test_good_folds_pass(four):
    check_folds([fold([0, 1], [2, 3]), fold([2, 3], [0, 1])], four, protocol="target")


def test_rows_that_no_fold_tests_pass(four):
    check_folds([fold([0, 1], [2, 3])], four, protocol="component")


def test_a_person_on_both_sides_is_caught_by_name(four):
    with pytest.raises(AssertionError, match=r"Fold 0 of protocol target has \['ann', 'bob'\] on both sides"):
        check_folds([fold([0, 3], [1, 2]), fold([1, 2], [0, 3])], four, protocol="target")


def test_a_leak_in_the_last_fold_is_caught(clips):
    rows = clips(*((f"c{i}", f"p{i // 2}", "", i % 2) for i in range(6)))
    folds = [fold([2, 3, 4, 5], [0, 1]), fold([0, 1, 4, 5], [2, 3]), fold([0, 1, 2, 3, 4], [4, 5])]
    with pytest.raises(AssertionError, match=r"Fold 2 of protocol component has \['p2'\] on both sides"):
        check_folds(folds, rows, protocol="component")


@pytest.mark.parametrize("protocol", ["component", "strict"])
def test_a_source_who_is_shown_on_the_other_side_is_caught(protocol, four):
    rows = four.assign(source_identity=["", "cid", "", "ann"])
    with pytest.raises(AssertionError, match=rf"protocol {protocol} has \['ann'\] on both sides"):
        check_folds([fold([0, 1], [2, 3])], rows, protocol=protocol)
    check_folds([fold([0, 1], [2, 3])], rows, protocol="target")


@every_protocol
def test_a_row_on_both_sides_is_caught(protocol, four):
    with pytest.raises(AssertionError, match=f"Fold 0 of protocol {protocol} has .* on both sides"):
        check_folds([fold([0, 1, 2], [2, 3])], four, protocol=protocol)


@every_protocol
def test_a_row_that_is_tested_twice_is_caught(protocol, four):
    with pytest.raises(AssertionError, match=f"Protocol {protocol} tests a row more than once"):
        check_folds([fold([0, 1], [2, 3])] * 2, four, protocol=protocol)


@pytest.mark.parametrize(("train", "test", "side"), [([0, 1], [2], "test"), ([1], [2, 3], "training")])
def test_a_side_without_a_class_is_refused_with_counts(train, test, side, four):
    message = f"real and fake in the {side} part of every fold; fold 1 of 1 has . real and . fake rows under protocol"
    with pytest.raises(RequestError, match=message):
        check_folds([fold(train, test)], four, protocol="target")


def test_an_empty_test_part_is_refused(four):
    with pytest.raises(RequestError, match="has 0 real and 0 fake rows"):
        check_folds([fold([0, 1, 2, 3], [])], four, protocol="target")


def test_fold_numbers_name_the_fold_that_tests_each_row():
    assert fold_numbers([fold([0, 2], [1, 3]), fold([1, 3], [0, 2])], 4).tolist() == [1, 0, 1, 0]


def test_fold_numbers_are_minus_one_where_no_fold_tests_a_row():
    assert fold_numbers([fold([0], [1]), fold([1], [4])], 6).tolist() == [-1, 0, -1, -1, 1, -1]


def test_shared_people_are_sorted_and_counted_over_the_columns_together(clips):
    rows = clips(("a", "eve", "", 0), ("b", "bob", "ann", 1), ("c", "ann", "", 0), ("d", "eve", "bob", 1))
    halves = fold([0, 1], [2, 3])
    assert shared_people(rows, halves, PEOPLE) == ["ann", "bob", "eve"]
    assert shared_people(rows, halves, TARGET) == ["eve"]
    assert shared_people(rows, halves, []) == []


def test_nobody_is_not_shared(clips):
    rows = clips(("a", "", "", 0), ("b", "", "", 1))
    assert shared_people(rows, fold([0], [1]), PEOPLE) == []
