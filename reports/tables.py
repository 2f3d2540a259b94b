"""Tables from a finished run: built once as tidy frames, shown as Markdown, CSV, LaTeX and in the terminal."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.judge import DEFAULT
from benchmarks.results import Run
from benchmarks.suite import PublishedThreshold
from classify.metrics import METRICS, mean_and_deviation
from classify.models import CLASSIFIERS
from reports.formats import Cell, Table

APART = {
    "target": "no person shown is on both sides; a face put in may be",
    "component": "no person, shown or put in, is on both sides",
}
MAIN_METRICS = ("auc", "recall")
THRESHOLD_METRICS = ("accuracy", "precision", "recall", "f1")
TITLES = {"auc": "AUC", "recall": "Recall", "f1": "F1", "accuracy": "Accuracy", "precision": "Precision"}
RULE_TITLES = {DEFAULT: "default", "f1": "max. F1", "youden": "max. Youden's J", "eer": "equal error rate"}


def summary(run: Run) -> pd.DataFrame:
    """Aggregate every figure over folds.

    Returns
    -------
    DataFrame, one line per extractor, classifier, data, level, rule and metric
        ``mean`` and ``deviation`` (sample standard deviation over folds, 0 for external data), shares from 0
        to 1; ``weights`` of the extractor; ``published`` in percent where the suite has a figure, else NaN.
    """
    lines = []
    for (extractor, classifier), unit in run.units.items():
        for (data, level, rule), part in unit.metrics.groupby(["data", "level", "rule"], sort=False):
            for metric in METRICS:
                mean, deviation = mean_and_deviation(part[metric])
                published = (
                    _published(run, metric, classifier, extractor)
                    if (level, rule) == ("image", DEFAULT)
                    else np.nan
                )
                weights = run.extractors[extractor]["weights"]
                lines.append(
                    (extractor, weights, classifier, data, level, rule, metric, mean, deviation, published)
                )
    columns = "extractor weights classifier data level rule metric mean deviation published"
    return pd.DataFrame(lines, columns=columns.split())


def best_model(run: Run) -> tuple[str, str]:
    """Return extractor and classifier with the best mean of the selection metric; of equal ones the first."""
    frame = select(summary(run), data="out-of-fold", level="image", rule=DEFAULT, metric=run.suite.metric)
    row = frame.loc[frame["mean"].idxmax()]
    return str(row["extractor"]), str(row["classifier"])


def main_table(run: Run) -> Table:
    """Classifiers down, extractors across, AUC and recall at image level: the form of Papić et al., table 1."""
    frame = select(summary(run), data="out-of-fold", level="image", rule=DEFAULT, metric=MAIN_METRICS)
    columns = [(extractor, metric) for extractor in run.extractors for metric in MAIN_METRICS]
    means = frame.pivot_table(index="classifier", columns=["extractor", "metric"], values="mean", sort=False)
    cells = frame.set_index(["classifier", "extractor", "metric"])
    rows = tuple(
        (
            Cell(CLASSIFIERS[classifier].title),
            *(
                Cell(
                    _figure(cells.loc[(classifier, *column)]),
                    means.loc[classifier, column] == means[column].max(),
                )
                for column in columns
            ),
        )
        for classifier in run.suite.classifiers
    )
    header = ("Classifier", *(f"{extractor_title(run, e)} {TITLES[metric]}" for e, metric in columns))
    title = f"{run.suite.title or run.suite.name}: AUC and recall, %"
    notes = ("Best of each column in bold.", *_notes(run, published=bool(frame["published"].notna().any())))
    return Table("main", title, header, rows, notes, frame)


def models_table(run: Run) -> Table:
    """Every model with its selected parameters and every metric, at image and at video level."""
    frame = select(summary(run), data="out-of-fold", rule=DEFAULT)
    cells = frame.set_index(["extractor", "classifier", "level", "metric"])
    rows = tuple(
        (
            Cell(extractor_title(run, extractor)),
            Cell(CLASSIFIERS[classifier].title),
            Cell(_parameters(unit.best)),
            Cell(level),
            *(Cell(_figure(cells.loc[(extractor, classifier, level, m)], published=False)) for m in METRICS),
        )
        for (extractor, classifier), unit in run.units.items()
        for level in ("image", "video")
    )
    header = ("Extractor", "Classifier", "Parameters", "Level", *(TITLES[metric] for metric in METRICS))
    best = {(e, c): _parameters(unit.best) for (e, c), unit in run.units.items()}
    keys = zip(frame["extractor"], frame["classifier"], strict=True)
    frame = frame.drop(columns="published").assign(parameters=[best[key] for key in keys])
    return Table("models", "All models, %", header, rows, _notes(run, published=False), frame)


def thresholds_table(run: Run) -> Table:
    """Default beside tuned thresholds for the best model: the form of Papić et al., table 2."""
    extractor, classifier = best_model(run)
    unit = run.units[(extractor, classifier)]
    frame = _threshold_frame(run)
    mine = select(frame, extractor=extractor, classifier=classifier, level="image")
    rows = tuple(_threshold_row(line) for _, line in mine.iterrows())
    published = run.suite.published.thresholds if run.suite.published else []
    rows += tuple(_published_row(entry) for entry in published)
    header = ("Data", "Rule", "Applied", "To deploy", *(TITLES[metric] for metric in THRESHOLD_METRICS))
    name = (
        f"{extractor_title(run, extractor)} with {CLASSIFIERS[classifier].title} ({_parameters(unit.best)})"
    )
    notes = (
        "Image level, %. Out-of-fold rows: each fold's threshold is chosen on the other folds' scores and applied "
        "to that fold (applied: lowest to highest of the folds); mean ± deviation over folds. "
        "To deploy: chosen on all out-of-fold scores; this one is applied to external data.",
        f"The model is the best of the main table. {_optimism(run)}",
        *_unknown(run),
        *_marks(run),
        *([f"Published: {run.suite.published.source}."] if run.suite.published and published else []),
    )
    return Table("thresholds", f"Thresholds for {name}", header, rows, notes, frame)


def weights_word(run: Run, extractor: str) -> str:
    """Say in a word what an extractor ran on: random, plugin or pretrained."""
    kind = run.extractors[extractor]["weights"]
    return kind if kind in ("random", "plugin") else "pretrained"


def extractor_title(run: Run, extractor: str) -> str:
    """Return an extractor's title, marked where its weights are random."""
    entry = run.extractors[extractor]
    return f"{entry['title']}{' (random)' if entry['weights'] == 'random' else ''}"


