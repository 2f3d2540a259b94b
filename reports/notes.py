"""What a table or a figure must be read with: titles, marks, and the notes below it."""

import pandas as pd

from benchmarks.judge import NESTED
from benchmarks.results import Finished, Run
from classify.metrics import METRICS
from classify.models import CLASSIFIERS
from classify.protocols import PROTOCOLS
from extract.compute import HALVES

FEW = 30  # people below which an interval is called uncertain itself


def reported(run: Finished) -> str:
    """Return the data that the main figures are about: nested where that was asked for, else as `flat`."""
    return NESTED if run.suite.nests else flat(run)


def flat(run: Finished) -> str:
    """Return the data that the models of the search are judged on: the data set's own test part, or out-of-fold."""
    return "test" if given(run) else "out-of-fold"


def chosen_on(run: Finished) -> str:
    """Return the data that parameters, thresholds and the best model are chosen on."""
    return "validation" if given(run) else "out-of-fold"


def told(run: Finished, frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out of a table's lines, one a ``data``, the flat ones where there are nested ones: see table optimism."""
    return frame[frame["data"] != chosen_on(run)].reset_index(drop=True) if run.suite.nests else frame


def leaky(run: Finished) -> str:
    """Return what a title ends with where its protocol leaks, else nothing."""
    return f" (LEAKY protocol: {run.suite.protocol})" if PROTOCOLS[run.suite.protocol].leaky else ""


def nested_title(run: Finished) -> str:
    """Return what a title says before the level where its figures are nested, else nothing."""
    return "nested, " if run.suite.nests else ""


def protocol_title(name: str) -> str:
    """Return a protocol's name, marked where it leaks."""
    return f"{name}{' (LEAKY)' if PROTOCOLS[name].leaky else ''}"


def weights_word(run: Finished, extractor: str) -> str:
    """Say in a word what an extractor ran on: random, plugin or pretrained."""
    kind = run.extractors[extractor]["weights"]
    return kind if kind in ("random", "plugin") else "pretrained"


def extractor_title(run: Finished, extractor: str) -> str:
    """Return an extractor's title, marked where its weights are random."""
    entry = run.extractors[extractor]
    return f"{entry['title']}{' (random)' if entry['weights'] == 'random' else ''}"


def given(run: Finished) -> bool:
    """Say whether the data set's own test part was judged, once."""
    return run.suite.protocol == "official"


def run_notes(
    run: Run, *, level: str = "", people: int = 0, calls: bool = True, published: bool = False
) -> tuple[str, ...]:
    """Say what the main tables must be read with.

    Parameters
    ----------
    level : str
        Of the figures; empty where a table has both.
    people : int
        The fewest people that their intervals rest on; 0 where a table shows none.
    calls : bool
        Whether figures at the default threshold are among them.
    published : bool
        Whether a paper's figures stand beside them.
    """
    suite, counts, kind = run.suite, run.counts, PROTOCOLS[run.suite.protocol]
    unconverged = _unconverged(run)
    return (
        f"{_over(run)} (protocol {suite.protocol}{', LEAKY' if kind.leaky else ''}: {kind.apart}); "
        f"{counts['faces']:,} faces of {counts['clips']:,} clips ({counts['fake_clips']:,} fake) tested, "
        f"{f'{others:,} other clips not, ' if (others := counts['other_clips']) else ''}"
        f"identities: {counts['identities']:,}. {_levels(run, level, calls)}",
        *([intervals(run, people=people)] if people else []),
        *sharing(run),
        *unknown(run),
        selection(run, reported(run)),
        *([f"Not converged: {unconverged}."] if unconverged else []),
        *marks(run),
        *rounded(run),
        *(
            [f"[In brackets] as published: {suite.published.source}."]
            if published and suite.published
            else []
        ),
    )


def intervals(run: Finished, *, people: int) -> str:
    """Say what the intervals are, and how far to trust them."""
    few = f" Few people: such intervals are themselves uncertain (fewer than {FEW})." if people < FEW else ""
    return (
        f"(In parentheses) 95 % intervals: bootstrap over people, targets and sources crossed, "
        f"{run.suite.replicates:,} replicates; each role rests on at least {people} people.{few} A figure without one "
        "rests on too few people, or has nothing that varies: without a single error up to three divided by the number "
        "of people remains possible."
    )


def _levels(run: Run, level: str, calls: bool) -> str:
    what = {"image": "one line a face", "video": f"one line a clip, the {combined(run)} of its faces' scores"}
    said = " ".join(f"{name.capitalize()} level: {what[name]}." for name in ([level] if level else what))
    if not calls:
        return said
    pooled = (
        ""
        if given(run)
        else " Counts are pooled over folds, AUC and average precision are taken within them."
    )
    return f"{said} What depends on a threshold is at each classifier's default one.{pooled}"


def combined(run: Finished) -> str:
    """Say how a clip's score is made of its faces'."""
    how = run.suite.aggregate
    return (
        f"mean of the {how.removeprefix('top')} highest"
        if how.startswith("top")
        else how.replace("max", "maximum")
    )


def _over(run: Finished) -> str:
    if not given(run):
        return f"{'Nested out' if run.suite.nests else 'Out'}-of-fold scores of {run.suite.folds} folds"
    return "The data set's own test part, judged once with the mean of the models that chose parameters and thresholds"


def sharing(run: Finished) -> list[str]:
    """Say what the audit found on both sides, over all folds."""
    audit = run.audit.select_dtypes("number").sum()
    words = [
        (audit["shared_clips"], audit["test_real_clips"] + audit["test_fake_clips"], "of the test clips"),
        (audit["shared_identities"], audit["test_identities"], "of the test identities"),
        (audit["sources_in_training"], audit["sources"], "of the test fakes' source identities"),
        (audit["near_duplicates"], audit["test_faces"], "of the test faces, by a near-duplicate"),
    ]
    found = [
        f"{'less than 1' if 100 * count < whole else f'{100 * count / whole:.0f}'} % {what}"
        for count, whole, what in words
        if count
    ]
    return [f"Also in training: {'; '.join(found)} (table audit)."] if found else []


def selection(run: Finished, data: str) -> str:
    """Say on what, and how, the parameters of figures of some data were chosen, and whether that flatters them."""
    halved = run.suite.search == "halving"
    how = " By halving: most configurations were tried with few trees or faces only." if halved else ""
    return f"{_chosen(run, data)}{how}"


def _chosen(run: Finished, data: str) -> str:
    metric = METRICS[run.suite.metric].title
    if given(run):
        return (
            f"Parameters (by {metric}) and thresholds (by their rules) were chosen inside the training part."
            f"{' Nothing is left to nest: the split is given.' if run.suite.nested else ''}"
        )
    if data == NESTED:
        return (
            f"Nested: parameters (by {metric} of faces) and thresholds (by their rules) were chosen inside each fold's "
            "training part, on folds within it. What the search over all folds shows of itself is in table optimism."
        )
    return (
        f"Parameters were selected by {metric} of faces on the same folds, so these figures lean to the optimistic "
        "side."
    )


def unknown(run: Finished) -> list[str]:
    """Say how many clips may leak, because nobody said whom they show."""
    count, clips = run.counts["unknown"], run.counts["clips"] + run.counts["other_clips"]
    if not count:
        return []
    return [
        f"{count:,} of {clips:,} clips name no identity and count for themselves: people who appear "
        "twice can be on both sides of a split."
    ]


def marks(run: Finished) -> list[str]:
    """Say which extractors ran on random weights."""
    names = [entry["title"] for entry in run.extractors.values() if entry["weights"] == "random"]
    if not names:
        return []
    return [
        f"Marked (random): random, untrained weights ({', '.join(names)}); such figures say nothing about the "
        "trained network."
    ]


def rounded(run: Finished) -> list[str]:
    """Say which extractors computed in half precision."""
    names = [entry["title"] for entry in run.extractors.values() if entry.get("precision") in HALVES]
    if not names:
        return []
    return [
        f"Features computed in half precision: {', '.join(names)}; --precision fp32 computes them in float32."
    ]


def _unconverged(run: Run) -> str:
    titles = []
    for (extractor, classifier), unit in run.units.items():
        title = f"{extractor_title(run, extractor)} with {CLASSIFIERS[classifier].title}"
        if not unit.converged:
            titles.append(title)
        elif not all(inside["converged"] for inside in unit.nested or ()):
            titles.append(f"{title} (inside folds)")
    return ", ".join(titles)
