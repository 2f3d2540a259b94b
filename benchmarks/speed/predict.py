"""What `Detector.predict` costs beside its bare parts, and whether its memory grows with the number of files.

    deepfake-transfer-bench run --suite demo --extractor mobilenetv2 --classifier logistic_regression --out results/demo
    deepfake-transfer-bench export results/demo --out detector
    python -m benchmarks.speed.predict detector

The bare parts are what a user would write: search each picture, collect crops, 16 at a time through the network and
the classifiers. Both run on the same pictures in one process, in turns.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.detector import Detector
from extract.datasets.drawing.persons import make_person, make_poses
from extract.datasets.filming import DrawnSubject, film
from extract.extractors import BATCH
from extract.faces import crop_faces
from extract.store import write_png

ROUND = 2 * BATCH  # pictures a turn
TARGET = 1.2


def draw_pictures(folder: Path, count: int) -> list[Path]:
    """Draw `count` persons, one picture each, 256 pixels."""
    paths = [folder / f"{number:04d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        rng = np.random.default_rng([7, number])
        person = DrawnSubject("nobody", make_person(rng))
        write_png(path, film(person, make_poses(rng, 1), size=256, rng=rng)[0])
    return paths


def by_hand(detector: Detector, paths: list[Path]) -> list[float]:
    """Score pictures with the parts themselves, one score a face."""
    crops = [
        crop
        for path in paths
        for crop in crop_faces(path, detector.record.faces, detector.face_detector).crops
    ]
    scores: list[float] = []
    for start in range(0, len(crops), BATCH):
        X = detector.extractor(np.stack(crops[start : start + BATCH]))
        scores.extend(np.mean([m.decision_function(X) for m in detector.models.models], axis=0))
    return scores


def by_product(detector: Detector, paths: list[Path]) -> list[float]:
    """Score the same with `Detector.predict`."""
    return [face.score for prediction in detector.predict(paths) for face in prediction.faces]


def seconds(
    work: Callable[[Detector, list[Path]], list[float]], detector: Detector, paths: list[Path]
) -> float:
    """Time one way over some pictures."""
    start = time.perf_counter()
    work(detector, paths)
    return time.perf_counter() - start


def peak_mib() -> float:
    """Return the most memory that this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("detector", type=Path)
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    detector = Detector.load(options.detector)
    with tempfile.TemporaryDirectory() as folder:
        paths = draw_pictures(Path(folder), options.images)
        _measure_memory(detector, paths)  # first: a peak never falls again
        assert np.allclose(by_hand(detector, paths[:ROUND]), by_product(detector, paths[:ROUND]), atol=1e-9)
        turns = _in_turns(detector, paths)
    bare, whole = np.sum(turns, axis=0)
    ratios = turns[:, 1] / turns[:, 0]
    print(f"bare parts       {len(paths) / bare:6.2f} images/s ({bare:.1f} s for {len(paths)})")
    print(f"Detector.predict {len(paths) / whole:6.2f} images/s ({whole:.1f} s)")
    print(
        f"ratio            {np.median(ratios):6.3f} median of {len(ratios)} turns (target: at most {TARGET})"
    )


def _in_turns(detector: Detector, paths: list[Path]) -> npt.NDArray[np.float64]:
    """Time both ways on each stretch of pictures, who is first taking turns: (turns, 2) seconds."""
    turns = []
    for turn, start in enumerate(range(0, len(paths), ROUND)):
        order = [by_hand, by_product][:: -1 if turn % 2 else 1]
        took = {way: seconds(way, detector, paths[start : start + ROUND]) for way in order}
        turns.append((took[by_hand], took[by_product]))
    return np.array(turns)


def _measure_memory(detector: Detector, paths: list[Path]) -> None:
    """Print the peak after 50 and after 400 pictures of one stream."""
    stream = detector.predict(paths[number % len(paths)] for number in range(400))
    for number, _ in enumerate(stream, start=1):
        if number == 50:
            early = peak_mib()
    print(
        f"peak, MiB        {early:.0f} after 50 images, {peak_mib():.0f} after 400: {peak_mib() - early:+.1f}"
    )


if __name__ == "__main__":
    main()
