"""Tables from a finished run: built once as tidy frames, shown as Markdown, CSV, LaTeX and in the terminal."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.judge import DEFAULT
from benchmarks.results import Finished, Run
from benchmarks.suite import PublishedThreshold
from classify.audit import COLUMNS, NEAR
from classify.metrics import METRICS, mean_and_deviation
from classify.models import CLASSIFIERS
from classify.protocols import PROTOCOLS
from extract import errors
from reports.formats import Cell, Table
from reports.notes import (
    TITLES,
    chosen_on,
    extractor_title,
    given,
    leaky,
    marks,
    protocol_title,
    reported,
    run_notes,
    selection,
    unknown,
)

PARTS = "The folds of the first repeat, whole: the training sets compared are parts of them, so this is an upper bound."
MAIN_METRICS = ("auc", "recall")
THRESHOLD_METRICS = ("accuracy", "precision", "recall", "f1")
RULE_TITLES = {DEFAULT: "default", "f1": "max. F1", "youden": "max. Youden's J", "eer": "equal error rate"}


def summary(run: Run) -> pd.DataFrame:
    """Aggregate every figure over folds.

    Returns
    -------
    DataFrame, one line per extractor, classifier, data, level, rule and metric
        ``mean`` and ``deviation`` (sample standard deviation over folds, NaN for data that is judged once),
        shares from 0 to 1; ``protocol`` as in titles; ``weights`` of the extractor; ``published`` in percent where the
        suite has a figure, else NaN.
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
                model = (protocol_title(run.suite.protocol), extractor, weights, classifier)
                lines.append((*model, data, level, rule, metric, mean, deviation, published))
    columns = "protocol extractor weights classifier data level rule metric mean deviation published"
    return pd.DataFrame(lines, columns=columns.split())


def best_model(run: Run, *, extractor: str | None = None, classifier: str | None = None) -> tuple[str, str]:
    """Return extractor and classifier with the best mean of the selection metric; of equal ones the first.

    It is never chosen on a data set's own test part.

    Parameters
    ----------
    extractor, classifier : str, optional
        Only among its units.

    Raises
    ------
    RequestError
        The run has no such extractor or classifier.
    """
    frame = select(summary(run), data=chosen_on(run), level="image", rule=DEFAULT, metric=run.suite.metric)
    for column, name in (("extractor", extractor), ("classifier", classifier)):
        if name is not None and name not in set(frame[column]):
            raise errors.unknown(f"{column} of the run", name, set(frame[column]))
        frame = frame if name is None else frame[frame[column] == name]
    row = frame.loc[frame["mean"].idxmax()]
    return str(row["extractor"]), str(row["classifier"])


def main_table(run: Run) -> Table:
    """Classifiers down, extractors across, AUC and recall at image level: the form of Papić et al., table 1."""
    frame = select(summary(run), data=reported(run), level="image", rule=DEFAULT, metric=MAIN_METRICS)
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
    title = f"{run.suite.title or run.suite.name}: AUC and recall, %{leaky(run)}"
    notes = (
        "Best of each column in bold.",
        *run_notes(run, published=bool(frame["published"].notna().any())),
    )
    return Table("main", title, header, rows, notes, frame)


def models_table(run: Run) -> Table:
    """Every model with its selected parameters and every metric, at image and at video level."""
    frame = select(summary(run), data=reported(run), rule=DEFAULT)
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
    return Table("models", f"All models, %{leaky(run)}", header, rows, run_notes(run, published=False), frame)


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
    data = chosen_on(run)
    once = "the test part and to external data" if given(run) else "external data"
    crossed = (
        f"Cross-fitted {data} rows: each fold's threshold is chosen on the other folds' scores and applied to that "
        "fold (applied: lowest to highest of the folds); mean ± deviation over folds. "
    )
    notes = (
        f"Image level, %. {crossed if (select(mine, data=data)['rule'] != DEFAULT).any() else ''}"
        f"To deploy: chosen on all {data} scores; this one is applied to {once}.",
        f"The model is the best by {data} {TITLES[run.suite.metric]}. {selection(run)}",
        *unknown(run),
        *marks(run),
        *([f"Published: {run.suite.published.source}."] if run.suite.published and published else []),
    )
    return Table("thresholds", f"Thresholds for {name}{leaky(run)}", header, rows, notes, frame)


def audit_table(run: Finished) -> Table:
    """What the two sides of each fold share, counted on the faces that were used."""
    columns = {"protocol": lambda line: protocol_title(line["protocol"]), **COLUMNS}
    rows = tuple(tuple(Cell(write(line)) for write in columns.values()) for _, line in run.audit.iterrows())
    notes = (
        *(
            f"Protocol {protocol_title(name)}: {PROTOCOLS[name].apart}."
            for name in run.audit["protocol"].unique()
        ),
        "Train and test in clips (share of fakes). Shared, in training, too, of those in test: clips; identities "
        "(persons shown); people (shown or put in); sources (test fakes whose source identity, the face that one "
        "sees in a swap, is in training, shown or put in). Near-duplicates: test faces with a picture in training that "
        f"differs in at most {100 * NEAR:.0f} % of the bits of a perceptual hash.",
        *([] if isinstance(run, Run) else [PARTS]),
        *unknown(run),
    )
    return Table(
        "audit", f"Audit of the folds{leaky(run)}", tuple(map(_capital, columns)), rows, notes, run.audit
    )


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
    own = percent(line["mean"], line["deviation"])
    return f"{own} [{line['published']:.2f}]" if published and not np.isnan(line["published"]) else own


def percent(mean: float, deviation: float) -> str:
    """Write a share, with its deviation where it has one, in percent."""
    return f"{100 * mean:.2f}" if np.isnan(deviation) else f"{100 * mean:.2f} ± {100 * deviation:.2f}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _threshold_frame(run: Run) -> pd.DataFrame:
    """One line per model, data, level and rule: thresholds and metrics, mean and deviation over folds."""
    lines = []
    for (extractor, classifier), unit in run.units.items():
        for (data, level, rule), part in unit.metrics.groupby(["data", "level", "rule"], sort=False):
            applied = part["threshold"]
            line = {
                "protocol": protocol_title(run.suite.protocol),
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
    once = line["data"] in ("test", "external")
    figures = (percent(line[m], line[f"{m}_deviation"]) for m in THRESHOLD_METRICS)
    texts = (
        line["data"] if once or line["rule"] == DEFAULT else f"{line['data']}, cross-fitted",
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
