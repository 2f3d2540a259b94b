"""The caches on disk: content hashes, face crops, features. Complete or absent, never half.

    hashes/<hash of the path>.json               what a file's content hash was, at which size and time
    faces/<face settings>/<content>/             0000.png, 0001.png, ... and index.json
    features/<features key>/part-<id>/           X.npy (n, d) float32 and rows.parquet (content, face)
    scratch/                                     what is being written; renamed into place when complete

The key of everything is the clip's bytes; labels and identities are in the manifest alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from extract.faces import Faces
from extract.files import (
    digest,
    discard,
    hash_file,
    read_json,
    remove,
    sweep,
    whole_directory,
    write_bytes,
    write_json,
)
from extract.video import Image

# Crops are written once and read for every extractor: of all levels, strategies and filters this reads fastest.
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # since OpenCV 4.12
    PNG += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]


@dataclass(frozen=True)
class Store:
    """The caches below one folder, which several processes and machines may share."""

    root: Path

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    def sweep(self) -> None:
        """Delete scratch that killed writers left behind more than a day ago."""
        sweep(self.scratch)

    # -- hashes ----------------------------------------------------------------------------------------------

    def content(self, path: Path) -> str:
        """Return the SHA-256 of a file, remembered for its path, size and modification time."""
        status = path.stat()
        seen = {"path": str(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
        record = read_json(self._hash_file(path))
        if record is not None and {key: record.get(key) for key in seen} == seen:
            return str(record["content"])
        content = hash_file(path)
        write_json(self._hash_file(path), {**seen, "content": content}, scratch=self.scratch)
        return content

    def _hash_file(self, path: Path) -> Path:
        return self.root / "hashes" / f"{digest(str(path))[:32]}.json"

    # -- faces -----------------------------------------------------------------------------------------------

    def faces_folder(self, key: str, content: str) -> Path:
        return self.root / "faces" / key / content

    def face_index(self, key: str, content: str) -> dict[str, Any] | None:
        """Return what is known of a clip's faces, or None if it was not searched yet.

        The index has ``faces`` (a list of frame, box, confidence), ``searched`` (frames) and ``note``.
        """
        index = read_json(self.faces_folder(key, content) / "index.json")
        return index if index is None else dict(index)

    def write_faces(self, key: str, content: str, *, faces: Faces) -> None:
        """Store a clip's crops as PNG, with their index."""
        with whole_directory(self.faces_folder(key, content), scratch=self.scratch) as folder:
            for i, crop in enumerate(faces.crops):
                write_png(folder / f"{i:04d}.png", crop)
            rows = zip(faces.frames.tolist(), faces.boxes.tolist(), faces.confidences.tolist(), strict=True)
            entries = [{"frame": f, "box": b, "confidence": c} for f, b, c in rows]
            write_json(
                folder / "index.json", {"faces": entries, "searched": faces.searched, "note": faces.note}
            )

    def read_face(self, key: str, content: str, *, face: int) -> Image:
        """Read one crop, (s, s, 3) uint8 RGB."""
        return read_png(self.faces_folder(key, content) / f"{face:04d}.png")

    # -- features --------------------------------------------------------------------------------------------

    def feature_index(self, key: str) -> pd.DataFrame:
        """Return where each stored feature row is: ``content``, ``face``, ``part`` (path), ``row``; no repeats."""
        parts = sorted((self.root / "features" / key).glob("part-*/rows.parquet"))
        tables = [
            pd.read_parquet(part).assign(part=str(part.parent), row=lambda t: np.arange(len(t)))
            for part in parts
        ]
        if not tables:
            return pd.DataFrame({"content": [], "face": [], "part": [], "row": []}).astype(
                {"content": "str", "face": int, "part": "str", "row": int}
            )
        return pd.concat(tables, ignore_index=True).drop_duplicates(["content", "face"])

    def write_features(self, key: str, rows: pd.DataFrame, *, X: npt.NDArray[np.float32]) -> None:
        """Store features (n, d) float32 of n faces, given as rows of ``content`` and ``face``."""
        name = digest(rows[["content", "face"]].to_numpy().tolist())[:32]
        final = self.root / "features" / key / f"part-{name}"
        with whole_directory(final, scratch=self.scratch) as folder:
            rows[["content", "face"]].to_parquet(folder / "rows.parquet", index=False)
            np.save(folder / "X.npy", X, allow_pickle=False)

    def has_features(self, key: str) -> bool:
        """Whether any features are stored under a key."""
        return any((self.root / "features" / key).glob("part-*"))

    def read_features(self, places: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Gather rows of `feature_index`, at least one, into one (n, d) float32 array, in their order.

        Raises
        ------
        LookupError
            A row without a part: its features are not stored.
        """
        if places["part"].isna().any():
            lost = places[places["part"].isna()].iloc[0]
            raise LookupError(
                f"Expected stored features of face {lost['face']} of {lost['content']}; there are none. Run again."
            )
        parts = {
            part: np.load(Path(str(part)) / "X.npy", mmap_mode="r", allow_pickle=False)
            for part in places["part"].unique()
        }
        X = np.empty((len(places), next(iter(parts.values())).shape[1]), np.float32)
        for part, rows in places.groupby("part", sort=False).indices.items():
            X[rows] = parts[part][places["row"].to_numpy()[rows]]
        return X

    # -- the right to be forgotten ---------------------------------------------------------------------------

    def contents_of(self, path: Path) -> list[str]:
        """Return the content hashes that a file has now and had when it was last seen."""
        record = read_json(self._hash_file(path))
        seen = [record["content"]] if record else []
        return sorted({*seen, *([hash_file(path)] if path.is_file() else [])})

    def purge(self, contents: Sequence[str], *, path: Path | None = None) -> int:
        """Delete every trace of clips, and of one path, from the caches; returns the number of things deleted."""
        hashes = [f for f in (self.root / "hashes").glob("*.json") if _is_trace(read_json(f), contents, path)]
        faces = [f for f in (self.root / "faces").glob("*/*") if f.name in contents]
        unfinished = [f for f in self.scratch.glob("*") if _is_unfinished_trace(f, contents, path)]
        parts = [part.parent for part in (self.root / "features").glob("**/part-*/rows.parquet")]
        deleted = sum(self._purge_part(part, contents) for part in parts)
        for folder in faces:
            discard(folder, scratch=self.scratch)
        for entry in unfinished:
            remove(entry)
        for file in hashes:  # last: they are how a purge that was killed finds the clip again
            file.unlink(missing_ok=True)
        return deleted + len(hashes) + len(faces) + len(unfinished)

    def _purge_part(self, part: Path, contents: Sequence[str]) -> int:
        rows = pd.read_parquet(part / "rows.parquet")
        keep = ~rows["content"].isin(contents).to_numpy()
        if keep.all():
            return 0
        if keep.any():
            key = str(part.parent.relative_to(self.root / "features"))
            self.write_features(key, rows[keep].reset_index(drop=True), X=np.load(part / "X.npy")[keep])
        discard(part, scratch=self.scratch)
        return int((~keep).sum())


def write_png(path: Path, image: Image) -> None:
    """Write an RGB image without loss."""
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), PNG)
    if not done:
        raise OSError(f"Expected to encode {image.shape} as PNG for {path}; OpenCV could not.")
    write_bytes(path, data.tobytes())


def read_png(path: Path) -> Image:
    """Read an image as (h, w, 3) uint8 RGB."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise OSError(
            f"Expected a PNG image in {path}; it cannot be decoded. Delete its folder and run again."
        )
    return image.astype(np.uint8, copy=False)


def _is_trace(record: Any, contents: Sequence[str], path: Path | None) -> bool:
    return bool(record) and (
        record["content"] in contents or (path is not None and record["path"] == str(path))
    )


def _is_unfinished_trace(entry: Path, contents: Sequence[str], path: Path | None) -> bool:
    """Whether a scratch entry, of a writer that may have been killed anywhere, is about a clip."""
    if entry.name.split("-")[0] in contents:
        return True
    if entry.name.startswith(".tmp-"):
        try:
            text = entry.read_text(errors="replace")
        except FileNotFoundError:  # its writer finished just now
            return False
        return any(content in text for content in contents) or (path is not None and str(path) in text)
    try:
        return bool(pd.read_parquet(entry / "rows.parquet")["content"].isin(contents).any())
    except (OSError, ValueError):  # no rows yet, or half of them: then no features either
        return False
