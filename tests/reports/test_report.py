import io
import re

import pandas as pd
import pytest
from rich.console import Console

from benchmarks.results import purge_results, read_run
from classify.protocols import PROTOCOLS
from extract.errors import RequestError
from reports.formats import latex, markdown
from reports.plots import roc_frame, threshold_frame
from reports.report import TABLES, show, write_report
from reports.robustness import robustness_frame
from reports.summary import headline_figures
from reports.tables import main_table

DEMO = {
    "inception_v4": ("Inception-v4", "random"),
    "mobilenetv2": ("MobileNetV2", "package"),
    "reactnet_a": ("ReActNet-A", "random"),
    "convnext_tiny": ("ConvNeXt-T", "random"),
    "deit_small": ("DeiT-S", "directory"),
}
FOUR = ("logistic_regression", "svc", "random_forest", "xgboost")
NAMES = ("main", "models", "operating", "differences", "thresholds", "attacks", "groups", "audit")

FIGURES = {"auc": {"random_forest": {"mobilenetv2": 91.5}}}


def shown(run, *, width=120, styles=False):
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    show(run, console)
    return console.export_text(styles=styles)


def numbers_in(text):
    """Return the figures of the grids, in whatever lines they stand."""
    return re.findall(r"\d+\.\d", text.split("In bold")[0])


BASELINES = ["50.0", "50.0", "50.0", "100.0", "0.0", "50.0"]  # AUC and recall of each, beside every extractor


