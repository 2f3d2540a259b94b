"""Every figure as a function of weights: the estimate under equal ones, its replicates under those of a bootstrap.

Counts are pooled over folds and AUC and average precision are taken within folds, whose models score differently
(Forman and Scholz 2010, SIGKDD Explorations 12). What is read off at one threshold (EER, TPR at an FPR, BPCER at an
APCER) is taken from all scores together, as a deployed threshold is.
"""

import numpy as np
import pandas as pd

from classify.cuts import Cuts, cut_points
from classify.groups import Ints
from classify.metrics import BINS, DECISIONS, OPERATING, PRESENTATION, PROBABILITY, Floats
from classify.resampling import Weights, in_chunks, ratio, totals, weighted_auc

RATES = {name: float(name.rpartition("_")[2]) / 100 for name in OPERATING if name != "eer"}


def decision_figures(rows: pd.DataFrame, *, cells: Ints, weights: Weights) -> dict[str, Floats]:
    """Compute what depends on the calls.

    Parameters
    ----------
    rows : DataFrame of n rows
        ``label``, ``called`` (1 = called fake; NaN where no threshold could be chosen) and ``attack``.
    cells : (n,) int64
    weights : (B, G)
        Of the cells, as `classify.resampling.resample` draws them.

    Returns
    -------
    dict
        Every metric of `DECISIONS` and `PRESENTATION`: (B,) float64, NaN where a class that it counts has no weight.
    """
    if rows["called"].isna().any():
        return dict.fromkeys([*DECISIONS, *PRESENTATION], np.full(len(weights), np.nan))
    fake, called = (rows[column].to_numpy() == 1 for column in ("label", "called"))
    kinds = [fake & (rows["attack"] == name).to_numpy() for name in attacks_of(rows)]
    columns = [fake, ~fake, fake & called, ~fake & called, *kinds, *(kind & ~called for kind in kinds)]
    fakes, reals, tp, fp, *by_attack = totals(np.stack(columns, axis=1), cells=cells, weights=weights).T
    fn, tn = fakes - tp, reals - fp
    recall, specificity = ratio(tp, fakes), ratio(tn, reals)
    missed = [ratio(m, n) for n, m in zip(by_attack[: len(kinds)], by_attack[len(kinds) :], strict=True)]
    both = np.where((fakes > 0) & (reals > 0), 1, np.nan)
    return {
        "f1": both * ratio(2 * tp, 2 * tp + fp + fn),
        "precision": both * np.nan_to_num(ratio(tp, tp + fp)),
        "recall": recall,
        "specificity": specificity,
        "accuracy": both * ratio(tp + tn, fakes + reals),
        "balanced_accuracy": (recall + specificity) / 2,
        "mcc": both * _mcc(tp, fp, fn, tn),
        "apcer": np.fmax.reduce(missed),
        "bpcer": ratio(fp, reals),
    }


