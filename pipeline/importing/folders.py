"""What a folder, an archive or an upload holds: pictures with their labels, lists, and what is passed over.

One walk for all three. A picture is what its first bytes say, whatever its suffix. Its label is that of the nearest
list above it that names it (`metadata.*` in any folder, other lists at the top), else its class folder's name; folders
called train, val or test are no classes where they are split folders. Knows no model and decodes no picture.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.errors import DataError, display_name
from pipeline.images import is_picture
from pipeline.importing.lists import FORMATS, ListedPicture, Refusal, is_list, label_of, place_of, read_table
from pipeline.importing.texts import tidy

METADATA = "metadata.jsonl"
TABLES = tuple(f"metadata{suffix}" for suffix in FORMATS)
SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval")
# A file that calls itself a picture is listed, so that the decode gate can say why it is none.
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".svg", ".heic", ".avif",
    ".psd", ".eps",
)  # fmt: skip
# Folders and files that systems and programs leave behind; what begins with a dot or "._" is theirs too.
SYSTEM = frozenset(
    ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "thumbs.db",
     "ehthumbs.db", "desktop.ini")
)  # fmt: skip
HEAD = 32  # bytes that tell a picture
SYSTEMS, OTHERS = "of the system, or hidden", "neither pictures nor lists"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """A picture file and what it shows."""

    path: Path
    label: str  # "" when nothing says it
    cells: Mapping[str, object] = field(default_factory=dict, compare=False)  # what else a list says, by column


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Pictures in the order of their names, and what else there was."""

    pictures: tuple[LabelledImage, ...]
    faults: tuple[Refusal, ...] = ()  # lists and lines of them that could not be used
    passed: Mapping[str, int] = field(default_factory=dict)  # what was passed over, in words -> how many files
    notes: tuple[str, ...] = ()  # how a list was understood, where it could be otherwise

    @property
    def told(self) -> tuple[str, ...]:
        """Return a sentence for each kind of file that was passed over, and the notes."""
        counted = (f"{n} file{'s' * (n > 1)} passed over: {what}." for what, n in self.passed.items())
        return (*counted, *self.notes)


FoundFile = tuple[PurePosixPath, Path]
"""Where a file lies as the person sees it, and where it really is."""


def load_folder(folder: Path) -> Found:
    """Return what lies in a folder. Raises `DataError` for a missing one and for one without pictures."""
    name = display_name(folder)
    if not folder.is_dir():
        message = f"There is no folder '{name}'; give a folder with one sub-folder of pictures per label."
        raise DataError(message, path=folder)
    try:
        found = gather([(PurePosixPath(path.relative_to(folder).as_posix()), path) for path in files_below(folder)])
    except OSError as error:
        raise DataError(f"The folder '{name}' cannot be read; check its permissions.", path=folder) from error
    if not found.pictures:
        message = f"There is no picture in '{name}'; give a folder with PNG, JPEG or WebP files."
        raise DataError(message, path=folder)
    return found


def load_list(file: Path) -> Found:
    """Return the pictures that a list names, below its own folder. Raises `DataError` when it cannot be read."""
    try:
        table = read_table(file.read_bytes(), file.name)
    except OSError as error:
        message = f"'{display_name(file)}' cannot be read; check its name and permissions."
        raise DataError(message, path=file) from error
    pictures, faults, root = [], list(table.faults), file.parent.resolve()
    for row in table.rows:
        forms = (row.name, unicodedata.normalize("NFD", row.name))
        path = next((file.parent / name for name in forms if (file.parent / name).is_file()), None)
        if path is None or not path.resolve().is_relative_to(root):
            faults.append(f"Line {row.line} names {row.name!r}, which is not there.")
        else:
            pictures.append(LabelledImage(path=path, label=row.label or "", cells=row.cells))
    return Found(
        pictures=tuple(pictures),
        faults=tuple(Refusal(name=file.name, reason=fault) for fault in faults),
        notes=(f"{file.name}: {table.note}",) if table.note else (),
    )


