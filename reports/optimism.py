"""How much better the search over all folds looks than what is chosen without the fold that tests it."""

from typing import Any

import numpy as np
import pandas as pd

from benchmarks.judge import DEFAULT, NESTED
from benchmarks.results import Run
from classify.metrics import METRICS, SELECTION
from classify.models import CLASSIFIERS
from classify.uncertainty import paired_difference
from reports.formats import Cell, Table
from reports.notes import chosen_on, extractor_title, intervals, leaky, marks, unknown
from reports.summary import MODEL, headline, same_inside, select, summary
from reports.tables import MAIN_METRICS, show_estimate

WORDS = (
    "Flat: the search over all folds, whose parameters were selected by {metric} of faces on the folds that it is "
    "scored on. Nested: selected so inside each fold's training part, on folds within it, and scored on its test part. "
    "Optimism: by how much the flat figure looks better, in percentage points, flat less nested (where lower is "
    "better, nested less flat); its interval is that of the paired difference. Same parameters: inside how many "
    "folds those of the search over all folds were chosen. At each classifier's default threshold; tuned ones, every "
    "metric and both levels are in the CSV file."
)


def optimism_table(run: Run) -> Table | None:
    """Flat figure, nested figure and their difference, of every model; None where nothing is nested."""
    if not run.suite.nests:
        return None
    frame = optimism_frame(run)
    mine = select(frame, level=headline(run), rule=DEFAULT).set_index(["metric", *MODEL])
    rows = tuple(
        tuple(Cell(text) for text in _texts(run, metric, model, mine.loc[(metric, *model)]))
        for metric in dict.fromkeys([run.suite.metric, *MAIN_METRICS])
        for model in run.units
    )
    header = ("Metric", "Extractor", "Classifier", "Flat (selection)", "Nested (reported)", "Optimism")
    notes = (
        WORDS.format(metric=METRICS[run.suite.metric].title),
        intervals(run, people=int(mine["people"].min())),
        *unknown(run),
        *marks(run),
    )
    title = f"Optimism of choosing and reporting on the same folds, {headline(run)} level, %{leaky(run)}"
    return Table("optimism", title, (*header, "Same parameters"), rows, notes, frame)


def optimism_frame(run: Run) -> pd.DataFrame:
    """Put the flat and the nested figure of every model side by side.

    Returns
    -------
    DataFrame, one line per extractor, classifier, level, rule and metric
        ``protocol``, ``weights``; ``flat`` and ``nested`` with ``_low`` and ``_high``; ``optimism``: by how much flat
        looks better, whichever direction is, with ``_low`` and ``_high`` where there are replicates (metrics of
        `SELECTION` at the default threshold, else NaN); ``people``; ``same``: inside how many of ``folds`` the
        parameters of the search over all folds were chosen.
    """
    keys, lines = [*MODEL, "level", "rule", "metric"], []
    flat, nested = (select(summary(run), data=d).set_index(keys) for d in (chosen_on(run), NESTED))
    for key, line in flat.iterrows():
        unit, other = run.units[key[:2]], nested.loc[key]
        place = {"protocol": line["protocol"], "extractor": key[0], "weights": line["weights"]}
        place |= dict(zip(keys[1:], key[1:], strict=True))
        figures = _with_ends("flat", *line[["estimate", "low", "high"]])
        figures |= _with_ends("nested", *other[["estimate", "low", "high"]])
        figures |= _with_ends("optimism", *_optimism(run, key, line, other))
        about = {"people": line["people"], "same": same_inside(unit), "folds": run.suite.folds}
        lines.append(place | figures | about)
    return pd.DataFrame(lines)


def _optimism(
    run: Run, key: tuple[str, ...], flat: "pd.Series[Any]", nested: "pd.Series[Any]"
) -> tuple[float, float, float]:
    """Return by how much the flat figure looks better, and the ends of the interval of that."""
    *model, level, rule, metric = key
    sign = METRICS[metric].better
    values = [sign * float(line["estimate"]) for line in (flat, nested)]
    if rule != DEFAULT or metric not in SELECTION:
        return values[0] - values[1], np.nan, np.nan
    replicates = run.units[model[0], model[1]].replicates
    drawn = [sign * replicates[f"{data} {level} {metric}"].to_numpy() for data in (chosen_on(run), NESTED)]
    first, second = zip(values, drawn, strict=True)
    found = paired_difference(first, second, people=int(flat["people"]))
    return found.value, found.low, found.high


def _with_ends(name: str, value: float, low: float, high: float) -> dict[str, float]:
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _texts(run: Run, metric: str, model: tuple[str, str], line: "pd.Series[Any]") -> tuple[str, ...]:
    return (
        METRICS[metric].title,
        extractor_title(run, model[0]),
        CLASSIFIERS[model[1]].title,
        METRICS[metric].show(line["flat"]),
        show_estimate(metric, line, prefix="nested"),
        show_estimate(metric, line, prefix="optimism"),
        f"{line['same']} of {line['folds']}",
    )
