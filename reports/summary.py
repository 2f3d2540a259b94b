"""The figures of a finished run as one tidy table, and what follows from them: the best model, and what equals it."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.judge import DEFAULT, Unit
from benchmarks.results import Finished, Run
from classify.metrics import METRICS, SELECTION, Labels, baselines, mean_and_deviation
from classify.uncertainty import corrected_t, holm, paired_difference
from reports.notes import chosen_on, protocol_title, reported

MODEL = ["extractor", "classifier"]
PLACE = ["data", "level", "rule"]
SIGNIFICANT = 0.05


def headline(run: Finished) -> str:
    """Return the level of the main tables: the suite's, else video, or image where every clip is one image."""
    if run.suite.level:
        return run.suite.level
    return "video" if run.faces["clip"].duplicated().any() else "image"


@functools.lru_cache(maxsize=2)  # every table starts from it; nobody changes it
def summary(run: Run) -> pd.DataFrame:
    """Put together every figure of every model.

    Returns
    -------
    DataFrame, one line per extractor, classifier, data, level, rule and metric
        ``estimate`` with ``low`` and ``high`` (95 % interval) and ``people`` (the fewest that it rests on);
        ``mean`` and ``deviation`` over folds (NaN for what is not computed for each); shares from 0 to 1;
        ``protocol`` as in titles; ``weights`` of the extractor; ``published`` in percent, NaN where there is none.
    """
    parts = []
    for (extractor, classifier), unit in run.units.items():
        folds = _over_folds(unit.metrics)
        estimates = unit.estimates[unit.estimates["metric"] != "threshold"]
        part = estimates.merge(folds, on=[*PLACE, "metric"], how="left", validate="1:1")
        model = {
            "protocol": protocol_title(run.suite.protocol),
            "extractor": extractor,
            "weights": run.extractors[extractor]["weights"],
            "classifier": classifier,
        }
        part["published"] = _published(run, part, extractor, classifier)
        parts.append(part.assign(**model)[[*model, *part]])
    return pd.concat(parts, ignore_index=True)


