"""A table, ready to be shown, and the formats that it is shown in."""

from dataclasses import dataclass

import pandas as pd

TEX = str.maketrans(
    {character: "\\" + character for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "±": r"$\pm$"}
)


@dataclass(frozen=True)
class Cell:
    """A table cell; `bold` ones in bold."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Table:
    """A table ready to be shown.

    Attributes
    ----------
    name, title : str
        Of the files, and above the table.
    header : tuple of str
    rows : tuple of tuples of Cell
    notes : tuple of str
        What a reader must know, below the table.
    frame : DataFrame
        The numbers behind it, tidy; shares from 0 to 1. This is the CSV.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]
    frame: pd.DataFrame


def markdown(table: Table) -> str:
    """Write a table as GitHub Markdown, bold cells in bold."""
    cells = [[f"**{c.text}**" if c.bold and c.text else c.text for c in row] for row in table.rows]
    lines = [table.header, ["---"] * len(table.header), *cells]
    body = "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)
    return "\n\n".join([f"### {table.title}", body, *table.notes]) + "\n"


def latex(table: Table) -> str:
    """Write a table as LaTeX (package booktabs), bold cells in bold."""
    lines = [" & ".join(_tex(text) for text in table.header) + r" \\", r"\midrule"]
    for row in table.rows:
        lines.append(
            " & ".join(rf"\textbf{{{_tex(c.text)}}}" if c.bold and c.text else _tex(c.text) for c in row)
            + r" \\"
        )
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_tex(table.title)}. {_tex(' '.join(table.notes))}}}",
            rf"\begin{{tabular}}{{{'l' * len(table.header)}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _tex(text: str) -> str:
    return text.translate(TEX)
