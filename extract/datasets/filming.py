"""Film a subject, drawn or photographed, with a camera that differs from clip to clip and never with the label."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from extract.datasets.drawing.easel import FACE, Image
from extract.datasets.drawing.persons import Person, Pose
from extract.datasets.drawing.portrait import SUPERSAMPLING, draw, paint_portrait
from extract.errors import RequestError

Frames = npt.NDArray[np.uint8]


class Subject(Protocol):
    """Someone who can be filmed."""

    @property
    def name(self) -> str: ...

    def act(self, poses: Sequence[Pose], *, size: int, rng: np.random.Generator) -> list[Image]:
        """Return one picture a pose, each (size, size, 3) float32 RGB from 0 to 1."""
        ...


@dataclass(frozen=True)
class DrawnSubject:
    """A drawn person; every clip moves the lamp a little."""

    name: str
    person: Person

    def act(self, poses: Sequence[Pose], *, size: int, rng: np.random.Generator) -> list[Image]:
        right, down = self.person.light
        lamp = (right + rng.uniform(-0.25, 0.25), down + rng.uniform(-0.15, 0.15))
        portrait = paint_portrait(self.person, lamp=lamp, size=size)
        return [draw(portrait, pose) for pose in poses]


@dataclass(frozen=True)
class PhotographedSubject:
    """A photograph, filmed by a hand that is not quite still: of a pose only place, size and roll are used."""

    name: str
    path: Path

    def act(self, poses: Sequence[Pose], *, size: int, rng: np.random.Generator) -> list[Image]:
        side = round(size * SUPERSAMPLING)
        photograph = cv2.resize(self._square, (side, side), interpolation=cv2.INTER_AREA)
        return [_reframe(np.asarray(photograph, np.float32), pose, size) for pose in poses]

    @cached_property
    def _square(self) -> Image:
        """The middle of the photograph, (n, n, 3) float32 RGB from 0 to 1."""
        picture = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if picture is None:
            raise RequestError(
                f"Expected a readable image; got {self.path}. Remove or replace it.", code="E_CLIP_UNREADABLE"
            )
        side = min(picture.shape[:2])
        top, left = ((length - side) // 2 for length in picture.shape[:2])
        square: Image = picture[top : top + side, left : left + side, ::-1].astype(np.float32) / np.float32(
            255
        )
        return square


def _reframe(photograph: Image, pose: Pose, size: int) -> Image:
    side = len(photograph)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), np.degrees(pose.roll), 1.04 * pose.zoom)
    shift = np.array([[0.0, 0.0, pose.x], [0.0, 0.0, pose.y]]) * FACE * side
    moved = cv2.warpAffine(
        photograph, matrix + shift, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(cv2.resize(moved, (size, size), interpolation=cv2.INTER_AREA), np.float32)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """What one recording does to every picture; drawn anew for each clip, real or fake."""

    exposure: float
    warmth: float
    falloff: tuple[float, float]  # change of brightness from the middle to the right and to the lower edge
    sharpness: float  # standard deviation of the lens blur, in pixels of a 256-pixel picture
    noise: float  # standard deviation, in grey levels of 255

    @staticmethod
    def choose(rng: np.random.Generator) -> "Camera":
        """Draw a camera from the range that all clips share."""
        return Camera(
            exposure=float(rng.uniform(0.86, 1.12)),
            warmth=float(rng.uniform(-0.05, 0.05)),
            falloff=(float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.12, 0.12))),
            sharpness=float(rng.uniform(0.35, 0.75)),
            noise=float(rng.uniform(1.5, 3.5)),
        )

    def expose(self, picture: Image, rng: np.random.Generator) -> Frames:
        """Turn a picture (size, size, 3) float32 into what the sensor delivers, uint8."""
        size = len(picture)
        across = np.linspace(-1, 1, size, dtype=np.float32)
        lamp = 1 + self.falloff[0] * across[None, :] + self.falloff[1] * across[:, None]
        balance = np.array([1 + self.warmth, 1.0, 1 - self.warmth], np.float32)
        flicker = self.exposure * (1 + rng.normal(0.0, 0.006))
        blurred = cv2.GaussianBlur(picture, (0, 0), self.sharpness * size / 256)
        grains = rng.standard_normal(picture.shape, np.float32)
        grains *= np.float32(self.noise)
        levels = np.asarray(blurred, np.float32).reshape(size, -1)  # NumPy is slow along a last axis of three
        levels = levels * np.repeat(lamp, 3, axis=1)
        levels *= np.tile(balance, size)
        levels *= np.float32(255 * flicker)
        levels += grains.reshape(levels.shape)
        np.clip(np.rint(levels, out=levels), 0, 255, out=levels)
        exposed: Frames = levels.astype(np.uint8).reshape(picture.shape)
        return exposed


def film(subject: Subject, poses: Sequence[Pose], *, size: int, rng: np.random.Generator) -> Frames:
    """Film a subject that takes these poses; returns (n, size, size, 3) uint8 RGB."""
    camera = Camera.choose(rng)
    return np.stack([camera.expose(picture, rng) for picture in subject.act(poses, size=size, rng=rng)])
