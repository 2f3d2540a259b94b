"""Frames out of packets, with every complaint of the decoder noticed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

from extract.errors import first_line
from extract.media.videos.container import open_video
from extract.media.videos.index import Bools, Index, read_index, whole_packets
from extract.media.videos.log import DecoderLog
from extract.media.videos.picture import Converter

# H.264's decoder is told to forget a picture that it does not have: of a recording that begins between key frames, one
# from before its beginning.
NOT_THERE = "mmco: unref short failure"


class DamageFound(Exception):
    """The decoder complained; the message is in its words."""


@dataclass
class Source:
    """A video file that is being read.

    Attributes
    ----------
    path : Path
    max_pixels : int
        The most pixels of a frame.
    lenient : bool
        Whether decoding goes on where the decoder complains.
    log : DecoderLog
        Open.
    damage : str
        The first complaint.
    """

    path: Path
    max_pixels: int
    lenient: bool
    log: DecoderLog
    damage: str = field(default="", init=False)

    def index(self) -> tuple[Index, int, Any]:
        """Return the packets, the number of frames that the file states (0: none) and the unit of time."""
        self.log.errors.clear()
        with open_video(self.path, self.log, max_pixels=self.max_pixels) as (container, stream):
            found = read_index(container, stream, self.log)
            return found, stream.frames, stream.time_base

    def frames(
        self, index: Index, needs: Bools, *, alone: bool = False
    ) -> Iterator[tuple[av.VideoFrame, Converter]]:
        """Decode the packets that are needed, in their order.

        Parameters
        ----------
        needs : (n,) bool
            Which of the index's packets.
        alone : bool
            Whether each packet is decoded by itself, as one that is stored whole can be.

        Yields
        ------
        frame and what converts it
            In the order in which they are shown; also some that are not wanted.

        Raises
        ------
        DamageFound
            Before any frame that may be hurt, unless `lenient`.
        """
        with open_video(self.path, self.log, max_pixels=self.max_pixels) as (container, stream):
            coding = stream.codec_context
            coding.thread_type = "FRAME" if self.log.threads > 1 else "SLICE"
            convert = Converter(stream.sample_aspect_ratio, threads=self.log.threads)
            jumped = False
            packets = whole_packets(container, stream, self.log)
            for needed, restarts, packet in zip(
                needs.tolist(), index.restarts.tolist(), packets, strict=False
            ):
                if needed:
                    if jumped and (restarts or alone):
                        yield from ((frame, convert) for frame in self._decode(coding, None, index))
                        coding.flush_buffers()
                    yield from ((frame, convert) for frame in self._decode(coding, packet, index))
                    jumped = alone
                else:
                    jumped = True
            yield from ((frame, convert) for frame in self._decode(coding, None, index))

    def _decode(
        self, coding: av.VideoCodecContext, packet: av.Packet[Any] | None, index: Index
    ) -> list[av.VideoFrame]:
        self.log.errors.clear()
        frames: list[av.VideoFrame] = []
        refused = ""
        with self.log.listening():
            try:
                frames = coding.decode(packet)
            except EOFError:  # flushed before
                pass
            except (av.FFmpegError, ValueError) as error:
                refused = (
                    f"the decoder refuses a packet ({getattr(error, 'strerror', None) or first_line(error)})"
                )
        for complaint in self.log.errors or filter(None, [refused]):
            if not (index.early and NOT_THERE in complaint):
                self._complain(complaint)
        if any(frame.is_corrupt for frame in frames):
            self._complain("a frame is marked corrupt")
        return frames

    def _complain(self, complaint: str) -> None:
        self.damage = self.damage or complaint
        if not self.lenient:
            raise DamageFound(self.damage)
