"""How much damage goes unnoticed: bytes flipped in videos, and the changed frames that were handed on as good ones.

    python -m benchmarks.studies.damage [--trials 100] [--bytes 1 40] [--seed 0]

Each trial encodes nothing anew: it flips bytes of one file anywhere but in its first and last 2 KB, where the container
keeps its tables, and reads all frames twice, refusing damage and using what there is. A frame is changed if any pixel
is. MPEG-2 and VP9 hold no checksums, and arithmetic coding turns most flipped bits into other valid pictures: what the
decoder does not complain about, nobody sees.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.studies.bars import Encoding, encode, scene
from extract.errors import UnreadableClip
from extract.media.frames import MAX_PIXELS, Damaged, Image, Sampling
from extract.media.video import read_video

FRAMES = 60
EDGE = 2048  # bytes
CODECS = {
    "H.264": ("h264.mp4", Encoding(codec="libx264")),
    "HEVC": (
        "hevc.mp4",
        Encoding(
            codec="libx265", options={"x265-params": "crf=23:log-level=none:pools=none:frame-threads=1"}
        ),
    ),
    "VP9": ("vp9.webm", Encoding(codec="libvpx-vp9", options={"b": "1M"})),
    "MPEG-2": ("mpeg2.mpg", Encoding(codec="mpeg2video", options={"b": "4M", "bf": "2"})),
}


@dataclass
class Counts:
    """Of all trials with one codec and one number of flipped bytes.

    Attributes
    ----------
    clips, noticed : int
        Clips in which a frame changed or was lost, and those of them that were refused.
    frames, unnoticed : int
        Changed frames, and those of them in clips that were not refused.
    """

    clips: int = 0
    noticed: int = 0
    frames: int = 0
    unnoticed: int = 0


def try_codec(name: str, folder: Path, *, flipped: int, trials: int, rng: np.random.Generator) -> Counts:
    """Flip bytes of one file in `trials` ways and count what was noticed."""
    file, how = CODECS[name]
    whole = encode(folder / file, textured(), how)
    clean, counts = _read(whole, "skip") or {}, Counts()
    for _ in range(trials):
        hurt = flip(whole, folder / f"hurt-{file}", count=flipped, rng=rng)
        seen = _read(hurt, "use") or {}
        changed = sum(1 for number, image in clean.items() if not np.array_equal(seen.get(number, 0), image))
        if not changed:
            continue
        noticed = _read(hurt, "skip") is None
        counts.clips += 1
        counts.noticed += noticed
        counts.frames += changed
        counts.unnoticed += 0 if noticed else changed
    return counts


def textured() -> Iterator[Image]:
    """Yield test cards with a grain that takes bytes, so that flipped ones are in pictures."""
    rng = np.random.default_rng(0)
    for number in range(FRAMES):
        card = scene(number)
        yield np.clip(card + rng.normal(0, 6, card.shape), 0, 255).astype(np.uint8)


def flip(whole: Path, hurt: Path, *, count: int, rng: np.random.Generator) -> Path:
    """Write a copy of a file in which `count` bytes are others."""
    data = bytearray(whole.read_bytes())
    for place in rng.choice(np.arange(EDGE, len(data) - EDGE), count, replace=False):
        data[place] ^= int(rng.integers(1, 256))
    hurt.write_bytes(data)
    return hurt


def _read(path: Path, damaged: Damaged) -> dict[int, Image] | None:
    """Read all frames by their numbers; None where the clip is refused, or cut off."""
    try:
        batches = list(read_video(path, Sampling(count=10 * FRAMES), max_pixels=MAX_PIXELS, damaged=damaged))
    except UnreadableClip:
        return None
    if damaged == "skip" and batches[-1].note:
        return None
    return {n: image for batch in batches for n, image in zip(batch.numbers, batch.images, strict=True)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--bytes", type=int, nargs="+", default=[1, 40])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(
        f"{'codec':8s} {'bytes':>5s} {'changed clips':>14s} {'refused':>8s} {'changed frames':>15s} {'unnoticed':>10s}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in CODECS:
            for flipped in options.bytes:
                rng = np.random.default_rng([options.seed, flipped])
                c = try_codec(name, Path(folder), flipped=flipped, trials=options.trials, rng=rng)
                print(
                    f"{name:8s} {flipped:5d} {c.clips:14d} {c.noticed / max(1, c.clips):8.0%} {c.frames:15d} "
                    f"{c.unnoticed / max(1, c.frames):10.1%}"
                )


if __name__ == "__main__":
    main()
