import numpy as np
import pandas as pd
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import classify.audit
from classify.audit import audit_folds, describe_audit, near_duplicates
from classify.folds import identity_folds
from classify.protocols import PROTOCOLS, Fold
from extract.errors import RequestError

every_protocol = pytest.mark.parametrize("protocol", list(PROTOCOLS))


def hashes(rng, n, bits=256):
    return rng.integers(0, 2, size=(n, bits)).astype(np.float32)


def flipped(face, count):
    """Return a hash that differs from another in `count` bits."""
    other = face.copy()
    other[:count] = 1 - other[:count]
    return other


def differing(a, b):
    return sum(x != y for x, y in zip(a, b, strict=True))


@pytest.fixture
def example(clips):
    """Ann, Bob and Cid in training, Dan and Eve tested, and whom they share; the last clip sits out."""
    rows = clips(
        ("a", "ann", "", 0),
        ("a", "ann", "", 0),
        ("b", "bob", "ann", 1),
        ("c", "cid", "zoe", 1),
        ("d", "dan", "", 0),
        ("e", "dan", "bob", 1),  # bob is shown in training
        ("e", "dan", "bob", 1),
        ("f", "eve", "zoe", 1),  # zoe is put in there
        ("g", "ann", "fay", 1),  # fay is not there
        ("h", "eve", "", 1),
        ("c", "cid", "zoe", 1),
        ("i", "gus", "", 0),
    )
    return rows, Fold(np.arange(4), np.arange(4, 11))


BY_HAND = {
    "protocol": "clip",
    "fold": 1,
    "train_faces": 4,
    "train_real_clips": 1,
    "train_fake_clips": 2,
    "train_prevalence": 2 / 3,
    "test_faces": 7,
    "test_real_clips": 1,
    "test_fake_clips": 5,  # c, e, f, g, h
    "test_prevalence": 5 / 6,
    "train_identities": 3,
    "train_people": 4,  # and zoe
    "test_identities": 4,  # ann, cid, dan, eve
    "test_people": 7,  # and bob, fay, zoe
    "sat_out_clips": 1,
    "shared_clips": 1,
    "shared_identities": 2,  # ann, cid
    "shared_people": 4,  # and bob, zoe
    "sources": 4,  # of h none is known
    "sources_in_training": 3,
}


def test_every_column_by_hand(example):
    rows, fold = example
    audit = audit_folds(rows, {"clip": [fold]})
    (line,) = audit.drop(columns="near_duplicates").to_dict("records")
    assert line == BY_HAND
    assert audit["near_duplicates"].isna().all()


def test_the_documented_columns_are_there_in_order(example):
    rows, fold = example
    side = ["faces", "real_clips", "fake_clips", "prevalence", "identities", "people"]
    assert list(audit_folds(rows, {"clip": [fold]})) == [
        *("protocol", "fold"),
        *(f"train_{name}" for name in side),
        *(f"test_{name}" for name in side),
        *("sat_out_clips", "shared_clips", "shared_identities", "shared_people"),
        *("sources", "sources_in_training", "near_duplicates"),
    ]


def test_one_line_a_fold_in_the_order_of_the_protocols(persons):
    rows = persons(6)
    names = ["frame", "target", "official"]
    folds = {name: identity_folds(rows, n_splits=3, protocol=name, seed=0) for name in names}
    audit = audit_folds(rows, folds)
    assert list(zip(audit["protocol"], audit["fold"], strict=True)) == [
        *(("frame", k) for k in (1, 2, 3)),
        *(("target", k) for k in (1, 2, 3)),
        ("official", 1),
    ]


