import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.groups import group_sizes, groups_of, people_of

PEOPLE = ["identity", "source_identity"]
CHAIN = (("a", "ann", "", 0), ("b", "bob", "ann", 1), ("c", "cid", "bob", 1), ("d", "dan", "", 0))


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


@pytest.mark.parametrize("columns", [[], ["identity"], PEOPLE], ids=["clip", "target", "component"])
@settings(max_examples=40)
@given(data=st.data())
def test_groups_agree_with_union_find(columns, manifests, data):
    rows = data.draw(manifests)
    groups = groups_of(rows, columns)
    assert groups.dtype == np.int64
    assert numbered_by_first(groups) == numbered_by_first(union_find(rows, columns))


def test_rows_of_a_part_keep_their_groups(clips):
    rows = clips(*CHAIN, ("e", "ann", "", 0)).iloc[[4, 3, 1]]
    assert numbered_by_first(groups_of(rows, PEOPLE)) == [0, 1, 0]


def test_a_swap_ties_target_and_source_where_both_columns_count(clips):
    rows = clips(*CHAIN)
    assert len(set(groups_of(rows, ["identity"]))) == 4
    component = groups_of(rows, PEOPLE)
    assert component[0] == component[1] == component[2] != component[3]


@pytest.mark.parametrize("columns", [[], ["identity"], PEOPLE], ids=["clip", "target", "component"])
def test_rows_of_one_clip_stay_together_even_without_an_identity(columns, clips):
    groups = groups_of(clips(("a", "", "", 0), ("b", "", "", 0), ("a", "", "", 0)), columns)
    assert groups[0] == groups[2] != groups[1]


def test_without_columns_only_clips_tie(clips):
    rows = clips(("a", "ann", "", 0), ("b", "ann", "", 0))
    assert len(set(groups_of(rows, []))) == 2


def test_an_empty_identity_ties_nothing(clips):
    rows = clips(("a", "", "", 0), ("b", "", "", 1), ("c", "", "", 1))
    assert len(set(groups_of(rows, PEOPLE))) == 3


def test_a_person_with_the_name_of_a_clip_is_not_that_clip(clips):
    rows = clips(("ann", "bob", "", 0), ("b", "ann", "", 0))
    assert len(set(groups_of(rows, PEOPLE))) == 2


def test_an_empty_name_is_nobody(clips):
    rows = clips(*CHAIN, ("e", "", "eve", 1), ("f", "", "", 0))
    assert people_of(rows, ["identity"]) == {"ann", "bob", "cid", "dan"}
    assert people_of(rows, PEOPLE) == {"ann", "bob", "cid", "dan", "eve"}
    assert people_of(rows, []) == set()


def test_group_sizes_count_people_not_rows(clips):
    rows = clips(*CHAIN, ("a", "ann", "", 0), ("f", "", "", 0))
    sizes = group_sizes(rows, groups_of(rows, PEOPLE), PEOPLE)
    assert sizes.tolist() == [3, 1]  # the clip of nobody has no size


def test_group_sizes_count_sources_that_are_never_shown(clips):
    rows = clips(("a", "ann", "bob", 1), ("b", "", "cid", 1))
    assert group_sizes(rows, groups_of(rows, PEOPLE), PEOPLE).tolist() == [2, 1]
