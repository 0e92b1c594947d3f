"""Tables behind the charts: the same cells as HTML with a CSV to download, in which no cell can run as a formula.

A spreadsheet program reads text that begins with = + - @ as a formula, whatever invisible characters come before it;
such text gets a leading quote. Knows no Gradio and no pipeline type.
"""

from __future__ import annotations

import base64
import csv
import io
import unicodedata
from dataclasses import dataclass

from explorer.components.markup import Html, join, tag

CellValue = str | float | int | None
FORMULA = ("=", "+", "-", "@", "|", "\t", "\r")
SHOWN = 200  # rows on the page; the CSV has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table; numbers stay numbers, None is an empty cell."""

    name: str  # of the file, without its ending
    columns: tuple[str, ...]
    rows: tuple[tuple[CellValue, ...], ...]


def to_csv(sheet: Sheet) -> str:
    """Return RFC 4180 with a header; figures of six digits; text that a spreadsheet would run gets a leading quote."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerows([[_escape_formula(cell) for cell in row] for row in (sheet.columns, *sheet.rows)])
    return buffer.getvalue()


def _escape_formula(cell: CellValue) -> CellValue:
    if isinstance(cell, float):
        return f"{cell:.6g}"
    if not isinstance(cell, str):
        return cell
    visible = (character for character in unicodedata.normalize("NFKC", cell) if not _is_blank(character))
    first = next(visible, "")
    return f"'{cell}" if (first in FORMULA[:5] and first) or cell[:1] in FORMULA[5:] else cell


def _is_blank(character: str) -> bool:
    return character.isspace() or unicodedata.category(character)[0] in "ZC"


def sheet_markup(sheet: Sheet, opened: bool = False) -> Html:
    """Return the table, folded away unless `opened`, with its number of rows and its CSV."""
    if not sheet.rows:
        return Html()
    link = tag("a", "CSV", href=_address(sheet), download=f"{sheet.name}.csv", title=f"Download {sheet.name}.csv")
    inside = tag("div", table_markup(sheet), class_="scroll")
    folded = tag("details", tag("summary", _title(sheet)), inside, open=opened)
    return tag("div", folded, tag("p", link, class_="csv"), class_="sheet")


def sheet_on_demand(sheet: Sheet) -> Html:
    """Return the table folded away; of a long one the title alone, as its rows and its CSV may be a megabyte.

    A click on that title reports `act` with `do="table"`; answer it with `sheet_markup(sheet, opened=True)`.
    """
    if len(sheet.rows) <= SHOWN:
        return sheet_markup(sheet)
    summary = tag("summary", _title(sheet), data_do="table")
    return tag("div", tag("details", summary, tag("p", "Loading…", class_="hint")), class_="sheet")


def _title(sheet: Sheet) -> str:
    return f"Table, {len(sheet.rows):,} row{'s' * (len(sheet.rows) > 1)}"


def table_markup(sheet: Sheet) -> Html:
    """Return the table alone; figures are set to the right."""
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in sheet.columns)))
    body = [tag("tr", *(_cell(cell) for cell in row)) for row in sheet.rows[:SHOWN]]
    rest = len(sheet.rows) - SHOWN
    note = tag("p", f"{rest} more rows are in the CSV.", class_="hint") if rest > 0 else Html()
    return join(tag("table", head, tag("tbody", *body)), note)


def _cell(cell: CellValue) -> Html:
    if isinstance(cell, str) or cell is None:
        return tag("td", cell or "")
    return tag("td", f"{cell:.3f}" if isinstance(cell, float) else str(cell), class_="figure")


def _address(sheet: Sheet) -> str:
    """Return a data URL: nothing is written on the server and no folder has to be opened to the browser."""
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(to_csv(sheet).encode()).decode("ascii")