def select(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Keep the rows whose columns have the given values (a tuple means any of them)."""
    for column, wanted in values.items():
        allowed = list(wanted) if isinstance(wanted, tuple) else [wanted]
        frame = frame[frame[column].isin(allowed)]
    return frame.reset_index(drop=True)


def _published(run: Run, metric: str, classifier: str, extractor: str) -> float:
    figures = run.suite.published.figures if run.suite.published else {}
    return figures.get(metric, {}).get(classifier, {}).get(extractor, np.nan)


def _figure(line: "pd.Series[Any]", *, published: bool = True) -> str:
    own = _percent(line["mean"], line["deviation"])
    return f"{own} [{line['published']:.2f}]" if published and not np.isnan(line["published"]) else own


def _percent(mean: float, deviation: float) -> str:
    return f"{100 * mean:.2f} ± {100 * deviation:.2f}"


def _threshold_frame(run: Run) -> pd.DataFrame:
    """One line per model, data, level and rule: thresholds and metrics, mean and deviation over folds."""
    lines = []
    for (extractor, classifier), unit in run.units.items():
        for (data, level, rule), part in unit.metrics.groupby(["data", "level", "rule"], sort=False):
            applied = part["threshold"]
            line = {
                "extractor": extractor,
                "weights": run.extractors[extractor]["weights"],
                "classifier": classifier,
            }
            line |= {"data": data, "level": level, "rule": rule}
            line |= {"applied_lowest": applied.min(), "applied_highest": applied.max()}
            line |= {"deploy": unit.deploy[str(level)].get(str(rule), applied.iloc[0])}
            for metric in THRESHOLD_METRICS:
                line[metric], line[f"{metric}_deviation"] = mean_and_deviation(part[metric])
            lines.append(line)
    return pd.DataFrame(lines)


def _threshold_row(line: "pd.Series[Any]") -> tuple[Cell, ...]:
    low, high = f"{line['applied_lowest']:.3f}", f"{line['applied_highest']:.3f}"
    external = line["data"] == "external"
    figures = (
        f"{100 * line[m]:.2f}" if external else _percent(line[m], line[f"{m}_deviation"])
        for m in THRESHOLD_METRICS
    )
    texts = (
        line["data"] if external or line["rule"] == DEFAULT else f"{line['data']}, cross-fitted",
        RULE_TITLES.get(line["rule"], line["rule"]),
        low if low == high else f"{low} to {high}",
        f"{line['deploy']:.3f}",
        *figures,
    )
    return tuple(Cell(text) for text in texts)


def _published_row(entry: PublishedThreshold) -> tuple[Cell, ...]:
    values = (getattr(entry, metric) for metric in THRESHOLD_METRICS)
    figures = ("" if value is None else f"{value:.2f}" for value in values)
    return tuple(Cell(text) for text in ("published", "", f"{entry.threshold:.3f}", "", *figures))


def _parameters(best: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={'none' if value is None else value}" for name, value in best.items())


def _notes(run: Run, *, published: bool) -> tuple[str, ...]:
    suite, counts = run.suite, run.counts
    share = counts["fake_faces"] / counts["faces"]
    unconverged = _unconverged(run)
    return (
        f"Mean ± standard deviation over {suite.folds} folds (protocol {suite.protocol}: "
        f"{APART[suite.protocol]}); {counts['faces']:,} faces of {counts['clips']:,} clips "
        f"({counts['fake_clips']:,} fake), identities: {counts['identities']:,}. Recall, F1, accuracy and precision "
        "at each classifier's default threshold.",
        *_unknown(run),
        _optimism(run),
        f"Calling every face fake has recall 100.00, F1 {200 * share / (1 + share):.2f}, accuracy {100 * share:.2f}.",
        *([f"Not converged: {unconverged}."] if unconverged else []),
        *_marks(run),
        *(
            [f"[In brackets] as published: {suite.published.source}."]
            if published and suite.published
            else []
        ),
    )


def _optimism(run: Run) -> str:
    return (
        f"Parameters were selected by {TITLES[run.suite.metric]} on the same folds, so these figures lean to the "
        "optimistic side."
    )


def _unknown(run: Run) -> list[str]:
    """Say how many clips may leak, because nobody said whom they show."""
    unknown = run.counts["unknown"]
    if not unknown:
        return []
    return [
        f"{unknown:,} of {run.counts['clips']:,} clips name no identity and count for themselves: people who appear "
        "twice can be on both sides of a split."
    ]


def _marks(run: Run) -> list[str]:
    """Say which extractors ran on random weights."""
    names = [entry["title"] for entry in run.extractors.values() if entry["weights"] == "random"]
    if not names:
        return []
    return [
        f"Marked (random): random, untrained weights ({', '.join(names)}); such figures say nothing about the "
        "trained network."
    ]


def _unconverged(run: Run) -> str:
    titles = []
    for (extractor, classifier), unit in run.units.items():
        if not unit.converged:
            titles.append(f"{extractor_title(run, extractor)} with {CLASSIFIERS[classifier].title}")
    return ", ".join(titles)
