"""Predictions for people: which files a folder means, lines of text, and frames with boxes and scores."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import cv2

from benchmarks.predict import FaceScore, Prediction
from extract.datasets.listing import NO_MEDIUM, list_files
from extract.datasets.passed import passed_over
from extract.errors import RequestError, UnreadableClip
from extract.faces import FaceSettings, read_clip
from extract.media.frames import Frames, Image
from extract.media.kinds import is_image, is_video
from extract.names import file_of, printable, stem_of
from extract.store import write_png

FAKE, REAL = (220, 30, 30), (30, 160, 60)  # RGB


def expand(paths: Iterable[Path], *, say: Callable[[str], object] = lambda line: None) -> Iterator[Path]:
    """Put the images and videos below a folder, by name, in its place; files stay what they are.

    A folder holds the same files as it does for a run: hidden ones are none, links are followed.

    Parameters
    ----------
    say : callable, optional
        Is told, in a line for each folder, what is passed over in it.

    Raises
    ------
    RequestError
        Nothing but folders without an image or a video.
    """
    empty, given = [], 0
    for path in paths:
        if not os.path.isdir(path):  # Path.is_dir raises where the system does not like the name
            given += 1
            yield path
            continue
        found = list_files(path)
        clips = [name for name in found.files if is_image(name) or is_video(name)]
        others = [NO_MEDIUM.code] * (len(found.files) - len(clips))
        for line in passed_over(
            [*(reason.code for reason in found.strange.values()), *others], where=str(path)
        ):
            say(line)
        if not clips:
            empty.append(path)
            say(f"No images or videos below {path}.")
        given += len(clips)
        yield from (path / file_of(name) for name in clips)
    if empty and not given:
        raise RequestError(
            f"Expected images or videos below {empty[0]}; there are none. Check the path.",
            code="E_FOLDER_EMPTY",
        )


def describe(prediction: Prediction, *, every_face: bool = False) -> Iterator[str]:
    """Yield the line of a prediction: verdict, score or probability, threshold, faces found, name.

    Parameters
    ----------
    every_face : bool
        A line for each face below it.
    """
    count = len(prediction.faces)
    number = f"score {prediction.score:.4f}" if prediction.score is not None else "score -"
    if prediction.probability is not None:
        number = f"probability {prediction.probability:.4f}"
    parts = [
        f"{prediction.verdict:<10}",
        number,
        _threshold(prediction),
        f"{count} face{'s' if count != 1 else ''}",
        prediction.name,
    ]
    yield printable("  ".join(parts) + _in_brackets(prediction.note, prediction.code))
    yield from map(_describe_face, prediction.faces if every_face else ())


def _describe_face(face: FaceScore) -> str:
    box = ", ".join(f"{side:.0f}" for side in face.box)
    numbers = f"box {box}  confidence {face.confidence:.3f}  score {face.score:.4f}"
    return f"  frame {face.frame}  {numbers}{_in_brackets(face.note)}"


def _in_brackets(note: str, code: str = "") -> str:
    words = " ".join(part for part in (note, f"[{code}]" if code else "") if part)
    return f"  ({words})" if words else ""


def _threshold(prediction: Prediction) -> str:
    # Beside a probability, where the score itself is not shown, it says of which number it is the threshold.
    if prediction.probability is None:
        return f"threshold {prediction.threshold:.4f}"
    return f"score {prediction.score:.4f}  threshold {prediction.threshold:.4f}"


def annotate(prediction: Prediction, settings: FaceSettings, *, out: Path, number: int) -> list[Path]:
    """Write each frame with a face, its faces boxed and scored; the file is decoded again for it, part by part.

    Parameters
    ----------
    number : int
        Of the file, which keeps equal names apart.

    Returns
    -------
    list of Path
        The pictures, PNG.
    """
    written: list[Path] = []
    if prediction.faces:
        # By `map`: the variable of a loop would hold frames while the next ones are decoded.
        draw = partial(_annotate_frames, prediction=prediction, out=out, number=number)
        with suppress(UnreadableClip):  # gone since it was predicted
            for pictures in map(draw, read_clip(Path(prediction.name), settings)):
                written += pictures
    return written


def _annotate_frames(frames: Frames, *, prediction: Prediction, out: Path, number: int) -> list[Path]:
    """Write those frames that have a face."""
    written = []
    for frame, image in zip(frames.numbers, frames.images, strict=True):
        if faces := [face for face in prediction.faces if face.frame == frame]:
            path = out / f"{number:04d}-{stem_of(prediction.name)}_{frame:06d}.png"
            write_png(path, _draw(image, faces, prediction.threshold))
            written.append(path)
    return written


def _draw(image: Image, faces: Iterable[FaceScore], threshold: float) -> Image:
    drawn, thick = image.copy(), max(1, round(max(image.shape) / 400))
    for face in faces:
        colour = FAKE if face.score >= threshold else REAL
        left, top, right, bottom = (round(side) for side in face.box)
        cv2.rectangle(drawn, (left, top), (right, bottom), colour, thick)
        place = (max(left, 0), max(top - 2 * thick, 12 * thick))
        cv2.putText(drawn, f"{face.score:.3f}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.4 * thick, colour, thick)
    return drawn
