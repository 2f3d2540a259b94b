"""From scores to the figures of one extractor with one classifier."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from classify.aggregate import LEVELS, at_level
from classify.calibration import NONE, Calibration, fit_calibration
from classify.estimates import (
    FIGURES,
    Estimates,
    error_rates,
    estimate_auc,
    estimate_calls,
    estimate_scores,
    threshold_intervals,
)
from classify.groups import Ints
from classify.metrics import SELECTION, Floats, call, rank
from classify.resampling import Resampling, resample
from classify.search import SearchResult
from classify.thresholds import Unreachable, cross_fit, tune_threshold
from extract.workers import run_units

T = TypeVar("T")
R = TypeVar("R")
NESTED = "nested"  # data: the first again, by what was chosen inside the training part of each of its folds
DEFAULT = "default"  # the rule that keeps the classifier's own threshold
REPLICATES = 2000


@dataclass(frozen=True)
class Judging:
    """How scores are judged.

    Attributes
    ----------
    rules : sequence of str
        Threshold rules.
    default : float
        The classifier's default threshold.
    aggregate : str
        How a clip's faces make its score, see `combiner`.
    calibration : str
        How scores become probabilities: ``platt``, ``isotonic`` or ``none``.
    perturbed : collection of str
        Names of data of which robustness alone is asked: AUC and calls.
    columns : sequence of str
        Further columns of the scored rows, by whose values errors are counted, beside the attack.
    seed, replicates : int
        Of the bootstrap over people.
    """

    rules: Sequence[str]
    default: float
    aggregate: str = "mean"
    calibration: str = "platt"
    perturbed: Collection[str] = ()
    columns: Sequence[str] = ()
    seed: int = 0
    replicates: int = REPLICATES


@dataclass(frozen=True)
class Unit:
    """The outcome of one extractor with one classifier.

    Attributes
    ----------
    best : dict
        The selected parameters.
    nested : list of dict, optional
        For each fold what was chosen inside its training part: ``best`` (parameters) and ``converged`` (whether every
        fit that chose them did, and theirs). None where nothing was.
    deploy : dict
        Level (``image``, ``video``) -> rule -> threshold chosen on all out-of-fold scores, None where the rule
        cannot be met.
    unreachable : dict
        Level -> rule that cannot be met -> what was reachable.
    calibration : dict
        Level -> the calibration fitted on all out-of-fold scores, or None.
    metrics : DataFrame, one line per data, level, rule and fold
        ``data``, ``level``, ``rule`` (``default`` or a threshold rule), ``fold`` (-1 for data that is judged
        once), ``threshold`` (the one applied) and every metric of `SELECTION`. Data is ``out-of-fold`` and, by what
        was chosen inside each fold, ``nested``, or, where the data set has a test part of its own, ``validation`` and
        ``test``; also ``external``, and the names of perturbations.
    estimates : DataFrame, one line per data, level, rule and metric
        ``data``, ``level``, ``rule``, ``metric`` (of `METRICS`, or ``threshold``: the one to deploy), ``estimate``,
        ``low``, ``high``, ``people`` (that it rests on). Figures of the scores alone stand under rule ``default``.
    errors : DataFrame, one line per data, level, rule, column and value
        As `classify.estimates.error_rates` counts them; ``column`` is ``attack`` or a further one of the manifest.
    replicates : DataFrame, one line a replicate
        One column, ``<data> <level> <metric>``, for each metric of `SELECTION` at the default threshold; the same
        people are drawn for every model.
    predictions : DataFrame, one line a face
        ``content``, ``face``, ``clip``, ``label``, ``attack``, ``identity``, ``source_identity``, ``fold``, ``score``,
        ``data``.
    converged : bool
        Whether every fit of the selected parameters converged.
    """

    best: dict[str, Any]
    converged: bool
    nested: list[dict[str, Any]] | None
    deploy: dict[str, dict[str, float | None]]
    unreachable: dict[str, dict[str, str]]
    calibration: dict[str, Calibration | None]
    metrics: pd.DataFrame
    estimates: pd.DataFrame
    errors: pd.DataFrame
    replicates: pd.DataFrame
    predictions: pd.DataFrame


@dataclass(frozen=True)
class Chosen:
    """What was chosen at one level: for fold 0, 1, ... without it, and last, which is place -1, on all, to deploy.

    Attributes
    ----------
    thresholds : mapping of rule to (k + 1,) float64
        NaN where a rule cannot be met, where there are no other folds, and at -1 where nothing is to be deployed.
    unreachable : mapping of rule to the reason why there is none to deploy
    calibrations : list of k + 1, or None where there are no other folds, no calibration, nothing to deploy
    """

    thresholds: Mapping[str, Floats]
    unreachable: Mapping[str, str]
    calibrations: Sequence[Calibration | None]


@dataclass(frozen=True)
class _Part:
    """Rows of one data, to be judged at one level; the first data is what was chosen on."""

    data: str
    level: str
    faces: pd.DataFrame
    chosen: Chosen
    first: bool


@dataclass(frozen=True)
class _Figures:
    """What `Unit` holds of one data at one level."""

    metrics: pd.DataFrame
    estimates: pd.DataFrame
    errors: pd.DataFrame
    replicates: Mapping[str, "pd.Series[float]"]


def judge(
    found: SearchResult,
    scored: Mapping[str, pd.DataFrame],
    *,
    inside: Sequence[pd.DataFrame] = (),
    how: Judging,
    workers: int = 1,
) -> Unit:
    """Compute every figure of one unit, at image and at video level.

    Parameters
    ----------
    scored : mapping of data to DataFrame, one line a face
        ``content``, ``face``, ``clip``, ``label``, ``attack``, ``identity``, ``source_identity``, ``fold``, ``score``.
        The first is what parameters and thresholds are chosen on: its figures are cross-fitted over its folds. Rows of
        the others are judged by what was chosen without their fold, and in fold -1 by what was chosen on all of the
        first. Those of data ``nested`` by what was chosen on `inside`.
    inside : sequence of DataFrame, one a fold
        For data ``nested``: rows of that fold's training part as in `scored`, with the scores of its inner folds.
    workers : int
        Processes, where there is something to do for each.
    """
    first, own = next(iter(scored.items()))
    places = [(name, level) for name in scored for level in LEVELS]
    chosen_on = [(name, level) for name, level in places if name in (first, NESTED)]
    choosing = [(own if name == first else inside, level) for name, level in chosen_on]
    chosen = dict(zip(chosen_on, _each(partial(_choose, how=how), choosing, workers), strict=True))
    parts = [
        _Part(name, level, scored[name], chosen.get((name, level), chosen[first, level]), name == first)
        for name, level in places
    ]
    figures = _each(partial(_judge, how=how), parts, workers)
    everywhere = {level: chosen[first, level] for level in LEVELS}
    return Unit(
        best=found.best,
        converged=found.converged,
        nested=[{"best": i.best, "converged": i.converged} for i in found.nested.inner]
        if found.nested
        else None,
        deploy={level: _deployed(c) for level, c in everywhere.items()},
        unreachable={level: dict(c.unreachable) for level, c in everywhere.items()},
        calibration={level: c.calibrations[-1] for level, c in everywhere.items()},
        metrics=_first(pd.concat([f.metrics for f in figures], ignore_index=True)),
        estimates=_first(pd.concat([f.estimates for f in figures], ignore_index=True)),
        errors=_first(pd.concat([f.errors for f in figures], ignore_index=True)),
        replicates=pd.DataFrame({name: drawn for f in figures for name, drawn in f.replicates.items()}),
        predictions=pd.concat(
            [t.drop(columns=list(how.columns)).assign(data=name) for name, t in scored.items()],
            ignore_index=True,
        ),
    )


def _each(work: Callable[[T], R], units: Sequence[T], workers: int) -> list[R]:
    # With fewer processes than the search has, they would be started anew, and anew for the next search.
    done = dict(run_units(work, units, workers=workers if len(units) >= workers else 1))
    return [done[number] for number in range(len(units))]


def _choose(unit: tuple[pd.DataFrame | Sequence[pd.DataFrame], str], *, how: Judging) -> Chosen:
    """Choose at one level on rows of folds, or for each fold on the rows inside its training part."""
    rows, level = unit
    with _one_thread():
        if isinstance(rows, pd.DataFrame):
            return choose_on(at_level(rows, level, aggregate=how.aggregate), how)
        return choose_inside(rows, level, how)


def _judge(part: _Part, *, how: Judging) -> _Figures:
    """Compute the figures of one data at one level."""
    with _one_thread():
        table = at_level(part.faces, part.level, aggregate=how.aggregate)
        table["probability"] = probabilities(table, part.chosen.calibrations)
        resampling = resample(table, seed=how.seed, replicates=how.replicates)
        place = {"data": part.data, "level": part.level}
        called = calls_of(table, part.chosen)
        light = part.data in how.perturbed
        estimates, drawn = _estimate(
            table, called, resampling, scores=estimate_auc if light else estimate_scores
        )
        if part.first:
            estimates = pd.concat([estimates, deployed_thresholds(table, part.chosen, resampling)])
        return _Figures(
            metrics=_by_fold(table, part.chosen).assign(**place),
            estimates=estimates.assign(**place),
            errors=_errors(table, called, resampling, how.columns).assign(**place),
            replicates={}
            if light
            else {f"{part.data} {part.level} {metric}": drawn[metric] for metric in SELECTION},
        )


def _one_thread() -> Any:
    """Threads would cost more than they give on sums as small as these, and could order them otherwise."""
    return threadpool_limits(limits=1)


def choose_on(table: pd.DataFrame, how: Judging) -> Chosen:
    """Choose thresholds and calibrations for each fold on the others, and on all."""
    y, score, fold, attack = (table[c].to_numpy() for c in ("label", "score", "fold", "attack"))
    count, attack = int(fold.max()) + 1, attack.astype(str)
    thresholds, unreachable = {DEFAULT: np.full(count + 1, how.default)}, {}
    for rule in how.rules:
        others = cross_fit(y, score, fold, rule=rule, attack=attack) if count > 1 else np.array([np.nan])
        try:
            every = tune_threshold(y, score, rule=rule, attack=attack).value
        except Unreachable as error:
            every, unreachable[rule] = np.nan, str(error)
        thresholds[rule] = np.append(others, every)
    return Chosen(thresholds, unreachable, _calibrate(table, count, how.calibration))


def choose_inside(inside: Sequence[pd.DataFrame], level: str, how: Judging) -> Chosen:
    """Choose thresholds and calibrations for each fold on all scores inside its training part; none to deploy."""
    every = [choose_on(at_level(faces, level, aggregate=how.aggregate), how) for faces in inside]
    thresholds = {
        rule: np.array([*(chosen.thresholds[rule][-1] for chosen in every), np.nan])
        for rule in (DEFAULT, *how.rules)
    }
    return Chosen(thresholds, {}, [*(chosen.calibrations[-1] for chosen in every), None])


def _calibrate(table: pd.DataFrame, count: int, method: str) -> list[Calibration | None]:
    if method == NONE:
        return [None] * (count + 1)
    y, score, fold = (table[c].to_numpy() for c in ("label", "score", "fold"))
    others = [fold != number for number in range(count)] if count > 1 else []
    fitted: list[Calibration | None] = [
        fit_calibration(y[rows], score[rows], method=method) for rows in others
    ]
    every = fit_calibration(y, score, method=method)
    return [*(fitted or [None]), every]


def probabilities(table: pd.DataFrame, calibrations: Sequence[Calibration | None]) -> Floats:
    """Return each row's probability of fake by the calibration that its fold took no part in: (n,), NaN without one."""
    probability = np.full(len(table), np.nan)
    fold, score = table["fold"].to_numpy(), table["score"].to_numpy()
    for number in np.unique(fold):
        if calibration := calibrations[number]:
            probability[fold == number] = calibration(score[fold == number])
    return probability


