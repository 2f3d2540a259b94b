"""The answer to one question: where does the threshold go, and what does it cost?"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.calibration import calibration_curve

from benchmarks.judge import DEFAULT
from benchmarks.results import Finished, read_common, unit_folder
from benchmarks.try_rule import Tried, try_rule
from classify.cuts import cut_points
from classify.estimates import fewest_people
from classify.metrics import METRICS
from classify.models import CLASSIFIERS
from classify.rules import parse_rule
from extract.errors import RequestError, unknown
from reports.formats import Cell, Table
from reports.notes import chosen_on, extractor_title, intervals, leaky, marks, selection
from reports.summary import best_of, headline, select
from reports.tables import rule_title, show_estimate

COLUMNS = ("accuracy", "precision", "recall", "f1", "apcer", "bpcer")
THEN = {  # of the cuts that meet a demand
    "fpr<=": ", with the highest recall",
    "recall>=": ", with the highest precision",
    "apcer<=": " of the worst attack, with the lowest BPCER",
}
CHECKS = 10_000  # what a rate is put in words for


def read_models(folder: Path) -> Finished:
    """Read what a finished run's models share, without their tables.

    Raises
    ------
    RequestError
        Not a finished run, or a comparison, which has no threshold.
    """
    run = read_common(folder)
    if (folder / "comparison.json").is_file():
        raise RequestError(
            f"Expected the results of a run; {folder} holds a comparison. Choose another folder.",
            code="E_RESULTS_MISSING",
        )
    return run


def choose_model(run: Finished, extractor: str | None, classifier: str | None) -> tuple[str, str]:
    """Return the best model of a run, or of those that a name narrows it down to.

    Raises
    ------
    RequestError
        A name that the run has not.
    """
    for kind, name, known in (
        ("extractor", extractor, list(run.extractors)),
        ("classifier", classifier, list(run.suite.classifiers)),
    ):
        if name is not None and name not in known:
            raise unknown(f"{kind} of this run", name, known)
    models = [
        (e, c)
        for e in run.extractors
        for c in run.suite.classifiers
        if extractor in (None, e) and classifier in (None, c)
    ]
    estimates = {m: pd.read_parquet(unit_folder(run.folder, *m) / "estimates.parquet") for m in models}
    return best_of(estimates, run)


def answer(
    folder: Path,
    *,
    rule: str,
    level: str | None = None,
    prior: float | None = None,
    extractor: str | None = None,
    classifier: str | None = None,
) -> tuple[Finished, tuple[str, str], Tried]:
    """Choose a threshold from the stored scores of a finished run.

    Parameters
    ----------
    rule : str
        As `parse_rule` reads it, or ``default``.
    level : str, optional
        ``image`` or ``video``; the run's headline level where it is left out.
    prior : float, optional
        The share of fakes to expect, for the rule ``cost`` where it names none.
    extractor, classifier : str, optional
        The best of the run where they are left out.

    Raises
    ------
    RequestError
        Not a finished run, unknown names, a rule that cannot be met.
    """
    if prior is not None and not 0 < prior < 1:
        raise RequestError(
            f"Expected --prior between 0 and 1; got {prior:g}. Give the share of fakes to expect.",
            code="E_OPTION",
        )
    run = read_models(folder)
    if rule != DEFAULT:
        rule = _with_prior(parse_rule(rule).text, prior)
    model = choose_model(run, extractor, classifier)
    data = (chosen_on(run), "test", "external")
    return run, model, try_rule(run, model, rule=rule, level=level or headline(run), data=data)


def _with_prior(rule: str, prior: float | None) -> str:
    if prior is None or not rule.startswith("cost(") or "prior=" in rule:
        return rule
    return f"{rule.removesuffix(')')},prior={prior:g})"


def describe(run: Finished, model: tuple[str, str], tried: Tried, *, prior: float | None) -> list[str]:
    """Say in words what the threshold is and what it costs."""
    kind = {"image": "face", "video": "clip"}[tried.level]
    ends = "" if np.isnan(tried.low) else f" (95 % interval {tried.low:.4g} to {tried.high:.4g})"
    lines = [
        f"{title_of(run, model)}, {tried.level} level: a {kind} is called fake from {tried.value:.6g}{ends}.",
        f"Rule: {rule_title(tried.rule)}{THEN.get(re.split('[0-9]', tried.rule)[0], '')}.",
    ]
    if np.isnan(tried.low) and tried.rule != DEFAULT:
        lines.append("No interval: too many redraws of the people cannot meet the rule.")
    if tried.unmet:
        lines.append(
            f"Not judged out-of-fold: for {tried.unmet} of the folds the others cannot meet the rule."
        )
    lines += _too_fine(tried, kind)
    data = list(tried.scored)[-1]  # the furthest from what it was chosen on
    figures = select(tried.figures, data=data)
    rule = tried.rule if tried.rule in set(figures["rule"]) else DEFAULT
    rates = select(figures, rule=rule).set_index("metric")["estimate"]
    share = float(tried.scored[data]["label"].mean()) if prior is None else prior
    if not np.isnan(rates["recall"]):
        lines.append(_in_words(rates, share, f"{data} {kind}s", given=prior is not None))
    if tried.calibration is not None:
        lines.append(_probability(tried, prior))
    return lines


def _too_fine(tried: Tried, kind: str) -> list[str]:
    """Say so where a demand is finer than the number of rows can show."""
    demand = re.fullmatch(r"(fpr|apcer)<=(.*)", tried.rule)
    if demand is None:
        return []
    own = next(iter(tried.scored.values()))
    rows = own[own["label"] == (demand[1] == "apcer")]
    if demand[1] == "apcer":
        rows = rows[rows["attack"] == rows["attack"].value_counts().idxmin()]  # the rarest attack
    people = fewest_people(rows)
    if people * float(demand[2]) >= 1:
        return []
    what = "genuine" if demand[1] == "fpr" else "fake"
    # Hanley and Lippman-Hand 1983: none of n leaves 3 / n at 95 % confidence. Rows of one person are no new evidence.
    return [
        f"The {len(rows)} {what} {kind}s are of {people} people: even none wrong shows no more than a rate below "
        f"{100 * min(1, 3 / people):.2g} % (rule of three over people). More people are needed for such a demand."
    ]


def _in_words(rates: "pd.Series[float]", share: float, data: str, *, given: bool) -> str:
    fakes, reals = share * CHECKS, (1 - share) * CHECKS
    caught, rejected = rates["recall"] * fakes, rates["bpcer"] * reals
    right = f"{100 * caught / (caught + rejected):.1f} %" if caught + rejected > 0 else "none"
    return (
        f"What it costs, by the {data}: of {CHECKS:,} checks with {100 * share:.3g} % fakes"
        f"{'' if given else ' (as in the data)'}, {fakes - caught:,.0f} of {fakes:,.0f} fakes pass and {rejected:,.0f} "
        f"of {reals:,.0f} genuine ones are rejected; {right} of the rejections are right."
    )


def _probability(tried: Tried, prior: float | None) -> str:
    calibration, value = tried.calibration, np.array([tried.value])
    assert calibration is not None  # the caller's condition
    text = (
        f"Calibrated ({calibration.method}), a score at the threshold is a fake with probability "
        f"{calibration(value)[0]:.3g} at {100 * calibration.prior:.3g} % fakes"
    )
    if prior is not None:
        text += f", {calibration(value, prior=prior)[0]:.3g} at {100 * prior:.3g} %"
    return f"{text}."


def title_of(run: Finished, model: tuple[str, str]) -> str:
    """Return a model's name, as in tables."""
    return f"{extractor_title(run, model[0])} with {CLASSIFIERS[model[1]].title}"


