"""Everything that a finished run shows: tables and figures in its folder, the main table in the terminal."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from benchmarks.judge import DEFAULT
from benchmarks.results import Run, read_run
from classify.models import CLASSIFIERS
from extract.files import write_bytes
from extract.progress import Track, no_progress
from reports.formats import Table, latex, markdown
from reports.plots import plot_roc, plot_thresholds, roc_frame, save, threshold_frame
from reports.tables import (
    MAIN_METRICS,
    TITLES,
    best_model,
    extractor_title,
    main_table,
    models_table,
    select,
    summary,
    thresholds_table,
    weights_word,
)


def write_report(folder: Path, *, track: Track = no_progress) -> Run:
    """Write the tables and figures of a finished run into its folder and return the run.

    Raises
    ------
    RequestError
        Not a results folder, or an unfinished run.
    """
    run = read_run(folder)
    for write in track((_write_tables, _write_roc, _write_thresholds), "tables and figures"):
        write(run)
    return run


def show(run: Run, console: Console) -> None:
    """Print the main table, what it must be read with, and where the rest is."""
    for metric in MAIN_METRICS:
        console.print(_grid(run, metric))
    for note in main_table(run).notes:
        console.print(note, style="dim", highlight=False, markup=False)
    extractor, classifier = best_model(run)
    best = f"{extractor_title(run, extractor)} with {CLASSIFIERS[classifier].title}"
    console.print(f"\nBest by {TITLES[run.suite.metric]}: {best}.", highlight=False, markup=False)
    console.print(f"Tables, figures and scores: {run.folder}", highlight=False, markup=False, soft_wrap=True)


def _write_tables(run: Run) -> None:
    for table in (main_table(run), models_table(run), thresholds_table(run)):
        _write_table(table, run.folder / "tables")


def _write_roc(run: Run) -> None:
    frame = roc_frame(run)
    _write_figure(frame, plot_roc(frame), run.folder / "figures" / "roc")


def _write_thresholds(run: Run) -> None:
    frame = threshold_frame(run)
    _write_figure(frame, plot_thresholds(frame, run), run.folder / "figures" / "thresholds")


def _write_figure(frame: pd.DataFrame, figure: Figure, path: Path) -> None:
    write_bytes(path.with_suffix(".csv"), frame.to_csv(index=False).encode())
    save(figure, path)


def _write_table(table: Table, folder: Path) -> None:
    write_bytes(folder / f"{table.name}.md", markdown(table).encode())
    write_bytes(folder / f"{table.name}.tex", latex(table).encode())
    write_bytes(folder / f"{table.name}.csv", table.frame.to_csv(index=False).encode())


def _grid(run: Run, metric: str) -> Grid:
    """Lay out one metric for the terminal: classifiers down, extractors across, weights under their names."""
    frame = select(summary(run), data="out-of-fold", level="image", rule=DEFAULT, metric=metric)
    frame = frame.set_index(["classifier", "extractor"])
    grid = Grid(
        title=f"{TITLES[metric]}, % (mean ± deviation over folds)", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    grid.add_column("")
    for extractor, entry in run.extractors.items():
        heading = f"{escape(entry['title'])}\n{weights_word(run, extractor)}"
        grid.add_column(heading, justify="right", overflow="fold")
    best = frame["mean"].groupby("extractor").max()
    for classifier in run.suite.classifiers:
        cells = [_cell(frame.loc[(classifier, e)], best[e]) for e in run.extractors]
        grid.add_row(CLASSIFIERS[classifier].title, *cells)
    return grid


def _cell(line: "pd.Series[Any]", best: float) -> str:
    text = f"{100 * line['mean']:.1f} ± {100 * line['deviation']:.1f}"
    return f"[bold]{text}[/bold]" if line["mean"] == best else text
