import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from classify.resampling import KINDS, in_chunks, ratio, resample, totals, weighted_auc

# Four people: two reals and a fake of each kind, the last clip of nobody known.
PAIRS = [("a", ""), ("b", ""), ("c", "d"), ("a", "b"), ("b", "a"), ("a", "a"), ("d", ""), ("", "")]
LABELS = [0, 0, 1, 1, 1, 1, 1, 0]


@pytest.fixture
def rows():
    """Eight clips, the first with two faces."""
    clips = pd.DataFrame(PAIRS, columns=["identity", "source_identity"]).assign(label=LABELS)
    clips["clip"] = [f"clip{number}" for number in range(len(clips))]
    return clips.iloc[[0, 0, 1, 2, 3, 4, 5, 6, 7]].reset_index(drop=True)


@pytest.fixture
def crossed(rng):
    """40 reals and 200 fakes of 20 people, two faces a clip."""
    target, source = (rng.integers(20, size=240) for _ in range(2))
    label = (np.arange(240) >= 40).astype(int)
    clips = pd.DataFrame(
        {
            "clip": [f"clip{number}" for number in range(240)],
            "identity": [f"p{number}" for number in target],
            "source_identity": [
                f"p{number}" if fake else "" for number, fake in zip(source, label, strict=True)
            ],
            "label": label,
        }
    )
    return clips.loc[np.repeat(np.arange(240), 2)].reset_index(drop=True)


def of_rows(drawn):
    return drawn.weights[:, drawn.cells].astype(int)


def test_a_row_weighs_the_product_of_its_people(rows):
    drawn = resample(rows, seed=1, replicates=500)
    a, _, b, cd, ab, ba, aa, d, nobody = of_rows(drawn).T
    assert drawn.people == 5  # a, b, c, d and the clip of nobody
    assert (ab == a * b).all()
    assert (ba == ab).all()
    assert (aa == a).all()  # a swap of oneself counts its person once
    c = 5 - a - b - d - nobody  # every replicate draws as many people as there are
    assert (cd == c * d).all()
    assert a.max() >= 3  # else the square would not differ


def test_rows_with_the_same_people_share_a_cell(rows):
    cells = resample(rows, seed=1, replicates=2).cells
    assert cells[0] == cells[1] == cells[6]
    assert cells[4] == cells[5]
    assert len(set(cells.tolist())) == 6


def test_weights_are_multinomial_counts(rows):
    weights = of_rows(resample(rows, seed=2, replicates=20_000))
    a, b, ab = weights[:, 0], weights[:, 2], weights[:, 4]
    for one in (a, b):
        assert one.mean() == pytest.approx(1, abs=0.03)
        assert one.var() == pytest.approx(1 - 1 / 5, abs=0.05)
    assert ab.mean() == pytest.approx(1 - 1 / 5, abs=0.04)


def test_the_target_kind_forgets_sources(rows):
    weights = of_rows(resample(rows, seed=1, replicates=50, kind="target"))
    assert (weights[:, 4] == weights[:, 0]).all()
    assert (weights[:, 5] == weights[:, 2]).all()


def test_the_rows_kind_draws_rows(rows):
    drawn = resample(rows, seed=1, replicates=50, kind="rows")
    assert drawn.people == len(rows)
    assert (of_rows(drawn).sum(axis=1) == len(rows)).all()
    assert (of_rows(drawn)[:, 0] != of_rows(drawn)[:, 1]).any()  # two faces of one clip


@pytest.mark.parametrize("kind", KINDS)
def test_same_rows_and_seed_same_weights(crossed, kind):
    first, again = (resample(crossed, seed=7, replicates=20, kind=kind) for _ in range(2))
    np.testing.assert_array_equal(first.weights, again.weights)
    other = resample(crossed, seed=8, replicates=20, kind=kind)
    assert (first.weights != other.weights).any()


def test_people_keep_their_weights_in_any_order_of_rows(crossed):
    order = np.random.default_rng(0).permutation(len(crossed))
    straight = of_rows(resample(crossed, seed=7, replicates=20))
    np.testing.assert_array_equal(
        of_rows(resample(crossed.iloc[order], seed=7, replicates=20)), straight[:, order]
    )


