"""Frame folders: below `real/` and `fake/`, each folder of images is one clip."""

import os
from pathlib import Path

from extract.datasets.halves import read_halves
from extract.datasets.listing import glance, halves
from extract.manifest import Manifest
from extract.media.kinds import is_image, is_video

LAYOUT = "[train|val|test/]real|fake/<clip>/<image>"
DEPTH = 3  # folders that recognising goes down


def matches_frames(root: Path) -> bool:
    """Whether the halves hold folders of images, and no clip directly."""
    folders = [root / name for name in halves(root)]
    direct = any(_is_clip(entry.name) for folder in folders for entry in glance(folder))
    return not direct and any(_holds_images(folder, DEPTH) for folder in folders)


def read_frames(root: Path, *, identity: str | None = None) -> Manifest:
    """Read frame folders; parameters and errors as `read_halves`."""
    return read_halves(
        root,
        lambda below: below.rpartition("/")[0],
        layout=f"images ({LAYOUT})",
        rule=f"an image outside a clip's folder: expected {LAYOUT}",
        identity=identity,
    )


def _is_clip(name: str) -> bool:
    return is_image(name) or is_video(name)


def _holds_images(folder: Path, depth: int) -> bool:
    below = [Path(entry) for entry in glance(folder) if os.path.isdir(entry)]
    return any(
        any(is_image(entry.name) for entry in glance(inner))
        or (depth > 1 and _holds_images(inner, depth - 1))
        for inner in below
    )
