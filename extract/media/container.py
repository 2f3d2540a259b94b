"""Open a file as a video: one that holds its own pictures, and nothing that leads to another file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.stream import Discard, Disposition

from extract.media.frames import UnreadableClip
from extract.media.log import DecoderLog

# FFmpeg's names of formats that read one file. Playlists (hls, dash), lists of files (concat), addresses (sdp) and
# descriptions of pictures to be drawn (lavfi) are not among them: they open what they name.
FORMATS = (
    *(
        "mov",
        "matroska",
        "avi",
        "mpeg",
        "mpegts",
        "mpegvideo",
        "flv",
        "asf",
        "ogg",
        "mxf",
        "gxf",
        "dv",
        "nut",
    ),
    *("ivf", "obu", "h264", "hevc", "m4v", "h263", "vc1", "yuv4mpegpipe", "wtv"),
    *("mp3", "flac", "wav", "aac", "aiff"),  # to say of a sound with a cover that it is no video
)
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
        container = _open(file.fileno(), log, max_pixels)
    try:
        stream = _video(container, log)
        coding = stream.codec_context
        _check_size(coding, max_pixels)
        coding.options = {**coding.options, "max_pixels": str(max_pixels)}
        coding.thread_count = log.threads
        yield container, stream
    finally:
        with log.listening():
            for other in container.streams.video:
                if other.codec_context is not None:
                    other.codec_context.flush_buffers()  # ends its threads while they can still log
            container.close()


def _open(descriptor: int, log: DecoderLog, max_pixels: int) -> av.container.InputContainer:
    """Open a file by its descriptor, which FFmpeg copies: its name could hold a protocol, and suggest a format."""
    try:
        with log.listening():
            return av.open(
                "fd:",
                mode="r",
                options={"max_pixels": str(max_pixels)},
                container_options={
                    "fd": str(descriptor),
                    "protocol_whitelist": "fd",
                    "format_whitelist": ",".join(FORMATS),
                },
                metadata_errors="replace",
            )
    except av.FFmpegError as error:
        if any("whitelist" in line for line in log.errors):
            raise UnreadableClip(
                f"{NOT_A_VIDEO}: not a format that holds its own pictures (playlists are not followed)",
                code="E_CLIP_FORMAT",
            ) from error
        raise UnreadableClip(f"{NOT_A_VIDEO}: {error.strerror}") from error


def _video(container: av.container.InputContainer, log: DecoderLog) -> av.VideoStream:
    """Choose the first video that is not the cover of an album, and read nothing else."""
    videos = [stream for stream in container.streams.video if not stream.disposition & _OF_SOUND]
    if not videos:
        raise UnreadableClip("no video", code="E_CLIP_NO_VIDEO")
    stream = videos[0]
    if stream.codec_context is None:
        raise UnreadableClip(f"{NOT_A_VIDEO}: no decoder for its codec")
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    named = {s.codec_context.name for s in container.streams if s.type != "video" and s.codec_context}
    log.ignore(named)
    return stream


def _check_size(coding: av.VideoCodecContext, max_pixels: int) -> None:
    if coding.width * coding.height > max_pixels:
        raise UnreadableClip(
            f"frames of {coding.width} x {coding.height} pixels, more than max_pixels = {max_pixels:,}",
            code="E_CLIP_TOO_LARGE",
        )