def test_faces_and_clips_are_paired(crossed):
    faces = of_rows(resample(crossed, seed=7, replicates=20))
    clips = of_rows(resample(crossed.iloc[::2], seed=7, replicates=20))
    np.testing.assert_array_equal(faces[:, ::2], clips)


def test_a_person_left_out_takes_along_every_row_that_needs_them(rows):
    drawn = resample(rows, seed=1, replicates=2)
    left = drawn.jackknife[:, drawn.cells]
    assert left.shape == (5, 9)
    gone = [np.flatnonzero(line == 0).tolist() for line in left]
    assert sorted(gone) == sorted([[0, 1, 4, 5, 6], [2, 4, 5], [3], [3, 7], [8]])


def test_many_people_are_left_out_in_groups():
    many = pd.DataFrame({"clip": [f"c{n}" for n in range(2500)], "identity": "", "source_identity": ""})
    left = resample(many.assign(label=0), seed=0, replicates=1).jackknife
    assert left.shape == (1000, 2500)
    assert ((left == 0).sum(axis=0) == 1).all()


def test_fewest_is_the_smallest_role(rows):
    assert resample(rows, seed=0, replicates=1).fewest == 3  # reals of a, b and nobody; targets a to d
    assert resample(rows, seed=0, replicates=1, kind="rows").fewest == 4
    assert resample(rows[rows["label"] == 0], seed=0, replicates=1).fewest == 0
    few_sources = rows[rows["label"] == 0].merge(pd.DataFrame({"new": range(5)}), how="cross")
    fakes = few_sources.assign(label=1, source_identity="z", identity=few_sources["new"].astype(str))
    assert resample(pd.concat([rows, fakes]), seed=0, replicates=1).fewest == 3
    assert resample(pd.concat([rows[rows["label"] == 0], fakes]), seed=0, replicates=1).fewest == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "both"}, r"Expected a kind of resampling in .*; got 'both'"),
        ({"columns": ["clip", "label"]}, r"without \['identity', 'source_identity'\]"),
        ({"rows": 0}, "Expected rows with columns .*; got 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(rows, change, message):
    rows = rows[change.get("columns", list(rows))].head(change.get("rows", 9))
    with pytest.raises(ValueError, match=message):
        resample(rows, seed=0, kind=change.get("kind", "two-way"))


# -- statistics ------------------------------------------------------------------------------------------------


def unit(n):
    return {"cells": np.arange(n), "weights": np.ones((1, n))}


def called(y, score, cut=0.0):
    return np.stack([(score >= cut) & (y == 1), (score >= cut) & (y == 0), (score < cut) & (y == 1)], axis=1)


def test_unit_weights_give_scikit_learns_numbers(crossed, rng):
    y = crossed["label"].to_numpy()
    score = rng.normal(size=len(y)).round(1) + y / 2
    drawn = resample(crossed, seed=0, replicates=2)
    common = {"cells": drawn.cells, "weights": drawn.unit}
    auc = weighted_auc(y, score, fold=np.full(len(y), -1), **common)
    assert auc[0] == pytest.approx(roc_auc_score(y, score), abs=1e-15)
    [[tp, fp, fn]] = totals(called(y, score), **common)
    assert tp / (tp + fn) == recall_score(y, score >= 0)
    assert 2 * tp / (2 * tp + fp + fn) == f1_score(y, score >= 0)


scored = st.lists(st.tuples(st.integers(0, 1), st.integers(-2, 2), st.integers(0, 3)), max_size=20).map(
    lambda given: np.array([*given, (0, 0, 1), (1, 0, 1)])  # both classes have weight
)


@given(rows=scored)
def test_whole_weights_repeat_rows(rows):
    y, score, weight = rows.T
    again = np.repeat(np.arange(len(y)), weight)
    common = {"cells": np.arange(len(y)), "weights": weight[None]}
    auc = weighted_auc(y, score, fold=np.zeros_like(y), **common)
    assert auc[0] == pytest.approx(roc_auc_score(y[again], score[again]), abs=1e-12)
    np.testing.assert_array_equal(totals(called(y, score), **common)[0], called(y, score)[again].sum(axis=0))


def test_weights_of_cells_are_sample_weights(crossed, rng):
    y = crossed["label"].to_numpy()
    score = rng.normal(size=len(y)).round(1) + y
    drawn = resample(crossed, seed=0, replicates=150)  # more than a chunk
    auc = weighted_auc(y, score, fold=np.zeros_like(y), cells=drawn.cells, weights=drawn.weights)
    loss = totals((score - y) ** 2, cells=drawn.cells, weights=drawn.weights)
    for replicate in (0, 70, 149):
        weight = of_rows(drawn)[replicate]
        assert auc[replicate] == pytest.approx(roc_auc_score(y, score, sample_weight=weight), abs=1e-12)
        assert loss[replicate] == pytest.approx(((score - y) ** 2 * weight).sum())


def test_auc_within_folds_is_the_mean_of_folds_by_pairs(crossed, rng):
    y, fold = crossed["label"].to_numpy(), rng.integers(3, size=len(crossed))
    score = rng.normal(size=len(y)) + y + 5 * fold  # models on scales of their own
    drawn = resample(crossed, seed=0, replicates=3)
    auc = weighted_auc(y, score, fold=fold, cells=drawn.cells, weights=drawn.weights)
    for replicate, weight in enumerate(of_rows(drawn)):
        parts = [(y[fold == f], score[fold == f], weight[fold == f]) for f in range(3)]
        pairs = [w[t == 1].sum() * w[t == 0].sum() for t, _, w in parts]
        aucs = [roc_auc_score(t, s, sample_weight=w) for t, s, w in parts]
        assert auc[replicate] == pytest.approx(np.average(aucs, weights=pairs))


def test_a_fold_of_one_class_has_no_pairs():
    y, score, fold = np.array([0, 1, 1]), np.array([0.0, 1.0, -1.0]), np.array([0, 0, 1])
    assert weighted_auc(y, score, fold=fold, **unit(3)).tolist() == [1.0]


def test_chunks_are_joined_in_order():
    weights = np.arange(10, dtype=np.uint16).reshape(5, 2)
    np.testing.assert_array_equal(in_chunks(lambda part: part[:, 1], weights, size=2), weights[:, 1])
    np.testing.assert_array_equal(in_chunks(lambda part: part, weights, size=3), weights)


def test_a_part_of_the_rows_takes_the_same_part_of_the_cells(crossed, rng):
    y, score = crossed["label"].to_numpy(), rng.normal(size=len(crossed))
    drawn = resample(crossed, seed=0, replicates=5)
    part = (y == 0) | (crossed["identity"] == "p3").to_numpy()
    auc = weighted_auc(
        y[part], score[part], fold=np.zeros(part.sum()), cells=drawn.cells[part], weights=drawn.weights
    )
    weight = of_rows(drawn)[4][part]
    assert auc[4] == pytest.approx(roc_auc_score(y[part], score[part], sample_weight=weight))


def test_a_class_without_weight_is_undefined():
    y, score = np.array([0, 1, 1]), np.array([0.0, 1.0, -1.0])
    weights = np.array([[0, 1, 1], [1, 0, 0], [1, 1, 1]])
    auc = weighted_auc(y, score, fold=np.zeros(3), cells=np.arange(3), weights=weights)
    np.testing.assert_array_equal(auc, [np.nan, np.nan, 0.5])
    tp, _, fn = totals(called(y, score), cells=np.arange(3), weights=weights).T
    np.testing.assert_array_equal(ratio(tp, tp + fn), [0.5, np.nan, 0.5])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(bad):
    y, score = np.array([0, 1]), np.array([0.0, bad])
    with pytest.raises(ValueError, match="Expected finite scores"):
        weighted_auc(y, score, fold=np.zeros(2), **unit(2))
