"""Lists of pictures and labels as people bring them: CSV, JSON Lines, JSON and Parquet, and labels one a line.

Every door reads them here: folders, archives, uploads, test sets and the command line. A mistake costs its row and is
told with its line; a file that cannot be read at all is a `DataError` with the cause. Reads bytes, knows no picture.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath, PureWindowsPath

from pipeline.errors import DataError

FORMATS = (".jsonl", ".ndjson", ".csv", ".tsv", ".json", ".parquet")
NAMES = ("file_name", "filename", "file", "path", "image", "image_path")  # of the picture's column, best first
LABELS = ("label", "class", "class_name")
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
FORMULA = ("=", "+", "-", "@", "|", "\t", "\r")  # a spreadsheet would run a cell that begins so
MAX_ROWS = 1_000_000
MAX_CELL = 1_000_000  # characters
HEADER = "write file_name and label in its first line"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A file, or a line of one, that was left out, and why."""

    name: str  # as the person knows it
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a list says of one picture."""

    line: int  # from 1, as a text editor counts; of Parquet the row
    name: str  # below the list's own folder, parts parted by "/", composed (NFC)
    label: str | None  # None where it says none
    cells: Mapping[str, object] = field(default_factory=dict)  # everything else by column


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A list as it was understood."""

    rows: tuple[Row, ...]  # no two of one name
    faults: tuple[str, ...] = ()  # sentences that begin with the line
    contested: frozenset[str] = frozenset()  # names with a line that cannot be used, or two that differ
    note: str = ""  # how its columns are parted, where that is not by commas


def is_list(name: str) -> bool:
    """Return whether the file's suffix is that of a list."""
    return PurePosixPath(name).suffix.lower() in FORMATS


def read_table(data: bytes, name: str) -> Table:
    """Return the rows of a list whose file is called `name`, and what could not be used of it.

    Raises `DataError` for a file without rows or without a column that names the picture, for an encoding other than
    UTF-8 or marked UTF-16 and UTF-32, and for what is no CSV, JSON or Parquet.
    """
    suffix = PurePosixPath(name).suffix.lower()
    faults: list[str] = []
    if suffix == ".parquet":
        found = list(parquet_rows(data, name))
    elif suffix in (".jsonl", ".ndjson"):
        found = list(_json_lines(decode(data, name), faults))
    elif suffix == ".json":
        found = list(_json_rows(decode(data, name), name, faults))
    else:
        found = list(_csv_rows(decode(data, name), name, faults))
    table = _table(found, name, faults)
    parted = _delimiter(decode(data, name)) if suffix == ".csv" else ","
    return table if parted == "," else replace(table, note=f"Its columns are parted by {DELIMITERS[parted]}.")


