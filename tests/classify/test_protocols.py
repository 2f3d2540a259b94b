from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from classify.folds import identity_folds, shared_people
from classify.protocols import PROTOCOLS, Fold, Protocol
from extract.errors import RequestError

TARGET, PEOPLE = ["identity"], ["identity", "source_identity"]
APART = {"target": TARGET, "component": PEOPLE, "strict": PEOPLE, "official": [], "clip": [], "frame": []}
LEAKY = {"clip", "frame"}
OWN_FOLDS = [name for name in PROTOCOLS if name != "official"]
every_protocol = pytest.mark.parametrize("protocol", list(PROTOCOLS))
some = settings(max_examples=30)


def fold(train, test):
    return Fold(np.array(train, np.int64), np.array(test, np.int64))


def folds_or_none(rows, **request):
    try:
        return identity_folds(rows, **request)
    except RequestError:
        return None


def people(rows, columns=PEOPLE):
    return {name for column in columns for name in rows[column] if name}


def sides(rows, fold):
    return rows.iloc[fold.train], rows.iloc[fold.test]


def numbers_of(folds):
    return [(each.train.tolist(), each.test.tolist()) for each in folds]


# What holds for every protocol, a new one included


@every_protocol
@settings(some, suppress_health_check=["function_scoped_fixture"])
@given(data=st.data(), n_splits=st.integers(2, 4), seed=st.integers(0, 3))
def test_random_rows_are_divided_as_promised_or_refused(protocol, quick, manifests, data, n_splits, seed):
    rows = data.draw(manifests)
    folds = folds_or_none(rows, n_splits=n_splits, protocol=protocol, seed=seed)
    event("refused" if folds is None else "divided")
    for each in folds or []:
        train, test = sides(rows, each)
        assert set(train["label"]) == set(test["label"]) == {0, 1}
        assert not set(each.train) & set(each.test)
        columns = APART.get(protocol, PROTOCOLS[protocol].disjoint)
        assert not people(train, columns) & people(test, columns)
    tested = [row for each in folds or [] for row in each.test]
    assert len(set(tested)) == len(tested)


@every_protocol
def test_rows_that_can_be_divided_are(protocol, persons):
    folds = identity_folds(persons(6), n_splits=3, protocol=protocol, seed=0)
    assert len(folds) == (1 if protocol == "official" else 3)


@every_protocol
def test_the_same_seed_gives_the_same_folds(protocol, persons):
    request = {"n_splits": 3, "protocol": protocol, "seed": 3}
    once, again = (numbers_of(identity_folds(persons(9), **request)) for _ in range(2))
    assert once == again


@pytest.mark.parametrize("protocol", OWN_FOLDS)
def test_another_seed_gives_other_folds(protocol, persons):
    request = {"n_splits": 3, "protocol": protocol}
    found = [
        frozenset(tuple(each.test) for each in identity_folds(persons(9), seed=seed, **request))
        for seed in range(4)
    ]
    assert len(set(found)) > 1


@every_protocol
def test_row_numbers_are_ascending_integers(protocol, persons):
    rows = persons(6).sample(frac=1, random_state=0)
    for each in identity_folds(rows, n_splits=3, protocol=protocol, seed=1):
        for numbers in (each.train, each.test):
            assert numbers.dtype == np.int64
            assert (np.diff(numbers) > 0).all()


@every_protocol
def test_rows_are_counted_not_looked_up_by_their_index(protocol, persons):
    rows, request = persons(6), {"n_splits": 3, "protocol": protocol, "seed": 0}
    renamed = rows.set_index(np.arange(len(rows))[::-1] + 100)
    assert numbers_of(identity_folds(renamed, **request)) == numbers_of(identity_folds(rows, **request))


@every_protocol
def test_the_table_is_left_as_it_was(protocol, persons):
    rows = persons(6)
    identity_folds(rows, n_splits=3, protocol=protocol, seed=0)
    assert rows.equals(persons(6))


@every_protocol
def test_a_protocol_says_what_it_keeps_apart(protocol):
    assert PROTOCOLS[protocol].apart


@every_protocol
def test_a_leaky_protocol_promises_nothing(protocol):
    assert not (PROTOCOLS[protocol].leaky and PROTOCOLS[protocol].disjoint)


def test_what_the_protocols_promise():
    assert {name: list(PROTOCOLS[name].disjoint) for name in APART} == APART
    assert {name for name in APART if PROTOCOLS[name].leaky} == LEAKY


def test_an_unknown_protocol_is_refused_with_the_nearest(persons):
    message = r"Expected a known protocol; got 'targets'. Did you mean 'target'\?"
    with pytest.raises(RequestError, match=message):
        identity_folds(persons(3), n_splits=3, protocol="targets", seed=0)