def threshold_table(run: Finished, model: tuple[str, str], tried: Tried) -> Table:
    """Default beside tuned, on every data: the form of Papić et al., table 2, with the errors of PAD beside it."""
    rows = []
    for (data, rule), part in tried.figures.groupby(["data", "rule"], sort=False):
        figures, first = part.set_index("metric"), part.iloc[0]
        ends = [first[f"applied_{end}"] for end in ("lowest", "highest")]
        low, high = ("-" if np.isnan(end) else f"{end:.4g}" for end in ends)
        crossed = rule != DEFAULT and data == chosen_on(run)
        texts = (
            f"{data}{', cross-fitted' if crossed else ''}",
            rule_title(str(rule)),
            low if low == high else f"{low} to {high}",
            *(show_estimate(metric, figures.loc[metric]) for metric in COLUMNS),
        )
        rows.append(tuple(Cell(text) for text in texts))
    header = ("Data", "Rule", "Applied", *(METRICS[metric].title for metric in COLUMNS))
    crossed = (
        "Cross-fitted: each fold's threshold is chosen on the other folds' scores and applied to that fold. Other data "
        "is judged with the threshold to deploy, which is chosen on all of them."
    )
    notes = (
        *([crossed] if any("cross-fitted" in row[0].text for row in rows) else []),
        intervals(run, people=int(tried.figures["people"].min())),
        selection(run, chosen_on(run)),
        *marks(run),
    )
    title = f"{title_of(run, model)}, {tried.level} level, %{leaky(run)}"
    return Table("threshold", title, header, tuple(rows), notes, tried.figures)


def curves_frame(tried: Tried, *, prior: float | None) -> pd.DataFrame:
    """Every curve of the figure: ``data``, ``curve``, ``series``, ``x``, ``y``.

    ROC: recall against FPR. DET: miss rate against FPR, both as normal deviates (Martin et al. 1997). Precision-recall:
    precision at the data's share of fakes, or at `prior`. Threshold: F1, recall and FPR. Reliability: share of fakes
    against mean probability in ten bins of equal width.
    """
    parts: list[dict[str, Any]] = []
    for data, table in tried.scored.items():
        y, score = table["label"].to_numpy(), table["score"].to_numpy()
        cuts = cut_points(y, score)
        share = float(y.mean()) if prior is None else prior
        alarms = share * cuts.recall + (1 - share) * cuts.fpr
        some = alarms > 0
        inside = (cuts.fpr > 0) & (cuts.recall < 1) & (cuts.fpr < 1) & (cuts.recall > 0)
        parts += [
            {"data": data, "curve": "roc", "series": data, "x": cuts.fpr, "y": cuts.recall},
            {
                **{"data": data, "curve": "det", "series": data},
                **{"x": norm.ppf(cuts.fpr[inside]), "y": norm.ppf(1 - cuts.recall[inside])},
            },
            {
                **{"data": data, "curve": "precision-recall", "series": data, "x": cuts.recall[some]},
                "y": share * cuts.recall[some] / alarms[some],
            },
        ]
        if data == next(iter(tried.scored)):
            series = {"F1": cuts.f1, "recall": cuts.recall, "FPR": cuts.fpr}
            parts += [
                {"data": data, "curve": "threshold", "series": s, "x": cuts.thresholds, "y": v}
                for s, v in series.items()
            ]
        if table["probability"].notna().all():
            shares, means = calibration_curve(y, table["probability"], n_bins=10)
            parts.append({"data": data, "curve": "reliability", "series": data, "x": means, "y": shares})
    return pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
