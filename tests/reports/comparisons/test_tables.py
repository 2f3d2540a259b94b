"""The tables of comparisons; after a wanted change run with UPDATE_GOLDEN=1 set, and read the diff."""

import re
from dataclasses import replace
from itertools import groupby

import numpy as np
import pandas as pd
import pytest

from benchmarks.compare import COMPARISONS
from classify.comparisons import STEPS
from classify.protocols import PROTOCOLS
from classify.trials import run_tasks
from reports.comparisons import TABLES, comparison_table
from reports.formats import latex, markdown
from reports.tables import PARTS, audit_table

WRITERS = {"md": markdown, "tex": latex, "csv": lambda table: table.frame.to_csv(index=False)}
MARK = "Marked (random): random, untrained weights (ReActNet-A); such figures say nothing about the trained network."
KEYS = ["extractor", "classifier", "level"]
SETTINGS = ("protocol", "trained_on", "attack", "repeat", "fold", "clips", "draw")  # what tells trials apart
every_comparison = pytest.mark.parametrize("name", list(COMPARISONS))
disjoint = pytest.mark.parametrize("name", [name for name in COMPARISONS if name != "leakage"])


def cells(table):
    return [[cell.text for cell in row] for row in table.rows]


def notes(comparison):
    return " ".join(comparison_table(comparison).notes)


# -- every comparison ----------------------------------------------------------------------------------------


@every_comparison
@pytest.mark.parametrize("suffix", list(WRITERS))
def test_a_table_is_the_golden_one(name, suffix, make_comparison, check_golden):
    table = comparison_table(make_comparison(name))
    assert table.name == name
    check_golden(f"{name}.{suffix}", WRITERS[suffix](table))


def test_every_comparison_has_a_table():
    assert set(TABLES) == set(COMPARISONS)


@pytest.fixture(scope="module")
def toy_rows():
    """Make two faces each of eight people's real clips and of their fakes of two kinds, in two data sets."""
    lines = [
        {
            "clip": f"{kind or 'real'}{person}",
            "identity": f"p{person}",
            "attack": kind,
            "label": int(kind != ""),
        }
        | {"source_identity": f"p{person ^ 1}" if kind else "", "dataset": f"set{person // 4}", "split": ""}
        for person in range(8)
        for kind in ("", "a", "b")
        for _ in range(2)
    ]
    return pd.DataFrame(lines)


@every_comparison
def test_the_trials_made_by_hand_have_the_columns_of_real_ones(name, toy_rows, make_comparison):
    plan = COMPARISONS[name].plan(toy_rows, n_splits=2, protocol="strict", seed=0, repeats=1)
    X = np.random.default_rng(0).normal(size=(len(toy_rows), 2)).astype(np.float32)
    fit = {"classifier": "logistic_regression", "grid": {"C": [1.0]}, "metric": "auc", "seed": 0}
    real = run_tasks(X, toy_rows, plan.tasks, **fit)
    ours = make_comparison(name).trials
    assert set(ours) == {*real, "extractor", "classifier"}
    assert {column: real[column].dtype.kind for column in real} == {c: ours[c].dtype.kind for c in real}


@every_comparison
@pytest.mark.parametrize("writer", [markdown, latex], ids=["md", "tex"])
def test_random_weights_are_marked_in_every_table(name, writer, make_comparison):
    text = writer(comparison_table(make_comparison(name)))
    assert "ReActNet-A (random)" in text
    assert MARK in text
    assert not re.search(r"ReActNet-A(?! \(random\))", text.replace(MARK, ""))  # never without the mark


@every_comparison
def test_random_weights_are_marked_in_every_csv(name, make_comparison):
    frame = comparison_table(make_comparison(name)).frame
    weights = frame.groupby("extractor")["weights"].unique().map(list).to_dict()
    assert weights == {"mobilenetv2": ["package"], "reactnet_a": ["random"]}


@every_comparison
def test_nothing_is_marked_where_nothing_is_random(name, make_comparison):
    extractors = {"a": ("A", "hub"), "b": ("B", "directory")}
    text = markdown(comparison_table(make_comparison(name, extractors=extractors)))
    assert "random" not in text.replace("Random forest", "")


@every_comparison
def test_every_row_has_every_column(name, make_comparison):
    table = comparison_table(make_comparison(name))
    assert {len(row) for row in table.rows} == {len(table.header)}
    lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {len(table.header) + 1}


@every_comparison
def test_the_csv_has_the_levels_of_every_model(name, make_comparison):
    frame = comparison_table(make_comparison(name)).frame
    assert len(frame.groupby(KEYS)) == 2 * 2 * (1 if name == "leakage" else 2)  # frame has no video level
    assert len(set(frame.groupby(KEYS).size())) == 1


