"""What a comparison leaves in its folder and shows in the terminal."""

import io
import re
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from benchmarks.compare import COMPARISONS, Comparison, read_comparison
from benchmarks.results import purge_results
from classify.comparisons import training_sets
from extract.errors import RequestError
from reports.comparison_plots import comparison_plot
from reports.comparisons import comparison_table
from reports.formats import latex, markdown
from reports.report import show, write_report
from reports.tables import audit_table

every_comparison = pytest.mark.parametrize("name", list(COMPARISONS))
every_width = pytest.mark.parametrize("width", [80, 120])
ONE = {"extractors": {"mobilenetv2": ("MobileNetV2", "package")}, "classifiers": ("random_forest",)}
FACEFORENSICS = ["DeepFakeDetection", "Deepfakes", "Face2Face", "FaceShifter", "FaceSwap", "NeuralTextures"]
WIDE = 400  # nothing is wrapped
FIGURE = re.compile(r"[+-]?\d+\.\d\d(?: ± \d+\.\d\d)?(?: \*)?")


def shown(comparison, *, width, styles=False):
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    show(comparison, console)
    return console.export_text(styles=styles)


def grids_of(text):
    """Return the line above each grid, and the words of its cells, the heading first: [(line, [[text]])]."""
    lines = [line.strip() for line in text.splitlines()]
    grids = []
    for rule in (i for i, line in enumerate(lines) if "──" in line):
        end = lines.index("", rule)
        rows = [re.split(r"\s{2,}", line) for line in (lines[rule - 1], *lines[rule + 1 : end])]
        grids.append((lines[rule - 3], rows))
    return grids


def table_of(text):
    """Return the lines of the grids and of their titles, without what is above and below them all."""
    lines = text.splitlines()
    ends = [i for i, line in enumerate(lines) if not line.strip()]
    return lines[1 : max(ends) + 1]


