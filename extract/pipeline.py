"""Manifest -> faces -> features, each step computed once and kept in the store."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from extract.errors import RequestError, UnreadableClip
from extract.extractors import Extractor, features_key
from extract.faces import FaceSettings
from extract.faces.quality import say_no_face
from extract.features import compute_features
from extract.files import write_bytes
from extract.manifest import OPTIONAL, Manifest, Reason, skip_table
from extract.media.kinds import is_video
from extract.names import file_of, stem_of
from extract.progress import Track, no_progress
from extract.searching import Clip, search_clips
from extract.store import Store, write_png
from extract.workers import Workers


class NoFaces(RequestError):
    """Clips that show no usable face, all of them."""

    default_code = "E_NO_FACES"


@dataclass(frozen=True)
class Features:
    """Features of faces.

    Attributes
    ----------
    X : (n, d) float32
    rows : DataFrame of n rows, as `find_faces` returns them
    """

    X: npt.NDArray[np.float32]
    rows: pd.DataFrame


def identify(manifest: Manifest, store: Store, *, track: Track = no_progress) -> Manifest:
    """Add each file's SHA-256 as ``content``; leave out empty, unreadable and repeated files.

    Raises
    ------
    RequestError
        The same bytes stand under two labels.
    """
    lost, contents = {}, {}
    for path in track(manifest.clips["path"].tolist(), "hashing", len(manifest.clips)):
        try:
            contents[path] = store.content(file_of(path))
        except UnreadableClip as error:
            lost[path] = Reason.of(error)
    manifest = manifest.leave_out(lost)
    clips = manifest.clips.assign(content=[contents[path] for path in manifest.clips["path"]])
    _check_labels(clips)
    first = clips.drop_duplicates("content").set_index("content")["path"]
    repeats = clips[clips.duplicated("content")]
    again = {
        row.path: Reason("E_CLIP_REPEATED", f"same bytes as {first[row.content]}")
        for row in repeats.itertuples()
    }
    kept = clips.drop_duplicates("content").reset_index(drop=True)
    skipped = pd.concat([manifest.skipped, skip_table(again)], ignore_index=True)
    return replace(manifest, clips=kept, skipped=skipped)


def find_faces(
    manifest: Manifest,
    settings: FaceSettings,
    *,
    store: Store,
    workers: Workers = 1,
    track: Track = no_progress,
) -> tuple[pd.DataFrame, Manifest]:
    """Crop the faces of every clip that the store does not hold yet, as `run_units` does units.

    Returns
    -------
    rows : DataFrame, one line a face
        ``content``, ``face`` (number within the clip), ``frame``, ``x1``, ``y1``, ``x2``, ``y2`` (pixels of the
        full frame), ``confidence``, and the clip's columns of the manifest.
    manifest : Manifest
        Without the clips that gave no face, which are among its skipped ones, with the reason.

    Raises
    ------
    RequestError
        A clip without a usable face where ``no_face = "fail"``; no clip with a face at all.
    """
    names = dict(zip(manifest.clips["content"], manifest.clips["path"], strict=True))
    clips = [Clip(str(file_of(path)), content) for content, path in names.items()]
    searched = search_clips(clips, settings, store=store, workers=workers)
    found = {one.clip: one for one in track(searched, "faces (clips)", len(clips))}
    answers = [found[clip] for clip in clips]  # in their order, not in that of the workers
    lost = {names[one.clip.content]: Reason(one.code, one.reason) for one in answers if one.index is None}
    indexes = {one.clip.content: one.index for one in answers if one.index is not None}
    lost |= {names[c]: _no_face(index) for c, index in indexes.items() if not index["faces"]}
    if lost and settings.no_face == "fail":
        path, reason = next(iter(lost.items()))
        raise RequestError(
            f'Expected a face in every clip (no_face = "fail"); got {reason.text} in {path}.',
            code=reason.code,
        )
    manifest = manifest.leave_out(lost).remark(
        {
            names[c]: Reason("E_CLIP_PARTIAL", note)
            for c, index in indexes.items()
            if index["faces"] and (note := _note(index))
        }
    )
    if manifest.clips.empty:
        raise NoFaces(
            f"Expected faces in the clips; got none in {len(clips)} clips, first {_example(lost)}. "
            'Check the files, or set detector = "none" for images that are face crops already.'
        )
    return _rows(manifest.clips, indexes), manifest


def load_features(
    rows: pd.DataFrame,
    extractor: Extractor,
    *,
    store: Store,
    faces: str,
    workers: Workers = 1,
    track: Track = no_progress,
) -> Features:
    """Return the features of faces, computing those that the store does not hold yet.

    Parameters
    ----------
    rows : DataFrame
        As `find_faces` returns them.
    faces : str
        The `faces_key` of the crops.
    workers : int or Cluster
        See `compute_features`.
    """
    key = features_key(extractor, faces)
    if (X := store.gathered(key, rows)) is not None:
        return Features(X, rows)
    compute_features(rows, [extractor], store=store, faces=faces, workers=workers, track=track)
    return Features(store.gather(key, rows), rows)


def export_image_folder(
    rows: pd.DataFrame, out: Path, *, store: Store, faces: str, track: Track = no_progress
) -> pd.DataFrame:
    """Write crops as the tree that torchvision's ImageFolder reads, with ``faces.csv``: what each of them is.

    ``[split/]real|fake/<clip>_<frame>.png``, readable again as the data set ``crops``. Files that are frames of one
    clip are numbered in their order. Clips of the same name get the first digits of their content hash, further faces
    of a frame a ``+1``.

    Returns
    -------
    DataFrame, one line a face
        The manifest of the tree, paths relative to `out`.
    """
    paths, clips = image_folder_paths(rows)
    table = []
    lines = list(zip(rows.itertuples(), paths, clips, strict=True))
    for row, path, clip in track(lines, "exporting", len(lines)):
        write_png(out / path, store.read_face(faces, row.content, face=row.face))
        known = {column: getattr(row, column) for column in OPTIONAL}
        table.append({"path": path, "label": row.label, **known, "clip": clip})
    written = pd.DataFrame(table)
    write_bytes(out / "faces.csv", written.to_csv(index=False).encode())
    return written


def image_folder_paths(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return, for each face, its file below the tree that `export_image_folder` writes, and the clip's name there."""
    clips = rows.groupby("clip")
    # A video, or a still without a clip's name, goes by its own name; frames go by their clip's.
    alone = (clips["content"].transform("nunique") == 1) & (
        (rows["clip"] == rows["path"]) | rows["path"].map(is_video).astype(bool)
    )
    stems = rows["path"].where(alone, rows["clip"]).map(stem_of)
    frames = rows["frame"].where(alone, clips.cumcount())
    shared = rows.assign(stem=stems).groupby(["stem", "label", "split"])["clip"].transform("nunique") > 1
    names = stems.where(~shared, stems + "-" + clips["content"].transform("first").str[:8])
    nth = rows.assign(frame=frames).groupby(["clip", "frame"]).cumcount()
    halves = ["fake" if label else "real" for label in rows["label"]]
    folders = [
        f"{split}/{half}" if split else half for split, half in zip(rows["split"], halves, strict=True)
    ]
    named = [f"{folder}/{name}" for folder, name in zip(folders, names, strict=True)]
    paths = [
        f"{clip}_{frame:06d}{f'+{n}' if n else ''}.png"
        for clip, frame, n in zip(named, frames, nth, strict=True)
    ]
    return paths, named


