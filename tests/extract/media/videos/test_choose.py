from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.media.frames import Sampling, spread
from extract.media.videos.choose import choose

UNIT = Fraction(1, 1000)
STEPS = st.lists(st.integers(1, 5000), min_size=1, max_size=300)


def chosen(sampling, times=None, *, total=None, keys=(), last=0):
    times = None if times is None else np.array(times, np.int64)
    total = len(times) if total is None else total
    return choose(sampling, total=total, keys=list(keys), times=times, last=last, unit=UNIT)


@given(STEPS, st.integers(1, 50), st.integers(0, 5000))
def test_what_is_spread_over_time_is_shown_in_the_middle_of_its_stretch(steps, count, last):
    times = np.cumsum([7, *steps])
    positions = chosen(Sampling(count=count), times, last=last)
    assert all(a < b for a, b in pairwise(positions))
    assert 1 <= len(positions) <= count or len(positions) == len(times) <= count
    if len(times) > count and np.ptp(steps) > 2:
        duration = times[-1] - times[0] + (last or steps[-1])
        middles = times[0] + (2 * np.arange(count) + 1) * duration / (2 * count)
        shown = {int(np.searchsorted(times, np.floor(middle), side="right")) - 1 for middle in middles}
        assert set(positions) == shown


@pytest.mark.parametrize("jitter", [0, 1])
@given(total=st.integers(1, 400), count=st.integers(1, 50))
def test_steady_frames_are_counted_whatever_containers_round(jitter, total, count):
    times = np.arange(total) * 33 + jitter * (np.arange(total) % 2)
    assert chosen(Sampling(count=count), times) == spread(total, count)


def test_without_times_frames_are_counted():
    assert chosen(Sampling(count=4), total=100) == [12, 37, 62, 87]


def test_a_long_still_at_the_end_does_not_take_all():
    times = [*range(0, 3000, 100), 3000, 23_000]
    assert chosen(Sampling(count=2), times, last=1000) == [30]  # 6 s and 18 s both show the frame of 3 s
    assert chosen(Sampling(count=12), times, last=1000)[:3] == [10, 30, 31]


@given(STEPS, st.integers(1, 20), st.integers(1, 40))
def test_a_stride_counts_frames(steps, stride, count):
    times = np.cumsum([0, *steps])
    positions = chosen(Sampling(count=count, stride=stride), times)
    assert all(position % stride == 0 for position in positions)
    assert len(positions) == min(count, -(-len(times) // stride))


def test_an_interval_takes_the_frame_that_is_shown_when_it_begins():
    times = [0, 400, 900, 1000, 2500, 2600]
    assert chosen(Sampling(count=9, every=1.0), times, last=100) == [
        0,
        3,
    ]  # at 0, 1, 2 s: the last is that of 1 s
    assert chosen(Sampling(count=9, every=0.5), times, last=100) == [0, 1, 3, 4]
    assert chosen(Sampling(count=1, every=0.5), times, last=100) == [3]


def test_an_interval_without_times_takes_the_usual_rate():
    assert chosen(Sampling(count=9, every=1.0), total=60) == [0, 25, 50]


def test_an_interval_shorter_than_a_tick_is_no_endless_list():
    assert chosen(Sampling(count=9, every=1e-9), [0, 10**12], last=1) == [0, 1]


def test_whole_pictures_are_spread_over_those_that_there_are():
    assert chosen(Sampling(count=9, keyframes=True), total=100, keys=[0, 50, 80]) == [0, 50, 80]
    assert chosen(Sampling(count=1, keyframes=True), total=100, keys=[0, 50, 80]) == [50]
