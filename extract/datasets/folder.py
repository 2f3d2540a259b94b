"""Clips below `real/` and `fake/`, images or videos, at any depth; videos also below these two in each split."""

import re
from pathlib import Path

import pandas as pd

from extract.datasets.listing import (
    LABELS,
    NO_MEDIUM,
    UNEXPLAINED,
    assemble,
    glance,
    halves,
    list_files,
)
from extract.errors import RequestError
from extract.manifest import Manifest, Reason
from extract.media.kinds import is_image, is_video

LAYOUT = "real/ and fake/ with images or videos; or these two in train/, val/ and test/ with videos"


def matches_folder(root: Path) -> bool:
    """Whether there is `real/` or `fake/`, or videos in those of a split, and no table of face crops beside them."""
    if (root / "faces.csv").is_file():
        return False
    entries = [entry.name for half in halves(root) if "/" in half for entry in glance(root / half)]
    return any((root / label).is_dir() for label in LABELS) or any(map(is_video, entries))


def read_folder(root: Path, *, identity: str | None = None, clip: str | None = None) -> Manifest:
    """Read a folder with `real/` and `fake/` below it, or below its `train/`, `val/` and `test/`.

    Parameters
    ----------
    root : Path
        The folder.
    identity, clip : str, optional
        Regular expressions, searched in each file's path relative to `root` (with forward slashes). The group
        of that name, or the first group, or the whole match is the value; a group named ``source_identity`` in
        `identity` gives that, too. Without `identity` nobody is known, and each clip counts for itself;
        without `clip` each file is a clip of its own.

    Raises
    ------
    RequestError
        The folder or its two parts are missing or empty, an expression is not valid or does not match a file.
    """
    parts = halves(root)
    _need_parts(root, parts)
    found = list_files(root, parts)
    names = [name for name in found.files if is_video(name) or is_image(name)]
    values = zip(names, _values(names, clip, "clip"), strict=True)
    clips = [f"{_half(name)}/{value}" for name, value in values]
    split, label = (
        zip(*(_half(name).rpartition("/")[::2] for name in names), strict=True) if names else ((), ())
    )
    table = pd.DataFrame({"path": names, "label": label, "split": split, "clip": clips})
    others = dict.fromkeys(set(found.files) - set(names), NO_MEDIUM)
    return assemble(
        add_people(table, identity),
        root,
        layout="images or videos in real/ and fake/",
        skipped=found.strange | others | _beside(root, parts),
    )


def add_people(table: pd.DataFrame, identity: str | None) -> pd.DataFrame:
    """Take ``identity``, and ``source_identity`` where the expression has such a group, from the paths."""
    if identity is None:
        return table
    names = table["path"].tolist()
    table = table.assign(identity=_values(names, identity, "identity"))
    if "source_identity" in re.compile(identity).groupindex:
        table["source_identity"] = _values(names, identity, "source_identity")
    return table


def _need_parts(root: Path, parts: list[str]) -> None:
    for label in LABELS:
        if not any(part.endswith(label) for part in parts):
            raise RequestError(
                f"Expected a folder with real/ and fake/ below it; {root / label} does not exist. Check the path, or "
                "name the clips in a manifest (--manifest).",
                code="E_LAYOUT_UNKNOWN",
            )


def _beside(root: Path, parts: list[str]) -> dict[str, Reason]:
    """Return what lies beside the parts; folders are not looked into."""
    found = list_files(root, enter=lambda folder: any(part.startswith(f"{folder}/") for part in parts))
    strange = {name: why for name, why in found.strange.items() if name not in parts}
    return strange | dict.fromkeys(found.files, UNEXPLAINED)


def _half(name: str) -> str:
    """Return the part of a relative path that says its label and, before that, its split."""
    first, second, *_ = name.split("/")
    return first if first in LABELS else f"{first}/{second}"


def _values(names: list[str], expression: str | None, what: str) -> list[str]:
    """Take one value from each relative path; the path below its label folder where there is no expression."""
    if expression is None:
        return [name.removeprefix(f"{_half(name)}/") for name in names]
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise RequestError(
            f"Expected a regular expression for --{what}; got {expression!r} ({error}). Correct it.",
            code="E_PATTERN",
        ) from error
    matches = [pattern.search(name) for name in names]
    lost = [name for name, match in zip(names, matches, strict=True) if match is None]
    if lost:
        raise RequestError(
            f"Expected --{what} {expression!r} to match every file; got {len(lost)} of {len(names)} that it does "
            f"not, first {lost[0]!r}. Widen the expression.",
            code="E_PATTERN",
        )
    values = [_group(match, what) for match in matches if match]
    if what == "clip" and "" in values:
        raise RequestError(
            f"Expected --clip {expression!r} to name a clip for every file; got an empty name for "
            f"{names[values.index('')]!r}. Correct the expression.",
            code="E_PATTERN",
        )
    return values


def _group(match: re.Match[str], what: str) -> str:
    if what in match.re.groupindex:
        return match[what] or ""
    return (match[1] if match.re.groups else match[0]) or ""
