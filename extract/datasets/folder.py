"""Clips below `real/` and `fake/`, images or videos, at any depth."""

import os
import re
from pathlib import Path

import pandas as pd

from extract.errors import RequestError
from extract.manifest import Manifest, make_manifest, skip_table
from extract.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES


def read_folder(root: Path, *, identity: str | None = None, clip: str | None = None) -> Manifest:
    """Read a folder with `real/` and `fake/` below it.

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
    files = [file for label in ("real", "fake") for file in _files(root, label)]
    named = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
    media = [file for file in named if _printable(file) == str(file)]
    if not media:
        raise RequestError(
            f"Expected images or videos below {root}/real and {root}/fake; got none. Add clips."
        )
    names = [file.relative_to(root).as_posix() for file in media]
    clips = [
        f"{_label(name)}/{value}" for name, value in zip(names, _values(names, clip, "clip"), strict=True)
    ]
    table = pd.DataFrame({"path": names, "label": [_label(name) for name in names], "clip": clips})
    if identity is not None:
        table["identity"] = _values(names, identity, "identity")
    if identity is not None and "source_identity" in re.compile(identity).groupindex:
        table["source_identity"] = _values(names, identity, "source_identity")
    manifest = make_manifest(table, base=root, name=str(root))
    strange = set(files) - set(named)
    others = {_printable(file.absolute()): "neither an image nor a video by its name" for file in strange}
    others |= {_printable(file.absolute()): "its name is not UTF-8" for file in set(named) - set(media)}
    return Manifest(manifest.clips, skip_table(dict(sorted(others.items()))))


def _printable(path: Path) -> str:
    """Write a path with bytes that are no UTF-8 escaped, so that any report can hold it."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _files(root: Path, label: str) -> list[Path]:
    part = root / label
    if not part.is_dir():
        raise RequestError(
            f"Expected a folder with real/ and fake/ below it; {part} does not exist. Check the path, or name "
            "the clips in a manifest (--manifest)."
        )
    walk = os.walk(part, followlinks=True)
    found = (Path(folder) / name for folder, _, names in walk for name in names)
    return sorted(path for path in found if not _hidden(path.relative_to(part)))


def _hidden(path: Path) -> bool:
    return any(name.startswith(".") for name in path.parts)


def _label(name: str) -> str:
    return name.split("/", 1)[0]


def _values(names: list[str], expression: str | None, what: str) -> list[str]:
    """Take one value from each relative path; the path below its label folder where there is no expression."""
    if expression is None:
        return [name.split("/", 1)[1] for name in names]
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise RequestError(
            f"Expected a regular expression for --{what}; got {expression!r} ({error}). Correct it."
        ) from error
    matches = [pattern.search(name) for name in names]
    lost = [name for name, match in zip(names, matches, strict=True) if match is None]
    if lost:
        raise RequestError(
            f"Expected --{what} {expression!r} to match every file; got {len(lost)} of {len(names)} that it does "
            f"not, first {lost[0]!r}. Widen the expression."
        )
    values = [_group(match, what) for match in matches if match]
    if what == "clip" and "" in values:
        raise RequestError(
            f"Expected --clip {expression!r} to name a clip for every file; got an empty name for "
            f"{names[values.index('')]!r}. Correct the expression."
        )
    return values


def _group(match: re.Match[str], what: str) -> str:
    if what in match.re.groupindex:
        return match[what] or ""
    return (match[1] if match.re.groups else match[0]) or ""
