"""Paint on a canvas in face units: soft polygons, layers with coverage."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from extract.datasets.drawing.persons import Colour

Image = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

FACE = 0.185  # one face unit, as a part of the picture's side
CENTRE = (0.5, 0.46)


@dataclass(frozen=True, kw_only=True)
class Easel:
    """A square canvas and where the face units lie on it."""

    side: int

    @property
    def unit(self) -> float:
        """Pixels in one face unit."""
        return FACE * self.side

    @cached_property
    def grid(self) -> tuple[Image, Image]:
        """Face coordinates x and y of every pixel, each (side, side)."""
        ticks = np.arange(self.side, dtype=np.float32)
        x, y = np.meshgrid(
            (ticks - CENTRE[0] * self.side) / self.unit, (ticks - CENTRE[1] * self.side) / self.unit
        )
        return x, y

    def pixels(self, points: Points) -> Points:
        """Turn face coordinates (n, 2) into pixel coordinates (n, 2)."""
        return np.asarray(points * self.unit + np.array(CENTRE) * self.side)

    def mask(self, points: Points, soft: float = 0.0) -> tuple[tuple[slice, slice], Image]:
        """Fill a polygon; return the part of the canvas it touches and its coverage there, from 0 to 1.

        Parameters
        ----------
        points : (n, 2) float64
            The corners, in face units.
        soft : float
            Standard deviation of the edge's blur, in face units.
        """
        corners = self.pixels(points)
        margin = 3 * soft * self.unit + 2
        low = np.clip(np.floor(corners.min(0) - margin), 0, self.side - 1).astype(int)
        high = np.clip(np.ceil(corners.max(0) + margin), low + 1, self.side).astype(int)
        canvas = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        cv2.fillPoly(canvas, [np.round((corners - low) * 16).astype(np.int32)], (255,), cv2.LINE_AA, 4)
        cover = canvas.astype(np.float32) / np.float32(255)
        if soft:
            cover = cv2.GaussianBlur(cover, (0, 0), soft * self.unit).astype(np.float32)
        return (slice(low[1], high[1]), slice(low[0], high[0])), cover


def paint(
    easel: Easel,
    layer: Image,
    points: Points,
    *,
    colour: Colour,
    soft: float = 0.012,
    opacity: float = 1.0,
    light: Image | None = None,
    inside: Points | None = None,
) -> None:
    """Lay a polygon of one colour over `layer` (side, side, 3 or 4), in place.

    A fourth channel is coverage and grows; colours are premultiplied by it. `light` (side, side) multiplies the
    colour; `inside` is a second polygon, in face units, that limits the first.
    """
    where, cover = easel.mask(points, soft)
    cover = cover * np.float32(opacity)
    if inside is not None:
        cover = cover * _window(easel, inside, where)
    ink = np.array([*colour, 1.0][: layer.shape[2]], np.float32)
    shade = np.float32(1) if light is None else light[where][..., None]
    tone = np.broadcast_to(ink, (*cover.shape, len(ink))).copy()
    tone[..., :3] *= shade
    layer[where] += (tone - layer[where]) * cover[..., None]


def _window(easel: Easel, points: Points, where: tuple[slice, slice]) -> Image:
    """Cover by a polygon of the part `where` of the canvas."""
    rows, columns = where
    (its_rows, its_columns), cover = easel.mask(points, 0.008)
    window = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    top, bottom = max(rows.start, its_rows.start), min(rows.stop, its_rows.stop)
    left, right = max(columns.start, its_columns.start), min(columns.stop, its_columns.stop)
    if top < bottom and left < right:
        window[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = cover[
            top - its_rows.start : bottom - its_rows.start,
            left - its_columns.start : right - its_columns.start,
        ]
    return window


def over(under: Image, layer: Image) -> Image:
    """Put a premultiplied layer (h, w, 4) over a picture with as many channels as `under` (h, w, 3 or 4)."""
    channels = under.shape[2]
    through = cv2.merge([1 - layer[..., 3]] * channels)  # NumPy is slow along a last axis of three or four
    inks = layer if channels == 4 else cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB)
    result: Image = under * through
    result += inks
    return result


def hill(easel: Easel, x: float, y: float, wide: float, high: float) -> Image:
    """Gaussian bump, 1 at (x, y)."""
    across, down = easel.grid
    bump: Image = np.exp(-0.5 * (((across - x) / wide) ** 2 + ((down - y) / high) ** 2)).astype(np.float32)
    return bump


def noise(easel: Easel, rng: np.random.Generator, grain: float) -> Image:
    """Smooth noise with standard deviation 1 and structures of `grain` face units."""
    cells = max(4, round(easel.side / (grain * easel.unit)))
    coarse = rng.normal(0.0, 1.0, (cells, cells)).astype(np.float32)
    smooth = np.asarray(cv2.resize(coarse, (easel.side,) * 2, interpolation=cv2.INTER_CUBIC), np.float32)
    return smooth / np.float32(smooth.std())


def tint(colour: Colour, factor: float) -> Colour:
    red, green, blue = np.clip(np.array(colour) * factor, 0.0, 1.0).tolist()
    return red, green, blue


def curve(x: Points, y: Points) -> Points:
    return np.stack([x, y], -1).astype(np.float64)


def oval(x: float, y: float, wide: float, high: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return curve(x + wide * np.cos(angle), y + high * np.sin(angle))


def band(upper: Points, lower: Points) -> Points:
    """Close two lines that run the same way, each (n, 2), into the polygon between them."""
    return np.concatenate([upper, lower[::-1]])
