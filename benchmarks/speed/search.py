"""The grid search against what a user would write: seconds, memory, and whether the answers are the same.

    python -m benchmarks.speed.search --n 1000 2000
    python -m benchmarks.speed.search --n 8000 --classifiers svc random_forest --plain-only C=1 n_estimators=300
    python -m benchmarks.speed.search --n 8000 --classifiers xgboost --only max_depth=3 learning_rate=0.1 --folds 2
    python -m benchmarks.speed.search --n 8000 --halving --accel --nested

The plain way is scikit-learn's GridSearchCV over a PredefinedSplit, with XGBClassifier(tree_method="hist"); ours is
`classify.search`. Both have the same features, folds, grid (that of the suite papic2025) and seed, as many processes
as there are processors, and run one after the other, each in a process of its own that has started its workers before
the clock starts. Where the plain way would take too long, it does the configurations with one value of a parameter
(--plain-only, for the classifiers that have it: choose a value in the middle), and its time is multiplied; --only and
--folds shorten both ways alike.

Other answers, on request and beside the plain way: --halving is the suite's search = "halving", compared by the F1 of
its winner; --accel the forests that oneDAL grows; --nested a search inside every fold, too, against the plain way's
flat one.

Without --features they are generated: a face is a person (64 numbers, 40 faces each) and a picture of it (64 more), a
fake is moved along one direction, all mapped to `d` columns at random, with noise, cut off below 0 as after a ReLU.
"""

import argparse
import ast
import cProfile
import multiprocessing
import os
import pstats
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib.externals.loky import get_reusable_executor
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ParameterGrid, PredefinedSplit
from sklearn.svm import SVC
from xgboost import XGBClassifier

from benchmarks.speed.workers import start_workers, watch
from classify.folds import fold_numbers, identity_folds
from classify.gram import gram_bytes
from classify.metrics import evaluate
from classify.search import How, search

SUITE = Path(__file__).parents[1] / "suites" / "papic2025.toml"  # read here: benchmarks.suite imports torch
FOLDS = 5
PEOPLE = 64  # numbers that make a person
SHIFT = 1.5  # of a fake, along a direction of length about one
SOLVERS = {  # what is inside of them is a solver's time
    "logistic_regression": ("_logistic.py", "fit"),
    "svc": (os.path.join("svm", "_base.py"), "_dense_fit"),
    "random_forest": (os.path.join("tree", "_classes.py"), "_fit"),
    "xgboost": (os.path.join("xgboost", "core.py"), "update"),
}


@dataclass(frozen=True)
class Task:
    """One search: what both ways are given, and ``plain``, values that the configurations of the plain way have."""

    X: npt.NDArray[np.float32]
    rows: pd.DataFrame
    classifier: str
    grid: Mapping[str, list[Any]]
    folds: int
    plain: Mapping[str, Any]
    jobs: int
    seed: int = 0
    how: How = "exhaustive"
    nested: bool = False

    @property
    def points(self) -> list[dict[str, Any]]:
        """The grid's configurations."""
        return list(ParameterGrid(dict(self.grid)))

    @property
    def sampled(self) -> list[int]:
        """Numbers of the configurations that the plain way does."""
        points = enumerate(self.points)
        return [i for i, point in points if all(point.get(k, v) == v for k, v in self.plain.items())]


@dataclass(frozen=True)
class Measured:
    """F1 (configurations, folds); memory is what was taken after the start, in bytes, of all processes."""

    seconds: float
    f1: npt.NDArray[np.float64]
    auc: float = np.nan
    memory: int = 0
    solving: float = np.nan
    winner: int = -1


