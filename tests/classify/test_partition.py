import csv
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify.partition import ODDS_RATIO, SIZE_RATIO, partition

VIDEOS = Path(__file__).resolve().parents[3] / "shared" / "reference" / "celebdf" / "celeb_df_v2_videos.csv"
NO_FAKES = np.zeros((0, 2), np.int64)
NO_REALS = np.zeros(0, np.int64)


def recount(folds, fakes, reals, n_splits):
    """Count each fold's kept fakes and its reals, clip by clip."""
    kept = Counter(int(folds[a]) for a, b in fakes if folds[a] == folds[b])
    real = Counter(int(folds[p]) for p in reals)
    return [kept[k] for k in range(n_splits)], [real[k] for k in range(n_splits)]


def prevalences(kept, real):
    return [f / (f + r) for f, r in zip(kept, real, strict=True)]


def within_limits(kept, real):
    sizes = max(kept) <= SIZE_RATIO * min(kept)
    pooled = sum(kept) / sum(real)
    odds = [f / r / pooled for f, r in zip(kept, real, strict=True)]
    return sizes and all(1 / ODDS_RATIO <= ratio <= ODDS_RATIO for ratio in odds)


def rating(folds, fakes, reals, n_splits):
    """Return what the docstring promises, in its order, lower is better: (lacking, clips beyond limits, -kept)."""
    kept, real = recount(folds, fakes, reals, n_splits)
    share = [len(reals) * f / sum(kept) if sum(kept) else 0 for f in kept]
    few_fakes = sum(max(max(kept) / SIZE_RATIO - f, 0) for f in kept)
    few_reals = sum(max(s / ODDS_RATIO - r, 0) for s, r in zip(share, real, strict=True))
    many_reals = sum(max(r - s * ODDS_RATIO, 0) for s, r in zip(share, real, strict=True))
    return kept.count(0) + real.count(0), round(few_fakes + few_reals + many_reals, 6), -sum(kept)


def best_of_all(fakes, reals, n_people, n_splits):
    """Rate every assignment; the first person stays in fold 0, as folds have no order."""
    others = itertools.product(range(n_splits), repeat=n_people - 1)
    return min(rating((0, *each), fakes, reals, n_splits) for each in others)


def tiny(seed):
    """Draw up to seven people whose fakes and reals are anything from sparse to dense, even or lopsided."""
    rng = np.random.default_rng(seed)
    n_splits = int(rng.integers(2, 4))
    n_people = int(rng.integers(3, 8 if n_splits == 2 else 7))
    pairs = rng.integers(0, n_people, size=(rng.integers(1, 2 * n_people), 2))
    fakes = pairs.repeat(rng.integers(1, rng.integers(2, 9), size=len(pairs)), axis=0)
    reals = np.arange(n_people).repeat(rng.integers(0, rng.integers(2, 6), size=n_people))
    return fakes, reals, n_people, n_splits


def swapped_pairs(count, *, each, first=0):
    """Make `count` pairs of people, each swapped both ways `each` times, with a real clip of everybody."""
    a = first + 2 * np.arange(count)
    fakes = np.concatenate([np.stack([a, a + 1], axis=1), np.stack([a + 1, a], axis=1)])
    return fakes.repeat(each, axis=0), first + np.arange(2 * count)


@pytest.fixture(scope="module")
def celeb():
    """Celeb-DF v2 as (fakes, reals, number of people), read without the product's adapter."""
    if not VIDEOS.exists():
        pytest.skip("the list of Celeb-DF v2's videos is not beside the repository")
    with VIDEOS.open(newline="") as file:
        clips = [Path(line["path"]) for line in csv.DictReader(file)]
    names = {
        folder: [clip.stem.split("_") for clip in clips if clip.parent.name == folder] for folder in FOLDERS
    }
    fakes = [(target, source) for target, source, _ in names["Celeb-synthesis"]]
    reals = [person for person, _ in names["Celeb-real"]] + [
        f"youtube {name}" for (name,) in names["YouTube-real"]
    ]
    number = {name: i for i, name in enumerate(dict.fromkeys([*itertools.chain(*fakes), *reals]))}
    pairs = np.array([[number[target], number[source]] for target, source in fakes])
    return pairs, np.array([number[person] for person in reals]), len(number)


FOLDERS = ("Celeb-synthesis", "Celeb-real", "YouTube-real")
FEWEST_KEPT = {3: 4200, 4: 4150, 5: 3700}  # the most that any search found: 4,262, 4,182 and 3,751


