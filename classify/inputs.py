"""What the units of a search share: rows, labels and folds, which a unit names instead of carrying them."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classify.fitting import Matrix
from classify.groups import Ints
from classify.metrics import Labels
from classify.protocols import Fold
from extract.files import digest, read_json, write_json, write_saved

OPEN = 4  # inputs that a process keeps open: features are mapped, labels and folds are small


@dataclass(frozen=True)
class Inputs:
    """Rows, labels and folds of a search.

    Those that were saved travel to another process as the name of their folder, and are opened there once; others as
    their arrays, which joblib maps between the processes of one machine.

    Attributes
    ----------
    X : (n, d) float32
    y : (n,) int, 1 = fake
    folds : sequence of Fold
    folder : Path, optional
        Where they were saved, and where finished units are.
    key : str
        Stands for all of it, for what processes keep from one unit to the next: new with every search.
    """

    X: Matrix
    y: Labels
    folds: Sequence[Fold]
    folder: Path | None = None
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.folder is not None:
            return open_inputs, (self.folder, self.key)
        return Inputs, (self.X, self.y, self.folds, None, self.key)


def save_inputs(X: Matrix, y: Labels, folds: Sequence[Fold], *, parent: Path) -> Inputs:
    """Save inputs in a folder below `parent` that is named by all of them, and return them.

    Features that are mapped from a file stay where they are, and are known by its name. What was saved before is as
    good: a search that is repeated finds its finished units there.
    """
    arrays: dict[str, Any] = {"y": y}
    for number, fold in enumerate(folds):
        arrays |= {f"train {number}": fold.train, f"test {number}": fold.test}
    file = _file_of(X)
    named = {"X": _hash(X) if file is None else str(file)}
    folder = parent.resolve() / digest(named | {n: _hash(array) for n, array in arrays.items()})[:32]
    if file is None:
        file = folder / "X.npy"
        if not file.is_file():
            write_saved(file, lambda stream: np.save(stream, X, allow_pickle=False))
    write_saved(folder / "rows.npz", lambda stream: np.savez(stream, **arrays))
    write_json(folder / "inputs.json", {"features": str(file), "folds": len(folds)})
    return Inputs(X, y, folds, folder)


@lru_cache(OPEN)
def open_inputs(folder: Path, key: str) -> Inputs:
    """Open what `save_inputs` saved, once a process and search: later, other features may stand there."""
    record = read_json(folder / "inputs.json")
    if record is None:
        raise FileNotFoundError(f"Expected a search in {folder}; there is none. Is that path seen here?")
    with np.load(folder / "rows.npz") as arrays:
        folds = [Fold(arrays[f"train {k}"], arrays[f"test {k}"]) for k in range(record["folds"])]
        y = arrays["y"]
    X = np.load(record["features"], mmap_mode="r", allow_pickle=False)
    return Inputs(X, y, folds, folder, key)


def rows_of(folds: Sequence[Fold]) -> Ints:
    """Return the rows that folds train on or test: (m,) int64, ascending."""
    return np.unique(np.concatenate([part for fold in folds for part in (fold.train, fold.test)]))


def _hash(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _file_of(X: Matrix) -> Path | None:
    """Return the .npy file that all of an array is mapped from, as it stands there, if there is one."""
    if not isinstance(X, np.memmap) or X.mode == "c" or not str(X.filename).endswith(".npy"):
        return None
    try:
        whole = np.load(str(X.filename), mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:  # removed since; the rows are still there
        return None
    here, there = ((part.shape, part.dtype, part.offset, part.strides) for part in (X, whole))
    return Path(str(X.filename)).resolve() if here == there else None
