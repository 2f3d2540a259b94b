"""From scores to the figures of one extractor with one classifier."""

from collections.abc import Mapping, Sequence
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
    found: SearchResult, scored: Mapping[str, pd.DataFrame], *, rules: Sequence[str], default: float
) -> Unit:
    """Compute every figure of one unit, at image and at video level.

    Parameters
    ----------
    scored : mapping of data to DataFrame, one line a face
        ``clip``, ``label``, ``fold``, ``score``. The first is what parameters and thresholds are chosen on: its
        figures are cross-fitted over its folds. The others are judged once, with the thresholds chosen on all
        of the first.
    rules : sequence of str
        Threshold rules.
    default : float
        The classifier's default threshold.
    """
    lines: list[dict[str, Any]] = []
    deploy: dict[str, dict[str, float]] = {}
    (first, own), *others = scored.items()
    for level in LEVELS:
        table = at_level(own, level)
        y, score = table["label"].to_numpy(), table["score"].to_numpy()
        deploy[level] = {rule: tune_threshold(y, score, rule=rule).value for rule in rules}
        lines += [{"data": first, "level": level, **line} for line in _cross_fitted(table, rules, default)]
        for data, new in others:
            thresholds = {DEFAULT: default, **deploy[level]}
            lines += [
                {"data": data, "level": level, **line} for line in _once(at_level(new, level), thresholds)
            ]
    predictions = pd.concat([table.assign(data=data) for data, table in scored.items()], ignore_index=True)
    return Unit(found.best, found.converged, deploy, pd.DataFrame(lines), predictions)


def at_level(table: pd.DataFrame, level: str) -> pd.DataFrame:
    """Return one line a face (``image``), or one a clip with the mean of its faces' scores (``video``).

    Under a protocol that divides clips, the faces of a clip that one fold tests count as a clip of that fold.
    """
    columns = ["clip", "label", "fold", "score"]
    if level == "image":
        return table[columns]
    clips = table.groupby(["clip", "fold"], sort=True, as_index=False)
    return clips[["label", "score"]].agg({"label": "first", "score": "mean"})


def _cross_fitted(table: pd.DataFrame, rules: Sequence[str], default: float) -> list[dict[str, Any]]:
    """Judge each fold with the default threshold and, where there are other folds, with those chosen on them."""
    y, score, fold = (table[column].to_numpy() for column in ("label", "score", "fold"))
    count = int(fold.max()) + 1
    applied = {DEFAULT: np.full(count, default)}
    if count > 1:
        applied |= {rule: cross_fit(y, score, fold, rule=rule) for rule in rules}
    return [
        _line(rule, k, value) | evaluate(y[fold == k], score[fold == k], threshold=value)
        for rule, values in applied.items()
        for k, value in enumerate(values)
    ]


def _once(table: pd.DataFrame, thresholds: Mapping[str, float]) -> list[dict[str, Any]]:
    y, score = table["label"].to_numpy(), table["score"].to_numpy()
    return [
        _line(rule, -1, value) | evaluate(y, score, threshold=value) for rule, value in thresholds.items()
    ]


def _line(rule: str, fold: int, threshold: float) -> dict[str, Any]:
    return {"rule": rule, "fold": fold, "threshold": float(threshold)}
