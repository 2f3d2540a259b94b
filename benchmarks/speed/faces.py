"""Clips to face crops: the product against facenet-pytorch as its examples use it, on the same frames in one run.

    python -m benchmarks.speed.faces [CLIPS...] [--clips 4] [--portraits DIR] [--workers 2]

The plain way decodes the frames at full size and passes those of a clip to `MTCNN`, which takes the largest face.
The product is the whole stage: decode, search, crop and store. Without CLIPS it films some persons, drawn or from
photographs: 10 seconds of 1080p H.264. Boxes are compared on the frames in which both found a face.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import PIL.Image

from benchmarks.speed.films import make_films
from extract.faces import FaceSettings, Floats
from extract.manifest import make_manifest
from extract.media.frames import Image, spread
from extract.pipeline import find_faces, identify
from extract.searching import Clip, search_clips
from extract.store import Store
from extract.workers import cores

FASTER, AGREE, OVERLAP = 10, 0.99, 0.8  # targets: times as fast; share of faces; from which boxes agree

Boxes = dict[tuple[str, int], Floats]


@dataclass(frozen=True)
class Timed:
    """The largest face's box in each frame of each clip that shows one, and the seconds it took."""

    boxes: Boxes
    seconds: float


def plainly(paths: Sequence[Path], settings: FaceSettings) -> Timed:
    """Search full frames, a clip at a time, as facenet-pytorch's examples do: what `MTCNN()(frames)` does."""
    from facenet_pytorch import MTCNN

    network, boxes, start = MTCNN(), {}, time.perf_counter()
    for path in paths:
        numbers, images = zip(*_frames(path, settings.frames), strict=True)
        frames = [PIL.Image.fromarray(image) for image in images]
        found, chances = network.detect(frames)  # the largest first
        network.extract(frames, [None if some is None else some[:1] for some in found], None)
        for number, some, sure in zip(numbers, found, chances, strict=True):
            if some is not None and sure[0] >= settings.min_confidence:
                boxes[str(path), number] = np.asarray(some[0], np.float32)
    return Timed(boxes, time.perf_counter() - start)


def _frames(path: Path, count: int) -> list[tuple[int, Image]]:
    """Decode a video with OpenCV's `read` and keep frames spread over it."""
    capture = cv2.VideoCapture(str(path))
    wanted, kept = set(spread(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), count)), []
    number, (there, image) = 0, capture.read()
    while there:
        if number in wanted:
            kept.append((number, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)))
        number, (there, image) = number + 1, capture.read()
    capture.release()
    return kept


def by_product(paths: Sequence[Path], settings: FaceSettings, *, workers: int) -> Timed:
    """Find, crop and store the faces of clips that the store does not know."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        table = pd.DataFrame({"path": [str(path.resolve()) for path in paths], "label": 1})
        manifest = identify(make_manifest(table, base=Path.cwd()), store)
        start = time.perf_counter()
        rows, _ = find_faces(manifest, settings, store=store, workers=workers)
        took = time.perf_counter() - start
    names = {str(path.resolve()): str(path) for path in paths}
    corners = rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float32)
    return Timed(
        {(names[p], f): box for p, f, box in zip(rows["path"], rows["frame"], corners, strict=True)}, took
    )


def warm_up(path: Path, settings: FaceSettings, *, workers: int) -> float:
    """Let every worker load its network, as it does once a run; returns the seconds that took."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        clips = [Clip(str(path), f"copy{number}") for number in range(2 * workers)]
        list(search_clips(clips, settings, store=Store(Path(folder)), workers=workers))
    return time.perf_counter() - start


def overlap(a: Floats, b: Floats) -> float:
    """Intersection over union of two boxes."""
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", type=Path, nargs="*", metavar="CLIPS")
    parser.add_argument(
        "--clips", type=int, default=4, help="how many to film; the plain way takes 40 s for one"
    )
    parser.add_argument("--portraits", type=Path, help="photographs, one a person")
    parser.add_argument("--workers", type=int, default=cores())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = options.paths or make_films(Path(folder), options.clips, portraits=options.portraits)
        _compare(paths, FaceSettings(), workers=options.workers)


def _compare(paths: Sequence[Path], settings: FaceSettings, *, workers: int) -> None:
    began = warm_up(paths[0], settings, workers=workers)
    fast, slow = by_product(paths, settings, workers=workers), plainly(paths, settings)
    both = fast.boxes.keys() & slow.boxes.keys()
    agree = float(np.mean([overlap(fast.boxes[at], slow.boxes[at]) >= OVERLAP for at in both]))
    for name, way in {"facenet-pytorch": slow, f"product, {workers} workers": fast}.items():
        print(f"{name:20s} {len(paths) / way.seconds:7.3f} clips/s ({way.seconds:.1f} s for {len(paths)})")
    print(f"{'start of workers':20s} {began:7.1f} s with {2 * workers} clips, once a run")
    print(f"{'times as fast':20s} {slow.seconds / fast.seconds:7.1f} (target: at least {FASTER})")
    print(
        f"{'boxes that agree':20s} {agree:7.1%} of {len(both)} with IoU >= {OVERLAP} (target: at least {AGREE:.0%})"
    )
    print(f"{'faces missed, added':20s} {len(slow.boxes.keys() - both)}, {len(fast.boxes.keys() - both)}")


if __name__ == "__main__":
    main()
