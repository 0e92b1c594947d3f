"""Lists of labels in every format, over every door: a folder, an archive, an upload and a test set."""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError, PipelineError
from pipeline.images import encode
from pipeline.importing.archives import PARQUET, arrivals, open_source, unpacked
from pipeline.importing.folders import Found, load_folder
from pipeline.importing.lists import place_of, read_labels, read_table
from pipeline.importing.texts import from_cell
from tests.seams import picture

PNG = encode(picture("red"))
EXAMPLES = int(os.environ.get("EXPLORER_FUZZ", "200"))  # of each fuzz; 20,000 were tried
Rows = Sequence[Mapping[str, object]]


def _csv(rows: Rows, delimiter: str = ",") -> bytes:
    stream = io.StringIO(newline="")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = csv.writer(stream, delimiter=delimiter)
    table.writerow(columns)
    table.writerows([["" if row.get(name) is None else row[name] for name in columns] for row in rows])
    return stream.getvalue().encode()


def _parquet(rows: Rows) -> bytes:
    stream = io.BytesIO()
    pandas.DataFrame(list(rows)).to_parquet(stream)
    return stream.getvalue()


def _jsonl(rows: Rows) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


# name -> (file's suffix, rows -> bytes)
FORMATS: Mapping[str, tuple[str, Callable[[Rows], bytes]]] = {
    "CSV": ("csv", _csv),
    "CSV of semicolons": ("csv", lambda rows: _csv(rows, ";")),
    "CSV of tabs": ("csv", lambda rows: _csv(rows, "\t")),
    "CSV with a mark": ("csv", lambda rows: b"\xef\xbb\xbf" + _csv(rows)),
    "CSV in UTF-16": ("csv", lambda rows: _csv(rows).decode().encode("utf-16")),
    "TSV": ("tsv", lambda rows: _csv(rows, "\t")),
    "JSON Lines": ("jsonl", _jsonl),
    "JSON Lines with a mark": ("jsonl", lambda rows: b"\xef\xbb\xbf" + _jsonl(rows)),
    "JSON Lines of Windows": ("jsonl", lambda rows: _jsonl(rows).replace(b"\n", b"\r\n")),
    "JSON": ("json", lambda rows: json.dumps(list(rows), ensure_ascii=False).encode()),
    "Parquet": ("parquet", _parquet),
}
PICTURES = ("one.png", "deep/two.png", "a, b.png", "caf\u00e9.png")


def _folder(tmp_path: Path, files: Mapping[str, bytes]) -> Found:
    for name, data in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    return load_folder(tmp_path / "in")


def _archive(tmp_path: Path, files: Mapping[str, bytes]) -> Found:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return unpacked(tmp_path / "in.zip", tmp_path / "out")


def _page(tmp_path: Path, files: Mapping[str, bytes]) -> Found:
    paths = []
    for number, (name, data) in enumerate(files.items()):
        paths.append(tmp_path / str(number) / Path(name).name)
        paths[-1].parent.mkdir()
        paths[-1].write_bytes(data)
    return arrivals(paths, tmp_path / "out")


def _test_set(tmp_path: Path, files: Mapping[str, bytes]) -> Found:
    _folder(tmp_path, files)
    return open_source(tmp_path / "in" / next(name for name in files if name.startswith("metadata")))


DOORS = {"folder": _folder, "archive": _archive, "page": _page, "test set": _test_set}


def read(door: str, form: str, rows: Rows, tmp_path: Path) -> tuple[dict[str, str], list[str]]:
    """(picture -> label, reasons of what was left out)"""
    suffix, write = FORMATS[form]
    if door == "page":  # which knows uploads by their names alone
        rows = [{**row, "file_name": str(row["file_name"]).replace("\\", "/").rpartition("/")[2]} for row in rows]
    files = {name: PNG for name in PICTURES} | {f"metadata.{suffix}": write(rows)}
    found = DOORS[door](tmp_path, files)
    return {picture.path.name: picture.label for picture in found.pictures if picture.label}, [
        fault.reason for fault in found.faults
    ]


