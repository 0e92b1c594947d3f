"""Tables and their CSV: what a spreadsheet reads is text, not a formula."""

from __future__ import annotations

import csv
import io

import pytest

from explorer.pages.insights.sheets import SHOWN, Sheet, sheet_markup, sheet_on_demand, to_csv


def cells(*row: str | float | int | None) -> list[str]:
    """The row as a CSV reader sees it."""
    sheet = Sheet(name="one", columns=("column",) * len(row), rows=(row,))
    return list(csv.reader(io.StringIO(to_csv(sheet))))[1]


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@sum", "|cmd", "\tx", "\rx", " =1", "\u200b=1", "\u3000\x00=1", "＝1", "\ufeff@x"],
)
def test_text_that_a_spreadsheet_would_run_gets_a_quote(text: str) -> None:
    assert cells(text) == [f"'{text}"]


def test_other_text_and_figures_stay_as_they_are() -> None:
    assert cells("a, b", 'say "x"', -0.25, 3, None, "") == ["a, b", 'say "x"', "-0.25", "3", "", ""]


def test_a_table_escapes_its_cells_and_tells_what_it_leaves_out() -> None:
    rows = tuple(("<img src=x onerror=alert(1)>", number) for number in range(SHOWN + 3))
    shown = sheet_markup(Sheet(name="many", columns=("text", "number"), rows=rows))
    assert "<img" not in shown
    assert shown.count("&lt;img") == SHOWN
    assert "3 more rows are in the CSV" in shown
    assert 'download="many.csv"' in shown


@pytest.mark.parametrize(("rows", "is_here"), [(SHOWN, True), (SHOWN + 1, False)])
def test_a_long_table_comes_when_it_is_asked_for(rows: int, is_here: bool) -> None:
    sheet = Sheet(name="many", columns=("number",), rows=tuple((number,) for number in range(rows)))
    folded = sheet_on_demand(sheet)
    assert f"Table, {rows} rows" in folded
    assert ("<table" in folded, 'download="many.csv"' in folded) == (is_here, is_here)
    assert ('data-do="table"' in folded) != is_here
