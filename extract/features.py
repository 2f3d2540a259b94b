"""Faces -> features: one read of the faces feeds every extractor, and what is stored is not computed again."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt
import pandas as pd

from extract.compute import as_recorded
from extract.extractors import Extractor, FrozenNetwork, Recipe, features_key, load_extractor
from extract.media.frames import Image
from extract.progress import Track, no_progress
from extract.store import Store
from extract.workers import Workers, run_units

PART = 128  # faces a part holds at least; a kill costs the parts in hand
LONGEST = 1024  # faces of one clip in a part: 154 MB at 224 pixels
STEP = 128  # faces that an extractor is given at once: on a GPU some are copied while others are computed
READERS = 4  # threads: a GPU takes more faces than one thread decodes


@dataclass(frozen=True)
class Part:
    """Faces that are read together.

    Attributes
    ----------
    rows : DataFrame of ``content`` and ``face``, n lines
    needs : (extractors, n) bool
        Which features of which faces are not stored yet.
    """

    rows: pd.DataFrame
    needs: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Task:
    """A part with the networks to compute it, for another process."""

    part: Part
    recipes: tuple[Recipe, ...]
    keys: tuple[str, ...]
    store: Store
    faces: str


def compute_features(
    rows: pd.DataFrame,
    extractors: Sequence[Extractor],
    *,
    store: Store,
    faces: str,
    workers: Workers = 1,
    track: Track = no_progress,
) -> None:
    """Compute and store the features that the store does not hold yet.

    Faces are read, computed and written in parts, one part of each in hand at a time: memory does not grow with their
    number. A kill costs the parts in hand.

    Parameters
    ----------
    rows : DataFrame
        ``content`` and ``face``, as `find_faces` returns them.
    faces : str
        The `faces_key` of the crops.
    workers : int or Cluster
        Processes, each with its own networks and its share of the cores. Plugins compute in this process.
    """
    extractors = [e for e in extractors if store.gathered(features_key(e, faces), rows) is None]
    far = [e for e in extractors if isinstance(e, FrozenNetwork)] if workers != 1 else []
    near = [e for e in extractors if e not in far]
    for group in (near, far):
        keys = [features_key(extractor, faces) for extractor in group]
        parts = _parts(rows, keys, store)
        if not parts:
            continue
        if group is far:
            steps = _compute_apart(parts, far, keys, store=store, faces=faces, workers=workers)
        else:
            steps = _compute_here(parts, near, keys, store=store, faces=faces)
        total = int(sum(part.needs.sum() for part in parts))
        names = group[0].name if len(group) == 1 else f"({len(group)} extractors)"
        for _ in track(chain.from_iterable(range(n) for n in steps), f"features {names}", total):
            pass


def _parts(rows: pd.DataFrame, keys: Sequence[str], store: Store) -> list[Part]:
    """Cut the rows that lack features into stretches of at least `PART` faces, but for the last, at clip boundaries.

    Only what is longer than `LONGEST` is cut elsewhere.
    """
    wanted = pd.MultiIndex.from_frame(rows[["content", "face"]])
    stored = [pd.MultiIndex.from_frame(store.feature_index(key)[["content", "face"]]) for key in keys]
    needs = np.array([~wanted.isin(known) for known in stored], bool).reshape(len(keys), len(rows))
    lacking = np.flatnonzero(needs.any(axis=0))
    content = rows["content"].to_numpy()[lacking]
    cuts = [0]
    for start in [*(np.flatnonzero(content[1:] != content[:-1]) + 1), len(lacking)]:
        while start - cuts[-1] > LONGEST:
            cuts.append(cuts[-1] + LONGEST)
        if start - cuts[-1] >= PART:
            cuts.append(int(start))
    stretches = [lacking[a:b] for a, b in zip(cuts, [*cuts[1:], len(lacking)], strict=True) if a < b]
    return [
        Part(rows[["content", "face"]].iloc[stretch].reset_index(drop=True), needs[:, stretch])
        for stretch in stretches
    ]


def _compute_here(
    parts: Sequence[Part], extractors: Sequence[Extractor], keys: Sequence[str], *, store: Store, faces: str
) -> Iterator[int]:
    """Compute parts in this process, reading the next and writing the last meanwhile; yields faces done."""
    with ThreadPoolExecutor(READERS, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        written: Future[None] | None = None
        for part, crops in _read_ahead(parts, reader, store=store, faces=faces):
            for extractor, key, needed in zip(extractors, keys, part.needs, strict=True):
                batches = []
                for X in _compute(_of(crops, needed), extractor):
                    batches.append(X)
                    yield len(X)
                if not batches:
                    continue
                if written:
                    written.result()
                write = functools.partial(store.write_features, key, part.rows[needed])
                written = writer.submit(write, X=np.concatenate(batches))
        if written:
            written.result()


def _read_ahead(
    parts: Iterable[Part], reader: ThreadPoolExecutor, *, store: Store, faces: str
) -> Iterator[tuple[Part, Image]]:
    """Yield parts with their crops (n, s, s, 3), those of the next one being read meanwhile."""
    waiting: tuple[Part, list[Future[Image]]] | None = None
    for part in parts:
        ahead = (
            part,
            [reader.submit(store.read_face, faces, content, face=face) for content, face in _lines(part)],
        )
        if waiting:
            yield waiting[0], _stack(waiting[1])
        waiting = ahead
    if waiting:
        yield waiting[0], _stack(waiting[1])


def _stack(crops: list[Future[Image]]) -> Image:
    """Put crops into one array (n, s, s, 3), and forget them."""
    whole = np.stack([crop.result() for crop in crops])
    crops.clear()
    return whole


def _lines(part: Part) -> Iterator[tuple[str, int]]:
    return zip(part.rows["content"], part.rows["face"], strict=True)


def _of(crops: Image, needed: npt.NDArray[np.bool_]) -> Image:
    return crops if needed.all() else crops[needed]


def _compute(crops: Image, extractor: Extractor) -> Iterator[npt.NDArray[np.float32]]:
    """Compute features some faces at a time; `ValueError` where they are not what an extractor gives."""
    for start in range(0, len(crops), STEP):
        batch = crops[start : start + STEP]
        X = extractor(batch)
        if X.shape != (len(batch), extractor.dim) or X.dtype != np.float32:
            raise ValueError(
                f"Expected features ({len(batch)}, {extractor.dim}) float32 from {extractor.name}; "
                f"got {X.shape} {X.dtype}."
            )
        if not np.isfinite(X).all():
            raise ValueError(f"Expected finite features from {extractor.name}; got NaN or infinity.")
        yield X


# -- other processes -----------------------------------------------------------------------------------------


def _compute_apart(
    parts: Sequence[Part],
    extractors: Sequence[FrozenNetwork],
    keys: Sequence[str],
    *,
    store: Store,
    faces: str,
    workers: Workers,
) -> Iterator[int]:
    """Compute parts in other processes, by what was chosen here: another processor may choose otherwise."""
    recipes = tuple(replace(e.recipe, compute=as_recorded(e.backend, e.precision)) for e in extractors)
    tasks = [_Task(part, recipes, tuple(keys), store, faces) for part in parts]
    for _, done in run_units(_work, tasks, workers=workers):
        yield done


def _work(task: _Task) -> int:
    """Compute and store one part; returns the faces done."""
    part = task.part
    crops = np.stack([task.store.read_face(task.faces, content, face=face) for content, face in _lines(part)])
    for recipe, key, needed in zip(task.recipes, task.keys, part.needs, strict=True):
        if needed.any():
            extractor = _warm(recipe)
            if (
                features_key(extractor, task.faces) != key
            ):  # a network of an earlier call: its weights are new
                _warm.cache_clear()
                extractor = _warm(recipe)
            if features_key(extractor, task.faces) != key:
                raise ValueError(
                    f"Expected the network of {key}; its weights have changed meanwhile. Run again."
                )
            X = np.concatenate(list(_compute(_of(crops, needed), extractor)))
            task.store.write_features(key, part.rows[needed], X=X)
    return int(part.needs.sum())


@functools.cache
def _warm(recipe: Recipe) -> Extractor:
    """Load a network once a process."""
    return load_extractor(recipe.settings, weights=recipe.weights, compute=recipe.compute)
