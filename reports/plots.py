"""Pictures from a finished run; each draws exactly the frame that lies beside it as CSV."""

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score, roc_curve

from benchmarks.judge import DEFAULT
from benchmarks.results import Run
from classify.aggregate import at_level
from classify.cuts import cut_points
from classify.models import CLASSIFIERS
from extract.files import write_bytes
from reports.notes import chosen_on, extractor_title, flat, leaky, nested_title, protocol_title, reported
from reports.summary import best_model, headline, select, summary
from reports.tables import rule_title

CURVES = (("f1", "F1"), ("recall", "recall"), ("fpr", "false-positive rate"))


def roc_frame(run: Run) -> pd.DataFrame:
    """ROC curve of each extractor's best classifier, over all scores that are reported.

    Returns
    -------
    DataFrame
        ``protocol``, ``extractor``, ``model`` (as in the legend, with its pooled AUC), ``fpr``, ``tpr``, shares from
        0 to 1.
    """
    figures = select(
        summary(run), data=chosen_on(run), level=headline(run), rule=DEFAULT, metric=run.suite.metric
    )
    parts = []
    for extractor, group in figures.groupby("extractor", sort=False):
        classifier = str(group.loc[group["estimate"].idxmax(), "classifier"])
        scored = scored_rows(run, (str(extractor), classifier), data=reported(run))
        fpr, tpr, _ = roc_curve(scored["label"], scored["score"])
        title = f"{extractor_title(run, str(extractor))}, {CLASSIFIERS[classifier].title}"
        auc = roc_auc_score(scored["label"], scored["score"])
        model = f"{title}: AUC {auc:.3f}"
        curve = {"protocol": protocol_title(run.suite.protocol), "extractor": extractor, "model": model}
        parts.append(pd.DataFrame({**curve, "fpr": fpr, "tpr": tpr}))
    return pd.concat(parts, ignore_index=True)


def threshold_frame(run: Run) -> pd.DataFrame:
    """F1, recall and false-positive rate of the best model at every cut point of the scores that chose it.

    Returns
    -------
    DataFrame
        ``protocol``, ``extractor``, ``weights``, ``classifier``, ``threshold``, ``f1``, ``recall``, ``fpr``.
    """
    extractor, classifier = best_model(run)
    scored = scored_rows(run, (extractor, classifier), data=chosen_on(run))
    cuts = cut_points(scored["label"].to_numpy(), scored["score"].to_numpy())
    model = {
        "protocol": protocol_title(run.suite.protocol),
        "extractor": extractor,
        "weights": run.extractors[extractor]["weights"],
        "classifier": classifier,
    }
    curves = {"threshold": cuts.thresholds, "f1": cuts.f1, "recall": cuts.recall, "fpr": cuts.fpr}
    return pd.DataFrame({**model, **curves})


def scored_rows(run: Run, model: tuple[str, str], *, data: str) -> pd.DataFrame:
    """Return a model's scored rows at the headline level, one line a face or a clip."""
    scored = select(run.units[model].predictions, data=data)
    return at_level(scored, headline(run), aggregate=run.suite.aggregate)


def plot_roc(frame: pd.DataFrame, run: Run) -> Figure:
    """Draw the ROC curves of `roc_frame`."""
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    for _, curve in frame.groupby("extractor", sort=False):
        axes.plot(curve["fpr"], curve["tpr"], label=curve["model"].iloc[0], linewidth=1.6)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle="--", label="chance")
    axes.set(xlabel="false-positive rate (real called fake)", ylabel="recall (fake called fake)")
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.005),
        aspect="equal",
        title=f"Best classifier of each extractor, {nested_title(run)}{flat(run)} {things(run)}{_mark(run)}",
    )
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def plot_thresholds(frame: pd.DataFrame, run: Run) -> Figure:
    """Draw the curves of `threshold_frame`, with the default and the tuned thresholds as lines."""
    extractor, classifier = best_model(run)
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.subplots()
    for column, label in CURVES:
        axes.step(frame["threshold"], frame[column], where="pre", label=label, linewidth=1.6)
    marks = {
        DEFAULT: CLASSIFIERS[classifier].default_threshold,
        **{
            r: v for r, v in run.units[(extractor, classifier)].deploy[headline(run)].items() if v is not None
        },
    }
    for (rule, value), style in zip(marks.items(), _styles(len(marks)), strict=True):
        axes.axvline(
            value,
            color="0.35",
            linewidth=1,
            linestyle=style,
            label=f"{rule_title(rule)}: {value:.3f}",
        )
    axes.set(xlabel="threshold (a score at or above it is called fake)", ylabel="share", ylim=(0, 1.02))
    model = f"{extractor_title(run, extractor)} with {CLASSIFIERS[classifier].title}"
    axes.set_title(f"{model}, {chosen_on(run)} {things(run)}{_mark(run)}")
    axes.legend(fontsize=8, frameon=False)
    return figure


def write_figure(frame: pd.DataFrame, figure: Figure, path: Path) -> None:
    """Write a figure, and the frame that it draws beside it as CSV."""
    write_bytes(path.with_suffix(".csv"), frame.to_csv(index=False).encode())
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and SVG, with the same bytes for the same figure."""
    with mpl.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
            drawn = io.BytesIO()
            figure.savefig(drawn, format=suffix[1:], dpi=150, metadata=metadata)
            write_bytes(path.with_suffix(suffix), drawn.getvalue())


def things(run: Run) -> str:
    """Return what the headline level counts."""
    return {"image": "faces", "video": "clips"}[headline(run)]


def _mark(run: Run) -> str:
    """Return the mark of a leaky protocol on a line of its own."""
    return leaky(run).replace(" (", "\n(", 1)


def _styles(count: int) -> Sequence[str]:
    return (["-", "--", "-.", ":"] * (count // 4 + 1))[:count]
