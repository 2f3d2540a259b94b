"""Clips that gave no usable face: counted, not forgotten."""

import pandas as pd

from benchmarks.data import EXTERNAL, OWN
from benchmarks.results import Run
from reports.notes import given

ALL = "(all)"  # stands for every attack together


def non_responses(run: Run) -> pd.DataFrame:
    """Count clips without a usable face, as ISO/IEC 30107-3 counts non-responses.

    APNRR is the share of attack clips, BPNRR that of genuine (bona fide) ones, from which no face was taken, so that
    the detector has no answer. Over all clips given, those that no fold tests included; of a data set with a test part
    of its own over that part.

    Returns
    -------
    DataFrame, one line per data, label and attack
        ``data`` (``own``, ``external`` or a perturbation), ``label``, ``attack`` (`ALL`: all of them, and for genuine
        ones), ``clips``, ``without``, ``rate``.
    """
    files = run.files
    if given(run):
        files = files[(files["data"] == EXTERNAL) | (files["split"] == "test")]
    clips = files.groupby(["data", "clip"], sort=False).agg(
        {"label": "first", "attack": "first", "faces": "sum"}
    )
    clips["without"] = clips["faces"] == 0
    every = clips.assign(attack=ALL)
    counted = (
        pd.concat([every, clips[clips["label"] == 1]])
        .groupby(["data", "label", "attack"])["without"]
        .agg(["size", "sum"])
    )
    table = counted.reset_index().rename(columns={"size": "clips", "sum": "without"})
    return table.assign(rate=table["without"] / table["clips"])


def rate_of(table: pd.DataFrame, data: str, *, label: int, attack: str = ALL) -> float:
    """Return a rate of `non_responses`; NaN where there is no such clip."""
    source = data if data == EXTERNAL or data in set(table["data"]) else OWN
    line = table[(table["data"] == source) & (table["label"] == label) & (table["attack"] == attack)]
    return float(line["rate"].iloc[0]) if len(line) else float("nan")
