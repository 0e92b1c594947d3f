"""Lists of pictures and labels as people bring them: CSV, JSON Lines, JSON and Parquet, and labels one a line.

Every door reads them here: folders, archives, uploads, test sets and the command line. A mistake costs its row and is
told with its line; a file that cannot be read at all is a `DataError` with the cause. Which rows the
bytes hold is told in `list_formats.py`. Reads bytes, knows no picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath, PureWindowsPath

from pipeline.errors import DataError
from pipeline.importing.list_formats import (
    DELIMITERS,
    NAMES,
    Line,
    csv_rows,
    delimiter_of,
    json_lines,
    json_rows,
    parquet_rows,
    short,
)
from pipeline.importing.texts import decode, tidy

FORMATS = (".jsonl", ".ndjson", ".csv", ".tsv", ".json", ".parquet")
LABELS = ("label", "class", "class_name")
HEADER = "write file_name and label in its first line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A file, or a line of one, that was left out, and why."""

    name: str  # as the person knows it
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPicture:
    """What a list says of one picture."""

    line: int  # from 1, as a text editor counts; of Parquet the row
    name: str  # below the list's own folder, parts parted by "/", composed (NFC)
    label: str | None  # None where it says none
    cells: Mapping[str, object] = field(default_factory=dict)  # everything else by column


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A list as it was understood."""

    rows: tuple[ListedPicture, ...]  # no two of one name
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
        found = list(json_lines(decode(data, name), faults))
    elif suffix == ".json":
        found = list(json_rows(decode(data, name), name, faults))
    else:
        found = list(csv_rows(decode(data, name), name, faults))
    table = _table(found, name, faults)
    parted = delimiter_of(decode(data, name)) if suffix == ".csv" else ","
    return table if parted == "," else replace(table, note=f"Its columns are parted by {DELIMITERS[parted]}.")


def read_labels(data: bytes, name: str) -> tuple[str, ...]:
    """Return one label a line, stripped, without empty lines. Raises `DataError` for another encoding."""
    lines = (tidy(line) for line in decode(data, name).replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return tuple(line for line in lines if line)


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


def _table(found: Sequence[Line], name: str, faults: list[str]) -> Table:
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


def _row(line: int, row: Mapping[str, object], picture: str, labelled: str) -> ListedPicture | tuple[str, str]:
    """Return the row, or (what is wrong with it, the name that it holds)."""
    name = row.get(picture)
    if not isinstance(name, str) or not name.strip():
        return f"Line {line} names no picture.", ""
    place = place_of(name)
    if not place:
        return f"Line {line} names {short(name)}, which lies outside the folder.", ""
    try:
        label = label_of(row.get(labelled))
    except DataError as error:
        return f"Line {line} {error}", place
    return ListedPicture(line=line, name=place, label=label, cells={k: v for k, v in row.items() if k != picture})


def _joined(found: Iterator[ListedPicture | tuple[str, str]], faults: list[str]) -> Table:
    rows: dict[str, ListedPicture] = {}
    contested: set[str] = set()
    for row in found:
        if not isinstance(row, ListedPicture):
            faults.append(row[0])
            contested |= {row[1]} - {""}
            continue
        first = rows.setdefault(row.name, row)
        if first.label != row.label:
            labels = f"{_said(row.label)}, and line {first.line} {_said(first.label)}"
            faults.append(f"Line {row.line} gives {short(row.name)} {labels}: neither counts.")
            contested.add(row.name)
    kept = tuple(row for row in rows.values() if row.name not in contested)
    return Table(rows=kept, faults=tuple(faults), contested=frozenset(contested))


def _said(label: str | None) -> str:
    return "no label" if label is None else f"the label {short(label)}"