def gather(files: Sequence[FoundFile], *, chosen: bool = False) -> Found:
    """Return the pictures among these files with their labels.

    `chosen` says that a person chose every one of them: what is no list counts as a picture, and any list is read.
    Raises `OSError` for a file that cannot be read.
    """
    passed: Counter[str] = Counter()
    seen = [file for file in files if not is_system(file[0])]
    passed[SYSTEMS] = len(files) - len(seen)
    top = _top(place for place, _ in seen)
    seen = [(place.relative_to(top), path) for place, path in seen]
    lists = [file for file in seen if _is_list(file[0], chosen)]
    pictures = sorted(file for file in seen if file not in lists and (chosen or _is_picture(*file)))
    listed = _Listed(lists, seen, pictures)
    classes = _Classes([place for place, _ in pictures])
    found = [
        listed.labelled(place, path, classes.label(place)) for place, path in pictures if place not in listed.companions
    ]
    passed["pictures that a list names beside others"] = len(pictures) - len(found)
    used = {path for _, path in pictures} | listed.read
    passed[OTHERS] = sum(path not in used for _, path in seen)
    return Found(pictures=tuple(found), faults=tuple(listed.faults), passed=+passed, notes=tuple(listed.notes))


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every file below the folder, in the order of their names."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def is_system(place: PurePosixPath) -> bool:
    """Return whether a file or a folder around it is the system's or hidden."""
    return any((part.startswith(".") and part != "..") or part.casefold() in SYSTEM for part in place.parts)


def _is_picture(place: PurePosixPath, path: Path) -> bool:
    if place.suffix.lower() in SUFFIXES:
        return True
    with path.open("rb") as stream:
        return is_picture(stream.read(HEAD))


def _top(places: Iterator[PurePosixPath]) -> PurePosixPath:
    """Return the folder around everything, as most programs pack; a lone class folder is not taken for one."""
    every = list(places)
    top = PurePosixPath()
    while every:
        below = [place.relative_to(top) for place in every]
        first = below[0].parts[0]
        around = all(len(path.parts) > 1 and path.parts[0] == first for path in below)
        if not around or not any(len(path.parts) > 2 or path.name.lower() in TABLES for path in below):
            break
        if first.casefold() in SPLITS:
            break
        top /= first
    return top


def _is_list(place: PurePosixPath, chosen: bool) -> bool:
    """Return whether a file is metadata, or a list by another name at the top."""
    if place.name.lower() in TABLES:
        return True
    loose = is_list(place.name) and len(place.parts) == 1
    return loose and (chosen or place.suffix.lower() not in (".json", ".parquet"))


class _Classes:
    """Class folders, told from split folders."""

    def __init__(self, pictures: Sequence[PurePosixPath]) -> None:
        tops = {place.parts[0] for place in pictures if len(place.parts) > 1}
        holding = {place.parts[0] for place in pictures if len(place.parts) == 2}  # pictures without a folder between
        named = {top for top in tops if tidy(top).casefold() in SPLITS}
        self._splits = named if named == tops else named - holding

    def label(self, place: PurePosixPath) -> str:
        """Return the class folder's name, "" for a picture in none."""
        folders = place.parts[:-1]
        inside = folders[1:] if folders and folders[0] in self._splits else folders
        return tidy(inside[0]) if inside else ""


