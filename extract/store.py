"""The caches on disk: content hashes, face crops, features. Complete or absent, never half.

    hashes/<hash of the path>.json               what a file's content hash was, at which size and time
    faces/<face settings>/<content>/             0000.png, 0001.png, ... and index.json
    features/<features key>/part-<id>/           X.npy (n, d) float32 and rows.parquet (content, face)
    features/<features key>/matrix-<id>/         the same of the faces that were asked for, in one file
    scratch/                                     what is being written; renamed into place when complete

The key of everything is the clip's bytes; labels and identities are in the manifest alone.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from extract.errors import UnreadableClip, first_line
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
from extract.matrices import Matrix, feature_index, is_unused, matrix_name, open_matrix, write_matrix
from extract.media.frames import Image
from extract.names import as_text

# Crops are written once and read for every extractor. Unpacked they are read in 0.22 ms in place of 0.74 ms and more,
# and written in a seventh of the time (224 pixels, one core); they take 151 KB in place of some 80.
UNPACKED = [cv2.IMWRITE_PNG_COMPRESSION, 0]


@dataclass(frozen=True)
class Store:
    """The caches below one folder, which several processes and machines may share."""

    root: Path

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    def sweep(self) -> None:
        """Delete scratch that killed writers left behind more than a day ago, and matrices unused for a week."""
        sweep(self.scratch)
        for matrix in self._matrices():
            if is_unused(matrix):
                with contextlib.suppress(PermissionError):  # in a cache that is ours to read only
                    discard(matrix, scratch=self.scratch)

    # -- hashes ----------------------------------------------------------------------------------------------

    def content(self, path: Path) -> str:
        """Return the SHA-256 of a file, remembered for its path, size and modification time.

        Raises
        ------
        UnreadableClip
            The file is empty or cannot be read. What goes wrong in the store itself is an `OSError`.
        """
        with _reading():
            status = path.stat()
        if status.st_size == 0:
            raise UnreadableClip("empty file", code="E_CLIP_EMPTY")
        seen = {"path": as_text(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
        record = read_json(self._hash_file(path))
        if record is not None and {key: record.get(key) for key in seen} == seen:
            return str(record["content"])
        with _reading():
            content = hash_file(path)
        write_json(self._hash_file(path), {**seen, "content": content}, scratch=self.scratch)
        return content

    def check_unchanged(self, path: Path, content: str) -> None:
        """Refuse a file that holds other bytes than when it was hashed; one that was never hashed passes.

        Raises
        ------
        UnreadableClip
        """
        if read_json(self._hash_file(path)) is not None and self.content(path) != content:
            raise UnreadableClip("changed while it was in use; run again", code="E_CLIP_CHANGED")

    def _hash_file(self, path: Path) -> Path:
        return self.root / "hashes" / f"{digest(as_text(path))[:32]}.json"

    # -- faces -----------------------------------------------------------------------------------------------

    def faces_folder(self, key: str, content: str) -> Path:
        return self.root / "faces" / key / content

    def face_index(self, key: str, content: str) -> dict[str, Any] | None:
        """Return what is known of a clip's faces, or None if it was not searched yet.

        The index has ``faces``, a list of frame, box, confidence, landmarks, turned, size, sharpness and outside, and
        of the clip ``searched`` (frames), ``people`` and ``note``, all as in `Faces`.
        """
        index = read_json(self.faces_folder(key, content) / "index.json")
        return index if index is None else dict(index)

    def write_faces(self, key: str, content: str, *, faces: Faces) -> None:
        """Store a clip's crops as PNG, with their index."""
        with whole_directory(self.faces_folder(key, content), scratch=self.scratch) as folder:
            for i, crop in enumerate(faces.crops):
                write_png(folder / f"{i:04d}.png", crop, options=UNPACKED)
            clip = {name: getattr(faces, name) for name in ("searched", "people", "note")}
            write_json(folder / "index.json", {"faces": _entries(faces), **clip})

    def read_face(self, key: str, content: str, *, face: int) -> Image:
        """Read one crop, (s, s, 3) uint8 RGB."""
        return read_png(self.faces_folder(key, content) / f"{face:04d}.png")

    # -- features --------------------------------------------------------------------------------------------

    def feature_index(self, key: str) -> pd.DataFrame:
        """Return where each stored feature row is: ``content``, ``face``, ``part`` (path), ``row``; no repeats."""
        return feature_index(self._features_folder(key))

    def write_features(self, key: str, rows: pd.DataFrame, *, X: npt.NDArray[np.float32]) -> None:
        """Store features (n, d) float32 of n faces, given as rows of ``content`` and ``face``."""
        name = digest(rows[["content", "face"]].to_numpy().tolist())[:32]
        final = self._features_folder(key) / f"part-{name}"
        with whole_directory(final, scratch=self.scratch) as folder:
            rows[["content", "face"]].to_parquet(folder / "rows.parquet", index=False)
            np.save(folder / "X.npy", X, allow_pickle=False)

    def has_features(self, key: str) -> bool:
        """Whether any features are stored under a key."""
        return any(self._features_folder(key).glob("part-*"))

    def gathered(self, key: str, rows: pd.DataFrame) -> Matrix | None:
        """Return what `gather` returns where it was gathered before, else None; no part is looked at."""
        return open_matrix(self._features_folder(key) / matrix_name(rows))

    def gather(self, key: str, rows: pd.DataFrame) -> Matrix:
        """Return the stored features of faces, given as rows of ``content`` and ``face``, mapped from one file.

        The file is made when first asked for, and kept beside the parts until nobody has asked for a week.

        Returns
        -------
        (n, d) float32
            A read-only `numpy.memmap`, in the order of the rows. It stays readable when the file is deleted; processes
            that are given it open the file by its name.

        Raises
        ------
        LookupError
            A face whose features are not stored.

        Notes
        -----
        Memory grows with the rows, not with their features. Measured for 1,000,000 x 1,024 (4.1 GB) in 7,813 parts:
        0.85 GB at the peak, packages included, 17 s; found again in 0.2 s.
        """
        features = self._features_folder(key)
        folder = features / matrix_name(rows)
        if (X := open_matrix(folder)) is None:
            try:
                with whole_directory(folder, scratch=self.scratch) as unfinished:
                    write_matrix(unfinished, rows, features=features)
            except PermissionError:  # a cache that is ours to read only: then in memory
                with tempfile.TemporaryDirectory() as elsewhere:
                    write_matrix(Path(elsewhere), rows, features=features)
                    return np.asarray(np.load(Path(elsewhere) / "X.npy"), np.float32)
            X = open_matrix(folder)
        if X is None:
            raise LookupError(f"Expected {folder}, written just now; it was purged meanwhile. Run again.")
        return X

    def _features_folder(self, key: str) -> Path:
        return self.root / "features" / key

    def _matrices(self) -> list[Path]:
        return list((self.root / "features").glob("**/matrix-*"))

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
        parts = [part.parent for part in (self.root / "features").glob("**/part-*/rows.parquet")]
        deleted = sum(self._purge_part(part, contents) for part in parts)
        for folder in faces:
            discard(folder, scratch=self.scratch)
        # Once no part names the clips, and scratch before what it is renamed to: nothing gathered meanwhile is missed.
        unfinished = [f for f in self.scratch.glob("*") if _is_unfinished_trace(f, contents, path)]
        for entry in unfinished:
            remove(entry)
        matrices = [matrix for matrix in self._matrices() if _is_matrix_trace(matrix, contents)]
        for matrix in matrices:  # whole: it is gathered again from the parts when it is asked for
            discard(matrix, scratch=self.scratch)
        for file in hashes:  # last: they are how a purge that was killed finds the clip again
            file.unlink(missing_ok=True)
        return deleted + len(hashes) + len(faces) + len(unfinished) + len(matrices)

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


