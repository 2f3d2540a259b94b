"""Three ways to forge a face, small but honest: a swap, a self-blended image, a generator's resampling.

A face is placed by its five landmarks (eyes, nose, corners of the mouth). Each function takes and returns one
frame; what it draws at random is drawn once a clip, so that a forged clip looks like the work of one tool.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from extract.faces.cascade import SMALLEST, Cascade

Frame = npt.NDArray[np.uint8]
Image = npt.NDArray[np.float32]
Landmarks = npt.NDArray[np.float64]

ATTACKS = ("faceswap", "selfblend", "resample")
# eyes, nose and mouth of an average face; the distance of the eyes is 1, their middle the origin
AVERAGE: Landmarks = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.58], [-0.42, 1.06], [0.42, 1.06]])


@dataclass(frozen=True, kw_only=True)
class Forger:
    """The settings of one forged clip; lengths are in distances between the eyes."""

    width: float  # half-width of the mask
    height: float  # half-height of the mask
    feather: float  # standard deviation of the mask's edge
    shift: tuple[float, float]  # self-blend: how far the face is moved
    zoom: float  # self-blend: how much it is enlarged
    tint: tuple[float, float, float]  # self-blend: change of red, green and blue in grey levels
    contrast: float  # self-blend: factor
    detail: float  # self-blend: below 0 blurs, above 0 sharpens
    network: float  # swap: pixels of the frame in one pixel of the face that was generated
    coarseness: float  # resample: pixels of the frame in one pixel of the generator

    @staticmethod
    def choose(rng: np.random.Generator) -> "Forger":
        """Draw the settings of one clip."""
        return Forger(
            width=float(rng.uniform(0.88, 1.02)),
            height=float(rng.uniform(0.96, 1.08)),
            feather=float(rng.uniform(0.05, 0.12)),
            shift=(_away(rng, 0.03, 0.07), _away(rng, 0.02, 0.06)),
            zoom=1 + _away(rng, 0.02, 0.06),
            tint=tuple(rng.uniform(-8, 8, 3).tolist()),
            contrast=1 + _away(rng, 0.04, 0.12),
            detail=_away(rng, 0.4, 1.0),
            network=float(rng.uniform(1.2, 1.8)),
            coarseness=float(rng.uniform(1.7, 2.6)),
        )


def _away(rng: np.random.Generator, least: float, most: float) -> float:
    """A number between `least` and `most`, with either sign: never so small that nothing was forged."""
    return float(rng.choice([-1.0, 1.0]) * rng.uniform(least, most))


def faceswap(
    frame: Frame, landmarks: Landmarks, *, donor: Frame, donor_landmarks: Landmarks, by: Forger
) -> Frame:
    """Put the donor's face over the frame's: warped to its landmarks, matched in colour, feathered in."""
    matrix, size = fit_affine(donor_landmarks, landmarks), (frame.shape[1], frame.shape[0])
    face = cv2.warpAffine(_coarse(donor, by.network), matrix, size, flags=cv2.INTER_CUBIC)
    # within both faces: a head turned further than the other would bring its background along
    its_mask = cv2.warpAffine(face_mask(donor, donor_landmarks, by), matrix, size)
    mask = np.minimum(face_mask(frame, landmarks, by), its_mask).astype(np.float32)
    return blend(frame, _match_colours(face.astype(np.uint8), frame, mask), mask)


def _coarse(face: Frame, factor: float) -> Frame:
    """Reduce and enlarge: the small output of the network that the attack stands for."""
    small = (round(face.shape[1] / factor), round(face.shape[0] / factor))
    reduced = cv2.resize(face, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, face.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def selfblend(frame: Frame, landmarks: Landmarks, *, by: Forger) -> Frame:
    """Blend the frame with a slightly altered copy of itself (Shiohara and Yamasaki, CVPR 2022)."""
    place = fit_similarity(AVERAGE, landmarks)
    eyes = float(np.hypot(place[0, 0], place[1, 0]))
    middle = landmarks.mean(0)
    moved = np.array([[by.zoom, 0, 0], [0, by.zoom, 0]])
    moved[:, 2] = middle * (1 - by.zoom) + np.array(by.shift) * eyes
    size = (frame.shape[1], frame.shape[0])
    face = cv2.warpAffine(frame, moved, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    levels = face.astype(np.float32)
    blurred = cv2.GaussianBlur(levels, (0, 0), 1.2)
    levels += (levels - blurred) * np.float32(by.detail)
    mask = face_mask(frame, landmarks, by)
    grey = levels[mask > 0.5].mean(0)
    levels = (levels - grey) * np.float32(by.contrast) + grey + np.array(by.tint, np.float32)
    return blend(frame, levels, mask)


def resample(frame: Frame, landmarks: Landmarks, *, by: Forger) -> Frame:
    """Pass the face through fewer pixels and back, as a generator with nearest-neighbour upsampling does.

    Upsampling by repetition and a short filter leaves copies of the spectrum that the filter does not remove
    (Durall, Keuper and Keuper, CVPR 2020; Odena, Dumoulin and Olah, Distill 2016).
    """
    high, wide = frame.shape[:2]
    coarse = (round(wide / by.coarseness), round(high / by.coarseness))
    small = cv2.resize(frame, coarse, interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (wide, high), interpolation=cv2.INTER_NEAREST).astype(np.float32)
    filtered = cv2.sepFilter2D(large, -1, np.array([0.25, 0.5, 0.25]), np.array([0.25, 0.5, 0.25]))
    sharpened = filtered + 0.5 * (filtered - cv2.GaussianBlur(filtered, (0, 0), 1.5))
    return blend(frame, sharpened, face_mask(frame, landmarks, by))


def blend(frame: Frame, face: npt.NDArray[Any], mask: Image) -> Frame:
    """Mix `face` into `frame` (both (h, w, 3)) by `mask` (h, w) from 0 to 1; where it is 0 nothing changes."""
    mixed = frame + (face.astype(np.float32) - frame) * mask[..., None]
    forged: Frame = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return forged


def face_mask(frame: Frame, landmarks: Landmarks, by: Forger) -> Image:
    """Cover the face from the brows to below the mouth, (h, w) float32 from 0 to 1, with a soft edge."""
    place = fit_similarity(AVERAGE, landmarks)
    corners = _outline(landmarks, by) @ place[:, :2].T + place[:, 2]
    canvas = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillPoly(canvas, [np.round(corners * 16).astype(np.int32)], (255,), cv2.LINE_AA, 4)
    eyes = float(np.hypot(place[0, 0], place[1, 0]))
    soft = np.asarray(cv2.GaussianBlur(canvas / np.float32(255), (0, 0), by.feather * eyes), np.float32)
    soft[soft < 1 / 512] = 0  # below half a grey level: nothing
    return soft


def _outline(landmarks: Landmarks, by: Forger) -> Landmarks:
    """The edge of the mask round an average face, (64, 2); narrower on the side that the nose points to."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    outline = np.stack([np.cos(angle), np.sin(angle)], -1)
    outline = np.sign(outline) * np.abs(outline) ** 0.8
    upright = fit_similarity(landmarks, AVERAGE)
    turn = float((upright @ [*landmarks[2], 1.0])[0])
    outline[:, 0] *= by.width * np.clip(1 - 1.8 * np.sign(outline[:, 0]) * turn, 0.5, 1.0)
    outline[:, 1] = by.height * outline[:, 1] + 0.5
    return np.asarray(outline)


