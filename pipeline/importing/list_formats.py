"""The rows of a list by column, out of CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence

from pipeline.errors import DataError
from pipeline.importing.texts import from_cell, tidy

NAMES = ("file_name", "filename", "file", "path", "image", "image_path")  # of the picture's column, best first
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
MAX_ROWS = 1_000_000
MAX_CELL = 1_000_000  # characters
Line = tuple[int, Mapping[str, object]]
"""A number, as `lists.ListedPicture` counts, and cells by column."""


def short(text: str) -> str:
    """Return the text quoted, and cut where it is long."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _column(name: object) -> str:
    """Return a column's name as it is compared: "File Name" and "file-name" are "file_name"."""
    return "_".join(tidy(str(name)).casefold().replace("-", " ").replace("_", " ").split())


def _named(cells: Mapping[str, object], name: str) -> Mapping[str, object]:
    named: dict[str, object] = {}
    for column, value in cells.items():
        key = _column(column)
        if key in named:
            raise DataError(f"{name} has two columns called {short(key)}; rename one.")
        named[key] = value
    return named


def csv_rows(text: str, name: str, faults: list[str]) -> Iterator[Line]:
    """Yield the rows below the header; what cannot be read is added to `faults`.

    Raises `DataError` for a header with a column twice.
    """
    delimiter = "\t" if name.lower().endswith(".tsv") else delimiter_of(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    header: list[str] = []
    previous = csv.field_size_limit(MAX_CELL)
    try:
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                faults.append(f"Line {line} {_csv_fault(str(error))}.")
                continue
            if cells is None:
                return
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = cells
                _named(dict.fromkeys(header), name)
                _refuse_repeated(header, name)
            elif len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
                faults.append(f"Line {line} has {len(cells)} cells and the header {len(header)}; quote what holds the "
                              f"{DELIMITERS[delimiter].removesuffix('s')}.")  # fmt: skip
            else:
                values = map(from_cell, cells)
                yield line, _named(dict(zip(header, values, strict=False)), name)
    finally:
        csv.field_size_limit(previous)


def _refuse_repeated(header: Sequence[str], name: str) -> None:
    known = [_column(column) for column in header]
    twice = next((column for column in known if column and known.count(column) > 1), "")
    if twice:
        raise DataError(f"{name} has two columns called {short(twice)}; rename one.")


def delimiter_of(text: str) -> str:
    """Return the delimiter under which the first line names a picture's column; a comma where none does."""
    head = next((line for line in text.replace("\r", "\n").split("\n") if line.strip()), "")
    for delimiter in DELIMITERS:
        try:
            cells = next(csv.reader([head], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error:
            continue
        if len(cells) > 1 and {_column(cell) for cell in cells} & set(NAMES):
            return delimiter
    return ","


def _csv_fault(error: str) -> str:
    if "unexpected end of data" in error:
        return "opens a quote that is not closed, and what follows it cannot be told apart"
    if "field larger" in error:
        return f"holds a cell of more than {MAX_CELL} characters"
    return "has text after a closing quote" if "expected after" in error else f"cannot be read: {error}"


def json_lines(text: str, faults: list[str]) -> Iterator[Line]:
    """Yield the objects, one a line; what is none is added to `faults`."""
    for line, part in enumerate(text.split("\n"), start=1):  # no other character ends a line of JSON Lines
        if part.strip():
            try:
                row = _loaded(part)
            except (ValueError, RecursionError) as error:
                faults.append(f"Line {line} is not JSON ({_json_fault(error)}).")
                continue
            yield from _object(line, row, faults)


def json_rows(text: str, name: str, faults: list[str]) -> Iterator[Line]:
    """Yield the objects of a list; what is none is added to `faults`. Raises `DataError` for anything but a list."""
    try:
        rows = _loaded(text)
    except (ValueError, RecursionError) as error:
        where = f"line {error.lineno}, " if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{name} is not JSON ({where}{_json_fault(error)}); write a list of objects.") from error
    if not isinstance(rows, list):
        raise DataError(f"{name} holds no list; write a list of objects with file_name and label.")
    for number, row in enumerate(rows, start=1):
        yield from _object(number, row, faults)


def _loaded(text: str) -> object:
    return json.loads(text, parse_constant=_no_number)


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no number")


def _json_fault(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"column {error.colno}: {error.msg}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _object(line: int, row: object, faults: list[str]) -> Iterator[Line]:
    if not isinstance(row, dict):
        faults.append(f"Line {line} is no object with file_name and label.")
        return
    try:
        yield line, _named(row, "The line")
    except DataError:
        faults.append(f"Line {line} has a column twice.")


def parquet_rows(data: bytes, name: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield the number of each row and its cells by column. Raises `DataError` when they cannot be read."""
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        if file.metadata.num_rows > MAX_ROWS:
            raise DataError(f"{name} has {file.metadata.num_rows} rows; give at most {MAX_ROWS}.")
        _refuse_repeated(file.schema_arrow.names, name)
        line = 0
        for batch in file.iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                line += 1
                yield line, _named(row, name)
    except (pyarrow.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{name} cannot be read as Parquet; write it again, or as CSV.") from error