def _entries(faces: Faces) -> list[dict[str, Any]]:
    """Return what the index says of each face."""
    columns: dict[str, npt.NDArray[Any]] = {
        "frame": faces.frames,
        "box": faces.boxes,
        "confidence": faces.confidences,
        "landmarks": faces.landmarks,
        "turned": faces.turned,
        "size": faces.sizes,
        "sharpness": faces.sharpness,
        "outside": faces.outside,
    }
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Turn what the operating system says of a clip into an error about that clip."""
    try:
        yield
    except OSError as error:  # no permission, gone meanwhile, a broken disk
        reason = f"cannot be read: {error.strerror or first_line(error)}"
        raise UnreadableClip(reason, code="E_CLIP_NOT_READ") from error


def write_png(path: Path, image: Image, *, options: Sequence[int] = ()) -> None:
    """Write an RGB image without loss, with OpenCV's options."""
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
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
        record["content"] in contents or (path is not None and record["path"] == as_text(path))
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
        named = json.dumps(as_text(path), ensure_ascii=False) if path else None
        return any(content in text for content in contents) or (named is not None and named in text)
    try:
        return _names(entry, contents)
    except (OSError, ValueError):
        # Rows are written first: where they lack, half or all, features are what a killed deletion left of somebody.
        return (entry / "X.npy").exists()


def _is_matrix_trace(matrix: Path, contents: Sequence[str]) -> bool:
    try:
        return _names(matrix, contents)
    except FileNotFoundError:  # swept by another process just now
        return False


def _names(folder: Path, contents: Sequence[str]) -> bool:
    """Whether a part or a matrix has rows of a clip."""
    table = pd.read_parquet(folder / "rows.parquet", columns=["content"])
    return bool(table["content"].isin(contents).any())