def doors(form: str) -> list[str]:
    return [door for door in DOORS if form != "Parquet" or door in ("folder", "test set")]


EVERY = [(door, form) for form in FORMATS for door in doors(form)]


@pytest.mark.parametrize(("door", "form"), EVERY)
def test_every_list_is_read_alike_at_every_door(door: str, form: str, tmp_path: Path) -> None:
    rows = [
        {"file_name": "one.png", "label": " sled ", "text": "first line\u2028second line"},
        {"file_name": "deep\\two.png", "label": "kite", "text": "a \u0085 b"},
        {"file_name": "a, b.png", "label": "7", "text": ""},
        {"file_name": unicodedata.normalize("NFD", "caf\u00e9.png"), "label": "tent", "text": "x"},
    ]
    labels, reasons = read(door, form, rows, tmp_path)
    assert labels == {"one.png": "sled", "two.png": "kite", "a, b.png": "7", "caf\u00e9.png": "tent"}
    assert reasons == []


@pytest.mark.parametrize(("door", "form"), EVERY)
def test_a_fault_costs_its_row_and_is_told_by_its_line(door: str, form: str, tmp_path: Path) -> None:
    first = 1 if FORMATS[form][0] in ("jsonl", "json", "parquet") else 2
    rows: Rows = [
        {"file_name": "one.png", "label": "sled"},
        {"file_name": "../up.png" if door != "page" else "/etc/up.png", "label": "sled"},
        {"file_name": "none.png", "label": "sled"},
        {"file_name": "a, b.png", "label": "kite"},
        {"file_name": "a, b.png", "label": "ball"},
        {"file_name": "", "label": "ball"},
        {"file_name": "one.png", "label": "sled"},
    ]
    labels, reasons = read(door, form, rows, tmp_path)
    assert labels == {"one.png": "sled"} | ({"two.png": "deep"} if door in ("folder", "archive") else {})
    told = " ".join(sorted(reasons))
    if door != "page":  # the name alone is asked for there
        assert f"Line {first + 1} names '../up.png', which lies outside the folder." in told
    assert f"Line {first + 2} names 'none.png', which is not there." in told
    assert f"Line {first + 4} gives 'a, b.png' the label 'ball', and line {first + 3} the label 'kite'" in told
    assert f"Line {first + 5} names no picture." in told


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "Parquet"])
def test_header_names_may_be_written_in_any_case_and_order(form: str, tmp_path: Path) -> None:
    rows: Rows = [{"LABEL": "sled", "File Name": "one.png"}]
    suffix, write = FORMATS[form]
    assert [(row.name, row.label) for row in read_table(write(rows), f"a.{suffix}").rows] == [("one.png", "sled")]


@pytest.mark.parametrize(
    ("label", "right"), [(None, None), ("", None), (" ", None), (3, "3"), (3.0, "3"), ("3", "3"), (True, ""), (3.5, "")]
)
def test_whole_numbers_are_labels_and_nothing_is_none(label: object, right: str | None) -> None:
    table = read_table(_jsonl([{"file_name": "a.png", "label": label}]), "a.jsonl")
    assert [row.label for row in table.rows] == ([] if right == "" else [right])
    assert len(table.faults) == (right == "")


