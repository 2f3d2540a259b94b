"""FaceForensics++: the official layout and the flat one, official splits, reused source videos."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from extract.datasets.listing import (
    SPLITS,
    Grammar,
    Row,
    assemble,
    glance,
    list_files,
    need_folder,
    shipped,
    sort_out,
)
from extract.errors import RequestError, unknown
from extract.manifest import Manifest, Reason

PAIRED = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
ATTACKS = (*PAIRED, "DeepFakeDetection")
LAYOUT = "original_sequences/ and manipulated_sequences/, or original/, Deepfakes/, Face2Face/, ..."
COMPRESSIONS = {"raw": "raw", "c0": "raw", "c23": "c23", "c40": "c40"}  # raw was called c0 at first
UNNAMED = "one that its folders do not name"
EXTRAS = {"masks", "models", "csv"}  # come with the data set and hold no clips
HOMES = {
    "youtube": "original_sequences/youtube",
    "actors": "original_sequences/actors",
    **{attack: f"manipulated_sequences/{attack}" for attack in ATTACKS},
}
GRAMMARS = {
    "youtube": Grammar(re.compile(r"([0-9]{3})()"), "<target>"),
    "actors": Grammar(re.compile(r"([0-9]{2})()__\w+"), "<actor>__<scene>"),
    **dict.fromkeys(PAIRED, Grammar(re.compile(r"([0-9]{3})_([0-9]{3})"), "<target>_<source>")),
    "DeepFakeDetection": Grammar(
        re.compile(r"([0-9]{2})_([0-9]{2})__\w+__[A-Za-z0-9]+"), "<target>_<source>__<scene>__<id>"
    ),
}

_OFFICIAL = shipped("faceforensics.json")
SEQUENCES = {number: split for split in SPLITS for pair in _OFFICIAL[split] for number in pair.split("_")}
SWAPS = {
    name: split
    for split in SPLITS
    for pair in _OFFICIAL[split]
    for name in (pair, "_".join(reversed(pair.split("_"))))
}
SPLIT_OF: dict[str, dict[str, str]] = {"youtube": SEQUENCES, **dict.fromkeys(PAIRED, SWAPS)}
SAME_VIDEO: list[list[str]] = _OFFICIAL["same_video"]
FIRST_OF_VIDEO = {number: group[0] for group in SAME_VIDEO for number in group}


def matches_faceforensics(root: Path) -> bool:
    """Whether `root`, or the only folder in it, has the folders of either layout."""
    return _has_layout(_home(root))


def read_faceforensics(
    root: Path, *, compression: str | None = None, manipulations: Sequence[str] | None = None
) -> Manifest:
    """Read FaceForensics++.

    Parameters
    ----------
    root : Path
        The folder with ``original_sequences`` and ``manipulated_sequences``, or the flat one with ``original``
        and the attacks, or the folder that holds nothing else.
    compression : {"raw", "c0", "c23", "c40"}, optional
        Needed where several are on disk; raw and c0 are one.
    manipulations : sequence of str, optional
        Attacks to take; all that are there otherwise. The YouTube originals are always taken, those of the
        actors with DeepFakeDetection.

    Raises
    ------
    RequestError
        No videos, a compression or a manipulation that is not there, several compressions and none chosen.
    """
    need_folder(root)
    home = _home(root)
    places = _places(home)
    kept = _of_attacks(_of_compression(places, compression, root), manipulations, root)
    found = list_files(home, enter=lambda folder: any(f"{p}/".startswith(f"{folder}/") for p in places))
    kinds = {folder: kind for folder, (kind, _) in places.items()}
    videos, faults = sort_out(found.files, kinds, GRAMMARS, title="FaceForensics++")
    taken = {name: match for name, match in videos.items() if name.rpartition("/")[0] in kept}
    rows = [_row(name, match, kept[name.rpartition("/")[0]]) for name, match in taken.items()]
    strange = {name: why for name, why in found.strange.items() if Path(name).name not in EXTRAS}
    return assemble(
        rows,
        home,
        layout=f"FaceForensics++ videos ({LAYOUT})",
        skipped=strange | faults,
        missing=_missing(taken, kept),
        notes=[*_splits_note(rows), *_reuse_note(rows)],
    )


def _has_layout(home: Path) -> bool:
    return any((home / name).is_dir() for name in ("original_sequences", "manipulated_sequences", *ATTACKS))


def _home(root: Path) -> Path:
    """Return the folder of the layout: `root`, or the only folder in it, as archives unpack."""
    folders = [Path(entry) for entry in glance(root) if os.path.isdir(entry)]
    return folders[0] if len(folders) == 1 and not _has_layout(root) and _has_layout(folders[0]) else root


def _places(home: Path) -> dict[str, tuple[str, str]]:
    """Return the folders of videos that are there, with what they hold and its compression."""
    official = {
        f"{folder}/{written}/videos": (kind, compression)
        for kind, folder in HOMES.items()
        for written, compression in COMPRESSIONS.items()
    }
    said = re.search(rf"[_-]({'|'.join(COMPRESSIONS)})$", home.name.lower())
    flat = {
        "original" if kind == "youtube" else kind: (kind, COMPRESSIONS[said[1]] if said else UNNAMED)
        for kind in HOMES
    }
    return {folder: place for folder, place in (official | flat).items() if (home / folder).is_dir()}


def _of_compression(places: Mapping[str, tuple[str, str]], asked: str | None, root: Path) -> dict[str, str]:
    """Return the folders of one compression with what they hold."""
    order = [*COMPRESSIONS, UNNAMED]
    present = sorted({compression for _, compression in places.values()}, key=order.index)
    if asked is None and len(present) > 1:
        raise RequestError(
            f"Expected one compression in {root}; got {', '.join(present)}. Pass --compression.",
            code="E_OPTION",
        )
    wanted = present[:1] if asked is None else [COMPRESSIONS.get(asked, asked)]
    if present and wanted[0] not in present:
        raise RequestError(
            f"Expected compression {asked} in {root}; got {', '.join(present)}. Choose what is there.",
            code="E_OPTION",
        )
    return {folder: kind for folder, (kind, compression) in places.items() if compression in wanted}


def _of_attacks(kinds: dict[str, str], asked: Sequence[str] | None, root: Path) -> dict[str, str]:
    """Return the folders of the attacks that are asked for, and of the originals that belong to them."""
    present = [attack for attack in ATTACKS if attack in kinds.values()]
    if kinds and (lost := [name for name in asked or () if name not in present]):
        raise unknown(f"manipulation in {root}", lost[0], present)
    left = set() if asked is None else set(present) - set(asked)
    left |= {"actors"} if "DeepFakeDetection" in left else set()
    return {folder: kind for folder, kind in kinds.items() if kind not in left}


def _row(name: str, match: re.Match[str], kind: str) -> Row:
    return {
        "path": name,
        "label": int(kind in ATTACKS),
        "identity": _person(kind, match[1]),
        "source_identity": _person(kind, match[2]) if match[2] else "",
        "attack": kind if kind in ATTACKS else "",
        "dataset": "faceforensics",
        "split": SPLIT_OF.get(kind, {}).get(match[0], ""),
    }


def _person(kind: str, number: str) -> str:
    if kind in SPLIT_OF:
        return f"faceforensics/{FIRST_OF_VIDEO.get(number, number)}"
    return f"faceforensics/actor{number}"


def _missing(taken: Mapping[str, re.Match[str]], kept: Mapping[str, str]) -> dict[str, Reason]:
    """Name the videos of the official lists that a folder lacks."""
    there = {(name.rpartition("/")[0], match[0]) for name, match in taken.items()}
    return {
        f"{folder}/{stem}.mp4": Reason("E_FILE_MISSING", f"in the official lists of {kind}")
        for folder, kind in kept.items()
        for stem in sorted(SPLIT_OF.get(kind, {}))
        if (folder, stem) not in there
    }


def _splits_note(rows: Sequence[Row]) -> list[str]:
    without = Counter(str(row["attack"] or "originals") for row in rows if not row["split"])
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(without.items()))
    return [f"Clips in no official split: {sum(without.values()):,} ({kinds})."] if without else []


def _reuse_note(rows: Sequence[Row]) -> list[str]:
    """Say which sequences show one person and stand in two official splits."""
    stems = (Path(str(row["path"])).stem for row in rows if row["split"])
    seen = {number for stem in stems for number in stem.split("_")}
    groups = [there for group in SAME_VIDEO if len(there := [n for n in group if n in seen]) > 1]
    across = [group for group in groups if len({SEQUENCES[number] for number in group}) > 1]
    named = "; ".join(" and ".join(f"{n} {SEQUENCES[n]}" for n in group) for group in across)
    note = (
        f"Videos cut into several sequences, which count as one identity: {len(groups)}. Straddling the official "
        f"splits: {len(across)}{f' ({named})' if across else ''}."
    )
    return [note] if groups else []
