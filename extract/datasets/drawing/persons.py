"""Persons who do not exist: what is fixed by an identity, and how it moves from frame to frame.

Lengths are in face units: one is half the width of the face at the cheekbones, the origin lies between the eyes
and the nose, x points to the right of the picture and y down. Colours are RGB from 0 to 1.
"""

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

SKINS: tuple[Colour, ...] = (
    (0.96, 0.80, 0.70),
    (0.93, 0.75, 0.63),
    (0.88, 0.69, 0.54),
    (0.80, 0.60, 0.45),
    (0.69, 0.49, 0.36),
    (0.56, 0.38, 0.27),
    (0.43, 0.29, 0.21),
)
HAIRS: tuple[Colour, ...] = (
    (0.07, 0.06, 0.06),
    (0.14, 0.09, 0.07),
    (0.26, 0.16, 0.10),
    (0.40, 0.25, 0.14),
    (0.52, 0.23, 0.12),
    (0.70, 0.54, 0.33),
    (0.58, 0.57, 0.56),
)
IRISES: tuple[Colour, ...] = (
    (0.22, 0.13, 0.07),
    (0.33, 0.20, 0.10),
    (0.42, 0.34, 0.16),
    (0.30, 0.42, 0.30),
    (0.32, 0.48, 0.62),
    (0.45, 0.50, 0.54),
)
STYLES = ("short", "crop", "fringe", "bob", "long", "bun", "bald")


@dataclass(frozen=True, kw_only=True)
class Person:
    """Everything about a drawn person that no clip changes; sizes near 1 are relative to the average face."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    cloth: Colour
    wall: Colour
    style: str
    jaw: float
    chin: float
    eye_size: float
    eye_gap: float
    eye_tilt: float
    brow_width: float
    brow_arch: float
    brow_height: float
    nose_width: float
    nose_length: float
    mouth_width: float
    mouth_height: float
    lip_fullness: float
    hair_volume: float
    hairline: float
    beard: float
    age: float
    light: tuple[float, float]
    texture: int


@dataclass(frozen=True, kw_only=True)
class Pose:
    """What one frame shows: place, turn (radians) and expression of the head."""

    x: float
    y: float
    zoom: float
    roll: float
    yaw: float
    pitch: float
    smile: float
    gape: float
    brows: float
    lids: float
    gaze_x: float
    gaze_y: float


def make_person(rng: np.random.Generator) -> Person:
    """Draw a person from `rng`; equal generators draw equal persons."""
    depth = rng.integers(len(SKINS))
    skin = _near(rng, SKINS[depth], 0.02)
    hairs = HAIRS[:3] if depth > 3 else HAIRS
    irises = IRISES[:3] if depth > 3 else IRISES
    return Person(
        skin=skin,
        hair=_near(rng, hairs[rng.integers(len(hairs))], 0.02),
        iris=_near(rng, irises[rng.integers(len(irises))], 0.03),
        lips=_lips(rng, skin),
        cloth=_cloth(rng),
        wall=_cloth(rng),
        style=STYLES[rng.integers(len(STYLES))],
        **_geometry(rng),
        beard=float(rng.uniform(0.2, 0.6)) if rng.random() < 0.25 else 0.0,
        age=float(rng.uniform(0.0, 1.0)),
        light=(float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.55, -0.15))),
        texture=int(rng.integers(2**31)),
    )


def _geometry(rng: np.random.Generator) -> dict[str, float]:
    ranges = {
        "jaw": (0.70, 0.92),
        "chin": (1.22, 1.42),
        "eye_size": (0.95, 1.20),
        "eye_gap": (0.38, 0.43),
        "eye_tilt": (-0.02, 0.05),
        "brow_width": (0.035, 0.075),
        "brow_arch": (0.02, 0.09),
        "brow_height": (0.25, 0.31),
        "nose_width": (0.78, 1.10),
        "nose_length": (0.82, 1.00),
        "mouth_width": (0.30, 0.40),
        "mouth_height": (0.70, 0.79),
        "lip_fullness": (0.7, 1.5),
        "hair_volume": (0.08, 0.24),
        "hairline": (0.82, 1.02),
    }
    return {name: float(rng.uniform(low, high)) for name, (low, high) in ranges.items()}


def _near(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    red, green, blue = np.clip(np.array(colour) + rng.normal(0.0, spread, 3), 0.02, 0.98).tolist()
    return red, green, blue


def _lips(rng: np.random.Generator, skin: Colour) -> Colour:
    red, green, blue = skin
    return _near(rng, (red * 0.88, green * 0.62, blue * 0.64), 0.02)


def _cloth(rng: np.random.Generator) -> Colour:
    """Choose a muted colour: a grey of any brightness, leaning a little towards some hue."""
    grey = float(rng.uniform(0.15, 0.75))
    return _near(rng, (grey, grey, grey), 0.03 + 0.07 * grey)


def make_poses(rng: np.random.Generator, frames: int) -> list[Pose]:
    """Let a head move and its face act, smoothly, for `frames` frames."""
    curves = {
        "x": _wander(rng, frames, 0.14, 0.05),
        "y": _wander(rng, frames, 0.08, 0.04),
        "zoom": 1.0 + _wander(rng, frames, 0.07, 0.015),
        "roll": _wander(rng, frames, 0.07, 0.03),
        "yaw": _wander(rng, frames, 0.13, 0.07),
        "pitch": _wander(rng, frames, 0.06, 0.04),
        "smile": 0.3 + _wander(rng, frames, 0.4, 0.2),
        "gape": np.clip(_wander(rng, frames, 0.4, 0.35), 0.0, 1.0),
        "brows": _wander(rng, frames, 0.4, 0.3),
        "lids": np.clip(0.95 + _wander(rng, frames, 0.12, 0.08), 0.6, 1.1) * _blinks(rng, frames),
        "gaze_x": _wander(rng, frames, 0.5, 0.3),
        "gaze_y": _wander(rng, frames, 0.25, 0.2),
    }
    return [Pose(**{name: float(curve[frame]) for name, curve in curves.items()}) for frame in range(frames)]


def _wander(rng: np.random.Generator, frames: int, spread: float, motion: float) -> np.ndarray:
    """Start anywhere within `spread` of zero and sway about it by `motion`, twelve frames a second."""
    phase, period = rng.uniform(0.0, 2 * np.pi), rng.uniform(9.0, 24.0)
    sway = np.sin(phase + 2 * np.pi * np.arange(frames) / period)
    return np.asarray(rng.uniform(-spread, spread) + motion * sway)


def _blinks(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Close the lids for one frame of some clips, half-way on either side of it."""
    when = rng.integers(0, 3 * frames)
    return np.asarray(np.clip(0.3 + 0.35 * np.abs(np.arange(frames) - when), 0.0, 1.0))