def select(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Keep the rows whose columns have the given values (a tuple means any of them)."""
    for column, wanted in values.items():
        allowed = list(wanted) if isinstance(wanted, tuple) else [wanted]
        frame = frame[frame[column].isin(allowed)]
    return frame.reset_index(drop=True)


def headline_figures(run: Run, *metrics: str) -> pd.DataFrame:
    """Return the lines of `summary` that the main tables are about: some metrics, or all, at the default threshold."""
    wanted = {"metric": metrics} if metrics else {}
    return select(summary(run), data=reported(run), level=headline(run), rule=DEFAULT, **wanted)


def best_model(run: Run) -> tuple[str, str]:
    """Return extractor and classifier with the best estimate of the selection metric; of equal ones the first.

    It is never chosen on a data set's own test part.
    """
    return best_of({model: unit.estimates for model, unit in run.units.items()}, run)


def best_of(estimates: Mapping[tuple[str, str], pd.DataFrame], run: Finished) -> tuple[str, str]:
    """As `best_model`, from the estimates of the units alone."""
    place = {"data": chosen_on(run), "level": headline(run), "rule": DEFAULT, "metric": run.suite.metric}
    return max(estimates, key=lambda model: float(select(estimates[model], **place)["estimate"].iloc[0]))


def same_inside(unit: Unit) -> int:
    """Count the folds inside whose training part the parameters of the search over all folds were chosen, too."""
    return sum(inside["best"] == unit.best for inside in unit.nested or ())


@functools.lru_cache(maxsize=8)
def differences(run: Run, metric: str) -> pd.DataFrame:
    """Compare every model with the best one in a metric of `SELECTION`, on the rows that the main tables report.

    Returns
    -------
    DataFrame, one line a model, in the run's order
        ``metric``, ``extractor``, ``classifier``, ``best`` (whether it is the best), ``difference`` (the best less
        this one) with ``low`` and ``high``, ``p`` (bootstrap over people, paired), ``p_holm`` (Holm's correction over
        the table), ``p_folds`` (corrected resampled t-test over folds; NaN where data is judged once), ``equal``
        (whether it cannot be told from the best: p_holm of at least 0.05).
    """
    frame = headline_figures(run, metric).set_index(MODEL)
    best = frame["estimate"].idxmax()
    column = f"{reported(run)} {headline(run)} {metric}"
    lines = []
    for model, line in frame.iterrows():
        first, second = (
            (frame.loc[[m], "estimate"].iloc[0], run.units[m].replicates[column].to_numpy())
            for m in (best, model)
        )
        found = paired_difference(first, second, people=int(line["people"]))
        p = np.nan if model == best else found.p
        folds = np.nan if model == best else corrected_t(_fold_differences(run, best, model, metric))
        lines.append((metric, *model, model == best, found.value, found.low, found.high, p, folds))
    columns = ["metric", *MODEL, "best", "difference", "low", "high", "p", "p_folds"]
    table = pd.DataFrame(lines, columns=columns)
    table["p_holm"] = holm(table["p"].to_numpy())
    table["equal"] = table["best"] | (table["p_holm"] >= SIGNIFICANT) | table["p_holm"].isna()
    return table


def trivial(run: Run) -> pd.DataFrame:
    """Return what trivial baselines reach on the rows that are reported: ``baseline``, ``metric``, ``estimate``."""
    lines = [
        {"baseline": name, "metric": metric, "estimate": value}
        for name, figures in baselines(_reported_labels(run)).items()
        for metric, value in figures.items()
    ]
    return pd.DataFrame(lines)


def beaten(run: Run) -> str:
    """Return a warning where a trivial baseline is as good as the best model on the selection metric, else nothing."""
    extractor, classifier = best_model(run)
    metric = run.suite.metric
    figures = select(headline_figures(run, metric), extractor=extractor, classifier=classifier)
    table = select(trivial(run), metric=metric)
    rival = table.loc[table["estimate"].idxmax()]
    if figures["estimate"].iloc[0] > rival["estimate"]:
        return ""
    kind = METRICS[metric]
    return (
        f"WARNING: the best model does not beat a trivial one: {kind.title} {kind.show(figures['estimate'].iloc[0])} "
        f'against {kind.show(rival["estimate"])} of "{rival["baseline"]}".'
    )


def _reported_labels(run: Run) -> Labels:
    """Return the labels of the rows that the main tables report, as they were when they were measured."""
    line = headline_figures(run, "auc").iloc[0]
    return np.repeat([0, 1], [int(line["reals"]), int(line["fakes"])])


def _over_folds(metrics: pd.DataFrame) -> pd.DataFrame:
    """Aggregate the figures of folds: one line per data, level, rule and metric."""
    lines = []
    for place, part in metrics.groupby(PLACE, sort=False):
        lines += [(*place, metric, *mean_and_deviation(part[metric])) for metric in SELECTION]
    return pd.DataFrame(lines, columns=[*PLACE, "metric", "mean", "deviation"])


def _published(run: Run, part: pd.DataFrame, extractor: str, classifier: str) -> "pd.Series[float]":
    """Return the paper's figure beside each line at image level and the default threshold, NaN where there is none."""
    figures = run.suite.published.figures if run.suite.published else {}
    given = {metric: by.get(classifier, {}).get(extractor, np.nan) for metric, by in figures.items()}
    here = (part["level"] == "image") & (part["rule"] == DEFAULT)
    return part["metric"].map(given).astype(float).where(here)


def _fold_differences(run: Run, best: Any, model: Any, metric: str) -> "pd.Series[float]":
    """Return the best model's figure less another's, fold by fold."""
    place = {"data": reported(run), "level": headline(run), "rule": DEFAULT}
    first, second = (select(run.units[m].metrics, **place).set_index("fold")[metric] for m in (best, model))
    return first - second
