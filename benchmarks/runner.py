"""The loop: manifest -> faces -> features -> folds -> search -> threshold -> result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.data import Clips, find_all_faces, identify_clips, read_clips
from benchmarks.judge import judge
from benchmarks.machine import Machine, Say
from benchmarks.results import (
    check_out,
    claimed,
    finish,
    unit_folder,
    versions,
    write_common,
    write_unit,
)
from benchmarks.suite import Suite
from classify.folds import Fold, fold_numbers, identity_folds
from classify.models import CLASSIFIERS
from classify.search import score_with_fold_models, search
from extract.errors import RequestError
from extract.extractors import Extractor, features_key, load_extractor, title_of, weights_of
from extract.faces import faces_key
from extract.files import digest, write_bytes
from extract.manifest import Manifest
from extract.pipeline import Features, load_features
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
    if out:
        check_out(out)
    # Reading is cheap and its errors come first, but for clips that would have to be generated.
    clips = read_clips(suite, machine=machine) if suite.data and not suite.data.synthetic else None
    extractors = _load_extractors(suite, weights, machine=machine)
    clips = identify_clips(clips or read_clips(suite, machine=machine), suite, machine=machine)
    key = _key(suite, extractors, clips)
    folder = out or results / f"{suite.name}-{key[:8]}"
    with claimed(folder, key):
        if (folder / "DONE").is_file():
            machine.say("Finished before: nothing to compute.")
            write_bytes(folder / "suite.toml", suite.to_toml().encode())  # its title may be new
        else:
            _compute(suite, extractors, clips, folder=folder, machine=machine)
        finish(folder)
    return folder


def _load_extractors(suite: Suite, weights: Path | None, *, machine: Machine) -> list[Extractor]:
    source = WeightSettings(directory=weights, policy=suite.weights, seed=suite.seed)
    extractors = [load_extractor(settings, weights=source) for settings in suite.extractors]
    names = [extractor.name for extractor in extractors]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RequestError(f"Expected extractors of different names; got {twice[0]} twice. Rename one.")
    _say_weights(extractors, machine.say)
    _build_networks(extractors, faces_key(suite.faces), machine=machine)
    return extractors


def _build_networks(extractors: Sequence[Extractor], faces: str, *, machine: Machine) -> None:
    """Build what has features to compute, so that weights that do not match are refused before the work."""
    store = machine.store
    needed = [e for e in extractors if not store.has_features(features_key(e, faces))]
    for extractor in machine.track(needed, "networks") if needed else ():
        extractor.dim  # noqa: B018  (builds the network)


def _key(suite: Suite, extractors: Sequence[Extractor], clips: Clips) -> str:
    tables = [None if m is None else _table_key(m) for m in (clips.own, clips.external)]
    settings = suite.model_dump(mode="json", exclude={"data", "external", "title", "published", "extractors"})
    features = [features_key(extractor, faces_key(suite.faces)) for extractor in extractors]
    return digest([settings, tables, features, versions()])


def _table_key(manifest: Manifest) -> str:
    """Hash what a clip table says, wherever its files lie: contents and labels, clips by number, not by path."""
    clips = manifest.clips
    table = clips.drop(columns="path").assign(clip=pd.factorize(clips["clip"])[0])
    skipped = [[Path(line.path).name, line.outcome] for line in manifest.skipped.itertuples()]
    return digest([list(table), table.astype(str).to_numpy().tolist(), skipped])


def _compute(
    suite: Suite, extractors: Sequence[Extractor], clips: Clips, *, folder: Path, machine: Machine
) -> None:
    machine.store.sweep()
    rows, others, skipped = find_all_faces(clips, suite, machine=machine)
    folds = identity_folds(rows, n_splits=suite.folds, protocol=suite.protocol, seed=suite.seed)
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