def naive(rows, fold):
    """Count again, clip by clip and name by name."""
    lines = rows.to_dict("records")
    train, test = [lines[i] for i in fold.train], [lines[i] for i in fold.test]

    def clips(part, label):
        return {line["clip"] for line in part if line["label"] == label}

    def shown(part):
        return {line["identity"] for line in part} - {""}

    def named(part):
        return shown(part) | ({line["source_identity"] for line in part} - {""})

    sources = {
        line["clip"]: line["source_identity"] for line in test if line["label"] and line["source_identity"]
    }
    both = {line["clip"] for line in train} & {line["clip"] for line in test}
    used = {line["clip"] for line in train + test}
    counts = {
        "sat_out_clips": len({line["clip"] for line in lines} - used),
        "shared_clips": len(both),
        "shared_identities": len(shown(train) & shown(test)),
        "shared_people": len(named(train) & named(test)),
        "sources": len(sources),
        "sources_in_training": sum(source in named(train) for source in sources.values()),
    }
    for name, part in (("train", train), ("test", test)):
        counts |= {f"{name}_faces": len(part), f"{name}_identities": len(shown(part))}
        counts |= {f"{name}_people": len(named(part))}
        counts |= {
            f"{name}_{kind}_clips": len(clips(part, label)) for label, kind in enumerate(("real", "fake"))
        }
    return counts


@every_protocol
@settings(max_examples=25, suppress_health_check=["function_scoped_fixture"])
@given(data=st.data(), seed=st.integers(0, 3))
def test_the_audit_says_exactly_what_two_sides_share(protocol, quick, manifests, data, seed):
    rows = data.draw(manifests)
    try:
        folds = identity_folds(rows, n_splits=2, protocol=protocol, seed=seed)
    except RequestError:
        folds = []
    event("divided" if folds else "refused")
    audit = audit_folds(rows, {protocol: folds})
    assert len(audit) == len(folds)
    for line, fold in zip(audit.to_dict("records"), folds, strict=True):
        counts = naive(rows, fold)
        assert {name: line[name] for name in counts} == counts


@every_protocol
def test_what_a_protocol_keeps_apart_is_not_shared(protocol, persons):
    rows = persons(6)
    audit = audit_folds(rows, {protocol: identity_folds(rows, n_splits=3, protocol=protocol, seed=0)})
    if "identity" in PROTOCOLS[protocol].disjoint:
        assert not audit["shared_identities"].any()
    if "source_identity" in PROTOCOLS[protocol].disjoint:
        assert not audit["shared_people"].any()


def test_target_says_how_many_sources_are_in_training(clips):
    lines = [(f"r{p}", f"p{p}", "", 0) for p in range(4)]
    lines += [(f"f{p}", f"p{p}", f"p{(p + 1) % 4}", 1) for p in range(4)]  # swapped in a circle
    rows = clips(*lines)
    fold = Fold(np.array([0, 1, 4, 5]), np.array([2, 3, 6, 7]))
    (line,) = audit_folds(rows, {"target": [fold]}).to_dict("records")
    assert line["shared_identities"] == 0
    assert (line["shared_people"], line["test_people"]) == (2, 3)  # p0 and p2
    assert (line["sources"], line["sources_in_training"]) == (2, 1)


def test_the_audit_looks_at_the_rows_not_at_the_promise(persons):
    rows = persons(4)
    fold = Fold(np.arange(0, 20, 2), np.arange(1, 20, 2))
    audit = audit_folds(rows, {"strict": [fold]})
    assert audit["shared_people"].tolist() == [4]


def test_near_duplicates_are_counted_by_fold(persons, rng):
    rows = persons(4)
    bits = hashes(rng, 20)
    bits[[0, 1]] = bits[19]  # two faces of person 0 look like one of person 3
    first, last, half = np.arange(5), np.arange(15, 20), np.arange(5, 15)
    folds = [Fold(last, first), Fold(first, last), Fold(half, first)]
    assert audit_folds(rows, {"target": folds}, bits=bits)["near_duplicates"].tolist() == [2, 1, 0]


@pytest.mark.parametrize(("differ", "near"), [(0, True), (24, True), (25, True), (26, False), (256, False)])
def test_a_tenth_of_256_bits_may_differ(differ, near, rng):
    (face,) = hashes(rng, 1)
    assert near_duplicates(flipped(face, differ)[None], face[None]).tolist() == [near]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.15, 0.3, 0.35, 0.45])
def test_a_face_exactly_at_the_limit_is_a_near_duplicate(share, rng):
    (face,) = hashes(rng, 1, bits=20)
    limit = round(20 * share)
    test = np.array([flipped(face, limit + extra) for extra in (-1, 0, 1) if limit + extra >= 0])
    expected = [True] * (len(test) - 1) + [False]
    assert near_duplicates(test, face[None], near=share).tolist() == expected