@pytest.mark.parametrize(
    ("n_splits", "seed"),
    [
        (5, 0),
        (4, 0),
        (3, 0),
        *(pytest.param(k, seed, marks=pytest.mark.slow) for k in FEWEST_KEPT for seed in range(1, 10)),
    ],
)
def test_celeb_df_keeps_two_thirds_of_its_fakes_within_the_limits(celeb, n_splits, seed):
    fakes, reals, n_people = celeb
    assert (len(fakes), len(reals), n_people) == (5639, 890, 359)
    folds = partition(fakes, reals, n_people=n_people, n_splits=n_splits, seed=seed)
    kept, real = recount(folds, fakes, reals, n_splits)
    assert sum(kept) >= FEWEST_KEPT[n_splits]
    assert sum(real) == 890
    assert within_limits(kept, real)


def test_celeb_df_prevalences_are_evened_out_by_the_people_of_youtube(celeb):
    fakes, reals, n_people = celeb
    folds = partition(fakes, reals, n_people=n_people, n_splits=3, seed=0)
    shares = prevalences(*recount(folds, fakes, reals, 3))
    assert max(shares) - min(shares) < 0.01


@pytest.mark.parametrize("seed", range(30))
def test_no_assignment_of_few_people_is_better(seed):
    fakes, reals, n_people, n_splits = tiny(seed)
    folds = partition(fakes, reals, n_people=n_people, n_splits=n_splits, seed=seed)
    assert rating(folds, fakes, reals, n_splits) == best_of_all(fakes, reals, n_people, n_splits)


def test_the_few_people_include_cases_within_and_beyond_the_limits():
    ratings = [best_of_all(*tiny(seed)) for seed in range(30)]
    within = sum(lacking == beyond == 0 for lacking, beyond, _ in ratings)
    assert 8 <= within <= 22


