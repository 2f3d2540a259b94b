import numpy as np
import pytest

from extract.faces.tracks import MISSES, OVERLAP, longest_track, overlap


def at(x, y=0, side=10):
    return np.array([x, y, x + side, y + side], np.float32)


def test_one_face_is_its_own_track():
    assert longest_track([[at(0)], [at(2)], [at(4)]]) == {0: 0, 1: 0, 2: 0}


@pytest.mark.parametrize("frames", [[], [[]], [[], [], []]], ids=str)
def test_without_a_face_there_is_no_track(frames):
    assert longest_track(frames) == {}


def test_two_people_who_change_sizes_keep_their_tracks():
    left = [at(0, side=10 + 2 * i) for i in range(6)]
    right = [at(100, side=20 - 2 * i) for i in range(6)]
    largest_first = [sorted(pair, key=lambda box: box[0] - box[2]) for pair in zip(left, right, strict=True)]
    chosen = longest_track(largest_first)
    assert len({float(largest_first[frame][number][0]) for frame, number in chosen.items()}) == 1
    # The one on the left is (10 + ... + 20) squared on average, the other the same: the one that comes first stays.
    assert sorted(chosen) == list(range(6))


def test_the_person_who_stays_is_used_though_the_other_is_larger():
    frames = [[at(100, side=40), at(0)], [at(100, side=40), at(1)], [at(2)], [at(3)]]
    assert longest_track(frames) == {0: 1, 1: 1, 2: 0, 3: 0}


def test_among_equally_long_tracks_the_larger_is_used():
    assert longest_track([[at(0), at(50, side=20)], [at(0), at(50, side=20)]]) == {0: 1, 1: 1}


def test_among_equally_long_and_large_tracks_the_earlier_is_used():
    frames = [[at(0)], [at(0)], *[[]] * 5, [at(90)], [at(90)]]
    assert longest_track(frames) == {0: 0, 1: 0}


@pytest.mark.parametrize(("misses", "whole"), [(1, True), (MISSES, True), (MISSES + 1, False)])
def test_a_track_may_miss_a_few_frames(misses, whole):
    chosen = longest_track([[at(0)], [at(0)], *[[]] * misses, [at(0)]])
    assert chosen == ({0: 0, 1: 0, misses + 2: 0} if whole else {0: 0, 1: 0})


def test_the_best_overlap_is_taken_first():
    # In the second frame the first box overlaps both tracks, and the second track better.
    frames = [[at(0), at(6)], [at(5), at(0)], [at(5)]]
    assert longest_track(frames) == {0: 1, 1: 0, 2: 0}


def test_a_box_goes_on_one_track_only():
    chosen = longest_track([[at(0), at(1)], [at(0)], [at(0)]])
    assert chosen == {0: 0, 1: 0, 2: 0}


def test_a_jump_breaks_a_track():
    assert longest_track([[at(0)], [at(100)], [at(100)]]) == {1: 0, 2: 0}


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        (at(0), at(0), 1.0),
        (at(0), at(5), 1 / 3),
        (at(0), at(10), 0.0),
        (at(0), at(0, side=0), 0.0),
        (at(0, side=0), at(0, side=0), 0.0),
        (at(0), at(-3, -3, side=16), 100 / 256),
    ],
)
def test_overlap_is_intersection_over_union(a, b, share):
    assert overlap(a, b) == overlap(b, a) == pytest.approx(share)
    assert 0 < OVERLAP < 1
