"""What no expression changes: background, clothes, neck, skin and hair."""

import cv2
import numpy as np

from extract.datasets.drawing.easel import Easel, Image, Points, band, curve, hill, noise, oval, paint, tint
from extract.datasets.drawing.persons import Person

SIDES = (-1.0, 1.0)


def scene(easel: Easel, person: Person, rng: np.random.Generator) -> Image:
    """Background out of focus, and clothes."""
    x, y = easel.grid
    ramp = 1.0 + rng.uniform(-0.12, 0.12) * x / 2.7 - rng.uniform(0.0, 0.12) * y / 2.7
    scene: Image = np.array(person.wall, np.float32) * ramp[..., None].astype(np.float32)
    for _ in range(int(rng.integers(3, 9))):
        _furniture(easel, scene, person, rng)
    scene = cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.02, 0.12) * easel.unit).astype(np.float32)
    _body(easel, scene, person, rng)
    return scene


def _furniture(easel: Easel, scene: Image, person: Person, rng: np.random.Generator) -> None:
    left, top = rng.uniform(-3.0, 2.5), rng.uniform(-3.0, 2.0)
    wide, high = rng.uniform(0.2, 1.6), rng.uniform(0.4, 3.0)
    corners = np.array([[left, top], [left + wide, top], [left + wide, top + high], [left, top + high]])
    red, green, blue = np.clip(
        np.array(person.wall) + rng.normal(0.0, 0.11) + rng.normal(0.0, 0.05, 3), 0.05, 0.95
    ).tolist()
    paint(easel, scene, corners, colour=(red, green, blue), soft=0.02, opacity=0.8)


def _body(easel: Easel, scene: Image, person: Person, rng: np.random.Generator) -> None:
    across = np.linspace(-2.6, 2.6, 60)
    top = 1.72 + 0.5 * (np.abs(across) / 1.7) ** 2.2
    body = np.concatenate([curve(across, top), [[2.6, 3.2], [-2.6, 3.2]]])
    x, y = easel.grid
    folds = 1 + 0.06 * noise(easel, rng, 0.5) + 0.03 * noise(easel, rng, 0.06)
    round_off = np.clip(1.05 - 0.12 * np.abs(x) ** 1.5 - 0.08 * (y - 1.7), 0.3, 1.1)
    paint(easel, scene, body, colour=person.cloth, light=(folds * round_off).astype(np.float32))
    if rng.random() < 0.6:
        for side in SIDES:
            lapel = np.array([[0.45, 1.6], [0.78, 1.72], [0.32, 2.5], [0.02, 2.35]]) * (side, 1.0)
            paint(easel, scene, lapel, colour=tint(person.cloth, 0.78), soft=0.02)


def head(easel: Easel, person: Person, light: Image, rng: np.random.Generator) -> Image:
    """Hair behind the head, neck, ears, and the skin of the face."""
    head = np.zeros((easel.side, easel.side, 4), np.float32)
    _back_hair(easel, head, person, rng)
    _neck(easel, head, person)
    for side in SIDES:
        paint(easel, head, oval(1.02 * side, 0.10, 0.13, 0.27), colour=tint(person.skin, 0.80))
        paint(easel, head, oval(1.04 * side, 0.10, 0.06, 0.17), colour=tint(person.skin, 0.58), soft=0.03)
    paint(easel, head, _outline(person), colour=person.skin, light=light * _complexion(easel, person, rng))
    _beard(easel, head, person, light)
    _creases(easel, head, person, light)
    _nostrils(easel, head, person, light)
    return head


def _neck(easel: Easel, head: Image, person: Person) -> None:
    y = np.linspace(0.7, 2.25, 40)
    wide = 0.62 + 0.25 * np.clip((y - 1.4) / 0.5, 0, 1) ** 2 - 0.75 * np.clip((y - 1.8) / 0.45, 0, 1) ** 2
    neck = band(curve(wide, y), curve(-wide, y))
    x, _ = easel.grid
    light = (0.86 - 0.35 * np.abs(x) ** 2).astype(np.float32)
    paint(easel, head, neck, colour=person.skin, light=light, soft=0.02)
    shadow = oval(0.0, person.chin - 0.02, 0.8, 0.42)
    paint(easel, head, shadow, colour=tint(person.skin, 0.42), soft=0.09, opacity=0.75, inside=neck)


