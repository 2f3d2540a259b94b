"""Search clips for faces and store what is found, in this process or in several."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from extract.errors import UnreadableClip
from extract.faces import FACE_DETECTORS, FaceDetector, FaceSettings, crop_faces, face_detector, faces_key
from extract.media.kinds import is_image
from extract.store import Store
from extract.workers import PATIENCE, Workers, count, run_units

STILLS = 16  # images of one unit: one alone costs less than to send it to another process


@dataclass(frozen=True)
class Clip:
    """A file and its content hash."""

    path: str
    content: str


@dataclass(frozen=True)
class Searched:
    """A clip with the index of its faces in the store, or with the reason, and its code, why it cannot be read."""

    clip: Clip
    index: dict[str, Any] | None
    reason: str = ""
    code: str = ""


def search_clips(
    clips: Sequence[Clip],
    settings: FaceSettings,
    *,
    store: Store,
    workers: Workers = 1,
    patience: float | None = None,
) -> Iterator[Searched]:
    """Search the clips that the store does not hold yet; yields every clip once, as it is known.

    Several workers give the same bytes as one. A worker that is killed costs the clips in its hand, which are
    searched again. `patience` is that of `run_units`, by default `PATIENCE`.
    """
    key, missing = faces_key(settings), []
    for clip in clips:
        index = store.face_index(key, clip.content)
        if index is None:
            missing.append(clip)
        else:
            yield Searched(clip, index)
    missing.reverse()  # `data_begun` comes from the other end
    wait = PATIENCE if patience is None else patience
    work = partial(_search, settings=settings, store=store)
    for _, searched in run_units(work, _units(missing, count(workers)), workers=workers, patience=wait):
        yield from searched


def _units(clips: Sequence[Clip], workers: int) -> list[list[Clip]]:
    """Put images together, as far as every worker still has a unit; each video is one."""
    stills = [clip for clip in clips if is_image(clip.path)] if workers > 1 else []
    size = max(1, min(STILLS, len(stills) // workers))
    alone = [[clip] for clip in clips if not (workers > 1 and is_image(clip.path))]
    return [*alone, *(stills[start : start + size] for start in range(0, len(stills), size))]


def _search(clips: Sequence[Clip], *, settings: FaceSettings, store: Store) -> list[Searched]:
    return [_searched(clip, settings, store) for clip in clips]


def _searched(clip: Clip, settings: FaceSettings, store: Store) -> Searched:
    key = faces_key(settings)
    index = store.face_index(key, clip.content)  # there, where its worker was killed after it was stored
    if index is None:
        try:
            faces = crop_faces(Path(clip.path), settings, _detector(settings))
            store.check_unchanged(Path(clip.path), clip.content)
        except UnreadableClip as error:
            return Searched(clip, None, error.message, error.code)
        store.write_faces(key, clip.content, faces=faces)
        index = store.face_index(key, clip.content)
        assert index is not None  # written just now
    return Searched(clip, index)


def _detector(settings: FaceSettings) -> FaceDetector:
    return _built(FACE_DETECTORS[settings.detector], settings)


@cache
def _built(kind: Callable[[], FaceDetector], settings: FaceSettings) -> FaceDetector:
    """Build a detector once a process: when the first clip needs it, so that a cached run loads no network."""
    return face_detector(settings)
