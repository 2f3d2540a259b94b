"""Features from PNG faces: ours against the plain way, beside what the machine allows.

    python -m benchmarks.speed.extract                      the registered extractors
    python -m benchmarks.speed.extract --table              VGG16, ResNet50, MobileNetV2 and ours: slow, moderate, fast

The plain way is what a notebook does: timm.create_model, a DataLoader over the PNG files, float32, nothing tuned.
Both read the same files in one run, in turns; weights are random where none are installed, which does not change
the speed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import timm
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from benchmarks.speed.peaks import flop, matrix_peak, parameters
from benchmarks.speed.predict import peak_mib
from extract.compute import ComputeSettings
from extract.datasets.drawing.persons import make_person, make_poses
from extract.datasets.filming import DrawnSubject, film
from extract.extractor_settings import ExtractorSettings
from extract.extractors import FrozenNetwork, load_extractor
from extract.faces import whole_crops
from extract.features import compute_features
from extract.media.frames import Image
from extract.store import Store
from extract.weights import WeightSettings

FACES = "speed"  # their key in the store
TARGETS = {"mobilenetv2": 5.0, "convnext_base": 3.5, "deit_base": 3.5, "inception_v4": 2.0, "reactnet_a": 8.0}
TABLE = (
    "timm:vgg16",
    "timm:resnet50",
    "mobilenetv2",
    "inception_v4",
    "convnext_base",
    "deit_base",
    "reactnet_a",
)
WORDS = ((30.0, "slow"), (150.0, "moderate"), (float("inf"), "fast"))  # below so many images a second


@dataclass(frozen=True)
class Rates:
    """Images a second in each turn, and the latency of one image in milliseconds."""

    plain: list[float]
    ours: list[float]
    bare: list[float]
    latency: float


def draw_faces(store: Store, count: int) -> pd.DataFrame:
    """Store `count` drawn faces of 224 pixels, 32 a clip; returns rows of ``content`` and ``face``."""
    rows = []
    for number in range(-(-count // 32)):
        rng = np.random.default_rng([11, number])
        person, here = DrawnSubject("nobody", make_person(rng)), min(32, count - 32 * number)
        crops = film(person, make_poses(rng, here), size=224, rng=rng)
        store.write_faces(FACES, f"{number:064x}", faces=whole_crops(crops))
        rows += [(f"{number:064x}", face) for face in range(here)]
    return pd.DataFrame(rows, columns=["content", "face"])


class PngFaces(Dataset[torch.Tensor]):
    """The plain way's data: one file an item, (3, 224, 224) float32."""

    def __init__(self, rows: pd.DataFrame, store: Store, extractor: FrozenNetwork) -> None:
        self._rows, self._store = rows, store
        self._mean, self._std = (
            extractor.prepared.pixel_mean[0].clone(),
            extractor.prepared.pixel_std[0].clone(),
        )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        row = self._rows.iloc[index]
        face = self._store.read_face(FACES, row["content"], face=row["face"])
        return (torch.from_numpy(face).permute(2, 0, 1).float() / 255 - self._mean) / self._std


def plainly(rows: pd.DataFrame, store: Store, extractor: FrozenNetwork) -> NDArray[np.float32]:
    """Compute features as a notebook does."""
    network = (
        extractor.network
    )  # timm.create_model(...).eval(), or the float simulation of the binary network
    loader = DataLoader(PngFaces(rows, store, extractor), batch_size=16, num_workers=0)
    with torch.no_grad():
        return np.concatenate([network(images).numpy() for images in loader])


def in_turns(extractor: FrozenNetwork, rows: pd.DataFrame, store: Store, *, turns: int, plain: int) -> Rates:
    """Measure the plain way, ours from PNG files into the store, and the bare network on faces in memory."""
    crops = np.stack([store.read_face(FACES, row.content, face=row.face) for row in rows.itertuples()])
    found: dict[str, list[float]] = {"plain": [], "ours": [], "bare": []}
    extractor(crops)  # compiles, and finds the batch
    latency = single_image(extractor, crops)
    few = rows.iloc[:plain]
    plainly(few.iloc[:16], store, extractor)
    for turn in range(turns):
        with tempfile.TemporaryDirectory() as folder:
            empty = Store(Path(folder))
            (empty.root / "faces").symlink_to(store.root / "faces")
            ways: dict[str, tuple[Callable[[], object], int]] = {
                "plain": (lambda: plainly(few, store, extractor), len(few)),
                "ours": (lambda: compute_features(rows, [extractor], store=empty, faces=FACES), len(rows)),  # noqa: B023
                "bare": (lambda: extractor(crops), len(rows)),
            }
            for name in list(ways)[:: -1 if turn % 2 else 1]:
                work, count = ways[name]
                found[name].append(count / seconds(work))
    return Rates(**found, latency=latency)