def test_folds_of_a_new_protocol_are_checked(persons, monkeypatch):
    careless = Protocol("nobody, it says", lambda rows, n_splits, seed: [fold([0, 2], [1, 3])], ("identity",))
    monkeypatch.setitem(PROTOCOLS._entries, "careless", careless)
    with pytest.raises((RequestError, AssertionError), match="careless"):
        identity_folds(persons(6), n_splits=3, protocol="careless", seed=0)


# target, component, clip and frame: everything is tested


@pytest.mark.parametrize("protocol", ["target", "component", "clip", "frame"])
@settings(some, suppress_health_check=["function_scoped_fixture"])
@given(data=st.data(), n_splits=st.integers(2, 4))
def test_every_row_is_tested_once_and_trains_the_other_folds(protocol, quick, manifests, data, n_splits):
    rows = data.draw(manifests)
    folds = folds_or_none(rows, n_splits=n_splits, protocol=protocol, seed=0)
    event("refused" if folds is None else "divided")
    if folds is None:
        return
    assert len(folds) == n_splits
    everything = list(range(len(rows)))
    assert sorted(row for each in folds for row in each.test) == everything
    assert all(sorted([*each.train, *each.test]) == everything for each in folds)
    if protocol != "frame":
        assert all(
            not set(train["clip"]) & set(test["clip"]) for train, test in (sides(rows, f) for f in folds)
        )


@pytest.mark.parametrize("protocol", ["target", "component"])
@some
@given(extra=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1), st.integers(1, 9)), max_size=30))
def test_ten_persons_with_both_labels_can_always_be_divided_in_five(protocol, clips, extra):
    lines = [(f"{p}-{label}", f"p{p}", "", label) for p in range(10) for label in (0, 1)]
    lines += [(f"x{i}", f"p{p}", "", label) for i, (p, label, n) in enumerate(extra) for _ in range(n)]
    assert len(identity_folds(clips(*lines), n_splits=5, protocol=protocol, seed=0)) == 5


kinds = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.integers(1, 3)), min_size=4, max_size=9)


@some
@given(real=st.lists(st.integers(1, 3), min_size=4, max_size=9), fake=kinds)
def test_as_many_clips_of_each_class_as_folds_are_enough_for_clip(clips, real, fake):
    lines = [(f"r{i}", "", "", 0) for i, n in enumerate(real) for _ in range(n)]
    lines += [(f"f{i}", "", "", 1, attack) for i, (attack, n) in enumerate(fake) for _ in range(n)]
    assert len(identity_folds(clips(*lines), n_splits=4, protocol="clip", seed=0)) == 4


@some
@given(attacks=st.lists(st.sampled_from(["", "", "a", "b"]), min_size=8, max_size=20))
def test_as_many_faces_of_each_class_as_folds_are_enough_for_frame(clips, attacks):
    assume(4 <= sum(attack == "" for attack in attacks) <= len(attacks) - 4)
    rows = clips(*((f"c{i}", "", "", int(attack != ""), attack) for i, attack in enumerate(attacks)))
    assert len(identity_folds(rows, n_splits=4, protocol="frame", seed=0)) == 4


def test_frame_divides_few_fakes_of_two_attacks(clips):
    lines = [(f"a{i}", "", "", 1, "a") for i in range(2)]
    lines += [(f"r{i}", "", "", 0) for i in range(5)]
    lines += [(f"b{i}", "", "", 1, "b") for i in range(2)]
    assert len(identity_folds(clips(*lines), n_splits=4, protocol="frame", seed=0)) == 4


@pytest.mark.parametrize("protocol", ["target", "component", "clip", "frame"])
def test_attacks_named_for_real_clips_do_not_matter(protocol, clips):
    lines = [(f"r{i}", f"r{i}", "", 0, f"camera {i}") for i in range(4)]
    lines += [(f"f{i}", f"f{i}", "", 1, f"swap {i}") for i in range(4)]
    assert len(identity_folds(clips(*lines), n_splits=4, protocol=protocol, seed=0)) == 4


