"""What a finished run or comparison shows: tables and figures in its folder, the main one in the terminal."""

from dataclasses import replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from benchmarks.compare import Comparison, is_comparison, read_comparison
from benchmarks.results import Run, read_run
from classify.metrics import METRICS
from classify.models import CLASSIFIERS
from extract.names import printable
from extract.progress import Track, no_progress
from reports.comparison_plots import comparison_plot
from reports.comparisons import comparison_table
from reports.errors import attacks_table, groups_table
from reports.notes import chosen_on, extractor_title, leaky, nested_title, weights_word
from reports.optimism import optimism_table
from reports.output import show_notes, show_table, write_table
from reports.plots import plot_roc, plot_thresholds, roc_frame, threshold_frame, write_figure
from reports.robustness import plot_robustness, robustness_frame, robustness_table
from reports.summary import best_model, differences, headline, headline_figures, trivial
from reports.tables import (
    MAIN_METRICS,
    audit_table,
    differences_table,
    main_table,
    models_table,
    operating_table,
    show_estimate,
    thresholds_table,
)

SIDE_BY_SIDE = 3  # extractors; of more the terminal shows intervals below their estimates
TABLES = (
    main_table,
    models_table,
    operating_table,
    differences_table,
    optimism_table,
    thresholds_table,
    attacks_table,
    groups_table,
    robustness_table,
    audit_table,
)


def write_report(folder: Path, *, track: Track = no_progress) -> Run | Comparison:
    """Write the tables and figures of a finished run or comparison into its folder and return it.

    Raises
    ------
    RequestError
        Not a results folder, or an unfinished run.
    """
    if is_comparison(folder):
        comparison = read_comparison(folder)
        for write in track((_write_comparison, _write_picture), "tables and figures"):
            write(comparison)
        return comparison
    run = read_run(folder)
    for draw in track(
        (_write_tables, _write_roc, _write_thresholds, _write_robustness), "tables and figures"
    ):
        draw(run)
    return run


def show(results: Run | Comparison, console: Console) -> None:
    """Print the main table, what it must be read with, and where the rest is."""
    if isinstance(results, Comparison):
        table = comparison_table(results)
        show_table(table, console)
    else:
        table = main_table(results)
        for metric in MAIN_METRICS:
            console.print(_grid(results, metric))
        if optimism := optimism_table(results):
            show_table(replace(optimism, notes=()), console)
        show_notes(table, console)
    if isinstance(results, Run):
        extractor, classifier = best_model(results)
        best = f"{extractor_title(results, extractor)} with {CLASSIFIERS[classifier].title}"
        what = f"{chosen_on(results)} {METRICS[results.suite.metric].title}"
        console.print(f"\nBest by {what}: {best}.", highlight=False, markup=False)
    console.print(
        printable(f"Tables, figures and scores: {results.folder}"),
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _write_tables(run: Run) -> None:
    for make in TABLES:
        if table := make(run):
            write_table(table, run.folder / "tables")


def _write_roc(run: Run) -> None:
    frame = roc_frame(run)
    write_figure(frame, plot_roc(frame, run), run.folder / "figures" / "roc")


def _write_thresholds(run: Run) -> None:
    frame = threshold_frame(run)
    write_figure(frame, plot_thresholds(frame, run), run.folder / "figures" / "thresholds")


def _write_robustness(run: Run) -> None:
    if run.suite.perturb:
        frame = robustness_frame(run)
        write_figure(frame, plot_robustness(frame, run), run.folder / "figures" / "robustness")


def _write_comparison(comparison: Comparison) -> None:
    for table in (comparison_table(comparison), audit_table(comparison)):
        write_table(table, comparison.folder / "tables")


def _write_picture(comparison: Comparison) -> None:
    frame, figure = comparison_plot(comparison)
    write_figure(frame, figure, comparison.folder / "figures" / comparison.name)


def _grid(run: Run, metric: str) -> Grid:
    """Lay out one metric for the terminal: classifiers down, extractors across, weights under their names."""
    figures = headline_figures(run, metric).set_index(["classifier", "extractor"])
    equal = differences(run, metric).set_index(["classifier", "extractor"])["equal"]
    between = "\n(" if len(run.extractors) > SIDE_BY_SIDE else " ("
    title = (
        f"{METRICS[metric].title}, %, {nested_title(run)}{headline(run)} level (95 % interval){leaky(run)}"
    )
    grid = Grid(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    grid.add_column("")
    for extractor, entry in run.extractors.items():
        heading = f"{escape(entry['title'])}\n{weights_word(run, extractor)}"
        width = max(map(len, entry["title"].split()))
        grid.add_column(heading, justify="right", overflow="fold", min_width=width)
    for classifier in run.suite.classifiers:
        cells = [
            _cell(
                show_estimate(metric, figures.loc[(classifier, e)], digits=1).replace(" (", between),
                bool(equal[(classifier, e)]),
            )
            for e in run.extractors
        ]
        grid.add_row(CLASSIFIERS[classifier].title, *cells)
    for baseline, part in trivial(run).groupby("baseline", sort=False):
        value = part.set_index("metric")["estimate"][metric]
        text = METRICS[metric].show(value, digits=1)
        grid.add_row(str(baseline).capitalize(), *([text] * len(run.extractors)))
    return grid


def _cell(text: str, bold: bool) -> str:
    return f"[bold]{text}[/bold]" if bold else text
