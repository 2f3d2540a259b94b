"""Nested figures beside flat ones; after a wanted change run with UPDATE_GOLDEN=1 set, and read the diff."""

import io

import pytest
from rich.console import Console

from benchmarks.results import read_run
from classify.metrics import METRICS, SELECTION
from classify.uncertainty import paired_difference
from reports.errors import attacks_table, groups_table
from reports.formats import latex, markdown
from reports.notes import flat, reported
from reports.optimism import optimism_frame, optimism_table
from reports.plots import plot_roc, roc_frame, threshold_frame
from reports.report import TABLES, show
from reports.robustness import robustness_frame, robustness_table
from reports.summary import best_model, headline_figures, same_inside
from reports.tables import differences_table, main_table, models_table, operating_table, thresholds_table

MODEL = ("mobilenetv2", "random_forest")
WRITERS = {"md": markdown, "tex": latex, "csv": lambda table: table.frame.round(4).to_csv(index=False)}
REPORTED = (main_table, models_table, operating_table, differences_table)


@pytest.fixture
def run(make_run):
    return make_run(nested=True)


def cells(table):
    return [[cell.text for cell in row] for row in table.rows]


def estimates(run, data, model=MODEL, level="video", rule="default"):
    lines = run.units[model].estimates.query("data == @data and level == @level and rule == @rule")
    return lines.set_index("metric")


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_the_table_is_the_golden_one(suffix, run, check_golden):
    check_golden(f"optimism.{suffix}", WRITERS[suffix](optimism_table(run)))


@pytest.mark.parametrize(
    "make", [main_table, models_table, thresholds_table], ids=["main", "models", "thresholds"]
)
def test_a_table_of_nested_figures_is_the_golden_one(make, run, check_golden):
    table = make(run)
    check_golden(f"nested-{table.name}.md", markdown(table))


# -- optimism ------------------------------------------------------------------------------------------------


def test_flat_and_nested_figures_and_their_difference_have_columns_of_their_own(run):
    header = optimism_table(run).header
    assert header[3:] == ("Flat (selection)", "Nested (reported)", "Optimism", "Same parameters")
    frame = optimism_frame(run).set_index(["extractor", "classifier", "level", "rule", "metric"])
    for rule in ("default", "f1"):
        ours, theirs = (estimates(run, data, rule=rule) for data in ("out-of-fold", "nested"))
        for metric in theirs.index:
            line = frame.loc[(*MODEL, "video", rule, metric)]
            found = [line["flat"], line["nested"]]
            assert found == [ours.loc[metric, "estimate"], theirs.loc[metric, "estimate"]]


def test_optimism_is_positive_where_flat_looks_better(run):
    frame = optimism_frame(run).set_index(["extractor", "classifier", "level", "rule", "metric"])
    higher, lower = (frame.loc[(*MODEL, "video", "default", metric)] for metric in ("auc", "eer"))
    assert higher["flat"] > higher["nested"]
    assert higher["optimism"] == higher["flat"] - higher["nested"]
    assert lower["flat"] < lower["nested"]
    assert lower["optimism"] == lower["nested"] - lower["flat"]


@pytest.mark.parametrize("metric", ["auc", "f1", "mcc"])
def test_its_interval_is_that_of_the_paired_difference(metric, run):
    replicates = run.units[MODEL].replicates
    pair = [
        (estimates(run, data).loc[metric, "estimate"], replicates[f"{data} video {metric}"].to_numpy())
        for data in ("out-of-fold", "nested")
    ]
    found = paired_difference(*pair, people=12)
    frame = optimism_frame(run).set_index(["extractor", "classifier", "level", "rule", "metric"])
    line = frame.loc[(*MODEL, "video", "default", metric)]
    assert (line["optimism_low"], line["optimism_high"]) == (found.low, found.high)


def test_without_replicates_optimism_has_no_interval(run):
    frame = optimism_frame(run)
    without = (frame["rule"] != "default") | ~frame["metric"].isin(list(SELECTION))
    assert frame.loc[without, ["optimism_low", "optimism_high"]].isna().all(axis=None)
    assert frame.loc[~without, "optimism_low"].notna().all()


def test_the_csv_has_every_figure_once(run):
    frame = optimism_frame(run)
    assert not frame.duplicated(["extractor", "classifier", "level", "rule", "metric"]).any()
    assert len(frame) == 4 * 2 * (len(METRICS) + 9)


def test_folds_that_chose_the_same_parameters_are_counted(run):
    assert {same_inside(unit) for unit in run.units.values()} == {3}
    assert {row[-1] for row in cells(optimism_table(run))} == {"3 of 4"}
    table = models_table(run)
    place = table.header.index("Also chosen inside")
    assert table.header[place - 1] == "Parameters"
    assert {row[place] for row in cells(table)} == {"3 of 4 folds", ""}


