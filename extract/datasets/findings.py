"""What was found on disk, as lines for a terminal."""

from collections.abc import Sequence

import pandas as pd

from extract.datasets.listing import SPLITS
from extract.datasets.registry import DATASETS
from extract.manifest import Manifest

FIRST = 5  # files that are named of each kind
OUTCOMES = {
    "skipped": "Left out, because no rule explains them or for the reason given",
    "partial": "Used in part",
    "missing": "Missing",
}


def findings(name: str, manifest: Manifest) -> list[str]:
    """Describe a manifest: its clips by label, data set, attack and split, people, notes, other files.

    Parameters
    ----------
    name : str
        The data set, as `read_dataset` returns it.

    Returns
    -------
    list of str
        Lines without line ends.
    """
    clips = manifest.clips.drop_duplicates("clip")
    files = "" if len(clips) == len(manifest.clips) else f" in {len(manifest.clips):,} files"
    lines = [f"{DATASETS[name].title}: {len(clips):,} clips{files}", "", *_table(clips), "", *_people(clips)]
    lines += [f"- {note}" for note in manifest.notes]
    if manifest.skipped.empty:
        lines += ["", "No file was left out, and none is known to be missing."]
    for outcome, what in OUTCOMES.items():
        lines += _files(manifest.skipped[manifest.skipped["outcome"] == outcome], what)
    return lines


def _table(clips: pd.DataFrame) -> list[str]:
    """Count the clips, real and fake, in aligned columns."""
    rows = [("", "real", "fake", "total"), _counts("clips", clips)]
    fakes = clips[clips["label"] == 1]
    for title, column, part in (
        ("data set", "dataset", clips),
        ("attack", "attack", fakes),
        ("split", "split", clips),
    ):
        groups = {str(value): group for value, group in part.groupby(column)}
        if set(groups) - {""} and (column != "dataset" or len(groups) > 1):
            values = sorted(
                groups, key=lambda value: (*(value != split for split in SPLITS), value == "", value)
            )
            rows += [(f"by {title}", "", "", ""), *(_counts(f"  {v or 'none'}", groups[v]) for v in values)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return [_line(row, widths) for row in rows]


def _counts(title: str, clips: pd.DataFrame) -> tuple[str, str, str, str]:
    fakes = int(clips["label"].sum())
    real, fake = (f"{count:,}" if count else "-" for count in (len(clips) - fakes, fakes))
    return title, real, fake, f"{len(clips):,}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = "".join(f"   {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
    return f"{row[0]:<{widths[0]}}{numbers}".rstrip()


def _people(clips: pd.DataFrame) -> list[str]:
    """Count the identities, as targets or sources, and the clips that name none."""
    shown = clips[["clip", "identity", "source_identity"]].melt(id_vars="clip", value_name="who")
    seen = shown[shown["who"] != ""].groupby("who")["clip"].nunique()
    unknown = int((clips["identity"] == "").sum())
    once = int((seen == 1).sum())
    lines = [f"Identities: {len(seen):,} (seen in one clip only: {once:,})."] if len(seen) else []
    return [*lines, *([f"Clips that name no identity: {unknown:,}."] if unknown else [])]


def _files(rows: pd.DataFrame, what: str) -> list[str]:
    """Count files and name the first, each with its reason."""
    if rows.empty:
        return []
    first = list(zip(rows["path"][:FIRST], rows["reason"][:FIRST], strict=True))
    width = max(len(path) for path, _ in first)
    lines = [f"  {path:<{width}}  {reason}" for path, reason in first]
    more = [f"  and {len(rows) - FIRST:,} more"] if len(rows) > FIRST else []
    return ["", f"{what} ({len(rows):,}):", *lines, *more]