def bytes_of(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# -- in the folder -------------------------------------------------------------------------------------------


@every_comparison
def test_a_report_adds_tables_and_a_figure_and_changes_nothing_else_even_if_written_again(
    name, write_comparison
):
    folder = write_comparison(name, **ONE)
    before = bytes_of(folder)
    write_report(folder)
    after = bytes_of(folder)
    added = [f"tables/{table}.{suffix}" for table in (name, "audit") for suffix in ("md", "tex", "csv")]
    added += [f"figures/{name}.{suffix}" for suffix in ("csv", "png", "svg")]
    assert sorted(after.keys() - before.keys()) == sorted(added)
    assert {path: after[path] for path in before} == before
    write_report(folder)
    assert bytes_of(folder) == after


@every_comparison
def test_the_files_are_the_tables_and_the_frame_of_the_comparison(name, write_comparison):
    folder = write_comparison(name, **ONE)
    comparison = write_report(folder)
    assert isinstance(comparison, Comparison)
    for table in (comparison_table(comparison), audit_table(comparison)):
        home = folder / "tables"
        assert (home / f"{table.name}.md").read_text(encoding="utf-8") == markdown(table)
        assert (home / f"{table.name}.tex").read_text(encoding="utf-8") == latex(table)
        pd.testing.assert_frame_equal(pd.read_csv(home / f"{table.name}.csv"), table.frame, check_dtype=False)
    drawn = pd.read_csv(folder / "figures" / f"{name}.csv")
    pd.testing.assert_frame_equal(drawn, comparison_plot(comparison)[0], check_dtype=False)


@every_comparison
def test_a_comparison_reads_back_as_it_was_made(name, write_comparison, make_comparison):
    ours, theirs = make_comparison(name), read_comparison(write_comparison(name))
    assert markdown(comparison_table(theirs)) == markdown(comparison_table(ours))
    pd.testing.assert_frame_equal(comparison_table(theirs).frame, comparison_table(ours).frame)


def test_an_unfinished_comparison_is_refused(write_comparison):
    folder = write_comparison("datasets")
    (folder / "DONE").unlink()
    with pytest.raises(RequestError, match="no DONE mark"):
        write_report(folder)
    assert not (folder / "tables").exists()


def test_the_tables_stay_as_they_are_after_a_purge(write_comparison):
    folder = write_comparison("datasets", **ONE)
    write_report(folder)
    before = bytes_of(folder)
    assert purge_results(folder, [f"{3:064x}"], folder / "unknown") == 1  # its line in faces.parquet
    write_report(folder)
    after = bytes_of(folder)
    assert {path for path in before if before[path] != after[path]} == {"faces.parquet"}


# -- in the terminal -----------------------------------------------------------------------------------------


def without_repeats(rows):
    """Leave out what repeats the line above in the first column, and what is empty."""
    above = ["", *(row[0] for row in rows)]
    return [
        [text for text in ([] if row[0] == last else [row[0]]) + row[1:] if text]
        for row, last in zip(rows, above, strict=False)
    ]


@every_comparison
def test_the_terminal_shows_a_grid_for_each_model_with_every_cell_of_the_table(name, make_comparison):
    comparison = make_comparison(name)
    table, models = comparison_table(comparison), {}
    for row in table.rows:
        extractor, classifier, *others = (cell.text for cell in row)
        models.setdefault(f"{extractor}, {classifier}", []).append(others)
    assert len(models) == 4
    text = shown(comparison, width=WIDE)
    assert text.splitlines()[0] == table.title
    assert grids_of(text) == [
        (title, [list(table.header[2:]), *without_repeats(rows)]) for title, rows in models.items()
    ]


@every_comparison
def test_of_one_model_the_terminal_shows_one_grid_without_a_title(name, make_one):
    comparison = make_one(name)
    table, text = comparison_table(comparison), shown(comparison, width=WIDE)
    rows = [[cell.text for cell in row] for row in table.rows]
    assert grids_of(text) == [(table.title, [list(table.header), *without_repeats(rows)])]
    assert text.count("MobileNetV2") == text.count("Random forest") == 1


@every_comparison
@every_width
def test_no_word_is_lost_or_broken_for_want_of_width(name, width, make_comparison):
    comparison = make_comparison(name)
    narrow, wide = shown(comparison, width=width), shown(comparison, width=WIDE)
    assert "…" not in narrow
    assert words(narrow) == words(wide)
    assert max(len(line.rstrip()) for line in table_of(narrow)) <= width


@every_width
def test_no_figure_of_the_attacks_of_faceforensics_is_broken(width, make_one):
    comparison = make_one("attacks")
    mine = comparison.trials.query("test == 'Deepfakes'")
    parts = [
        mine.assign(trained_on=name, test=test)
        for name in training_sets(FACEFORENSICS)
        for test in FACEFORENSICS
    ]
    comparison = replace(comparison, trials=pd.concat(parts, ignore_index=True))
    text = "\n".join(table_of(shown(comparison, width=width)))
    figures = [cell.text for row in comparison_table(comparison).rows for cell in row[1:]]
    assert len(figures) == 13 * 6
    numbers = re.compile(r"\d+\.\d\d")
    assert Counter(numbers.findall(text)) == Counter(numbers.findall(" ".join(figures)))
    assert text.count("*") == 6 + 6 * 5
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def words(text):
    """Count the words, without the rule under the heading."""
    return Counter(word for word in text.split() if set(word) != {"─"})


@every_comparison
@every_width
def test_random_weights_are_marked_in_the_terminal(name, width, make_comparison):
    text = " ".join(shown(make_comparison(name), width=width).split())
    assert "ReActNet-A" in text
    assert "(random)" in text.split("Marked")[0]
    assert "Marked (random): random, untrained weights (ReActNet-A)" in text


@every_width
def test_leaky_protocols_are_marked_in_the_terminal(width, make_comparison):
    lines = table_of(shown(make_comparison("leakage"), width=width))
    assert sum(line.count("(LEAKY)") for line in lines) == 2 * 4  # of four models
    words = " ".join(lines).split()
    assert (words.count("frame"), words.count("clip")) == (4, 4)


@every_comparison
def test_a_model_is_named_once_above_its_grid(name, make_comparison):
    lines = [line.strip() for line in table_of(shown(make_comparison(name), width=WIDE))]
    classifiers = ("Logistic regression", "Random forest")
    titles = [f"{e}, {c}" for e in ("MobileNetV2", "ReActNet-A (random)") for c in classifiers]
    assert [line for line in lines if "forest" in line or "regression" in line] == titles
    assert [line for line in lines if "Net" in line] == titles


def test_an_attack_that_repeats_the_line_above_is_left_out_though_not_in_the_next_grid(make_comparison):
    comparison = make_comparison("new-attack")
    lines = table_of(shown(comparison, width=WIDE))
    assert sum("Deepfakes" in line for line in lines) == sum("FaceSwap" in line for line in lines) == 4
    one = replace(comparison, trials=comparison.trials.query("attack == 'FaceSwap'"))
    assert sum("FaceSwap" in line for line in table_of(shown(one, width=WIDE))) == 4


@every_comparison
def test_a_figure_that_repeats_the_line_above_is_shown(name, make_comparison):
    comparison = make_comparison(name)
    comparison.trials["auc"] = comparison.trials["auc"].where(comparison.trials["auc"].isna(), 0.5)
    text = "\n".join(table_of(shown(comparison, width=WIDE)))
    cells = [cell.text for row in comparison_table(comparison).rows for cell in row]
    half = [cell for cell in cells if cell.startswith("50.00")]
    assert len(half) >= 12
    assert Counter(FIGURE.findall(text)) == Counter(cell for cell in cells if FIGURE.fullmatch(cell))


@every_comparison
def test_the_notes_and_the_folder_are_shown(name, make_comparison):
    comparison = make_comparison(name)
    text = " ".join(shown(comparison, width=80).split())
    for note in comparison_table(comparison).notes:
        assert note in text
    assert "Tables, figures and scores: results/by-hand" in text


@pytest.mark.parametrize(("name", "stars"), [("attacks", 4 * 8), ("datasets", 4 * 2)])
@every_width
def test_what_was_not_in_training_has_a_star_in_the_terminal(name, stars, width, make_comparison):
    text = shown(make_comparison(name), width=width, styles=True)
    table, notes = text.split("AUC, %, image level")
    assert table.count(" *") == stars
    assert notes.count("*") == 1
    assert not re.search(r"\x1b\[1m[-\d]", table)  # bold cannot be seen in piped text


def test_square_brackets_are_shown(make_comparison):
    comparison = make_comparison("new-attack", extractors={"net": ("Net [tiny]", "plugin")})
    comparison.trials["attack"] = comparison.trials["attack"].replace("FaceSwap", "[bold]swap")
    text = shown(comparison, width=WIDE)
    assert "Net [tiny]" in text
    assert "[bold]swap" in text
