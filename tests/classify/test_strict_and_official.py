import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from classify.audit import audit_folds
from classify.folds import identity_folds
from extract.errors import RequestError

PEOPLE = ["identity", "source_identity"]
some = settings(max_examples=30)


@pytest.fixture(scope="module")
def celebdf_strict(celebdf):
    return identity_folds(celebdf, n_splits=5, protocol="strict", seed=0)


def folds_or_none(rows, **request):
    try:
        return identity_folds(rows, **request)
    except RequestError:
        return None


def people(rows, columns=PEOPLE):
    return {name for column in columns for name in rows[column] if name}


def sides(rows, fold):
    return rows.iloc[fold.train], rows.iloc[fold.test]


def own_people(row):
    """Name the people of a clip; one that names nobody shows somebody of its own."""
    return {row["identity"], row["source_identity"]} - {""} or {("nobody in", row["clip"])}


# strict


@settings(some, suppress_health_check=["function_scoped_fixture"])
@given(data=st.data(), n_splits=st.integers(2, 4), seed=st.integers(0, 3))
def test_strict_keeps_the_clips_whose_people_are_all_on_one_side(
    quick, manifests, clips, data, n_splits, seed
):
    drawn = data.draw(manifests)
    drawn = drawn[(drawn["label"] == 0) | (drawn["source_identity"] != "")]
    reals = [(f"of {name}", name, "", 0) for name in sorted(people(drawn))]  # these tell who is in which fold
    rows = clips(*drawn.itertuples(index=False, name=None), *reals)
    folds = folds_or_none(rows, n_splits=n_splits, protocol="strict", seed=seed)
    event("refused" if folds is None else "divided")
    if folds is None:
        return
    lines = rows.to_dict("records")
    single = {i: next(iter(own_people(line))) for i, line in enumerate(lines) if len(own_people(line)) == 1}
    assigned = {single[i]: k for k, each in enumerate(folds) for i in each.test if i in single}
    for k, each in enumerate(folds):
        inside = [[assigned[person] == k for person in own_people(line)] for line in lines]
        assert each.test.tolist() == [i for i, flags in enumerate(inside) if all(flags)]
        assert each.train.tolist() == [i for i, flags in enumerate(inside) if not any(flags)]


@settings(some, suppress_health_check=["function_scoped_fixture"])
@given(swaps=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9)), max_size=40))
def test_strict_always_divides_ten_persons_with_a_real_and_a_fake_of_their_own(quick, clips, swaps):
    lines = [
        (f"{p}-{label}", f"p{p}", f"p{p}" if label else "", label) for p in range(10) for label in (0, 1)
    ]
    lines += [(f"x{i}", f"p{a}", f"p{b}", 1) for i, (a, b, n) in enumerate(swaps) for _ in range(n)]
    assert len(identity_folds(clips(*lines), n_splits=5, protocol="strict", seed=0)) == 5


def test_strict_refuses_fakes_without_a_source_by_count_first_and_remedy(clips, persons):
    unknown = [("x", "p0", "", 1), ("x", "p0", "", 1), ("y", "p1", "", 1), ("z", "p2", "", 0)]
    rows = clips(*persons(6).itertuples(index=False, name=None), *unknown)
    message = (
        r"source identity of every fake for protocol strict; 2 fake clips name none, first x\. Fill source_identity"
        r'.*unknown_sources = "leave_out"'
    )
    with pytest.raises(RequestError, match=message):
        identity_folds(rows, n_splits=3, protocol="strict", seed=0)


def test_strict_takes_a_fake_of_nobody_known_for_its_source_alone(clips, persons):
    rows = clips(*persons(6).itertuples(index=False, name=None), ("x", "", "p0", 1))
    for each in identity_folds(rows, n_splits=3, protocol="strict", seed=0):
        train, test = sides(rows, each)
        assert ("x" in set(test["clip"])) == ("p0" in people(test))
        assert ("x" in set(train["clip"])) == ("p0" in people(train))


def test_strict_does_not_depend_on_the_order_of_the_rows(clips):
    lines = [(f"r{p}", f"p{p}", "", 0) for p in range(9)]
    lines += [(f"f{p}", f"p{p}", f"p{(p + 1) % 9}", 1) for p in range(9)]
    rows = clips(*lines)
    shuffled = rows.sample(frac=1, random_state=1)
    folds, others = (identity_folds(r, n_splits=3, protocol="strict", seed=0) for r in (rows, shuffled))
    tested, again = (
        [set(r["clip"].iloc[f.test]) for f in fs] for r, fs in ((rows, folds), (shuffled, others))
    )
    assert tested == again


def test_strict_refuses_where_every_fake_needs_the_same_person(clips):
    lines = [(f"r{p}", f"p{p}", "", 0) for p in range(9)]
    lines += [(f"f{p}", f"p{p}", "p0", 1) for p in range(1, 9)]
    with pytest.raises(RequestError, match=r"Expected real and fake in the .* protocol strict"):
        identity_folds(clips(*lines), n_splits=3, protocol="strict", seed=0)


def test_strict_divides_what_component_refuses(clips):
    lines = [(f"r{p}", f"p{p}", "", 0) for p in range(9)]
    lines += [(f"{a}-{b}", f"p{a}", f"p{b}", 1) for a, b in itertools.permutations(range(9), 2)]
    rows = clips(*lines)
    with pytest.raises(
        RequestError, match=r"components of 9 identities\)\. Use fewer folds, protocol strict"
    ):
        identity_folds(rows, n_splits=3, protocol="component", seed=0)
    folds = identity_folds(rows, n_splits=3, protocol="strict", seed=0)
    assert [Counter(rows["label"].iloc[each.test]) for each in folds] == [{0: 3, 1: 6}] * 3
    assert [Counter(rows["label"].iloc[each.train]) for each in folds] == [{0: 6, 1: 30}] * 3


