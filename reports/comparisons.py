"""Tables of a finished comparison: who trained on what, tested on what."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.compare import COMPARISONS, Comparison
from classify.comparisons import STEPS, training_sets
from classify.metrics import mean_and_deviation
from classify.models import CLASSIFIERS
from classify.protocols import PROTOCOLS
from reports.formats import Cell, Table
from reports.notes import extractor_title, marks, protocol_title, sharing, unknown
from reports.summary import select
from reports.tables import percent

# Accuracy of the ReActNet paper after 50 epochs: on frames of its training clips, and on its test clips.
PUBLISHED = {"frame": 0.8140, "clip": 0.6145}
SOURCE = (
    "Deep Fake Detection Using Transfer Learning Model using ReActNet-MobileNet Architecture (Celeb-DF v2, 50 "
    "epochs): validation on frames of training clips, test on other clips"
)
KEYS = ["extractor", "weights", "classifier", "level"]


def comparison_table(comparison: Comparison) -> Table:
    """Return the table of any comparison."""
    return TABLES[comparison.name](comparison)


def leakage_frame(comparison: Comparison) -> pd.DataFrame:
    """Aggregate a leakage comparison over repeats, at image level.

    There is no video level: a fold of ``frame`` tests some faces of a clip only, whose mean is another thing.

    The AUC of a repeat is the share of pairs of a real and a fake scored by the same model that are in the right
    order: the folds' AUCs, weighted by their numbers of pairs. Its accuracy is over all faces.

    Returns
    -------
    DataFrame, one line per extractor, classifier, level and protocol
        ``leaky``; ``auc``, ``accuracy`` and their ``_deviation`` over repeats; ``auc_step``, ``accuracy_step`` and
        their ``_deviation``: less the protocol before it, in the same repeat; ``published_accuracy``; shares from 0
        to 1, steps as differences of shares. ``train_reals``, ``train_fakes``: faces in each training set of the first
        repeat.
    """
    trials = select(_with_weights(comparison), level="image")
    pairs = trials["reals"] * trials["fakes"]
    size = trials["reals"] + trials["fakes"]
    trials = trials.assign(
        size=size, pairs=pairs, right=pairs * trials["auc"].fillna(0), correct=size * trials["accuracy"]
    )
    by = [*KEYS, "protocol", "repeat"]
    sums = trials.groupby(by, sort=False)[["pairs", "right", "size", "correct"]].sum()
    shares = sums.assign(auc=sums["right"] / sums["pairs"], accuracy=sums["correct"] / sums["size"])
    scores = shares.pivot_table(
        index=[*KEYS, "repeat"], columns="protocol", values=["auc", "accuracy"], sort=False
    )
    lines = []
    for key, group in scores.groupby(KEYS, sort=False):
        for before, step in zip((None, *STEPS), STEPS, strict=False):
            line: dict[str, Any] = {**dict(zip(KEYS, key, strict=True)), "protocol": step}
            for metric in ("auc", "accuracy"):
                values = group[(metric, step)]
                line[metric], line[f"{metric}_deviation"] = mean_and_deviation(values)
                steps = values - group[(metric, before)] if before else np.array([np.nan])
                line[f"{metric}_step"], line[f"{metric}_step_deviation"] = mean_and_deviation(steps)
            line["leaky"] = PROTOCOLS[step].leaky
            lines.append(line | {"published_accuracy": PUBLISHED.get(step, np.nan)})
    sizes = trials.iloc[0][["train_reals", "train_fakes"]].to_dict()
    return pd.DataFrame(lines).assign(**sizes)


def leakage_table(comparison: Comparison) -> Table:
    """Protocols down, from the leakiest; how much of the score each step was."""
    frame = leakage_frame(comparison)
    rows = tuple(_leakage_row(comparison, line) for _, line in select(frame, level="image").iterrows())
    header = (
        "Extractor",
        "Classifier",
        "Protocol",
        "AUC",
        "Step",
        "Accuracy",
        "Step",
        "Published",
    )
    repeats = comparison.trials["repeat"].nunique()
    first = frame.iloc[0]
    notes = (
        *(f"{protocol_title(step)}: {PROTOCOLS[step].apart}." for step in STEPS),
        "Image level, %. Within a repeat every training set has the same number of real and of fake faces "
        f"({first['train_reals']:,.0f} and {first['train_fakes']:,.0f} in the first), and scores are compared on the "
        "faces of the clips that strict tests. Step: less the line above, so that the first step is what frames of "
        "the test clips in training were worth. "
        f"Mean ± standard deviation over {_times(repeats, 'repeat')} with other folds (of steps: within repeats). "
        "AUC over pairs scored by the same model; accuracy at the classifier's default threshold.",
        f"Published: accuracy, {SOURCE}. The paper's test clips show identities of its training clips.",
        *_common_notes(comparison),
    )
    return _table(comparison, header, rows, notes, frame)


def transfer_frame(comparison: Comparison) -> pd.DataFrame:
    """Aggregate a transfer comparison over folds.

    Returns
    -------
    DataFrame, one line per extractor, classifier, level, training set and test set
        ``auc``, ``recall``, ``fpr`` and their ``_deviation`` over folds; ``folds``, those whose test part holds
        both classes; ``seen``, whether training holds what is tested.
    """
    trials = _with_weights(comparison)
    sets = training_sets(sorted(trials["test"].unique()))
    parts = [part for _, part in trials.groupby(["extractor", "classifier"], sort=False)]
    ordered = [select(part, trained_on=name) for part in parts for name in sets]
    trials = pd.concat([part for part in ordered if len(part)], ignore_index=True)
    frame = _means(trials, [*KEYS, "trained_on", "test"], ("auc", "recall", "fpr"), "folds")
    seen = [test in sets[name] for name, test in zip(frame["trained_on"], frame["test"], strict=True)]
    return frame.assign(seen=seen)


def transfer_table(comparison: Comparison) -> Table:
    """Training sets down, test sets across; a star where the test set was not in training."""
    frame = transfer_frame(comparison)
    image = select(frame, level="image")
    tests = sorted(comparison.trials["test"].unique())
    rows = []
    for (extractor, classifier, name), part in image.groupby(
        ["extractor", "classifier", "trained_on"], sort=False
    ):
        cells = {line["test"]: line for _, line in part.iterrows()}
        figures = [
            Cell(f"{percent(cells[t]['auc'], cells[t]['auc_deviation'])}{'' if cells[t]['seen'] else ' *'}")
            if t in cells
            else Cell("-")
            for t in tests
        ]
        rows.append((*_model(comparison, str(extractor), str(classifier)), Cell(str(name)), *figures))
    what = "attack" if comparison.name == "attacks" else "data set"
    real = " and the real clips" if what == "attack" else ""
    notes = (
        f"AUC, %, image level: trained on (down), tested on the fakes of one {what}{real} (across). "
        f"*: the {what} was not in training. Mean ± standard deviation over {_over(comparison)}; identities are "
        "disjoint throughout.",
        *_fewer(comparison, frame),
        *_common_notes(comparison),
    )
    return _table(comparison, ("Extractor", "Classifier", "Trained on", *tests), tuple(rows), notes, frame)


def new_attack_frame(comparison: Comparison) -> pd.DataFrame:
    """Aggregate a comparison with a new attack over folds and draws.

    Returns
    -------
    DataFrame, one line per extractor, classifier, level, attack and number of its clips in training
        ``auc``, ``recall``, ``fpr``, ``seconds`` (one fit and its scoring) and their ``_deviation``; ``trials``,
        the number of folds times draws.
    """
    by = [*KEYS, "attack", "clips"]
    return _means(_with_weights(comparison), by, ("auc", "recall", "fpr", "seconds"), "trials")


def new_attack_table(comparison: Comparison) -> Table:
    """Attacks and the number of their clips in training down."""
    frame = new_attack_frame(comparison)
    rows = tuple(
        (
            *_model(comparison, line["extractor"], line["classifier"]),
            Cell(line["attack"]),
            Cell(f"{line['clips']:.0f}"),
            *(Cell(percent(line[m], line[f"{m}_deviation"])) for m in ("auc", "recall", "fpr")),
            Cell(f"{line['seconds']:.2f}"),
        )
        for _, line in select(frame, level="image").iterrows()
    )
    header = (
        *("Extractor", "Classifier", "New attack", "k"),
        *("AUC", "Recall", "FPR", "Training, s"),
    )
    notes = (
        "Image level, %: the new attack's test faces and the real ones, with k of the attack's clips in training, of "
        "identities that are not tested. Mean ± standard deviation over folds and draws of the clips. "
        "Recall and FPR (false-positive rate: real called fake) at the classifier's default threshold. Training: "
        "one fit and its scoring on cached features, one thread, as measured in this run.",
        *_few(frame, comparison.trials["draw"].nunique()),
        *_common_notes(comparison),
    )
    return _table(comparison, header, rows, notes, frame)


TABLES: dict[str, Callable[[Comparison], Table]] = {
    "leakage": leakage_table,
    "attacks": transfer_table,
    "datasets": transfer_table,
    "new-attack": new_attack_table,
}


def _leakage_row(comparison: Comparison, line: "pd.Series[Any]") -> tuple[Cell, ...]:
    step = line["protocol"]
    published = line["published_accuracy"]
    return (
        *_model(comparison, line["extractor"], line["classifier"]),
        Cell(protocol_title(step)),
        *(
            Cell(text)
            for metric in ("auc", "accuracy")
            for text in (
                percent(line[metric], line[f"{metric}_deviation"]),
                _signed(line[f"{metric}_step"], line[f"{metric}_step_deviation"]),
            )
        ),
        Cell("" if np.isnan(published) else f"{100 * published:.2f}"),
    )


def _signed(mean: float, deviation: float) -> str:
    mean = round(mean, 4) + 0.0  # no sign before a zero
    return "" if np.isnan(mean) else f"{'+' if mean > 0 else ''}{percent(mean, deviation)}"


def _means(trials: pd.DataFrame, by: list[str], metrics: Sequence[str], count: str) -> pd.DataFrame:
    """Aggregate trials whose test set holds both classes: mean, deviation and their number."""
    judged = trials[trials["auc"].notna()]
    lines = []
    for key, part in judged.groupby(by, sort=False):
        line: dict[str, Any] = dict(zip(by, key, strict=True))
        for metric in metrics:
            line[metric], line[f"{metric}_deviation"] = mean_and_deviation(part[metric])
        lines.append(line | {count: len(part)})
    return pd.DataFrame(lines)


def _with_weights(comparison: Comparison) -> pd.DataFrame:
    weights = {name: entry["weights"] for name, entry in comparison.extractors.items()}
    return comparison.trials.assign(weights=comparison.trials["extractor"].map(weights))


def _over(comparison: Comparison) -> str:
    repeats = comparison.trials["repeat"].nunique()
    return f"folds and {repeats} repeats" if repeats > 1 else "folds"


def _fewer(comparison: Comparison, frame: pd.DataFrame) -> list[str]:
    """Say which figures rest on fewer folds than others."""
    all_folds = len(comparison.trials[["repeat", "fold"]].drop_duplicates())
    few = select(frame, level="image")
    few = few[few["folds"] < all_folds]
    if few.empty:
        return []
    first = few.iloc[0]
    return [
        f"{_times(len(few), 'figure')} over fewer folds, where training or test lacks a class: first trained on "
        f"{first['trained_on']}, tested on {first['test']}, {first['folds']} of {all_folds}."
    ]


def _few(frame: pd.DataFrame, draws: int) -> list[str]:
    """Say which numbers of clips not every fold's training part could fill."""
    models = ["extractor", "classifier", "level", "attack"]
    folds = frame[frame["clips"] == 0].set_index(models)["trials"]
    every = frame.set_index(models).index.map(folds) * draws
    few = frame[(frame["trials"] < every) & (frame["clips"] > 0)]
    if few.empty:
        return []
    counts = ", ".join(f"{count:.0f}" for count in sorted(few["clips"].unique()))
    return [f"Not every fold has {counts} clips of the attack in its training part: fewer trials there."]


