"""Draw a person: polygons for what has an edge, a height map under a lamp for what has a shape.

What an expression does not change is painted once a clip; a frame adds brows, eyes and mouth, then turns the
head by shifting every point in proportion to its depth.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from extract.datasets.drawing.easel import CENTRE, Easel, Image, Points, band, curve, oval, over, paint, tint
from extract.datasets.drawing.figure import SIDES, hair, head, scene
from extract.datasets.drawing.persons import Colour, Person, Pose
from extract.datasets.drawing.relief import light

SUPERSAMPLING = 1.5
NECK = 1.9  # the height, in face units, about which a head rolls
DEEPEST = 1.22  # of a head's points, with the nose


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """A person under the light of one clip, ready to be posed.

    Attributes
    ----------
    scene : (side, side, 3) float32
        Background and body, RGB from 0 to 1.
    head : (side, side, 4) float32
        Neck, ears and skin without expression, premultiplied.
    hair : (side, side, 4) float32
        What lies over the face, premultiplied.
    light : (side, side) float32
        Brightness of a white face at each point.
    covered : tuple of slice
        Rows and columns that head and hair lie in.
    """

    person: Person
    size: int
    easel: Easel
    scene: Image
    head: Image
    hair: Image
    light: Image
    covered: tuple[slice, slice]


def paint_portrait(person: Person, *, lamp: tuple[float, float], size: int) -> Portrait:
    """Paint what stays the same over a clip; `lamp` is the direction of the light (right, down)."""
    easel = Easel(side=round(size * SUPERSAMPLING))
    rng = np.random.default_rng(person.texture)
    shade = light(easel, person, lamp)
    back, skin, front = scene(easel, person, rng), head(easel, person, shade, rng), hair(easel, person, rng)
    covered = _window(np.maximum(skin[..., 3], front[..., 3]) > 0)
    return Portrait(
        person=person,
        size=size,
        easel=easel,
        scene=back,
        head=skin,
        hair=front,
        light=shade,
        covered=covered,
    )


def draw(portrait: Portrait, pose: Pose) -> Image:
    """Draw one frame, (size, size, 3) float32 RGB from 0 to 1."""
    easel, person = portrait.easel, portrait.person
    face = portrait.head.copy()
    for side in SIDES:
        _eye(easel, face, person, pose, side, portrait.light)
        _brow(easel, face, person, pose, side, portrait.light)
    _mouth(easel, face, person, pose, portrait.light)
    # Only where there is something: the rest of a picture is most of it.
    covered = portrait.covered
    face[covered] = over(face[covered], portrait.hair[covered])
    picture, reached = _sway(easel, portrait.scene, pose), _reach(easel, covered, pose)
    picture[reached] = over(picture[reached], _turn(easel, face, pose, reached))
    small = cv2.resize(picture, (portrait.size, portrait.size), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _brow(easel: Easel, face: Image, person: Person, pose: Pose, side: float, light: Image) -> None:
    t = np.linspace(0, 1, 24)
    height = -person.brow_height - 0.05 * pose.brows
    middle = height - person.brow_arch * np.sin(np.pi * t**1.3) + 0.05 * t**3
    thick = person.brow_width * np.sin(np.pi * np.clip(0.25 + 0.75 * t, 0, 1)) ** 0.8
    x = side * (0.17 + 0.52 * t)
    shape = band(curve(x, middle - 0.5 * thick), curve(x, middle + 0.5 * thick))
    paint(easel, face, shape, colour=_brow_colour(person), soft=0.018, opacity=0.9, light=light)


def _brow_colour(person: Person) -> Colour:
    """Brows are darker than the hair, and never as light as grey or fair hair."""
    return tint(person.hair, min(0.8, 0.26 / max(person.hair)))


def _eye(easel: Easel, face: Image, person: Person, pose: Pose, side: float, light: Image) -> None:
    centre, wide = person.eye_gap * side, 0.19 * person.eye_size
    t = np.linspace(-1, 1, 32)
    arch, x = (1 - t**2) ** 0.75, centre + wide * t
    level = -0.06 - person.eye_tilt * t * side
    lower = level + 0.055 * person.eye_size * arch
    upper = lower - (0.155 * person.eye_size * max(pose.lids, 0.0) + 0.004) * arch
    opening = band(curve(x, upper), curve(x, lower))
    _ball(easel, face, person, pose, centre, opening, light)
    crease = band(curve(x * 1.0, upper - 0.05), curve(x, upper - 0.072))
    paint(easel, face, crease, colour=tint(person.skin, 0.5), soft=0.014, opacity=0.55, light=light)
    lashes = band(curve(x, upper - 0.020 * arch - 0.008), curve(x, upper + 0.012))
    paint(easel, face, lashes, colour=(0.07, 0.05, 0.05), soft=0.009, opacity=0.9)
    rim = band(curve(x, lower), curve(x, lower + 0.016))
    paint(easel, face, rim, colour=tint(person.skin, 0.55), soft=0.01, opacity=0.6, light=light)


def _ball(
    easel: Easel, face: Image, person: Person, pose: Pose, centre: float, opening: Points, light: Image
) -> None:
    """White, iris, pupil and glint, as far as the lids are open."""
    x, y, size = centre + 0.055 * pose.gaze_x, -0.082 + 0.03 * pose.gaze_y, person.eye_size
    paint(easel, face, opening, colour=(0.90, 0.87, 0.85), light=light)
    paint(easel, face, oval(x, y, 0.100 * size, 0.100 * size), colour=tint(person.iris, 0.45), inside=opening)
    paint(easel, face, oval(x, y, 0.080 * size, 0.080 * size), colour=person.iris, soft=0.02, inside=opening)
    paint(easel, face, oval(x, y, 0.040 * size, 0.040 * size), colour=(0.02, 0.02, 0.02), inside=opening)
    lid = opening[: len(opening) // 2]
    shade = band(lid - np.array([0.0, 0.03]), lid + np.array([0.0, 0.025]))
    paint(easel, face, shade, colour=(0.1, 0.07, 0.06), soft=0.02, opacity=0.5, inside=opening)
    paint(easel, face, oval(x + 0.03, y - 0.035, 0.018, 0.018), colour=(1.0, 1.0, 1.0), inside=opening)


def _mouth(easel: Easel, face: Image, person: Person, pose: Pose, light: Image) -> None:
    t = np.linspace(-1, 1, 40)
    bulge, full = 1 - t**2, person.lip_fullness
    x = person.mouth_width * (1 + 0.14 * pose.smile) * t
    seam = person.mouth_height + 0.05 * pose.smile * (0.5 - t**2) * 1.6
    gape = 0.15 * pose.gape * bulge
    bow = 1 - 0.28 * np.exp(-0.5 * (t / 0.14) ** 2)
    top, bottom = seam - 0.075 * full * bulge**0.9 * bow, seam + gape + 0.10 * full * bulge**0.8
    upper = band(curve(x, top), curve(x, seam))
    lower = band(curve(x, seam + gape), curve(x, bottom))
    inner = band(curve(x, seam - 0.006), curve(x, seam + gape + 0.010))
    paint(easel, face, inner, colour=(0.20, 0.07, 0.07), light=light)
    teeth = band(curve(0.8 * x, seam), curve(0.8 * x, seam + 0.6 * gape))
    paint(easel, face, teeth, colour=(0.88, 0.85, 0.80), soft=0.012, inside=inner, light=light)
    paint(easel, face, upper, colour=tint(person.lips, 0.86), soft=0.016, opacity=0.85, light=light)
    paint(easel, face, lower, colour=person.lips, soft=0.02, opacity=0.85, light=light)
    middle = seam + gape + 0.05 * full
    gloss = band(curve(0.35 * x, middle - 0.012), curve(0.35 * x, middle + 0.012))
    paint(easel, face, gloss, colour=tint(person.lips, 1.35), soft=0.02, opacity=0.5, light=light)
    line = band(curve(x, seam - 0.012), curve(x, seam + 0.010))
    paint(
        easel, face, line, colour=tint(person.lips, 0.35), soft=0.010, opacity=0.8 - 0.4 * min(pose.gape, 1.0)
    )


def _window(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns, up to the first and last that hold something, of a mask (side, side)."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _reach(easel: Easel, covered: tuple[slice, slice], pose: Pose) -> tuple[slice, slice]:
    """Return the part of the canvas in which `_turn` shows anything of what is `covered`, rather too large."""
    low, high = ([part.start for part in covered[::-1]], [part.stop for part in covered[::-1]])
    ends = (np.array([low, high]) - np.array(CENTRE) * easel.side) / easel.unit
    slack = np.abs([pose.yaw, pose.pitch]) * DEEPEST + 2 / easel.unit
    (left, top), (right, bottom) = ends[0] - slack, ends[1] + slack
    x, y = np.array([left, right, left, right]), np.array([top, top, bottom, bottom]) - NECK
    cosine, sine = np.cos(pose.roll) * pose.zoom, np.sin(pose.roll) * pose.zoom
    across, down = cosine * x - sine * y + pose.x, sine * x + cosine * y + pose.y + NECK
    parts = []
    for place, centre, part in ((down, CENTRE[1], covered[0]), (across, CENTRE[0], covered[1])):
        pixels = place * easel.unit + centre * easel.side
        # What lies at an edge of the canvas goes on beyond it.
        first = 0 if part.start == 0 else max(0, int(pixels.min()))
        last = easel.side if part.stop == easel.side else min(easel.side, int(pixels.max()) + 2)
        parts.append(slice(first, last))
    return parts[0], parts[1]


def _turn(easel: Easel, head: Image, pose: Pose, part: tuple[slice, slice]) -> Image:
    """Move, scale and roll the head about its neck, and turn it: a point at depth z goes z * yaw to the side.

    Returns a part of the canvas.
    """
    x, y = (coordinates[part] for coordinates in easel.grid)
    cosine, sine = np.cos(pose.roll) / pose.zoom, np.sin(pose.roll) / pose.zoom
    across, down = x - pose.x, y - pose.y - NECK
    x, y = cosine * across, cosine * down
    x += sine * down
    y -= sine * across
    y += NECK
    depth = 1 - (x / 1.25) ** 2
    depth -= (y / 1.70) ** 2
    np.sqrt(np.maximum(depth, 0.0, out=depth), out=depth)
    nose = (x / 0.16) ** 2
    nose += ((y - 0.42) / 0.14) ** 2
    nose *= -0.5
    depth += np.multiply(0.22, np.exp(nose, out=nose), out=nose)
    columns = _pixels(x, depth, pose.yaw, easel, CENTRE[0])
    rows = _pixels(y, depth, pose.pitch, easel, CENTRE[1])
    turned = cv2.remap(head, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, np.float32)


def _pixels(place: Points, depth: Points, turn: float, easel: Easel, centre: float) -> Image:
    """Turn face coordinates into the pixels that `_turn` takes for them; works on `place` itself."""
    place -= turn * depth
    place *= easel.unit
    place += centre * easel.side
    return place.astype(np.float32)


def _sway(easel: Easel, scene: Image, pose: Pose) -> Image:
    """Let body and background follow the head a little, as a hand-held camera makes them."""
    shift = np.array([pose.x, pose.y]) * 0.5 * easel.unit
    matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
    moved = cv2.warpAffine(scene, matrix, (easel.side, easel.side), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
