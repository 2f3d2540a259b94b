"""What tables must be read with: notes, and the marks of random weights and of leaky protocols."""

import re
from dataclasses import replace

import numpy as np
import pytest

from classify.protocols import PROTOCOLS
from reports.errors import attacks_table, groups_table
from reports.formats import latex, markdown
from reports.notes import extractor_title, intervals, weights_word
from reports.plots import roc_frame, threshold_frame
from reports.robustness import robustness_frame, robustness_table
from reports.tables import (
    audit_table,
    differences_table,
    main_table,
    models_table,
    operating_table,
    thresholds_table,
)

TABLES = {
    **{"main": main_table, "models": models_table, "operating": operating_table},
    **{"differences": differences_table, "thresholds": thresholds_table},
    **{"attacks": attacks_table, "groups": groups_table, "robustness": robustness_table},
}
PERTURBED = {"perturb": ["noise-20"]}
every_table = pytest.mark.parametrize("name", list(TABLES))

# -- notes ---------------------------------------------------------------------------------------------------


def test_the_notes_say_what_the_figures_are(make_run):
    notes = " ".join(main_table(make_run(level="image")).notes)
    assert (
        "Out-of-fold scores of 4 folds (protocol target: no person shown is on both sides; a face put in may be)"
        in notes
    )
    assert "36 faces of 24 clips (12 fake) tested, identities: 12." in notes
    assert "Parameters were selected by F1 of faces on the same folds" in notes
    assert "Image level: one line a face." in notes
    assert "(In parentheses) 95 % intervals: bootstrap over people" in notes
    assert "200 replicates; each role rests on at least 12 people. Few people: " in notes
    assert "[In brackets] as published: Somebody & Co. 2025, table_1." in notes


@pytest.mark.parametrize(
    "settings", [{}, {"nested": True}, {"protocol": "official"}], ids=["flat", "nested", "given"]
)
def test_a_search_by_halving_is_said(make_run, settings):
    words = " By halving: most configurations were tried with few trees or faces only."
    for table in (main_table, models_table, thresholds_table):
        assert words in " ".join(table(make_run(search="halving", **settings)).notes)
        assert words not in " ".join(table(make_run(**settings)).notes)


def test_fits_that_did_not_converge_are_named(make_run):
    run = make_run()
    assert "Not converged: MobileNetV2 with Logistic regression." in main_table(run).notes
    assert "Not converged: MobileNetV2 with Logistic regression." in models_table(run).notes


def test_no_note_is_about_convergence_where_all_converged(make_run):
    run = make_run(extractors={"mobilenetv2": ("MobileNetV2", "hub")}, classifiers=("random_forest",))
    run.units.update({key: _converged(unit) for key, unit in run.units.items()})
    assert not any("converged" in note for note in main_table(run).notes)


def _converged(unit):
    return replace(unit, converged=True)


@pytest.mark.parametrize(
    ("aggregate", "words"),
    [("mean", "the mean of"), ("max", "the maximum of"), ("top3", "the mean of the 3 highest of")],
)
def test_the_notes_say_how_a_clips_score_is_made(aggregate, words, make_run):
    notes = " ".join(main_table(make_run(aggregate=aggregate)).notes)
    assert f"Video level: one line a clip, {words} its faces' scores." in notes


def test_intervals_that_rest_on_many_people_are_not_called_uncertain(make_run):
    assert "Few people" in intervals(make_run(), people=29)
    assert "Few people" not in intervals(make_run(), people=30)


# -- sharing -------------------------------------------------------------------------------------------------

SOURCES = "67 % of the test fakes' source identities"  # six of nine
NEAR = "17 % of the test faces, by a near-duplicate"  # six of 36


def sharing_of(run):
    return [note for note in main_table(run).notes if note.startswith("Also in training")]


def test_the_notes_say_what_is_on_both_sides_over_all_folds(make_run):
    assert sharing_of(make_run()) == [f"Also in training: {SOURCES}; {NEAR} (table audit)."]


def test_shared_identities_come_first(make_run):
    run = make_run()
    run.audit["shared_identities"] = [3, 0, 0, 0]
    expected = f"Also in training: 25 % of the test identities; {SOURCES}; {NEAR} (table audit)."
    assert sharing_of(run) == [expected]


def test_shared_clips_come_before_them(make_run):
    run = make_run()
    run.audit["shared_clips"] = [6, 0, 0, 0]  # of 24
    run.audit["shared_identities"] = 3
    expected = f"25 % of the test clips; 100 % of the test identities; {SOURCES}; {NEAR}"
    assert sharing_of(run) == [f"Also in training: {expected} (table audit)."]


def test_nothing_is_said_of_sharing_where_the_audit_found_none(make_run):
    run = make_run()
    run.audit[["shared_identities", "sources_in_training", "near_duplicates"]] = 0
    assert sharing_of(run) == []


def test_near_duplicates_that_nobody_looked_for_are_not_mentioned(make_run):
    run = make_run()
    run.audit["near_duplicates"] = np.nan
    assert sharing_of(run) == [f"Also in training: {SOURCES} (table audit)."]


