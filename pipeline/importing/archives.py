"""What arrives from outside: pictures, archives of them and lists of labels, each fault told beside its file.

An archive is taken member by member: nothing is written outside a folder of its own, links and devices are refused, and
what was read is counted as it comes, whatever the archive claims. Pictures are opened later, at the one decode gate.
"""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.errors import DataError, PipelineError, display_name
from pipeline.images import MAX_BYTES, is_picture
from pipeline.importing.folders import (
    HEAD,
    OTHERS,
    SUFFIXES,
    SYSTEMS,
    Found,
    LabelledImage,
    files_below,
    gather,
    is_system,
    load_folder,
    load_list,
)
from pipeline.importing.list_formats import parquet_rows
from pipeline.importing.lists import FORMATS, Refusal, is_list, label_of, place_of

MAX_MEMBERS = 5_000
MAX_LIST = 2_000_000  # bytes of a list of labels, which is read into memory as a whole
MAX_UNPACKED = 1_000_000_000  # bytes of one archive, all members together
MAX_NAME = 200  # bytes of a folder's or file's name; file systems take 255
OPENED = (".zip", ".tar")
ARCHIVES = (*OPENED, ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
SAME_NAME = "Another file of the archive has the same name; rename one."
UNSEEN = "Its name holds characters that cannot be seen; rename it."
# A few bytes of it may stand for any number of rows.
PARQUET = "Parquet is read from this computer's own folders alone; write the list as CSV or JSON Lines."
# What the readers of archives raise on damaged or hostile bytes.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
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
class _Member:
    name: str  # with "/" between its parts
    seen: str  # as the archive holds it
    fault: str  # "" for a plain file
    open: Callable[[], IO[bytes]]


def arrivals(files: Sequence[Path], folder: Path) -> Found:
    """Return every picture in the files with its label, "" where none is told, and what was left out.

    Lists label the pictures that came with them, by their names. Archives are unpacked below `folder`, which is empty
    and the caller's to remove; each is a folder of its own.
    """
    loose = [path for path in files if path.suffix.lower() not in (*ARCHIVES, ".parquet")]
    found = [gather([(PurePosixPath(path.name), path) for path in loose], chosen=True)]
    for number, path in enumerate(files):
        if path not in loose:
            try:
                if path.suffix.lower() == ".parquet":
                    raise DataError(PARQUET)
                found.append(unpacked(path, folder / str(number)))
            except PipelineError as error:
                found.append(Found(pictures=(), faults=(Refusal(name=path.name, reason=str(error)),)))
    return Found(
        pictures=tuple(picture for gathered in found for picture in gathered.pictures),
        faults=tuple(fault for gathered in found for fault in gathered.faults),
        passed=sum((Counter(gathered.passed) for gathered in found), Counter()),
        notes=tuple(note for gathered in found for note in gathered.notes),
    )


def open_source(path: Path) -> Found:
    """Return the pictures of a folder, of those that a list names, or of an archive or a Parquet file that holds them.

    What a file holds is unpacked where this process keeps it until it ends. Raises `DataError` for what cannot be read
    and for a source without pictures.
    """
    suffix = path.suffix.lower()
    if not path.is_file() or not (suffix in ARCHIVES or is_list(path.name)):
        return load_folder(path)
    if suffix in ARCHIVES:
        found = unpacked(path, _kept() / "pictures")
    else:
        found = (_held(path) if suffix == ".parquet" else None) or load_list(path)
    if not found.pictures and not found.faults:
        message = (
            f"There is no picture in '{display_name(path)}'; give one that holds or names PNG, JPEG or WebP files."
        )
        raise DataError(message, path=path)
    return found


@cache
def _places() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="explorer-")


def _kept() -> Path:
    """Return a new folder that goes when the process ends."""
    return Path(tempfile.mkdtemp(dir=_places().name))


def _held(path: Path) -> Found | None:
    """Return the pictures in the cells of a Parquet file, as `datasets` writes them; None when it only names them."""
    rows = list(parquet_rows(path.read_bytes(), path.name))
    if not any(isinstance(row.get("image"), dict) for _, row in rows):
        return None
    folder, pictures, faults = _kept(), list[LabelledImage](), list[Refusal]()
    for number, row in rows:
        try:
            cell = row.get("image")
            data = cell.get("bytes") if isinstance(cell, dict) else None
            if not isinstance(cell, dict) or not isinstance(data, bytes):
                raise DataError("holds no picture.")
            label, name = label_of(row.get("label")), PurePosixPath(place_of(str(cell.get("path") or ""))).name
        except DataError as error:
            faults.append(Refusal(name=path.name, reason=f"Row {number} {error}"))
            continue
        target = folder / f"{number}-{name[-80:]}"
        target.write_bytes(data)
        pictures.append(LabelledImage(path=target, label=label or "", cells=row))
    return Found(pictures=tuple(pictures), faults=tuple(faults))


