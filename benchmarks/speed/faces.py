"""Clips to face crops: the product against facenet-pytorch as its examples use it, on the same frames in one run.

    python -m benchmarks.speed.faces [CLIPS...] [--clips 12] [--plain 2] [--codec h264] [--portraits DIR]

The plain way decodes the frames at full size and passes those of a clip to `MTCNN`, which takes the largest face.
The product is the whole stage, decode, search, crop and store, in workers that have started and loaded their networks.
Without CLIPS it films some persons, drawn or from photographs: 10 seconds of 1080 lines. Boxes are compared on the
frames in which both found a face.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from benchmarks.speed.films import CODECS, make_films
from extract.faces import FaceSettings, Floats, crop_faces, face_detector
from extract.faces.tracks import overlap
from extract.media.frames import Image, spread
from extract.media.read import read_batches
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
    """Find, crop and store the faces of clips in workers that have started, see `warm_up`."""
    clips = [Clip(str(path.resolve()), f"clip{number}") for number, path in enumerate(paths)]
    names = {clip.path: str(path) for clip, path in zip(clips, paths, strict=True)}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = list(search_clips(clips, settings, store=Store(Path(folder)), workers=workers, patience=0))
        took = time.perf_counter() - start
    boxes = {
        (names[one.clip.path], face["frame"]): np.array(face["box"], np.float32)
        for one in found
        for face in (one.index or {"faces": []})["faces"]
    }
    return Timed(boxes, took)


def warm_up(path: Path, settings: FaceSettings, *, workers: int) -> float:
    """Let every worker load its network, as it does once a run; returns the seconds that took."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        clips = [Clip(str(path), f"copy{number}") for number in range(2 * workers)]
        list(search_clips(clips, settings, store=Store(Path(folder)), workers=workers, patience=0))
    return time.perf_counter() - start


def alone(path: Path, settings: FaceSettings) -> tuple[float, float, float]:
    """Return seconds of reading and of all of one clip in this process, and by how many MiB its peak grows."""
    find = face_detector(settings)
    find([np.zeros((64, 64, 3), np.uint8)])  # loads what it needs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    for _ in read_batches(path, settings.sampling):
        pass
    reading = time.perf_counter() - start
    start = time.perf_counter()
    crop_faces(path, settings, find)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return reading, time.perf_counter() - start, grown / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", type=Path, nargs="*", metavar="CLIPS")
    parser.add_argument("--clips", type=int, default=12, help="how many to film")
    parser.add_argument("--plain", type=int, default=2, help="how many of them the plain way gets: 40 s each")
    parser.add_argument("--codec", choices=CODECS, default="h264")
    parser.add_argument("--portraits", type=Path, help="photographs, one a person")
    parser.add_argument("--workers", type=int, default=cores())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = options.paths or make_films(
            Path(folder), options.clips, portraits=options.portraits, codec=options.codec
        )
        _compare(paths, FaceSettings(), workers=options.workers, plain=options.plain)


def _compare(paths: Sequence[Path], settings: FaceSettings, *, workers: int, plain: int) -> None:
    reading, whole, memory = alone(paths[0], settings)
    began = warm_up(paths[0], settings, workers=workers)
    fast = by_product(paths, settings, workers=workers)
    print(f"{'start of workers':20s} {began:7.1f} s with {2 * workers} clips, once a run")
    print(
        f"{'one clip alone':20s} {whole:7.2f} s, {reading:.2f} s of it reading; {memory:.0f} MiB at the peak"
    )
    print(f"{f'product, {workers} workers':20s} {len(paths) / fast.seconds:7.3f} clips/s of {len(paths)}")
    if plain:
        _print_beside(fast, plainly(paths[:plain], settings), clips=len(paths), plain=plain)


def _print_beside(fast: Timed, slow: Timed, *, clips: int, plain: int) -> None:
    own = {at for at in fast.boxes if at[0] in {path for path, _ in slow.boxes}}
    both = own & slow.boxes.keys()
    agree = float(np.mean([overlap(fast.boxes[at], slow.boxes[at]) >= OVERLAP for at in both]))
    times = (slow.seconds / plain) / (fast.seconds / clips)
    print(f"{'facenet-pytorch':20s} {plain / slow.seconds:7.3f} clips/s of {plain}")
    print(f"{'times as fast':20s} {times:7.1f} (target: at least {FASTER})")
    print(f"{'boxes that agree':20s} {agree:7.1%} of {len(both)} with IoU >= {OVERLAP} (target: {AGREE:.0%})")
    print(f"{'faces missed, added':20s} {len(slow.boxes.keys() - both)}, {len(own - both)}")


if __name__ == "__main__":
    main()