@pytest.mark.parametrize("n", [1, 6, 7, 8, 14, 23])
def test_blocks_agree_with_counting_bit_by_bit(n, monkeypatch, rng):
    monkeypatch.setattr(classify.audit, "BLOCK", 7)
    test, train = hashes(rng, n, bits=20), hashes(rng, 31, bits=20)
    for near in (0.1, 0.2, 0.25, 0.3):
        expected = [any(differing(face, other) <= 20 * near for other in train) for face in test]
        assert near_duplicates(test, train, near=near).tolist() == expected


def test_the_nearest_training_face_may_be_anywhere(rng):
    train = hashes(rng, 9)
    assert near_duplicates(np.array([flipped(face, 20) for face in train]), train).all()


def test_the_hashes_are_left_as_they_were(rng):
    test, train = hashes(rng, 3), hashes(rng, 4)
    before = test.copy(), train.copy()
    near_duplicates(test, train)
    np.testing.assert_array_equal(test, before[0])
    np.testing.assert_array_equal(train, before[1])


def test_the_audit_is_described_in_words_and_a_table(example, rng):
    rows, fold = example
    bits = hashes(rng, 12)
    bits[5] = bits[0]
    head, titles, values = describe_audit(audit_folds(rows, {"clip": [fold]}, bits=bits))
    assert head == "Protocol clip, LEAKY: frames of one clip stay together, people do not."
    expected = {
        "fold": "1",
        "train real+fake": "1 + 2 (67 %)",
        "test real+fake": "1 + 5 (83 %)",
        "sat out": "1",
        "shared clips": "1",
        "shared identities": "2 of 4",
        "shared people": "4 of 7",
        "shared sources": "75 %",
        "near-duplicates": "14 %",
    }
    assert titles.split() == " ".join(expected).split()
    assert values.split() == " ".join(expected.values()).split()


def test_what_was_not_counted_is_a_dash(example):
    rows, fold = example
    *_, values = describe_audit(audit_folds(rows, {"clip": [fold]}))
    assert values.split()[-1] == "-"


def test_the_share_of_no_sources_is_a_dash(example):
    rows, fold = example
    *_, values = describe_audit(audit_folds(rows.assign(source_identity=""), {"target": [fold]}))
    assert values.split()[-2:] == ["-", "-"]


def test_large_counts_have_commas(example):
    rows, fold = example
    audit = audit_folds(rows, {"clip": [fold]}).assign(train_fake_clips=4188, sat_out_clips=1900)
    *_, values = describe_audit(audit)
    assert "1 + 4,188" in values
    assert "1,900" in values


@every_protocol
def test_only_leaky_protocols_are_marked(protocol, persons):
    rows = persons(6)
    folds = identity_folds(rows, n_splits=3, protocol=protocol, seed=0)
    head, _, *lines = describe_audit(audit_folds(rows, {protocol: folds}))
    assert head.startswith(f"Protocol {protocol}")
    assert PROTOCOLS[protocol].apart in head
    assert ("LEAKY" in head) == PROTOCOLS[protocol].leaky
    assert [line.split()[0] for line in lines] == [str(number + 1) for number in range(len(folds))]


def test_each_protocol_has_its_own_table_in_the_order_of_the_audit(persons):
    rows = persons(6)
    folds = {name: identity_folds(rows, n_splits=3, protocol=name, seed=0) for name in ("target", "clip")}
    lines = describe_audit(audit_folds(rows, folds))
    assert [i for i, line in enumerate(lines) if line.startswith("Protocol ")] == [0, 5]
    assert lines[0].startswith("Protocol target:")
    assert lines[5].startswith("Protocol clip, LEAKY:")


def test_an_audit_that_was_stored_is_described_alike(example, tmp_path):
    rows, fold = example
    audit = audit_folds(rows, {"clip": [fold], "target": [fold]})
    audit.to_csv(tmp_path / "audit.csv", index=False)
    assert describe_audit(pd.read_csv(tmp_path / "audit.csv")) == describe_audit(audit)