def _mcc(tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> Floats:
    """Compute Matthews' correlation (Matthews 1975); 0 where everything is called one class, as scikit-learn has it."""
    scale = np.sqrt((tp + fp) * (tn + fn)) * np.sqrt((tp + fn) * (tn + fp))
    return np.nan_to_num(ratio(tp * tn - fp * fn, scale))


def attacks_of(rows: pd.DataFrame) -> list[str]:
    """Return the attacks of the fakes, sorted; an empty name is one, too."""
    return sorted(rows.loc[rows["label"] == 1, "attack"].unique())


def auc_figure(rows: pd.DataFrame, *, cells: Ints, weights: Weights) -> dict[str, Floats]:
    """Compute AUC within folds; parameters as for `score_figures`."""
    y, score, fold = (rows[column].to_numpy() for column in ("label", "score", "fold"))
    return {"auc": weighted_auc(y, score, fold=fold, cells=cells, weights=weights)}


def score_figures(rows: pd.DataFrame, *, cells: Ints, weights: Weights) -> dict[str, Floats]:
    """Compute what depends on the scores alone.

    Parameters
    ----------
    rows : DataFrame of n rows
        ``label``, ``score``, ``fold``, ``attack``.

    Returns
    -------
    dict
        Every metric of `RANKING` and `OPERATING`: (B,) float64.
    """
    y, score = (rows[column].to_numpy() for column in ("label", "score"))
    attack = rows["attack"].to_numpy(str)
    pooled = in_chunks(
        lambda part: np.stack([*_operating(cut_points(y, score, attack=attack, weights=part[:, cells]))]).T,
        weights,
    )
    return {
        **auc_figure(rows, cells=cells, weights=weights),
        "average_precision": _precision_within_folds(rows, cells=cells, weights=weights),
        **dict(zip(OPERATING, pooled.T, strict=True)),
    }


def _operating(cuts: Cuts) -> list[Floats]:
    """Return the figures of `OPERATING`, in order, for each replicate.

    EER: the mean of miss rate and false-positive rate at the cut where they differ least (of equal ones the lowest).
    TPR at FPR f: the highest recall of all cuts with an FPR of at most f; BPCER at APCER a: the lowest BPCER of all
    cuts with a worst attack's APCER of at most a. Nothing is interpolated between cuts: no threshold is there.
    """
    recall, fpr, apcer = cuts.recall, cuts.fpr, cuts.apcer
    # The difference times fakes times reals, in whole numbers: equal ones must compare equal.
    gap = np.abs((cuts.fakes - cuts.tp) * cuts.reals - cuts.fp * cuts.fakes)
    nearest = np.argmin(gap, axis=-1)

    def at(rates: Floats, place: Ints) -> Floats:
        return np.asarray(np.take_along_axis(rates, place[..., None], axis=-1)[..., 0])

    # From cut to cut recall and FPR only fall and APCER only rises: the best one allowed is the first or the last.
    best = [
        at(recall, (fpr > rate).sum(axis=-1))
        if name.startswith("tpr")
        else at(fpr, (apcer <= rate).sum(axis=-1) - 1)
        for name, rate in RATES.items()
    ]
    undefined = np.isnan(recall[..., 0] + fpr[..., 0])
    return [np.where(undefined, np.nan, figure) for figure in (at((1 - recall + fpr) / 2, nearest), *best)]


def _precision_within_folds(rows: pd.DataFrame, *, cells: Ints, weights: Weights) -> Floats:
    """Compute average precision, sum of (R_k - R_k-1) P_k over cuts, within folds, each by its weight of fakes.

    A fold without weight in one class is left out, as for AUC.
    """
    y, score, fold = (rows[column].to_numpy() for column in ("label", "score", "fold"))
    parts = [fold == number for number in np.unique(fold)]
    parts = [part for part in parts if len(np.unique(y[part])) == 2]

    def weighted(chunk: Floats) -> Floats:
        area, fakes = np.zeros(len(chunk)), np.zeros(len(chunk))
        for part in parts:
            cuts = cut_points(y[part], score[part], weights=chunk[:, cells[part]])
            both = (cuts.fakes[..., 0] > 0) & (cuts.reals[..., 0] > 0)
            area += both * (-np.diff(cuts.tp, axis=-1) * cuts.precision[..., :-1]).sum(axis=-1)
            fakes += both * cuts.fakes[..., 0]
        return ratio(area, fakes)

    return in_chunks(weighted, weights)


def probability_figures(rows: pd.DataFrame, *, cells: Ints, weights: Weights) -> dict[str, Floats]:
    """Compute what scores are worth as probabilities.

    Log loss: mean of -ln of the probability given to what is true (clipped by the machine's epsilon, as scikit-learn
    does). Brier score: mean squared difference to the label (Brier 1950). Calibration error: over ten bins of equal
    width, the share of a bin times the difference of its share of fakes and its mean probability (Naeini et al. 2015).

    Parameters
    ----------
    rows : DataFrame of n rows
        ``label``, ``probability`` (of fake; NaN where there is no calibration).

    Returns
    -------
    dict
        Every metric of `PROBABILITY`: (B,) float64.
    """
    y, p = rows["label"].to_numpy(), rows["probability"].to_numpy(np.float64)
    if np.isnan(p).any():
        return dict.fromkeys(PROBABILITY, np.full(len(weights), np.nan))
    epsilon = np.finfo(np.float64).eps
    given = np.clip(np.where(y == 1, p, 1 - p), epsilon, 1 - epsilon)
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    gaps = np.where(bins[:, None] == np.arange(BINS), (y - p)[:, None], 0)
    columns = np.column_stack([np.ones(len(y)), -np.log(given), (y - p) ** 2, gaps])
    n, loss, squares, *gap = totals(columns, cells=cells, weights=weights).T
    return {
        "log_loss": ratio(loss, n),
        "brier": ratio(squares, n),
        "ece": ratio(np.abs(np.stack(gap)).sum(axis=0), n),
    }
