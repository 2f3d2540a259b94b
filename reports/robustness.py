"""What recompression, blur, scaling and noise do to a detector whose threshold is already chosen."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.judge import DEFAULT
from benchmarks.results import Run
from classify.metrics import METRICS
from classify.models import CLASSIFIERS
from extract.media.perturb import FAMILIES, parse_perturbations
from reports.formats import Cell, Table
from reports.notes import extractor_title, flat, intervals, leaky, marks
from reports.responses import non_responses, rate_of
from reports.summary import best_model, headline, select, summary
from reports.tables import rule_title, show_estimate

CURVES = ("auc", "recall", "bpcer")
CLEAN = "none"
_NOT_NESTED = (
    "Every line is of the models and thresholds of the search over all folds, so that lines compare; of perturbed "
    "clips there are no nested figures."
)


def robustness_frame(run: Run) -> pd.DataFrame:
    """Figures of every model under every perturbation, from weak to strong, at the deployed threshold.

    Returns
    -------
    DataFrame
        As `summary` at the headline level, with ``family``, ``strength`` and ``perturbation`` (``none``: the clips as
        they are), metrics AUC, recall and BPCER, and the non-response rates ``apnrr`` and ``bpnrr``.
    """
    figures, responses = select(summary(run), level=headline(run)), non_responses(run)
    rule = deployed_rule(run)
    wanted = (figures["metric"] == "auc") & (figures["rule"] == DEFAULT)
    wanted |= figures["metric"].isin(CURVES[1:]) & (figures["rule"] == rule)
    parts = []
    for name, family, strength in _conditions(run):
        data = flat(run) if name == CLEAN else name  # the models that score the perturbed ones
        part = figures[wanted & (figures["data"] == data)].drop(columns=["mean", "deviation", "published"])
        place = {"perturbation": name, "family": family, "strength": strength}
        rates = {"apnrr": rate_of(responses, data, label=1), "bpnrr": rate_of(responses, data, label=0)}
        parts.append(part.assign(**place, **rates))
    return pd.concat(parts, ignore_index=True)


def deployed_rule(run: Run) -> str:
    """Return the rule whose threshold is followed: the first of the suite that can be met, else the default."""
    unit = run.units[best_model(run)]
    reached = [rule for rule, value in unit.deploy[headline(run)].items() if value is not None]
    return reached[0] if reached else DEFAULT


def robustness_table(run: Run) -> Table | None:
    """AUC, and recall and BPCER at the deployed threshold, of the best model; None without perturbations."""
    if not run.suite.perturb:
        return None
    extractor, classifier = best_model(run)
    frame = robustness_frame(run)
    mine = select(frame, extractor=extractor, classifier=classifier)
    rows = []
    for name, part in mine.groupby("perturbation", sort=False):
        figures, first = part.set_index("metric"), part.iloc[0]
        rates = (METRICS["bpcer"].show(first[rate]) for rate in ("apnrr", "bpnrr"))
        texts = (_title(str(name)), *(show_estimate(m, figures.loc[m]) for m in CURVES), *rates)
        rows.append(tuple(Cell(text) for text in texts))
    header = ("Perturbation", *(METRICS[metric].title for metric in CURVES), "APNRR", "BPNRR")
    model = f"{extractor_title(run, extractor)} with {CLASSIFIERS[classifier].title}"
    title = f"Robustness of {model}, {headline(run)} level, %{leaky(run)}"
    lost = [name for name, *_ in _conditions(run) if name not in set(mine["perturbation"])]
    notes = (
        "Clips are perturbed before faces are searched, and each line is of the clips that it applies to and that "
        "still show a face; models are fitted and thresholds chosen on clips as they are. "
        f"Recall and BPCER (genuine called fake) at the threshold by {rule_title(deployed_rule(run))}, which no clip "
        "took part in choosing for itself. APNRR, BPNRR: fake and genuine clips in which no face was found.",
        *([_NOT_NESTED] if run.suite.nests else []),
        *(
            [f"Without figures, as too few clips were left or it applies to none: {', '.join(lost)}."]
            if lost
            else []
        ),
        intervals(run, people=int(mine["people"].min())),
        *marks(run),
    )
    return Table("robustness", title, header, tuple(rows), notes, frame)


def plot_robustness(frame: pd.DataFrame, run: Run) -> Figure:
    """Draw the best model's curves of `robustness_frame`: a panel a family, weak to strong."""
    extractor, classifier = best_model(run)
    mine = select(frame, extractor=extractor, classifier=classifier)
    families = [family for family in FAMILIES if family in set(mine["family"])]
    figure = Figure(figsize=(2.6 * max(len(families), 2), 3.4), layout="constrained")
    panels = figure.subplots(1, max(len(families), 1), sharey=True, squeeze=False)[0]
    for axes, family in zip(panels, families, strict=False):
        drawn = mine[mine["family"].isin([family, CLEAN])]
        labels = list(dict.fromkeys(drawn["perturbation"]))
        for metric in CURVES:
            line = drawn[drawn["metric"] == metric].set_index("perturbation").reindex(labels)
            errors = [line["estimate"] - line["low"], line["high"] - line["estimate"]]
            axes.errorbar(
                range(len(labels)),
                line["estimate"],
                yerr=np.clip(np.nan_to_num(errors), 0, None),
                marker="o",
                markersize=3,
                capsize=2,
                linewidth=1.4,
                label=METRICS[metric].title,
            )
        axes.set_xticks(range(len(labels)), [name.removeprefix(f"{family}-") for name in labels])
        axes.set(title=_unit(family), ylim=(0, 1.02))
        axes.title.set_fontsize(9)
    panels[0].set_ylabel("share")
    if families:
        panels[0].legend(fontsize=8, frameon=False, loc="lower left")
    model = f"{extractor_title(run, extractor)} with {CLASSIFIERS[classifier].title}"
    at = f"recall and BPCER at {rule_title(deployed_rule(run))}"
    lines = [f"{model}, {headline(run)} level", at, leaky(run).strip()]
    width = int(11 * figure.get_size_inches()[0])  # characters that surely fit
    figure.suptitle("\n".join(textwrap.fill(line, width) for line in lines if line), fontsize=10)
    return figure


def _conditions(run: Run) -> Sequence[tuple[str, str, float]]:
    """Return name, family and strength of the clips as they are and of each perturbation, from weak to strong."""
    perturbations = sorted(parse_perturbations(run.suite.perturb), key=lambda p: p.order)
    return [(CLEAN, CLEAN, np.nan), *((p.name, p.family, p.strength) for p in perturbations)]


def _title(name: str) -> str:
    if name == CLEAN:
        return "none"
    family, strength = name.split("-", 1)
    return f"{_unit(family)} {strength}"


def _unit(family: str) -> str:
    words = {"jpeg": "JPEG quality", "blur": "blur, sigma", "resize": "resize to", "noise": "noise, sigma"}
    return {**words, "h264": "H.264 CRF"}.get(family, family)
