"""From a finished run to a detector: its fold models, fitted anew and checked against the run's scores."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.detector_files import LARGEST
from benchmarks.detector_folder import Choice, write_detector
from benchmarks.detector_models import model_suffix
from benchmarks.judge import DEFAULT
from benchmarks.machine import Machine, Say
from benchmarks.onnx_export import export_classifier, export_extractor
from benchmarks.onnx_files import check_installed
from benchmarks.results import read_run
from benchmarks.runner import choosing_folds
from benchmarks.try_rule import try_rule
from classify.aggregate import LEVELS
from classify.calibration import METHODS, NONE
from classify.fitting import FoldModels, Matrix, fit, fit_fold_models
from classify.folds import fold_numbers, identity_folds
from classify.rules import parse_rule
from extract.compute import as_recorded
from extract.errors import RequestError, UnreadableClip, unknown
from extract.extractor_settings import ExtractorSettings
from extract.extractors import Extractor, load_extractor
from extract.faces import FaceSettings, crop_faces, face_detector, faces_key
from extract.files import hash_file
from extract.names import file_of
from extract.pipeline import load_features
from extract.store import Store
from extract.weights import WeightSettings

JUDGED = ("out-of-fold", "validation", "test", "external")
SAME = 1e-6  # largest difference to the run's scores, as a share of the largest one


def export_detector(
    results: Path,
    *,
    extractor: str,
    classifier: str,
    rule: str,
    level: str,
    out: Path,
    machine: Machine,
    weights: Path | None = None,
    calibration: str | None = None,
    prior: float | None = None,
    refit: bool = False,
    onnx: Path | None = None,
) -> str:
    """Write the detector that a finished run chose.

    Its models are the fold models of the run, averaged: the threshold was chosen on their scores.

    Parameters
    ----------
    results : Path
        Folder of the finished run.
    extractor, classifier : str
        The unit of the run.
    rule : str
        What chooses the threshold on all out-of-fold scores; ``default``: the classifier's own.
    level : {"image", "video"}
        What the threshold is for: single faces, or clips by what the suite makes of their faces' scores.
    out : Path
        The detector's folder; new, or empty.
    machine : Machine
        Features come from its store; what is missing there is computed from the clips.
    weights : Path, optional
        Directory of weights, as the run had it.
    calibration : str, optional
        ``none``, ``platt`` or ``isotonic``: how scores become probabilities; the suite's where it is left out.
    prior : float, optional
        The share of fakes that probabilities are for; that of the data where it is left out.
    refit : bool
        One model on all data instead: faster, and the threshold is approximate.
    onnx : Path, optional
        Folder, new or empty, for the classifier and the extractor as ONNX files, see `benchmarks.onnx_export`.

    Returns
    -------
    str
        The detector's digest, for `Detector.load`.

    Raises
    ------
    RequestError
        No finished run, no such unit, level or rule; another extractor than the run's; clips that are gone;
        models whose out-of-fold scores are not those of the run.
    """
    for folder in (out, onnx):
        if folder is not None:
            check_empty(folder)
    if onnx is not None:
        check_installed()
    choice = _choose(
        results,
        extractor,
        classifier,
        rule=rule,
        level=level,
        calibration=calibration,
        prior=prior,
        refit=refit,
    )
    settings, loaded = _load(choice, weights)
    models, X = _fit(choice, loaded, machine)
    if refit:
        machine.say("Refitted on all data: the threshold, chosen on the fold models' scores, is approximate.")
    digest = write_detector(choice, settings, loaded, models=models, out=out)
    if onnx is not None:
        _write_onnx(choice, loaded, models, X, out=onnx, say=machine.say)
    return digest


def _write_onnx(
    choice: Choice, extractor: Extractor, models: FoldModels, X: Matrix, *, out: Path, say: Say
) -> None:
    """Write classifier and extractor as ONNX files, each compared with Python on the run's own rows and faces."""
    tried = choice.tried
    parity = export_classifier(
        models,
        out / "classifier.onnx",
        X=X,
        threshold=tried.value,
        rule=tried.rule,
        level=tried.level,
        aggregate=choice.run.suite.aggregate,
        more={"extractor": extractor.name, "fingerprint": extractor.fingerprint},
    )
    say(
        f"ONNX classifier: {out / 'classifier.onnx'}; on {parity.rows:,} faces scores differ by at most "
        f"{parity.largest_difference:.2g}, and no label of a score farther than {parity.band:.2g} from the threshold."
    )
    try:
        features = export_extractor(extractor, out / "extractor.onnx")
    except RequestError as error:
        say(f"ONNX extractor: not written. {error.message}")
        return
    say(
        f"ONNX extractor: {out / 'extractor.onnx'}; features differ by {features.median_difference:.2g} of the largest."
    )


