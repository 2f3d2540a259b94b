"""Trained on some attacks or data sets, tested on each: the figures, recomputed."""

import statistics
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from classify.comparisons import training_sets
from reports.comparisons import comparison_table, transfer_frame

KEYS = ["extractor", "classifier", "level"]
transfers = pytest.mark.parametrize("name", ["attacks", "datasets"])
every_make = pytest.mark.parametrize("make", ["make_comparison", "make_one"])


def cells(table):
    return [[cell.text for cell in row] for row in table.rows]


def notes(comparison):
    return " ".join(comparison_table(comparison).notes)


@transfers
def test_a_transfer_figure_is_the_mean_over_the_folds_that_hold_both_classes(name, make_comparison):
    comparison = make_comparison(name)
    frame = transfer_frame(comparison)
    trials = comparison.trials.dropna(subset="auc").groupby([*KEYS, "trained_on", "test"])
    assert len(frame) == len(trials)
    for line in frame.itertuples():
        mine = trials.get_group((line.extractor, line.classifier, line.level, line.trained_on, line.test))
        assert line.folds == len(mine)
        for metric in ("auc", "recall", "fpr"):
            assert getattr(line, metric) == pytest.approx(statistics.mean(mine[metric]))
            deviation = getattr(line, f"{metric}_deviation")
            assert np.isnan(deviation) if len(mine) == 1 else deviation == statistics.stdev(mine[metric])


@transfers
def test_what_was_not_in_training_has_a_star_and_nothing_is_bold(name, make_one):
    table = comparison_table(make_one(name))
    stars = 0
    for row in table.rows:
        verb, _, value = row[0].text.rpartition(" ")
        for test, cell in zip(table.header[1:], row[1:], strict=True):
            seen = {"": True, "all but": test != value, "only": test == value}[verb]
            assert cell.text.endswith(" *") == (not seen and cell.text != "-")
            assert not cell.bold
            stars += cell.text.count("*")
    assert stars == {"attacks": 3 + 6 - 1, "datasets": 2}[name]  # one of them a dash


@transfers
def test_a_note_explains_the_star(name, make_one):
    what = {"attacks": "attack", "datasets": "data set"}[name]
    assert f" *: the {what} was not in training. " in notes(make_one(name))


@transfers
def test_a_transfer_table_has_training_sets_down_and_test_sets_across(name, make_one):
    table = comparison_table(make_one(name))
    values = {"attacks": ["Deepfakes", "Face2Face", "FaceSwap"], "datasets": ["celebdf", "faceforensics"]}[
        name
    ]
    assert table.header == ("Trained on", *values)
    assert [row[0] for row in cells(table)] == list(training_sets(values))


def test_the_transfer_table_shows_its_frame(make_one, written):
    # mobilenetv2 with a random forest: one point of 64 less than the first model, four less in the second fold
    rows = {row[0]: row[1:] for row in cells(comparison_table(make_one("attacks")))}
    assert rows["all"] == [written([60 / 64, 56 / 64]), written([58 / 64, 54 / 64]), "87.50"]
    unseen = f"{written([48 / 64, 44 / 64])} *"
    assert rows["all but Deepfakes"] == [unseen, written([58 / 64, 54 / 64]), "87.50"]
    assert rows["only Face2Face"] == ["68.75 *", "84.38", "-"]  # trained in the second fold only


@every_make
@transfers
def test_the_lines_of_a_model_are_in_the_order_of_the_training_sets(name, make, request):
    """Though "only Face2Face" is trained in the second fold only, after "only FaceSwap" of the first."""
    table = comparison_table(request.getfixturevalue(make)(name))
    column = table.header.index("Trained on")
    models = {}
    for row in cells(table):
        models.setdefault(tuple(row[:column]), []).append(row[column])
    assert set(map(tuple, models.values())) == {tuple(training_sets(table.header[column + 1 :]))}


def test_a_test_set_that_no_fold_could_judge_keeps_its_column(make_one):
    comparison = make_one("attacks")
    comparison.trials.loc[comparison.trials["test"] == "Face2Face", "auc"] = np.nan
    table = comparison_table(comparison)
    assert table.header == ("Trained on", "Deepfakes", "Face2Face", "FaceSwap")
    assert {row[2] for row in cells(table)} == {"-"}


def fewer(comparison):
    return [note for note in comparison_table(comparison).notes if "fewer" in note]


def once_more(comparison):
    """Repeat every trial."""
    trials = [comparison.trials.assign(repeat=repeat) for repeat in (0, 1)]
    return replace(comparison, trials=pd.concat(trials, ignore_index=True))


def test_figures_of_fewer_folds_are_pointed_out(make_comparison):
    assert fewer(make_comparison("datasets")) == []
    comparison = make_comparison("attacks")
    judged = comparison.trials.query("level == 'image'").dropna(subset="auc")
    lacking = int((judged.groupby([*KEYS, "trained_on", "test"]).size() == 1).sum())
    why = "where training or test lacks a class: first trained on all, tested on FaceSwap"
    assert fewer(comparison) == [f"{lacking} figures over fewer folds, {why}, 1 of 2."]
    assert fewer(once_more(comparison)) == [f"{lacking} figures over fewer folds, {why}, 2 of 4."]


def test_one_figure_of_fewer_folds_is_one_figure(make_one):
    comparison = make_one("datasets")
    trials = comparison.trials
    which = (trials["trained_on"] == "only celebdf") & (trials["test"] == "faceforensics")
    trials.loc[which & (trials["fold"] == 1), "auc"] = np.nan
    assert fewer(comparison) == [
        "1 figure over fewer folds, where training or test lacks a class: first trained on only celebdf, tested on "
        "faceforensics, 1 of 2."
    ]


@transfers
def test_the_notes_of_transfer_count_repeats(name, make_comparison):
    comparison = make_comparison(name)
    assert "Mean ± standard deviation over folds; identities are" in notes(comparison)
    again = notes(once_more(comparison))
    assert "Mean ± standard deviation over folds and 2 repeats; identities are" in again


@transfers
def test_the_notes_of_transfer_say_what_is_tested(name, make_comparison):
    what = {"attacks": "one attack and the real clips", "datasets": "one data set"}[name]
    assert f"tested on the fakes of {what} (across)" in notes(make_comparison(name))
