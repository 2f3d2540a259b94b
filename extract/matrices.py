"""The features of many parts gathered into one file, which classifiers map into memory instead of loading it.

    features/<features key>/matrix-<hash of the rows>/     X.npy (n, d) float32 and rows.parquet (content, face)

A matrix repeats what parts hold: the first of all faces doubles the space that their features take. It can be deleted
at any time; what it costs is to gather it again.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

Matrix = npt.NDArray[np.float32]

FACE = ["content", "face"]  # the columns that tell a stored face from all others
BLOCK = 4096  # rows in memory at a time, however many a part holds: 17 MB of 1,024 features
EMPTY = pa.table({"content": pa.array([], pa.string()), "face": pa.array([], pa.int64())})
UNUSED_SECONDS = (
    7 * 24 * 3600.0
)  # longer than a search takes: its processes open the matrix again by its name


def matrix_name(rows: pd.DataFrame) -> str:
    """Name the matrix of these faces, given as rows of ``content`` and ``face``, in this order."""
    seen = hashlib.sha256("\n".join(rows["content"].tolist()).encode())
    seen.update(rows["face"].to_numpy("<i8").tobytes())
    return f"matrix-{seen.hexdigest()[:32]}"


def open_matrix(folder: Path) -> Matrix | None:
    """Map a matrix (n, d) float32 read-only, and remember that it was used; None if it is not there."""
    with contextlib.suppress(OSError):  # not there, or in a cache that is ours to read only
        os.utime(folder)
    try:
        X: Matrix = np.load(folder / "X.npy", mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return None
    return X


def is_unused(folder: Path) -> bool:
    """Whether nobody has asked for a matrix for `UNUSED_SECONDS`."""
    try:
        return time.time() - folder.stat().st_mtime > UNUSED_SECONDS
    except FileNotFoundError:  # deleted by another process just now
        return False


def write_matrix(folder: Path, rows: pd.DataFrame, *, features: Path) -> None:
    """Gather the features of n faces from the parts in a folder, in the order of their rows.

    Memory grows with the table of rows, not with the features: they are copied `BLOCK` rows at a time, and written
    as a file is, not through a map, where a full disk would kill the process.

    Raises
    ------
    LookupError
        A face whose features are not stored.
    ValueError
        Parts that differ in the number of features.
    """
    # The rows first: they tell a purge about whom a matrix is whose writer was killed.
    rows[FACE].to_parquet(folder / "rows.parquet", index=False)
    places = _find(rows[FACE], features)
    shape = len(places), _open_part(places["part"].iloc[0]).shape[1]
    X = np.lib.format.open_memmap(folder / "X.npy", mode="w+", dtype=np.float32, shape=shape)
    with (folder / "X.npy").open("r+b") as file:
        for to, block in _blocks(places):
            if block.shape[1] != X.shape[1]:
                raise ValueError(
                    f"Expected {X.shape[1]} features of every face in {features}; got {block.shape[1]} of one. "
                    "Delete that folder and run again."
                )
            for run in np.split(np.arange(len(to)), np.flatnonzero(np.diff(to) != 1) + 1):
                file.seek(X.offset + int(to[run[0]]) * X.strides[0])
                file.write(block[run[0] : run[-1] + 1].data)


def _find(rows: pd.DataFrame, features: Path) -> pd.DataFrame:
    """Return part and row beside each face."""
    places = rows.merge(feature_index(features), on=FACE, how="left", validate="1:1")
    if places["part"].isna().any():
        lost = places[places["part"].isna()].iloc[0]
        raise LookupError(
            f"Expected stored features of face {lost['face']} of {lost['content']}; there are none. Run again."
        )
    return places


def feature_index(features: Path) -> pd.DataFrame:
    """Return where each feature row of a folder's parts is: ``content``, ``face``, ``part``, ``row``; no repeats.

    ``part`` is categorical: the paths of the parts.
    """
    parts = sorted(features.glob("part-*/rows.parquet"))
    tables = [_read_rows(part) for part in parts]
    sizes = [len(table) for table in tables]
    whole = pa.concat_tables([EMPTY, *tables]).to_pandas()
    part = np.repeat(np.arange(len(parts)), sizes)
    row = np.arange(len(whole)) - np.repeat(np.cumsum([0, *sizes])[:-1], sizes)
    paths = pd.Categorical.from_codes(part, [str(path.parent) for path in parts])
    return whole.assign(part=paths, row=row).drop_duplicates(FACE)


def _read_rows(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:  # a fifth of the time that pandas takes
        return file.read(FACE).cast(EMPTY.schema)


def _open_part(part: str) -> Matrix:
    X: Matrix = np.load(Path(part) / "X.npy", mmap_mode="r", allow_pickle=False)
    return X


def _blocks(places: pd.DataFrame) -> Iterator[tuple[npt.NDArray[np.intp], Matrix]]:
    """Yield the features (k, d) of at most `BLOCK` rows of one part, with the places (k,) where they belong."""
    rows = places["row"].to_numpy(np.int64)
    for part, to in places.groupby("part", sort=False, observed=True).indices.items():
        for start in range(0, len(to), BLOCK):
            here = to[start : start + BLOCK]
            # Opened for each block, because what was read through a map stays in memory until the map is closed.
            yield here, np.asarray(_open_part(str(part))[rows[here]], np.float32)