@pytest.mark.parametrize("settings", [{"nested": False}, {"nested": True, "protocol": "official"}], ids=str)
def test_without_nested_figures_there_is_no_table(settings, make_run):
    run = make_run(**settings)
    assert optimism_table(run) is None
    assert reported(run) == flat(run) != "nested"
    for make in REPORTED:
        assert "nested," not in make(run).title


def test_a_given_split_says_that_nothing_is_nested(make_run):
    note = "Nothing is left to nest: the split is given."
    for nested in (True, False):
        notes = " ".join(main_table(make_run(nested=nested, protocol="official")).notes)
        assert (note in notes) == nested


# -- what is reported ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", REPORTED)
def test_the_main_tables_report_nested_figures_alone_and_say_so(make, run):
    table = make(run)
    assert set(table.frame["data"]) == {"nested"}
    assert ", nested, " in table.title
    assert "optimistic side" not in " ".join(table.notes)


@pytest.mark.parametrize(
    "make", [main_table, models_table, operating_table, optimism_table, thresholds_table]
)
def test_the_notes_say_what_nested_is(make, run):
    assert "inside each fold's training part, on folds within it" in " ".join(make(run).notes)


def test_the_best_model_is_that_of_the_flat_search(run, make_run):
    assert best_model(run) == best_model(make_run())
    nested = headline_figures(run, "f1").set_index(["extractor", "classifier"])["estimate"]
    assert nested.idxmax() != best_model(run)


def test_thresholds_are_reported_nested_and_the_one_to_deploy_is_flat(run, make_run):
    table, plain = thresholds_table(run), thresholds_table(make_run())
    assert [row[0] for row in cells(table)] == ["nested", "nested", "external", "external", "published"]
    assert [row[3] for row in cells(table)] == [row[3] for row in cells(plain)]
    assert cells(table)[2:] == cells(plain)[2:]
    assert "Cross-fitted" not in " ".join(table.notes)


def test_errors_are_those_of_the_nested_calls(run):
    table = attacks_table(run)
    figures = estimates(run, "nested", best_model(run), rule="f1")
    assert cells(table)[-2][-1].startswith(METRICS["apcer"].show(figures.loc["apcer", "estimate"]))
    for make in (attacks_table, groups_table):
        assert "Tuned thresholds were chosen inside each fold's training part." in make(run).notes


def test_perturbed_clips_are_compared_with_what_the_same_models_score(make_run):
    one = {"extractors": {"a": ("A", "hub")}, "classifiers": ("random_forest",), "replicates": 100}
    run, plain = (make_run(nested=nested, perturb=["noise-20"], **one) for nested in (True, False))
    assert cells(robustness_table(run)) == cells(robustness_table(plain))
    assert "nested" not in set(robustness_frame(run)["data"])
    assert any("no nested figures" in note for note in robustness_table(run).notes)


def test_the_roc_curves_are_nested_and_those_of_thresholds_are_what_chose_them(run, make_run):
    frame = roc_frame(run)
    assert not frame.equals(roc_frame(make_run()))
    title = plot_roc(frame, run).axes[0].get_title()
    assert title == "Best classifier of each extractor, nested, out-of-fold clips"
    assert threshold_frame(run).equals(threshold_frame(make_run()))


def test_fits_that_did_not_converge_inside_are_named(run):
    expected = "MobileNetV2 with Logistic regression, MobileNetV2 with Random forest (inside folds)"
    assert f"Not converged: {expected}." in main_table(run).notes


def test_the_terminal_shows_both_and_the_difference(run):
    console = Console(record=True, width=120, file=io.StringIO())
    show(run, console)
    text = " ".join(console.export_text().split())
    assert "AUC, %, nested, video level (95 % interval)" in text
    assert optimism_table(run).title in text
    assert "Nested (reported)" in text


def test_a_nested_run_reads_back_as_it_was_made(write_run, run):
    again = read_run(write_run(nested=True))
    for make in TABLES:
        table = make(run)
        assert (table and markdown(table)) == ((other := make(again)) and markdown(other))
    assert [unit.nested for unit in again.units.values()] == [unit.nested for unit in run.units.values()]


# -- the tables' files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [thresholds_table, attacks_table, groups_table])
def test_no_column_of_a_file_mixes_flat_and_nested_figures(table, run, make_run):
    assert "out-of-fold" not in set(table(run).frame["data"])
    assert "nested" in set(table(run).frame["data"])
    assert "out-of-fold" in set(table(make_run()).frame["data"])
