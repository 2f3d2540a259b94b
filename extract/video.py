"""Decode images and videos into RGB frames, spread over the clip as asked."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # broken clips are reported by us, once, with their name
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2

from extract.errors import UnreadableClip as UnreadableClip
from extract.h264 import decode_few
from extract.media.kinds import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from extract.media.kinds import VIDEO_SUFFIXES as VIDEO_SUFFIXES
from extract.media.kinds import is_image as is_image
from extract.media.kinds import is_video as is_video

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Frames:
    """Decoded frames of one clip.

    Attributes
    ----------
    images : list of (h, w, 3) uint8 RGB
    numbers : list of int
        Position of each image in the clip, from 0.
    note : str
        What was wrong with a clip that could still be used, else empty.
    """

    images: list[Image]
    numbers: list[int]
    note: str = ""


def spread(total: int, count: int) -> list[int]:
    """Choose `count` of `total` frames: the middle frame of each of `count` equal stretches of the clip.

    >>> spread(100, 4)
    [12, 37, 62, 87]
    >>> spread(2, 4)
    [0, 1]
    """
    if total <= count:
        return list(range(total))
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def strided(total: int, stride: int, limit: int) -> list[int]:
    """Choose every `stride`-th frame, spread evenly over the clip where that would be more than `limit`.

    >>> strided(100, 30, 10)
    [0, 30, 60, 90]
    >>> strided(100, 10, 2)
    [20, 70]
    """
    every = list(range(0, total, stride))
    return [every[i] for i in spread(len(every), limit)]


def read_frames(path: Path, *, count: int, stride: int | None = None) -> Frames:
    """Decode the chosen frames of an image or a video.

    Parameters
    ----------
    path : Path
        An image counts as a clip of one frame. Grey, 16-bit and transparent images become 8-bit RGB (alpha is
        dropped); EXIF and container orientation are applied.
    count : int
        The most frames to take.
    stride : int, optional
        Take every `stride`-th frame; without it the frames are spread evenly.

    Raises
    ------
    UnreadableClip
        The file is empty or cannot be decoded.
    """
    if path.stat().st_size == 0:
        raise UnreadableClip("empty file")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Frames([_read_image(path)], [0])
    return _read_video(path, count, stride)


def every_frame(path: Path) -> Iterator[Image]:
    """Decode a video from the beginning as far as it goes, one (h, w, 3) uint8 RGB frame at a time."""
    capture = _open(path)
    try:
        while capture.grab() and (image := _retrieve(capture)) is not None:
            yield image
    finally:
        capture.release()


def frame_rate(path: Path) -> float:
    """Frames a second that the container states; 0 or nonsense where it states nothing."""
    capture = _open(path)
    try:
        return float(capture.get(cv2.CAP_PROP_FPS))
    finally:
        capture.release()


def _read_image(path: Path) -> Image:
    # Read the bytes ourselves: OpenCV's own open fails on non-ASCII names on some systems.
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise UnreadableClip("cannot be decoded as an image") from error
    if image is None:
        raise UnreadableClip("cannot be decoded as an image")
    return image.astype(np.uint8, copy=False)


def _read_video(path: Path, count: int, stride: int | None) -> Frames:
    stated = _frame_count(path)
    wanted = _choose(stated, count, stride)
    if not wanted:
        raise UnreadableClip("cannot be decoded as a video: it holds no frame")
    few = decode_few(path, wanted, total=stated)
    if few is not None:
        return Frames(few, wanted)
    frames, total = _decode(path, wanted)
    if len(frames) == len(wanted):
        return Frames(frames, wanted)
    if total == 0:
        raise UnreadableClip("cannot be decoded as a video: no frame could be read")
    # The container promised more than it holds: spread anew over what is there.
    wanted = _choose(total, count, stride)
    frames, _ = _decode(path, wanted)
    return Frames(frames, wanted[: len(frames)], f"truncated: {total} of {stated} frames can be read")


def _choose(total: int, count: int, stride: int | None) -> list[int]:
    return strided(total, stride, count) if stride else spread(total, count)


def _open(path: Path) -> cv2.VideoCapture:
    # FFmpeg only: OpenCV's other backends read name patterns and devices out of a path. One thread: what a damaged
    # file shows must not depend on the machine.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        raise UnreadableClip("cannot be decoded as a video")
    return capture


def _frame_count(path: Path) -> int:
    """Frames that the container states; counted by decoding where it states nothing sensible."""
    capture = _open(path)
    try:
        stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if stated > 0:
            return stated
        total = 0
        while capture.grab():
            total += 1
        return total
    finally:
        capture.release()


def _decode(path: Path, wanted: Sequence[int]) -> tuple[list[Image], int]:
    """Decode in order up to the last wanted frame; returns the images and the number of frames passed."""
    capture = _open(path)
    images: list[Image] = []
    position = 0
    try:
        for number in wanted:
            while position <= number:
                if not capture.grab():
                    return images, position
                position += 1
            if (image := _retrieve(capture)) is None:
                return images, position - 1
            images.append(image)
        return images, position
    finally:
        capture.release()


def _retrieve(capture: cv2.VideoCapture) -> Image | None:
    done, image = capture.retrieve()
    if not done or image is None:
        return None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
