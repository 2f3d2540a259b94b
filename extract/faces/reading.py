"""The frames of one clip, and what it can break turned into one kind of error."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from extract.errors import RequestError, UnreadableClip, first_line
from extract.faces.settings import FaceSettings
from extract.media.frames import Frames
from extract.media.read import read_batches


def read_clip(path: Path, settings: FaceSettings) -> Iterator[Frames]:
    """Decode the frames that settings choose, a bounded number at a time; raises as `crop_faces`."""
    with one_file():
        yield from read_batches(
            path, settings.sampling, max_pixels=settings.max_pixels, damaged=settings.damaged
        )


@contextmanager
def one_file() -> Iterator[None]:
    """Turn what one file can break into an `UnreadableClip`, so that it does not end the work on all others."""
    try:
        yield
    except (UnreadableClip, RequestError):
        raise
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise UnreadableClip(f"cannot be read: {reason}", code="E_CLIP_NOT_READ") from error
    except (MemoryError, cv2.error, ValueError) as error:
        if isinstance(error, MemoryError) or getattr(error, "code", None) == cv2.Error.StsNoMem:
            raise UnreadableClip(
                "cannot be read: not enough memory. Lower max_pixels, or the number of workers.",
                code="E_CLIP_MEMORY",
            ) from error
        raise UnreadableClip(f"cannot be read: {first_line(error)}", code="E_CLIP_UNREADABLE") from error
