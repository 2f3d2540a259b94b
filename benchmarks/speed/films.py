"""Films to measure with: one person who moves over a frame of 1080 lines, the way a telephone stores it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import av
import cv2
import numpy as np
import numpy.typing as npt

from extract.datasets.drawing.persons import make_person, make_poses
from extract.datasets.filming import DrawnSubject, PhotographedSubject, Subject, film
from extract.media.frames import Image

HEIGHT, WIDTH, RATE = 1080, 1920, 30
POSES, HELD = 24, 4  # pictures of the person, and for how many frames each is shown
FACE = 0.5  # height of the face as a share of the picture that it is drawn in
# Encoder, file ending and options of each codec.
CODECS: Mapping[str, tuple[str, str, Mapping[str, str]]] = MappingProxyType(
    {
        "h264": ("libx264", ".mp4", {"preset": "veryfast", "crf": "18"}),
        "hevc": ("libx265", ".mp4", {"preset": "veryfast", "x265-params": "crf=22:log-level=none"}),
        "vp9": ("libvpx-vp9", ".webm", {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "b": "4M"}),
    }
)
SHARES = (0.15, 0.40)  # of the frame's height, which faces take


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Where the middle of the person is, frame by frame: (frames, 2) pixels, x and y."""

    middle: tuple[float, float]
    reach: tuple[float, float]
    period: float

    def at(self, frame: int) -> tuple[float, float]:
        turn = 2 * np.pi * frame / self.period
        return (
            self.middle[0] + self.reach[0] * float(np.sin(turn)),
            self.middle[1] + self.reach[1] * float(np.sin(1.7 * turn)),
        )


def make_films(
    folder: Path, count: int, *, seconds: float = 10.0, portraits: Path | None = None, codec: str = "h264"
) -> list[Path]:
    """Film `count` persons, drawn or from photographs, with faces of 15 to 40 % of the frame's height."""
    photographs = sorted(portraits.glob("*.jpg")) if portraits else []
    paths = [folder / f"{number:04d}{CODECS[codec][1]}" for number in range(count)]
    for number, path in enumerate(paths):
        rng = np.random.default_rng([11, number])
        subject: Subject = DrawnSubject(f"person {number}", make_person(rng))
        if photographs:
            photograph = photographs[number % len(photographs)]
            subject = PhotographedSubject(photograph.stem, photograph)
        share = SHARES[0] + (SHARES[1] - SHARES[0]) * (number % 5) / 4
        encode(path, shoot(subject, rng, frames=round(seconds * RATE), face=share), codec=codec)
    return paths


def shoot(subject: Subject, rng: np.random.Generator, *, frames: int, face: float) -> Iterator[Image]:
    """Yield frames (1080, 1920, 3) uint8 RGB of a subject in front of a blurred room, with the camera's grain."""
    side = round(face * HEIGHT / FACE) // 2 * 2
    pictures = film(subject, make_poses(rng, POSES), size=side, rng=rng)
    room, grains = _room(rng), [_grain(rng) for _ in range(4)]
    mask = _soft_square(side)
    walk = Walk(
        middle=(WIDTH * rng.uniform(0.35, 0.65), HEIGHT * rng.uniform(0.45, 0.55)),
        reach=(WIDTH * 0.2, HEIGHT * 0.08),
        period=frames * rng.uniform(0.6, 1.4),
    )
    for number in range(frames):
        step = (number // HELD) % (2 * POSES - 2)
        frame = room.copy()
        _paste(frame, pictures[min(step, 2 * POSES - 2 - step)], mask, walk.at(number))
        yield cv2.add(frame, grains[number % 4], dtype=cv2.CV_8U).astype(np.uint8, copy=False)


def encode(path: Path, frames: Iterator[Image], *, codec: str = "h264") -> None:
    """Write frames in one of `CODECS`."""
    encoder, _, options = CODECS[codec]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=Fraction(RATE), options=dict(options))
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = "yuv420p"
        for number, image in enumerate(frames):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def _room(rng: np.random.Generator) -> Image:
    coarse = (rng.uniform(60, 170, (5, 9, 1)) + rng.uniform(-15, 15, (5, 9, 3))).astype(np.float32)
    fine = rng.uniform(-12, 12, (27, 48, 1)).repeat(3, axis=2).astype(np.float32)
    layers = [cv2.resize(layer, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for layer in (coarse, fine)]
    return np.asarray(np.clip(layers[0] + layers[1], 0, 255), np.uint8)


def _grain(rng: np.random.Generator) -> npt.NDArray[np.int16]:
    return np.rint(rng.normal(0, 3, (HEIGHT, WIDTH, 3))).astype(np.int16)


def _soft_square(side: int) -> npt.NDArray[np.float32]:
    """Coverage of a picture that fades at its edges: (side, side, 1) float32."""
    ramp = np.clip(np.minimum(np.arange(side), np.arange(side)[::-1]) / (0.08 * side), 0, 1)
    return np.minimum(ramp[:, None], ramp[None, :])[..., None].astype(np.float32)


def _paste(frame: Image, picture: Image, mask: npt.NDArray[np.float32], middle: tuple[float, float]) -> None:
    side = len(picture)
    left, top = round(middle[0] - side / 2), round(middle[1] - side / 2)
    rows, columns = slice(max(top, 0), min(top + side, HEIGHT)), slice(max(left, 0), min(left + side, WIDTH))
    inner = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    cover, behind = mask[inner], frame[rows, columns]
    frame[rows, columns] = np.rint(behind + cover * (picture[inner].astype(np.float32) - behind))
