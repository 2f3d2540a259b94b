"""Features of a million faces read and folded without loading them: seconds and peak memory of every step.

    python -m benchmarks.speed.store --faces 1000000 --dim 1024

A store of that size is written to a temporary folder (twice the features' size is needed), in parts as
`load_features` writes them. Each step then runs in a process of its own, so that its peak is its own.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from classify.folds import identity_folds
from classify.protocols import Fold
from extract.store import Store

KEY = "network/faces"
CLIP = 32  # faces a clip
PART = 128  # faces a part, as in extract.pipeline, which imports torch
BLOCK = 4096
PEOPLE = 2000


def table(faces: int) -> pd.DataFrame:
    """Return rows as `find_faces` does: five fakes a genuine clip, made between the ten people of a group."""
    number = np.arange(-(-faces // CLIP))
    fake, target = number % 6 > 0, number // 6 % PEOPLE
    source = target - target % 10 + (target + number % 6) % 10
    people = np.array([f"id{p}" for p in range(PEOPLE)])
    clips = pd.DataFrame(
        {
            "content": [hashlib.sha256(str(n).encode()).hexdigest() for n in number],
            "clip": [f"clips/{n:06d}.mp4" for n in number],
            "label": fake.astype(int),
            "identity": people[target],
            "source_identity": np.where(fake, people[source], ""),
            "attack": np.where(fake, "attack " + pd.Series(number % 6).astype(str), ""),
            "split": "",
        }
    )
    rows = clips.iloc[np.arange(faces) // CLIP].reset_index(drop=True)
    return rows.assign(face=np.arange(faces) % CLIP)


def build(store: Store, rows: pd.DataFrame, *, dim: int) -> None:
    """Write seeded features of all rows, a part at a time."""
    for start in range(0, len(rows), PART):
        part = rows.iloc[start : start + PART]
        X = np.random.default_rng(start).random((len(part), dim), np.float32)
        store.write_features(KEY, part, X=X)


def column_means(store: Store, rows: pd.DataFrame) -> list[npt.NDArray[np.float64]]:
    """Read each fold's training rows once, block by block."""
    name = store.gather(KEY, rows).filename  # type: ignore[attr-defined]
    means = []
    for fold in folds(store, rows):
        total = 0.0
        for start in range(0, len(fold.train), BLOCK):
            # Opened for each block: pages read through a map count as the process's until the map is closed.
            X = np.load(name, mmap_mode="r")
            total = total + X[fold.train[start : start + BLOCK]].sum(axis=0, dtype=np.float64)
        means.append(np.asarray(total) / len(fold.train))
    return means


def folds(store: Store, rows: pd.DataFrame) -> list[Fold]:
    """Divide rows by the people shown."""
    return identity_folds(rows, n_splits=5, protocol="target", seed=0)


# What is printed -> what is measured; in this order, so that the matrix is found from the second gathering on.
STEPS: dict[str, Callable[[Store, pd.DataFrame], object]] = {
    "the table of rows alone": lambda store, rows: None,
    "find what is stored": lambda store, rows: store.feature_index(KEY),
    "gather": lambda store, rows: store.gather(KEY, rows),
    "gather again: found": lambda store, rows: store.gather(KEY, rows),
    "five folds": folds,
    "read 5 training parts": column_means,
}


def peak_gb() -> float:
    """Return the most memory that this program has held, GB; `ru_maxrss` would count the parent's, too."""
    (line,) = (
        text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM")
    )
    return int(line.split()[1]) * 1024 / 1e9


def measure(step: str, root: Path, *, faces: int) -> dict[str, float]:
    """Carry out one step and time it."""
    store, rows = Store(root), table(faces)
    start = time.perf_counter()
    STEPS[step](store, rows)
    return {"seconds": time.perf_counter() - start, "peak": peak_gb()}


def measure_apart(step: str, root: Path, *, faces: int) -> dict[str, float]:
    """Carry out one step in a fresh process: its ``seconds``, and its ``peak`` in GB, packages included."""
    words = [sys.executable, "-m", "benchmarks.speed.store", "--faces", str(faces)]
    done = subprocess.run([*words, "--folder", str(root), "--step", step], check=True, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Build, then measure every step in a fresh process, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(measure(options.step, options.folder, faces=options.faces)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        start = time.perf_counter()
        build(Store(Path(folder)), table(options.faces), dim=options.dim)
        size = options.faces * options.dim * 4 / 1e9
        print(f"{options.faces:,} faces x {options.dim:,} features: {size:.2f} GB float32")
        print(f"{'build, not part of the product':32}{time.perf_counter() - start:8.1f} s")
        for step in STEPS:
            done = measure_apart(step, Path(folder), faces=options.faces)
            share = done["peak"] / size
            print(f"{step:32}{done['seconds']:8.1f} s{done['peak']:8.2f} GB peak{100 * share:6.0f} %")


if __name__ == "__main__":
    main()
