"""The packets of a video, and which of them a few frames need.

Two things can be left out: a picture that no other refers to, where it is not wanted itself; and, as nothing after an
instantaneous refresh refers to what was before it, all that lies between a wanted frame and the refresh before the next
one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from extract.errors import first_line
from extract.media.videos.log import DecoderLog
from extract.media.videos.units import UNREFERRED, WITH_REFRESH, read_picture

# What FFmpeg's demuxers say of a file that ends too early, and say while it is opened where it is short.
ENDINGS = ("prematurely", "partial file", "truncated", "Truncated")

# Formats that do not say how long a packet is. Where such a file is cut off within a picture of HEVC, its decoder
# fills the picture up with what lies in its memory, and says nothing: the last picture is never used.
UNSIZED = {"mpegts", "hevc", "mpeg"}
_Row = tuple[int, bool, bool, bool, bool, int]  # time, whether there is one, shown, key, restarts, layer
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Index:
    """What a file's packets say, one entry a packet in the order of decoding.

    Attributes
    ----------
    times : (n,) int64
        When each is shown, in units of the stream; meaningless unless `trusted`.
    shown, keys, restarts, referred : (n,) bool
        Whether it is shown at all (an edit list may leave out what only others need); whether its picture is stored
        whole; whether decoding can start at it and know all that follows; whether another may refer to it.
    usable : (n,) bool
        Whether it can be decoded: a recording may begin before its first key frame.
    trusted : bool
        Whether every packet has a time of its own, so that a frame is known by it: otherwise only decoding tells which
        frames there are.
    last : int
        How long the last frame is shown; 0 where nothing says so.
    early : int
        Frames that would be shown before the first key frame, or refer to what was before it.
    ending : str
        What was said where the file ends too early, else empty.
    damage : str
        What was said of anything that is broken before its end, else empty.
    remark : str
        What was said of the container when it was opened, though all packets can be read, else empty.
    """

    times: Ints
    shown: Bools
    keys: Bools
    restarts: Bools
    referred: Bools
    usable: Bools
    trusted: bool
    last: int = 0
    early: int = 0
    ending: str = ""
    damage: str = ""
    remark: str = ""

    def without_last(self, ending: str) -> Index:
        """Return the index of a file that ends one packet earlier, and why."""
        return replace(
            self,
            times=self.times[:-1],
            shown=self.shown[:-1],
            keys=self.keys[:-1],
            restarts=self.restarts[:-1],
            referred=self.referred[:-1],
            usable=self.usable[:-1],
            ending=ending,
        )

    def before_last(self) -> Index:
        """Return the index up to the last packet, and up to where it is shown: frames keep their numbers."""
        shorter = self.without_last("")
        later = shorter.times > self.times[-1] if self.trusted else np.zeros(len(shorter.times), bool)
        return replace(shorter, shown=shorter.shown & ~later, keys=shorter.keys & ~later)


def read_index(container: av.container.InputContainer, stream: av.VideoStream, log: DecoderLog) -> Index:
    """Read all packets of a video, as far as they go.

    What was logged while the file was opened may be about its end, as a short file is read whole then. A decoder's
    complaints come again when the packets that they are about are decoded; the container's are kept.
    """
    coding, opening = stream.codec_context, log.errors
    own = [line for line in opening if line.partition(": ")[0] not in (coding.name, coding.codec.name)]
    ending = next(filter(_is_ending, own), "")
    remark, damage = next((line for line in own if not _is_ending(line)), ""), ""
    rows: list[_Row] = []
    whole = -1  # packets before the first that is broken
    last = 0
    for packet in _packets(container, stream, log):
        if isinstance(packet, str):
            ending, whole = ending or packet, len(rows) if whole < 0 else whole
        else:
            rows.append(_row(packet, coding))
            last = packet.duration or 0
    log.errors.clear()
    if 0 <= whole < len(rows):
        ending, damage = "", damage or ending
    index = _index(rows, coding, container)
    if rows and coding.name == "hevc" and container.format.name in UNSIZED:
        index = index.before_last()
    return replace(index, last=last, ending=ending, damage=damage, remark=remark)


def _index(
    rows: Sequence[_Row], coding: av.VideoCodecContext, container: av.container.InputContainer
) -> Index:
    columns = list(zip(*rows, strict=True)) or [()] * 6
    times, layers = (np.array(columns[i], np.int64) for i in (0, 5))
    known, shown, keys, restarts = (np.array(column, bool) for column in columns[1:5])
    referred = layers != UNREFERRED if (layers <= 0).all() else np.ones(len(rows), bool)
    usable = np.ones(len(rows), bool)
    if coding.name in WITH_REFRESH and keys.any():
        first = int(np.argmax(keys))
        usable = _from(first, times, restarts)
        restarts[first] = True
    starts = bool(keys.any()) if coding.name in WITH_REFRESH else bool(len(rows) and keys[0])
    unique = bool(known.all()) and len(np.unique(times)) == len(times)
    trusted = starts and unique and _has_times(container, coding)
    early = int((shown & ~usable).sum())
    return Index(
        times, shown & usable, keys & usable, restarts, referred, usable, trusted=trusted, early=early
    )


def _from(first: int, times: Ints, restarts: Bools) -> Bools:
    """Whether each packet can be decoded where decoding begins at the first key frame: (n,) bool.

    What directly follows a key frame that is no refresh and is shown before it refers to what is not there.
    """
    usable = np.arange(len(times)) >= first
    number = first + 1
    while not restarts[first] and number < len(times) and times[number] < times[first]:
        usable[number] = False
        number += 1
    return usable


def whole_packets(
    container: av.container.InputContainer, stream: av.VideoStream, log: DecoderLog
) -> Iterator[av.Packet[Any]]:
    """Yield the packets that an index has an entry for, in its order."""
    return (packet for packet in _packets(container, stream, log) if not isinstance(packet, str))


def _is_ending(line: str) -> bool:
    return any(word in line for word in ENDINGS)


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream, log: DecoderLog
) -> Iterator[av.Packet[Any] | str]:
    """Yield the whole packets of a video; in the place of what is broken, or ends the file too early, why."""
    packets = container.demux(stream)
    # Where transport streams were joined end to end, the first packet behind the seam is marked: the decoder, which
    # tells a loss, decides. That of HEVC does not tell.
    seams = container.format.name == "mpegts" and stream.codec_context.name != "hevc"
    while True:
        log.errors.clear()
        try:
            with log.listening():
                packet = next(packets, None)
        except IndexError:  # PyAV's own at the end of a file in which further streams appeared
            return
        except (av.FFmpegError, ValueError) as error:
            yield (log.errors or [first_line(error)])[0]
            return
        broken = packet is not None and packet.is_corrupt and not seams
        if log.errors or broken:
            yield (log.errors or ["a packet is cut off"])[0]
        if packet is None:
            return
        if packet.size and not broken:
            yield packet


def _row(packet: av.Packet[Any], coding: av.VideoCodecContext) -> _Row:
    picture, time = read_picture(packet, coding), packet.pts
    shown = not packet.is_discard and picture.shown
    return (time or 0, time is not None, shown, packet.is_keyframe, picture.restarts, picture.layer)


def _has_times(container: av.container.InputContainer, coding: av.VideoCodecContext) -> bool:
    """Whether a format says when frames are shown: AVI only says when they are decoded."""
    return container.format.name != "avi" or bool(coding.codec.intra_only)


def needed(index: Index, wanted: set[int]) -> Bools:
    """Whether each packet is wanted, or needed for one that is; `wanted` are times: (n,) bool."""
    answers, here = np.zeros(len(index.times), bool), False
    asked = np.isin(index.times, list(wanted))
    for number in range(len(asked) - 1, -1, -1):
        here = here or bool(asked[number])
        answers[number] = here
        here = here and not index.restarts[number]
    return answers & (asked | index.referred)
