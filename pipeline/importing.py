"""What arrives from outside: pictures, zip archives of them and lists of labels, each fault told beside its file.

An archive is taken member by member: nothing is written outside a folder of its own, links and devices are refused, and
what was read is counted as it comes, whatever the archive claims. Pictures are opened later, at the one decode gate.
"""

from __future__ import annotations

import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipeline.curation import SUFFIXES, TABLES, LabelledImage, load_folder
from pipeline.errors import DataError, PipelineError
from pipeline.images import MAX_BYTES
from pipeline.testsets import load_csv

MAX_MEMBERS = 5_000
MAX_LIST = 2_000_000  # bytes of a list of labels, which is read into memory as a whole
MAX_UNPACKED = 1_000_000_000  # bytes of one archive, all members together
MAX_NAME = 200  # bytes of a folder's or file's name; file systems take 255
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
SAME_NAME = "Another file of the archive has the same name; rename one."
# What `zipfile` raises on damaged or hostile bytes.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    OverflowError,
    MemoryError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A file or member that was left out, and why."""

    name: str
    reason: str


def arrivals(files: Sequence[Path], folder: Path) -> Iterator[LabelledImage | Refusal]:
    """Every picture in the files with its label, "" where none is told, and a `Refusal` for what was left out.

    A CSV (columns path and label) labels the pictures that came with it, by their names. Archives are unpacked below
    `folder`, which is empty and the caller's to remove.
    """
    lists = [path for path in files if path.suffix.lower() == ".csv"]
    labels: dict[str, str] = {}
    for path in lists:
        try:
            labels |= {one.path.name: one.label for one in load_csv(_beside(path, files, folder))}
        except PipelineError as error:
            yield Refusal(name=path.name, reason=_told(error, folder))
    for number, path in enumerate(files):
        if path.suffix.lower() == ".zip":
            yield from _from_zip(path, folder / str(number))
        elif path not in lists:
            yield LabelledImage(path=path, label=labels.get(path.name, ""))


def _from_zip(path: Path, folder: Path) -> Iterator[LabelledImage | Refusal]:
    try:
        folder.mkdir(parents=True)
        refusals = tuple(unpack(path, folder))
        yield from refusals
        yield from _labelled(folder)
    except PipelineError as error:
        yield Refusal(name=path.name, reason=_told(error, folder))


def _labelled(folder: Path) -> tuple[LabelledImage, ...]:
    """The pictures of an unpacked archive; a list of labels at its top goes before its folders."""
    inside = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    if len(inside) == 1 and inside[0].is_dir() and any(path.is_dir() for path in inside[0].iterdir()):
        return _labelled(inside[0])  # one folder around everything, as most programs pack
    if len(inside) == 1 and inside[0].is_dir() and any((inside[0] / name).is_file() for name in TABLES):
        return _labelled(inside[0])
    lists = [path for path in inside if path.suffix.lower() == ".csv" and path.name not in TABLES]
    listed = {one.path: one.label for path in lists for one in load_csv(path)}
    found = load_folder(folder)
    return tuple(replace(one, label=listed.get(one.path.resolve(), one.label)) for one in found)


def unpack(path: Path, folder: Path) -> Iterator[Refusal]:
    """Writes an archive's pictures and lists below the folder, and tells what it left out.

    What is neither is passed over. Raises `DataError` for what is no zip archive and for one that unpacks to more than
    is taken.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir() and _is_wanted(one.filename)]
            if len(members) > MAX_MEMBERS:
                raise DataError(f"{path.name} holds {len(members)} files; give at most {MAX_MEMBERS} at once.")
            left, seen = MAX_UNPACKED, set[str]()
            for member in members:
                reason = SAME_NAME if member.filename in seen else _fault(member, folder)
                seen.add(member.filename)
                if reason:
                    yield Refusal(name=_shown(member.filename), reason=reason)
                    continue
                data = _read(archive, member)
                left -= MAX_BYTES if isinstance(data, Refusal) else len(data)
                if left < 0:
                    raise DataError(f"{path.name} unpacks to more than {MAX_UNPACKED // 10**9} GB; split it.")
                if isinstance(data, Refusal):
                    yield data
                    continue
                target = folder / PurePosixPath(member.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    except _DAMAGE as error:
        raise DataError(f"{path.name} is damaged or no zip archive; pack the pictures again.") from error


def _is_wanted(name: str) -> bool:
    place = PurePosixPath(name.replace("\\", "/"))
    hidden = any(part.startswith((".", "__MACOSX")) and part != ".." for part in place.parts)
    return not hidden and (place.suffix.lower() in (*SUFFIXES, *ARCHIVES, ".csv") or place.name in TABLES)


def _fault(member: zipfile.ZipInfo, folder: Path) -> str:
    """Why a member is not taken, or ""."""
    name, mode = member.filename, member.external_attr >> 16
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name:
        return "It lies outside the archive's own folder; pack it with a plain name."
    if any(unicodedata.category(char)[0] == "C" for char in member.orig_filename):
        return "Its name holds characters that cannot be seen; rename it."
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "It is a link or a device; pack the file itself."
    if member.flag_bits & 1:
        return "It is encrypted; pack it without a password."
    if max(len(part.encode()) for part in place.parts) > MAX_NAME or len(place.parts) > 10:
        return "Its name is too long; use a shorter one."
    if place.suffix.lower() in ARCHIVES:
        return "It is an archive in an archive; unpack it first."
    if place.suffix.lower() == ".parquet":  # a few bytes of it may stand for any number of rows
        return "A table in Parquet is not taken from an archive; write it as metadata.csv."
    target = folder / place
    if target.exists() or any(path.is_file() for path in target.parents if path.is_relative_to(folder)):
        return SAME_NAME
    return ""


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes | Refusal:
    """Not more than is taken of one picture or list, however much the member claims to be or not to be."""
    most = MAX_BYTES if PurePosixPath(member.filename).suffix.lower() in SUFFIXES else MAX_LIST
    try:
        with archive.open(member) as stream:
            data = stream.read(most + 1)
    except _DAMAGE:
        return Refusal(name=_shown(member.filename), reason="It is damaged; pack it again.")
    if len(data) > most:
        return Refusal(name=_shown(member.filename), reason=f"It is larger than {most // 10**6} MB; make it smaller.")
    return data


def _beside(listed: Path, files: Sequence[Path], folder: Path) -> Path:
    """A copy of the list in a folder that knows the other files by their names; uploads lie each in its own."""
    place = folder / f"list-{listed.stem[:40]}"
    place.mkdir(parents=True, exist_ok=True)
    for path in files:
        if path != listed:
            (place / path.name).touch()
    copy = place / listed.name
    copy.write_bytes(listed.read_bytes())
    return copy


def _told(error: PipelineError, folder: Path) -> str:
    """The message without the server's folders."""
    text = str(error)
    for place in (str(folder.resolve()), str(folder)):
        text = text.replace(f"{place}/", "").replace(place, "the archive")
    return text


def _shown(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name)[-80:]
