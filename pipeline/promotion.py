"""Reinforced classifiers that are selectable everywhere: copies in a data folder, beside the profile's own.

A promoted classifier lives in <data>/classifiers/<name>, a folder that the same loader opens. Nothing is overwritten.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

from pipeline.curation import new_folder
from pipeline.errors import DataError, InputError
from pipeline.types import Profile

FOLDER = "classifiers"


def promote(folder: Path, root: Path, name: str, profile: Profile) -> Path:
    """Copies a saved classifier into the data folder `root` under a name of its own; returns the copy.

    Raises `DataError` for a folder that holds no classifier and for a name that is taken, `InputError` for a name that
    cannot be a folder's.
    """
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise DataError(f"{folder} holds no classifier; give a folder that reinforce has written.")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,59}", name):
        raise InputError(f"'{name}' cannot name a classifier; use letters, digits, dots, dashes and underscores.")
    if name in with_promoted(profile, root).classifiers:
        raise DataError(f"There is a classifier '{name}' already; choose another name.")
    with new_folder(root / FOLDER / name) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
    return root / FOLDER / name


def with_promoted(profile: Profile, root: Path) -> Profile:
    """The profile with the data folder's classifiers after its own; its own names win."""
    found = sorted((root / FOLDER).glob("*/config.json")) if (root / FOLDER).is_dir() else []
    promoted = {file.parent.name: str(file.parent.resolve()) for file in found if not file.parent.name.startswith(".")}
    return replace(profile, classifiers={**profile.classifiers, **promoted, **profile.classifiers})
