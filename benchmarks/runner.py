"""The loop: manifest -> faces -> features -> folds -> search -> threshold -> result."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.data import find_all_faces
from benchmarks.judge import judge
from benchmarks.machine import Machine
from benchmarks.request import Request, carry_out, check_folder, make_request
from benchmarks.results import open_units, unit_folder, write_common, write_unit
from benchmarks.suite import Suite
from classify.audit import audit_folds, describe_audit
from classify.fitting import fit_fold_models
from classify.folds import fold_numbers, identity_folds, inner_folds
from classify.models import CLASSIFIERS
from classify.protocols import Fold
from classify.search import search
from extract.extractors import Extractor
from extract.faces import faces_key
from extract.perceptual import PerceptualHash
from extract.pipeline import Features, load_features


def run(
    suite: Suite,
    *,
    machine: Machine,
    out: Path | None = None,
    results: Path = Path("results"),
    weights: Path | None = None,
) -> Path:
    """Carry out a suite, continuing what an earlier, interrupted run of the same request left.

    Parameters
    ----------
    out : Path, optional
        The results folder; without it ``<results>/<suite name>-<key>``, where the key stands for data,
        settings, weights and versions.
    weights : Path, optional
        Directory of weights, see `WeightSettings`.

    Returns
    -------
    Path
        The results folder, finished.

    Raises
    ------
    RequestError
        Anything wrong with the request; where possible before the work starts.
    """
    check_folder(out)
    request = make_request(suite, machine=machine, weights=weights)
    folder = out or results / f"{suite.name}-{request.key[:8]}"
    return carry_out(
        request, folder, machine=machine, compute=lambda folder: _compute(request, folder, machine=machine)
    )


def _compute(request: Request, folder: Path, *, machine: Machine) -> None:
    suite = request.suite
    rows, others, skipped = find_all_faces(request.clips, suite, machine=machine)
    folds = identity_folds(rows, n_splits=suite.folds, protocol=suite.protocol, seed=suite.seed)
    audit = audit_faces(rows, {suite.protocol: folds}, suite, machine=machine)
    if len(skipped):
        counts = ", ".join(f"{n:,} {outcome}" for outcome, n in skipped["outcome"].value_counts().items())
        machine.say(f"Inputs left out, used in part or missing: {counts}; see {folder / 'skipped.csv'}.")
    write_common(
        folder,
        suite=suite,
        faces=rows.assign(fold=fold_numbers(folds, len(rows))),
        audit=audit,
        skipped=skipped,
        extractors=request.describe_extractors(),
    )
    for extractor in request.extractors:
        _run_extractor(suite, extractor, rows, others, folds=folds, folder=folder, machine=machine)


def audit_faces(
    rows: pd.DataFrame, folds: Mapping[str, Sequence[Fold]], suite: Suite, *, machine: Machine
) -> pd.DataFrame:
    """Count and say what the two sides of each fold share, near-duplicate pictures included."""
    hashes = load_features(
        rows, PerceptualHash(), store=machine.store, faces=faces_key(suite.faces), track=machine.track
    )
    audit = audit_folds(rows, folds, bits=hashes.X)
    for line in describe_audit(audit):
        machine.say(line)
    return audit


def _run_extractor(
    suite: Suite,
    extractor: Extractor,
    rows: pd.DataFrame,
    others: pd.DataFrame | None,
    *,
    folds: Sequence[Fold],
    folder: Path,
    machine: Machine,
) -> None:
    missing = open_units(folder, extractor.name, suite)
    if not missing:
        return
    faces = faces_key(suite.faces)
    features, external = (
        None
        if r is None
        else load_features(r, extractor, store=machine.store, faces=faces, track=machine.track)
        for r in (rows, others)
    )
    assert features is not None  # rows is a table
    for classifier in missing:
        _run_unit(
            suite,
            classifier,
            features,
            external,
            folds=folds,
            folder=folder,
            machine=machine,
            name=extractor.name,
        )


def _run_unit(
    suite: Suite,
    classifier: str,
    features: Features,
    external: Features | None,
    *,
    folds: Sequence[Fold],
    folder: Path,
    machine: Machine,
    name: str,
) -> None:
    X, rows = features.X, features.rows
    y = rows["label"].to_numpy()
    # A data set's own test part is judged once; what is chosen is chosen inside its training part.
    given = len(folds) == 1
    chosen_on = choosing_folds(suite, rows, folds)
    fit: dict[str, Any] = {
        "classifier": classifier,
        "folds": chosen_on,
        "seed": suite.seed,
        "n_jobs": machine.n_jobs,
        "track": machine.track,
    }
    found = search(X, y, grid=suite.classifiers[classifier], metric=suite.metric, **fit)
    number = fold_numbers(chosen_on, len(rows))
    own = _predictions(rows[number >= 0], found.scores[number >= 0], number[number >= 0])
    scored = {"validation" if given else "out-of-fold": own}
    others = {
        "test": Features(X[folds[0].test], rows.iloc[folds[0].test]) if given else None,
        "external": external,
    }
    if any(new is not None for new in others.values()):
        models = fit_fold_models(X, y, params=found.best, **fit)
        for data, new in others.items():
            if new is not None:
                scored[data] = _predictions(new.rows, models.score(new.X), np.full(len(new.rows), -1))
    unit = judge(found, scored, rules=suite.thresholds, default=CLASSIFIERS[classifier].default_threshold)
    write_unit(unit_folder(folder, name, classifier), found=found, unit=unit, scratch=folder / "scratch")


def choosing_folds(suite: Suite, rows: pd.DataFrame, folds: Sequence[Fold]) -> Sequence[Fold]:
    """Return the folds that parameters and thresholds are chosen on: inside the training part of a given one."""
    if len(folds) > 1:
        return folds
    train = folds[0].train
    return inner_folds(rows, train, n_splits=suite.folds, protocol=suite.protocol, seed=suite.seed)


def _predictions(rows: pd.DataFrame, scores: Any, fold: Any) -> pd.DataFrame:
    return rows[["content", "face", "clip", "label"]].assign(fold=fold, score=scores)
