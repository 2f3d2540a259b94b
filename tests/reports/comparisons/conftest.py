"""Comparisons made by hand, in memory and on disk: two folds, and figures that are multiples of 1/64."""

import statistics
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from benchmarks.compare import Comparison
from benchmarks.results import Finished, finish, unit_folder
from classify.comparisons import STEPS, training_sets
from extract.files import write_json


def trial(settings, *, test, points, reals, fakes, seconds=0.25):
    """Make the two lines of one trial, `points` of 64 its AUC at image level; NaN where a class is lacking."""
    both = reals > 0 and fakes > 0
    for level, more in (("image", 0), ("video", 2)):
        auc = (points + more) / 64
        others = ("average_precision", "specificity", "balanced_accuracy", "mcc")
        decisions = {
            **dict.fromkeys(others, auc),
            "recall": auc - 8 / 64,
            "f1": auc - 6 / 64,
            "precision": auc - 2 / 64,
        }
        yield {
            **settings,
            **{"test": test, "level": level, "reals": reals, "fakes": fakes},
            **{"fpr": (64 - points) / 128 if reals else np.nan, "accuracy": auc - 4 / 64},
            **{name: value if both else np.nan for name, value in {"auc": auc, **decisions}.items()},
            **{"train_reals": 6, "train_fakes": 9 + settings.get("repeat", 0), "parameters": '{"C": 0.1}'},
            **{"converged": True, "seconds": seconds},
        }


def leakage_trials(less):
    """Make two repeats; in the second, all fakes that strict tests are in its first fold."""
    for repeat in (0, 1):
        for step, protocol in enumerate(STEPS):
            for fold in (0, 1):
                reals, fakes = ((6, 2), (2, 2))[fold]
                if (repeat, protocol) == (1, "strict"):
                    fakes = (4, 0)[fold]
                settings = {"protocol": protocol, "repeat": repeat, "fold": fold}
                points = 60 - 8 * step - 12 * fold - (5 - step) * repeat - less
                yield from trial(settings, test="common", points=points, reals=reals, fakes=fakes)


def transfer_trials(less, *, values, untrained=None, untested=None):
    """Make every training set in two folds, without (fold, set) `untrained` and without the fakes of `untested`."""
    for fold in (0, 1):
        for name, kept in training_sets(values).items():
            if (fold, name) == untrained:
                continue
            for number, test in enumerate(values):
                points = 60 - 12 * (test not in kept) - 4 * fold - 2 * number - less
                fakes = 0 if (fold, test) == untested else 2
                settings = {"trained_on": name, "repeat": 0, "fold": fold}
                yield from trial(settings, test=test, points=points, reals=4, fakes=fakes)


def new_attack_trials(less):
    """Make two draws; the second fold cannot fill k = 5 with the first attack."""
    for number, attack in enumerate(("Deepfakes", "FaceSwap")):
        for fold in (0, 1):
            for draw in (0, 1):
                for place, clips in enumerate((0, 1, 5)):
                    if (clips == 0 and draw) or (clips == 5 and fold and attack == "Deepfakes"):
                        continue
                    points = 36 + 8 * place + 4 * number - 4 * fold + 2 * draw - less
                    settings = {"attack": attack, "fold": fold, "clips": clips, "draw": draw}
                    yield from trial(
                        settings, test="attack", points=points, reals=4, fakes=2, seconds=0.25 * (place + 1)
                    )


def attack_trials(less):
    values = ["Deepfakes", "Face2Face", "FaceSwap"]
    return transfer_trials(less, values=values, untrained=(0, "only Face2Face"), untested=(1, "FaceSwap"))


def dataset_trials(less):
    return transfer_trials(less, values=["celebdf", "faceforensics"])


TRIALS = {
    "leakage": leakage_trials,
    "attacks": attack_trials,
    "datasets": dataset_trials,
    "new-attack": new_attack_trials,
}


@pytest.fixture
def make_comparison(make_run):
    """Make a comparison; by default of two extractors, the second on random weights, and two classifiers."""

    def make(name, **settings):
        protocols = STEPS if name == "leakage" else ("target",)
        run = make_run(**{"protocol": protocols[-1], "folds": 2, "published": None, **settings})
        common = {field.name: getattr(run, field.name) for field in fields(Finished)}
        audit = [run.audit.head(2).assign(protocol=protocol) for protocol in protocols]
        trials = [
            line | {"extractor": extractor, "classifier": classifier}
            for i, extractor in enumerate(run.extractors)
            for j, classifier in enumerate(run.suite.classifiers)
            for line in TRIALS[name](3 * i + j)
        ]
        common |= {"audit": pd.concat(audit, ignore_index=True)}
        return Comparison(**common, name=name, trials=pd.DataFrame(trials))

    return make


@pytest.fixture
def make_one(make_comparison):
    """Make a comparison of one extractor with one classifier."""
    extractors = {"mobilenetv2": ("MobileNetV2", "package")}
    return lambda name: make_comparison(name, extractors=extractors, classifiers=("random_forest",))


@pytest.fixture
def written():
    """Write mean and deviation of shares as the tables do; a single value without a deviation."""

    def write(values):
        mean = f"{100 * statistics.mean(values):.2f}"
        return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean

    return write


@pytest.fixture
def write_comparison(make_comparison, write_shared, tmp_path):
    """Write a comparison made by hand as a finished results folder; returns the folder."""

    def write(name, folder=tmp_path / "comparison", **settings):
        comparison = make_comparison(name, folder=folder, **settings)
        write_shared(comparison)
        write_json(folder / "comparison.json", {"name": name, "repeats": 2})
        for (extractor, classifier), trials in comparison.trials.groupby(["extractor", "classifier"]):
            unit = unit_folder(folder, extractor, classifier)
            unit.mkdir(parents=True)
            trials.drop(columns=["extractor", "classifier"]).to_parquet(unit / "trials.parquet", index=False)
        finish(folder)
        return folder

    return write
