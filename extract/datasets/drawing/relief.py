"""The height map of a face, and its brightness under a lamp."""

import cv2
import numpy as np

from extract.datasets.drawing.easel import Easel, Image, hill
from extract.datasets.drawing.persons import Person


def _depth(easel: Easel, person: Person) -> Image:
    """Height of the face towards the viewer, (side, side), in face units."""
    x, y = easel.grid
    chin = np.where(y > 0, person.chin + 0.1, 1.55)
    depth = np.sqrt(np.clip(1 - (x / 1.12) ** 2 - (y / chin) ** 2, 0.02, None)) * 0.9
    pairs = (
        (0.42, -0.08, 0.20, 0.13, -0.10),
        (0.40, -person.brow_height - 0.06, 0.26, 0.09, 0.05),
        (0.56, 0.36, 0.22, 0.20, 0.07),
        (0.16 * person.nose_width, 0.47, 0.065, 0.07, 0.09),
        (0.44, 0.80, 0.10, 0.16, -0.03),
    )
    middle = (
        (0.42 * person.nose_length, 0.12 * person.nose_width, 0.10, 0.17),
        (person.mouth_height, 0.26, 0.11, 0.06),
        (person.mouth_height + 0.2, 0.20, 0.06, -0.05),
        (person.chin - 0.16, 0.20, 0.13, 0.09),
    )
    for across, down, wide, high, height in pairs:
        depth += height * (hill(easel, across, down, wide, high) + hill(easel, -across, down, wide, high))
    for down, wide, high, height in middle:
        depth += height * hill(easel, 0.0, down, wide, high)
    return (depth + _nose_ridge(easel, person)).astype(np.float32)


def _nose_ridge(easel: Easel, person: Person) -> Image:
    x, y = easel.grid
    along = np.clip((y + 0.15) / (0.57 * person.nose_length), 0.0, 1.0)
    ends = 1 / (1 + np.exp((y - 0.47 * person.nose_length) / 0.03))
    width = (0.07 + 0.05 * along) * person.nose_width
    start = 1 / (1 + np.exp(-(y + 0.30) / 0.06))
    ridge: Image = (0.04 * start + 0.16 * along) * ends * np.exp(-0.5 * (x / width) ** 2)
    return ridge


def light(easel: Easel, person: Person, lamp: tuple[float, float]) -> Image:
    """Lambert's law, wrapped half-way round, plus a little gloss; about 1 where the face meets the light."""
    depth = cv2.GaussianBlur(_depth(easel, person), (0, 0), 0.03 * easel.unit)
    down, across = np.gradient(depth * easel.unit)
    normal = np.stack([-across, -down, np.ones_like(depth)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    ray = np.array([*lamp, 1.0]) / np.linalg.norm([*lamp, 1.0])
    facing = normal @ ray
    half = (ray + np.array([0.0, 0.0, 1.0])) / np.linalg.norm(ray + np.array([0.0, 0.0, 1.0]))
    gloss = 0.09 * np.clip(normal @ half, 0.0, 1.0) ** 30
    return np.asarray(0.28 + 0.74 * np.clip((facing + 0.3) / 1.3, 0.0, 1.0) + gloss, np.float32)
