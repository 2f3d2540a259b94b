"""Tables from a finished run: built once as tidy frames, shown as Markdown, CSV, LaTeX and in the terminal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.judge import DEFAULT, NESTED, Unit
from benchmarks.results import Finished, Run
from benchmarks.suite import PublishedThreshold
from classify.aggregate import LEVELS
from classify.audit import COLUMNS, NEAR
from classify.calibration import NONE
from classify.metrics import METRICS, OPERATING, PROBABILITY, SELECTION
from classify.models import CLASSIFIERS
from classify.protocols import PROTOCOLS
from classify.rules import parse_rule
from reports.formats import Cell, Table
from reports.notes import (
    chosen_on,
    extractor_title,
    given,
    intervals,
    leaky,
    marks,
    nested_title,
    protocol_title,
    reported,
    run_notes,
    selection,
    told,
    unknown,
)
from reports.summary import (
    MODEL,
    beaten,
    best_model,
    differences,
    headline,
    headline_figures,
    same_inside,
    select,
    summary,
    trivial,
)

PARTS = "The folds of the first repeat, whole: the training sets compared are parts of them, so this is an upper bound."
MAIN_METRICS = ("auc", "recall")
THRESHOLD_METRICS = ("accuracy", "precision", "recall", "f1")


def main_table(run: Run) -> Table:
    """Classifiers down, extractors across, AUC and recall: the form of Papić et al., table 1."""
    frame = headline_figures(run, *MAIN_METRICS)
    columns = [(extractor, metric) for extractor in run.extractors for metric in MAIN_METRICS]
    cells = frame.set_index(["classifier", "extractor", "metric"])
    best = pd.concat([differences(run, metric) for metric in MAIN_METRICS])
    equal = best.set_index(["classifier", "extractor", "metric"])["equal"]
    rows = [
        (
            Cell(CLASSIFIERS[classifier].title),
            *(
                Cell(_main_figure(c[1], cells.loc[(classifier, *c)]), bool(equal.loc[(classifier, *c)]))
                for c in columns
            ),
        )
        for classifier in run.suite.classifiers
    ]
    for name, part in trivial(run).groupby("baseline", sort=False):
        values = part.set_index("metric")["estimate"]
        rows.append((Cell(_capital(name)), *(Cell(METRICS[m].show(values[m])) for _, m in columns)))
    header = ("Classifier", *(f"{extractor_title(run, e)} {METRICS[m].title}" for e, m in columns))
    what = f"AUC and recall, {nested_title(run)}{headline(run)} level, %"
    title = f"{run.suite.title or run.suite.name}: {what}{leaky(run)}"
    published = bool(frame["published"].notna().any())
    notes = (
        "In bold: the best of each metric and all that cannot be told from it (paired differences, Holm's correction, "
        "5 %; table differences).",
        *([warning] if (warning := beaten(run)) else []),
        *run_notes(run, level=headline(run), people=int(frame["people"].min()), published=published),
    )
    equal = best[[*MODEL, "metric", "equal"]]
    return Table("main", title, header, tuple(rows), notes, frame.merge(equal, on=[*MODEL, "metric"]))


def models_table(run: Run) -> Table:
    """Every model with its selected parameters and what depends on ranking and calls, at both levels."""
    title, listed = f"All models, {nested_title(run)}%{leaky(run)}", {"Parameters": _selected}
    if not run.suite.nests:
        return _every_model(run, "models", title, list(SELECTION), listed=listed)
    listed["Also chosen inside"] = lambda unit: f"{same_inside(unit)} of {run.suite.folds} folds"
    note = (
        "Parameters: those of the search over all folds, which a detector gets. Figures are of those that were chosen "
        "inside each fold's training part; in how many folds these were the same stands beside them."
    )
    return _every_model(run, "models", title, list(SELECTION), more=[note], listed=listed)


def _selected(unit: Unit) -> str:
    return _parameters(unit.best)


def operating_table(run: Run) -> Table:
    """Every model at the thresholds that a rate fixes, and as probabilities, at both levels."""
    metrics = [*OPERATING, *PROBABILITY]
    title = f"Operating points and probabilities, {nested_title(run)}%{leaky(run)}"
    return _every_model(run, "operating", title, metrics, more=_operating_notes(run))


def _operating_notes(run: Run) -> list[str]:
    line = headline_figures(run, "auc").iloc[0]
    inside = "inside the training part" if given(run) else "inside each fold's training part"
    calibrated = inside if given(run) or run.suite.nests else "on the other folds"
    notes = [
        "EER, TPR at an FPR and BPCER at an APCER describe the curve: they are read off at the best cut of these same "
        "scores, pooled over folds. What a threshold chosen elsewhere does is in table thresholds. Of "
        f"{int(line['reals']):,} genuine ones ({headline(run)} level) a rate below one in that many means none wrong."
    ]
    if run.suite.calibration != NONE:
        notes.append(f"Probabilities: scores calibrated by {run.suite.calibration} {calibrated}.")
    return notes


def _every_model(
    run: Run,
    name: str,
    title: str,
    metrics: list[str],
    *,
    more: Sequence[str] = (),
    listed: Mapping[str, Callable[[Unit], str]] = {},
) -> Table:
    frame = select(summary(run), data=reported(run), rule=DEFAULT, metric=tuple(metrics))
    cells = frame.set_index([*MODEL, "level", "metric"])["estimate"]
    rows = [
        (
            Cell(extractor_title(run, model[0])),
            Cell(CLASSIFIERS[model[1]].title),
            *(Cell(write(unit)) for write in listed.values()),
            Cell(level),
            *(Cell(METRICS[m].show(cells.loc[(*model, level, m)])) for m in metrics),
        )
        for model, unit in run.units.items()
        for level in LEVELS
    ]
    baselines = trivial(run).pivot_table(index="baseline", columns="metric", values="estimate", sort=False)
    for baseline, values in baselines.iterrows():
        figures = (Cell(METRICS[m].show(values.get(m, np.nan))) for m in metrics)
        rows.append(
            (
                Cell(_capital(baseline)),
                Cell(""),
                *(Cell("") for _ in listed),
                Cell(headline(run)),
                *figures,
            )
        )
    header = ("Extractor", "Classifier", *listed, "Level")
    header += tuple(METRICS[metric].title for metric in metrics)
    best = {model: _selected(unit) for model, unit in run.units.items()}
    keys = zip(frame["extractor"], frame["classifier"], strict=True)
    tidy = frame.drop(columns="published").assign(parameters=[best[key] for key in keys])
    notes = ("Intervals are in the CSV file.", *more, *run_notes(run, calls=bool(listed)))
    return Table(name, title, header, tuple(rows), notes, tidy)


def differences_table(run: Run) -> Table:
    """How far every model is from the best one, and whether that is more than chance."""
    metrics = tuple(dict.fromkeys([run.suite.metric, *MAIN_METRICS]))
    frame = pd.concat([differences(run, metric) for metric in metrics], ignore_index=True)
    place = {"data": reported(run), "level": headline(run), "rule": DEFAULT}
    weights = [run.extractors[extractor]["weights"] for extractor in frame["extractor"]]
    tidy = frame.assign(protocol=protocol_title(run.suite.protocol), weights=weights, **place)
    first = ["protocol", "extractor", "weights", "classifier", *place]
    rows = tuple(_difference_row(run, line) for _, line in frame.iterrows())
    header = ("Metric", "Extractor", "Classifier", "Best less this", "p", "p (Holm)", "p (folds)")
    title = f"Differences from the best model, {nested_title(run)}{headline(run)} level, percentage points{leaky(run)}"
    people = int(headline_figures(run, run.suite.metric)["people"].min())
    notes = (
        "p: two-sided, from the replicates of the paired difference; p (Holm): corrected over the metric's models. "
        "p (folds): corrected resampled t-test over folds (Nadeau and Bengio 2003), a second opinion that is not "
        "corrected for the number of models. That the best one was picked on the same rows is not corrected for.",
        intervals(run, people=people),
        *marks(run),
    )
    tidy = tidy[[*first, *(c for c in frame if c not in first)]]
    return Table("differences", title, header, rows, notes, tidy)


def _difference_row(run: Run, line: "pd.Series[Any]") -> tuple[Cell, ...]:
    show = METRICS[line["metric"]].show
    gap, low, high = (show(line[name]) for name in ("difference", "low", "high"))
    texts = (
        METRICS[line["metric"]].title,
        extractor_title(run, line["extractor"]),
        CLASSIFIERS[line["classifier"]].title,
        "best" if line["best"] else gap if np.isnan(line["low"]) else f"{gap} ({low}, {high})",
        *("" if line["best"] else _p(line[name]) for name in ("p", "p_holm", "p_folds")),
    )
    return tuple(Cell(text, bool(line["best"])) for text in texts)


def _p(value: float) -> str:
    if np.isnan(value):
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def thresholds_table(run: Run) -> Table:
    """Default beside tuned thresholds for the best model: the form of Papić et al., table 2."""
    extractor, classifier = best_model(run)
    unit, level, data = run.units[(extractor, classifier)], headline(run), chosen_on(run)
    frame = _threshold_frame(run)
    mine = select(frame, extractor=extractor, classifier=classifier, level=level)
    shown = NESTED if run.suite.nests else data
    mine = mine[mine["data"].isin([shown, "test", "external"])]
    rows = tuple(_threshold_row(line) for _, line in mine.iterrows())
    published = run.suite.published.thresholds if run.suite.published else []
    rows += tuple(_published_row(entry) for entry in published)
    header = ("Data", "Rule", "Applied", "To deploy", *(METRICS[m].title for m in THRESHOLD_METRICS))
    name = (
        f"{extractor_title(run, extractor)} with {CLASSIFIERS[classifier].title} ({_parameters(unit.best)})"
    )
    once = "the test part and to external data" if given(run) else "external data"
    what, where = f"Cross-fitted {data} rows", "on the other folds' scores"
    if run.suite.nests:
        what, where = "Nested rows", "inside its training part, on scores by the parameters chosen there,"
    crossed = (
        f"{what}: each fold's threshold is chosen {where} and applied to that fold (applied: lowest to highest of the "
        "folds). "
    )
    notes = (
        f"{level.capitalize()} level, %. {crossed if (select(mine, data=shown)['rule'] != DEFAULT).any() else ''}"
        f"To deploy: chosen on all {data} scores, with the interval of choosing it again in each replicate; this one "
        f"is applied to {once}.",
        intervals(run, people=int(mine["people"].min())),
        *(f"{parse_rule(rule).title}: not reachable. {why}" for rule, why in unit.unreachable[level].items()),
        f"The model is the best by {data} {METRICS[run.suite.metric].title}. {selection(run, reported(run))}",
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


def _main_figure(metric: str, line: "pd.Series[Any]") -> str:
    text = show_estimate(metric, line)
    return text if np.isnan(line["published"]) else f"{text} [{line['published']:.2f}]"


def show_estimate(metric: str, line: Mapping[Any, Any], *, prefix: str = "", digits: int = 2) -> str:
    """Write an estimate with its interval in parentheses, without one where nothing can be said.

    Parameters
    ----------
    line : mapping
        ``estimate``, ``low``, ``high``; with `prefix` p instead p, p_low and p_high.
    """
    names = (prefix, f"{prefix}_low", f"{prefix}_high") if prefix else ("estimate", "low", "high")
    text, *ends = (METRICS[metric].show(line[name], digits=digits) for name in names)
    # No width is no certainty: nothing varied, as where there is not a single error.
    low, high = (line[name] for name in names[1:])
    return text if np.isnan(low) or low == high else f"{text} ({', '.join(ends)})"


def percent(mean: float, deviation: float) -> str:
    """Write a share, with its deviation where it has one, in percent."""
    return f"{100 * mean:.2f}" if np.isnan(deviation) else f"{100 * mean:.2f} ± {100 * deviation:.2f}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _threshold_frame(run: Run) -> pd.DataFrame:
    """One line per model, data, level and rule: thresholds, and metrics with their intervals."""
    lines = []
    for (extractor, classifier), unit in run.units.items():
        applied = unit.metrics.groupby(["data", "level", "rule"], sort=False)["threshold"]
        figures = unit.estimates.set_index(["data", "level", "rule", "metric"])
        deployed = select(unit.estimates, metric="threshold").set_index(["level", "rule"])
        default = CLASSIFIERS[classifier].default_threshold
        for place, part in applied:
            data, level, rule = place
            line = {
                "protocol": protocol_title(run.suite.protocol),
                "extractor": extractor,
                "weights": run.extractors[extractor]["weights"],
                "classifier": classifier,
            }
            line |= {"data": data, "level": level, "rule": rule}
            line |= {"applied_lowest": part.min(), "applied_highest": part.max()}
            known = {"estimate": default} if rule == DEFAULT else dict(deployed.loc[(level, rule)])
            line |= {"deploy": known["estimate"]}
            line |= {f"deploy_{end}": known.get(end, np.nan) for end in ("low", "high")}
            for metric in THRESHOLD_METRICS:
                found = figures.loc[(*place, metric)]
                line |= {metric: found["estimate"], "people": int(found["people"])}
                line |= {f"{metric}_{end}": found[end] for end in ("low", "high")}
            lines.append(line)
    return told(run, pd.DataFrame(lines))


def _threshold_row(line: "pd.Series[Any]") -> tuple[Cell, ...]:
    whole = line["data"] in (NESTED, "test", "external") or line["rule"] == DEFAULT
    figures = (show_estimate(m, line, prefix=m) for m in THRESHOLD_METRICS)
    texts = (
        line["data"] if whole else f"{line['data']}, cross-fitted",
        rule_title(line["rule"]),
        _range(line["applied_lowest"], line["applied_highest"], " to "),
        _number(line["deploy"], line["deploy_low"], line["deploy_high"]),
        *figures,
    )
    return tuple(Cell(text) for text in texts)


def rule_title(rule: str) -> str:
    """Return what tables call a threshold rule."""
    return DEFAULT if rule == DEFAULT else parse_rule(rule).title


def _range(low: float, high: float, between: str) -> str:
    texts = [f"{value:.3f}" for value in (low, high) if not np.isnan(value)]
    return between.join(dict.fromkeys(texts)) or "-"


def _number(value: float, low: float, high: float) -> str:
    ends = _range(low, high, ", ")
    return "-" if np.isnan(value) else f"{value:.3f}{'' if np.isnan(low) else f' ({ends})'}"


def _published_row(entry: PublishedThreshold) -> tuple[Cell, ...]:
    values = (getattr(entry, metric) for metric in THRESHOLD_METRICS)
    figures = ("" if value is None else f"{value:.2f}" for value in values)
    return tuple(Cell(text) for text in ("published", "", f"{entry.threshold:.3f}", "", *figures))


def _parameters(best: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={'none' if value is None else value}" for name, value in best.items())