def make_features(n: int, d: int, *, seed: int) -> tuple[npt.NDArray[np.float32], pd.DataFrame]:
    """Generate features (n, d) with rows as the folds want them; see the top of this file."""
    rng = np.random.default_rng(seed)
    person, label = np.arange(n) % max(4 * FOLDS, n // 40), (rng.random(n) < 0.5).astype(np.int64)
    hidden = rng.normal(size=(person.max() + 1, PEOPLE))[person] + rng.normal(size=(n, PEOPLE))
    hidden += SHIFT * label[:, None] * rng.normal(size=PEOPLE) / np.sqrt(PEOPLE)
    seen = hidden @ rng.normal(size=(PEOPLE, d)) / np.sqrt(PEOPLE) + 0.5 * rng.normal(size=(n, d))
    return np.maximum(seen, 0).astype(np.float32), _rows(label, person)


def _rows(label: npt.NDArray[np.int64], person: npt.NDArray[np.int64]) -> pd.DataFrame:
    clip = np.arange(len(label)).astype(str)
    return pd.DataFrame({"clip": clip, "label": label, "identity": person.astype(str)})


def plain_way(task: Task) -> Measured:
    """Search as a user of scikit-learn would."""
    estimator = {
        "logistic_regression": LogisticRegression(max_iter=5000),
        "svc": SVC(cache_size=500),
        "random_forest": RandomForestClassifier(random_state=task.seed),
        "xgboost": XGBClassifier(tree_method="hist", random_state=task.seed),
    }[task.classifier]
    some = [{name: [value] for name, value in task.points[i].items()} for i in task.sampled]
    number = fold_numbers(_folds(task), len(task.rows))
    cv = PredefinedSplit(np.where(number < task.folds, number, -1))
    start = time.perf_counter()
    done = GridSearchCV(estimator, some, scoring="f1", cv=cv, n_jobs=task.jobs, refit=False)
    done.fit(task.X, task.rows["label"].to_numpy())
    seconds = time.perf_counter() - start
    return Measured(
        seconds * len(task.points) / len(some),
        np.column_stack([done.cv_results_[f"split{k}_test_score"] for k in range(task.folds)]),
    )


def our_way(task: Task) -> Measured:
    """Search with `classify.search`."""
    y, folds = task.rows["label"].to_numpy(), _folds(task)[: task.folds]
    start = time.perf_counter()
    found = search(
        task.X,
        y,
        classifier=task.classifier,
        grid=task.grid,
        folds=folds,
        metric="f1",
        seed=task.seed,
        n_jobs=task.jobs,
        how=task.how,
        nested=task.nested,
        say=print,
    )
    seconds = time.perf_counter() - start
    winner = task.points.index(found.best)
    aucs = [evaluate(y[fold.test], found.scores[fold.test], threshold=0.0)["auc"] for fold in folds]
    f1 = found.configurations.pivot_table(index="configuration", columns="fold", values="f1")
    return Measured(seconds, f1.to_numpy(), float(np.mean(aucs)), winner=winner)


def profiled(task: Task) -> Measured:
    """Search in one process, and return the part of its time that is a solver's."""
    profile = cProfile.Profile()
    found = profile.runcall(our_way, replace(task, jobs=1))
    file, name = SOLVERS[task.classifier]
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    inside = sum(entry[3] for key, entry in stats.items() if key[0].endswith(file) and key[2] == name)
    return replace(found, solving=inside / found.seconds)


def _folds(task: Task) -> list[Any]:
    return identity_folds(task.rows, n_splits=FOLDS, protocol="target", seed=task.seed)


WAYS = {"plain": plain_way, "ours": our_way, "profile": profiled}


def measure(way: str, task: Task) -> Measured:
    """Search one way in a new process; its memory is watched from here."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_child, args=(there, way, task))
    process.start()
    there.close()
    here.recv()  # its workers have started
    with watch(process.pid or 0) as taken:
        here.send("go")
        found: Measured = here.recv()
    process.join()
    return replace(found, memory=taken())


def _child(parent: Connection, way: str, task: Task) -> None:
    _folds(task)
    if way != "profile":
        start_workers(task.jobs)
    parent.send("ready")
    parent.recv()
    parent.send(WAYS[way](task))
    get_reusable_executor().shutdown()  # multiprocessing would wait until workers have been idle for minutes


def report(task: Task, options: argparse.Namespace) -> dict[str, float]:
    """Measure and print the lines of one classifier; return the seconds of each way."""
    plain, ours = measure("plain", task), measure("ours", task)
    apart = np.abs(plain.f1 - ours.f1[task.sampled]).max()
    same = plain.f1.mean(axis=1).argmax() == ours.f1[task.sampled].mean(axis=1).argmax()
    answers = (
        "equal" if same and apart == 0 else f"F1 differs by {apart:.1e}{'' if same else ', other winner'}"
    )
    if options.profile:
        solving = measure("profile", task).solving
        answers += f"; outside solvers {1 - solving:.1%}"
    part = "" if len(task.sampled) == len(task.points) else f" ({len(task.sampled)} of {len(task.points)})"
    seconds = {"plain": plain.seconds, "ours": ours.seconds}
    _print(task.classifier, task, plain, ours, part, answers)
    if options.profile:
        seconds["outside"] = (1 - solving) * ours.seconds
    if options.halving:
        halved = measure("ours", replace(task, how="halving"))
        _print("  halving", task, plain, halved, "", _compared(ours, halved))
        seconds["halving"] = halved.seconds
    if options.accel and task.classifier == "random_forest":
        grown = measure("ours", replace(task, classifier="random_forest_onedal"))
        _print("  by oneDAL", task, plain, grown, "", f"best F1 {grown.f1.mean(axis=1).max():.4f}")
    if options.nested:
        nested = measure("ours", replace(task, nested=True))
        _print(
            "  nested, too",
            task,
            plain,
            nested,
            "",
            f"{nested.seconds / ours.seconds:.2f} times the flat one",
        )
    return seconds


def _compared(ours: Measured, halved: Measured) -> str:
    """Say how good the winner of a halving search is by the figures of the exhaustive one."""
    best, other = ours.f1[ours.winner], ours.f1[halved.winner]
    if ours.winner == halved.winner:
        return f"same winner, F1 {best.mean():.4f}"
    error = best.std(ddof=1) / np.sqrt(len(best)) if len(best) > 1 else np.nan
    return f"winner's F1 {other.mean():.4f}, best {best.mean():.4f}, standard error {error:.4f}"


def _print(name: str, task: Task, plain: Measured, ours: Measured, part: str, answers: str) -> None:
    square = gram_bytes(len(task.X))
    print(
        f"{name:<20}{len(task.points) * task.folds:5} {plain.seconds:9.1f}{part:<10} {ours.seconds:8.1f}"
        f" {plain.seconds / ours.seconds:6.2f}  {ours.auc:.3f}  {plain.memory / 2**20:6.0f} {ours.memory / 2**20:6.0f}"
        f" {ours.memory / square:5.2f}  {answers}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    options = _options()
    grids = tomllib.loads(SUITE.read_text(encoding="utf-8"))["classifiers"]
    chosen, plain = (dict(map(_setting, texts)) for texts in (options.only, options.plain_only))
    growth: dict[int, pd.DataFrame] = {}
    for n in options.n:
        X, rows = _read(options, n)
        print(
            f"\n{len(X):,} faces x {X.shape[1]}, {options.folds} of {FOLDS} folds, {options.jobs} processes"
        )
        print(
            f"{'':<20}{'fits':>5} {'plain, s':>9}{'':<10} {'ours, s':>8} {'ratio':>6}  {'AUC':<5}"
            f"  {'MiB':>6} {'MiB':>6} {'n x n':>5}"
        )
        took = []
        for name in options.classifiers:
            given = {k: [None if value == "none" else value for value in v] for k, v in grids[name].items()}
            grid = {k: [chosen[k]] if k in chosen else v for k, v in given.items()}
            task = Task(X, rows, name, grid, options.folds, plain, options.jobs)
            took.append(report(task, options))
        growth[len(X)] = pd.DataFrame(took)
    print("\nAll classifiers")
    for n, seconds in growth.items():
        print(f"{n:>7,} {_total(seconds, options)}")


def _total(seconds: pd.DataFrame, options: argparse.Namespace) -> str:
    """Say what all searches take together, and how many times as fast as the plain way that is."""
    plain, ours = seconds["plain"].sum(), seconds["ours"].sum()
    words = [f"plain {plain:.1f} s", f"ours {ours:.1f} s: {plain / ours:.2f}"]
    if options.halving:
        words.append(f"halving {seconds['halving'].sum():.1f} s: {plain / seconds['halving'].sum():.2f}")
    if options.profile:
        words.append(f"outside solvers {seconds['outside'].sum() / ours:.1%} of ours")
    return "; ".join(words)


def _read(options: argparse.Namespace, n: int) -> tuple[npt.NDArray[np.float32], pd.DataFrame]:
    if options.features is None:
        return make_features(n, options.d, seed=0)
    X, label = np.load(options.features), np.load(options.labels)
    person = np.load(options.groups) if options.groups else np.arange(len(X)) // 32
    some = np.sort(np.random.default_rng(0).permutation(len(X))[:n])
    return X[some].astype(np.float32), _rows(
        label[some].astype(np.int64), np.unique(person, return_inverse=True)[1][some]
    )


def _setting(text: str) -> tuple[str, Any]:
    name, value = text.split("=")
    return name, None if value == "none" else ast.literal_eval(value)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=Path, help="(n, d), .npy; with --labels (n,), 1 = fake")
    parser.add_argument("--labels", type=Path)
    parser.add_argument(
        "--groups", type=Path, help="(n,), who is shown; else 32 rows in a row are one person"
    )
    parser.add_argument("--n", type=int, nargs="+", default=[1000, 2000, 4000, 8000])
    parser.add_argument("--d", type=int, default=1024)
    parser.add_argument("--classifiers", nargs="+", default=list(SOLVERS), choices=list(SOLVERS))
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME=VALUE", help="one value of the grid")
    parser.add_argument("--folds", type=int, default=FOLDS, help="how many of the five are measured")
    parser.add_argument(
        "--plain-only", nargs="+", default=[], metavar="NAME=VALUE", help="one value for the plain way"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--halving", action="store_true", help='also search = "halving"')
    parser.add_argument("--accel", action="store_true", help="also forests grown by oneDAL (extra accel)")
    parser.add_argument("--nested", action="store_true", help="also with a search inside every fold")
    parser.add_argument("--profile", action="store_true", help="also the share of time outside solvers")
    return parser.parse_args()


if __name__ == "__main__":
    main()
