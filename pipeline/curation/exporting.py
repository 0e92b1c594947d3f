"""Frozen sets on their way out: as an ImageFolder with everything that is known, as Parquet, WebDataset or CSV.

The ImageFolder is the set; the other forms hold the same rows (`pairs.py`) for other programs. Hugging Face's
`datasets` reads the folder as it is: `file_name` is the edit, `original_file_name` its source, so that each row is a
pair. Knows no model.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.curation.pairs import pairs, plain
from pipeline.curation.selection import labelled
from pipeline.errors import DataError, SettingsError, StoreError, display_name, reason
from pipeline.importing.folders import METADATA
from pipeline.importing.texts import as_cell
from pipeline.runtime.staging import new_folder
from pipeline.store.store import Store
from pipeline.types import CounterfactualSet

MANIFEST = "MANIFEST.json"


def find_set(store: Store, name: str, version: int = 0) -> CounterfactualSet:
    """Return the set of this name, its latest version for 0. Raises `DataError` when there is none."""
    named = [frozen for frozen in store.sets() if frozen.name == name]
    found = next((frozen for frozen in named if version in (0, frozen.version)), None)
    if found is None:
        known = ", ".join(f"{frozen.name} v{frozen.version}" for frozen in store.sets()) or "none"
        wanted = f"'{name}'" + (f" version {version}" if version else "")
        raise DataError(f"There is no set {wanted}; there are: {known}.")
    return found


def title_of(chosen_set: CounterfactualSet) -> str:
    """Return the set's name and version as a file's name, such as "beach-v003".

    A name that is no file's as it stands gets a digest, lest two sets have one file.
    """
    name = plain(chosen_set.name).replace(" ", "-")
    if name != chosen_set.name:
        name += f"-{hashlib.sha256(chosen_set.name.encode()).hexdigest()[:8]}"
    return f"{name}-v{chosen_set.version:03d}"


def export(store: Store, chosen_set: CounterfactualSet, parent: Path, form: str = "imagefolder") -> Path:
    """Write the set below `parent` under its title in one of `FORMS`, and return the folder or file.

    Raises `SettingsError` for an unknown form, `DataError` when it is there already, `StoreError` when it cannot be
    written.
    """
    if form not in FORMS:
        raise SettingsError(f"The format '{form}' is unknown; use {', '.join(FORMS)}.")
    return FORMS[form](store, chosen_set, parent / title_of(chosen_set))


def archive(store: Store, chosen_set: CounterfactualSet) -> Path:
    """Return the set as one zip below sets/ of the data folder, with its ImageFolder beside it.

    Both are made once, and anew when what its pairs show was said otherwise since.
    """
    folder = store.root / "sets" / title_of(chosen_set)
    file = _beside(folder, ".zip")
    if folder.is_dir() and _labels_in(folder) != labelled(store, chosen_set.items).labels:
        file.unlink(missing_ok=True)
        shutil.rmtree(folder)
    if not folder.is_dir():
        export_set(store, chosen_set, folder)
    if file.exists():
        return file

    def write(partial: Path) -> None:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as zipped:  # PNG does not get smaller
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                zipped.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")

    return _whole(file, write)


def export_set(store: Store, chosen_set: CounterfactualSet, folder: Path) -> Path:
    """Write <folder>/<label>/<key>.png and metadata.jsonl, which `load_folder` reads back; return the folder.

    originals/ holds the photos, README.md says what it is, MANIFEST.json holds the sha256 of every file. The folder is
    complete or absent. Raises `DataError` when it holds something already, `StoreError` when it cannot be written.
    """
    with new_folder(folder) as partial:
        lines, labels, left_out = [], [], labelled(store, chosen_set.items).left_out
        for pair in pairs(store, chosen_set):
            for place, data in ((pair.row["file_name"], pair.edit), (pair.row["original_file_name"], pair.original)):
                (partial / str(place)).parent.mkdir(exist_ok=True)
                (partial / str(place)).write_bytes(data)
            lines.append(json.dumps(pair.row, ensure_ascii=False))
            labels.append(str(pair.row["label"]))
        (partial / METADATA).write_text("\n".join(lines) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(_card(chosen_set, labels, left_out), encoding="utf-8")
        (partial / MANIFEST).write_text(json.dumps(_sums(partial), indent=1) + "\n", encoding="utf-8")
    return folder


def cell(value: object) -> str:
    """Return a value as a cell of a CSV that no spreadsheet runs as a formula; what is nested is JSON."""
    return as_cell(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parquet(store: Store, chosen_set: CounterfactualSet, stem: Path) -> Path:
    """Write columns as in metadata.jsonl; `image` and `original` hold bytes and path, as `datasets` writes pictures."""
    import pandas

    rows = []
    for pair in pairs(store, chosen_set):
        row = dict(pair.row)
        image = {"bytes": pair.edit, "path": row.pop("file_name")}
        rows.append({"image": image, "original": {"bytes": pair.original, "path": row.pop("original_file_name")}} | row)
    return _whole(_beside(stem, ".parquet"), lambda partial: pandas.DataFrame(rows).to_parquet(partial, index=False))


def _webdataset(store: Store, chosen_set: CounterfactualSet, stem: Path) -> Path:
    """Write samples of <key>.png, <key>.original.png and <key>.json, one after the other."""

    def write(partial: Path) -> None:
        with tarfile.open(partial, "w") as tar:
            for pair in pairs(store, chosen_set):
                words = json.dumps(pair.row, ensure_ascii=False).encode()
                for suffix, data in (("png", pair.edit), ("original.png", pair.original), ("json", words)):
                    member = tarfile.TarInfo(f"{Path(str(pair.row['file_name'])).stem}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))

    return _whole(_beside(stem, ".tar"), write)


def _csv(store: Store, chosen_set: CounterfactualSet, stem: Path) -> Path:
    """Return the columns of metadata.jsonl, what is nested as JSON; pictures are named and not held."""

    def write(partial: Path) -> None:
        rows = [pair.row for pair in pairs(store, chosen_set)]
        with partial.open("w", encoding="utf-8-sig", newline="") as stream:
            # Quoted, for readers that drop blanks behind a comma.
            table = csv.writer(stream, quoting=csv.QUOTE_ALL)
            table.writerow(rows[0])
            table.writerows([cell(value) for value in row.values()] for row in rows)

    return _whole(_beside(stem, ".csv"), write)


FORMS: Mapping[str, Callable[[Store, CounterfactualSet, Path], Path]] = {
    "imagefolder": export_set,
    "parquet": _parquet,
    "webdataset": _webdataset,
    "csv": _csv,
}


def _beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _whole(file: Path, write: Callable[[Path], None]) -> Path:
    """Write the file under another name, then give it its own. Errors as in `export`."""
    if file.exists():
        raise DataError(f"'{display_name(file)}' exists already; choose another folder.", path=file)
    partial = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        partial.replace(file)
    except OSError as error:
        why, detail = reason(error)
        message = f"'{display_name(file)}' cannot be written: {why}; free some space or choose another."
        raise StoreError(message, path=file, detail=detail) from error
    finally:
        if file.parent.is_dir():
            partial.unlink(missing_ok=True)
    return file


def _card(chosen_set: CounterfactualSet, labels: Sequence[str], left_out: Sequence[str]) -> str:
    """Return a dataset card: front matter that a hub reads, what a row is, how many of each class."""
    less = "".join(f"{sentence}\n" for sentence in left_out) + "\n" * bool(left_out)
    counts = "\n".join(f"| {_cell_of_table(label)} | {labels.count(label)} |" for label in sorted(set(labels)))
    return f"""---
