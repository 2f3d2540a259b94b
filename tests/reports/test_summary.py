"""What follows from the figures of a run: the headline, the best model, and what equals it."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from classify.metrics import baselines
from classify.uncertainty import corrected_t, holm, paired_difference
from reports.report import show
from reports.summary import (
    beaten,
    best_model,
    differences,
    headline,
    headline_figures,
    summary,
    trivial,
)
from reports.tables import main_table

BEST = ("reactnet_a", "random_forest")

# -- the headline --------------------------------------------------------------------------------------------


def test_the_headline_is_the_suites_level(make_run):
    assert headline(make_run(level="image")) == "image"
    assert headline(make_run(level="video")) == "video"


def test_without_one_it_is_video_or_image_where_every_clip_is_one_face(make_run):
    run = make_run()
    assert headline(run) == "video"
    assert headline(replace(run, faces=run.faces.drop_duplicates("clip"))) == "image"


@pytest.mark.parametrize("level", ["image", "video"])
@pytest.mark.parametrize(("protocol", "data"), [("target", "out-of-fold"), ("official", "test")])
def test_headline_figures_are_the_reported_ones_at_the_default_threshold(level, protocol, data, make_run):
    frame = headline_figures(make_run(protocol=protocol, level=level), "auc")
    assert len(frame) == 4
    assert set(zip(frame["data"], frame["level"], frame["rule"], strict=True)) == {(data, level, "default")}


# -- the best model ------------------------------------------------------------------------------------------


def test_the_best_model_is_never_chosen_on_the_test_part(make_run):
    run = make_run(protocol="official")
    assert best_model(run) == BEST
    for model, unit in run.units.items():  # as if the worst were best there
        there = unit.estimates["data"] == "test"
        unit.estimates.loc[there, "estimate"] = float(model != BEST)
    again = replace(run)  # nothing is remembered of it
    assert summary(again).query("data == 'test'")["estimate"].min() == 0
    assert best_model(again) == BEST


def test_the_best_model_is_chosen_at_the_headline_level(make_run):
    run = make_run()
    other = run.units[("mobilenetv2", "random_forest")].estimates
    other.loc[(other["metric"] == "f1") & (other["level"] == "image"), "estimate"] = 1.0
    assert best_model(run) == BEST
    at_image = replace(run, suite=run.suite.model_copy(update={"level": "image"}))
    assert best_model(at_image) == ("mobilenetv2", "random_forest")


# -- differences ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["auc", "recall", "f1"])
def test_differences_are_paired_replicate_by_replicate(metric, make_run):
    run = make_run()
    table = differences(run, metric)
    column = f"out-of-fold video {metric}"
    value = headline_figures(run, metric).set_index(["extractor", "classifier"])
    best = tuple(table.loc[table["best"], ["extractor", "classifier"]].iloc[0])
    for line in table[~table["best"]].itertuples():
        model = (line.extractor, line.classifier)
        pair = [(value.loc[m, "estimate"], run.units[m].replicates[column].to_numpy()) for m in (best, model)]
        found = paired_difference(*pair, people=12)
        assert (line.difference, line.low, line.high, line.p) == (found.value, found.low, found.high, found.p)


@pytest.mark.parametrize("metric", ["auc", "recall", "f1"])
def test_p_values_are_corrected_over_the_table(metric, make_run):
    table = differences(make_run(), metric)
    others = table[~table["best"]]
    assert len(others) == 3
    np.testing.assert_array_equal(others["p_holm"], holm(others["p"].to_numpy()))
    assert (others["p_holm"] >= others["p"]).all()


def test_the_second_opinion_is_over_folds(make_run):
    run = make_run()
    table = differences(run, "f1").set_index(["extractor", "classifier"])
    folds = {
        m: u.metrics.query("data == 'out-of-fold' and level == 'video' and rule == 'default'")
        for m, u in run.units.items()
    }
    for model, line in table[~table["best"]].iterrows():
        expected = corrected_t(folds[BEST]["f1"].to_numpy() - folds[model]["f1"].to_numpy())
        assert line["p_folds"] == pytest.approx(expected)


def test_the_best_one_has_no_difference_and_no_p_value(make_run):
    table = differences(make_run(), "f1")
    best = table[table["best"]]
    assert best[["extractor", "classifier"]].to_numpy().tolist() == [list(BEST)]
    assert best[["difference", "low", "high"]].to_numpy().tolist() == [[0, 0, 0]]
    assert best[["p", "p_holm", "p_folds"]].isna().all(axis=None)
    assert bool(best["equal"].iloc[0])


def test_what_equals_the_best_is_what_cannot_be_told_from_it(make_run):
    run = make_run()
    for metric in ("auc", "recall", "f1"):
        table = differences(run, metric)
        told = table["p_holm"] < 0.05
        assert (table["equal"] == ~told).all()
    told = differences(run, "recall").query("not equal")
    assert told[["extractor", "classifier"]].to_numpy().tolist() == [["mobilenetv2", "random_forest"]]


def test_a_tie_is_equal_and_the_first_is_best(make_run):
    table = differences(make_run(), "auc").set_index(["extractor", "classifier"])
    assert table.loc[("reactnet_a", "logistic_regression"), "best"]
    tie = table.loc[BEST]
    assert (tie["difference"], tie["p"], tie["p_folds"], tie["equal"]) == (0, 1, 1, True)


def test_what_nobody_can_compare_is_not_called_worse(make_run):
    table = differences(make_run(protocol="official"), "recall")  # three people
    assert table["p_holm"].isna().any()
    assert table.loc[table["p_holm"].isna(), "equal"].all()


# -- trivial baselines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "fakes", "rows"),
    [
        ({}, 12, 24),
        ({"level": "image"}, 18, 36),
        ({"protocol": "official"}, 3, 6),
        ({"protocol": "official", "level": "image"}, 6, 12),
    ],
)
def test_baselines_are_those_of_the_rows_that_are_reported(settings, fakes, rows, make_run):
    run = make_run(**settings)
    table = trivial(run)
    expected = baselines(np.repeat([0, 1], [rows - fakes, fakes]))
    for line in table.itertuples():
        assert line.estimate == expected[line.baseline][line.metric]
    assert list(table["baseline"].unique()) == list(expected)


def test_a_best_model_that_does_not_beat_a_trivial_one_is_warned_of(make_run):
    run = make_run()
    assert beaten(run) == ""
    assert not any("WARNING" in note for note in main_table(run).notes)
    run = make_run(metric="recall")  # calling everything fake has all of it
    against = 'Recall 100.00 against 100.00 of "call everything fake".'
    warning = f"WARNING: the best model does not beat a trivial one: {against}"
    assert beaten(run) == warning
    assert warning in main_table(run).notes


def test_the_warning_reaches_the_terminal(make_run):
    console = Console(record=True, width=300)
    with console.capture() as captured:
        show(make_run(metric="recall"), console)
    assert "WARNING: the best model does not beat a trivial one" in captured.get()
