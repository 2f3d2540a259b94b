"""A run made by hand, in memory and on disk, for the tests of `reports`."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

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
SETTINGS = {
    **{"name": "by-hand", "title": "Made by hand: 100 % of A & B_1", "protocol": "target", "folds": FOLDS},
    **{"thresholds": ["f1"], "weights": "auto", "published": PUBLISHED},
}
# Twelve faces of eight clips; a fold's real clip and its fake show the same person, and the first two fakes wear the
# face of a person of the next fold, the third that of somebody else, the last that of nobody known.
FACES = pd.DataFrame(
    {
        "content": [f"{number:064x}" for number in range(12)],
        "face": 0,
        "clip": [f"clip{number}" for number in (0, 0, 1, 1, 2, 3, 4, 4, 5, 5, 6, 7)],
        "label": [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1],
        "identity": [f"p{number}" for number in 2 * [0, 0, 1, 1, 2, 3]],
        "source_identity": [*6 * [""], "p1", "p1", "p2", "p2", "x9", ""],
        "fold": 2 * [0, 0, 1, 1, 2, 3],
    }
)
# The fakes are a little higher, with ties; on other people's clips it is the other way round.
SCORES = np.array([0.125, 0.25, 0.5, 0.375, 0.25, 0.75, 0.5, 0.625, 0.875, 0.75, 0.375, 1.0])
EXTERNAL = FACES.assign(content=[f"{number:064x}" for number in range(100, 112)], clip="e" + FACES["clip"])
ONCE = ("test", "external")  # judged once
# What the two sides of each fold share; a picture of the first fold looks like one of the third.
AUDIT = pd.DataFrame(
    {
        **{"protocol": "target", "fold": [1, 2, 3, 4], "train_faces": [8, 8, 10, 10]},
        **{
            "train_real_clips": 3,
            "train_fake_clips": 3,
            "train_prevalence": 0.5,
            "train_identities": 3,
            "train_people": [4, 5, 4, 4],
        },
        **{"test_faces": [4, 4, 2, 2], "test_real_clips": 1, "test_fake_clips": 1, "test_prevalence": 0.5},
        **{"test_identities": 1, "test_people": [2, 2, 2, 1], "sat_out_clips": 0, "shared_clips": 0},
        **{"shared_identities": 0, "shared_people": [1, 2, 1, 0], "sources": [1, 1, 1, 0]},
        **{"sources_in_training": [1, 1, 0, 0], "near_duplicates": [1, 0, 1, 0]},
    }
)


def metrics_of(extractor, classifier, deploy, default, *, folds):
    """Make every figure of the unit at position (extractor, classifier) of the run; folds by data."""
    lines = []
    for data, numbers in folds.items():
        # In the test part the order of extractors and classifiers is the other way round.
        i, j = (1 - extractor, 1 - classifier) if data == "test" else (extractor, classifier)
        for level in ("image", "video"):
            for rule in ("default", "f1"):
                for fold in numbers:
                    threshold = {"default": default, "f1": deploy[level]["f1"] + max(fold, 0) / 16}[rule]
                    base = 170 + 12 * (level == "video") + 4 * (rule == "f1") - 6 * (data in ONCE)
                    figures = {
                        # the second extractor's classifiers tie in AUC; by recall the first classifier is best
                        metric: (base + 8 * i + 6 * number + 3 * fold + better(metric, i, j)) / 256
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


def predictions_of(scores, *, official):
    """Make the scores of one unit: the faces of the first fold are the data set's own test part, if it has one."""
    own, other = FACES.assign(score=scores), EXTERNAL.assign(score=1 - SCORES, fold=-1, data="external")
    parts = [own.assign(data="out-of-fold")]
    if official:
        test = own["fold"] == 0
        validation = own[~test].assign(data="validation", fold=own["fold"][~test] - 1)
        parts = [validation, own[test].assign(data="test", fold=-1)]
    columns = ["content", "face", "clip", "label", "fold", "score", "data"]
    return pd.concat([*parts, other], ignore_index=True)[columns]


@pytest.fixture
def make_run():
    """Make a run; by default of two extractors, the second on random weights, and two classifiers.

    Under protocol official it has a validation part of three folds, a test part and external data.
    """

    def make(*, folder=Path("results/by-hand"), extractors=EXTRACTORS, classifiers=tuple(BEST), **settings):
        grids = {classifier: {} for classifier in classifiers}
        suite = Suite(extractors=list(extractors), classifiers=grids, **{**SETTINGS, **settings})
        described = {
            name: {"title": title, "fingerprint": name, "weights": weights, "source": weights}
            for name, (title, weights) in extractors.items()
        }
        official = suite.protocol == "official"
        own = {"validation": range(FOLDS - 1), "test": [-1]} if official else {"out-of-fold": range(FOLDS)}
        units = {}
        for i, extractor in enumerate(extractors):
            for j, classifier in enumerate(classifiers):
                deploy = {"image": {"f1": 0.25 + j / 8}, "video": {"f1": 0.375 + j / 8}}
                default = CLASSIFIERS[classifier].default_threshold
                metrics = metrics_of(i, j, deploy, default, folds={**own, "external": [-1]})
                scores = np.roll(SCORES, i) if i else SCORES - j * (FACES["label"] == 0) / 16
                predictions = predictions_of(scores, official=official)
                best = BEST.get(classifier, {})
                units[(extractor, classifier)] = Unit(best, (i, j) != (0, 0), deploy, metrics, predictions)
        faces = FACES.assign(fold=FACES["fold"].where(FACES["fold"] == 0, -1)) if official else FACES
        audit = AUDIT.head(1 if official else FOLDS).assign(protocol=suite.protocol)
        return Run(
            folder,
            suite,
            described,
            count(faces),
            faces,
            audit,
            skip_table({"/data/broken.png": "not an image"}),
            units=units,
        )

    return make


@pytest.fixture
def write_shared():
    """Write what a run and a comparison have in common into their folder."""

    def write(results):
        open_folder(results.folder, "key")
        write_common(
            results.folder,
            suite=results.suite,
            faces=results.faces,
            audit=results.audit,
            skipped=results.skipped,
            extractors=results.extractors,
        )

    return write


@pytest.fixture
def write_run(make_run, write_shared, tmp_path):
    """Write a run made by hand as a finished results folder; returns the folder."""

    def write(folder=tmp_path / "results", **settings):
        run = make_run(folder=folder, **settings)
        write_shared(run)
        for (extractor, classifier), unit in run.units.items():
            found = SearchResult(
                unit.best, unit.converged, unit.metrics, unit.predictions["score"].to_numpy()
            )
            final = unit_folder(folder, extractor, classifier)
            write_unit(final, found=found, unit=unit, scratch=folder / "scratch")
        finish(folder)
        return folder

    return write


@pytest.fixture
def check_golden():
    """Compare a text with a golden file, or write that file where UPDATE_GOLDEN is set."""

    def check(name, text):
        golden = Path(__file__).parent / "golden" / name
        if os.environ.get("UPDATE_GOLDEN"):
            golden.write_bytes(text.encode())
        assert text.encode() == golden.read_bytes()

    return check


@pytest.fixture
def check_whole():
    """Draw a figure and see that no part of it lies outside."""

    def check(figure):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn, (width, height) = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()
        assert min(drawn.x0, drawn.y0) >= 0
        assert drawn.x1 <= width
        assert drawn.y1 <= height

    return check