pretty_name: {json.dumps(f"{chosen_set.name}, version {chosen_set.version}", ensure_ascii=False)}
task_categories:
- image-classification
tags:
- counterfactual
---
# {chosen_set.name}, version {chosen_set.version}

{len(labels)} counterfactual pictures of {len(set(labels))} classes, each an edit of a photo that keeps what the
photo shows, or shows what analysts corrected its label to.

{less}{METADATA} holds a line per pair: `file_name` the edit, `original_file_name` the photo, `label` what the edit
shows, `photo_label` what the photo shows, `corrected_label` where they differ, captions, factor, tau, scores,
predictions before and after, seed, models, the analysts' verdicts and `tags`; {MANIFEST} the sha256 of every file. To
open it:

    datasets.load_dataset("imagefolder", data_dir="THIS FOLDER")

| class | pairs |
|---|---|
{counts}

The pictures come from a diffusion model and can show what no camera saw. The licence is that of the source photos and
of the diffusion model.
"""


def _labels_in(folder: Path) -> dict[str, str]:
    """Return the label of each key of an exported set."""
    rows = map(json.loads, (folder / METADATA).read_text(encoding="utf-8").strip("\n").split("\n"))
    return {str(row["key"]): str(row["label"]) for row in rows}


def _cell_of_table(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")


def _sums(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file below the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
