"""Open a file as a video: one that holds its own pictures, and nothing that leads to another file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import av
from av.stream import Discard, Disposition

from extract.errors import UnreadableClip
from extract.media.frames import check_size
from extract.media.videos.log import DecoderLog

# FFmpeg's names of formats that read one file. Playlists (hls, dash), lists of files (concat), addresses (sdp) and
# descriptions of pictures to be drawn (lavfi) are not among them: they open what they name.
FORMATS = (
    "mov,matroska,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,mxf,gxf,dv,nut,ivf,obu,h264,hevc,m4v,h263,vc1,yuv4mpegpipe,wtv,"
    "mp3,flac,wav,aac,aiff"  # to say of a sound with a cover that it is no video
)
PLAYLISTS = (
    *(b"#EXTM3U", b"ffconcat", b"v=0", b"<?xml", b"<MPD", b"<SmoothStreamingMedia", b"[playlist]"),
    b";FFMETADATA",
)
HEAD = 512  # bytes that tell a text
NOT_A_VIDEO = "cannot be decoded as a video"
_OF_SOUND = Disposition.attached_pic | Disposition.timed_thumbnails


@contextmanager
def open_video(
    path: Path, log: DecoderLog, *, max_pixels: int
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file and its video, with a decoder that takes pictures of at most `max_pixels`.

    Raises
    ------
    UnreadableClip
        Not a video, without a picture that moves, larger than allowed, or leading to other files.
    """
    with path.open("rb") as file:
        container = _open(file, log, max_pixels)
    try:
        stream = _video(container, log)
        coding = stream.codec_context
        check_size(coding.width, coding.height, max_pixels=max_pixels)
        coding.options = {**coding.options, "max_pixels": str(max_pixels)}
        coding.thread_count = log.threads
        yield container, stream
    finally:
        with log.listening():
            for other in container.streams.video:
                if other.codec_context is not None:
                    other.codec_context.flush_buffers()  # ends its threads while they can still log
            container.close()


def _open(file: BinaryIO, log: DecoderLog, max_pixels: int) -> av.container.InputContainer:
    """Open a file by its descriptor, which FFmpeg copies: its name could hold a protocol, and suggest a format."""
    try:
        with log.listening():
            return av.open(
                "fd:",
                mode="r",
                options={"max_pixels": str(max_pixels)},
                container_options={
                    "fd": str(file.fileno()),
                    "protocol_whitelist": "fd",
                    "format_whitelist": FORMATS,
                },
                metadata_errors="replace",
            )
    except av.FFmpegError as error:
        raise _refusal(file, log, error) from error


def _refusal(file: BinaryIO, log: DecoderLog, error: av.FFmpegError) -> UnreadableClip:
    """Say why a file is no video, in more words than FFmpeg's number where its log or the first bytes have them."""
    file.seek(0)
    head = file.read(HEAD)
    if any("whitelist" in line for line in log.errors) or head.lstrip().startswith(PLAYLISTS):
        return UnreadableClip(
            f"{NOT_A_VIDEO}: not a format that holds its own pictures (playlists are not followed)",
            code="E_CLIP_FORMAT",
        )
    if any("moov atom not found" in line for line in log.errors):
        return UnreadableClip(
            f"{NOT_A_VIDEO}: its index (moov) is missing, so it was cut off or never finished"
        )
    if head.isascii() and head.decode().replace("\n", "").replace("\t", "").replace("\r", "").isprintable():
        return UnreadableClip(f"{NOT_A_VIDEO}: it is a text")
    return UnreadableClip(f"{NOT_A_VIDEO}: {error.strerror}")


def _video(container: av.container.InputContainer, log: DecoderLog) -> av.VideoStream:
    """Choose the video that is shown by default, never the cover of an album, and read nothing else."""
    videos = [stream for stream in container.streams.video if not stream.disposition & _OF_SOUND]
    videos.sort(key=lambda stream: not stream.disposition & Disposition.default)
    if not videos:
        said = "sound alone, its picture is a cover" if container.streams.video else "no video"
        raise UnreadableClip(said, code="E_CLIP_NO_VIDEO")
    stream = videos[0]
    if stream.codec_context is None:
        raise UnreadableClip(f"{NOT_A_VIDEO}: no decoder for its codec")
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    named = {s.codec_context.name for s in container.streams if s.type != "video" and s.codec_context}
    log.ignore(named)
    return stream
