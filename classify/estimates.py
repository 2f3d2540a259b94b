"""Figures with intervals, from the rows that they were measured on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from classify.cuts import cut_points
from classify.figures import auc_figure, decision_figures, probability_figures, score_figures
from classify.metrics import Floats
from classify.resampling import Resampling, in_chunks, ratio, totals
from classify.rules import parse_rule
from classify.thresholds import choose
from classify.uncertainty import interval

Statistic = Callable[..., dict[str, Floats]]
Names = npt.NDArray[np.object_]
PEOPLE = ["clip", "identity", "source_identity"]
FIGURES = ["metric", "estimate", "low", "high", "people", "reals", "fakes"]


@dataclass(frozen=True)
class Estimates:
    """Figures of one set of scored rows.

    Attributes
    ----------
    figures : DataFrame, one line a metric
        ``metric``, ``estimate``, ``low``, ``high`` (95 % interval; NaN where nothing can be said), ``people`` (the
        fewest people that one role rests on, as `Resampling.fewest`), ``reals``, ``fakes`` (numbers of rows).
    replicates : DataFrame, one line a replicate, one column a metric
    """

    figures: pd.DataFrame
    replicates: pd.DataFrame


def estimate_calls(rows: pd.DataFrame, resampling: Resampling) -> Estimates:
    """Estimate what depends on the calls; `rows` as for `decision_figures`."""
    return _estimates([decision_figures], rows, resampling)


def estimate_scores(rows: pd.DataFrame, resampling: Resampling) -> Estimates:
    """Estimate what depends on the scores alone; `rows` as for `score_figures` and `probability_figures`."""
    return _estimates([score_figures, probability_figures], rows, resampling)


def estimate_auc(rows: pd.DataFrame, resampling: Resampling) -> Estimates:
    """Estimate AUC alone, which costs a tenth of `estimate_scores`."""
    return _estimates([auc_figure], rows, resampling)


def error_rates(rows: pd.DataFrame, resampling: Resampling, *, by: str) -> pd.DataFrame:
    """Estimate how often fakes are missed and genuine ones rejected, for each value of a column.

    Parameters
    ----------
    rows : DataFrame of n rows
        ``label``, ``called`` (NaN where no threshold could be chosen), the column, and ``clip``, ``identity``,
        ``source_identity``: an interval is as wide as the people of its own rows demand.

    Returns
    -------
    DataFrame, one line a value
        ``value``, ``fakes``, ``reals`` (numbers of rows), ``apcer``, ``bpcer`` with ``_low`` and ``_high``: the
        share of its fakes called real and of its reals called fake, NaN where it has none.
    """
    lines = []
    label, called = rows["label"].to_numpy(), rows["called"].to_numpy()
    names = [rows[column].to_numpy(object) for column in PEOPLE]
    for value, places in rows.groupby(by, sort=True).indices.items():
        mine = np.isin(np.arange(len(rows)), places)
        line: dict[str, float | str] = {"value": str(value)}
        for kind, number, error in (("fakes", 1, "apcer"), ("reals", 0, "bpcer")):
            asked = mine & (label == number)
            wrong, people = (
                called == 1 - number,
                _fewest(*(column[asked] for column in names), reals=number == 0),
            )
            line |= {kind: int(asked.sum()), **_rate(error, asked, wrong, resampling, people=people)}
            if np.isnan(called).any():
                line |= dict.fromkeys([error, f"{error}_low", f"{error}_high"], np.nan)
        lines.append(line)
    return pd.DataFrame(lines)


def _rate(
    name: str,
    asked: npt.NDArray[np.bool_],
    wrong: npt.NDArray[np.bool_],
    resampling: Resampling,
    *,
    people: int,
) -> dict[str, float]:
    """Estimate the share of the rows asked about that are wrong, with its interval."""
    columns = np.stack([asked & wrong, asked], axis=1)
    one, many = (
        ratio(*totals(columns, cells=resampling.cells, weights=w).T)
        for w in (resampling.unit, resampling.weights)
    )
    low, high = interval(float(one[0]), many, people=people)
    return {name: float(one[0]), f"{name}_low": low, f"{name}_high": high}


def fewest_people(rows: pd.DataFrame) -> int:
    """Count the targets, or the sources where they are fewer, of rows of one label; the unknown count by clip."""
    return _fewest(*(rows[column].to_numpy(object) for column in PEOPLE), reals=(rows["label"] == 0).all())


def _fewest(clips: Names, *roles: Names, reals: bool) -> int:
    return min(
        len({name or f"clip {clip}" for name, clip in zip(role, clips, strict=True)})
        for role in roles[: 1 if reals else 2]
    )


def threshold_intervals(
    rows: pd.DataFrame, rules: Mapping[str, float], resampling: Resampling
) -> dict[str, tuple[float, float]]:
    """Choose each rule's threshold again in every replicate: rule -> 95 % interval of the threshold.

    Parameters
    ----------
    rows : DataFrame of n rows
        ``label``, ``score``, ``attack``.
    rules : mapping of rule to the threshold chosen on the rows as they are
        NaN where it cannot be met, which gives an interval of NaN.
    """
    y, score, attack = rows["label"].to_numpy(), rows["score"].to_numpy(), rows["attack"].to_numpy(str)
    parsed = [parse_rule(rule) for rule in rules]

    def chosen(weights: Floats) -> Floats:
        cuts = cut_points(y, score, attack=attack, weights=weights[:, resampling.cells])
        values = np.append(cuts.thresholds, np.nan)  # -1: the replicate cannot meet the rule
        return np.stack([values[choose(cuts, rule)] for rule in parsed], axis=1)

    replicates = in_chunks(chosen, resampling.weights)
    return {
        rule: interval(value, column, people=resampling.fewest)
        for (rule, value), column in zip(rules.items(), replicates.T, strict=True)
    }


def _estimates(statistics: Sequence[Statistic], rows: pd.DataFrame, resampling: Resampling) -> Estimates:
    """Compute figures as they are, and in every replicate."""
    one, many = (
        {k: v for figures in statistics for k, v in figures(rows, cells=resampling.cells, weights=w).items()}
        for w in (resampling.unit, resampling.weights)
    )
    fakes = int(rows["label"].sum())
    lines = []
    for metric, (value,) in one.items():
        ends = interval(float(value), many[metric], people=resampling.fewest)
        lines.append((metric, float(value), *ends, resampling.fewest, len(rows) - fakes, fakes))
    return Estimates(pd.DataFrame(lines, columns=FIGURES), pd.DataFrame(many))