@every_comparison
def test_a_title_says_suite_and_comparison(name, make_comparison):
    title = comparison_table(make_comparison(name)).title
    assert title == f"Made by hand: 100 % of A & B_1: {COMPARISONS[name].title.lower()}"


@every_comparison
def test_one_model_stands_in_the_title_and_not_in_every_line(name, make_comparison, make_one):
    one, both = comparison_table(make_one(name)), comparison_table(make_comparison(name))
    assert one.title.endswith(" (MobileNetV2, Random forest)")
    assert both.header == ("Extractor", "Classifier", *one.header)
    assert len(one.rows) * 4 == len(both.rows)


@every_comparison
def test_the_lines_of_a_model_stand_together(name, make_comparison):
    models = [tuple(row[:2]) for row in cells(comparison_table(make_comparison(name)))]
    assert len(list(groupby(models))) == len(set(models)) == 4


@every_comparison
def test_the_notes_say_how_many_faces_clips_and_identities_were_used(name, make_comparison):
    comparison = make_comparison(name)
    assert "36 faces of 24 clips, identities: 12." in comparison_table(comparison).notes
    comparison = replace(comparison, counts=comparison.counts | {"other_clips": 1234, "identities": 5678})
    assert "36 faces of 1,258 clips, identities: 5,678." in comparison_table(comparison).notes


@every_comparison
def test_the_notes_say_how_many_clips_name_nobody(name, make_comparison):
    comparison = make_comparison(name)
    assert "name no identity" not in notes(comparison)
    comparison = replace(comparison, counts=comparison.counts | {"unknown": 3})
    assert "3 of 24 clips name no identity" in notes(comparison)


@every_comparison
def test_the_notes_say_where_parameters_were_chosen_if_there_was_a_choice(name, make_comparison):
    comparison = make_comparison(name)
    assert "Parameters were chosen" not in notes(comparison)
    grids = {"logistic_regression": {"C": [0.1, 1.0]}, "random_forest": {}}
    comparison = replace(comparison, suite=comparison.suite.model_copy(update={"classifiers": grids}))
    assert "Parameters were chosen inside each training part." in notes(comparison)


@every_comparison
def test_fits_that_did_not_converge_are_counted_once(name, make_comparison):
    comparison = make_comparison(name)
    assert "converge" not in notes(comparison)
    trials = comparison.trials
    fit = [column for column in ("extractor", "classifier", *SETTINGS) if column in trials]
    # each fit is judged at two levels, and on several test sets
    fits = trials.groupby(fit).ngroup()
    trials["converged"] = ~fits.isin([0, 1, 2])
    assert "3 fits did not converge." in comparison_table(comparison).notes
    trials["converged"] = fits != 0
    assert "1 fit did not converge." in comparison_table(comparison).notes


@disjoint
def test_the_notes_say_what_the_protocol_keeps_apart_and_what_it_shares(name, make_comparison):
    comparison = make_comparison(name)
    assert "Protocol target: no person shown is on both sides; a face put in may be." in notes(comparison)
    assert "Also in training: 100 % of the test fakes' source identities; 12 % of" in notes(comparison)
    comparison.audit[["shared_identities", "sources_in_training", "near_duplicates"]] = 0
    assert "Also in training" not in notes(comparison)


@every_comparison
def test_the_audit_of_a_comparison_says_what_it_counts(name, make_comparison, make_run):
    assert PARTS.startswith("The folds of the first repeat, whole: ")
    assert PARTS in audit_table(make_comparison(name)).notes
    assert PARTS not in audit_table(make_run()).notes


# -- leaky protocols -----------------------------------------------------------------------------------------


def test_leaky_protocols_are_marked_wherever_the_leakage_table_names_them(make_one):
    table = comparison_table(make_one("leakage"))
    marked = ["frame (LEAKY)", "clip (LEAKY)", "target", "strict"]
    assert [row[0] for row in cells(table)] == marked
    assert [note.split(":")[0] for note in table.notes[:4]] == marked
    assert [note.split(": ", 1)[1] for note in table.notes[:4]] == [f"{PROTOCOLS[s].apart}." for s in STEPS]


def test_leaky_protocols_are_marked_in_the_audit_of_the_leakage_comparison(make_comparison):
    table = audit_table(make_comparison("leakage"))
    marked = ["frame (LEAKY)", "clip (LEAKY)", "target", "strict"]
    assert [row[0] for row in cells(table)[::2]] == [row[0] for row in cells(table)[1::2]] == marked
    assert list(table.notes[:4]) == [
        f"Protocol {title}: {PROTOCOLS[step].apart}." for title, step in zip(marked, STEPS, strict=True)
    ]


@disjoint
def test_nothing_is_marked_where_nothing_leaks(name, make_comparison):
    comparison = make_comparison(name)
    assert "LEAKY" not in markdown(comparison_table(comparison))
    assert "LEAKY" not in markdown(audit_table(comparison))
