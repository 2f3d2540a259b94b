"""How tables are written as Markdown and LaTeX."""

import re

import pytest

from reports.formats import Cell, Table, latex, markdown
from reports.optimism import optimism_table
from reports.report import TABLES as EVERY
from reports.robustness import robustness_table

TABLES = [table for table in EVERY if table is not robustness_table]
every_table = pytest.mark.parametrize("table_of_run", TABLES)


def table_of(text):
    return Table("t", f"title {text}", ("", text), ((Cell("row"), Cell(text, bold=True)),), (text,), None)


@every_table
def test_every_markdown_row_has_every_column(table_of_run, make_run):
    table = table_of_run(make_run(nested=table_of_run is optimism_table))
    lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
    assert len(lines) == len(table.rows) + 2
    assert {line.count("|") for line in lines} == {len(table.header) + 1}


@every_table
def test_every_latex_row_has_every_column(table_of_run, make_run):
    table = table_of_run(make_run(nested=table_of_run is optimism_table))
    body = latex(table).split(r"\toprule")[1].split(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == len(table.rows) + 1
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(table.header) - 1}
    assert rf"\begin{{tabular}}{{{'l' * len(table.header)}}}" in latex(table)


def test_bold_cells_are_bold_in_markdown_and_latex():
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
