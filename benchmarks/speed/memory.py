"""How much memory reading takes: by how many MiB a process grows at its peak while it crops whole frames of a file.

    python -m benchmarks.speed.memory FILES...

Each file is read in a process of its own with one thread, after a small picture that loads the libraries.
"""

import argparse
import multiprocessing
import resource
import tempfile
from pathlib import Path

import numpy as np

from extract.faces import FaceSettings, crop_faces, face_detector
from extract.store import write_png
from extract.workers import limit_threads

SETTINGS = FaceSettings(detector="none")


def grown(path: Path) -> float:
    """Return by how many MiB the peak of this process grows."""
    limit_threads(1)
    find = face_detector(SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        write_png(Path(folder) / "small.png", np.zeros((64, 64, 3), np.uint8))
        crop_faces(Path(folder) / "small.png", SETTINGS, find)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    crop_faces(path, SETTINGS, find)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for path in parser.parse_args().files:
            print(f"{pool.apply(grown, (path,)):8.0f} MiB  {path}")


if __name__ == "__main__":
    main()