def fit_affine(source: Landmarks, target: Landmarks) -> Landmarks:
    """Least-squares affine map (2, 3) from points (n, 2) to points (n, 2)."""
    design = np.column_stack([source, np.ones(len(source))])
    return np.asarray(np.linalg.lstsq(design, target, rcond=None)[0].T)


def fit_similarity(source: Landmarks, target: Landmarks) -> Landmarks:
    """Least-squares rotation, scale and shift (2, 3) from points (n, 2) to points (n, 2)."""
    x, y = source.T
    zero, one = np.zeros_like(x), np.ones_like(x)
    design = np.concatenate([np.column_stack([x, -y, one, zero]), np.column_stack([y, x, zero, one])])
    a, b, across, down = np.linalg.lstsq(design, np.concatenate([target[:, 0], target[:, 1]]), rcond=None)[0]
    return np.array([[a, -b, across], [b, a, down]])


def _match_colours(face: Frame, frame: Frame, mask: Image) -> Image:
    """Give `face` the mean and deviation that `frame` has below the mask, in Lab (Reinhard et al., 2001)."""
    inside = mask > 0.5
    source, target = _lab(face), _lab(frame)
    spread = np.clip(target[inside].std(0) / (source[inside].std(0) + 1e-3), 0.6, 1.6)
    matched = (source - source[inside].mean(0)) * spread + target[inside].mean(0)
    return np.asarray(cv2.cvtColor(matched.astype(np.float32), cv2.COLOR_LAB2RGB) * 255, np.float32)


def _lab(frame: Frame) -> Image:
    return np.asarray(cv2.cvtColor(frame / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)


def find_landmarks(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Find the likeliest face's five landmarks in each frame with MTCNN.

    Parameters
    ----------
    frames : (n, h, w, 3) uint8
        RGB.

    Returns
    -------
    (n, 5, 2) float64
        Columns and rows, rounded to a quarter of a pixel so that the last bits of a convolution, which depend on
        the number of threads, never reach a file. A frame without a face has those of the nearest one with.

    Raises
    ------
    RuntimeError
        No frame shows a face.
    """
    for part in (4, 8):  # of the picture: nearly all faces that are filmed are larger than the first
        found = _likeliest(frames, smallest=max(SMALLEST, frames.shape[1] // part))
        if found:
            break
    else:
        raise RuntimeError("Expected a face in at least one frame; MTCNN found none. Use clearer portraits.")
    nearest = [min(found, key=lambda other: abs(other - index)) for index in range(len(frames))]
    return np.round(np.stack([found[index] for index in nearest]) * 4) / 4


def _likeliest(frames: npt.NDArray[np.uint8], *, smallest: int) -> dict[int, npt.NDArray[np.float64]]:
    """Return the landmarks (5, 2) of the likeliest face of those frames that show one of `smallest` pixels."""
    answers = _cascade().detect(list(frames), smallest=smallest, start=max(SMALLEST, frames.shape[1] // 8))
    return {
        index: np.asarray(points[int(np.argmax(chances))], np.float64)
        for index, (_, chances, points) in enumerate(answers)
        if len(chances)
    }


@cache
def _cascade() -> Cascade:
    """Build the networks once a process; on the processor, so that a clip's bytes need no GPU."""
    return Cascade("cpu")