def calls_of(table: pd.DataFrame, chosen: Chosen) -> dict[str, Floats]:
    """Call each row 1 (fake) or 0 by the threshold that its fold took no part in: rule -> (n,), NaN without one."""
    fold, score = table["fold"].to_numpy(), table["score"].to_numpy()
    applied = {
        rule: thresholds[fold]
        for rule, thresholds in chosen.thresholds.items()
        if not _lacks_others(rule, thresholds, fold)
    }
    return {rule: np.where(np.isnan(t), np.nan, score >= t) for rule, t in applied.items()}


def _lacks_others(rule: str, thresholds: Floats, fold: Ints) -> bool:
    """Whether rows of the only fold would have to be judged by a threshold that was chosen on themselves."""
    return rule != DEFAULT and len(thresholds) == 2 and bool((fold == 0).any())


def _estimate(
    table: pd.DataFrame,
    called: Mapping[str, Floats],
    resampling: Resampling,
    *,
    scores: Callable[[pd.DataFrame, Resampling], Estimates],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Estimate every figure at the default threshold, and those of the calls at the others."""
    ranked = scores(table, resampling)
    calls = {rule: estimate_calls(table.assign(called=c), resampling) for rule, c in called.items()}
    lines = [ranked.figures.assign(rule=DEFAULT), *(e.figures.assign(rule=rule) for rule, e in calls.items())]
    return (
        pd.concat(lines, ignore_index=True),
        pd.concat([ranked.replicates, calls[DEFAULT].replicates], axis=1),
    )


def _errors(
    table: pd.DataFrame, called: Mapping[str, Floats], resampling: Resampling, columns: Sequence[str]
) -> pd.DataFrame:
    """Count errors by attack and by the values of further columns, at each threshold."""
    lines = [
        error_rates(table.assign(called=c), resampling, by=column).assign(rule=rule, column=column)
        for column in ("attack", *columns)
        for rule, c in called.items()
    ]
    return pd.concat(lines, ignore_index=True)


def deployed_thresholds(table: pd.DataFrame, chosen: Chosen, resampling: Resampling) -> pd.DataFrame:
    """Return the thresholds to deploy, with intervals, as estimates of metric ``threshold``."""
    values = {rule: float(t[-1]) for rule, t in chosen.thresholds.items() if rule != DEFAULT}
    ends = threshold_intervals(table, values, resampling) if values else {}
    fakes = int(table["label"].sum())
    about = (resampling.fewest, len(table) - fakes, fakes)
    lines = [("threshold", v, *ends[rule], *about, rule) for rule, v in values.items()]
    return pd.DataFrame(lines, columns=[*FIGURES, "rule"])


def _by_fold(table: pd.DataFrame, chosen: Chosen) -> pd.DataFrame:
    """Judge each fold by itself, where it holds both classes: one line a rule and fold."""
    folds = {
        number: (part["label"].to_numpy(), part["score"].to_numpy())
        for number, part in table.groupby("fold")
        if part["label"].nunique() == 2
    }
    ranked = {number: rank(y, score) for number, (y, score) in folds.items()}  # the same at every threshold
    lines: list[dict[str, Any]] = []
    for rule, thresholds in chosen.thresholds.items():
        if _lacks_others(rule, thresholds, table["fold"].to_numpy()):
            continue
        for number, (y, score) in folds.items():
            threshold = float(thresholds[number])
            place = {"rule": rule, "fold": number, "threshold": threshold}
            lines.append(place | ranked[number] | call(y, score, threshold=threshold))
    return pd.DataFrame(lines)


def _deployed(chosen: Chosen) -> dict[str, float | None]:
    """Return the threshold of each rule that was chosen on all rows, None where the rule cannot be met."""
    values = {rule: float(t[-1]) for rule, t in chosen.thresholds.items() if rule != DEFAULT}
    return {rule: None if np.isnan(value) else value for rule, value in values.items()}


def _first(table: pd.DataFrame) -> pd.DataFrame:
    """Put the columns that say where a figure belongs first."""
    place = [c for c in ("data", "level", "rule", "column", "fold", "threshold") if c in table]
    return table[[*place, *(c for c in table if c not in place)]]
