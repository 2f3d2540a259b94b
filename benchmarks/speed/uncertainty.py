"""Time intervals for many models against a loop over scikit-learn, in one run on the same rows.

    OMP_NUM_THREADS=1 python -m benchmarks.speed.uncertainty

The rows look like Celeb-DF v2: 59 people with 590 genuine clips, 300 genuine clips of people of their own, 5,639
fakes between people of one group of 38, 10 or 10, and two or three faces a clip.
"""

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, roc_auc_score

from classify.metrics import Floats
from classify.resampling import ratio, resample, totals, weighted_auc
from classify.uncertainty import interval


def celebdf_like(rng: np.random.Generator, *, faces: int) -> pd.DataFrame:
    """One row a face, in five folds of clips."""
    groups = np.repeat([0, 1, 2], [38, 10, 10])
    target = rng.choice(58, 5639, p=np.where(groups == 0, 4188, 725) / (4188 * 38 + 725 * 20))
    source = np.array(
        [rng.choice(np.flatnonzero((groups == groups[t]) & (np.arange(58) != t))) for t in target]
    )
    clips = pd.DataFrame(
        {
            "identity": [f"id{p}" for p in np.repeat(np.arange(59), 10)]
            + [""] * 300
            + [f"id{p}" for p in target],
            "source_identity": [""] * 890 + [f"id{p}" for p in source],
            "label": np.repeat([0, 1], [890, 5639]),
            "fold": rng.integers(5, size=6529),
        }
    )
    clips["clip"] = [f"clip{number}" for number in range(len(clips))]
    return clips.iloc[np.sort(np.arange(faces) % len(clips))].reset_index(drop=True)


def with_product(rows: pd.DataFrame, scores: Floats, *, replicates: int) -> None:
    """Intervals of AUC, recall and precision of every model: what a results table needs."""
    drawn = resample(rows, seed=0, replicates=replicates)
    y, fold = rows["label"].to_numpy(), rows["fold"].to_numpy()
    for score in scores:
        for weights in (drawn.unit, drawn.weights):
            auc = weighted_auc(y, score, fold=fold, cells=drawn.cells, weights=weights)
            called = score >= 0
            columns = np.stack(
                [called & (y == 1), called & (y == 0), ~called & (y == 1), ~called & (y == 0)], 1
            )
            tp, fp, fn, _ = totals(columns, cells=drawn.cells, weights=weights).T
        for many in (auc, ratio(tp, tp + fn), ratio(tp, tp + fp)):
            interval(float(many.mean()), many, people=drawn.fewest)


def with_sklearn(rows: pd.DataFrame, scores: Floats, *, replicates: int) -> None:
    """The same by weights of rows, one replicate and one call at a time."""
    drawn = resample(rows, seed=0, replicates=replicates)
    y, fold = rows["label"].to_numpy(), rows["fold"].to_numpy()
    for score in scores:
        for weights in drawn.weights:
            weight = weights[drawn.cells].astype(float)
            for number in range(5):
                here = fold == number
                roc_auc_score(y[here], score[here], sample_weight=weight[here])
            confusion_matrix(y, score >= 0, sample_weight=weight)


def seconds(call: Callable[..., object], *arguments: object, replicates: int) -> float:
    start = time.perf_counter()
    call(*arguments, replicates=replicates)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--faces", type=int, default=16_000)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--naive", type=int, default=10, help="replicates timed with scikit-learn, one model")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = celebdf_like(rng, faces=options.faces)
    scores = rng.normal(size=(options.models, len(rows))) + rows["label"].to_numpy()
    draw = seconds(
        lambda rows, replicates: resample(rows, seed=0, replicates=replicates),
        rows,
        replicates=options.replicates,
    )
    ours = seconds(with_product, rows, scores, replicates=options.replicates)
    few = seconds(with_sklearn, rows, scores[:1], replicates=options.naive)
    naive = few / options.naive * options.replicates * options.models
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(rows):,} faces, {options.models} models, {options.replicates:,} replicates")
    print(f"drawing weights, once for all models     {draw:8.1f} s")
    print(f"all of it: weights, AUC, decision counts {ours:8.1f} s")
    print(
        f"scikit-learn, from {options.naive} replicates         {naive:8.1f} s, {naive / ours:.0f} times as long"
    )
    print(f"peak memory of the process               {memory:8.2f} GiB")


if __name__ == "__main__":
    main()
