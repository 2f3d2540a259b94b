"""Pictures of a finished comparison; each draws exactly the frame that lies beside it as CSV."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.compare import COMPARISONS, Comparison
from classify.comparisons import STEPS
from classify.models import CLASSIFIERS
from reports.comparisons import leakage_frame, new_attack_frame, transfer_frame
from reports.notes import extractor_title
from reports.summary import select

ACROSS = 3  # heat maps in a row
MARKERS, LINES = "osD^v", ("-", "--", "-.", ":")  # one a classifier; colours are extractors


def comparison_plot(comparison: Comparison) -> tuple[pd.DataFrame, Figure]:
    """Return the frame of any comparison at image level, and its picture."""
    frame, plot = PLOTS[comparison.name]
    drawn = select(frame(comparison), level="image")
    figure = plot(comparison, drawn)
    figure.suptitle(COMPARISONS[comparison.name].title)
    return drawn, figure


def plot_leakage(comparison: Comparison, frame: pd.DataFrame) -> Figure:
    """Draw AUC and accuracy against the protocol, from the leakiest, with the published accuracies."""
    figure = Figure(figsize=(8.8, 4.4), layout="constrained")
    for axes, metric, name in zip(
        figure.subplots(1, 2), ("auc", "accuracy"), ("AUC", "accuracy"), strict=True
    ):
        models = _models(comparison, frame)
        extractors, classifiers = (list(frame[column].unique()) for column in ("extractor", "classifier"))
        for number, (title, part) in enumerate(models):
            aside = 0.04 * (number - (len(models) - 1) / 2)  # so that the bars do not hide each other
            classifier = classifiers.index(part["classifier"].iloc[0])
            axes.errorbar(
                np.arange(len(STEPS)) + aside,
                part[metric],
                part[f"{metric}_deviation"],
                color=f"C{extractors.index(part['extractor'].iloc[0])}",
                marker=MARKERS[classifier % len(MARKERS)],
                linestyle=LINES[classifier % len(LINES)],
                capsize=3,
                linewidth=1.6,
                label=title,
            )
        if metric == "accuracy":
            published = frame.drop_duplicates("protocol").dropna(subset=["published_accuracy"])
            axes.plot(
                [STEPS.index(step) for step in published["protocol"]],
                published["published_accuracy"],
                linestyle=":",
                marker="*",
                markersize=11,
                zorder=3,
                color="0.3",
                label="published (ReActNet, Celeb-DF v2)",
            )
        axes.set_xticks(range(len(STEPS)), STEPS)
        axes.set(xlabel="protocol (frame and clip leak)", ylabel=name)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def plot_transfer(comparison: Comparison, frame: pd.DataFrame) -> Figure:
    """Draw a heat map of the AUC for each model: training sets down, test sets across."""
    models = _models(comparison, frame)
    tests, sets = sorted(comparison.trials["test"].unique()), list(frame["trained_on"].unique())
    columns = min(ACROSS if len(models) != 4 else 2, len(models))
    lines = -(-len(models) // columns)
    size = (
        columns * (2.2 + len(tests) * max(0.95, 0.085 * max(map(len, tests)))),
        lines * (1.1 + 0.42 * len(sets)),
    )
    figure = Figure(figsize=size, layout="constrained")
    every = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in every[len(models) :]:
        axes.set_visible(False)
    for axes, (title, part) in zip(every, models, strict=False):
        _heat_map(axes, part, sets=sets, tests=tests)
        axes.set_title(title, fontsize=9)
    return figure


def plot_new_attack(comparison: Comparison, frame: pd.DataFrame) -> Figure:
    """Draw AUC, recall and false-positive rate against the number of the new attack's clips in training.

    A row for each model, a colour for each attack; equal steps between the numbers, whatever they are.
    """
    models = _models(comparison, frame)
    figure = Figure(figsize=(9.2, 3 * len(models) + 1), layout="constrained")
    grid = figure.subplots(len(models), 2, squeeze=False)
    for row, (title, part) in zip(grid, models, strict=True):
        _curves(row[0], part, "auc")
        _curves(row[1], part, "recall")
        _curves(row[1], part, "fpr", linestyle=":")
        row[0].set(ylabel="AUC", title=title)
        row[1].set(ylabel="recall; dotted: false-positive rate", title=title)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    return figure


def _curves(axes: Axes, part: pd.DataFrame, metric: str, *, linestyle: str = "-") -> None:
    counts = sorted(part["clips"].unique())
    attacks = list(part.groupby("attack", sort=False))
    for number, (attack, curve) in enumerate(attacks):
        aside = 0.06 * (number - (len(attacks) - 1) / 2)  # so that the bars do not hide each other
        axes.errorbar(
            [counts.index(count) + aside for count in curve["clips"]],
            curve[metric],
            curve[f"{metric}_deviation"],
            color=f"C{number}",
            linestyle=linestyle,
            marker="o",
            markersize=4,
            capsize=2,
            label=str(attack),
        )
    axes.set_xticks(range(len(counts)), [f"{count:.0f}" for count in counts])
    axes.set_xlabel("k: clips of the new attack in training")


Frame = Callable[[Comparison], pd.DataFrame]
Plot = Callable[[Comparison, pd.DataFrame], Figure]
PLOTS: dict[str, tuple[Frame, Plot]] = {
    "leakage": (leakage_frame, plot_leakage),
    "attacks": (transfer_frame, plot_transfer),
    "datasets": (transfer_frame, plot_transfer),
    "new-attack": (new_attack_frame, plot_new_attack),
}


def _models(comparison: Comparison, frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the title and the lines of each extractor with each classifier."""
    return [
        (f"{extractor_title(comparison, str(e))}, {CLASSIFIERS[str(c)].title}", part)
        for (e, c), part in frame.groupby(["extractor", "classifier"], sort=False)
    ]


def _heat_map(axes: Axes, part: pd.DataFrame, *, sets: list[str], tests: list[str]) -> None:
    values = np.full((len(sets), len(tests)), np.nan)
    unseen = np.zeros(values.shape, bool)
    for _, line in part.iterrows():
        place = sets.index(line["trained_on"]), tests.index(line["test"])
        values[place], unseen[place] = line["auc"], not line["seen"]
    axes.imshow(values, cmap="YlGn", vmin=0.5, vmax=1.2, aspect="auto")  # pale enough for black figures
    for (i, j), value in np.ndenumerate(values):
        text = "-" if np.isnan(value) else f"{100 * value:.0f}{'*' if unseen[i, j] else ''}"
        axes.text(j, i, text, ha="center", va="center", fontsize=9)
    axes.set_xticks(range(len(tests)), tests, fontsize=8)
    axes.set_yticks(range(len(sets)), sets, fontsize=8)
    axes.set_xlabel("tested on (AUC, %; *: not in training)", fontsize=8)
    axes.set_ylabel("trained on", fontsize=8)
