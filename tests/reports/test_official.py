"""A data set's own test part: judged once, with what was chosen inside the training part."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from reports.plots import plot_roc, plot_thresholds, roc_frame, threshold_frame
from reports.report import show
from reports.tables import best_model, main_table, models_table, summary, thresholds_table

METRICS = ("auc", "recall", "f1", "accuracy", "precision")


@pytest.fixture
def run(make_run):
    """A run under protocol official: in its test part the order of the models is the other way round."""
    return make_run(protocol="official")


def figures(run, *, data="test", level="image", rule="default"):
    """Return the figures of data that is judged once: (extractor, classifier) -> metric -> percent."""
    found = {}
    for model, unit in run.units.items():
        metrics = unit.metrics
        line = metrics[(metrics["data"] == data) & (metrics["level"] == level) & (metrics["rule"] == rule)]
        assert len(line) == 1
        found[model] = {metric: f"{100 * line[metric].item():.2f}" for metric in METRICS}
    return found


def cells(table):
    return [[cell.text for cell in row] for row in table.rows]


def of_one_validation_part(run):
    """Leave one validation part, as a data set of its own has it: thresholds cannot be cross-fitted."""
    for model, unit in run.units.items():
        metrics = unit.metrics.query("data != 'validation' or (fold == 0 and rule == 'default')")
        run.units[model] = replace(unit, metrics=metrics)
    return run


# -- tables --------------------------------------------------------------------------------------------------


def test_the_main_table_is_that_of_the_test_part(make_run):
    run = make_run(protocol="official", published=None)
    test = figures(run)
    for classifier, row in zip(run.suite.classifiers, cells(main_table(run)), strict=True):
        assert row[1:] == [
            test[(e, classifier)][metric] for e in run.extractors for metric in ("auc", "recall")
        ]


def test_the_best_of_each_column_is_the_best_on_the_test_part(run):
    # there the forest is the first classifier, and the first extractor's two tie in AUC
    bold = {(i, j) for i, row in enumerate(main_table(run).rows) for j, cell in enumerate(row) if cell.bold}
    assert bold == {(0, 1), (1, 1), (1, 2), (0, 3), (1, 4)}


def test_every_model_stands_with_the_figures_of_the_test_part(run):
    levels = {level: figures(run, level=level) for level in ("image", "video")}
    rows = cells(models_table(run))
    assert [row[4:] for row in rows] == [
        list(levels[level][model].values()) for model in run.units for level in levels
    ]


def test_nothing_of_the_test_part_has_a_deviation(run):
    frame = summary(run)
    assert frame.loc[frame["data"] == "test", "deviation"].isna().all()
    assert frame.loc[frame["data"] == "validation", "deviation"].notna().all()
    for table in (main_table(run), models_table(run)):
        assert set(table.frame["data"]) == {"test"}
        assert not any("±" in text for row in cells(table) for text in row)


def test_the_best_model_is_chosen_by_validation_though_another_is_better_on_the_test_part(run):
    test = {model: float(line["f1"]) for model, line in figures(run).items()}
    assert best_model(run) == ("reactnet_a", "random_forest")
    assert max(test, key=test.get) == ("mobilenetv2", "logistic_regression")


def test_the_thresholds_are_chosen_by_validation_and_applied_once(run):
    table = thresholds_table(run)
    assert table.title.startswith("Thresholds for ReActNet-A (random) with Random forest")
    assert [row[:4] for row in cells(table)] == [
        ["validation", "default", "0.500", "0.500"],
        ["validation, cross-fitted", "max. F1", "0.375 to 0.500", "0.375"],
        ["test", "default", "0.500", "0.500"],
        ["test", "max. F1", "0.375", "0.375"],
        ["external", "default", "0.500", "0.500"],
        ["external", "max. F1", "0.375", "0.375"],
        ["published", "", "-1.250", ""],
    ]
    best = figures(run, rule="f1")[("reactnet_a", "random_forest")]
    assert cells(table)[3][4:] == [best[metric] for metric in ("accuracy", "precision", "recall", "f1")]


def test_one_validation_part_has_no_cross_fitted_line(run):
    table = thresholds_table(of_one_validation_part(run))
    assert [row[0] for row in cells(table)][:3] == ["validation", "test", "test"]
    assert "±" not in cells(table)[0][4]
    assert "cross-fitted" not in table.notes[0].lower()


# -- notes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [main_table, models_table])
def test_the_notes_say_that_the_test_part_was_judged_once(table, run):
    notes = " ".join(table(run).notes)
    assert "The data set's own test part, judged once" in notes
    assert "(protocol official: the data set's own split, whoever is on both sides)" in notes
    assert "4 faces of 2 clips (1 fake) tested, 6 other clips not, identities: 4." in notes
    assert "standard deviation" not in notes
    assert "optimistic" not in notes


def test_the_notes_say_what_was_chosen_where(make_run):
    run = make_run(protocol="official", metric="auc")
    where = "Parameters (by AUC) and thresholds (by their rules) were chosen inside the training part."
    for table in (main_table, models_table, thresholds_table):
        assert where in " ".join(table(run).notes)
    assert "The model is the best by validation AUC." in " ".join(thresholds_table(run).notes)


def test_the_notes_of_thresholds_explain_cross_fitting_and_what_is_deployed(run):
    note = thresholds_table(run).notes[0]
    assert note.startswith("Image level, %. Cross-fitted validation rows: each fold's threshold is chosen on")
    deploy = "chosen on all validation scores; this one is applied to the test part and to external data."
    assert note.endswith(f"To deploy: {deploy}")


def test_no_note_says_that_thresholds_were_chosen_by_the_selection_metric(make_run):
    run = make_run(protocol="official", metric="auc", thresholds=["f1"])
    for table in (main_table, models_table, thresholds_table):
        assert "thresholds were chosen by AUC" not in " ".join(table(run).notes)


# -- pictures and the terminal -------------------------------------------------------------------------------


def test_the_roc_curves_are_those_of_the_test_part(run):
    frame = roc_frame(run)
    for extractor, curve in frame.groupby("extractor"):
        scored = run.units[(extractor, "random_forest")].predictions.query("data == 'test'")
        area = np.trapezoid(curve["tpr"], curve["fpr"])
        assert area == pytest.approx(roc_auc_score(scored["label"], scored["score"]))
    assert plot_roc(frame, run).axes[0].get_title() == "Best classifier of each extractor, test faces"


def test_the_threshold_curves_are_those_of_the_validation_part(run):
    frame = threshold_frame(run)
    scored = run.units[("reactnet_a", "random_forest")].predictions.query("data == 'validation'")
    for cut in frame.itertuples():
        called = scored["score"] >= cut.threshold
        assert cut.recall == called[scored["label"] == 1].mean()
        assert cut.fpr == called[scored["label"] == 0].mean()
    title = plot_thresholds(frame, run).axes[0].get_title()
    assert title == "ReActNet-A (random) with Random forest, validation faces"


def test_the_terminal_shows_the_test_part_and_what_it_was_not_chosen_by(run):
    console = Console(record=True, width=120, file=io.StringIO())
    show(run, console)
    text = console.export_text()
    assert "AUC, % (the data set's test part)" in " ".join(text.split())
    assert "Best by validation F1: ReActNet-A (random) with Random forest." in text
    assert "±" not in text
    for line in figures(run).values():
        assert f"{float(line['recall']):.1f}" in text
