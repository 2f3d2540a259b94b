"""Demonstration data without a network: drawn or photographed persons, filmed, and forged in three ways.

Real and fake clips go through the same drawing, camera and encoder with settings drawn from the same ranges; only
the forgery separates them. Faces are swapped within small groups of identities, so that folds exist in which no
identity, shown or put in, is on both sides.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as validated

from extract.datasets.drawing.persons import Pose, make_person, make_poses
from extract.datasets.filming import DrawnSubject, Frames, PhotographedSubject, Subject, film
from extract.datasets.forgeries import ATTACKS, Forger, faceswap, find_landmarks, resample, selfblend
from extract.errors import RequestError
from extract.files import hash_file, read_json, write_bytes, write_json
from extract.progress import Track, no_progress
from extract.workers import PATIENCE, Workers, ahead, cores, run_units

FRAMES_PER_SECOND = 12
VERSION = 3  # of the pictures: raise it when the same settings give other clips
PHOTOGRAPHS = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@validated(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SyntheticSettings:
    """How many clips of whom.

    Attributes
    ----------
    identities : int
        Persons, at least `group_size`.
    real_clips, fake_clips : int
        Clips of each person; the attacks take turns over all fake clips.
    frames, size : int
        Frames of a clip, and the side of a frame in pixels (even).
    group_size : int
        Faces are swapped only among so many neighbours; what does not fill a group joins the last one.
    seed : int
        Everything random follows from it.
    portraits : Path, optional
        A folder of photographs, one a person, to use in place of drawn persons; the first `identities` by name.
    """

    identities: int = 24
    real_clips: int = 2
    fake_clips: int = 2
    frames: int = 12
    size: int = 256
    group_size: int = 2
    seed: int = 0
    portraits: Path | None = None

    def __post_init__(self) -> None:
        least = {"real_clips": 0, "fake_clips": 0, "frames": 1, "size": 64, "group_size": 2, "seed": 0}
        for name, low in {**least, "identities": self.group_size}.items():
            if getattr(self, name) < low:
                raise ValueError(f"Expected {name} of at least {low}; got {getattr(self, name)}. Raise it.")
        if self.size % 2:
            raise ValueError(f"Expected an even size; got {self.size}. The encoder halves the colour planes.")


@dataclass(frozen=True, kw_only=True)
class _Clip:
    """One clip to make: row `index` of `identity`'s real or fake clips."""

    identity: int
    index: int
    label: int
    source: int
    attack: str
    path: str

    def rng(self, seed: int, purpose: int) -> np.random.Generator:
        """Random numbers of this clip alone, whatever was made before it."""
        return np.random.default_rng([seed, self.identity, self.label, self.index, purpose])


def generate(
    settings: SyntheticSettings, folder: Path, *, workers: Workers = 1, track: Track = no_progress
) -> Path:
    """Make the clips that are missing below `folder`, then the manifest.

    A clip is renamed into place when complete and the manifest is written last: after a kill the same call
    continues and ends with the same bytes. The same settings give the same bytes on the same machine.

    Parameters
    ----------
    settings : SyntheticSettings
        What to make.
    folder : Path
        Where; created if missing. Clips go to ``real/`` and ``fake/``.
    workers : int or Cluster
        Processes; the bytes are the same with any number.
    track : Track, optional
        Shows progress.

    Returns
    -------
    Path
        ``folder/clips.csv`` with the columns path (relative to the folder), label (1 = fake), identity,
        source_identity (whose face was put in; the identity itself where a face was forged from itself; empty
        for real clips), attack, dataset, split (empty).

    Raises
    ------
    RequestError
        `folder` holds clips made with other settings, or there are fewer portraits than identities.
    RuntimeError
        No face was found in a clip to be forged, or OpenCV cannot write video.
    """
    subjects = _subjects(settings)
    clips = _plan(settings, [subject.name for subject in subjects])
    manifest, table = folder / "clips.csv", _table(clips, subjects, settings)
    _claim(folder, settings)
    missing = [clip for clip in clips if not (folder / clip.path).exists()]
    make = partial(_make, settings=settings, folder=folder)
    missing.reverse()  # `begun` comes from the other end
    for _ in track(
        run_units(make, missing, workers=workers, patience=PATIENCE), "demo clips", total=len(missing)
    ):
        pass
    if missing or not manifest.exists() or manifest.read_bytes() != table:
        _sweep(folder)
        write_bytes(manifest, table)
    return manifest