def check_empty(out: Path) -> None:
    """Refuse a folder for a detector that holds something already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(
            f"Expected a new or empty folder for the detector; got {out}. Choose another --out.",
            code="E_FOLDER_TAKEN",
        )


def _choose(
    results: Path,
    extractor: str,
    classifier: str,
    *,
    rule: str,
    level: str,
    calibration: str | None,
    prior: float | None,
    refit: bool,
) -> Choice:
    """Read the run and choose on its out-of-fold scores, before anything is computed."""
    run = read_run(results)
    for name, known, kind in (
        (extractor, [e for e, _ in run.units], "extractor of the run"),
        (classifier, [c for _, c in run.units], "classifier of the run"),
        (level, LEVELS, "level"),
    ):
        if name not in known:
            raise unknown(kind, name, known)
    if calibration not in (None, NONE):
        METHODS[calibration]
    if prior is not None and not 0 < prior < 1:
        raise RequestError(
            f"Expected a prior between 0 and 1; got {prior:g}. Give the share of fakes to expect.",
            code="E_OPTION",
        )
    model_suffix(classifier)
    unit, model = run.units[(extractor, classifier)], (extractor, classifier)
    data = [name for name in unit.predictions["data"].unique() if name in JUDGED]
    text = rule if rule == DEFAULT else parse_rule(rule).text
    tried = try_rule(run, model, rule=text, level=level, data=data, calibration=calibration)
    own = unit.predictions[unit.predictions["data"] == data[0]]
    return Choice(run, unit, extractor, classifier, tried, prior, own, refit)


# -- the extractor and the models --------------------------------------------------------------------------------


def _load(choice: Choice, weights: Path | None) -> tuple[ExtractorSettings, Extractor]:
    """Load the run's extractor; `RequestError` where it is not the same any more."""
    suite, known = choice.run.suite, choice.run.extractors[choice.extractor]
    source = WeightSettings(directory=weights, policy=suite.weights, seed=suite.seed)
    # A plugin's name may be another than its file's: then all are loaded until one has it.
    compute = as_recorded(known.get("backend", "torch"), known.get("precision", "fp32"))
    for settings in sorted(suite.extractors, key=lambda settings: settings.label != choice.extractor):
        extractor = load_extractor(settings, weights=source, compute=compute)
        if extractor.name == choice.extractor:
            break
    if max(suite.faces.size, settings.size) > LARGEST:
        raise RequestError(f"Expected faces and inputs of at most {LARGEST} pixels. Choose a smaller size.")
    if (extractor.name, extractor.fingerprint) != (choice.extractor, known["fingerprint"]):
        raise RequestError(
            f"Expected {choice.extractor} as the run had it ({known['weights']} weights: {known['source']}); its "
            "weights or code are others now. Pass the run's --weights, or run the suite again."
        )
    return settings, extractor


def _fit(choice: Choice, extractor: Extractor, machine: Machine) -> tuple[FoldModels, Matrix]:
    """Fit the fold models again and check that they are the run's; or, for a refit, one on all their rows.

    Returns the models, and the run's features (n, d).
    """
    suite, rows = choice.run.suite, choice.run.faces
    ensure_faces(rows, suite.faces, store=machine.store)
    key = faces_key(suite.faces)
    X = load_features(rows, extractor, store=machine.store, faces=key, track=machine.track).X
    y = rows["label"].to_numpy()
    folds = identity_folds(rows, n_splits=suite.folds, protocol=suite.protocol, seed=suite.seed)
    if not np.array_equal(fold_numbers(folds, len(rows)), rows["fold"]):
        raise _not_the_run("its folds are others")
    chosen = choosing_folds(suite, rows, folds)
    how: dict[str, Any] = {"classifier": choice.classifier, "params": choice.unit.best, "seed": suite.seed}
    models = fit_fold_models(X, y, folds=chosen, n_jobs=machine.n_jobs, track=machine.track, **how)
    _check_scores(models, X, fold_numbers(chosen, len(rows)), choice)
    if choice.refit:
        every = np.unique(np.concatenate([np.concatenate([fold.train, fold.test]) for fold in chosen]))
        models = FoldModels(choice.classifier, (fit(X, y, rows=every, **how)[0],))
    return models, X


def _check_scores(models: FoldModels, X: Matrix, number: npt.NDArray[np.int64], choice: Choice) -> None:
    """Check that each row's model scores it as the run's did."""
    stored, tested = choice.own, number >= 0
    faces = choice.run.faces[["content", "face"]][tested]
    if not np.array_equal(faces.to_numpy(), stored[["content", "face"]].to_numpy()):
        raise _not_the_run("its scores are of other faces: clips may have been purged since")
    scores, wanted = models.score_own(X, number)[tested], stored["score"].to_numpy()
    apart = float(np.abs(scores - wanted).max())
    if not apart <= SAME * max(1.0, float(np.abs(wanted).max())):
        raise _not_the_run(f"the largest difference of their out-of-fold scores is {apart:.2g}")


def _not_the_run(what: str) -> RequestError:
    return RequestError(
        f"Expected the models of the run again; {what}. Data, packages or the processor are others than when it was "
        "made: run the suite again on this machine, and export that."
    )


def ensure_faces(rows: pd.DataFrame, settings: FaceSettings, *, store: Store) -> None:
    """Crop the faces of clips that the store does not hold, as it was when the run was made.

    Raises
    ------
    RequestError
        A clip that is needed is gone, or has other bytes.
    """
    key = faces_key(settings)
    clips = rows.drop_duplicates("content")[["path", "content"]].itertuples(index=False)
    missing = [(path, content) for path, content in clips if store.face_index(key, content) is None]
    detector = face_detector(settings) if missing else None
    for path, content in missing:
        assert detector is not None
        try:
            same = hash_file(file_of(path)) == content
            faces = crop_faces(file_of(path), settings, detector) if same else None
        except (OSError, UnreadableClip):
            faces = None
        if faces is None:
            raise RequestError(
                f"Expected the run's faces in the cache, or its clips; {path} is in neither. Pass the run's --cache.",
                code="E_FILE_MISSING",
            )
        store.write_faces(key, content, faces=faces)
