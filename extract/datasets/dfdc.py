"""The DeepFake Detection Challenge: parts with a `metadata.json` each."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from extract.datasets.listing import UNEXPLAINED, Row, assemble, list_files, natural, need_folder
from extract.errors import RequestError, first_line, unknown
from extract.manifest import Manifest, Reason
from extract.names import as_text

METADATA = "metadata.json"
PART = "dfdc_train_part_*"
LAYOUT = f"{PART}/{METADATA}"
PATTERNS = (LAYOUT, f"{PART}/{LAYOUT}")  # the second as Kaggle's archives unpack
LABELS = {"REAL": 0, "FAKE": 1}
GROUPS = ("family", "part")
ORPHAN = Reason("E_SOURCE_UNKNOWN", "no original in the metadata, so its family is unknown")


def matches_dfdc(root: Path) -> bool:
    """Whether there are parts, or `root` is one by its name or by how its metadata begins."""
    if any(any(root.glob(pattern)) for pattern in PATTERNS):
        return True
    metadata = root / METADATA
    return metadata.is_file() and (root.absolute().match(PART) or _looks_right(metadata))


def read_dfdc(root: Path, *, group: str = "family") -> Manifest:
    """Read DFDC's training set, or some parts of it.

    Parameters
    ----------
    root : Path
        One part, or the folder that they lie in.
    group : {"family", "part"}
        What counts as an identity: an original clip with its fakes, or a whole part. People recur within a
        part, which the families do not show.

    Raises
    ------
    RequestError
        Metadata that cannot be read, an unknown label, one name with two labels, a fake made from a fake.
    """
    need_folder(root)
    if group not in GROUPS:
        raise unknown("group of DFDC", group, GROUPS)
    parts = _parts(root)
    rows = [row for part in parts for row in _read_part(part, root)]
    table = pd.DataFrame(rows, columns=["path", "name", "label", "dataset", "split", "part", "original"])
    fakes = table[table["label"] == 1]
    _check(table, fakes, root)
    found = list_files(root, enter=lambda folder: any(f"{part}/".startswith(f"{folder}/") for part in parts))
    there = table["path"].isin(found.files)
    orphans = fakes["path"][there & (fakes["original"] == "")]
    strange = set(found.files) - set(table["path"]) - {f"{part}/{METADATA}".lstrip("/") for part in parts}
    return assemble(
        _with_people(table[there & ~table["path"].isin(orphans)], group),
        root,
        layout=f"DFDC videos ({LAYOUT})",
        skipped=found.strange
        | dict.fromkeys(orphans, ORPHAN)
        | dict.fromkeys(strange, Reason(UNEXPLAINED.code, f"in no {METADATA}; {UNEXPLAINED.text}")),
        missing=dict.fromkeys(table["path"][~there], Reason("E_FILE_MISSING", f"in its part's {METADATA}")),
        notes=_notes(fakes, set(table["name"]), group),
    )


def _looks_right(metadata: Path) -> bool:
    try:
        with metadata.open("rb") as file:
            return re.search(rb'"label"\s*:\s*"(REAL|FAKE)"', file.read(4096)) is not None
    except OSError:
        return False


def _parts(root: Path) -> list[str]:
    """Return the folders of the parts below `root`, in their order; the empty one is `root`."""
    if (root / METADATA).is_file():
        return [""]
    found = [path.parent for pattern in PATTERNS for path in root.glob(pattern)]
    return sorted((as_text(path.relative_to(root).as_posix()) for path in found), key=natural)


def _read_part(part: str, root: Path) -> Iterator[Row]:
    path = root / part / METADATA
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(
            f"Expected JSON in {path}; got {first_line(error)}. Restore the file.", code="E_METADATA"
        ) from error
    if not isinstance(entries, dict):
        raise RequestError(
            f"Expected names with their entries in {path}; got no object. Restore the file.",
            code="E_METADATA",
        )
    for name, entry in entries.items():
        named = as_text(name)
        yield {"path": f"{part}/{named}".lstrip("/"), "name": named, **_read_entry(named, entry, path)}


def _read_entry(name: str, entry: Any, path: Path) -> Row:
    label = entry.get("label") if isinstance(entry, dict) else entry
    if not isinstance(label, str) or label not in LABELS:
        raise RequestError(
            f"Expected label REAL or FAKE of {name} in {path}; got {label!r}. Correct it.",
            code="E_LABEL_UNKNOWN",
        )
    original = entry.get("original")
    return {
        "label": LABELS[label],
        "dataset": "dfdc",
        "split": str(entry.get("split") or ""),
        "part": as_text(path.absolute().parent.name),
        "original": original.strip() if isinstance(original, str) else "",
    }


def _check(table: pd.DataFrame, fakes: pd.DataFrame, root: Path) -> None:
    """Refuse a name with two labels, and a fake that was made from a fake."""
    mixed = table[table.groupby("name")["label"].transform("nunique") > 1]
    if len(mixed):
        name = mixed["name"].iloc[0]
        said = mixed[mixed["name"] == name].sort_values("label")["part"]
        raise RequestError(
            f"Expected one label a name in {root}; got {name} as REAL in {said.iloc[0]} and FAKE in {said.iloc[-1]}. "
            "Remove one.",
            code="E_LABEL_CONFLICT",
        )
    for row in fakes[fakes["original"].isin(fakes["name"])].itertuples():
        raise RequestError(
            f"Expected a REAL original of {row.name} in {METADATA} of {row.part}; got {row.original}, which is FAKE "
            "itself. Correct the metadata.",
            code="E_METADATA",
        )


def _with_people(table: pd.DataFrame, group: str) -> pd.DataFrame:
    fake = table["label"] == 1
    family = table["original"].where(fake, table["name"]).str.replace(r"\.[^.]*$", "", regex=True)
    return table.assign(
        identity="dfdc/" + (family if group == "family" else table["part"]),
        attack=fake.map({True: "DFDC", False: ""}),
    ).drop(columns=["name", "original"])


def _notes(fakes: pd.DataFrame, names: set[str], group: str) -> list[str]:
    notes = []
    if group == "family":
        notes.append(
            "An identity is a family, an original clip and its fakes; people recur within a part, so group = part "
            "is stricter."
        )
    if lost := sorted(set(fakes["original"]) - names - {""}):
        notes.append(
            f"Originals in no {METADATA}: {len(lost):,}, first {lost[0]}; their fakes are families all the same."
        )
    return notes