def test_strict_does_not_gather_an_attack_in_one_fold(clips):
    lines = [(f"r{p}", f"p{p:02}", "", 0) for p in range(25)]
    lines += [(f"f{p}", f"p{p:02}", f"p{p:02}", 1, f"attack {p % 5}") for p in range(25)]
    rows = clips(*lines)
    for each in identity_folds(rows, n_splits=5, protocol="strict", seed=0):
        assert len(set(rows["attack"].iloc[each.test]) - {""}) > 1


# official


@settings(some)
@given(data=st.data(), n_splits=st.integers(2, 4))
def test_official_takes_the_given_split(manifests, data, n_splits):
    rows = data.draw(manifests)
    folds = folds_or_none(rows, n_splits=n_splits, protocol="official", seed=0)
    event("refused" if folds is None else "taken")
    for each in folds or []:
        assert each.train.tolist() == [
            i for i, split in enumerate(rows["split"]) if split in ("train", "val")
        ]
        assert each.test.tolist() == [i for i, split in enumerate(rows["split"]) if split == "test"]
        assert len(folds) == 1


@pytest.mark.parametrize(
    ("splits", "missing"),
    [
        (["train", "val", "train", "val"], "test"),
        (["test", "test", "test", ""], "training"),
        (["", "", "", "dev"], "training and no test"),
    ],
)
def test_official_refuses_without_training_or_test_clips(clips, splits, missing):
    rows = clips(*((f"c{i}", "", "", i % 2, "", split) for i, split in enumerate(splits)))
    message = f"split train and test for protocol official; got no {missing} clip. Fill the column split"
    with pytest.raises(RequestError, match=message):
        identity_folds(rows, n_splits=3, protocol="official", seed=0)


def test_official_refuses_a_test_part_of_one_class(clips):
    rows = clips(*((f"c{i}", "", "", i % 2, "", "test" if i == 0 else "train") for i in range(4)))
    with pytest.raises(RequestError, match=r"real and fake in the test part .* 1 real and 0 fake rows"):
        identity_folds(rows, n_splits=3, protocol="official", seed=0)


# Celeb-DF v2, all its clips


def test_component_refuses_celeb_df_by_the_sizes_of_its_components(celebdf):
    with pytest.raises(RequestError, match=r"for 5 folds .* got 3 \(components of 38/10/10/1\b"):
        identity_folds(celebdf, n_splits=5, protocol="component", seed=0)


def test_strict_shares_nobody_on_celeb_df(celebdf, celebdf_strict):
    assert len(celebdf_strict) == 5
    for each in celebdf_strict:
        train, test = sides(celebdf, each)
        assert set(train["label"]) == set(test["label"]) == {0, 1}
        assert not people(train) & people(test)


def test_strict_keeps_two_thirds_of_the_fakes_of_celeb_df(celebdf, celebdf_strict):
    fakes = [int(celebdf["label"].iloc[each.test].sum()) for each in celebdf_strict]
    assert sum(fakes) >= 3700
    assert max(fakes) <= 2 * min(fakes)


def test_strict_tests_every_real_clip_of_celeb_df_once(celebdf, celebdf_strict):
    tested = np.concatenate([each.test for each in celebdf_strict])
    reals = tested[celebdf["label"].to_numpy()[tested] == 0]
    assert sorted(reals) == np.flatnonzero(celebdf["label"] == 0).tolist()


def test_the_audit_gives_the_prevalences_on_celeb_df(celebdf, celebdf_strict):
    audit = audit_folds(celebdf, {"strict": celebdf_strict})
    for line, each in zip(audit.to_dict("records"), celebdf_strict, strict=True):
        train, test = sides(celebdf, each)
        assert (line["test_real_clips"], line["test_fake_clips"]) == (
            (test["label"] == 0).sum(),
            (test["label"] == 1).sum(),
        )
        assert (line["train_real_clips"], line["train_fake_clips"]) == (
            (train["label"] == 0).sum(),
            (train["label"] == 1).sum(),
        )
        assert line["sat_out_clips"] == len(celebdf) - len(train) - len(test)
        assert 0.6 < line["test_fake_clips"] / line["test_faces"] < 0.95  # 0.81 of the kept clips are fake
        assert line["shared_people"] == line["shared_identities"] == line["sources_in_training"] == 0


def test_the_test_list_of_celeb_df_shares_all_its_celebrities_with_training(celebdf):
    folds = identity_folds(celebdf, n_splits=5, protocol="official", seed=0)
    train, test = sides(celebdf, folds[0])
    assert (len(test), int(test["label"].sum())) == (518, 340)  # a 1 in the list would mean real
    celebrities = {name for name in people(test) if name.startswith("id")}
    assert len(celebrities) == len(celebrities & people(train)) == 56
    (line,) = audit_folds(celebdf, {"official": folds}).to_dict("records")
    own_scenes = len(people(test) - celebrities)  # each clip from YouTube is somebody of its own
    assert own_scenes == test["clip"].str.startswith("YouTube-real").sum()
    assert (line["shared_people"], line["test_people"]) == (56, 56 + own_scenes)
    assert line["sources_in_training"] == line["sources"] == 340