def _model(comparison: Comparison, extractor: str, classifier: str) -> tuple[Cell, Cell]:
    return Cell(extractor_title(comparison, extractor)), Cell(CLASSIFIERS[classifier].title)


def _fits(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one line a fit: trials have one for each test set and level."""
    names = ("extractor", "classifier", "protocol", "trained_on", "attack", "repeat", "fold", "clips", "draw")
    return trials[[name for name in names if name in trials]].drop_duplicates()


def _times(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _common_notes(comparison: Comparison) -> list[str]:
    """Say what holds for every comparison."""
    kind, suite = COMPARISONS[comparison.name], comparison.suite
    protocol = [] if kind.protocol else [f"Protocol {suite.protocol}: {PROTOCOLS[suite.protocol].apart}."]
    grid = any(len(values) > 1 for grid in suite.classifiers.values() for values in grid.values())
    chosen = ["Parameters were chosen inside each training part."] if grid else []
    failed = len(_fits(comparison.trials[~comparison.trials["converged"]]))
    counts = comparison.counts
    faces, clips = (counts[what] + counts[f"other_{what}"] for what in ("faces", "clips"))
    return [
        f"{faces:,} faces of {clips:,} clips, identities: {counts['identities']:,}.",
        *protocol,
        *(sharing(comparison) if not kind.protocol else []),
        *chosen,
        *([f"{_times(failed, 'fit')} did not converge."] if failed else []),
        *unknown(comparison),
        *marks(comparison),
    ]


def _table(
    comparison: Comparison,
    header: Sequence[str],
    rows: tuple[tuple[Cell, ...], ...],
    notes: Sequence[str],
    frame: pd.DataFrame,
) -> Table:
    suite = comparison.suite
    words = COMPARISONS[comparison.name].title
    title = f"{suite.title or suite.name}: {words[0].lower()}{words[1:]}"
    if len({row[:2] for row in rows}) == 1:  # one model: said once
        title = f"{title} ({rows[0][0].text}, {rows[0][1].text})"
        header, rows = header[2:], tuple(row[2:] for row in rows)
    return Table(comparison.name, title, tuple(header), rows, tuple(notes), frame)