def test_frame_puts_frames_of_one_clip_on_both_sides(clips):
    rows = clips(*((f"c{i // 6}", "", "", i // 6 % 2) for i in range(24)))
    for each in identity_folds(rows, n_splits=3, protocol="frame", seed=0):
        train, test = sides(rows, each)
        assert set(train["clip"]) == set(test["clip"]) == {"c0", "c1", "c2", "c3"}


def test_clip_puts_one_person_on_both_sides(persons):
    rows = persons(6)
    for each in identity_folds(rows, n_splits=3, protocol="clip", seed=0):
        assert shared_people(rows, each, TARGET)


@pytest.mark.parametrize("protocol", ["target", "component", "strict"])
@pytest.mark.parametrize("seed", range(3))
def test_persons_alike_are_dealt_evenly(protocol, seed, persons):
    for each in identity_folds(persons(10), n_splits=5, protocol=protocol, seed=seed):
        assert Counter(persons(10)["label"].iloc[each.test]) == {0: 4, 1: 6}  # two persons in each of five


@pytest.mark.parametrize(("protocol", "off"), [("target", 2), ("component", 2), ("clip", 0), ("frame", 0)])
@pytest.mark.parametrize("seed", range(3))
def test_folds_are_balanced_in_attack(protocol, off, seed, clips):
    attacks = ["a"] * 15 + ["b"] * 10 + ["c"] * 5  # one a person, with two fakes
    lines = [(f"r{p}", f"p{p}", "", 0) for p in range(30)]
    lines += [(f"f{p}-{i}", f"p{p}", f"p{p}", 1, a) for p, a in enumerate(attacks) for i in range(2)]
    rows, even = clips(*lines), {"": 6, "a": 6, "b": 4, "c": 2}
    for each in identity_folds(rows, n_splits=5, protocol=protocol, seed=seed):
        dealt = Counter(rows["attack"].iloc[each.test])
        assert all(abs(dealt[attack] - count) <= off for attack, count in even.items())


@pytest.mark.parametrize("protocol", ["target", "component", "clip", "frame"])
def test_an_attack_with_less_clips_than_folds_is_dealt_as_far_as_it_goes(protocol, clips, recwarn):
    lines = [(f"r{p}", f"p{p}", "", 0) for p in range(12)]
    lines += [(f"f{p}", f"p{p}", f"p{p}", 1, "rare" if p < 2 else "common") for p in range(12)]
    rows = clips(*lines)
    folds = identity_folds(rows, n_splits=4, protocol=protocol, seed=0)
    assert max(Counter(rows["attack"].iloc[each.test])["rare"] for each in folds) == 1
    assert not recwarn.list


def test_where_attacks_cannot_be_balanced_the_labels_are(clips):
    rows = clips(*((f"c{i}", f"p{i}", "", int(i < 4), f"attack {i}" if i < 4 else "") for i in range(8)))
    assert len(identity_folds(rows, n_splits=4, protocol="target", seed=0)) == 4


# Refusals


@pytest.mark.parametrize(
    ("protocol", "noun"), [("target", "identities"), ("component", "identities joined by their fakes")]
)
def test_fewer_identities_than_folds_are_refused_with_both_numbers(persons, protocol, noun):
    message = rf"at least 5 groups of {noun} with real clips for 5 folds \(protocol {protocol}\); got 3"
    with pytest.raises(RequestError, match=message):
        identity_folds(persons(3), n_splits=5, protocol=protocol, seed=0)


def test_fewer_clips_than_folds_are_refused_by_clip(clips):
    rows = clips(*((f"c{i % 6}", "", "", i % 2) for i in range(18)))
    with pytest.raises(
        RequestError, match=r"at least 4 groups of frames of one clip with real clips .* got 3"
    ):
        identity_folds(rows, n_splits=4, protocol="clip", seed=0)


def test_fewer_faces_than_folds_are_refused_by_frame(clips):
    rows = clips(*((f"c{i}", "", "", int(i < 3)) for i in range(9)))
    message = r"at least 4 real and 4 fake faces for 4 folds \(protocol frame\); got 3 of one"
    with pytest.raises(RequestError, match=message):
        identity_folds(rows, n_splits=4, protocol="frame", seed=0)


@every_protocol
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_refused(protocol, label, persons):
    rows = persons(6)
    with pytest.raises(RequestError):
        identity_folds(rows[rows["label"] == label], n_splits=3, protocol=protocol, seed=0)


def test_identities_that_component_joins_are_counted_once(persons):
    rows = persons(4)
    rows.loc[rows.index[-1], "source_identity"] = "p0"  # p3 and p0 become one group
    identity_folds(rows, n_splits=4, protocol="target", seed=0)
    message = r"for 4 folds \(protocol component\); got 3 \(components of 2/1/1 identities\)"
    with pytest.raises(RequestError, match=message):
        identity_folds(rows, n_splits=4, protocol="component", seed=0)


def test_a_long_run_of_equal_components_is_written_once(persons):
    with pytest.raises(RequestError, match=r"components of 1 \(6 times\) identities"):
        identity_folds(persons(6), n_splits=7, protocol="component", seed=0)


def test_component_refuses_clips_of_nobody_known(clips):
    rows = clips(("a", "", "", 0), ("b", "", "", 1))
    with pytest.raises(RequestError, match="components of no identities"):
        identity_folds(rows, n_splits=2, protocol="component", seed=0)


def test_too_few_identities_of_one_class_are_refused(clips):
    reals = [(f"r{i}", f"p{i}", "", 0) for i in range(6)]
    fakes = [(f"f{i}", "p0", "", 1) for i in range(6)]
    with pytest.raises(RequestError, match=r"at least 2 groups of identities with fake clips .* got 1"):
        identity_folds(clips(*reals, *fakes), n_splits=2, protocol="target", seed=0)