def read_labels(data: bytes, name: str) -> tuple[str, ...]:
    """Return one label a line, stripped, without empty lines. Raises `DataError` for another encoding."""
    lines = (tidy(line) for line in decode(data, name).replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return tuple(line for line in lines if line)


def decode(data: bytes, name: str) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark, without the mark.

    Raises `DataError` that says what the encoding seems to be and where.
    """
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{name} {_other_encoding(data, encoding, error)}; save it as UTF-8.") from error
    if encoding == "utf-8" and "\0" in text[:1000]:
        raise DataError(f"{name} seems to be UTF-16 without a byte order mark; save it as UTF-8.")
    return text


def _other_encoding(data: bytes, encoding: str, error: UnicodeDecodeError) -> str:
    if encoding != "utf-8":
        return f"begins as {encoding.removesuffix('-sig').upper()} and is damaged at byte {error.start + 1}"
    line = data.count(b"\n", 0, error.start) + 1
    if data.count(0, 0, 1000) > len(data[:1000]) / 4:
        return "seems to be UTF-16 without a byte order mark"
    return f"is not UTF-8: byte 0x{data[error.start]:02X} in line {line} is of another encoding, such as Windows-1252"


def tidy(text: str) -> str:
    """Return the text composed (NFC) and without white space around it, as names and labels are compared."""
    return unicodedata.normalize("NFC", text).strip()


def place_of(text: str) -> str:
    """Return a name below a folder, parts parted by "/"; "" for one that leads out of it or is none."""
    name = tidy(text).replace("\\", "/")
    place = PurePosixPath(name)
    outside = place.is_absolute() or ".." in place.parts or PureWindowsPath(name).drive or "\0" in name
    return "" if outside or not place.parts else place.as_posix()


def label_of(value: object) -> str | None:
    """Return a cell of the label's column as text, None for an empty one. Raises `DataError` for what is no label."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # of a column of whole numbers with gaps
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise DataError("holds a label that is neither text nor a whole number.")
    return None if value is None else tidy(str(value)) or None


def as_cell(text: str) -> str:
    """Return a text as a cell of a CSV that no spreadsheet runs as a formula; `from_cell` gives it back."""
    return f"'{text}" if _is_formula(text) else text


def from_cell(text: str) -> str:
    """Return the text behind `as_cell`."""
    return text[1:] if text.startswith("'") and _is_formula(text[1:]) else text


def _is_formula(text: str) -> bool:
    """Return whether a spreadsheet would run it, or it looks like one that was kept from running."""
    bare = text.lstrip("'")
    shown = unicodedata.normalize("NFKC", bare)
    start = "".join(char for char in shown if not (char.isspace() or unicodedata.category(char) in ("Cc", "Cf")))
    return start.startswith(FORMULA) or bare.startswith(FORMULA)


_Found = tuple[int, Mapping[str, object]]


def _table(found: Sequence[_Found], name: str, faults: list[str]) -> Table:
    columns = list(dict.fromkeys(column for _, row in found for column in row))
    picture = next((column for column in NAMES if column in columns), "")
    if not found:
        if faults:
            raise DataError(f"{name} holds no row that can be used: {faults[0]}")
        raise DataError(f"{name} holds no rows; {HEADER}, then a line per picture.")
    if not picture:
        told = ", ".join(repr(column) for column in columns[:8]) or "none"
        raise DataError(f"{name} has no column for the picture's file; its columns are {told}: {HEADER}.")
    labelled = next((column for column in LABELS if column in columns), "")
    return _joined((_row(line, row, picture, labelled) for line, row in found), faults)


def _row(line: int, row: Mapping[str, object], picture: str, labelled: str) -> Row | tuple[str, str]:
    """Return the row, or (what is wrong with it, the name that it holds)."""
    name = row.get(picture)
    if not isinstance(name, str) or not name.strip():
        return f"Line {line} names no picture.", ""
    place = place_of(name)
    if not place:
        return f"Line {line} names {_short(name)}, which lies outside the folder.", ""
    try:
        label = label_of(row.get(labelled))
    except DataError as error:
        return f"Line {line} {error}", place
    return Row(line=line, name=place, label=label, cells={k: v for k, v in row.items() if k != picture})


def _joined(found: Iterator[Row | tuple[str, str]], faults: list[str]) -> Table:
    rows: dict[str, Row] = {}
    contested: set[str] = set()
    for row in found:
        if not isinstance(row, Row):
            faults.append(row[0])
            contested |= {row[1]} - {""}
            continue
        first = rows.setdefault(row.name, row)
        if first.label != row.label:
            labels = f"{_said(row.label)}, and line {first.line} {_said(first.label)}"
            faults.append(f"Line {row.line} gives {_short(row.name)} {labels}: neither counts.")
            contested.add(row.name)
    kept = tuple(row for row in rows.values() if row.name not in contested)
    return Table(rows=kept, faults=tuple(faults), contested=frozenset(contested))


def _said(label: str | None) -> str:
    return "no label" if label is None else f"the label {_short(label)}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _column(name: object) -> str:
    """Return a column's name as it is compared: "File Name" and "file-name" are "file_name"."""
    return "_".join(tidy(str(name)).casefold().replace("-", " ").replace("_", " ").split())


def _named(cells: Mapping[str, object], name: str) -> Mapping[str, object]:
    named: dict[str, object] = {}
    for column, value in cells.items():
        key = _column(column)
        if key in named:
            raise DataError(f"{name} has two columns called {_short(key)}; rename one.")
        named[key] = value
    return named


def _csv_rows(text: str, name: str, faults: list[str]) -> Iterator[_Found]:
    delimiter = "\t" if name.lower().endswith(".tsv") else _delimiter(text)
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
        raise DataError(f"{name} has two columns called {_short(twice)}; rename one.")


def _delimiter(text: str) -> str:
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


def _json_lines(text: str, faults: list[str]) -> Iterator[_Found]:
    for line, part in enumerate(text.split("\n"), start=1):  # no other character ends a line of JSON Lines
        if part.strip():
            try:
                row = _loaded(part)
            except (ValueError, RecursionError) as error:
                faults.append(f"Line {line} is not JSON ({_json_fault(error)}).")
                continue
            yield from _object(line, row, faults)


def _json_rows(text: str, name: str, faults: list[str]) -> Iterator[_Found]:
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


def _object(line: int, row: object, faults: list[str]) -> Iterator[_Found]:
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
