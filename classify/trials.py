"""Fit on one set of rows, judge on others, many times over: what every comparison is made of."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.model_selection import ParameterGrid

from classify.device import processes
from classify.fitting import Matrix, fit, score
from classify.folds import inner_folds
from classify.groups import Ints
from classify.metrics import SELECTION, Floats, Labels, evaluate
from classify.models import CLASSIFIERS, Params
from classify.protocols import Fold
from classify.search import How, search
from extract.memory import available_memory
from extract.progress import Track, no_progress

INNER = 3  # folds inside a training part that choose the parameters


@dataclass(frozen=True)
class Trial:
    """One training set and what it is tested on.

    Attributes
    ----------
    settings : mapping
        What tells it from other trials: columns of the outcome.
    train : (n_train,) int64
    tests : mapping of name to (n_test,) int64
    """

    settings: Mapping[str, str | int]
    train: Ints
    tests: Mapping[str, Ints]


@dataclass(frozen=True)
class Task:
    """Trials that share their parameters, chosen on rows of which no trial tests any: (n,) int64."""

    choose_on: Ints
    trials: Sequence[Trial]


@dataclass(frozen=True)
class Plan:
    """The tasks of a comparison, and the folds they rest on by protocol, to be audited."""

    tasks: list[Task]
    folds: Mapping[str, Sequence[Fold]]


def run_tasks(
    X: Matrix,
    rows: pd.DataFrame,
    tasks: Sequence[Task],
    *,
    classifier: str,
    grid: Mapping[str, list[Any]],
    metric: str,
    seed: int,
    how: How = "exhaustive",
    n_jobs: int = 1,
    track: Track = no_progress,
) -> pd.DataFrame:
    """Choose parameters for each task, then fit and judge each of its trials once.

    Parameters are chosen by `metric` over `INNER` folds (protocol ``target``) of the task's own rows; a grid of
    one point is taken as it is.

    Parameters
    ----------
    X : (n, d) float32
    rows : DataFrame of n rows
        ``clip``, ``label`` (1 = fake) and what `identity_folds` needs.
    tasks : sequence of Task
    classifier, grid, metric, seed, how, n_jobs
        As for `search`.

    Returns
    -------
    DataFrame, one line per trial, test set and level (``image``: faces, ``video``: clips by their faces' mean)
        The trial's settings, ``test``, ``level``, ``reals`` and ``fakes`` tested, every metric of `SELECTION` and
        ``fpr`` at the classifier's default threshold (NaN where the test set lacks the class), ``train_reals``
        and ``train_fakes`` (faces), ``parameters`` (JSON), ``converged``, ``seconds`` (of the fit and the
        scoring, one thread).

    Raises
    ------
    RequestError
        Too few identities for the inner folds.
    """
    points = [dict(point) for point in ParameterGrid(dict(grid))]
    chosen_on = [choosing_folds(rows, task, seed=seed) if len(points) > 1 else [] for task in tasks]
    y, clips = rows["label"].to_numpy(), pd.factorize(rows["clip"])[0]
    n_jobs = processes(classifier, n_jobs)
    memory = available_memory() // 2 // n_jobs  # for each of the searches that run at once
    work = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_run_task)(
            X,
            y,
            clips,
            task,
            folds,
            classifier=classifier,
            grid=grid,
            metric=metric,
            seed=seed,
            how=how,
            memory=memory,
        )
        for task, folds in zip(tasks, chosen_on, strict=True)
    )
    done: Iterable[list[dict[str, Any]]] = track(work, f"compare {classifier}", len(tasks))
    return pd.DataFrame([line for lines in done for line in lines])


def choosing_folds(rows: pd.DataFrame, task: Task, *, seed: int) -> list[Fold]:
    """Return the folds that choose a task's parameters; `RequestError` where its rows allow none."""
    return inner_folds(rows, task.choose_on, n_splits=INNER, protocol="target", seed=seed)


def _run_task(
    X: Matrix,
    y: Labels,
    clips: Ints,
    task: Task,
    folds: Sequence[Fold],
    *,
    classifier: str,
    grid: Mapping[str, list[Any]],
    metric: str,
    seed: int,
    how: How,
    memory: int,
) -> list[dict[str, Any]]:
    params = next(iter(ParameterGrid(dict(grid))))
    if folds:
        params = search(
            X,
            y,
            classifier=classifier,
            grid=grid,
            folds=folds,
            metric=metric,
            seed=seed,
            how=how,
            memory=memory,
        ).best
    return [
        line
        for trial in task.trials
        for line in _run_trial(X, y, clips, trial, classifier=classifier, params=params, seed=seed)
    ]


def _run_trial(
    X: Matrix, y: Labels, clips: Ints, trial: Trial, *, classifier: str, params: Params, seed: int
) -> list[dict[str, Any]]:
    test = np.unique(np.concatenate(list(trial.tests.values())))
    start = time.perf_counter()
    model, converged = fit(X, y, classifier=classifier, params=params, rows=trial.train, seed=seed)
    scores = score(model, X[test], classifier=classifier)
    fitted = {
        "train_reals": int(np.sum(y[trial.train] == 0)),
        "train_fakes": int(np.sum(y[trial.train] == 1)),
        "parameters": json.dumps(dict(params)),
        "converged": converged,
        "seconds": time.perf_counter() - start,
    }
    threshold = CLASSIFIERS[classifier].default_threshold
    return [
        {**trial.settings, "test": name, "level": level, **_figures(truth, values, threshold), **fitted}
        for name, wanted in trial.tests.items()
        for level, truth, values in _levels(y, scores[np.searchsorted(test, wanted)], clips, wanted)
    ]


def _levels(y: Labels, scores: Floats, clips: Ints, rows: Ints) -> list[tuple[str, Labels, Floats]]:
    """Return labels and scores of faces, and of clips by the mean of their faces."""
    _, first, clip = np.unique(clips[rows], return_index=True, return_inverse=True)
    means = np.bincount(clip, scores) / np.bincount(clip)
    return [("image", y[rows], scores), ("video", y[rows][first], means)]


def _figures(y: Labels, score: Floats, threshold: float) -> dict[str, float]:
    """Judge scores; of a test set with one class only what that class allows."""
    reals, fakes = int(np.sum(y == 0)), int(np.sum(y == 1))
    called = score >= threshold
    figures = {
        **{"reals": reals, "fakes": fakes},
        "fpr": float(called[y == 0].mean()) if reals else np.nan,
        **dict.fromkeys(SELECTION, np.nan),
        "recall": float(called[y == 1].mean()) if fakes else np.nan,
        "accuracy": float(np.mean(called == (y == 1))),
    }
    return figures | (evaluate(y, score, threshold=threshold) if reals and fakes else {})
