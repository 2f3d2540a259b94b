"""Writing a detector's folder: what is said of the run, the reference faces, and the files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from benchmarks.card import write_card
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
from benchmarks.judge import Unit
from benchmarks.results import Run, versions
from benchmarks.try_rule import Tried
from classify.fitting import FoldModels
from extract import media
from extract.datasets.drawing.persons import make_person, make_poses
from extract.datasets.filming import DrawnSubject, film
from extract.extractor_settings import ExtractorSettings, is_plugin_file
from extract.extractors import Extractor, backend_of, title_of, weights_of
from extract.faces import crop, faces_key
from extract.files import whole_directory
from extract.media.frames import Image


@dataclass(frozen=True)
class Choice:
    """What is exported: one unit of a run, its out-of-fold scores at one level, and what was chosen on them."""

    run: Run
    unit: Unit
    extractor: str
    classifier: str
    tried: Tried
    prior: float | None
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
    suite, tried = choice.run.suite, choice.tried
    return {
        "format": FORMAT,
        "name": suite.name,
        "faces": asdict(suite.faces),
        "faces_key": faces_key(suite.faces),
        "decoding": media.DECODING,
        "extractor": _describe_extractor(extractor, settings, seed=suite.seed),
        "classifier": {
            "name": choice.classifier,
            "parameters": choice.unit.best,
            "seed": suite.seed,
            "models": models,
            "refit": choice.refit,
        },
        "level": tried.level,
        "aggregate": suite.aggregate,
        "rule": tried.rule,
        "threshold": tried.value,
        "threshold_low": _known(tried.low),
        "threshold_high": _known(tried.high),
        "calibration": tried.calibration.to_dict() if tried.calibration else None,
        "prior": choice.prior,
        "metrics": _figures(tried),
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


def _figures(tried: Tried) -> list[dict[str, Any]]:
    """Return the figures at the threshold with their intervals: one entry a data and metric."""
    columns = ["data", "metric", "estimate", "low", "high", "people"]
    mine = tried.figures[tried.figures["rule"] == tried.rule]
    return [
        {str(k): _known(v) if isinstance(v, float) else v for k, v in line.items()}
        for line in mine[columns].to_dict("records")
    ]


def _known(value: float) -> float | None:
    """Return a number as JSON has it: null where it is not known."""
    return value if np.isfinite(value) else None
