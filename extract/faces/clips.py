"""One clip in, the crops of its faces out, a bounded number of frames at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from extract.faces.crops import crop, part_inside
from extract.faces.detectors import Detection, FaceDetector, Floats
from extract.faces.quality import Quality, measure
from extract.faces.reading import one_file, read_clip
from extract.faces.search import search
from extract.faces.settings import FaceSettings
from extract.faces.tracks import longest_track
from extract.faces.turns import turn, turn_back
from extract.media.frames import Frames, Image
from extract.media.perturb import parse_perturbation


@dataclass(frozen=True, kw_only=True)
class Faces:
    """The crops of one clip.

    Attributes
    ----------
    crops : (n, s, s, 3) uint8 RGB
    frames : (n,) int64, position of each crop's frame in the clip
    boxes : (n, 4) float32, x1, y1, x2, y2 in pixels of the full frame
    confidences : (n,) float32
    landmarks : (n, 5, 2) float32, x and y in pixels of the full frame, see `Detection`
    turned : (n,) int64, degrees by which the frame was turned clockwise before it was cropped
    sizes, sharpness, outside : (n,) float32, see `Quality`
    searched : int, number of frames that were searched
    people : int, the largest number of usable faces in one frame, whichever are used
    note : str, what was wrong with a clip that could still be used, or had to be turned; else empty
    """

    crops: Image
    frames: npt.NDArray[np.int64]
    boxes: Floats
    confidences: Floats
    landmarks: Floats
    turned: npt.NDArray[np.int64]
    sizes: Floats
    sharpness: Floats
    outside: Floats
    searched: int
    people: int
    note: str = ""


@dataclass(frozen=True)
class _Face:
    """One face with its crop; the detection is in pixels of the frame as it is."""

    frame: int
    detection: Detection
    turned: int
    crop: Image
    quality: Quality


@dataclass(frozen=True)
class _Batch:
    """What some frames of a clip gave: the faces of each that may be used, and what is counted over the clip."""

    faces: list[list[_Face]]
    people: int
    note: str


def crop_faces(path: Path, settings: FaceSettings, detector: FaceDetector) -> Faces:
    """Decode a clip's frames, find faces and crop them.

    Memory holds the frames of one batch, see `FaceSettings.max_pixels`, and the crops; with ``select = "track"`` the
    crops of all faces, until the track is chosen.

    Returns
    -------
    Faces
        No row where no face was found.

    Raises
    ------
    UnreadableClip
        The file gives no frame, the settings' perturbation does not apply to it, or something else failed on this one
        file: the operating system, a decoder, memory.
    """
    look = partial(_look, path=path, settings=settings, detector=detector)
    with one_file():
        # By `map`: the variable of a loop would hold a batch while the next one is decoded.
        return _join(list(map(look, read_clip(path, settings))), settings)


def crop_frames(frames: Frames, settings: FaceSettings, detector: FaceDetector) -> Faces:
    """Find faces in decoded frames and crop them; returns as `crop_faces`."""
    return _join([_crop(frames, settings, detector)], settings)


def whole_crops(crops: Image) -> Faces:
    """Return crops (n, s, s, 3) that were not searched for: each the whole of a frame of its own."""
    count, side = len(crops), float(crops.shape[1])
    box = np.array([0, 0, side, side], np.float32)
    faces = [
        _Face(number, Detection(box, 1.0, np.zeros((5, 2), np.float32)), 0, one, Quality(side, 0.0, 0.0))
        for number, one in enumerate(crops)
    ]
    return _table(faces, searched=count, people=min(count, 1), note="", size=crops.shape[1])


def _look(frames: Frames, *, path: Path, settings: FaceSettings, detector: FaceDetector) -> _Batch:
    if settings.perturb and frames.images:
        frames = parse_perturbation(settings.perturb).apply(frames, path=path)
    return _crop(frames, settings, detector)


def _crop(frames: Frames, settings: FaceSettings, detector: FaceDetector) -> _Batch:
    """Crop the faces of some frames: those that are used, or all where that shows only at the end."""
    seen = search(frames.images, settings, detector) if frames.images else []
    faces = [
        [_cut(image, number, one.turned, found, settings=settings) for found in _select(one.faces, settings)]
        for number, image, one in zip(frames.numbers, frames.images, seen, strict=True)
    ]
    return _Batch(faces, max((len(one.faces) for one in seen), default=0), frames.note)


def _select(found: list[Detection], settings: FaceSettings) -> list[Detection]:
    if settings.select == "largest":
        return sorted(found, key=lambda one: one.area, reverse=True)[:1]
    return found


def _cut(image: Image, number: int, turned: int, found: Detection, *, settings: FaceSettings) -> _Face:
    """Crop one face, upright; `found` is in pixels of the turned frame."""
    margin = 0.0 if settings.detector == "none" else settings.margin
    upright = turn(image, turned)
    square = crop(upright, found.box, margin=margin, size=settings.size)
    quality = measure(square, part_inside(upright.shape, found.box, margin=margin), size=found.side)
    return _Face(number, turn_back(found, turned, shape=image.shape), turned, square, quality)


def _join(batches: Sequence[_Batch], settings: FaceSettings) -> Faces:
    """Put batches together and choose among their faces what could not be chosen before."""
    frames = [faces for batch in batches for faces in batch.faces]
    if settings.select == "track":
        track = longest_track([[face.detection.box for face in faces] for faces in frames])
        frames = [[faces[track[i]]] if i in track else [] for i, faces in enumerate(frames)]
    people = max((batch.people for batch in batches), default=0)
    notes = [*(batch.note for batch in batches), _say_turned(frames)]
    return _table(
        [face for faces in frames for face in faces],
        searched=len(frames),
        people=people,
        note="; ".join(note for note in notes if note),
        size=settings.size,
    )


def _say_turned(frames: Sequence[Sequence[_Face]]) -> str:
    count = sum(any(face.turned for face in faces) for faces in frames)
    return f"a face found only after turning the frame ({count} of {len(frames)})" if count else ""


def _table(faces: Sequence[_Face], *, searched: int, people: int, note: str, size: int) -> Faces:
    def column(values: Sequence[Any], kind: Any, *shape: int) -> Any:
        return np.array(values, kind).reshape(len(faces), *shape)

    found = [face.detection for face in faces]
    return Faces(
        crops=np.stack([face.crop for face in faces]) if faces else np.empty((0, size, size, 3), np.uint8),
        frames=column([face.frame for face in faces], np.int64),
        boxes=column([one.box for one in found], np.float32, 4),
        confidences=column([one.confidence for one in found], np.float32),
        landmarks=column([one.landmarks for one in found], np.float32, 5, 2),
        turned=column([face.turned for face in faces], np.int64),
        sizes=column([face.quality.size for face in faces], np.float32),
        sharpness=column([face.quality.sharpness for face in faces], np.float32),
        outside=column([face.quality.outside for face in faces], np.float32),
        searched=searched,
        people=people,
        note=note,
    )