def unpacked(path: Path, folder: Path) -> Found:
    """Return what an archive holds, unpacked into a new folder. Raises `DataError` for what cannot be opened."""
    folder.mkdir(parents=True)
    refusals, passed = unpack(path, folder)
    found = gather([(PurePosixPath(file.relative_to(folder).as_posix()), file) for file in files_below(folder)])
    return replace(found, faults=(*refusals, *found.faults), passed=passed + Counter(found.passed))


def unpack(path: Path, folder: Path) -> tuple[tuple[Refusal, ...], Counter[str]]:
    """Write an archive's pictures and lists below the folder; return what was refused, and how much was passed over.

    Raises `DataError` for what is no zip or tar archive and for one that unpacks to more than is taken.
    """
    refusals: list[Refusal] = []
    passed: Counter[str] = Counter()
    seen: set[str] = set()
    left = MAX_UNPACKED
    try:
        with _members(path) as members:
            for number, member in enumerate(members):
                if number >= MAX_MEMBERS:
                    raise DataError(f"{path.name} holds more than {MAX_MEMBERS} files; give at most so many at once.")
                if is_system(PurePosixPath(member.name)):
                    passed[SYSTEMS] += 1
                    continue
                reason = SAME_NAME if member.name in seen else member.fault or _fault(member, folder)
                seen.add(member.name)
                data = reason or _read(member)
                if data is None:
                    passed[OTHERS] += 1
                    continue
                left -= len(data) if isinstance(data, bytes) else 0 if reason else MAX_BYTES
                if left < 0:
                    raise DataError(f"{path.name} unpacks to more than {MAX_UNPACKED // 10**9} GB; split it.")
                if isinstance(data, str):
                    refusals.append(Refusal(name=_shown(member.seen), reason=data))
                    continue
                target = folder / PurePosixPath(member.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    except _DAMAGE as error:
        raise DataError(f"{path.name} is damaged or no zip or tar archive; pack the pictures again.") from error
    return tuple(refusals), passed


@contextmanager
def _members(path: Path) -> Iterator[Iterator[_Member]]:
    """Yield the files of an archive, folders left aside."""
    if path.suffix.lower() not in OPENED:
        raise DataError(f"{path.name} is no zip or tar archive; pack the pictures as zip.")
    if path.suffix.lower() == ".tar":
        with tarfile.open(path, "r:") as archive:
            yield (_of_tar(archive, member) for member in archive if not member.isdir())
    else:
        with zipfile.ZipFile(path) as zipped:
            yield (_of_zip(zipped, member) for member in zipped.infolist() if not member.is_dir())


def _of_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Member:
    fault = ""
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        fault = "It is a link or a device; pack the file itself."
    elif member.flag_bits & 1:
        fault = "It is encrypted; pack it without a password."
    fault = UNSEEN if _is_unseen(member.orig_filename) else fault
    name = member.filename.replace("\\", "/")
    return _Member(name=name, seen=member.filename, fault=fault, open=lambda: archive.open(member))


def _of_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> _Member:
    fault = "" if member.isreg() else "It is a link or a device; pack the file itself."
    fault = UNSEEN if _is_unseen(member.name) else fault
    name = member.name.replace("\\", "/").removeprefix("./")
    return _Member(name=name, seen=member.name, fault=fault, open=lambda: archive.extractfile(member) or io.BytesIO())


def _is_unseen(name: str) -> bool:
    return any(unicodedata.category(char)[0] == "C" for char in name)


def _fault(member: _Member, folder: Path) -> str:
    """Return why a member is not taken, or ""."""
    place = PurePosixPath(member.name)
    if place.is_absolute() or ".." in place.parts or ":" in member.name or not place.parts:
        return "It lies outside the archive's own folder; pack it with a plain name."
    if max(len(part.encode()) for part in place.parts) > MAX_NAME or len(place.parts) > 10:
        return "Its name is too long; use a shorter one."
    if place.suffix.lower() in ARCHIVES:
        return "It is an archive in an archive; unpack it first."
    if place.suffix.lower() == ".parquet":
        return PARQUET
    target = folder / place
    if target.exists() or any(path.is_file() for path in target.parents if path.is_relative_to(folder)):
        return SAME_NAME
    return ""


def _read(member: _Member) -> bytes | str | None:
    """Return a picture or a list, why it cannot be taken, or None for what is neither.

    Not more is read than is taken of one, however much the member claims to be or not to be.
    """
    suffix = PurePosixPath(member.name).suffix.lower()
    try:
        with member.open() as stream:
            head = stream.read(HEAD)
            most = MAX_BYTES if suffix in SUFFIXES or is_picture(head) else MAX_LIST if suffix in FORMATS else 0
            data = head + stream.read(max(0, most + 1 - len(head)))
    except _DAMAGE:
        return "It is damaged; pack it again."
    if not most:
        return None
    return data if len(data) <= most else f"It is larger than {most // 10**6} MB; make it smaller."


def _shown(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name)[-80:]
