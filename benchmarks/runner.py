"""The loop: manifest -> faces -> features -> folds -> search -> threshold -> result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.data import read_all
from benchmarks.judge import judge
from benchmarks.machine import Machine, Say
from benchmarks.results import finish, open_folder, unit_folder, versions, write_common, write_unit
from benchmarks.suite import Suite
from classify.folds import Fold, fold_numbers, identity_folds
from classify.models import CLASSIFIERS
from classify.search import score_with_fold_models, search
from extract.extractors import Extractor, features_key, load_extractor, title_of, weights_of
from extract.faces import faces_key
from extract.files import digest
from extract.manifest import Manifest, check_classes
from extract.pipeline import Features, find_faces, load_features
from extract.weights import WeightSettings


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
    source = WeightSettings(directory=weights, policy=suite.weights, seed=suite.seed)
    extractors = [load_extractor(settings, weights=source) for settings in suite.extractors]
    _say_weights(extractors, machine.say)
    _build_networks(extractors, faces_key(suite.faces), machine=machine)
    manifest, external = read_all(suite, machine=machine)
    key = _key(suite, extractors, [manifest, external])
    folder = out or results / f"{suite.name}-{key[:8]}"
    open_folder(folder, key)
    if (folder / "DONE").is_file():
        machine.say("Finished before: nothing to compute.")
        return folder
    _compute(suite, extractors, manifest, external, folder=folder, machine=machine)
    finish(folder)
    return folder


def _build_networks(extractors: Sequence[Extractor], faces: str, *, machine: Machine) -> None:
    """Build what has features to compute, so that weights that do not match are refused before the work."""
    store = machine.store
    needed = [e for e in extractors if not store.has_features(features_key(e, faces))]
    for extractor in machine.track(needed, "networks") if needed else ():
        extractor.dim  # noqa: B018  (builds the network)


def _key(suite: Suite, extractors: Sequence[Extractor], manifests: Sequence[Manifest | None]) -> str:
    tables = [None if m is None else _table_key(m.clips) for m in manifests]
    settings = suite.model_dump(mode="json", exclude={"data", "external", "title", "published"})
    return digest([settings, tables, [[e.name, e.fingerprint] for e in extractors], versions()])


def _table_key(clips: pd.DataFrame) -> str:
    """Hash what a clip table says, wherever its files lie: contents and labels, clips by number, not by path."""
    table = clips.drop(columns="path").assign(clip=pd.factorize(clips["clip"])[0])
    return digest([list(table), table.astype(str).to_numpy().tolist()])


def _compute(
    suite: Suite,
    extractors: Sequence[Extractor],
    manifest: Manifest,
    external: Manifest | None,
    *,
    folder: Path,
    machine: Machine,
) -> None:
    machine.store.sweep()
    rows, manifest = find_faces(manifest, suite.faces, store=machine.store, track=machine.track)
    check_classes(manifest, "the clips with a usable face")
    folds = identity_folds(rows, n_splits=suite.folds, protocol=suite.protocol, seed=suite.seed)
    skipped, others = manifest.skipped, None
    if external:
        others, external = find_faces(external, suite.faces, store=machine.store, track=machine.track)
        skipped = pd.concat([skipped, external.skipped], ignore_index=True)
    if len(skipped):
        machine.say(f"{len(skipped)} inputs were left out or used in part; see {folder / 'skipped.csv'}.")
    write_common(
        folder,
        suite=suite,
        faces=rows.assign(fold=fold_numbers(folds)),
        skipped=skipped,
        extractors={e.name: _describe(e) for e in extractors},
    )
    for extractor in extractors:
        _run_extractor(suite, extractor, rows, others, folds=folds, folder=folder, machine=machine)


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
    open_units = [c for c in suite.classifiers if not unit_folder(folder, extractor.name, c).is_dir()]
    if not open_units:
        return
    faces = faces_key(suite.faces)
    features, external = (
        None
        if r is None
        else load_features(r, extractor, store=machine.store, faces=faces, track=machine.track)
        for r in (rows, others)
    )
    assert features is not None  # rows is a table
    for classifier in open_units:
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
    y = features.rows["label"].to_numpy()
    fit: dict[str, Any] = {
        "classifier": classifier,
        "folds": folds,
        "seed": suite.seed,
        "n_jobs": machine.n_jobs,
        "track": machine.track,
    }
    found = search(features.X, y, grid=suite.classifiers[classifier], metric=suite.metric, **fit)
    table = _predictions(features.rows, found.scores, fold_numbers(folds))
    other = None
    if external is not None:
        scores = score_with_fold_models(features.X, y, external.X, params=found.best, **fit)
        other = _predictions(external.rows, scores, np.full(len(scores), -1))
    unit = judge(
        found, table, other, rules=suite.thresholds, default=CLASSIFIERS[classifier].default_threshold
    )
    final = unit_folder(folder, name, classifier)
    write_unit(final, found=found, unit=unit, external=other, scratch=folder / "scratch")


def _predictions(rows: pd.DataFrame, scores: Any, fold: Any) -> pd.DataFrame:
    return rows[["content", "face", "clip", "label"]].assign(fold=fold, score=scores)


def _describe(extractor: Extractor) -> dict[str, Any]:
    kind, source = weights_of(extractor)
    return {
        "title": title_of(extractor),
        "fingerprint": extractor.fingerprint,
        "weights": kind,
        "source": source,
    }


def _say_weights(extractors: Sequence[Extractor], say: Say) -> None:
    for extractor in extractors:
        kind, source = weights_of(extractor)
        say(
            f"{extractor.name:<16} {'RANDOM WEIGHTS (' + source + ')' if kind == 'random' else f'{kind}: {source}'}"
        )
