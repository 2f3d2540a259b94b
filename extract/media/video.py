"""Decode chosen frames of a video, and nothing else of it than they need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

from extract.errors import UnreadableClip, first_line
from extract.media.frames import HELD, MAX_PIXELS, Damaged, Frames, Image, Sampling
from extract.media.videos.choose import choose
from extract.media.videos.container import NOT_A_VIDEO, open_video
from extract.media.videos.decode import DamageFound, Source
from extract.media.videos.index import Bools, Index, Ints, needed
from extract.media.videos.log import DecoderLog

WHOLE = (PictureType.I, PictureType.NONE)  # some codecs of whole pictures alone do not say so
AT_ONCE = 32  # frames of one batch at most


class _Lost(Exception):
    """Frames do not come out of the decoder as the index promises."""


@dataclass(frozen=True)
class _Plan:
    """What is decoded of a video.

    Attributes
    ----------
    index : Index
    needs : (n,) bool
        Packets.
    times : dict of int to int
        Of wanted frames: time to position; empty where positions are counted.
    positions : list of int
        Of wanted frames.
    total : int
        Frames that there are.
    """

    index: Index
    needs: Bools
    times: dict[int, int]
    positions: list[int]
    total: int


def read_video(path: Path, sampling: Sampling, *, max_pixels: int, damaged: Damaged) -> Iterator[Frames]:
    """Decode chosen frames of a video; as `extract.media.read.read_batches` says of all files."""
    try:
        with DecoderLog() as log:
            source = Source(path, max_pixels, damaged == "use", log)
            index, stated, unit = source.index()
            if not len(index.times):
                raise UnreadableClip(f"{NOT_A_VIDEO}: it holds no frame")
            if index.damage and not source.lenient:
                raise _damaged(index.damage)
            yield from _Reading(source, sampling, index, stated, unit).batches()
    except av.FFmpegError as error:
        raise UnreadableClip(f"{NOT_A_VIDEO}: {first_line(error)}") from error


def every_frame(path: Path) -> Iterator[Image]:
    """Decode a video from the beginning as far as it goes, one (h, w, 3) uint8 RGB frame at a time."""
    with DecoderLog() as log:
        source = Source(path, MAX_PIXELS, True, log)
        index, _, _ = source.index()
        for frame, convert in source.frames(index, index.usable):
            yield convert(frame)


def frame_rate(path: Path) -> float:
    """Frames a second that the container states; 0 where it states nothing."""
    with DecoderLog() as log, open_video(path, log, max_pixels=MAX_PIXELS) as (_, stream):
        return float(stream.average_rate or 0)


@dataclass
class _Reading:
    """One clip on its way from packets to batches of frames."""

    source: Source
    sampling: Sampling
    index: Index
    stated: int
    unit: Fraction | None
    given: set[int] = field(default_factory=set)  # positions of frames that were handed on

    def batches(self) -> Iterator[Frames]:
        """Yield the batches: by the times of the packets where each has one, else by counting frames."""
        if self.index.trusted:
            with contextlib.suppress(_Lost):
                yield from self._to_the_end(self._by_time())
                return
        yield from self._to_the_end(self._in_order())

    def _to_the_end(self, plan: _Plan) -> Iterator[Frames]:
        """Yield the batches of a plan; without the last packet where the file turns out to end within it."""
        try:
            yield from self._batches(plan)
        except DamageFound as found:
            yield from self._batches(self._without_last(plan, str(found)))

    def _by_time(self) -> _Plan:
        index = self.index
        order = np.flatnonzero(index.shown)[np.argsort(index.times[index.shown])]
        times = index.times[order]
        keys = np.flatnonzero(index.keys[order]).tolist()
        positions = self._choose(len(times), keys, times)
        wanted = {int(times[position]): position for position in positions}
        alone = np.isin(index.times, list(wanted)) & index.shown
        needs = alone if self.sampling.keyframes else needed(index, set(wanted))
        return _Plan(index, needs, wanted, positions, len(times))

    def _in_order(self) -> _Plan:
        """Decode everything once to see what is there: which frames, whole ones among them, and when."""
        plan = _Plan(self.index, self.index.usable, {}, [], 0)
        try:
            frames = _seen(self.source, plan)
        except DamageFound as found:
            plan = self._without_last(plan, str(found))
            frames = _seen(self.source, plan)
        times = np.array([time for time, _ in frames if time is not None], np.int64)
        usable = len(times) == len(frames) > 0 and bool((np.diff(times) > 0).all())
        keys = [position for position, (_, key) in enumerate(frames) if key]
        positions = self._choose(len(frames), keys, times if usable else None)
        return replace(plan, positions=positions, total=len(frames))

    def _choose(self, total: int, keys: list[int], times: Ints | None) -> list[int]:
        return choose(
            self.sampling, total=total, keys=keys, times=times, last=self.index.last, unit=self.unit
        )

    def _without_last(self, plan: _Plan, complaint: str) -> _Plan:
        """Leave the last packet out where all that is needed before it is whole; refuse a clip that is damaged."""
        shorter = self.index.without_last(complaint)
        if self.index.ending or not plan.needs[-1]:
            raise _damaged(complaint)
        lost = plan.times.get(int(self.index.times[-1]), -1)
        positions = [position for position in plan.positions if position != lost]
        without = _Plan(shorter, plan.needs[:-1], plan.times, positions, plan.total - 1)
        try:
            _seen(self.source, without)
        except DamageFound as found:
            raise _damaged(str(found)) from found
        self.index, self.source.damage = shorter, ""
        return without

    def _batches(self, plan: _Plan) -> Iterator[Frames]:
        if not plan.positions:
            raise _nothing(plan, self.sampling)
        images: list[Image] = []
        numbers: list[int] = []
        held = 0
        for number, image in self._pictures(plan):
            pixels = image.shape[0] * image.shape[1]
            if images and (len(images) == AT_ONCE or held + pixels > HELD):
                self.given |= set(numbers)
                yield Frames(images, numbers)
                images, numbers, held = [], [], 0
            images.append(image)
            numbers.append(number)
            held += pixels
        yield Frames(images, numbers, self._note(plan))

    def _pictures(self, plan: _Plan) -> Iterator[tuple[int, Image]]:
        """Yield the frames of a plan that were not handed on; `_Lost` where the first ones do not come."""
        left = set(plan.positions) - self.given
        wanted = set(plan.times) if plan.times else None
        decoded = self.source.frames(plan.index, plan.needs, alone=self.sampling.keyframes and bool(wanted))
        before = None
        for counted, (frame, convert) in enumerate(decoded):
            if wanted and before is not None and frame.pts is not None and frame.pts < before:
                raise _Lost  # these are not the times when frames are shown
            before = frame.pts
            position = plan.times.get(-1 if frame.pts is None else frame.pts, -1) if wanted else counted
            if position in left and not (self.sampling.keyframes and frame.pict_type not in WHOLE):
                left.remove(position)
                yield position, convert(frame)
            if not left:
                return
        if left and wanted and not self.given and not self.sampling.keyframes:
            raise _Lost

    def _note(self, plan: _Plan) -> str:
        index, damage = plan.index, self.source.damage or plan.index.damage
        of = f" of {self.stated}" if self.stated > plan.total else ""
        notes = {
            f"damaged: {damage}": damage,
            f"truncated: {plan.total}{of} frames can be read": index.ending,
            f"begins before its first key frame: {index.early} frames left out": index.early,
            f"its container is damaged ({index.remark}); {plan.total}{of} frames can be read": index.remark,
        }
        return "; ".join(note for note, applies in notes.items() if applies)


def _seen(source: Source, plan: _Plan) -> list[tuple[int | None, bool]]:
    """Decode what a plan needs: the time of each frame, and whether it is stored whole."""
    return [(frame.pts, frame.key_frame) for frame, _ in source.frames(plan.index, plan.needs)]


def _nothing(plan: _Plan, sampling: Sampling) -> UnreadableClip:
    if plan.total and sampling.keyframes:
        return UnreadableClip('shows no key frame, and at = "keyframes"', code="E_CLIP_NO_KEYFRAME")
    return UnreadableClip(f"{NOT_A_VIDEO}: no frame could be read")


def _damaged(complaint: str) -> UnreadableClip:
    return UnreadableClip(f"damaged: {complaint}", code="E_CLIP_DAMAGED")