def test_the_same_seed_gives_the_same_folds(rng):
    fakes, reals = rng.integers(0, 20, size=(200, 2)), rng.integers(0, 20, size=60)
    once, again = (partition(fakes, reals, n_people=20, n_splits=3, seed=4) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_the_arrays_are_left_as_they_were(rng):
    fakes, reals = rng.integers(0, 12, size=(40, 2)), rng.integers(0, 12, size=30)
    before = fakes.copy(), reals.copy()
    partition(fakes, reals, n_people=12, n_splits=3, seed=0)
    np.testing.assert_array_equal(fakes, before[0])
    np.testing.assert_array_equal(reals, before[1])


@pytest.mark.parametrize("n_splits", [2, 3, 5, 10])
def test_pairs_swapped_both_ways_lose_nothing(n_splits):
    fakes, reals = swapped_pairs(500, each=5)
    folds = partition(fakes, reals, n_people=1000, n_splits=n_splits, seed=0)
    kept, real = recount(folds, fakes, reals, n_splits)
    assert sum(kept) == 5000
    assert max(kept) < 1.1 * min(kept)
    assert max(real) < 1.1 * min(real)


def test_people_without_any_cross_person_fakes_lose_nothing(rng):
    owner = rng.integers(0, 5000, size=12_000)
    reals = rng.integers(0, 5000, size=4000)
    folds = partition(np.stack([owner, owner], axis=1), reals, n_people=5000, n_splits=5, seed=0)
    kept, real = recount(folds, zip(owner, owner, strict=True), reals, 5)
    assert sum(kept) == 12_000
    assert max(kept) < 1.1 * min(kept)
    assert max(prevalences(kept, real)) - min(prevalences(kept, real)) < 0.01


def test_a_hundred_thousand_people_need_no_square_of_their_number():
    fakes, reals = swapped_pairs(50_000, each=1)  # 80 GB as a full matrix
    folds = partition(fakes, reals, n_people=100_000, n_splits=4, seed=0)
    assert sum(recount(folds, fakes, reals, 4)[0]) == len(fakes)


def test_pairs_beside_a_crowd_that_must_be_divided(rng):
    crowd = rng.integers(0, 24, size=(3000, 2))  # everybody with everybody: no fold can hold them all
    pairs, reals = swapped_pairs(50, each=10, first=24)
    fakes, reals = np.concatenate([crowd, pairs]), np.concatenate([np.arange(24).repeat(10), reals])
    folds = partition(fakes, reals, n_people=124, n_splits=4, seed=0)
    kept, real = recount(folds, fakes, reals, 4)
    assert within_limits(kept, real)
    assert sum(recount(folds, pairs, [], 4)[0]) == len(pairs)


def test_hidden_groups_are_found(rng):
    group = np.arange(60) % 3
    mates = [rng.choice(np.flatnonzero(group == group[person]), size=8) for person in range(60)]
    fakes = [(person, mate) for person in range(60) for mate in mates[person]]
    fakes += [(a, b) for a, b in rng.integers(0, 60, size=(40, 2))]  # and strangers
    folds = partition(np.array(fakes), np.arange(60), n_people=60, n_splits=3, seed=0)
    assert sum(recount(folds, fakes, [], 3)[0]) >= sum(group[a] == group[b] for a, b in fakes)


def test_people_with_reals_only_even_out_the_prevalence():
    # three people with 30 fakes each and 0, 5 and 10 reals; 30 people with one real each
    fakes = np.arange(3).repeat(30)
    reals = np.concatenate([np.arange(3).repeat([0, 5, 10]), np.arange(3, 33)])
    folds = partition(np.stack([fakes, fakes], axis=1), reals, n_people=33, n_splits=3, seed=0)
    assert recount(folds, zip(fakes, fakes, strict=True), reals, 3) == ([30] * 3, [15] * 3)


def test_reals_go_where_the_fakes_are():
    # folds of 20 and 10 fakes cannot be evened out, their prevalence can: 30 free reals fall 20 to 10
    fakes, reals = np.repeat([[0, 1], [2, 3]], [20, 10], axis=0), np.arange(4, 34)
    folds = partition(fakes, reals, n_people=34, n_splits=2, seed=0)
    kept, real = recount(folds, fakes, reals, 2)
    assert sorted(kept) == [10, 20]
    assert kept == real


def test_a_class_in_every_fold_comes_before_any_number_of_fakes():
    # undivided, the five people keep all 1,000 fakes in one fold; the other fold would have none
    fakes = np.array([(a, b) for a in range(5) for b in range(5) if a != b]).repeat(50, axis=0)
    folds = partition(fakes, np.arange(5), n_people=5, n_splits=2, seed=0)
    kept, real = recount(folds, fakes, range(5), 2)
    assert sorted(kept) == [100, 300]
    assert sorted(real) == [2, 3]


def test_a_class_in_one_more_fold_comes_before_the_limits():
    # 0 with 2 is nearer the limits, but leaves a second fold without a real
    fakes, reals = np.repeat([[2, 3], [0, 2]], 4, axis=0), np.arange(3).repeat([2, 5, 5])
    folds = partition(fakes, reals, n_people=4, n_splits=4, seed=0)
    assert folds[2] == folds[3]
    assert rating(folds, fakes, reals, 4) == best_of_all(fakes, reals, 4, 4)


def test_the_limit_on_size_comes_before_the_number_of_fakes():
    # six people in a chain of 1, 10, 1, 10, 1 fakes: 10 to 10 within the limit, or 22 to 1 beyond it
    fakes = np.stack([np.arange(5), np.arange(1, 6)], axis=1).repeat([1, 10, 1, 10, 1], axis=0)
    folds = partition(fakes, np.arange(6), n_people=6, n_splits=2, seed=0)
    assert sorted(recount(folds, fakes, range(6), 2)[0]) == [11, 11]


ODD = {
    "nothing": (NO_FAKES, NO_REALS, 4, 2),
    "nobody": (NO_FAKES, NO_REALS, 0, 3),
    "reals only": (NO_FAKES, np.arange(9), 9, 3),
    "fakes only": (np.array([[0, 1], [2, 3]]), NO_REALS, 4, 2),
    "self pairs only": (np.array([[0, 0], [1, 1], [2, 2]]), np.arange(3), 3, 3),
    "people without clips": (np.array([[3, 5]]), np.array([7]), 50, 2),
    "fewer people than folds": (np.array([[0, 1]]), np.array([0, 1]), 2, 5),
    "one person": (np.array([[0, 0]]), np.array([0]), 1, 3),
    "one fold": (np.array([[0, 1], [1, 2]]), np.arange(3), 3, 1),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_input_is_divided_as_well_as_it_can_be(name):
    fakes, reals, n_people, n_splits = ODD[name]
    folds = partition(fakes, reals, n_people=n_people, n_splits=n_splits, seed=0)
    assert folds.shape == (n_people,)
    assert folds.dtype == np.int64
    assert ((folds >= 0) & (folds < n_splits)).all()
    if 0 < n_people < 10:
        assert rating(folds, fakes, reals, n_splits) == best_of_all(fakes, reals, n_people, n_splits)


@st.composite
def requests(draw):
    n_people = draw(st.integers(1, 12))
    person = st.integers(0, n_people - 1)
    fakes = draw(st.lists(st.tuples(person, person), max_size=30))
    reals = draw(st.lists(person, max_size=20))
    return np.array(fakes, np.int64).reshape(-1, 2), np.array(reals, np.int64), n_people


@settings(max_examples=40)
@given(request=requests(), n_splits=st.integers(1, 6), seed=st.integers(0, 5))
def test_every_person_gets_a_fold_that_exists(request, n_splits, seed):
    fakes, reals, n_people = request
    folds = partition(fakes, reals, n_people=n_people, n_splits=n_splits, seed=seed)
    assert folds.shape == (n_people,)
    assert folds.dtype == np.int64
    assert set(folds.tolist()) <= set(range(n_splits))
