"""What people wrote, as text: a file's bytes decoded, names and labels tidied, cells that no spreadsheet runs."""

from __future__ import annotations

import codecs
import unicodedata

from pipeline.errors import DataError

FORMULA = ("=", "+", "-", "@", "|", "\t", "\r")  # a spreadsheet would run a cell that begins so
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


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
