"""Whom the best model gets wrong: by attack, in the words of ISO/IEC 30107-3, and by what else the manifest says."""

from typing import Any

import numpy as np
import pandas as pd

from benchmarks.judge import DEFAULT
from benchmarks.results import Run
from classify.metrics import METRICS
from classify.models import CLASSIFIERS
from reports.formats import Cell, Table
from reports.notes import (
    extractor_title,
    intervals,
    leaky,
    marks,
    nested_title,
    protocol_title,
    reported,
    told,
)
from reports.responses import ALL, non_responses, rate_of
from reports.summary import best_model, headline, headline_figures, select
from reports.tables import rule_title, show_estimate

WORDS = (
    "APCER: share of attack {what} called real, worst: of the worst attack. BPCER: share of genuine (bona fide) {what} "
    "called fake. APNRR, BPNRR: share of attack and of genuine clips without a usable face, which get no verdict. In "
    "the words of ISO/IEC 30107-3; not a conformance test."
)


def errors_frame(run: Run) -> pd.DataFrame:
    """Return the error rates of every model by attack and by further columns, with the model that they are of."""
    parts = []
    for (extractor, classifier), unit in run.units.items():
        model = {
            "protocol": protocol_title(run.suite.protocol),
            "extractor": extractor,
            "weights": run.extractors[extractor]["weights"],
            "classifier": classifier,
        }
        parts.append(unit.errors.assign(**model)[[*model, *unit.errors]])
    return told(run, pd.concat(parts, ignore_index=True))


def attacks_table(run: Run) -> Table:
    """APCER of each attack and BPCER of the best model, at the default and at each tuned threshold."""
    extractor, classifier = best_model(run)
    unit, level, data = run.units[(extractor, classifier)], headline(run), reported(run)
    place = {"data": data, "level": level}
    rules = [
        rule for rule in (DEFAULT, *run.suite.thresholds) if rule in set(_of(unit.estimates, **place)["rule"])
    ]
    by_attack = _of(unit.errors, **place, column="attack").set_index(["value", "rule"])
    totals = _of(unit.estimates, **place).set_index(["metric", "rule"])
    responses = non_responses(run)
    attacks = [
        value for value in by_attack.index.unique("value") if by_attack.loc[(value, DEFAULT), "fakes"] > 0
    ]
    rows = [
        (
            *_cells(value or "(no name)", by_attack.loc[(value, DEFAULT), "fakes"]),
            _rate(responses, data, label=1, attack=value),
            *(Cell(show_estimate("apcer", by_attack.loc[(value, r)], prefix="apcer")) for r in rules),
        )
        for value in attacks
    ]
    counts = by_attack.xs(DEFAULT, level="rule")[["fakes", "reals"]].sum()
    for title, metric, number, label in (
        ("All: worst APCER, APNRR", "apcer", counts["fakes"], 1),
        ("Genuine: BPCER, BPNRR", "bpcer", counts["reals"], 0),
    ):
        figures = (Cell(show_estimate(metric, totals.loc[(metric, r)]), bold=True) for r in rules)
        rows.append((*_cells(title, number), _rate(responses, data, label=label), *figures))
    what = {"image": "faces", "video": "clips"}[level]
    header = ("Attack", what.capitalize(), "No response", *(rule_title(rule) for rule in rules))
    title = f"Errors by attack, {_model(run, extractor, classifier)}, {nested_title(run)}{level} level, %{leaky(run)}"
    notes = (WORDS.format(what=what), _thresholds(run), _interval_note(run), *marks(run))
    frame = _with_rates(_of(errors_frame(run), column="attack"), responses)
    return Table("attacks", title, header, tuple(rows), notes, frame)


def groups_table(run: Run) -> Table | None:
    """Error rates of the best model by the values of the manifest's further columns; None where there is none."""
    extractor, classifier = best_model(run)
    unit, level = run.units[(extractor, classifier)], headline(run)
    mine = _of(unit.errors, data=reported(run), level=level)
    mine = mine[mine["column"] != "attack"]
    if mine.empty:
        return None
    rules = [rule for rule in (DEFAULT, *run.suite.thresholds) if rule in set(mine["rule"])]
    rows = tuple(
        tuple(Cell(text) for text in _group(line))
        for rule in rules
        for _, line in mine[mine["rule"] == rule].iterrows()
    )
    header = ("Rule", "Column", "Value", "Fake", "APCER", "Real", "BPCER")
    title = f"Errors by group, {_model(run, extractor, classifier)}, {nested_title(run)}{level} level, %{leaky(run)}"
    notes = (
        f"Numbers of fake and real {'faces' if level == 'image' else 'clips'}. APCER here: share of all fakes of the "
        "group that are called real. Groups differ in more than the column says; intervals are not corrected for "
        "their number.",
        _thresholds(run),
        _interval_note(run),
        *marks(run),
    )
    frame = errors_frame(run)
    return Table("groups", title, header, rows, notes, frame[frame["column"] != "attack"])


def _of(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    return select(frame, **values)


def _cells(title: str, number: float) -> tuple[Cell, Cell]:
    return Cell(title), Cell(f"{int(number):,}")


def _rate(responses: pd.DataFrame, data: str, *, label: int, attack: str = ALL) -> Cell:
    return Cell(METRICS["apcer"].show(rate_of(responses, data, label=label, attack=attack)))


def _with_rates(frame: pd.DataFrame, responses: pd.DataFrame) -> pd.DataFrame:
    """Put the non-response rates of each attack's clips, and of genuine ones, beside their errors."""
    lines = list(frame[["data", "value", "fakes", "reals"]].itertuples(index=False))
    apnrr = [
        rate_of(responses, line.data, label=1, attack=line.value) if line.fakes else np.nan for line in lines
    ]
    bpnrr = [rate_of(responses, line.data, label=0) if line.reals else np.nan for line in lines]
    return frame.assign(apnrr=apnrr, bpnrr=bpnrr)


def _group(line: "pd.Series[Any]") -> tuple[str, ...]:
    return (
        rule_title(line["rule"]),
        line["column"],
        line["value"] or "(empty)",
        f"{line['fakes']:,}",
        show_estimate("apcer", line, prefix="apcer"),
        f"{line['reals']:,}",
        show_estimate("bpcer", line, prefix="bpcer"),
    )


def _model(run: Run, extractor: str, classifier: str) -> str:
    return f"{extractor_title(run, extractor)} with {CLASSIFIERS[classifier].title}"


def _thresholds(run: Run) -> str:
    if run.suite.nests:
        return "Tuned thresholds were chosen inside each fold's training part."
    return (
        "Tuned thresholds were chosen inside the training part."
        if reported(run) == "test"
        else "Tuned thresholds are cross-fitted: chosen on the other folds."
    )


def _interval_note(run: Run) -> str:
    return intervals(run, people=int(headline_figures(run, "auc")["people"].min()))
