"""Writing a detector's folder: what is said of the run, the reference faces, and the files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from benchmarks.card import write_card
from benchmarks.detector import backend_of
from benchmarks.detector_files import (
    FORMAT,
    MAIN,
    REFERENCE,
    file_digest,
    reference_name,
    to_bytes,
    write_array,
)
from benchmarks.detector_models import model_suffix, write_model
from benchmarks.judge import at_level
from benchmarks.results import Run, Unit, versions
from classify.fitting import FoldModels
from classify.metrics import evaluate
from classify.thresholds import cross_fit
from extract.datasets.drawing.persons import make_person, make_poses
from extract.datasets.filming import DrawnSubject, film
from extract.extractors import Extractor, ExtractorSettings, title_of, weights_of
from extract.faces import crop, faces_key
from extract.files import whole_directory
from extract.plugins import is_plugin_file
from extract.video import Image

AGGREGATE = "mean"  # of a clip's faces, as the run's video level has it


@dataclass(frozen=True)
class Choice:
    """What is exported: one unit of a run, its out-of-fold scores at one level, and what was chosen on them."""

    run: Run
    unit: Unit
    extractor: str
    classifier: str
    level: str
    rule: str
    threshold: float
    calibration: dict[str, Any] | None
    own: pd.DataFrame
    refit: bool


def draw_reference(size: int) -> Image:
    """Draw the reference faces: (n, size, size, 3) uint8 RGB of persons who do not exist."""
    seeds = [np.random.default_rng([2024, number]) for number in range(REFERENCE)]
    frames = [
        film(DrawnSubject("nobody", make_person(rng)), make_poses(rng, 1), size=256, rng=rng)[0]
        for rng in seeds
    ]
    whole = np.array([0, 0, 256, 256], np.float32)
    return np.stack([crop(frame, whole, margin=0, size=size) for frame in frames])


def write_detector(
    choice: Choice, settings: ExtractorSettings, extractor: Extractor, *, models: FoldModels, out: Path
) -> str:
    """Write a detector's folder, whole or not at all; returns its digest.

    Parameters
    ----------
    settings : ExtractorSettings
        What the extractor was loaded by.
    """
    faces = draw_reference(choice.run.suite.faces.size)
    features = extractor(faces)
    ending = model_suffix(choice.classifier)
    contents = {
        f"models/fold-{number}{ending}": write_model(model, classifier=choice.classifier)
        for number, model in enumerate(models.models)
    }
    contents |= {reference_name(number): _png(face) for number, face in enumerate(faces)}
    contents["reference/features.npy"] = write_array(features)
    contents["reference/scores.npy"] = write_array(models.score(features))
    values = _describe(choice, settings, extractor, models=len(models.models))
    contents["card.md"] = write_card(values).encode()
    values["files"] = {name: file_digest(data) for name, data in sorted(contents.items())}
    contents[MAIN] = to_bytes(values)
    _write_folder(contents, out)
    return file_digest(contents[MAIN])


def _write_folder(contents: Mapping[str, bytes], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_directory(out, scratch=out.parent) as folder:
        for name, data in contents.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)


def _png(picture: Image) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done  # any (s, s, 3) uint8 can be
    return data.tobytes()


def _describe(
    choice: Choice, settings: ExtractorSettings, extractor: Extractor, *, models: int
) -> dict[str, Any]:
    """Return the contents of detector.json, but for the files."""
    suite = choice.run.suite
    return {
        "format": FORMAT,
        "name": suite.name,
        "faces": asdict(suite.faces),
        "faces_key": faces_key(suite.faces),
        "extractor": _describe_extractor(extractor, settings, seed=suite.seed),
        "classifier": {
            "name": choice.classifier,
            "parameters": choice.unit.best,
            "seed": suite.seed,
            "models": models,
            "refit": choice.refit,
        },
        "level": choice.level,
        "aggregate": AGGREGATE,
        "rule": choice.rule,
        "threshold": choice.threshold,
        "calibration": choice.calibration,
        "metrics": _figures(choice),
        "data": _describe_data(choice.run),
        "versions": versions(),
    }


def _describe_extractor(extractor: Extractor, settings: ExtractorSettings, *, seed: int) -> dict[str, Any]:
    kind, source = weights_of(extractor)
    if is_plugin_file(settings.name):
        settings = replace(settings, name=Path(settings.name).name)
    backend, precision = backend_of(extractor)
    return {
        "settings": asdict(settings),
        "name": extractor.name,
        "title": title_of(extractor),
        "fingerprint": extractor.fingerprint,
        "dim": extractor.dim,
        "backend": backend,
        "precision": precision,
        "weights": kind,
        "source": Path(source).name if kind == "directory" else source,
        "seed": seed,
    }


def _describe_data(run: Run) -> dict[str, Any]:
    fakes = run.faces[run.faces["label"] == 1].drop_duplicates("clip")
    attacks = fakes["attack"].replace("", "not named").value_counts()
    return {
        "protocol": run.suite.protocol,
        "counts": {name: int(value) for name, value in run.counts.items()},
        "attacks": {str(name): int(value) for name, value in attacks.items()},
    }


def _figures(choice: Choice) -> list[dict[str, Any]]:
    """Return the run's figures for this level and rule, cross-fitted now where the run had another rule."""
    metrics = choice.unit.metrics
    mine = metrics[(metrics["level"] == choice.level) & (metrics["rule"] == choice.rule)]
    if mine.empty:
        mine = _cross_fitted(choice)
    return [
        {str(k): None if isinstance(v, float) and not np.isfinite(v) else v for k, v in line.items()}
        for line in mine.to_dict("records")
    ]


def _cross_fitted(choice: Choice) -> pd.DataFrame:
    table = at_level(choice.own, choice.level)
    y, score, fold = (table[column].to_numpy() for column in ("label", "score", "fold"))
    head = {"data": choice.own["data"].iloc[0], "level": choice.level, "rule": choice.rule}
    values = cross_fit(y, score, fold, rule=choice.rule) if fold.max() > 0 else np.empty(0)
    return pd.DataFrame(
        [
            {**head, "fold": k, "threshold": float(value)}
            | evaluate(y[fold == k], score[fold == k], threshold=value)
            for k, value in enumerate(values)
        ]
    )
