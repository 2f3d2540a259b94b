"""A run made by hand, in memory and on disk, for the tests of `reports`."""

import functools
import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from benchmarks.judge import NESTED, Judging, judge
from benchmarks.results import Run, count, finish, open_folder, unit_folder, write_common, write_unit
from benchmarks.suite import Suite
from classify.models import CLASSIFIERS
from classify.search import Inner, Nested, SearchResult
from extract.manifest import Reason, skip_table
from extract.media.perturb import parse_perturbations

FOLDS = 4
BEST = {"logistic_regression": {"C": 0.1}, "random_forest": {"n_estimators": 100, "max_depth": None}}
EXTRACTORS = {"mobilenetv2": ("MobileNetV2", "package"), "reactnet_a": ("ReActNet-A", "random")}
PUBLISHED = {
    "source": "Somebody & Co. 2025, table_1",
    "figures": {"auc": {"random_forest": {"mobilenetv2": 91.5}}, "recall": {"svc": {"deit_base": 1.0}}},
    "thresholds": [{"threshold": -1.25, "accuracy": 90.0, "f1": 88.125}],
}
SETTINGS = {
    **{"name": "by-hand", "title": "Made by hand: 100 % of A & B_1", "protocol": "target", "folds": FOLDS},
    **{"nested": False, "thresholds": ["f1"], "weights": "auto", "published": PUBLISHED, "replicates": 200},
}
# Twelve faces of eight clips; a fold's real clip and its fake show the same person, and the first two fakes wear the
# face of a person of the next fold, the third that of somebody else, the last that of nobody known.
DOZEN = pd.DataFrame(
    {
        "clip": [f"clip{number}" for number in (0, 0, 1, 1, 2, 3, 4, 4, 5, 5, 6, 7)],
        "label": [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1],
        "identity": [f"p{number}" for number in 2 * [0, 0, 1, 1, 2, 3]],
        "source_identity": [*6 * [""], "p1", "p1", "p2", "p2", "x9", ""],
        "fold": 2 * [0, 0, 1, 1, 2, 3],
    }
)


def renamed(name):
    """Return the dozen as clips and people of other names."""
    people = ["clip", "identity", "source_identity"]
    return DOZEN.assign(**{c: DOZEN[c].map(lambda value: value and value + name) for c in people})


# Three times that; the third attack differs from the others', the first camera from the others.
FACES = pd.concat([renamed(name) for name in "abc"], ignore_index=True).assign(
    content=[f"{number:064x}" for number in range(36)],
    face=0,
    attack=[*12 * ["Deepfakes"], *12 * ["Deepfakes"], *12 * ["NeuralTextures"]],
    device=[*12 * ["phone"], *24 * ["webcam"]],
)
FACES["attack"] = FACES["attack"].where(FACES["label"] == 1, "")
EXTERNAL = FACES.assign(
    content=[f"{number:064x}" for number in range(100, 136)],
    **{c: "e" + FACES[c] for c in ("clip", "identity")},
    source_identity="",
    fold=-1,
)
# By how much each extractor's classifiers score a fake higher: of the second's the order is the same.
SHIFTS = ((0.0, 0.125, 0.25, 0.25), (0.3125, 0.3125, 0.25, 0.25))
NOISE = np.random.default_rng(3).integers(0, 17, 36) / 32
# A perturbation that no clip survives, and one that does not apply to stills.
DEADLY, FOR_VIDEOS = "jpeg-0", "h264"
# What the two sides of each fold share; pictures of the first fold look like some of the third.
AUDIT = pd.DataFrame(
    {
        **{"protocol": "target", "fold": [1, 2, 3, 4], "train_faces": [24, 24, 30, 30]},
        **{
            "train_real_clips": 9,
            "train_fake_clips": 9,
            "train_prevalence": 0.5,
            "train_identities": 9,
            "train_people": [12, 15, 12, 12],
        },
        **{"test_faces": [12, 12, 6, 6], "test_real_clips": 3, "test_fake_clips": 3, "test_prevalence": 0.5},
        **{"test_identities": 3, "test_people": [6, 6, 6, 3], "sat_out_clips": 0, "shared_clips": 0},
        **{"shared_identities": 0, "shared_people": [3, 6, 3, 0], "sources": [3, 3, 3, 0]},
        **{"sources_in_training": [3, 3, 0, 0], "near_duplicates": [3, 0, 3, 0]},
    }
)


def scores_of(rows, i, j, *, weaker=0, turned=False):
    """Make the scores of classifier j on extractor i; the third attack is found less often than the others.

    Logistic regression, which calls scores above 0 fake, calls more faces fake than the forest, above 0.5.
    """
    first = 0.125 if j % 2 else -0.125
    i, j = (i ^ 1, j ^ 1) if turned else (i, j)
    shift = SHIFTS[i % 2][j] * np.where(rows["attack"] == "NeuralTextures", 0.5, 1) / (1 + weaker / 2)
    return first + np.roll(NOISE, 5 * i)[rows.index] + shift * rows["label"] - weaker / 64


def own_rows(i, j, *, official, weaker=0):
    """Return the faces with scores: the first fold's are the data set's own test part, if it has one.

    In the test part the order of extractors and classifiers is the other way round.
    """
    rows = FACES.assign(score=scores_of(FACES, i, j, weaker=weaker))
    if not official:
        return {"out-of-fold": rows}
    test = FACES["fold"] == 0
    rows.loc[test, "score"] = scores_of(FACES[test], i, j, weaker=weaker, turned=True)
    return {"validation": rows[~test].assign(fold=rows["fold"] - 1), "test": rows[test].assign(fold=-1)}


