"""Comparisons of training sets under a suite's extractors and classifiers, resumable as a run is.

comparison.json               the name of the comparison and its settings
units/<extractor>/<classifier>/trials.parquet   every trial's figures
and what every results folder holds, see `benchmarks.results`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.model_selection import ParameterGrid

from benchmarks.data import find_all_faces
from benchmarks.machine import Machine
from benchmarks.request import Request, carry_out, check_folder, make_request
from benchmarks.results import Finished, open_units, read_common, unit_folder, write_common
from benchmarks.runner import audit_faces
from benchmarks.suite import Suite
from classify.comparisons import leakage, new_attack, transfer
from classify.folds import fold_numbers
from classify.trials import Plan, choosing_folds, run_tasks
from extract.errors import RequestError
from extract.faces import faces_key
from extract.features import compute_features
from extract.files import read_json, whole_directory, write_json
from extract.pipeline import load_features
from extract.registry import Registry


@dataclass(frozen=True)
class Kind:
    """A kind of comparison.

    Attributes
    ----------
    title : str
    plan : callable
        Makes the trials from rows and ``n_splits``, ``protocol``, ``seed``, ``repeats``.
    repeats : int
        How often by default; what is repeated, the plan says.
    protocol : str, optional
        The one it is about, in place of the suite's.
    """

    title: str
    plan: Callable[..., Plan]
    repeats: int
    protocol: str | None = None


COMPARISONS: Registry[Kind] = Registry("comparison")
COMPARISONS.add("leakage", Kind("How much of the score is leakage", leakage, 5, protocol="strict"))
COMPARISONS.add("attacks", Kind("Trained on some attacks, tested on each", partial(transfer, by="attack"), 1))
COMPARISONS.add(
    "datasets", Kind("Trained on some data sets, tested on each", partial(transfer, by="dataset"), 1)
)
COMPARISONS.add("new-attack", Kind("A new attack, k of its clips in training", new_attack, 3))


@dataclass(frozen=True)
class Comparison(Finished):
    """A finished comparison: what all results hold, its name, and every trial of every extractor and classifier.

    Attributes
    ----------
    trials : DataFrame
        ``extractor``, ``classifier`` and the columns of `run_tasks`.
    """

    name: str
    trials: pd.DataFrame


def compare(
    name: str,
    suite: Suite,
    *,
    machine: Machine,
    out: Path | None = None,
    results: Path = Path("results"),
    weights: Path | None = None,
    repeats: int | None = None,
    attacks: Sequence[str] = (),
) -> Path:
    """Carry out a comparison, continuing what an earlier, interrupted one of the same request left.

    Parameters
    ----------
    name : str
        A name in `COMPARISONS`.
    out, results, weights
        As for `run`.
    repeats : int, optional
        In place of the comparison's own number.
    attacks : sequence of str
        For ``new-attack``: those to hold out, in turn.

    Returns
    -------
    Path
        The results folder, finished.

    Raises
    ------
    RequestError
        Anything wrong with the request; where possible before the work starts.
    """
    kind = COMPARISONS[name]
    check_folder(out)
    if attacks and name != "new-attack":
        raise RequestError(
            f"Expected --attack with new-attack only; got it with {name}. Leave it out.", code="E_OPTION"
        )
    settings: dict[str, Any] = {"repeats": repeats or kind.repeats}
    settings |= {"attacks": list(attacks)} if attacks else {}
    suite = suite.model_copy(
        update={"external": None, "perturb": [], "nested": False, "protocol": kind.protocol or suite.protocol}
    )
    request = make_request(
        suite,
        machine=machine,
        weights=weights,
        also=[name, settings],
        check=lambda clips: _check(kind, clips, suite, settings),
    )
    folder = out or results / f"{suite.name}-{name}-{request.key[:8]}"
    compute = partial(_compute, name, request, settings=settings, machine=machine)
    return carry_out(request, folder, machine=machine, compute=compute)


def read_comparison(folder: Path) -> Comparison:
    """Read a finished comparison; raises `RequestError` as `read_run` does."""
    common = read_common(folder)
    parts = [
        pd.read_parquet(unit_folder(folder, e, c) / "trials.parquet").assign(extractor=e, classifier=c)
        for e in common.extractors
        for c in common.suite.classifiers
    ]
    name = read_json(folder / "comparison.json")["name"]
    return Comparison(**vars(common), name=name, trials=pd.concat(parts, ignore_index=True))


def is_comparison(folder: Path) -> bool:
    """Say whether a results folder is one of a comparison, as opposed to a run."""
    return (folder / "comparison.json").is_file()


def _plan(kind: Kind, rows: pd.DataFrame, suite: Suite, settings: dict[str, Any]) -> Plan:
    return kind.plan(rows, n_splits=suite.folds, protocol=suite.protocol, seed=suite.seed, **settings)


def _check(kind: Kind, clips: pd.DataFrame, suite: Suite, settings: dict[str, Any]) -> None:
    """Refuse what the clip table alone rules out: the folds, and those inside them that choose parameters."""
    plan = _plan(kind, clips, suite, settings)
    if any(len(ParameterGrid(grid)) > 1 for grid in suite.classifiers.values()):
        for task in plan.tasks:
            choosing_folds(clips, task, seed=suite.seed)


def _compute(
    name: str, request: Request, folder: Path, *, settings: dict[str, Any], machine: Machine
) -> None:
    suite = request.suite
    faces = find_all_faces(request.clips, suite, machine=machine)
    rows = faces.own
    plan = _plan(COMPARISONS[name], rows, suite, settings)
    audit = audit_faces(rows, plan.folds, suite, machine=machine)
    write_common(
        folder,
        suite=suite,
        faces=rows.assign(fold=fold_numbers(plan.folds[suite.protocol], len(rows))),
        audit=audit,
        skipped=faces.skipped,
        extractors=request.describe_extractors(),
    )
    write_json(folder / "comparison.json", {"name": name, **settings})
    compute_features(
        rows,
        [e for e in request.extractors if open_units(folder, e.name, suite)],
        store=machine.store,
        faces=faces_key(suite.faces),
        workers=machine.feature_workers,
        track=machine.track,
    )
    for extractor in request.extractors:
        missing = open_units(folder, extractor.name, suite)
        if not missing:
            continue
        features = load_features(
            rows, extractor, store=machine.store, faces=faces_key(suite.faces), track=machine.track
        )
        for classifier in missing:
            trials = run_tasks(
                features.X,
                rows,
                plan.tasks,
                classifier=classifier,
                grid=suite.classifiers[classifier],
                metric=suite.metric,
                seed=suite.seed,
                how=suite.search,
                n_jobs=machine.n_jobs,
                track=machine.track,
            )
            final = unit_folder(folder, extractor.name, classifier)
            with whole_directory(final, scratch=folder / "scratch") as unit:
                trials.to_parquet(unit / "trials.parquet", index=False)
