"""Celeb-DF v1 and v2."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from extract.datasets.listing import Grammar, Row, assemble, list_files, need_folder, shipped, sort_out
from extract.errors import RequestError
from extract.manifest import Manifest, Reason

LIST = "List_of_testing_videos.txt"
LAYOUT = f"Celeb-real/, YouTube-real/, Celeb-synthesis/ and {LIST}"
LABELS = {"Celeb-real": 0, "YouTube-real": 0, "Celeb-synthesis": 1}
GRAMMARS = {
    "Celeb-real": Grammar(re.compile(r"(id[0-9]+)()_[0-9]{4}"), "<id>_<number>"),
    "YouTube-real": Grammar(re.compile(r"([0-9]{5})()"), "<number>"),
    "Celeb-synthesis": Grammar(
        re.compile(r"(id[0-9]+)_(id[0-9]+)_[0-9]{4}"), "<target id>_<source id>_<number>"
    ),
}
# Some copies write Youtube-real, and some have the videos one folder further down.
PLACES = {
    f"{folder}{below}": proper
    for proper in LABELS
    for folder in (proper, proper.replace("Tube", "tube"))
    for below in ("", "/videos")
}
VERSIONS = {518: "v2", 100: "v1"}  # by the length of the list


def matches_celebdf(root: Path) -> bool:
    """Whether one of the three folders is there."""
    return any((root / folder).is_dir() for folder in PLACES)


def read_celebdf(root: Path) -> Manifest:
    """Read Celeb-DF; the version shows in the length of its list of testing videos.

    Raises
    ------
    RequestError
        No videos, a line of the list that is none, or that contradicts the folder it names.
    """
    need_folder(root)
    listed = _read_list(root / LIST)
    version = VERSIONS.get(len(listed), "")
    found = list_files(root, enter=lambda folder: folder in PLACES)
    videos, faults = sort_out(
        [name for name in found.files if name != LIST], PLACES, GRAMMARS, title="Celeb-DF"
    )
    rows = [_row(name, match, listed=listed, version=version) for name, match in videos.items()]
    there = {_proper(name) for name in videos}
    lost = sorted(listed - there)
    all_lost = sorted(names_v2() - there) if version == "v2" else []
    return assemble(
        rows,
        root,
        layout=f"Celeb-DF videos ({LAYOUT})",
        skipped=found.strange | faults,
        missing=dict.fromkeys(all_lost, Reason("E_FILE_MISSING", "in the name list of Celeb-DF v2"))
        | dict.fromkeys(lost, Reason("E_FILE_MISSING", f"in {LIST}")),
        notes=[_people_note(rows), *_list_notes(len(listed), lost)],
    )


@cache
def names_v2() -> frozenset[str]:
    """Return the names of all 6,529 videos of Celeb-DF v2."""
    return frozenset(
        f"{folder}/{stem}{number}.mp4"
        for folder, stems in shipped("celebdf_v2.json").items()
        for stem, ranges in stems.items()
        for number in _numbers(ranges)
    )


def _numbers(ranges: str) -> Iterator[str]:
    """Expand ranges, ends included.

    >>> list(_numbers("08-10 12"))
    ['08', '09', '10', '12']
    """
    for ends in (part.split("-") for part in ranges.split()):
        yield from (f"{n:0{len(ends[0])}}" for n in range(int(ends[0]), int(ends[-1]) + 1))


def _proper(name: str) -> str:
    """Return the name that the official lists have for a file."""
    folder, _, base = name.rpartition("/")
    return f"{PLACES[folder]}/{Path(base).stem}.mp4"


def _row(name: str, match: re.Match[str], *, listed: set[str], version: str) -> Row:
    folder = PLACES[name.rpartition("/")[0]]
    return {
        "path": name,
        "label": LABELS[folder],
        "identity": f"celebdf/{'youtube-' if folder == 'YouTube-real' else ''}{match[1]}",
        "source_identity": f"celebdf/{match[2]}" if match[2] else "",
        "attack": folder if LABELS[folder] else "",
        "dataset": f"celebdf_{version}" if version else "celebdf",
        "split": ("test" if _proper(name) in listed else "train") if listed else "",
    }


def _read_list(path: Path) -> set[str]:
    """Return the names in the list of testing videos, each line checked; none where there is no list."""
    if not path.is_file():
        return set()
    lines = path.read_text(encoding="utf-8-sig", errors="backslashreplace").splitlines()
    return {_read_line(line.strip(), number, path) for number, line in enumerate(lines, 1) if line.strip()}


def _read_line(line: str, number: int, path: Path) -> str:
    entry = re.fullmatch(r"([01])\s+(([^/]+)/([^/]+)\.mp4)", line)
    if entry is None or entry[3] not in LABELS or not GRAMMARS[entry[3]].pattern.fullmatch(entry[4]):
        raise RequestError(
            f"Expected '0' or '1' and a Celeb-DF name in line {number} of {path}; got {line!r}. Correct it.",
            code="E_METADATA",
        )
    label = 1 - int(entry[1])  # the list marks real videos with 1
    if label != LABELS[entry[3]]:
        raise RequestError(
            f"Expected line {number} of {path} to agree with the folders (1 = real there); got {line!r}, which "
            f"is {('real', 'fake')[label]} by its mark, but lies in {entry[3]}. Correct the line or move the file.",
            code="E_LABEL_CONFLICT",
        )
    return entry[2]


def _people_note(rows: Sequence[Row]) -> str:
    people = {str(row[column]) for row in rows for column in ("identity", "source_identity")} - {""}
    youtube = {who for who in people if who.startswith("celebdf/youtube-")}
    return (
        f"{len(people - youtube)} identities in Celeb-real and Celeb-synthesis; each of {len(youtube)} "
        "YouTube-real clips counts as an identity of its own."
    )


def _list_notes(length: int, lost: Sequence[str]) -> list[str]:
    if not length:
        return [f"There is no {LIST}: the version and the official split are not known."]
    notes = [f"Videos in {LIST} that are missing: {len(lost):,}, first {lost[0]}."] if lost else []
    if length not in VERSIONS:
        notes.append(f"The version is not known: {LIST} has {length:,} lines (v2: 518, v1: 100).")
    return notes
