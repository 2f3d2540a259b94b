"""How often the intervals hold the truth: simulated data sets whose population values are known.

    python -m benchmarks.coverage --people 24 59 300 --sets 1000

A score is 2 for a fake, 0 for a real, plus normal effects: of the person in the role they play (in genuine
clips, as target, as source), of the clip, and of the face. Variances are 1/4 each, so the population AUC and
recall have closed forms.
"""

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import norm

from classify.metrics import Floats, Labels
from classify.resampling import KINDS, Resampling, Weights, ratio, resample, totals, weighted_auc
from classify.uncertainty import interval

GAP = 2.0  # between the means of fakes and reals
THRESHOLD = 1.0
METHODS = {  # name -> method, widened for few people
    "percentile": ("percentile", False),
    "bca": ("bca", False),
    "percentile+t": ("percentile", True),
    "bca+t": ("bca", True),
}


@dataclass(frozen=True)
class Design:
    """Genuine clips of every person, fakes of every target with sources drawn from the others.

    Attributes
    ----------
    people, reals, fakes, faces : int
        P; clips a person; fakes a target; faces a clip.
    source : float
        Variance of the effect of the source; those of target, genuine person, clip and face are 1/4.
    shared : float
        Correlation of the effects of one person's roles.
    """

    people: int = 59
    reals: int = 5
    fakes: int = 10
    faces: int = 2
    source: float = 0.25
    shared: float = 0.0

    @property
    def auc(self) -> float:
        """P(fake > real) = Phi(gap / sqrt(variance of a fake + variance of a real))."""
        return float(norm.cdf(GAP / np.sqrt(0.75 + self.source + 0.75)))

    @property
    def recall(self) -> float:
        return float(norm.cdf((GAP - THRESHOLD) / np.sqrt(0.75 + self.source)))

    def rows(self, rng: np.random.Generator) -> pd.DataFrame:
        """One data set: a row a face, with ``target`` and ``from`` as numbers, -1 for no source."""
        everyone = np.arange(self.people)
        others = [rng.choice(self.people - 1, self.fakes, replace=False) for _ in everyone]
        sources = np.concatenate([np.where(drawn < p, drawn, drawn + 1) for p, drawn in enumerate(others)])
        clips = pd.DataFrame(
            {
                "target": np.concatenate([np.repeat(everyone, self.reals), np.repeat(everyone, self.fakes)]),
                "from": np.concatenate([np.full(self.people * self.reals, -1), sources]),
            }
        )
        clips["label"] = (clips["from"] >= 0).astype(int)
        clips["clip"] = [f"c{number}" for number in range(len(clips))]
        clips["identity"] = [f"p{number}" for number in clips["target"]]
        clips["source_identity"] = ["" if number < 0 else f"p{number}" for number in clips["from"]]
        return clips.loc[np.repeat(np.arange(len(clips)), self.faces)].reset_index(drop=True)

    def scores(self, rows: pd.DataFrame, rng: np.random.Generator) -> Floats:
        """Draw the effects of one data set: (n,) float64."""
        common, own = rng.normal(size=(self.people, 1)), rng.normal(size=(self.people, 3))
        role = np.sqrt(self.shared) * common + np.sqrt(1 - self.shared) * own
        target, source = rows["target"].to_numpy(), rows["from"].to_numpy()
        fake = rows["label"].to_numpy() == 1
        person = 0.5 * np.where(fake, role[target, 1], role[target, 0])
        swapped = np.sqrt(self.source) * np.where(fake, role[source, 2], 0)
        clip = 0.5 * np.repeat(rng.normal(size=len(rows) // self.faces), self.faces)
        return np.asarray(GAP * fake + person + swapped + clip + 0.5 * rng.normal(size=len(rows)))


def values(y: Labels, score: Floats, *, cells: Labels, weights: Weights) -> dict[str, Floats]:
    """AUC and recall under weights: (B,) each."""
    counts = totals(np.stack([(y == 1) & (score >= THRESHOLD), y == 1], 1), cells=cells, weights=weights)
    auc = weighted_auc(y, score, fold=np.zeros_like(y), cells=cells, weights=weights)
    return {"auc": auc, "recall": ratio(counts[:, 0], counts[:, 1])}


def separate_draws(rows: pd.DataFrame, *, seed: int, replicates: int) -> Resampling:
    """Two-way weights as if targets and sources were two populations, each with draws of its own."""
    drawn = resample(rows, seed=seed, replicates=replicates)
    target, source = rows["target"].to_numpy(), rows["from"].to_numpy()
    people = int(target.max()) + 1
    members, cells = np.unique(np.stack([target, source], 1), axis=0, return_inverse=True)
    rng = np.random.default_rng(seed)
    as_target, as_source = rng.multinomial(people, np.full(people, 1 / people), size=(2, replicates))
    weights = as_target[:, members[:, 0]] * np.where(members[:, 1] < 0, 1, as_source[:, members[:, 1]])
    return replace(drawn, cells=cells.reshape(-1), weights=weights.astype(np.uint16), members=members)


def measure(
    design: Design, *, sets: int, replicates: int, seed: int, kinds: tuple[str, ...] = KINDS
) -> pd.DataFrame:
    """Simulate data sets, and look whether each interval holds the truth.

    Returns
    -------
    DataFrame
        A row a data set, kind, method and statistic: ``covered`` (0 or 1) and ``length``.
    """
    streams = np.random.SeedSequence(seed).spawn(sets)
    return pd.DataFrame(
        record
        for stream, kind in itertools.product(streams, kinds)
        for record in _one_set(design, np.random.default_rng(stream), kind=kind, replicates=replicates)
    )


def _one_set(
    design: Design, rng: np.random.Generator, *, kind: str, replicates: int
) -> Iterator[dict[str, object]]:
    rows = design.rows(rng)
    y, score = rows["label"].to_numpy(), design.scores(rows, rng)
    seed = int(rng.integers(2**31))
    separate = kind == "separate"
    drawn = (
        separate_draws(rows, seed=seed, replicates=replicates)
        if separate
        else resample(rows, seed=seed, replicates=replicates, kind=kind)
    )
    point, many = (values(y, score, cells=drawn.cells, weights=w) for w in (drawn.unit, drawn.weights))
    people = drawn.fewest
    skip = separate
    left = {} if skip else values(y, score, cells=drawn.cells, weights=drawn.jackknife)
    for statistic, (name, (method, widened)) in itertools.product(point, METHODS.items()):
        if method == "bca" and skip:
            continue
        low, high = interval(
            point[statistic][0],
            many[statistic],
            people=people if widened else None,
            method=method,
            jackknife=left.get(statistic),
        )
        covered = low <= getattr(design, statistic) <= high
        yield {
            "kind": kind,
            "method": name,
            "statistic": statistic,
            "covered": int(covered),
            "length": high - low,
        }


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Coverage in per cent and mean length, by statistic, kind and method."""
    table = measured.groupby(["statistic", "kind", "method"], sort=False)[["covered", "length"]].mean()
    table["covered"] *= 100
    columns = table.reset_index().pivot_table(
        index=["statistic", "kind"], columns="method", values=["covered", "length"], sort=False
    )
    return columns.round(4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[24, 59])
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--fakes", type=int, default=10, help="fakes a target")
    parser.add_argument("--source", type=float, default=0.25, help="variance of the source's effect")
    parser.add_argument("--shared", type=float, default=0.0, help="correlation of a person's roles")
    parser.add_argument("--kinds", nargs="+", default=[*KINDS], choices=[*KINDS, "separate"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for people in options.people:
        design = Design(people=people, fakes=options.fakes, source=options.source, shared=options.shared)
        print(f"\n{design}: AUC {design.auc:.4f}, recall {design.recall:.4f}")
        measured = measure(
            design,
            sets=options.sets,
            replicates=options.replicates,
            seed=options.seed,
            kinds=tuple(options.kinds),
        )
        print(summary(measured).to_string(), flush=True)


if __name__ == "__main__":
    main()
