"""Classifiers that a data folder adds to the profile's own: copies of reinforced ones, and others by what names them.

A promoted classifier lives in <data>/classifiers/<name>, a folder that the same loader opens; of an added one the file
named.txt in such a folder says what a profile would say. Nothing is overwritten.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

from pipeline.curation import new_folder
from pipeline.errors import DataError, InputError
from pipeline.profiles import resolved
from pipeline.settings import Profile

FOLDER = "classifiers"
NAMED = "named.txt"


def promote(folder: Path, root: Path, name: str, profile: Profile) -> Path:
    """Copies a saved classifier into the data folder `root` under a name of its own; returns the copy.

    Raises `DataError` for a folder that holds no classifier and for a name that is taken, `InputError` for a name that
    cannot be a folder's.
    """
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise DataError(f"{folder} holds no classifier; give a folder that reinforce has written.")
    _refuse_name(name, root, profile)
    with new_folder(root / FOLDER / name) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
    return root / FOLDER / name


def add(text: str, root: Path, name: str, profile: Profile) -> Path:
    """Notes a classifier that `networks.family_of` knows, under a name of its own; returns the folder of the note.

    Opens nothing. Raises `InputError` for a name that cannot be a folder's, `DataError` for one that is taken.
    """
    _refuse_name(name, root, profile)
    with new_folder(root / FOLDER / name) as partial:
        (partial / NAMED).write_text(resolved(text, Path.cwd()) + "\n", encoding="utf-8")
    return root / FOLDER / name


def forget(root: Path, name: str) -> None:
    """Takes an added classifier out again, when it turned out not to open; a promoted one stays."""
    folder = root / FOLDER / name
    if (folder / NAMED).is_file():
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_name(name: str, root: Path, profile: Profile) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,59}", name):
        raise InputError(f"'{name}' cannot name a classifier; use letters, digits, dots, dashes and underscores.")
    if name in with_promoted(profile, root).classifiers:
        raise DataError(f"There is a classifier '{name}' already; choose another name.")


def with_promoted(profile: Profile, root: Path) -> Profile:
    """The profile with the data folder's classifiers after its own; its own names win."""
    folders = sorted((root / FOLDER).glob("[!.]*")) if (root / FOLDER).is_dir() else []
    promoted = {folder.name: text for folder in folders if (text := _text(folder))}
    return replace(profile, classifiers={**profile.classifiers, **promoted, **profile.classifiers})


def _text(folder: Path) -> str:
    """What a profile would say for this folder; "" when it holds no classifier."""
    if (folder / NAMED).is_file():
        return (folder / NAMED).read_text(encoding="utf-8").strip()
    return str(folder.resolve()) if (folder / "config.json").is_file() else ""