def _complexion(easel: Easel, person: Person, rng: np.random.Generator) -> Image:
    """Mottling and pores, as a factor near 1."""
    mottled = 1 + 0.018 * noise(easel, rng, 0.35) + 0.015 * noise(easel, rng, 0.08)
    pores = (0.010 + 0.012 * person.age) * noise(easel, rng, 0.025)
    sockets = hill(easel, 0.42, -0.04, 0.19, 0.12) + hill(easel, -0.42, -0.04, 0.19, 0.12)
    return np.asarray(mottled + pores - (0.10 + 0.08 * person.age) * sockets, np.float32)


def _beard(easel: Easel, head: Image, person: Person, light: Image) -> None:
    red, green, blue = person.skin
    for side in SIDES:
        blush = oval(0.55 * side, 0.40, 0.20, 0.15)
        rosy = (red, green * 0.80, blue * 0.80)
        paint(easel, head, blush, colour=rosy, soft=0.1, opacity=0.35, light=light)
    if person.beard:
        lower = _outline(person)[3:46] * (0.98, 0.99)
        upper = [[-0.75, 0.35], [-0.35, 0.62], [0.0, 0.58], [0.35, 0.62], [0.75, 0.35]]
        paint(
            easel,
            head,
            np.concatenate([lower, upper]),
            colour=person.hair,
            soft=0.06,
            opacity=0.65 * person.beard,
            light=light,
        )


def _creases(easel: Easel, head: Image, person: Person, light: Image) -> None:
    """Folds from the nose to the mouth, and lines below the eyes, deeper with age."""
    dark, depth = tint(person.skin, 0.62), 0.10 + 0.35 * person.age
    t = np.linspace(0, 1, 20)
    for side in SIDES:
        fold = curve(side * (0.24 + 0.24 * t**0.8), 0.42 + 0.36 * t)
        width = np.array([0.03 * side, 0.0])
        paint(easel, head, band(fold, fold + width), colour=dark, soft=0.03, opacity=depth, light=light)
        bag = curve(side * (0.26 + 0.32 * t), 0.06 + 0.07 * np.sin(np.pi * t))
        width = np.array([0.0, 0.02])
        paint(easel, head, band(bag, bag + width), colour=dark, soft=0.02, opacity=depth, light=light)


def _nostrils(easel: Easel, head: Image, person: Person, light: Image) -> None:
    base = 0.50 * person.nose_length
    shadow = oval(0.0, base + 0.06, 0.20 * person.nose_width, 0.05)
    paint(easel, head, shadow, colour=tint(person.skin, 0.55), soft=0.04, opacity=0.5, light=light)
    for side in SIDES:
        hole = oval(0.095 * person.nose_width * side, base + 0.015, 0.055 * person.nose_width, 0.028)
        paint(easel, head, hole, colour=tint(person.skin, 0.25), soft=0.014, opacity=0.85, light=light)
        across, down = np.array([0.19, 0.235, 0.22]), np.array([0.02, -0.05, -0.13])
        wing = curve(side * person.nose_width * across, base + down)
        inner = wing - np.array([0.03 * side, 0.0])
        paint(
            easel, head, band(wing, inner), colour=tint(person.skin, 0.5), soft=0.02, opacity=0.5, light=light
        )


