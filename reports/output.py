"""Where tables go: into files, and onto the terminal."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from extract.files import write_bytes
from extract.names import printable
from reports.formats import Cell, Table, latex, markdown


def write_table(table: Table, folder: Path) -> None:
    """Write a table as Markdown, LaTeX and CSV."""
    write_bytes(folder / f"{table.name}.md", markdown(table).encode())
    write_bytes(folder / f"{table.name}.tex", latex(table).encode())
    write_bytes(folder / f"{table.name}.csv", table.frame.to_csv(index=False).encode())


def show_table(table: Table, console: Console) -> None:
    """Print a table with its notes, in a grid for each model where its first columns name them."""
    console.print(printable(table.title), style="italic", highlight=False, markup=False)
    for grid in _terminal(table, console.width):
        console.print(grid)
    show_notes(table, console)


def show_notes(table: Table, console: Console) -> None:
    """Print what a table must be read with."""
    for note in table.notes:
        console.print(printable(note), style="dim", highlight=False, markup=False)


def _terminal(table: Table, width: int) -> list[Grid]:
    """Lay out a table for the terminal, a grid for each model."""
    models = 2 if table.header[:2] == ("Extractor", "Classifier") else 0
    parts: dict[str, list[tuple[Cell, ...]]] = {}
    for row in table.rows:
        parts.setdefault(", ".join(cell.text for cell in row[:models]), []).append(row[models:])
    return [_part(title, table.header[models:], rows, width=width) for title, rows in parts.items()]


def _part(title: str, header: tuple[str, ...], rows: list[tuple[Cell, ...]], *, width: int) -> Grid:
    """Lay out some rows; what only repeats the line above in the first column is left out.

    Words stay whole where the terminal has the room for that.
    """
    grid = Grid(title=_plain(title) or None, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, room in zip(header, _widths(header, rows, width), strict=True):
        grid.add_column(_plain(name), overflow="fold", width=room)
    above = ""
    for first, *others in rows:
        grid.add_row(
            "" if first.text == above else _plain(first.text), *(_plain(cell.text) for cell in others)
        )
        above = first.text
    return grid


def _plain(text: str) -> str:
    """Write text so that neither the terminal nor rich obeys a name in it."""
    return escape(printable(text))


def _widths(header: tuple[str, ...], rows: list[tuple[Cell, ...]], width: int) -> list[int | None]:
    """Give each column its longest word, and what room is left to those whose lines are longest.

    None for each where not even the words have room: then the lines break where they must.
    """
    columns = [[name, *(row[place].text for row in rows)] for place, name in enumerate(header)]
    given = [max((len(word) for text in column for word in text.split()), default=1) for column in columns]
    lines = [max(map(len, column)) for column in columns]
    room = width - sum(given) - 2 * len(given) - 1  # beside the space around columns
    if room < 0:
        return [None] * len(given)
    for _ in range(min(room, sum(lines) - sum(given))):
        place = max(range(len(given)), key=lambda column: lines[column] - given[column])
        given[place] += 1
    return [*given]
