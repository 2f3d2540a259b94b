"""The tables; after a wanted change run these tests once with UPDATE_GOLDEN=1 set, and read the diff."""

import os
import re
from pathlib import Path

import pytest

from reports.formats import Cell, Table, latex, markdown
from reports.tables import (
    best_model,
    extractor_title,
    main_table,
    models_table,
    summary,
    thresholds_table,
    weights_word,
)

GOLDEN = Path(__file__).parent / "golden"
TABLES = {"main": main_table, "models": models_table, "thresholds": thresholds_table}
WRITERS = {"md": markdown, "tex": latex, "csv": lambda table: table.frame.to_csv(index=False)}
every_table = pytest.mark.parametrize("name", list(TABLES))


@every_table
@pytest.mark.parametrize("suffix", list(WRITERS))
def test_a_table_is_the_golden_one(name, suffix, make_run):
    table = TABLES[name](make_run())
    assert table.name == name
    text, golden = WRITERS[suffix](table), GOLDEN / f"{name}.{suffix}"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_bytes(text.encode())
    assert text.encode() == golden.read_bytes()


def cells(table):
    return [[cell.text for cell in row] for row in table.rows]


def bold(table):
    return {(i, j) for i, row in enumerate(table.rows) for j, cell in enumerate(row) if cell.best}


# -- figures -------------------------------------------------------------------------------------------------


def test_a_figure_is_mean_and_sample_deviation_in_percent(make_run):
    # logistic regression on mobilenetv2, AUC: 170, 173, 176, 179 of 256
    assert cells(main_table(make_run()))[0][:2] == ["Logistic regression", "68.16 ± 1.51"]


def test_a_published_figure_stands_in_brackets_beside_ours(make_run):
    assert cells(main_table(make_run()))[1][1] == "70.12 ± 1.51 [91.50]"
    assert sum("[" in text for row in cells(main_table(make_run())) for text in row) == 1


def test_without_published_figures_there_are_no_brackets(make_run):
    table = main_table(make_run(published=None))
    assert "[" not in markdown(table)
    assert table.frame["published"].isna().all()


def test_the_summary_has_one_line_a_figure(make_run):
    frame = summary(make_run())
    keys = ["extractor", "classifier", "data", "level", "rule", "metric"]
    assert not frame.duplicated(keys).any()
    assert len(frame) == 2 * 2 * 2 * 2 * 2 * 5
    assert (frame.loc[frame["data"] == "external", "deviation"] == 0).all()


def test_published_figures_stand_at_image_level_and_the_default_threshold_only(make_run):
    shown = summary(make_run()).dropna(subset="published")
    assert set(shown["level"]) == {"image"}
    assert set(shown["rule"]) == {"default"}
    assert set(shown["published"]) == {91.5}


def test_the_best_of_each_column_is_bold(make_run):
    # the forest is best by AUC, logistic regression by recall; the second extractor's AUC is a tie
    assert bold(main_table(make_run())) == {(1, 1), (0, 2), (0, 3), (1, 3), (0, 4)}


def test_bold_is_about_the_number_not_its_two_digits(make_run):
    run = make_run()
    metrics = run.units[("reactnet_a", "random_forest")].metrics
    metrics["auc"] += 1e-7
    assert {(i, j) for i, j in bold(main_table(run)) if j == 3} == {(1, 3)}


@pytest.mark.parametrize(
    ("metric", "best"),
    [
        ("f1", ("reactnet_a", "random_forest")),
        ("recall", ("reactnet_a", "logistic_regression")),
        ("auc", ("reactnet_a", "logistic_regression")),  # a tie: the first
    ],
)
def test_the_best_model_follows_the_selection_metric(metric, best, make_run):
    assert best_model(make_run(metric=metric)) == best


def test_classifiers_stand_in_the_suites_order(make_run):
    table = main_table(make_run(classifiers=("random_forest", "logistic_regression")))
    assert [row[0] for row in cells(table)] == ["Random forest", "Logistic regression"]


def test_every_model_stands_at_both_levels_with_its_parameters(make_run):
    rows = cells(models_table(make_run()))
    assert [row[:4] for row in rows[:4]] == [
        ["MobileNetV2", "Logistic regression", "C=0.1", "image"],
        ["MobileNetV2", "Logistic regression", "C=0.1", "video"],
        ["MobileNetV2", "Random forest", "n_estimators=100, max_depth=none", "image"],
        ["MobileNetV2", "Random forest", "n_estimators=100, max_depth=none", "video"],
    ]
    assert len(rows) == 2 * 2 * 2


def test_the_thresholds_of_the_best_model_are_shown(make_run):
    table = thresholds_table(make_run())
    assert table.title.startswith("Thresholds for ReActNet-A (random) with Random forest (n_estimators=100,")
    assert [row[:4] for row in cells(table)] == [
        ["out-of-fold", "default", "0.500", "0.500"],
        ["out-of-fold, cross-fitted", "max. F1", "0.375 to 0.562", "0.375"],
        ["external", "default", "0.500", "0.500"],
        ["external", "max. F1", "0.375", "0.375"],
        ["published", "", "-1.250", ""],
    ]


