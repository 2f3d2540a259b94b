"""What the adapters share: the files below a folder, and the way from rows to a manifest."""

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from extract.errors import RequestError
from extract.manifest import Manifest, Reason, make_manifest, skip_table
from extract.media.kinds import is_video
from extract.names import as_text

LABELS = ("real", "fake")
SPLITS = ("train", "val", "test")
GLANCE = 20  # entries of a folder that recognising a layout looks at
UNEXPLAINED = Reason("E_FILE_UNEXPLAINED", "no rule explains it")
NO_MEDIUM = Reason("E_FILE_KIND", "neither an image nor a video by its name")

Row = dict[str, str | int]


@dataclass(frozen=True)
class Grammar:
    """How videos of one kind are named: a pattern of the stem, its groups the target and the source."""

    pattern: re.Pattern[str]
    words: str


@dataclass(frozen=True)
class Listing:
    """What lies below a folder; hidden files and folders are left out.

    Attributes
    ----------
    files : list of str
        Paths relative to the folder, with forward slashes, in order, as `names.as_text` writes them.
    strange : dict of str to Reason
        What cannot be a clip, whatever its name: such a path -> why.
    """

    files: list[str]
    strange: dict[str, Reason]


def list_files(
    root: Path, parts: Sequence[str] = ("",), *, enter: Callable[[str], bool] = lambda folder: True
) -> Listing:
    """List the files below some sub-folders of `root`; links are followed, but not back to where they lie.

    Parameters
    ----------
    enter : function of a folder's relative path
        Whether to look into it; one that is not entered is listed as strange, in one line.
    """
    home = os.path.realpath(root)
    starts = {part: (home, os.path.realpath(root / part)) for part in parts}
    found = [entry for part, above in starts.items() for entry in _walk(root, part, above=above, enter=enter)]
    faults = {as_text(name): fault for name, fault in found if fault}
    return Listing([as_text(name) for name, fault in found if not fault], faults)


def _walk(
    root: Path, folder: str, *, above: tuple[str, ...], enter: Callable[[str], bool]
) -> Iterator[tuple[str, Reason | None]]:
    """Give each entry below a folder, in order, and what is wrong with it."""
    try:
        entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
    except OSError as error:
        yield folder, Reason("E_FOLDER_NOT_READ", f"a folder that cannot be read: {error.strerror}")
        return
    for entry in (entry for entry in entries if not entry.name.startswith(".")):
        name = f"{folder}/{entry.name}" if folder else entry.name
        if not (os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()):
            yield name, _fault(entry)
        elif _holds(real := os.path.realpath(entry), above):
            yield name, Reason("E_LINK_LOOP", "a link back to a folder that it lies in")
        elif enter(name):
            yield from _walk(root, name, above=(*above, real), enter=enter)
        else:
            yield name, Reason("E_FOLDER_UNEXPLAINED", f"a folder; {UNEXPLAINED.text}")


def _holds(real: str, above: tuple[str, ...]) -> bool:
    """Whether a folder is one of these, or one that they lie in, be it above the root."""
    return any(os.path.commonpath([real, folder]) == real for folder in above)


def _fault(entry: os.DirEntry[str]) -> Reason | None:
    if os.path.isfile(entry) if entry.is_symlink() else entry.is_file():
        return None
    if entry.is_symlink() and not os.path.exists(entry):
        return Reason("E_LINK_BROKEN", "a link to a file that does not exist")
    return Reason("E_FILE_SPECIAL", "not a regular file")


def halves(root: Path) -> list[str]:
    """Return the folders ``real`` and ``fake`` that are there, those of a split first."""
    names = [f"{split}/{label}" for split in SPLITS for label in LABELS] + list(LABELS)
    return [name for name in names if (root / name).is_dir()]


def glance(folder: Path, count: int | None = GLANCE) -> list[os.DirEntry[str]]:
    """Return the first entries of a folder that are not hidden; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(islice((entry for entry in entries if not entry.name.startswith(".")), count))
    except OSError:
        return []


def natural(name: str) -> list[str | int]:
    """Sort key that orders numbers in names by value.

    >>> sorted(["f10.png", "f9.png"], key=natural)
    ['f9.png', 'f10.png']
    """
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))]


def shipped(name: str) -> Any:
    """Read a JSON file that comes with the package."""
    return json.loads((files("extract.datasets") / name).read_text(encoding="utf-8"))


def sort_out(
    names: Sequence[str], kinds: Mapping[str, str], grammars: Mapping[str, Grammar], *, title: str
) -> tuple[dict[str, re.Match[str]], dict[str, Reason]]:
    """Tell videos that are named as their data set names them from other files.

    Parameters
    ----------
    kinds : mapping of folder to what its videos are, with a grammar for each
    title : str
        The data set.

    Returns
    -------
    videos : dict of path to the match of its stem
    faults : dict of path to the rule that it breaks
    """
    videos, faults = {}, {}
    for name in names:
        folder, _, base = name.rpartition("/")
        grammar = grammars[kinds[folder]] if folder in kinds else None
        if grammar is None:
            faults[name] = UNEXPLAINED
        elif not is_video(base):
            faults[name] = Reason("E_FILE_KIND", "not a video by its name")
        elif match := grammar.pattern.fullmatch(Path(base).stem):
            videos[name] = match
        else:
            faults[name] = Reason("E_FILE_NAME", f"no {title} name: expected {grammar.words}.mp4")
    return videos, faults


def need_folder(root: Path) -> None:
    """Refuse what is not a folder; `RequestError`."""
    if not os.path.isdir(root):
        what = "is a file" if os.path.exists(root) else "does not exist"
        raise RequestError(
            f"Expected a folder of clips; got {root}, which {what}. Check the path.", code="E_FOLDER_MISSING"
        )


def assemble(
    rows: Sequence[Row] | pd.DataFrame,
    root: Path,
    *,
    layout: str,
    skipped: Mapping[str, Reason],
    missing: Mapping[str, Reason] | None = None,
    notes: Sequence[str] = (),
) -> Manifest:
    """Make the manifest of a data set.

    Parameters
    ----------
    rows : one a file
        Columns of the manifest; paths relative to `root`, as in `skipped` and `missing` (path -> reason), all as
        `names.as_text` writes them.
    layout : str
        What should have been found, for the error where nothing was.

    Raises
    ------
    RequestError
        No rows, or as `make_manifest`.
    """
    table = pd.DataFrame(rows)
    if table.empty:
        raise RequestError(
            f"Expected {layout} below {root}; got none{_but(skipped)}. Check the path and the names.",
            code="E_FOLDER_EMPTY",
        )
    manifest = make_manifest(table, base=root, name=str(root))
    tables = (
        skip_table(_absolute(skipped, root)),
        skip_table(_absolute(missing or {}, root), "missing"),
    )
    return dataclasses.replace(
        manifest, skipped=pd.concat(tables, ignore_index=True), notes=tuple(note for note in notes if note)
    )


def _absolute(reasons: Mapping[str, Reason], root: Path) -> dict[str, Reason]:
    home = as_text(os.path.abspath(root))
    return {os.path.abspath(os.path.join(home, name)): reasons[name] for name in sorted(reasons)}


def _but(skipped: Mapping[str, Reason]) -> str:
    if not skipped:
        return ""
    name, reason = next(iter(skipped.items()))
    return f" (other entries: {len(skipped):,}, first {name}: {reason.text})"
