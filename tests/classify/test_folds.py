import numpy as np
import pandas as pd
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from classify.folds import PROTOCOLS, Fold, check_folds, fold_numbers, groups_of, identity_folds
from extract.errors import RequestError

SEEDED = settings(derandomize=True, deadline=None)
COLUMNS = ["clip", "identity", "source_identity", "label"]
names = st.sampled_from(["", *(f"person{number}" for number in range(14))])


@st.composite
def manifests(draw):
    """Rows of random clips: one to three rows a clip, in random order."""
    clips = draw(
        st.lists(st.tuples(names, names, st.integers(0, 1), st.integers(1, 3)), min_size=4, max_size=40)
    )
    lines = [
        (f"clip{number}", identity, source if label else "", label)
        for number, (identity, source, label, rows) in enumerate(clips)
        for _ in range(rows)
    ]
    order = draw(st.permutations(range(len(lines))))
    return pd.DataFrame([lines[i] for i in order], columns=COLUMNS)


def folds_or_none(rows, *, n_splits, protocol, seed):
    try:
        return identity_folds(rows, n_splits=n_splits, protocol=protocol, seed=seed)
    except RequestError:
        return None


def people(rows, columns):
    return {name for column in columns for name in rows[column] if name}


def union_find(rows, columns):
    """Return each row's group by the textbook's union-find, as the least row number in it."""
    parent = list(range(len(rows)))

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    seen = {}
    for i, row in enumerate(rows.to_dict("records")):
        tokens = [("clip", row["clip"]), *(("person", row[column]) for column in columns if row[column])]
        for token in tokens:
            a, b = root(i), root(seen.setdefault(token, i))
            parent[max(a, b)] = min(a, b)
    return [root(i) for i in range(len(rows))]


def numbered_by_first(groups):
    return [list(groups).index(group) for group in groups]


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
@SEEDED
@given(rows=manifests(), n_splits=st.integers(2, 4), seed=st.integers(0, 3))
def test_folds_are_disjoint_and_complete(protocol, rows, n_splits, seed):
    folds = folds_or_none(rows, n_splits=n_splits, protocol=protocol, seed=seed)
    event("refused" if folds is None else "divided")
    if folds is None:
        return  # which requests must work is tested below
    columns = ["identity"] if protocol == "target" else ["identity", "source_identity"]
    assert len(folds) == n_splits
    for fold in folds:
        train, test = rows.iloc[fold.train], rows.iloc[fold.test]
        assert not people(train, columns) & people(test, columns)
        assert not set(train["clip"]) & set(test["clip"])
        assert set(train["label"]) == set(test["label"]) == {0, 1}
        assert sorted([*fold.train, *fold.test]) == list(range(len(rows)))
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(rows)))


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
@SEEDED
@given(rows=manifests())
def test_groups_agree_with_union_find(protocol, rows):
    columns = ["identity"] if protocol == "target" else ["identity", "source_identity"]
    expected = union_find(rows, columns)
    assert numbered_by_first(groups_of(rows, protocol=protocol)) == numbered_by_first(expected)


@SEEDED
@given(extra=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1), st.integers(1, 9)), max_size=30))
def test_ten_persons_with_both_labels_can_always_be_divided_in_five(extra):
    lines = [(f"{p}-{label}", f"p{p}", "", label) for p in range(10) for label in (0, 1)]
    lines += [(f"x{i}", f"p{p}", "", label) for i, (p, label, n) in enumerate(extra) for _ in range(n)]
    rows = pd.DataFrame(lines, columns=COLUMNS)
    assert len(identity_folds(rows, n_splits=5, protocol="component", seed=0)) == 5


def test_a_swap_ties_target_and_source_under_component_only(clips):
    rows = clips(("a", "ann", "", 0), ("b", "bob", "ann", 1), ("c", "cid", "bob", 1), ("d", "dan", "", 0))
    assert len(set(groups_of(rows, protocol="target"))) == 4
    component = groups_of(rows, protocol="component")
    assert component[0] == component[1] == component[2] != component[3]


def test_rows_of_one_clip_stay_together_even_without_an_identity(clips):
    groups = groups_of(clips(("a", "", "", 0), ("b", "", "", 0), ("a", "", "", 0)), protocol="target")
    assert groups[0] == groups[2] != groups[1]


def test_an_empty_identity_ties_nothing(clips):
    rows = clips(("a", "", "", 0), ("b", "", "", 1), ("c", "", "", 1))
    assert len(set(groups_of(rows, protocol="component"))) == 3


def test_a_person_with_the_name_of_a_clip_is_not_that_clip(clips):
    rows = clips(("ann", "bob", "", 0), ("b", "ann", "", 0))
    assert len(set(groups_of(rows, protocol="component"))) == 2


def test_an_unknown_protocol_is_refused_with_the_nearest(persons):
    with pytest.raises(
        RequestError, match=r"Expected a known protocol; got 'targets'. Did you mean 'target'\?"
    ):
        groups_of(persons(3), protocol="targets")