@pytest.mark.parametrize(
    ("faces", "share"), [(12000, "less than 1"), (601, "less than 1"), (600, "1"), (300, "2")]
)
def test_a_little_sharing_is_not_called_0_percent(faces, share, make_run):
    run = make_run()
    run.audit["test_faces"] = [faces, 0, 0, 0]  # six of them have a near-duplicate
    near = f"{share} % of the test faces, by a near-duplicate"
    assert sharing_of(run) == [f"Also in training: {SOURCES}; {near} (table audit)."]


def test_clips_of_nobody_known_are_counted_among_all(make_run):
    run = make_run()
    run = replace(run, counts=run.counts | {"unknown": 3, "other_clips": 2})
    for table in (main_table, models_table, thresholds_table, audit_table):
        assert any(note.startswith("3 of 26 clips name no identity") for note in table(run).notes)


def test_clips_that_are_not_tested_are_counted_apart(make_run):
    run = make_run()
    run = replace(run, counts=run.counts | {"other_clips": 2})
    assert "36 faces of 24 clips (12 fake) tested, 2 other clips not, " in " ".join(main_table(run).notes)


# -- leaky protocols -----------------------------------------------------------------------------------------

LEAKY = [name for name in PROTOCOLS if PROTOCOLS[name].leaky]
every_protocol = pytest.mark.parametrize("protocol", list(PROTOCOLS))


def test_the_leaky_protocols_are_those_of_the_seeds():
    assert LEAKY == ["clip", "frame"]


@every_protocol
def test_the_titles_of_leaky_protocols_and_no_others_are_marked(protocol, make_run):
    for table in (*TABLES.values(), audit_table):
        title = table(make_run(protocol=protocol, **PERTURBED)).title
        assert ("LEAKY" in title) == (protocol in LEAKY)
        assert title.endswith(f" (LEAKY protocol: {protocol})") == (protocol in LEAKY)


@every_protocol
@pytest.mark.parametrize("table", [main_table, models_table])
def test_the_notes_of_leaky_protocols_and_no_others_are_marked(table, protocol, make_run):
    notes = " ".join(table(make_run(protocol=protocol)).notes)
    mark = ", LEAKY" if protocol in LEAKY else ""
    assert f"(protocol {protocol}{mark}: {PROTOCOLS[protocol].apart})" in notes
    assert ("LEAKY" in notes) == (protocol in LEAKY)


@every_protocol
def test_the_lines_and_notes_of_the_audit_are_marked(protocol, make_run):
    table = audit_table(make_run(protocol=protocol))
    assert {row[0].text for row in table.rows} == {marked(protocol)}
    assert table.notes[0] == f"Protocol {marked(protocol)}: {PROTOCOLS[protocol].apart}."


def marked(protocol):
    return f"{protocol} (LEAKY)" if protocol in LEAKY else protocol


FRAMES = {
    **{name: lambda run, table=table: table(run).frame for name, table in TABLES.items()},
    **{"roc figure": roc_frame, "thresholds figure": threshold_frame, "robustness figure": robustness_frame},
}


@every_protocol
@pytest.mark.parametrize("name", list(FRAMES))
def test_the_first_column_of_every_csv_is_the_protocol_marked_where_it_leaks(name, protocol, make_run):
    frame = FRAMES[name](make_run(protocol=protocol, **PERTURBED))
    assert frame.columns[0] == "protocol"
    assert set(frame["protocol"]) == {marked(protocol)}


# -- random weights ------------------------------------------------------------------------------------------

MARK = "Marked (random): random, untrained weights (ReActNet-A); such figures say nothing about the trained network."


@every_table
@pytest.mark.parametrize("writer", [markdown, latex], ids=["md", "tex"])
def test_random_weights_are_marked_in_every_table(name, writer, make_run):
    text = writer(TABLES[name](make_run(**PERTURBED)))
    assert "ReActNet-A (random)" in text
    assert MARK in text
    assert not re.search(r"ReActNet-A(?! \(random\))", text.replace(MARK, ""))  # never without the mark


@every_table
def test_random_weights_are_marked_in_every_csv(name, make_run):
    frame = TABLES[name](make_run(**PERTURBED)).frame
    assert frame.groupby("extractor")["weights"].unique().map(list).to_dict() == {
        "mobilenetv2": ["package"],
        "reactnet_a": ["random"],
    }


@every_table
def test_nothing_is_marked_where_nothing_is_random(name, make_run):
    run = make_run(extractors={"a": ("A", "hub"), "b": ("B", "directory")}, **PERTURBED)
    assert "random" not in markdown(TABLES[name](run)).replace("Random forest", "")


@pytest.mark.parametrize(
    ("weights", "word", "title"),
    [
        ("random", "random", "Net (random)"),
        ("plugin", "plugin", "Net"),
        *((kind, "pretrained", "Net") for kind in ("directory", "package", "hub")),
    ],
)
def test_an_extractor_is_called_by_what_it_ran_on(weights, word, title, make_run):
    run = make_run(extractors={"net": ("Net", weights)})
    assert weights_word(run, "net") == word
    assert extractor_title(run, "net") == title
