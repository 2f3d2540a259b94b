"""From out-of-fold scores to the figures of one extractor with one classifier."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.results import Unit
from classify.metrics import evaluate
from classify.search import SearchResult
from classify.thresholds import cross_fit, tune_threshold

LEVELS = ("image", "video")
DEFAULT = "default"  # the rule that keeps the classifier's own threshold


def judge(
    found: SearchResult,
    table: pd.DataFrame,
    external: pd.DataFrame | None,
    *,
    rules: Sequence[str],
    default: float,
) -> Unit:
    """Compute every figure of one unit, at image and at video level.

    Parameters
    ----------
    table, external : DataFrame, one line a face
        ``clip``, ``label``, ``fold``, ``score``; `external` comes with the mean scores of the fold models.
    rules : sequence of str
        Threshold rules. Out-of-fold rows are judged with cross-fitted thresholds, external rows with the one
        chosen on all out-of-fold scores.
    default : float
        The classifier's default threshold.
    """
    lines: list[dict[str, Any]] = []
    deploy: dict[str, dict[str, float]] = {}
    for level in LEVELS:
        scored = at_level(table, level)
        y, score, fold = (scored[c].to_numpy() for c in ("label", "score", "fold"))
        deploy[level] = {rule: tune_threshold(y, score, rule=rule).value for rule in rules}
        applied = {DEFAULT: np.full(fold.max() + 1, default)}
        applied |= {rule: cross_fit(y, score, fold, rule=rule) for rule in rules}
        for rule, values in applied.items():
            for k, value in enumerate(values):
                figures = evaluate(y[fold == k], score[fold == k], threshold=value)
                lines.append(_line("out-of-fold", level, rule, k, value) | figures)
        if external is not None:
            new = at_level(external, level)
            for rule, value in {DEFAULT: default, **deploy[level]}.items():
                figures = evaluate(new["label"].to_numpy(), new["score"].to_numpy(), threshold=value)
                lines.append(_line("external", level, rule, -1, value) | figures)
    return Unit(found.best, found.converged, deploy, pd.DataFrame(lines), table)


def at_level(table: pd.DataFrame, level: str) -> pd.DataFrame:
    """Return one line a face (``image``), or one a clip with the mean of its faces' scores (``video``)."""
    columns = ["clip", "label", "fold", "score"]
    if level == "image":
        return table[columns]
    return table.groupby("clip", sort=True, as_index=False)[columns[1:]].agg(
        {"label": "first", "fold": "first", "score": "mean"}
    )


def _line(data: str, level: str, rule: str, fold: int, threshold: float) -> dict[str, Any]:
    return {"data": data, "level": level, "rule": rule, "fold": fold, "threshold": float(threshold)}
