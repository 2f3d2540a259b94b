"""The curves around one threshold, in one figure."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from benchmarks.results import Finished
from benchmarks.try_rule import Tried
from reports.formats import Table
from reports.notes import leaky
from reports.output import write_table
from reports.plots import write_figure
from reports.tables import rule_title
from reports.threshold import curves_frame, title_of

RATES = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99)  # ticks of the normal-deviate axes
STYLES: dict[str, dict[str, Any]] = {
    "reliability": {"marker": "o", "markersize": 4},
    "threshold": {"drawstyle": "steps-pre"},
}
TITLES = {
    "roc": ("ROC", "FPR, BPCER (real called fake)", "recall (fake called fake)"),
    "det": ("DET", "FPR, BPCER (real called fake)", "miss rate, APCER (fake called real)"),
    "precision-recall": ("Precision-recall{prior}", "recall", "precision"),
    "threshold": ("Against the threshold", "threshold (a score at or above it is called fake)", "share"),
    "reliability": ("Reliability", "mean probability of fake", "share of fakes"),
}


def write_curves(
    run: Finished, model: tuple[str, str], tried: Tried, table: Table, *, prior: float | None
) -> Path:
    """Write table and curves below a run's folder; returns their own."""
    rule = re.sub(
        r"[^A-Za-z0-9.]+", "-", tried.rule.replace("<=", "-at-most-").replace(">=", "-at-least-")
    ).strip("-")
    at = [] if prior is None else [f"prior-{prior:g}"]
    folder = run.folder / "thresholds" / "-".join([*model, tried.level, rule, *at])
    write_table(table, folder)
    frame = curves_frame(tried, prior=prior)
    title = f"{title_of(run, model)}, {tried.level} level{leaky(run)}"
    figure = plot_curves(frame, tried, title=title, prior=prior)
    write_figure(frame, figure, folder / "curves")
    return folder


def plot_curves(frame: pd.DataFrame, tried: Tried, *, title: str, prior: float | None) -> Figure:
    """Draw `curves_frame`: ROC, DET, precision-recall, figures against the threshold, reliability."""
    present = [curve for curve in TITLES if curve in set(frame["curve"])]
    figure = Figure(figsize=(12.6, 7.6), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    for axes, curve in zip(panels, present, strict=False):
        _panel(axes, curve, frame[frame["curve"] == curve], tried)
        at = "" if prior is None else f" at {100 * prior:g} % fakes"
        axes.set_title(axes.get_title().format(prior=at))
    for axes in panels[len(present) :]:
        axes.set_axis_off()
    figure.suptitle(title)
    return figure


def _panel(axes: Axes, curve: str, frame: pd.DataFrame, tried: Tried) -> None:
    heading, across, up = TITLES[curve]
    for series, part in frame.groupby("series", sort=False):
        axes.plot(part["x"], part["y"], label=str(series), linewidth=1.6, **STYLES.get(curve, {}))
    axes.set(title=heading, xlabel=across, ylabel=up)
    if curve == "det":
        _normal_deviates(axes, frame)
    else:
        axes.set_ylim(0, 1.02)
    if curve == "threshold":
        for value, name, line in (
            (tried.default, "default", ":"),
            (tried.value, rule_title(tried.rule), "-"),
        ):
            axes.axvline(value, color="0.35", linewidth=1, linestyle=line, label=f"{name}: {value:.4g}")
        if not np.isnan(tried.low):
            axes.axvspan(tried.low, tried.high, color="0.85", zorder=0, label="its 95 % interval")
    elif curve != "det" and curve != "precision-recall":
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle="--")
        axes.set_xlim(0, 1)
    axes.legend(fontsize=8, frameon=False)


def _normal_deviates(axes: Axes, frame: pd.DataFrame) -> None:
    """Label the axes with the rates that normal deviates stand for."""
    ends = [frame[["x", "y"]].min().min(), frame[["x", "y"]].max().max()]
    low, high = (np.clip(ends, norm.ppf(RATES[0]), norm.ppf(RATES[-1]))) if len(frame) else (-2.0, 2.0)
    ticks = [norm.ppf(rate) for rate in RATES]
    labels = [f"{100 * rate:g} %" for rate in RATES]
    axes.set_xticks(ticks, labels, fontsize=8)
    axes.set_yticks(ticks, labels, fontsize=8)
    axes.set(xlim=(low - 0.2, high + 0.2), ylim=(low - 0.2, high + 0.2))
    axes.grid(color="0.9")