def single_image(extractor: FrozenNetwork, crops: Image, tries: int = 15) -> float:
    """Return the median milliseconds of one face alone."""
    took = [seconds(lambda: extractor(crops[i : i + 1])) for i in range(tries)]  # noqa: B023
    return 1000 * float(np.median(took[2:]))


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def load(name: str) -> FrozenNetwork:
    """Load an extractor as `auto` has it."""
    extractor = load_extractor(
        ExtractorSettings(name=name), weights=WeightSettings(policy="auto"), compute=ComputeSettings()
    )
    assert isinstance(extractor, FrozenNetwork)
    return extractor


def report(names: Sequence[str], *, images: int, turns: int) -> None:
    """Print a line an extractor, and what one read for all of them costs."""
    peaks: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        rows = draw_faces(store, images)
        print(
            f"{images} PNG faces, OpenCV {cv2.__version__}, torch {torch.__version__}, timm {timm.__version__}; "
        )
        print("images/s are medians over turns; overhead: from PNG into the store against the bare network\n")
        print(
            f"{'extractor':<15}{'backend':<15}{'plain':>8}{'ours':>8}{'ratio':>7}{'target':>8}{'bare':>8}"
            f"{'overhead':>10}{'GFLOP':>7}{'peak':>7}{'share':>7}{'1 image':>10}"
        )
        loaded = {name: load(name) for name in names}
        bare = 0.0
        for extractor in loaded.values():
            rates = in_turns(extractor, rows, store, turns=turns, plain=min(images, 64))
            kind = (extractor.backend, extractor.precision)
            peaks.setdefault(kind, matrix_peak(*kind))
            print(line(extractor, rates, peaks[kind]), flush=True)
            bare += images / float(np.median(rates.bare))
        with tempfile.TemporaryDirectory() as other:
            empty = Store(Path(other))
            (empty.root / "faces").symlink_to(store.root / "faces")
            took = seconds(lambda: compute_features(rows, list(loaded.values()), store=empty, faces=FACES))
    print(
        f"\nall {len(loaded)}, one read: {took:.1f} s, their bare networks {bare:.1f} s: {took / bare - 1:+.1%}"
    )
    print(f"peak memory of this process, all networks and their float32 originals: {peak_mib():,.0f} MiB")


def line(extractor: FrozenNetwork, rates: Rates, peak: float) -> str:
    """Return a line of the table; the ratio is the median over turns."""
    plain, ours, bare = (float(np.median(x)) for x in (rates.plain, rates.ours, rates.bare))
    ratio = float(np.median(np.array(rates.ours) / np.array(rates.plain)))
    overhead = float(np.median(np.array(rates.bare) / np.array(rates.ours))) - 1
    work = flop(extractor.network, extractor.settings.size)
    target = TARGETS.get(extractor.name)
    share = f"{work * bare / peak:7.0%}" if extractor.backend != "packed" else f"{'':7}"
    return (
        f"{extractor.name:<15}{extractor.backend + ' ' + extractor.precision:<15}{plain:8.1f}{ours:8.1f}{ratio:6.1f}x"
        f"{f'{target:.1f}x' if target else '':>8}{bare:8.1f}{overhead:+10.1%}{work / 1e9:7.1f}{peak / 1e9:7.0f}{share}"
        f"{rates.latency:7.1f} ms"
    )


def speed_table(names: Sequence[str], *, images: int) -> None:
    """Print the inference speed of networks in words and numbers."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        rows = draw_faces(store, images)
        crops = np.stack([store.read_face(FACES, row.content, face=row.face) for row in rows.itertuples()])
        print(
            f"{'network':<15}{'backend':<15}{'speed':<10}{'images/s':>10}{'1 image':>12}{'parameters':>14}{'GFLOP':>8}"
        )
        for name in names:
            extractor = load(name)
            extractor(crops)
            rate = max(len(crops) / seconds(lambda: extractor(crops)) for _ in range(2))  # noqa: B023
            word = next(word for limit, word in WORDS if rate < limit)
            made = f"{extractor.backend} {extractor.precision}"
            print(
                f"{name.removeprefix('timm:'):<15}{made:<15}{word:<10}{rate:10.1f}"
                f"{single_image(extractor, crops):9.1f} ms{parameters(extractor.network) / 1e6:12.1f} M"
                f"{flop(extractor.network) / 1e9:8.1f}",
                flush=True,
            )
    print("slow: below 30 images a second, fast: from 150; without the classification layers")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("extractors", nargs="*", default=list(TARGETS))
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="words and numbers of more networks instead")
    options = parser.parse_args()
    if options.table:
        speed_table(TABLE, images=64)
    else:
        report(options.extractors, images=options.images, turns=options.turns)


if __name__ == "__main__":
    main()
