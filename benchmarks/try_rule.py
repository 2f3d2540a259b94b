"""One threshold rule, tried out on the stored scores of a finished unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.judge import DEFAULT, Judging, calls_of, choose_on, deployed_thresholds, probabilities
from benchmarks.results import Finished, unit_folder
from classify.aggregate import at_level
from classify.calibration import Calibration
from classify.estimates import estimate_calls
from classify.models import CLASSIFIERS
from classify.resampling import resample
from extract.errors import RequestError


@dataclass(frozen=True)
class Tried:
    """What a rule gives.

    Attributes
    ----------
    rule : str
    level : str
    value, low, high : float
        The threshold to deploy, chosen on all rows, and its 95 % interval.
    default : float
        The classifier's own threshold.
    figures : DataFrame, one line per data, rule (``default`` or the rule) and metric
        ``applied_lowest``, ``applied_highest`` (of the thresholds applied), ``estimate``, ``low``, ``high``,
        ``people``.
    scored : mapping of data to DataFrame, one line a face or a clip
        ``label``, ``attack``, ``fold``, ``score``, ``probability``.
    calibration : Calibration, optional
        Fitted on all rows that the threshold was chosen on.
    unmet : int
        Folds for which the other folds cannot meet the rule: where there is one, it is not judged out-of-fold.
    """

    rule: str
    level: str
    value: float
    low: float
    high: float
    default: float
    figures: pd.DataFrame
    scored: dict[str, pd.DataFrame]
    calibration: Calibration | None
    unmet: int


def try_rule(
    run: Finished,
    model: tuple[str, str],
    *,
    rule: str,
    level: str,
    data: Sequence[str],
    calibration: str | None = None,
) -> Tried:
    """Choose a threshold by a rule and judge it, cross-fitted where it was chosen and once elsewhere.

    Parameters
    ----------
    model : (str, str)
        Extractor and classifier.
    rule : str
        As `parse_rule` reads it, or ``default``.
    level : str
        ``image`` or ``video``.
    data : sequence of str
        What to judge on; the first is what thresholds are chosen on. Those without scores are left out.
    calibration : str, optional
        In place of the suite's.

    Raises
    ------
    RequestError
        The rule cannot be met; the message says what was reachable.
    """
    suite = run.suite
    default = CLASSIFIERS[model[1]].default_threshold
    how = Judging(
        [] if rule == DEFAULT else [rule],
        default,
        calibration=calibration or suite.calibration,
        seed=suite.seed,
        replicates=suite.replicates,
    )
    scored = _scored(unit_folder(run.folder, *model), data, level=level, aggregate=suite.aggregate)
    own = next(iter(scored.values()))
    if own["label"].nunique() < 2:
        raise RequestError(
            "Expected scores of real and fake clips in the results; one of them is left. Run the suite again.",
            code="E_CLASS_MISSING",
        )
    scored = {name: table for name, table in scored.items() if table["label"].nunique() == 2}
    chosen = choose_on(own, how)
    if reasons := list(chosen.unreachable.values()):
        raise RequestError(reasons[0], code="E_RULE_UNREACHABLE")
    lines = []
    for name, table in scored.items():
        table["probability"] = probabilities(table, chosen.calibrations)
        drawn = resample(table, seed=how.seed, replicates=how.replicates)
        for applied, called in calls_of(table, chosen).items():
            thresholds = chosen.thresholds[applied][table["fold"].to_numpy()]
            ends = {
                "applied_lowest": np.fmin.reduce(thresholds),
                "applied_highest": np.fmax.reduce(thresholds),
            }
            place = {"data": name, "rule": applied, **ends}
            lines.append(estimate_calls(table.assign(called=called), drawn).figures.assign(**place))
    value, low, high, unmet = default, np.nan, np.nan, 0
    if rule != DEFAULT:
        drawn = resample(own, seed=how.seed, replicates=how.replicates)
        folds = chosen.thresholds[rule][:-1]
        unmet = int(np.isnan(folds).sum()) if len(folds) > 1 else 0
        value, low, high = deployed_thresholds(own, chosen, drawn).iloc[0][["estimate", "low", "high"]]
    figures = pd.concat(lines, ignore_index=True)
    return Tried(
        rule,
        level,
        float(value),
        float(low),
        float(high),
        default,
        figures,
        scored,
        chosen.calibrations[-1],
        unmet,
    )


def _scored(folder: Path, data: Sequence[str], *, level: str, aggregate: str) -> dict[str, pd.DataFrame]:
    predictions = pd.read_parquet(folder / "predictions.parquet")
    parts = {name: predictions[predictions["data"] == name] for name in data}
    tables = {name: at_level(part, level, aggregate=aggregate) for name, part in parts.items() if len(part)}
    return {name: table.drop(columns="data") for name, table in tables.items()}