def _no_face(index: dict[str, Any]) -> Reason:
    return Reason("E_NO_FACE", say_no_face(index["searched"], index["note"]))


def _note(index: dict[str, Any]) -> str:
    without = index["searched"] - len({face["frame"] for face in index["faces"]})
    notes = [index["note"], f"no face used in {without} of {index['searched']} frames" if without else ""]
    return "; ".join(note for note in notes if note)


def _rows(clips: pd.DataFrame, indexes: dict[str, dict[str, Any]]) -> pd.DataFrame:
    lines = [
        (content, number, face["frame"], *face["box"], face["confidence"])
        for content in clips["content"]
        for number, face in enumerate(indexes[content]["faces"])
    ]
    columns = ["content", "face", "frame", "x1", "y1", "x2", "y2", "confidence"]
    return pd.DataFrame(lines, columns=columns).merge(clips, on="content", validate="m:1")


def _check_labels(clips: pd.DataFrame) -> None:
    mixed = clips.groupby("content")["label"].transform("nunique") > 1
    if mixed.any():
        content = clips.loc[mixed, "content"].iloc[0]
        pair = clips[clips["content"] == content].drop_duplicates("label")["path"].tolist()
        raise RequestError(
            f"Expected one label for the same bytes; got both for {pair[0]} and {pair[1]}. Remove or relabel one.",
            code="E_LABEL_CONFLICT",
        )


def _example(lost: dict[str, Reason]) -> str:
    path, reason = next(iter(lost.items()), ("none", Reason("", "no clip")))
    return f"{path} ({reason.text})"
