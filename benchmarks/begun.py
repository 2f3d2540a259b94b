"""What another process begins while this one imports and builds networks: the demo's clips, and their faces.

Nothing here imports torch, which takes as long as a dozen clips, nor what only this process needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from extract.datasets.synthetic import SyntheticSettings, begun, recipe
from extract.faces import FaceSettings
from extract.files import digest
from extract.searching import Clip, search_clips
from extract.store import Store

if TYPE_CHECKING:
    from benchmarks.machine import Machine
    from benchmarks.suite import Suite


@contextmanager
def data_begun(suite: Suite, *, machine: Machine) -> Iterator[None]:
    """Let another process begin with the clips that a suite generates, while this one is busy elsewhere."""
    settings = suite.data.synthetic if suite.data else None
    if settings is None:
        yield
        return
    search = partial(_search, faces=suite.faces, store=machine.store)
    with begun(settings, home_of(settings, machine), workers=machine.face_workers, then=search):
        yield


def home_of(settings: SyntheticSettings, machine: Machine) -> Path:
    """Return where generated clips are kept."""
    return machine.store.root / "synthetic" / digest(recipe(settings))[:16]


def _search(clips: Sequence[Path], *, faces: FaceSettings, store: Store) -> None:
    """Search clips for faces, from the first on."""
    for path in clips:
        for _ in search_clips([Clip(str(path), store.content(path))], faces, store=store):
            pass