def test_the_same_seed_gives_the_same_folds(persons):
    once, again = (identity_folds(persons(8), n_splits=4, protocol="target", seed=3) for _ in range(2))
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a.train, b.train)
        np.testing.assert_array_equal(a.test, b.test)


def test_another_seed_shuffles_the_identities(persons):
    folds = [identity_folds(persons(12), n_splits=4, protocol="target", seed=seed) for seed in range(4)]
    assert len({tuple(numbered_by_first(fold_numbers(f))) for f in folds}) > 1


def test_folds_are_stratified(persons):
    for fold in identity_folds(persons(10), n_splits=5, protocol="target", seed=0):
        assert (
            persons(10)["label"].to_numpy()[fold.test].tolist().count(0) == 4
        )  # 2 of 10 persons, 2 clips each


def test_row_numbers_are_ascending_integers(persons):
    for fold in identity_folds(persons(6), n_splits=3, protocol="component", seed=1):
        for rows in (fold.train, fold.test):
            assert rows.dtype == np.int64
            assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize(
    ("protocol", "noun"), [("target", "identities"), ("component", "identities joined by their fakes")]
)
def test_fewer_identities_than_folds_are_refused_with_both_numbers(persons, protocol, noun):
    message = rf"at least 5 groups of {noun} with real clips for 5 folds \(protocol {protocol}\); got 3\."
    with pytest.raises(RequestError, match=message):
        identity_folds(persons(3), n_splits=5, protocol=protocol, seed=0)


def test_identities_that_component_joins_are_counted_once(persons):
    rows = persons(4)
    rows.loc[rows.index[-1], "source_identity"] = "p0"  # p3 and p0 become one group
    identity_folds(rows, n_splits=4, protocol="target", seed=0)
    with pytest.raises(RequestError, match=r"for 4 folds \(protocol component\); got 3"):
        identity_folds(rows, n_splits=4, protocol="component", seed=0)


def test_too_few_identities_of_one_class_are_refused(clips):
    reals = [(f"r{i}", f"p{i}", "", 0) for i in range(6)]
    fakes = [(f"f{i}", "p0", "", 1) for i in range(6)]
    with pytest.raises(RequestError, match=r"at least 2 groups of identities with fake clips .* got 1"):
        identity_folds(clips(*reals, *fakes), n_splits=2, protocol="target", seed=0)


LABELS = np.array([0, 1, 0, 1])
APART = np.array([0, 0, 1, 1])


def fold(train, test):
    return Fold(np.array(train, np.int64), np.array(test, np.int64))


def test_good_folds_pass():
    check_folds([fold([0, 1], [2, 3]), fold([2, 3], [0, 1])], y=LABELS, groups=APART, protocol="target")


def test_a_group_on_both_sides_is_caught():
    leaky = [fold([0, 3], [1, 2]), fold([1, 2], [0, 3])]
    with pytest.raises(AssertionError, match="Fold 0 has a group of protocol target on both sides"):
        check_folds(leaky, y=LABELS, groups=APART, protocol="target")


def test_a_leak_in_the_last_fold_is_caught():
    groups = np.array([0, 0, 1, 1, 2, 2])
    folds = [fold([2, 3, 4, 5], [0, 1]), fold([0, 1, 4, 5], [2, 3]), fold([0, 1, 2, 3, 4], [4, 5])]
    with pytest.raises(AssertionError, match="Fold 2 has a group"):
        check_folds(folds, y=np.array([0, 1] * 3), groups=groups, protocol="component")


@pytest.mark.parametrize(("train", "test", "side"), [([0, 1], [2], "test"), ([1], [2, 3], "training")])
def test_a_side_without_a_class_is_refused_with_counts(train, test, side):
    with pytest.raises(
        RequestError, match=f"real and fake in the {side} part .* fold 1 of 1 has .* real and"
    ):
        check_folds([fold(train, test)], y=LABELS, groups=APART, protocol="target")


def test_an_empty_test_part_is_refused():
    with pytest.raises(RequestError, match="has 0 real and 0 fake rows"):
        check_folds([fold([0, 1, 2, 3], [])], y=LABELS, groups=APART, protocol="target")


@pytest.mark.parametrize("tested", [[[2, 3]], [[2, 3], [2, 3]]], ids=["never", "twice"])
def test_rows_that_are_not_tested_exactly_once_are_caught(tested):
    folds = [fold([0, 1], test) for test in tested]
    with pytest.raises(AssertionError, match="Not every row is tested exactly once"):
        check_folds(folds, y=LABELS, groups=APART, protocol="target")


def test_fold_numbers_name_the_fold_that_tests_each_row():
    assert fold_numbers([fold([0, 2], [1, 3]), fold([1, 3], [0, 2])]).tolist() == [1, 0, 1, 0]
