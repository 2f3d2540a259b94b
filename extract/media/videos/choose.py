"""Which frames a sampling takes from those that there are."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from extract.media.frames import Sampling, limited, spread

USUAL_RATE = 25  # frames a second, where a file states nothing
MOST = 1_000_000  # intervals of a clip: where there would be more, every frame has one of its own
Ints = npt.NDArray[np.int64]
ROUNDING = 2  # units of time by which steady frames may be apart differently: containers round


def choose(
    sampling: Sampling,
    *,
    total: int,
    keys: Sequence[int],
    times: Ints | None = None,
    last: int = 0,
    unit: Fraction | None = None,
) -> list[int]:
    """Choose positions of frames, ascending.

    Parameters
    ----------
    total : int
        Frames in the clip.
    keys : sequence of int
        Positions of those that are stored whole.
    times : (total,) int64, optional
        When each is shown, ascending, in units; without them all frames count as equally long.
    last : int
        How long the last frame is shown, in units; 0 where it is not known: as long as the one before.
    unit : Fraction, optional
        Seconds.

    Returns
    -------
    list of int
        At most ``sampling.count``.
    """
    if not total:
        return []
    if sampling.keyframes:
        return limited(keys, sampling.count)
    if sampling.stride:
        return limited(range(0, total, sampling.stride), sampling.count)
    if sampling.every:
        return limited(_each_interval(sampling.every, total, times, last, unit), sampling.count)
    if times is None or total <= sampling.count or np.ptp(np.diff(times)) <= ROUNDING:
        return spread(total, sampling.count)
    return _over_time(times, last, sampling.count)


def _over_time(times: Ints, last: int, count: int) -> list[int]:
    """Take the frame that is shown in the middle of each of `count` equal stretches of time, each frame once."""
    duration = int(times[-1] - times[0]) + _length(times, last)
    middles = (2 * np.arange(count) + 1) * duration // (2 * count)
    return _shown_at(times, times[0] + middles)


def _each_interval(
    seconds: float, total: int, times: Ints | None, last: int, unit: Fraction | None
) -> list[int]:
    """Take the frame that is shown when each interval begins."""
    if times is None or not unit:  # times are those of the usual rate
        times, last, unit = np.arange(total, dtype=np.int64), 1, Fraction(1, USUAL_RATE)
    start, duration = int(times[0]), int(times[-1] - times[0]) + _length(times, last)
    step = max(Fraction(1), Fraction(seconds).limit_denominator(1_000_000) / unit)
    if duration / step > MOST:
        return list(range(total))
    moments = [start + int(number * step) for number in range(math.ceil(duration / step))]
    return _shown_at(times, np.array(moments, np.int64))


def _length(times: Ints, last: int) -> int:
    return last or (int(times[-1] - times[-2]) if len(times) > 1 else 1)


def _shown_at(times: Ints, moments: Ints) -> list[int]:
    return [int(position) for position in np.unique(np.searchsorted(times, moments, side="right") - 1)]
