"""Follow faces over frames, by the overlap of their boxes.

It sees the frames that were taken, not those between. Where a head moves by more than about half its width from one
frame taken to the next, its track breaks, and the longest piece is what is used: take frames closely, with ``every`` or
``stride``, where people move. Two people who change places between two frames change tracks as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
OVERLAP = 0.3  # intersection over union from which two boxes are one face
MISSES = 3  # frames in a row that a track may lack


@dataclass
class _Track:
    """The (frame, number) of each of its boxes, and the boxes, in the order of the frames."""

    places: list[tuple[int, int]] = field(default_factory=list)
    boxes: list[Floats] = field(default_factory=list)

    def add(self, place: tuple[int, int], box: Floats) -> None:
        self.places.append(place)
        self.boxes.append(box)

    @property
    def rank(self) -> tuple[int, float, int]:
        """Sorts by length, then mean area, then who came first."""
        areas = [float(np.prod(box[2:] - box[:2])) for box in self.boxes]
        return len(self.places), float(np.mean(areas)), -self.places[0][0]


def overlap(a: Floats, b: Floats) -> float:
    """Return the intersection over union of two boxes (4,): x1, y1, x2, y2.

    >>> overlap(np.array([0, 0, 2, 2], np.float32), np.array([1, 0, 3, 2], np.float32)) == 2 / 6
    True
    """
    shared = float(np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)))
    union = float(np.prod(a[2:] - a[:2])) + float(np.prod(b[2:] - b[:2])) - shared
    return shared / union if union > 0 else 0.0


def longest_track(frames: Sequence[Sequence[Floats]]) -> dict[int, int]:
    """Choose the face that is seen in most frames; among equals the larger on average, then the earlier.

    Parameters
    ----------
    frames : sequence of sequences of (4,) boxes
        The boxes of each frame, frames in their order.

    Returns
    -------
    dict of int to int
        The frame's place in the sequence -> the box's place in the frame; empty without any box.
    """
    tracks: list[_Track] = []
    for number, boxes in enumerate(frames):
        _extend(tracks, boxes, number)
    return dict(max(tracks, key=lambda track: track.rank).places) if tracks else {}


def _extend(tracks: list[_Track], boxes: Sequence[Floats], number: int) -> None:
    """Continue tracks by a frame's boxes, best overlap first; a box that is left begins a track."""
    live = [track for track in tracks if number - track.places[-1][0] <= MISSES + 1]
    pairs = [
        (share, t, b)
        for t, track in enumerate(live)
        for b, box in enumerate(boxes)
        if (share := overlap(track.boxes[-1], box)) >= OVERLAP
    ]
    left, free = set(range(len(boxes))), set(range(len(live)))
    for _, t, b in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if t in free and b in left:
            live[t].add((number, b), boxes[b])
            free.remove(t)
            left.remove(b)
    for b in sorted(left):
        tracks.append(_Track([(number, b)], [boxes[b]]))
