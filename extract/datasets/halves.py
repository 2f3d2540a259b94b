"""Trees of images below `real/` and `fake/`, or below these two in `train/`, `val/` and `test/`."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from extract.datasets.folder import add_people
from extract.datasets.listing import UNEXPLAINED, assemble, halves, list_files, natural, need_folder
from extract.manifest import Manifest, Reason
from extract.media.kinds import is_image

NO_IMAGE = Reason("E_FILE_KIND", "not an image by its name")


def read_halves(
    root: Path, clip_of: Callable[[str], str], *, layout: str, rule: str, identity: str | None
) -> Manifest:
    """Read images as frames of clips, in natural order.

    Parameters
    ----------
    clip_of : function of a path below its half
        The name of the clip there; empty where the path breaks the rule.
    layout, rule : str
        What should be there, and what is said of files that break the rule.
    identity : str, optional
        Regular expression, as in `read_folder`.

    Raises
    ------
    RequestError
        No such images, an expression that is not valid or does not match, a clip with two identities.
    """
    need_folder(root)
    parts = halves(root)
    found = list_files(root, enter=lambda folder: any(_on_one_line(folder, part) for part in parts))
    strange, rows = dict(found.strange), []
    for name in sorted(found.files, key=natural):
        half = next((part for part in parts if name.startswith(f"{part}/")), "")
        clip = clip_of(name.removeprefix(f"{half}/")) if half and is_image(name) else ""
        if clip:
            rows.append((name, half.rpartition("/")[2], half.rpartition("/")[0], f"{half}/{clip}"))
        else:
            broken = Reason("E_FILE_NAME", rule) if is_image(name) else NO_IMAGE
            strange[name] = broken if half else UNEXPLAINED
    table = pd.DataFrame(rows, columns=["path", "label", "split", "clip"])
    return assemble(add_people(table, identity), root, layout=layout, skipped=strange)


def _on_one_line(folder: str, part: str) -> bool:
    """Whether one of two folders lies in the other."""
    return f"{part}/".startswith(f"{folder}/") or f"{folder}/".startswith(f"{part}/")