@contextmanager
def begun(
    settings: SyntheticSettings,
    folder: Path,
    *,
    workers: Workers,
    then: Callable[[Sequence[Path]], object] | None = None,
) -> Iterator[None]:
    """Make clips in another process while this one prepares something else, and then makes the rest by `generate`.

    Nothing happens where clips are to be made by one worker or by a cluster, or on one core.

    Parameters
    ----------
    then : callable, optional
        What the other process does with the clips, in their order, when none is left to make; as `ahead` takes it.
    """
    alone = not isinstance(workers, int) or workers < 2 or cores() < 2
    if alone or (folder / "clips.csv").exists():
        yield
        return
    with ahead(partial(_make_first, settings, folder, then)):
        yield
    _sweep(folder)  # what it had in hand


def _make_first(
    settings: SyntheticSettings, folder: Path, then: Callable[[Sequence[Path]], object] | None
) -> None:
    """Make the clips that are missing, from the first on."""
    subjects = _known_subjects(settings)
    clips = _plan(settings, [subject.name for subject in subjects])
    _claim(folder, settings)
    for clip in clips:
        _make(clip, settings=settings, folder=folder)
    if then:  # the last ones may be in the hands of others
        then([path for clip in clips if (path := folder / clip.path).exists()])


def _make(clip: _Clip, *, settings: SyntheticSettings, folder: Path) -> None:
    if (folder / clip.path).exists():  # made meanwhile
        return
    _write_clip(_make_clip(clip, _known_subjects(settings), settings), folder / clip.path)


@cache
def _known_subjects(settings: SyntheticSettings) -> Sequence[Subject]:
    """Draw or read the persons once a process."""
    return _subjects(settings)


def _subjects(settings: SyntheticSettings) -> Sequence[Subject]:
    if settings.portraits is not None:
        photographs = _photographs(settings.portraits, settings.identities)
        return [PhotographedSubject(path.stem, path) for path in photographs]
    seeds = [np.random.default_rng([settings.seed, identity]) for identity in range(settings.identities)]
    return [DrawnSubject(f"person{identity:03d}", make_person(rng)) for identity, rng in enumerate(seeds)]


def _photographs(folder: Path, count: int) -> list[Path]:
    images = (path for path in folder.glob("[!.]*") if path.suffix.lower() in PHOTOGRAPHS)
    found = sorted(
        {path.stem: path for path in sorted(images)}.values()
    )  # the stem is the name of the person
    if len(found) < count:
        raise RequestError(
            f"Expected at least {count} portraits in {folder}; got {len(found)}. Add images or lower identities.",
            code="E_PORTRAITS_FEW",
        )
    return found[:count]


def _plan(settings: SyntheticSettings, names: list[str]) -> list[_Clip]:
    """Every clip, person by person, the real ones first."""
    numbers = range(settings.real_clips + settings.fake_clips)
    return [
        _clip(settings, identity, number=number, name=f"{name}_{number}.mp4")
        for identity, name in enumerate(names)
        for number in numbers
    ]


def _clip(settings: SyntheticSettings, identity: int, *, number: int, name: str) -> _Clip:
    index = number - settings.real_clips
    if index < 0:
        return _Clip(
            identity=identity, index=number, label=0, source=identity, attack="", path=f"real/{name}"
        )
    attack = ATTACKS[(identity * settings.fake_clips + index) % len(ATTACKS)]
    source = _source(settings, identity, index) if attack == "faceswap" else identity
    return _Clip(identity=identity, index=index, label=1, source=source, attack=attack, path=f"fake/{name}")


