"""Faces as a tree of images, with a report that says what was drawn and that all of it is there."""

from pathlib import Path

import pandas as pd

from benchmarks.data import draw_faces, read_data, recognise_data
from benchmarks.machine import Machine
from benchmarks.suite import Suite
from extract.datasets.crops import REPORT, TABLE
from extract.errors import RequestError
from extract.faces import faces_key
from extract.files import write_bytes
from extract.pipeline import export_image_folder, find_faces, identify, image_folder_paths


def export_faces(suite: Suite, out: Path, *, machine: Machine) -> pd.DataFrame:
    """Find the faces of a suite's clips, draw from them as it says, and write them for torchvision's ImageFolder.

    Returns
    -------
    DataFrame, one line a folder of the tree
        ``folder``, ``split``, ``label``; ``faces_found``, ``clips_found`` before the draw; ``faces``, ``clips``
        after it; ``files``, counted on disk; ``share``, of the split's faces after the draw. Also written to
        ``verification.csv`` in the tree.

    Raises
    ------
    RequestError
        As `run` for the data; fewer faces than are to be drawn; files in the tree that are not of this export.
    """
    suite = recognise_data(suite, machine=machine)
    assert suite.data is not None  # the command line has seen to it
    clips = identify(read_data(suite.data, machine=machine), machine.store, track=machine.track)
    found, clips = find_faces(
        clips, suite.faces, store=machine.store, workers=machine.face_workers, track=machine.track
    )
    for line in clips.skipped.itertuples():
        machine.say(f"{line.outcome}: {line.path}: {line.reason} [{line.code}]")
    drawn = draw_faces(found, suite)
    _check_empty(out, {*image_folder_paths(drawn)[0], TABLE, REPORT})
    export_image_folder(drawn, out, store=machine.store, faces=faces_key(suite.faces), track=machine.track)
    report = _count(found, drawn, out)
    if (report["faces"] != report["files"]).any():
        raise AssertionError(f"The tree at {out} does not hold what was written.")
    write_bytes(out / REPORT, report.to_csv(index=False).encode())
    return report


def describe_export(report: pd.DataFrame) -> list[str]:
    """Write the report as lines for a terminal."""
    shown = report.drop(columns=["split", "label"])
    shown["share"] = [f"{100 * share:.1f} %" for share in report["share"]]
    titles = [column.replace("_", " ") for column in shown]
    written = {column: "{:,}".format for column in shown.select_dtypes("number")}
    return [
        *shown.to_string(index=False, header=titles, formatters=written).splitlines(),
        "Verified: every folder holds the faces that were drawn, and no other file.",
    ]


def _count(found: pd.DataFrame, drawn: pd.DataFrame, out: Path) -> pd.DataFrame:
    by = ["split", "label"]
    before, after = (
        rows.groupby(by).agg(faces=("face", "size"), clips=("clip", "nunique")) for rows in (found, drawn)
    )
    report = before.add_suffix("_found").join(after, how="left").fillna(0).astype(int).reset_index()
    names = ["fake" if label else "real" for label in report["label"]]
    folders = [f"{s}/{n}" if s else n for s, n in zip(report["split"], names, strict=True)]
    files = [len(list((out / folder).glob("*"))) for folder in folders]
    share = report["faces"] / report.groupby("split")["faces"].transform("sum")
    report.insert(0, "folder", folders)
    return report.assign(files=files, share=share.fillna(0))


def _check_empty(out: Path, own: set[str]) -> None:
    """Refuse a tree with files that this export does not write, before it writes any."""
    for leftover in out.rglob(".tmp-*"):  # of an export that was killed
        leftover.unlink(missing_ok=True)
    others = [
        path for path in out.rglob("*") if path.is_file() and path.relative_to(out).as_posix() not in own
    ]
    if others:
        raise RequestError(
            f"Expected an empty folder or this export's own; got {len(others):,} other files in {out}, first "
            f"{others[0].relative_to(out)}. The folder holds other files: choose an empty one.",
            code="E_FOLDER_TAKEN",
        )
