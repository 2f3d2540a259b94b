"""A run made by hand, in memory and on disk, for the tests of `reports`."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.results import Run, Unit, count, finish, open_folder, unit_folder, write_common, write_unit
from benchmarks.suite import Suite
from classify.metrics import METRICS
from classify.models import CLASSIFIERS
from classify.search import SearchResult
from extract.manifest import skip_table

FOLDS = 4  # and all figures are multiples of 1/256: their means are exact
BEST = {"logistic_regression": {"C": 0.1}, "random_forest": {"n_estimators": 100, "max_depth": None}}
EXTRACTORS = {"mobilenetv2": ("MobileNetV2", "package"), "reactnet_a": ("ReActNet-A", "random")}
PUBLISHED = {
    "source": "Somebody & Co. 2025, table_1",
    "figures": {"auc": {"random_forest": {"mobilenetv2": 91.5}}, "recall": {"svc": {"deit_base": 1.0}}},
    "thresholds": [{"threshold": -1.25, "accuracy": 90.0, "f1": 88.125}],
}
# Twelve faces of six clips; the fakes are a little higher, with ties.
FACES = pd.DataFrame(
    {
        "content": [f"{number:064x}" for number in range(12)],
        "face": 0,
        "clip": [f"clip{number // 2}" for number in range(12)],
        "label": [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1],
        "fold": [0, 0, 1, 1, 2, 3, 0, 0, 1, 1, 2, 3],
    }
)
SCORES = np.array([0.125, 0.25, 0.5, 0.375, 0.25, 0.75, 0.5, 0.625, 0.875, 0.75, 0.375, 1.0])


def metrics_of(extractor, classifier, deploy, default):
    """Make every figure of the unit at position (extractor, classifier) of the run."""
    lines = []
    for data, folds in (("out-of-fold", range(FOLDS)), ("external", [-1])):
        for level in ("image", "video"):
            for rule in ("default", "f1"):
                for fold in folds:
                    threshold = {"default": default, "f1": deploy[level]["f1"] + max(fold, 0) / 16}[rule]
                    base = 170 + 12 * (level == "video") + 4 * (rule == "f1") - 6 * (data == "external")
                    figures = {
                        # the second extractor's classifiers tie in AUC; by recall the first classifier is best
                        metric: (
                            base
                            + 8 * extractor
                            + 6 * number
                            + 3 * fold
                            + better(metric, extractor, classifier)
                        )
                        / 256
                        for number, metric in enumerate(METRICS)
                    }
                    lines.append(
                        {"data": data, "level": level, "rule": rule, "fold": fold, "threshold": threshold}
                    )
                    lines[-1] |= figures
    return pd.DataFrame(lines)


def better(metric, extractor, classifier):
    if metric == "auc" and extractor == 1:
        return 0
    return 5 * (1 - classifier) if metric == "recall" else 5 * classifier


@pytest.fixture
def make_run():
    """Make a run; by default of two extractors, the second on random weights, and two classifiers."""

    def make(*, folder=Path("results/by-hand"), extractors=EXTRACTORS, classifiers=tuple(BEST), **settings):
        settings = {
            **{
                "name": "by-hand",
                "title": "Made by hand: 100 % of A & B_1",
                "protocol": "target",
                "folds": FOLDS,
            },
            **{"thresholds": ["f1"], "weights": "auto", "published": PUBLISHED},
            **settings,
        }
        suite = Suite(extractors=list(extractors), classifiers={c: {} for c in classifiers}, **settings)
        described = {
            name: {"title": title, "fingerprint": name, "weights": weights, "source": weights}
            for name, (title, weights) in extractors.items()
        }
        units = {}
        for i, extractor in enumerate(extractors):
            for j, classifier in enumerate(classifiers):
                deploy = {"image": {"f1": 0.25 + j / 8}, "video": {"f1": 0.375 + j / 8}}
                metrics = metrics_of(i, j, deploy, CLASSIFIERS[classifier].default_threshold)
                scores = np.roll(SCORES, i) if i else SCORES - j * (FACES["label"] == 0) / 16
                units[(extractor, classifier)] = Unit(
                    BEST.get(classifier, {}), (i, j) != (0, 0), deploy, metrics, FACES.assign(score=scores)
                )
        skipped = skip_table({"/data/broken.png": "not an image"})
        faces = FACES.assign(identity="p0")
        return Run(folder, suite, described, count(faces), faces, skipped, units)

    return make


@pytest.fixture
def write_run(make_run, tmp_path):
    """Write a run made by hand as a finished results folder; returns the folder."""

    def write(folder=tmp_path / "results", **settings):
        run = make_run(folder=folder, **settings)
        open_folder(folder, "key")
        write_common(folder, suite=run.suite, faces=run.faces, skipped=run.skipped, extractors=run.extractors)
        for (extractor, classifier), unit in run.units.items():
            found = SearchResult(
                unit.best, unit.converged, unit.metrics, unit.predictions["score"].to_numpy()
            )
            final = unit_folder(folder, extractor, classifier)
            write_unit(final, found=found, unit=unit, external=None, scratch=folder / "scratch")
        finish(folder)
        return folder

    return write