def test_a_column_of_whole_numbers_with_gaps_stays_one() -> None:
    data = _parquet([{"file_name": "a.png", "label": 3}, {"file_name": "b.png", "label": None}])
    assert [row.label for row in read_table(data, "a.parquet").rows] == ["3", None]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"", "holds no rows"),
        ("a.csv", b"file_name,label\n", "holds no rows"),
        ("a.csv", b"name,label\na.png,x\n", r"no column for the picture's file; its columns are 'name', 'label'"),
        ("a.csv", "file_name,label\na.png,caf\u00e9\n".encode("cp1252"), r"not UTF-8: byte 0xE9 in line 2"),
        ("a.csv", "file_name,label\na.png,x\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("a.csv", b"\xff\xfea", "begins as UTF-16 and is damaged"),
        ("a.csv", b"file_name,Label,label\na.png,x,y\n", "two columns called 'label'"),
        ("a.json", b'{"a.png": "x"}', "holds no list"),
        ("a.json", b'[{"file_name": ]', r"not JSON \(line 1, column 16"),
        ("a.jsonl", b"[" * 100_000, r"Line 1 is not JSON \(nested too deeply"),
        ("a.jsonl", b"{", "Line 1 is not JSON"),
        ("a.parquet", b"PAR1 no", "cannot be read as Parquet"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_cause(name: str, data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_table(data, name)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('a.png,"x" y', "Line 3 has text after a closing quote."),
        ("a, b.png,x", "Line 3 has 3 cells and the header 2; quote what holds the comma."),
        ('a.png,"x\nc.png,y', "Line 3 opens a quote that is not closed, and what follows it cannot be told apart."),
    ],
)
def test_faults_of_a_csv_are_told_by_their_cause(line: str, words: str) -> None:
    table = read_table(f"file_name,label\nb.png,y\n{line}\n".encode(), "a.csv")
    assert table.faults == (words,)
    assert [row.name for row in table.rows] == ["b.png"]


def test_how_columns_are_parted_is_said(tmp_path: Path) -> None:
    found = _folder(tmp_path, {"one.png": PNG, "metadata.csv": b"file_name;label\none.png;sled\n"})
    assert found.notes == ("metadata.csv: Its columns are parted by semicolons.",)


def test_parquet_from_outside_is_refused_with_the_reason(tmp_path: Path) -> None:
    data = _parquet([{"file_name": "one.png", "label": "sled"}])
    for door in ("archive", "page"):
        (tmp_path / door).mkdir()
        found = DOORS[door](tmp_path / door, {"one.png": PNG, "metadata.parquet": data})
        assert [(fault.name, fault.reason) for fault in found.faults] == [("metadata.parquet", PARQUET)]
        assert [picture.label for picture in found.pictures] == [""]


def test_labels_of_a_class_list(tmp_path: Path) -> None:
    for data in (b"\xef\xbb\xbfsled\r\nball \r\n\r\n", "sled\nball".encode("utf-16"), b"sled\rball"):
        assert read_labels(data, "labels.txt") == ("sled", "ball")
    with pytest.raises(DataError, match="not UTF-8: byte 0xE9 in line 2"):
        read_labels(b"sled\ncaf\xe9\n", "labels.txt")


ODD = ("one.png", "file_name", "label", "../x", "C:\\x", "=1", '"', "a;b", "\u2028", "\ufeff")
TEXTS = st.text(max_size=20) | st.sampled_from(ODD)
CELLS = TEXTS | st.none() | st.integers() | st.floats() | st.booleans() | st.lists(TEXTS, max_size=2)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.json", "a.parquet"]), st.binary(max_size=400))
def test_any_bytes_end_in_rows_or_a_refusal(name: str, data: bytes) -> None:
    try:
        table = read_table(data, name)
    except PipelineError:
        return
    assert all(place_of(row.name) == row.name for row in table.rows)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(st.fixed_dictionaries({"file_name": CELLS, "label": CELLS}, optional={"text": TEXTS}), max_size=5),
    form=st.sampled_from(["json", "jsonl", "comma", "semicolon", "tab"]),
)
def test_any_table_ends_in_rows_or_a_refusal_and_no_label_is_made_up(rows: Rows, form: str) -> None:
    delimiters = {"comma": ",", "semicolon": ";", "tab": "\t"}
    if form in delimiters:
        data, name = _csv(rows, delimiters[form]), "a.csv"
    else:
        data = _jsonl(rows) if form == "jsonl" else json.dumps(list(rows)).encode()
        name = f"a.{form}"
    try:
        table = read_table(data, name)
    except PipelineError:
        return
    held = {unicodedata.normalize("NFC", from_cell(str(row["label"]))).strip() for row in rows}
    held |= {str(int(row["label"])) for row in rows if isinstance(row["label"], float) and row["label"].is_integer()}
    assert {row.label for row in table.rows} - {None} <= held
    assert len({row.name for row in table.rows}) == len(table.rows)