class _Listed:
    """What lists say of pictures."""

    def __init__(self, lists: Sequence[FoundFile], files: Sequence[FoundFile], pictures: Sequence[FoundFile]) -> None:
        self.faults: list[Refusal] = []
        self.notes: list[str] = []
        self.read: set[Path] = set()
        self._rows: dict[PurePosixPath, ListedPicture] = {}
        self._contested: set[PurePosixPath] = set()
        self._known: dict[str, list[PurePosixPath]] = {}
        for place, _ in pictures:
            self._known.setdefault(tidy(place.as_posix()), []).append(place)
        beside: set[PurePosixPath] = set()
        for place, path in self._ordered(lists):
            beside |= self._take(place, path)
        beside |= self._samples(files, pictures)
        self.companions = frozenset(beside - self._rows.keys() - self._contested)

    def labelled(self, place: PurePosixPath, path: Path, folder: str) -> LabelledImage:
        """Return the picture with the label that a list gives it, its folder's else."""
        if place in self._contested:
            return LabelledImage(path=path, label="")
        row = self._rows.get(place)
        if row is None:
            return LabelledImage(path=path, label=folder)
        return LabelledImage(path=path, label=row.label or folder, cells=row.cells)

    def _ordered(self, lists: Sequence[FoundFile]) -> Iterator[FoundFile]:
        """Yield those of deeper folders first, for the nearest above a picture counts; one metadata file a folder."""
        order = sorted(
            lists, key=lambda listed: (-len(listed[0].parts), listed[0].parent, _rank(listed[0]), listed[0].name)
        )
        first: dict[PurePosixPath, str] = {}
        for place, path in order:
            self.read.add(path)
            if place.name.lower() in TABLES and first.setdefault(place.parent, place.name) != place.name:
                reason = f"{first[place.parent]} lies beside it and counts; remove one of them."
                self.faults.append(Refusal(name=place.as_posix(), reason=reason))
            else:
                yield place, path

    def _take(self, place: PurePosixPath, path: Path) -> set[PurePosixPath]:
        """Note what one list says, and return the pictures that it names beside others."""
        try:
            table = read_table(path.read_bytes(), place.name)
        except DataError as error:
            self.faults.append(Refusal(name=place.as_posix(), reason=str(error)))
            return set()
        self.faults += [Refusal(name=place.as_posix(), reason=fault) for fault in table.faults]
        self.notes += [f"{place.as_posix()}: {table.note}"] if table.note else []
        self._contested |= {path for name in table.contested for path in self._named(place, name)} - self._rows.keys()
        companions: set[PurePosixPath] = set()
        for row in table.rows:
            self._note(place, row)
            others = (str(value) for column, value in row.cells.items() if column.endswith("_file_name") and value)
            companions |= {path for name in others for path in self._named(place, place_of(name))}
        return companions

    def _note(self, place: PurePosixPath, row: ListedPicture) -> None:
        named = self._named(place, row.name)
        if len(named) != 1:
            what = "which is not there" if not named else "and several files are called so; rename them"
            reason = f"Line {row.line} names {row.name!r}, {what}."
            self.faults.append(Refusal(name=place.as_posix(), reason=reason))
            self._contested |= set(named) - self._rows.keys()
        elif named[0] not in self._contested:
            self._rows.setdefault(named[0], row)

    def _named(self, place: PurePosixPath, name: str) -> list[PurePosixPath]:
        return self._known.get(tidy((place.parent / name).as_posix()), [])

    def _samples(self, files: Sequence[FoundFile], pictures: Sequence[FoundFile]) -> set[PurePosixPath]:
        """Read WebDataset's samples, KEY.png beside KEY.json, and return their other pictures, KEY.original.png."""
        there = {place: path for place, path in files}
        beside: set[PurePosixPath] = set()
        for place, _ in pictures:
            key, _, part = place.name.rpartition(".")[0].partition(".")
            sample = place.with_name(f"{key}.json")
            if sample not in there or place in self._rows or not key:
                continue
            self.read.add(there[sample])
            if part:
                beside.add(place)
                continue
            row = _sample(there[sample].read_bytes(), place.name)
            if row is None:
                reason = "It holds no object with a label; write it again."
                self.faults.append(Refusal(name=sample.as_posix(), reason=reason))
            else:
                self._rows[place] = row
        return beside


def _sample(data: bytes, name: str) -> ListedPicture | None:
    """Return what a sample's JSON says, None for what is no object with a label, if any, that is one."""
    try:
        cells = json.loads(data)
        return ListedPicture(line=1, name=name, label=label_of(cells.get("label")), cells=cells)
    except (ValueError, RecursionError, AttributeError, DataError):
        return None


def _rank(place: PurePosixPath) -> int:
    name = place.name.lower()
    return TABLES.index(name) if name in TABLES else len(TABLES)
