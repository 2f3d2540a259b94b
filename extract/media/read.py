"""Read the frames of any file that holds pictures."""

import stat
from collections.abc import Iterator
from pathlib import Path

from extract.errors import UnreadableClip
from extract.media.frames import MAX_PIXELS, Damaged, Frames, Sampling
from extract.media.images import read_image
from extract.media.kinds import kind_of
from extract.media.video import read_video


def read_batches(
    path: Path, sampling: Sampling, *, max_pixels: int = MAX_PIXELS, damaged: Damaged = "skip"
) -> Iterator[Frames]:
    """Decode the chosen frames of a still or a video, a bounded number of pixels at a time.

    Parameters
    ----------
    path : Path
        What it is follows from its bytes; its suffix is a hint.
    sampling : Sampling
    max_pixels : int
        The most pixels of one picture. Frames come in batches of at most `HELD` pixels, or of one frame.
    damaged : {"skip", "use"}
        Whether a damaged clip is refused, or used with a note.

    Yields
    ------
    Frames
        In the order of the clip; the last one has the note, and may hold no image.

    Raises
    ------
    UnreadableClip
        The file gives no frame, or none to trust; also in the middle, when what came before is to be thrown away.
    OSError
        The file is not there, or cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would wait for its writer
        what = "a folder: name its files" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise UnreadableClip(what, code="E_FILE_SPECIAL")
    if not status.st_size:
        raise UnreadableClip("empty file", code="E_CLIP_EMPTY")
    if kind_of(path) == "image":
        yield read_image(path, max_pixels=max_pixels, damaged=damaged)
    else:
        yield from read_video(path, sampling, max_pixels=max_pixels, damaged=damaged)


def read_frames(
    path: Path, sampling: Sampling, *, max_pixels: int = MAX_PIXELS, damaged: Damaged = "skip"
) -> Frames:
    """Decode the chosen frames all at once; as `read_batches` in all else."""
    batches = list(read_batches(path, sampling, max_pixels=max_pixels, damaged=damaged))
    images = [image for batch in batches for image in batch.images]
    return Frames(images, [number for batch in batches for number in batch.numbers], batches[-1].note)