def bytes_of(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# -- in the folder -------------------------------------------------------------------------------------------


def test_a_report_adds_tables_and_figures_and_changes_nothing_else(write_run):
    folder = write_run()
    before = bytes_of(folder)
    write_report(folder)
    after = bytes_of(folder)
    added = [f"tables/{name}.{suffix}" for name in NAMES for suffix in ("md", "tex", "csv")]
    added += [
        f"figures/{name}.{suffix}" for name in ("roc", "thresholds") for suffix in ("csv", "png", "svg")
    ]
    assert sorted(after.keys() - before.keys()) == sorted(added)
    assert {name: after[name] for name in before} == before


def test_the_files_are_the_tables_and_frames_of_the_run(write_run):
    folder = write_run()
    run = write_report(folder)
    tables = [table for make in TABLES if (table := make(run))]
    assert [table.name for table in tables] == list(NAMES)
    for table in tables:
        home = folder / "tables"
        assert (home / f"{table.name}.md").read_text(encoding="utf-8") == markdown(table)
        assert (home / f"{table.name}.tex").read_text(encoding="utf-8") == latex(table)
        read = pd.read_csv(home / f"{table.name}.csv", na_values=[""], keep_default_na=False)
        text = [c for c in table.frame if pd.api.types.is_string_dtype(table.frame[c])]
        read[text] = read[text].fillna("")
        pd.testing.assert_frame_equal(read, table.frame.reset_index(drop=True), check_dtype=False)
    for name, frame in (("roc", roc_frame(run)), ("thresholds", threshold_frame(run))):
        pd.testing.assert_frame_equal(
            pd.read_csv(folder / "figures" / f"{name}.csv"), frame, check_dtype=False
        )


def test_a_run_with_perturbations_adds_their_table_and_figure(write_run):
    folder = write_run(perturb=["noise-20"])
    run = write_report(folder)
    added = [folder / "tables" / f"robustness.{suffix}" for suffix in ("md", "tex", "csv")]
    added += [folder / "figures" / f"robustness.{suffix}" for suffix in ("csv", "png", "svg")]
    assert all(path.is_file() for path in added)
    pd.testing.assert_frame_equal(
        pd.read_csv(folder / "figures" / "robustness.csv", na_values=[""], keep_default_na=False),
        robustness_frame(run),
        check_dtype=False,
    )


def test_a_manifest_without_further_columns_has_no_table_of_groups(write_run):
    folder = write_run(columns=())
    write_report(folder)
    assert not list((folder / "tables").glob("groups*"))


def test_a_run_reads_back_as_it_was_made(write_run, make_run):
    ours, theirs = make_run(), read_run(write_run())
    for make in TABLES:
        table = make(ours)
        assert (table and markdown(table)) == ((again := make(theirs)) and markdown(again))


def test_a_report_again_has_the_same_bytes(write_run):
    folder = write_run()
    write_report(folder)
    once = bytes_of(folder)
    write_report(folder)
    assert bytes_of(folder) == once


def test_the_same_run_elsewhere_has_the_same_report(write_run, tmp_path):
    here, there = write_run(), write_run(folder=tmp_path / "elsewhere")
    write_report(here)
    write_report(there)
    assert bytes_of(here) == bytes_of(there)


def test_an_unfinished_run_is_refused(write_run):
    folder = write_run()
    (folder / "DONE").unlink()
    with pytest.raises(RequestError, match="no DONE mark"):
        write_report(folder)
    assert not (folder / "tables").exists()


def test_the_tables_stay_readable_after_a_purge(write_run, make_run):
    folder = write_run()
    write_report(folder)
    assert (
        purge_results(folder, [f"{3:064x}"], folder / "unknown") == 1 + 1 + 4
    )  # a face, a file, and four scores
    assert main_table(read_run(folder)).rows == main_table(make_run()).rows
    assert len(write_report(folder).faces) == 35


# -- in the terminal -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_no_cell_is_lost_with_five_extractors(width, make_run):
    run = make_run(extractors=DEMO, classifiers=FOUR)
    text = shown(run, width=width)
    figures = headline_figures(run, "auc", "recall")
    wide = figures["low"] != figures["high"]  # one without width is left out
    shares = [*figures["estimate"], *figures[wide][["low", "high"]].to_numpy().ravel()]
    expected = [f"{100 * value:.1f}" for value in shares]
    assert len(figures) == 2 * 4 * 5
    assert sorted(numbers_in(text)) == sorted(expected + 5 * BASELINES)
    assert "…" not in text
    for title, _ in DEMO.values():
        assert text.count(title) >= 2


@pytest.mark.parametrize("width", [80, 120])
def test_no_perfect_score_and_no_title_is_lost_with_five_extractors(width, make_run):
    run = make_run(extractors=DEMO, classifiers=FOUR)
    for unit in run.units.values():
        unit.estimates[["estimate", "high"]] = 1.0
        unit.estimates["low"] = 0.999999
    text = shown(run, width=width)
    assert numbers_in(text).count("100.0") == 3 * 2 * 4 * 5 + 5 * BASELINES.count("100.0")
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(width, make_run):
    text = shown(make_run(extractors=DEMO, classifiers=FOUR), width=width)
    table = [line for line in text.splitlines() if "(" in line and "," in line]
    assert len(table) >= 8
    assert max(len(line.rstrip()) for line in table) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_random_weights_are_marked_under_the_names(width, make_run):
    text = shown(make_run(extractors=DEMO, classifiers=FOUR), width=width)
    marks = [line.split() for line in text.splitlines() if "pretrained" in line]
    assert marks == 2 * [["random", "pretrained", "random", "random", "pretrained"]]
    assert "untrained weights (Inception-v4, ReActNet-A, ConvNeXt-T)" in " ".join(text.split())


def test_the_best_model_is_named_with_its_mark(make_run):
    assert "Best by out-of-fold F1: ReActNet-A (random) with Random forest." in shown(make_run())


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_leaky_protocols_and_no_others_are_marked_above_and_below_the_figures(protocol, make_run):
    text = " ".join(shown(make_run(protocol=protocol)).split())
    marked = int(PROTOCOLS[protocol].leaky)
    assert text.count(f"(LEAKY protocol: {protocol})") == 2 * marked
    assert text.count(f"(protocol {protocol}, LEAKY: ") == marked
    assert text.count("LEAKY") == 3 * marked


def test_the_notes_and_the_folder_are_shown(make_run):
    run = make_run()
    text = " ".join(shown(run).split())
    for note in main_table(run).notes:
        assert note in text
    assert "Tables, figures and scores: results/by-hand" in text


def test_the_best_and_what_cannot_be_told_from_it_is_bold_including_ties(make_run):
    text = shown(make_run(), styles=True)
    cells = [cell for row in main_table(make_run()).rows for cell in row if cell.bold]
    bold = re.findall(r"\x1b\[1m(\d+\.\d(?: \(\d+\.\d, \d+\.\d\))?)\x1b\[0m", text)
    # of eight: the forest on the first extractor is told from the best recall
    assert len(bold) == len(cells) == 7
    assert bold.count("88.9 (55.7, 100.0)") == 2  # a tie
    assert not any(figure.startswith("33.3 ") for figure in bold)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"folder": "results/[old]/mine"}, "results/[old]/mine"),
        ({"extractors": {"net": ("Net [tiny]", "plugin")}}, "Net [tiny]"),
        (
            {"published": {"source": "Somebody [preprint]", "figures": FIGURES}, "level": "image"},
            "[preprint]",
        ),
    ],
    ids=["folder", "title", "source"],
)
def test_square_brackets_are_shown(settings, text, make_run):
    assert text in shown(make_run(**settings))
