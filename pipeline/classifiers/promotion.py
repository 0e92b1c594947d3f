"""Classifiers that a data folder adds to the profile's own: copies of reinforced ones, and others by what names them.

A promoted classifier lives in <data>/classifiers/<name>, a folder that the same loader opens; of an added one the file
named.txt in such a folder says which it is: a published name, or "models:NAME" of the list in `model_folder.py`. A path
that stands there, as in data folders of earlier versions, is not followed. Nothing is overwritten.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.classifiers import model_folder
from pipeline.classifiers.sources import HUB, PUBLISHED
from pipeline.errors import DataError, InputError, display_name
from pipeline.runtime.hub import hub_model
from pipeline.runtime.staging import new_folder
from pipeline.settings import Profile
from pipeline.types import Models

FOLDER = "classifiers"
NAMED = "named.txt"
LISTED = "models:"  # before a name of the list


def promote(folder: Path, root: Path, name: str, profile: Profile) -> Path:
    """Copy a saved classifier into the data folder `root` under a name of its own; return the copy.

    Raises `DataError` for a folder that holds no classifier and for a name that is taken, `InputError` for a name that
    cannot be a folder's.
    """
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        message = f"'{display_name(folder)}' holds no classifier; give a folder that reinforce has written."
        raise DataError(message, path=folder)
    refuse_name(name, root, profile)
    with new_folder(root / FOLDER / name) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
    return root / FOLDER / name


def add(text: str, root: Path, name: str, profile: Profile) -> Path:
    """Note a classifier under a name of its own: a published name, or "models:NAME"; return the folder of the note.

    Opens nothing. Raises `InputError` for any other text and for a name that cannot be a folder's, `DataError` for one
    that is taken.
    """
    refuse_name(name, root, profile)
    if not (_is_published(text) or text.startswith(LISTED)):
        raise InputError("A classifier is added by a published name or from the list; name a folder in a profile.")
    with new_folder(root / FOLDER / name) as partial:
        (partial / NAMED).write_text(text + "\n", encoding="utf-8")
    return root / FOLDER / name


def add_and_open(models: Models, root: Path, text: str, name: str) -> None:
    """Add a classifier and open it; one that does not open is removed again. Raises `PipelineError`."""
    add(text, root, name, models.profile)
    try:
        models.adopt(root)
        models.classifier(name)
    except BaseException:
        remove(root, name)
        models.adopt(root)
        raise


def remove(root: Path, name: str) -> None:
    """Remove an added classifier, when it turned out not to open; a promoted one stays."""
    folder = root / FOLDER / name
    if (folder / NAMED).is_file():
        shutil.rmtree(folder, ignore_errors=True)


def refuse_name(name: str, root: Path, profile: Profile) -> None:
    """Raise `InputError` for a name that cannot be a folder's, `DataError` for one that is taken."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,59}", name):
        raise InputError("This cannot name a classifier; use letters, digits, dots, dashes and underscores.")
    if name in profile.classifiers or (root / FOLDER / name).exists():
        raise DataError(f"There is a classifier '{name}' already; choose another name.")


def with_promoted(profile: Profile, root: Path, models: Path | None = None) -> Profile:
    """Return the profile with the data folder's classifiers after its own; its own names win.

    `models` is the folder of the list; the data folder's own without it.
    """
    found = model_folder.list_classifiers(models or root / model_folder.FOLDER)
    promoted = {folder.name: text for folder in _folders(root) if (text := _text(folder, found))}
    return replace(profile, classifiers={**profile.classifiers, **promoted, **profile.classifiers})


def unavailable_names(root: Path, models: Path | None = None) -> tuple[str, ...]:
    """Return the names of what was added and cannot be chosen: named by a path, or gone from the list."""
    found = model_folder.list_classifiers(models or root / model_folder.FOLDER)
    return tuple(folder.name for folder in _folders(root) if (folder / NAMED).is_file() and not _text(folder, found))


def _folders(root: Path) -> list[Path]:
    return sorted((root / FOLDER).glob("[!.]*")) if (root / FOLDER).is_dir() else []


def _text(folder: Path, found: Mapping[str, Path]) -> str:
    """Return what a profile would say for this folder; "" when it holds no classifier, or names one by a path."""
    if not (folder / NAMED).is_file():
        return str(folder.resolve()) if (folder / "config.json").is_file() else ""
    text = (folder / NAMED).read_text(encoding="utf-8").strip()
    if text.startswith(LISTED):
        return str(found.get(text.removeprefix(LISTED), ""))
    return text if _is_published(text) else ""


def _is_published(text: str) -> bool:
    """Return whether `sources.published_model` may know this name; no such text is a path."""
    return bool(PUBLISHED.fullmatch(text)) or (text.startswith(HUB) and hub_model("classifier", text) is not None)