def _outline(person: Person) -> Points:
    """The contour of skull, cheeks and chin, (96, 2)."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    x, y = np.cos(angle), np.sin(angle)
    lower = np.sign(x) * np.abs(x) ** person.jaw * (1 - 0.10 * np.clip(y, 0, 1) ** 2)
    upper = np.sign(x) * np.abs(x) ** 0.85
    return curve(np.where(y > 0, lower, upper), np.where(y > 0, person.chin * np.abs(y) ** 0.92, 1.36 * y))


def hair(easel: Easel, person: Person, rng: np.random.Generator) -> Image:
    """Hair in front of the head, premultiplied (side, side, 4)."""
    layer = np.zeros((easel.side, easel.side, 4), np.float32)
    if person.style == "bald":
        stubble = band(_contour(0.0, 0.10), _hairline(person))
        paint(easel, layer, stubble, colour=person.hair, soft=0.1, opacity=0.22)
        return layer
    shape = band(_contour(_volume(person), 0.25), _hairline(person))
    paint(easel, layer, shape, colour=person.hair, light=_sheen(easel, rng), soft=0.025)
    _strands(easel, layer, person, rng)
    return layer


def _volume(person: Person) -> float:
    return person.hair_volume * (0.4 if person.style == "crop" else 1.0)


def _contour(volume: float, low: float) -> Points:
    """The outer edge of the hair, from the left temple over the top to the right one."""
    angle = np.linspace(np.pi, 0, 60)
    across = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.82
    return curve((1.04 + 0.6 * volume) * across, low - (1.36 + low + volume) * np.sin(angle) ** 0.9)


def _hairline(person: Person) -> Points:
    """Where the hair ends above the face, from left to right."""
    angle = np.linspace(np.pi, 0, 60)
    wave = 0.03 * np.sin(9 * angle + person.age * 6) + 0.02 * np.sin(17 * angle)
    top = 0.50 if person.style == "fringe" else person.hairline + 0.06 * np.cos(angle * 2)
    side = 0.30 if person.style in ("bob", "long", "fringe") else 0.05
    return curve(0.97 * np.cos(angle), side - (top + side) * np.sin(angle) ** 0.45 + wave)


def _sheen(easel: Easel, rng: np.random.Generator) -> Image:
    _, y = easel.grid
    gleam = np.exp(-0.5 * ((y + 1.15) / 0.16) ** 2)
    return np.asarray(0.85 + 0.55 * gleam + 0.08 * noise(easel, rng, 0.05), np.float32)


def _strands(easel: Easel, layer: Image, person: Person, rng: np.random.Generator) -> None:
    """Lines along the hair, lighter and darker, inside its coverage."""
    outer, inner = _contour(_volume(person), 0.25), _hairline(person)
    cover = layer[..., 3:].copy()
    for _ in range(160):
        near, far = rng.uniform(0, 1, 2)
        middle, length = rng.integers(0, 60), int(rng.integers(6, 16))
        index = np.clip(np.arange(middle - length, middle + length), 0, 59)
        mix = np.linspace(near, 0.7 * near + 0.3 * far, len(index))[:, None]
        line = inner[index] + mix * (outer[index] - inner[index])
        tone = (np.array(person.hair) * rng.uniform(0.6, 1.7)).tolist()
        points = np.round(easel.pixels(line) * 16).astype(np.int32)
        cv2.polylines(layer, [points], False, (*tone, 1.0), 1, cv2.LINE_8, 4)
    layer[:] = cv2.GaussianBlur(layer, (0, 0), 0.012 * easel.unit)
    layer *= cover


def _back_hair(easel: Easel, head: Image, person: Person, rng: np.random.Generator) -> None:
    lengths = {"long": 2.3, "bob": 1.15}
    if person.style == "bun":
        paint(easel, head, oval(0.0, -1.62, 0.42, 0.36), colour=tint(person.hair, 1.1), soft=0.03)
    if person.style in lengths:
        low, wide = lengths[person.style], 1.08 + 0.6 * person.hair_volume
        y = np.linspace(0.0, low, 40)
        side = wide + 0.10 * np.sin(y * 2.2) - 0.25 * np.clip((y - low + 0.3) / 0.3, 0, 1) ** 2
        shape = np.concatenate([curve(-side, y)[::-1], _contour(_volume(person), 0.0), curve(side, y)])
        light = (0.75 + 0.10 * noise(easel, rng, 0.07)).astype(np.float32)
        paint(easel, head, shape, colour=person.hair, light=light, soft=0.03)
