"""The loop: manifest -> faces -> features -> folds -> search -> threshold -> result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.data import EXTERNAL, FoundFaces, find_all_faces, perturbed_faces
from benchmarks.judge import NESTED, Judging, judge
from benchmarks.machine import Machine
from benchmarks.request import Request, carry_out, check_folder, make_request
from benchmarks.results import open_units, search_folder, unit_folder, write_common, write_unit
from benchmarks.suite import Suite, check_nested
from classify.audit import audit_folds, describe_audit
from classify.device import processes
from classify.fitting import Matrix, fit_fold_models
from classify.folds import fold_numbers, identity_folds, inner_folds, nested_folds
from classify.groups import Ints
from classify.metrics import Floats
from classify.models import CLASSIFIERS
from classify.protocols import Fold
from classify.search import SearchResult, search
from extract.extractors import Extractor
from extract.faces import FaceSettings, faces_key
from extract.features import compute_features
from extract.files import remove, write_bytes
from extract.manifest import OPTIONAL, REQUIRED, RESERVED
from extract.perceptual import PerceptualHash
from extract.pipeline import Features, load_features

MOST_GROUPS = 20  # values of a further column that are compared; names and dates have more


@dataclass(frozen=True)
class _Plan:
    """Which rows train, choose and are judged.

    Attributes
    ----------
    first : str
        What the tables call the rows that parameters and thresholds are chosen on.
    rows : DataFrame of n rows, one line a face
    number : (n,) int64
        The fold that chooses on each row, -1 where none does.
    folds : sequence of Fold
    others : mapping of data to DataFrame
        Further rows to score, with ``fold``: the one whose model scores a row, -1 for the mean of all.
    """

    first: str
    rows: pd.DataFrame
    number: Ints
    folds: Sequence[Fold]
    others: Mapping[str, pd.DataFrame]


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
    check_nested(suite)
    request = make_request(suite, machine=machine, weights=weights)
    folder = out or results / f"{suite.name}-{request.key[:8]}"
    return carry_out(
        request, folder, machine=machine, compute=lambda folder: _compute(request, folder, machine=machine)
    )


def _compute(request: Request, folder: Path, *, machine: Machine) -> None:
    suite = request.suite
    faces = find_all_faces(request.clips, suite, machine=machine)
    rows, skipped = faces.own, faces.skipped
    folds = identity_folds(rows, n_splits=suite.folds, protocol=suite.protocol, seed=suite.seed)
    if suite.nests:
        nested_folds(folds, rows["label"].to_numpy())  # refused before features are computed
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
    write_bytes(folder / "files.parquet", faces.files.to_parquet(index=False))
    plan = _plan(suite, faces, folds)
    needed = [e for e in request.extractors if open_units(folder, e.name, suite)]
    for settings, table in _tables(suite, plan):
        compute_features(
            table,
            needed,
            store=machine.store,
            faces=faces_key(settings),
            workers=machine.feature_workers,
            track=machine.track,
        )
    for extractor in request.extractors:
        _run_extractor(suite, extractor, plan, folder=folder, machine=machine)


def choosing_folds(suite: Suite, rows: pd.DataFrame, folds: Sequence[Fold]) -> Sequence[Fold]:
    """Return the folds that parameters and thresholds are chosen on.

    A data set's own test part is judged once; what is chosen is then chosen inside its training part.
    """
    if len(folds) > 1:
        return folds
    return inner_folds(rows, folds[0].train, n_splits=suite.folds, protocol=suite.protocol, seed=suite.seed)


def _plan(suite: Suite, faces: FoundFaces, folds: Sequence[Fold]) -> _Plan:
    rows, given = faces.own, len(folds) == 1
    chosen_on = choosing_folds(suite, rows, folds)
    number = fold_numbers(chosen_on, len(rows))
    others = {} if faces.external is None else {EXTERNAL: faces.external.assign(fold=-1)}
    if given:
        others = {"test": rows.iloc[folds[0].test].assign(fold=-1)} | others
        tested = dict.fromkeys(others["test"]["clip"], -1)
    else:
        tested = dict(zip(rows["clip"][number >= 0], number[number >= 0], strict=True))
    for name, table in faces.perturbed.items():
        here = table[table["clip"].isin(tested)].reset_index(drop=True)
        if here["label"].nunique() == 2:  # else there is nothing to compare: only non-responses are counted
            others[name] = here.assign(fold=here["clip"].map(tested).astype(int))
    return _Plan("validation" if given else "out-of-fold", rows, number, chosen_on, others)


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
    suite: Suite, extractor: Extractor, plan: _Plan, *, folder: Path, machine: Machine
) -> None:
    missing = open_units(folder, extractor.name, suite)
    if not missing:
        return

    def load(rows: pd.DataFrame, settings: FaceSettings) -> Features:
        return load_features(
            rows, extractor, store=machine.store, faces=faces_key(settings), track=machine.track
        )

    features = load(plan.rows, suite.faces)
    others = {name: load(rows, _settings(suite, name)) for name, rows in plan.others.items()}
    for classifier in missing:
        final = unit_folder(folder, extractor.name, classifier)
        _run_unit(suite, classifier, features.X, others, plan=plan, final=final, machine=machine)


def _tables(suite: Suite, plan: _Plan) -> list[tuple[FaceSettings, pd.DataFrame]]:
    """Return every table of faces that features are needed of, with how they were cropped."""
    return [(suite.faces, plan.rows), *((_settings(suite, name), rows) for name, rows in plan.others.items())]


def _settings(suite: Suite, data: str) -> FaceSettings:
    return suite.faces if data in ("test", EXTERNAL) else perturbed_faces(suite, data)


def _run_unit(
    suite: Suite,
    classifier: str,
    X: Matrix,
    others: Mapping[str, Features],
    *,
    plan: _Plan,
    final: Path,
    machine: Machine,
) -> None:
    y, chosen = plan.rows["label"].to_numpy(), plan.number >= 0
    fit: dict[str, Any] = {
        "classifier": classifier,
        "folds": plan.folds,
        "seed": suite.seed,
        "n_jobs": machine.n_jobs,
        "track": machine.track,
    }
    found = search(
        X,
        y,
        grid=suite.classifiers[classifier],
        metric=suite.metric,
        how=suite.search,
        nested=suite.nests,
        folder=search_folder(final),
        say=machine.say,
        **fit | {"n_jobs": machine.cluster or machine.n_jobs},
    )
    columns = further_columns(plan.rows)
    own = plan.rows[chosen].assign(fold=plan.number[chosen])
    scored = {plan.first: _predictions(own, found.scores[chosen], columns)}
    if found.nested:
        scored[NESTED] = _predictions(own, found.nested.scores[chosen], columns)
    if others:
        models = fit_fold_models(X, y, params=found.best, **fit)
        for name, new in others.items():
            fold = new.rows["fold"].to_numpy()
            once = bool((fold < 0).all())
            scores = models.score(new.X) if once else models.score_own(new.X, fold)
            scored[name] = _predictions(new.rows, scores, columns)
    how = Judging(
        suite.thresholds,
        CLASSIFIERS[classifier].default_threshold,
        aggregate=suite.aggregate,
        calibration=suite.calibration,
        perturbed=[name for name in others if name not in ("test", EXTERNAL)],
        columns=columns,
        seed=suite.seed,
        replicates=suite.replicates,
    )
    workers = processes(None, machine.n_jobs)
    unit = judge(found, scored, inside=_inside(found, plan, columns), how=how, workers=workers)
    write_unit(final, found=found, unit=unit, scratch=final.parents[2] / "scratch")
    remove(search_folder(final))


def _inside(found: SearchResult, plan: _Plan, columns: Sequence[str]) -> list[pd.DataFrame]:
    """Return for each fold the scored rows inside its training part, which choose for it; none without nested."""
    tables = []
    for inner in found.nested.inner if found.nested else ():
        tested = inner.number >= 0
        rows = plan.rows[tested].assign(fold=inner.number[tested])
        tables.append(_predictions(rows, inner.scores[tested], columns))
    return tables


def further_columns(rows: pd.DataFrame) -> list[str]:
    """Return the columns of a manifest, beyond those with a meaning of ours, whose values make groups to compare."""
    known = {*REQUIRED, *OPTIONAL, *RESERVED, "content"} - {"dataset"}
    return [c for c in rows if c not in known and 2 <= rows[c].nunique() <= MOST_GROUPS]


def _predictions(rows: pd.DataFrame, scores: Floats, columns: Sequence[str]) -> pd.DataFrame:
    kept = ["content", "face", "clip", "label", "attack", "identity", "source_identity", "fold"]
    # Clips from elsewhere may lack a further column.
    groups = {c: rows[c].astype(str) if c in rows else "" for c in columns}
    return rows[kept].assign(score=scores, **groups)
