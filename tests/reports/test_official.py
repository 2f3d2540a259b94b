"""A data set's own test part: judged once, with what was chosen inside the training part."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from classify.metrics import METRICS, SELECTION
from classify.models import CLASSIFIERS
from reports.notes import extractor_title
from reports.plots import plot_roc, plot_thresholds, roc_frame, scored_rows, threshold_frame
from reports.report import show
from reports.summary import best_model, differences, summary
from reports.tables import main_table, models_table, show_estimate, thresholds_table


@pytest.fixture
def run(make_run):
    """A run under protocol official: in its test part the order of the models is the other way round."""
    return make_run(protocol="official")


def figures(run, *, data="test", level="video", rule="default"):
    """Return the figures of data that is judged once: (extractor, classifier) -> metric -> line of the estimates."""
    found = {}
    for model, unit in run.units.items():
        lines = unit.estimates.query("data == @data and level == @level and rule == @rule")
        found[model] = {line["metric"]: line for _, line in lines.iterrows()}
    return found


def cells(table):
    return [[cell.text for cell in row] for row in table.rows]


def of_one_validation_part(run):
    """Leave one validation part, as a data set of its own has it: thresholds cannot be cross-fitted."""
    for model, unit in run.units.items():
        metrics = unit.metrics.query("data != 'validation' or (fold == 0 and rule == 'default')")
        tuned = "data != 'validation' or rule == 'default' or metric == 'threshold'"
        run.units[model] = replace(unit, metrics=metrics, estimates=unit.estimates.query(tuned))
    return run


# -- tables --------------------------------------------------------------------------------------------------


def test_the_main_table_is_that_of_the_test_part(make_run):
    run = make_run(protocol="official", published=None)
    test = figures(run)
    for classifier, row in zip(run.suite.classifiers, cells(main_table(run)), strict=False):
        assert row[1:] == [
            show_estimate(metric, test[(e, classifier)][metric])
            for e in run.extractors
            for metric in ("auc", "recall")
        ]


def test_the_best_of_each_metric_is_the_best_on_the_test_part(run):
    test = figures(run)
    for metric in ("auc", "recall", "f1"):
        table = differences(run, metric)
        best = table[table["best"]].iloc[0]
        values = {model: lines[metric]["estimate"] for model, lines in test.items()}
        assert (best["extractor"], best["classifier"]) == max(values, key=values.get)
        assert (table["difference"] >= 0).all()
        assert table["p_folds"].isna().all()  # it was judged once


def test_every_model_stands_with_the_figures_of_the_test_part(run):
    levels = {level: figures(run, level=level) for level in ("image", "video")}
    rows = cells(models_table(run))
    assert [row[4:] for row in rows[:8]] == [
        [METRICS[m].show(levels[level][model][m]["estimate"]) for m in SELECTION]
        for model in run.units
        for level in levels
    ]


def test_nothing_of_the_test_part_has_a_deviation(run):
    frame = summary(run)
    assert frame.loc[frame["data"] == "test", "deviation"].isna().all()
    own = frame[(frame["data"] == "validation") & (frame["metric"] == "auc")]
    assert own["deviation"].notna().all()
    for table in (main_table(run), models_table(run)):
        assert set(table.frame["data"]) == {"test"}
        assert not any("±" in text for row in cells(table) for text in row)


def test_the_best_model_is_chosen_by_validation_though_another_is_better_on_the_test_part(run):
    test = {model: lines["f1"]["estimate"] for model, lines in figures(run).items()}
    assert best_model(run) == ("reactnet_a", "random_forest")
    assert max(test, key=test.get) == ("mobilenetv2", "logistic_regression")


def test_the_thresholds_are_chosen_by_validation_and_applied_once(run):
    table, unit = thresholds_table(run), run.units[("reactnet_a", "random_forest")]
    folds = unit.metrics.query("data == 'validation' and level == 'video' and rule == 'f1'")["threshold"]
    deploy = f"{unit.deploy['video']['f1']:.3f}"
    assert table.title.startswith("Thresholds for ReActNet-A (random) with Random forest")
    assert [[*row[:3], row[3].split(" ")[0]] for row in cells(table)] == [
        ["validation", "default", "0.500", "0.500"],
        ["validation, cross-fitted", "max. F1", f"{folds.min():.3f} to {folds.max():.3f}", deploy],
        ["test", "default", "0.500", "0.500"],
        ["test", "max. F1", deploy, deploy],
        ["external", "default", "0.500", "0.500"],
        ["external", "max. F1", deploy, deploy],
        ["published", "", "-1.250", ""],
    ]
    best = figures(run, rule="f1")[("reactnet_a", "random_forest")]
    assert cells(table)[3][4:] == [
        show_estimate(m, best[m]) for m in ("accuracy", "precision", "recall", "f1")
    ]


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
    assert "12 faces of 6 clips (3 fake) tested, 18 other clips not, identities: 12." in notes
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
    assert note.startswith("Video level, %. Cross-fitted validation rows: each fold's threshold is chosen on")
    deploy = (
        "chosen on all validation scores, with the interval of choosing it again in each replicate; this one"
    )
    assert note.endswith(f"To deploy: {deploy} is applied to the test part and to external data.")


def test_no_note_says_that_thresholds_were_chosen_by_the_selection_metric(make_run):
    run = make_run(protocol="official", metric="auc", thresholds=["f1"])
    for table in (main_table, models_table, thresholds_table):
        assert "thresholds were chosen by AUC" not in " ".join(table(run).notes)


# -- pictures and the terminal -------------------------------------------------------------------------------


def test_the_roc_curves_are_those_of_the_test_part(run):
    frame = roc_frame(run)
    for extractor, curve in frame.groupby("extractor"):
        title = f"{extractor_title(run, extractor)}, "
        assert curve["model"].iloc[0].startswith(title)
        classifier = next(n for n in run.suite.classifiers if CLASSIFIERS[n].title in curve["model"].iloc[0])
        scored = scored_rows(run, (extractor, classifier), data="test")
        area = np.trapezoid(curve["tpr"], curve["fpr"])
        assert area == pytest.approx(roc_auc_score(scored["label"], scored["score"]))
    assert plot_roc(frame, run).axes[0].get_title() == "Best classifier of each extractor, test clips"


def test_the_threshold_curves_are_those_of_the_validation_part(run):
    frame = threshold_frame(run)
    scored = scored_rows(run, ("reactnet_a", "random_forest"), data="validation")
    for cut in frame.itertuples():
        called = scored["score"] >= cut.threshold
        assert cut.recall == called[scored["label"] == 1].mean()
        assert cut.fpr == called[scored["label"] == 0].mean()
    title = plot_thresholds(frame, run).axes[0].get_title()
    assert title == "ReActNet-A (random) with Random forest, validation clips"


def test_the_terminal_shows_the_test_part_and_what_it_was_not_chosen_by(run):
    console = Console(record=True, width=120, file=io.StringIO())
    show(run, console)
    text = console.export_text()
    assert "AUC, %, video level (95 % interval)" in " ".join(text.split())
    assert "The data set's own test part, judged once" in " ".join(text.split())
    assert "Best by validation F1: ReActNet-A (random) with Random forest." in text
    assert "±" not in text
    for lines in figures(run).values():
        assert show_estimate("recall", lines["recall"], digits=1) in text