def test_external_figures_have_no_deviation(make_run):
    rows = cells(thresholds_table(make_run()))
    assert all("±" in text for text in rows[0][4:])
    assert not any("±" in text for text in rows[2][4:])


def test_a_published_threshold_leaves_out_what_the_paper_does(make_run):
    assert cells(thresholds_table(make_run()))[-1][4:] == ["90.00", "", "", "88.12"]


def test_the_csv_of_thresholds_has_every_model(make_run):
    frame = thresholds_table(make_run()).frame
    assert len(frame) == 2 * 2 * 2 * 2 * 2
    assert {"applied_lowest", "applied_highest", "deploy", "f1", "f1_deviation"} <= set(frame)


# -- notes ---------------------------------------------------------------------------------------------------


def test_the_notes_say_what_the_figures_are(make_run):
    notes = " ".join(main_table(make_run()).notes)
    assert "over 4 folds (protocol target: no person shown is on both sides; a face put in may be)" in notes
    assert "12 faces of 6 clips (3 fake), identities: 1." in notes
    assert "Parameters were selected by F1 on the same folds" in notes
    assert "Calling every face fake has recall 100.00, F1 66.67, accuracy 50.00." in notes
    assert "[In brackets] as published: Somebody & Co. 2025, table_1." in notes


def test_fits_that_did_not_converge_are_named(make_run):
    run = make_run()
    assert "Not converged: MobileNetV2 with Logistic regression." in main_table(run).notes
    assert "Not converged: MobileNetV2 with Logistic regression." in models_table(run).notes


def test_no_note_is_about_convergence_where_all_converged(make_run):
    run = make_run(extractors={"mobilenetv2": ("MobileNetV2", "hub")}, classifiers=("random_forest",))
    run.units.update({key: _converged(unit) for key, unit in run.units.items()})
    assert not any("converged" in note for note in main_table(run).notes)


def _converged(unit):
    return type(unit)(unit.best, True, unit.deploy, unit.metrics, unit.predictions)


# -- random weights ------------------------------------------------------------------------------------------

MARK = "Marked (random): random, untrained weights (ReActNet-A); such figures say nothing about the trained network."


@every_table
@pytest.mark.parametrize("writer", [markdown, latex], ids=["md", "tex"])
def test_random_weights_are_marked_in_every_table(name, writer, make_run):
    text = writer(TABLES[name](make_run()))
    assert "ReActNet-A (random)" in text
    assert MARK in text
    assert not re.search(r"ReActNet-A(?! \(random\))", text.replace(MARK, ""))  # never without the mark


@every_table
def test_random_weights_are_marked_in_every_csv(name, make_run):
    frame = TABLES[name](make_run()).frame
    assert frame.groupby("extractor")["weights"].unique().map(list).to_dict() == {
        "mobilenetv2": ["package"],
        "reactnet_a": ["random"],
    }


@every_table
def test_nothing_is_marked_where_nothing_is_random(name, make_run):
    run = make_run(extractors={"a": ("A", "hub"), "b": ("B", "directory")})
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


# -- formats -------------------------------------------------------------------------------------------------


def table_of(text):
    return Table("t", f"title {text}", ("", text), ((Cell("row"), Cell(text, best=True)),), (text,), None)


@every_table
def test_every_markdown_row_has_every_column(name, make_run):
    table = TABLES[name](make_run())
    lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
    assert len(lines) == len(table.rows) + 2
    assert {line.count("|") for line in lines} == {len(table.header) + 1}


@every_table
def test_every_latex_row_has_every_column(name, make_run):
    table = TABLES[name](make_run())
    body = latex(table).split(r"\toprule")[1].split(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == len(table.rows) + 1
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(table.header) - 1}
    assert rf"\begin{{tabular}}{{{'l' * len(table.header)}}}" in latex(table)


def test_best_cells_are_bold_in_markdown_and_latex():
    assert "| row | **0.5** |" in markdown(table_of("0.5"))
    assert r"row & \textbf{0.5} \\" in latex(table_of("0.5"))


def test_a_bar_does_not_end_a_markdown_cell():
    assert r"| row | **a\|b** |" in markdown(table_of("a|b"))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        *((character, "\\" + character) for character in "&%$#_{}"),
        ("±", r"$\pm$"),
        ("a_b & 5 %", r"a\_b \& 5 \%"),
    ],
)
def test_latex_escapes_what_it_would_read_as_commands(text, escaped):
    written = latex(table_of(text))
    assert rf" & {escaped} \\" in written
    assert rf"\textbf{{{escaped}}}" in written
    assert rf"\caption{{title {escaped}. {escaped}}}" in written


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("R^2", r"R\textasciicircum{}2"), ("~5", r"\textasciitilde{}5"), (r"C:\new", r"C:\textbackslash{}new")],
)
def test_latex_escapes_hat_tilde_and_backslash(text, escaped):
    assert rf" & {escaped} \\" in latex(table_of(text))