def _source(settings: SyntheticSettings, identity: int, index: int) -> int:
    """Whose face to put into a person's clip: the others of the group take turns."""
    groups = settings.identities // settings.group_size
    group = min(identity // settings.group_size, groups - 1)
    first = group * settings.group_size
    last = settings.identities if group == groups - 1 else first + settings.group_size
    others = [other for other in range(first, last) if other != identity]
    return others[index % len(others)]


def _table(clips: list[_Clip], subjects: Sequence[Subject], settings: SyntheticSettings) -> bytes:
    rows = [
        {
            "path": clip.path,
            "label": clip.label,
            "identity": subjects[clip.identity].name,
            "source_identity": subjects[clip.source].name if clip.label else "",
            "attack": clip.attack,
            "dataset": "portraits" if settings.portraits else "synthetic",
            "split": "",
        }
        for clip in clips
    ]
    text: str = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
    return text.encode()


def _claim(folder: Path, settings: SyntheticSettings) -> None:
    """Refuse a folder that was begun with other settings: its clips would be taken for these."""
    record = recipe(settings)
    claim = folder / "settings.json"
    if read_json(claim) not in (None, record):
        raise RequestError(
            f"Expected {folder} to be empty or made with these settings; got clips of other settings "
            f"(see {claim.name} there). Choose another folder or delete this one.",
            code="E_FOLDER_TAKEN",
        )
    if not claim.exists():
        write_json(claim, record)


def recipe(settings: SyntheticSettings) -> dict[str, Any]:
    """Return everything that decides the clips: the settings, the pictures' version, the photographs used."""
    record: dict[str, Any] = {"version": VERSION, **asdict(settings)}
    if settings.portraits is not None:
        photographs = _photographs(settings.portraits, settings.identities)
        record["portraits"] = {path.name: hash_file(path) for path in photographs}
    return record


def _make_clip(clip: _Clip, subjects: Sequence[Subject], settings: SyntheticSettings) -> Frames:
    """Film the person and, for a fake, forge every frame: (frames, size, size, 3) uint8 RGB."""
    rng = clip.rng(settings.seed, 0)
    poses = make_poses(rng, settings.frames)
    frames = film(subjects[clip.identity], poses, size=settings.size, rng=rng)
    return _forge(frames, poses, clip, subjects=subjects, settings=settings) if clip.label else frames


def _forge(
    frames: Frames,
    poses: list[Pose],
    clip: _Clip,
    *,
    subjects: Sequence[Subject],
    settings: SyntheticSettings,
) -> Frames:
    by, landmarks = Forger.choose(clip.rng(settings.seed, 1)), find_landmarks(frames)
    if clip.attack != "faceswap":
        attack = {"selfblend": selfblend, "resample": resample}[clip.attack]
        return np.stack([attack(*pair, by=by) for pair in zip(frames, landmarks, strict=True)])
    # the donor acts what the target acts, as a trained network makes it do, under a lamp and camera of its own
    donors = film(subjects[clip.source], poses, size=settings.size, rng=clip.rng(settings.seed, 2))
    pairs = zip(frames, landmarks, donors, find_landmarks(donors), strict=True)
    return np.stack([faceswap(f, at, donor=donor, donor_landmarks=its, by=by) for f, at, donor, its in pairs])


def _write_clip(frames: Frames, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(
        f".{path.stem}.{uuid.uuid4().hex}.partial.mp4"
    )  # OpenCV chooses the container by the ending
    size = (frames.shape[2], frames.shape[1])
    writer = cv2.VideoWriter(str(partial), cv2.VideoWriter.fourcc(*"mp4v"), FRAMES_PER_SECOND, size)
    if not writer.isOpened():
        raise RuntimeError(
            f"Expected OpenCV to encode mp4v; it cannot write {partial}. Check the installation."
        )
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    try:
        os.replace(partial, path)
    except FileNotFoundError:  # another process that made the same clip was quicker, and swept up
        if not path.exists():
            raise


def _sweep(folder: Path) -> None:
    """Remove what killed runs left behind; by now every clip is complete, so nobody needs it."""
    for unfinished in folder.glob("*/.*.partial.mp4"):
        unfinished.unlink(missing_ok=True)
