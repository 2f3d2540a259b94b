"""Units of work: the configurations of one classifier that share work on one fold.

A unit is small and names its inputs instead of carrying them; what it returns depends on nothing else, so that it can
be repeated, or done elsewhere. Where the inputs were saved, its result is written beside them, whole or not at all:
a finished unit is never repeated, a killed one is repeated whole.
"""

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classify.fitting import Scored, score_each
from classify.gram import compute_gram, score_kernels
from classify.groups import Ints
from classify.inputs import Inputs, rows_of
from classify.kept import Kept
from classify.metrics import Labels
from classify.models import Params
from classify.paths import PATHS, TREES, Resource
from classify.prefixes import BINNED
from classify.protocols import Fold
from extract.files import digest, write_saved

GRAM = Kept()  # one matrix of inner products a process


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
    part : int
        They get one of so many of the fold's training rows, see `thin`, or of their trees: `Path.resource`.
    share : bool
        SVCs take their kernels from the inner products of all rows, which the process then keeps; else each fit
        computes its own, which differs in the last bits.
    """

    classifier: str
    fold: int
    configurations: tuple[int, ...]
    points: tuple[Params, ...]
    seed: int
    part: int = 1
    share: bool = True

    @property
    def name(self) -> str:
        """Of the file that its result is in."""
        points = [dict(point) for point in self.points]
        return f"{self.fold}-{self.part}-{digest([self.classifier, points, self.seed, self.share])[:24]}"


def families(points: Sequence[Params], *, classifier: str, share: bool = True) -> list[tuple[int, ...]]:
    """Group the configurations of a grid, by number, that are fitted together; all by itself without `share`."""
    path = PATHS.get(classifier)
    shared = path.shared if path and share else ()
    groups: dict[Any, list[int]] = {}
    for number, point in enumerate(points):
        # With its type: 1 is equal to 1.0, and may mean something else.
        alike = tuple((name, type(value), value) for name, value in point.items() if name not in shared)
        groups.setdefault(alike if shared else number, []).append(number)
    return [tuple(group) for group in groups.values()]


def cut(
    wanted: Iterable[tuple[int, tuple[int, ...]]],
    points: Sequence[Params],
    *,
    classifier: str,
    seed: int,
    part: int = 1,
    share: bool = True,
) -> list[Unit]:
    """Make units of folds and families, the longest first, so that processes end together.

    Parameters
    ----------
    wanted : iterable of (fold, family)
        Numbers of folds, and of configurations as `families` groups them.
    points : sequence of mapping
        The grid's configurations, in order.
    """
    units = [
        Unit(classifier, fold, family, tuple(points[i] for i in family), seed, part, share)
        for fold, family in wanted
    ]
    path = PATHS.get(classifier)
    # Of equal cost fold by fold: neighbours share what a process keeps of a fold.
    return sorted(units, key=lambda unit: -max(map(path.cost, unit.points))) if path else units


def do_unit(unit: Unit, *, inputs: Inputs, threads: int = 1) -> Scored:
    """Return a unit's result; where inputs were saved, as it was written before, or it is written now."""
    file = _file_of(unit, inputs)
    if file is None:
        return run_unit(unit, inputs, threads=threads)
    if (found := _read(file)) is None:
        found = run_unit(unit, inputs, threads=threads)
        write_saved(file, lambda stream: np.savez(stream, scores=found.scores, converged=found.converged))
    return found


def is_done(unit: Unit, inputs: Inputs) -> bool:
    """Whether a unit's result was written before."""
    file = _file_of(unit, inputs)
    return file is not None and file.is_file()


def _file_of(unit: Unit, inputs: Inputs) -> Path | None:
    """Return where a unit's result is written; None where its inputs were not saved."""
    return inputs.folder and inputs.folder / "units" / f"{unit.name}.npz"


def _read(file: Path) -> Scored | None:
    """Read a result; None where there is none, or one that a failing disk spoilt."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return Scored(arrays["scores"], arrays["converged"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def run_unit(unit: Unit, inputs: Inputs, *, threads: int = 1) -> Scored:
    """Fit a unit's configurations on the fold's training part and score its test part.

    Parameters
    ----------
    threads : int
        What SVCs that share may use; all else is single-threaded.
    """
    X, y, fold = inputs.X, inputs.y, inputs.folds[unit.fold]
    path, points = PATHS.get(unit.classifier), unit.points
    if resource_of(unit.classifier) == "trees":
        points = tuple(fewer_trees(point, part=unit.part) for point in points)
    else:
        fold = Fold(thin(fold.train, y, part=unit.part, seed=unit.seed), fold.test)
    if unit.classifier != "svc" or not unit.share:
        GRAM.forget()
    else:
        gram = GRAM.get(inputs.key, lambda: compute_gram(X, rows_of(inputs.folds), threads=threads))
        return score_kernels(gram, X, y, points, fold=fold, seed=unit.seed, threads=threads)
    if path is None or path.score is None:
        return score_each(X, y, points, classifier=unit.classifier, fold=fold, seed=unit.seed)
    return path.score(X, y, points, fold, unit.seed, f"{inputs.key} {unit.fold}")


def forget() -> None:
    """Keep nothing of a search in this process."""
    BINNED.forget()
    GRAM.forget()


def resource_of(classifier: str) -> Resource:
    """Return what units of a classifier get a part of."""
    return PATHS[classifier].resource if classifier in PATHS else "rows"


def fewer_trees(point: Params, *, part: int) -> Params:
    """Keep one of so many trees, at least one.

    >>> fewer_trees({"n_estimators": 100, "max_depth": 3}, part=9)
    {'n_estimators': 12, 'max_depth': 3}
    """
    return (
        point if part == 1 else {**point, "n_estimators": -(-int(point.get("n_estimators", TREES)) // part)}
    )


def thin(train: Ints, y: Labels, *, part: int, seed: int) -> Ints:
    """Draw one of so many rows (n_train,) of each class, at least one; what a larger `part` draws is among them.

    >>> thin(np.arange(6), np.array([0, 0, 0, 1, 1, 1]), part=3, seed=0).tolist()
    [2, 3]
    """
    if part == 1:
        return train
    drawn = np.random.default_rng(seed).permutation(train)
    kept = [mine[: -(-len(mine) // part)] for label in (0, 1) if len(mine := drawn[y[drawn] == label])]
    return np.sort(np.concatenate(kept))
