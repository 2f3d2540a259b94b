"""Ready face crops: the tree that `faces --image-folder` exports, and trees like it."""

import os
import re
from pathlib import Path

from extract.datasets.folder import add_people
from extract.datasets.halves import read_halves
from extract.datasets.listing import LABELS, UNEXPLAINED, assemble, glance, halves, list_files, need_folder
from extract.manifest import Manifest, Reason, read_manifest
from extract.media.kinds import is_image
from extract.names import as_text

TABLE = "faces.csv"
REPORT = "verification.csv"  # what the export says of itself
LAYOUT = "[train|val|test/]real|fake/<clip>_<frame>.png"
EXPORTED = re.compile(r".+_[0-9]{6}(\+[0-9]+)?\.png")
NAME = re.compile(r"(?P<clip>.+)_([0-9]{6}\+[0-9]+|[0-9]+)")


def matches_crops(root: Path) -> bool:
    """Whether there is our table, images right below the halves of a split, or names as we export them."""
    if (root / TABLE).is_file():
        return True
    if any(is_image(entry.name) for name in halves(root) if "/" in name for entry in glance(root / name)):
        return True
    names = [entry.name for label in LABELS for entry in glance(root / label)]
    return bool(names) and all(EXPORTED.fullmatch(name) for name in names)


def read_crops(root: Path, *, identity: str | None = None) -> Manifest:
    """Read face crops; clips are told apart by split, label and name.

    Where the folder holds `faces.csv`, that says what the files are, but for people that `identity` names.
    Parameters and errors are those of `read_halves` and `read_manifest`.
    """
    need_folder(root)
    if (root / TABLE).is_file():
        return _read_table(root, identity)
    return read_halves(
        root,
        _clip_of,
        layout=f"face crops ({LAYOUT})",
        rule="no name of a face crop: expected <clip>_<frame>.png",
        identity=identity,
    )


def _clip_of(below: str) -> str:
    match = NAME.fullmatch(str(Path(below).with_suffix("")))
    return match["clip"] if match else ""


def _read_table(root: Path, identity: str | None) -> Manifest:
    clips = read_manifest(root / TABLE).clips
    names = [os.path.relpath(path, as_text(root)).replace(os.sep, "/") for path in clips["path"]]
    found = list_files(root)
    unnamed = Reason(UNEXPLAINED.code, f"not in {TABLE}; {UNEXPLAINED.text}")
    others = dict.fromkeys(set(found.files) - set(names) - {TABLE, REPORT}, unnamed)
    return assemble(
        add_people(clips.assign(path=names), identity),
        root,
        layout=f"face crops (named in {TABLE})",
        skipped=found.strange | others,
    )
