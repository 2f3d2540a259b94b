"""Units of work: the configurations of one classifier that share work on one fold.

A unit is small and refers to rows, folds and parameters instead of carrying them; what it returns depends on nothing
else, so that a unit can be repeated, or done elsewhere.
"""

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from classify.fitting import Matrix, Scored, score_each
from classify.gram import Gram, score_kernels
from classify.groups import Ints
from classify.metrics import Labels
from classify.models import Params
from classify.paths import PATHS
from classify.protocols import Fold


@dataclass(frozen=True)
class Unit:
    """What is fitted together.

    Attributes
    ----------
    classifier : str
        A name in `CLASSIFIERS`.
    fold : int
        Number of the fold.
    configurations : tuple of int
        Numbers in the grid's order.
    points : tuple of mapping
        Their parameters.
    seed : int
        Of every fit.
    data : str
        Stands for features, labels and folds: a process keeps what units of the same data and fold share. Empty:
        nothing is kept.
    """

    classifier: str
    fold: int
    configurations: tuple[int, ...]
    points: tuple[Params, ...]
    seed: int
    data: str = ""


def new_data() -> str:
    """Return a name for features, labels and folds that no other search has."""
    return f"{os.getpid()}-{uuid.uuid4().hex}"


def cut(
    points: Sequence[dict[str, Any]],
    *,
    classifier: str,
    folds: int,
    seed: int,
    data: str = "",
    share: bool = True,
) -> list[Unit]:
    """Cut a grid x folds into units, the longest first, so that processes end together.

    Parameters
    ----------
    points : sequence of dict
        The grid's configurations, in order.
    share : bool
        False: one configuration a unit.
    """
    path = PATHS.get(classifier)
    shared = path.shared if path and share else ()
    groups: dict[Any, list[int]] = {}
    for number, point in enumerate(points):
        alike = tuple((name, value) for name, value in point.items() if name not in shared)
        groups.setdefault(alike if shared else number, []).append(number)
    units = [
        Unit(classifier, fold, tuple(group), tuple(points[i] for i in group), seed, data)
        for fold in range(folds)
        for group in groups.values()
    ]
    # Of equal cost fold by fold: neighbours share what a process keeps of a fold.
    return sorted(units, key=lambda unit: -max(map(path.cost, unit.points))) if path else units


def run_unit(
    unit: Unit, X: Matrix, y: Labels, fold: Fold, *, gram: Gram | None = None, threads: int = 1
) -> Scored:
    """Fit a unit's configurations on the fold's training part and score its test part.

    Parameters
    ----------
    X : (n, d) float32
    y : (n,) int, 1 = fake
    gram : Gram, optional
        Inner products of the fold's rows, for an SVC; without them each fit computes its own.
    threads : int
        What an SVC with `gram` may use; all else is single-threaded.
    """
    if gram is not None:
        return score_kernels(gram, X, y, unit.points, fold=fold, seed=unit.seed, threads=threads)
    path = PATHS.get(unit.classifier)
    if path is None or path.score is None:
        return score_each(X, y, unit.points, classifier=unit.classifier, fold=fold, seed=unit.seed)
    return path.score(X, y, unit.points, fold, unit.seed, f"{unit.data} {unit.fold}" if unit.data else "")


def rows_of(folds: Sequence[Fold]) -> Ints:
    """Return the rows that folds train on or test: (m,) int64, ascending."""
    return np.unique(np.concatenate([part for fold in folds for part in (fold.train, fold.test)]))