def lost(name):
    """Return the clips in which no face is found any more under a perturbation."""
    strength = parse_perturbations([name])[0].severity
    weaker = [p.severity for p in parse_perturbations([name.partition("-")[0]]) if p.severity < strength]
    return [*["clip0a"][: len(weaker)], *["clip4a", "clip4b"][: max(0, len(weaker) - 1)]]


def inside_of(i, j):
    """Return for each fold the scored rows inside its training part: those of the other folds, a little weaker."""
    rows = own_rows(i, j, official=False, weaker=1)["out-of-fold"]
    return [rows[rows["fold"] != k].assign(fold=rows["fold"] - (rows["fold"] > k)) for k in range(FOLDS)]


def nested_of(i, j, best):
    """Make what a search inside each fold found: in the first one other parameters, and fits that do not converge."""
    none = {"scores": np.empty(0), "number": np.empty(0, int)}
    inner = [Inner(best if k else {**best, "C": 7.0}, (i, j, k) != (0, 1, 0), **none) for k in range(FOLDS)]
    return Nested(np.empty(0), tuple(inner))


@functools.cache
def unit_of(i, j, *, classifier, official, nests, perturb, columns, **how):
    """Judge the scores of the classifier at place j on the extractor at place i; nested ones are a little weaker."""
    scored = own_rows(i, j, official=official)
    if nests:
        scored[NESTED] = own_rows(i, j, official=official, weaker=1)["out-of-fold"]
    inside = inside_of(i, j) if nests else []
    scored["external"] = EXTERNAL.assign(score=scores_of(EXTERNAL, i, j, weaker=1))
    for place, name in enumerate(perturb, start=1):
        rows = list(own_rows(i, j, official=official, weaker=place).values())[-1]
        scored[name] = rows[~rows["clip"].isin(lost(name))]
    kept = ["content", "face", "clip", "label", "attack", "identity", "source_identity", "fold", "score"]
    scored = {data: rows[[*kept, *columns]].reset_index(drop=True) for data, rows in scored.items()}
    best = BEST.get(classifier, {})
    nested = nested_of(i, j, best) if nests else None
    found = SearchResult(best, (i, j) != (0, 0), pd.DataFrame(), np.empty(0), nested)
    default = CLASSIFIERS[classifier].default_threshold
    return judge(found, scored, inside=inside, how=Judging(default=default, columns=columns, **how))


def copy_of(unit):
    """Return a unit whose tables may be changed."""
    tables = {f.name: value.copy() for f in fields(unit) if hasattr(value := getattr(unit, f.name), "copy")}
    return replace(unit, **tables)


def files_of(perturb):
    """Make the table of input files: some gave no face, of one clip another file did."""
    columns = ["content", "clip", "label", "attack"]
    without = [("lost0", 0, ""), ("lost1", 1, "Deepfakes"), ("clip0a", 0, "")]
    lines = [(f"{number:064x}", *line) for number, line in enumerate(without, start=200)]
    parts = [
        FACES[columns].assign(data="own", faces=1),
        pd.DataFrame(lines, columns=columns).assign(data="own", faces=0),
        EXTERNAL[columns].assign(data="external", faces=1),
    ]
    for name in perturb:
        faces = (~FACES["clip"].isin(lost(name)) & (name != DEADLY)).astype(int)
        parts.append(FACES[columns].assign(data=name, faces=faces))
        parts.append(pd.DataFrame(lines, columns=columns).assign(data=name, faces=0))
    return pd.concat(parts, ignore_index=True).assign(split="")


@pytest.fixture
def make_run():
    """Make a run; by default of two extractors, the second on random weights, and two classifiers.

    Under protocol official it has a validation part of three folds, a test part and external data.
    """

    def make(
        *,
        folder=Path("results/by-hand"),
        extractors=EXTRACTORS,
        classifiers=tuple(BEST),
        columns=("device",),
        **settings,
    ):
        grids = {classifier: {} for classifier in classifiers}
        suite = Suite(extractors=list(extractors), classifiers=grids, **{**SETTINGS, **settings})
        described = {
            name: {"title": title, "fingerprint": name, "weights": weights, "source": weights}
            for name, (title, weights) in extractors.items()
        }
        official = suite.protocol == "official"
        applied = [p for p in parse_perturbations(suite.perturb) if p.family != FOR_VIDEOS]
        perturb = tuple(p.name for p in sorted(applied, key=lambda p: p.order))
        how = {
            **{"rules": tuple(suite.thresholds), "aggregate": suite.aggregate, "seed": suite.seed},
            **{"calibration": suite.calibration, "replicates": suite.replicates, "columns": columns},
            **{
                "official": official,
                "nests": suite.nests,
                "perturb": tuple(name for name in perturb if name != DEADLY),
            },
        }
        units = {
            (extractor, classifier): copy_of(unit_of(i, j, classifier=classifier, **how))
            for i, extractor in enumerate(extractors)
            for j, classifier in enumerate(classifiers)
        }
        faces = FACES.assign(fold=FACES["fold"].where(FACES["fold"] == 0, -1)) if official else FACES
        audit = AUDIT.head(1 if official else FOLDS).assign(protocol=suite.protocol)
        return Run(
            folder,
            suite,
            described,
            count(faces),
            faces,
            audit,
            skip_table({"/data/broken.png": Reason("E_CLIP_UNREADABLE", "not an image")}),
            files=files_of(perturb),
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
        run.files.to_parquet(folder / "files.parquet", index=False)
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
