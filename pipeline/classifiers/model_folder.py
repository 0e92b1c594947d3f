"""The folder of classifiers that visitors may choose from: what lies below it is listed, and only that is opened.

A classifier is a folder with config.json and safetensors, as timm, transformers or this tool saves it; its labels are
in its config.json. A name is looked for in the list and never joined to a path, and what leads out of the folder by a
link is not listed.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import InputError

FOLDER = "models"  # in the data folder, unless another one is named
DEPTH = 3  # folders in folders that are looked through


def list_classifiers(root: Path) -> dict[str, Path]:
    """Return name, from `root` on, -> folder of each classifier below `root`, sorted; {} where there is no root."""
    top = root.resolve()
    found: dict[str, Path] = {}
    for place, folders, files in os.walk(top):
        folder = Path(place)
        depth = len(folder.relative_to(top).parts)
        folders[:] = [name for name in folders if depth < DEPTH and not name.startswith(".")]
        is_classifier = "config.json" in files and any(name.endswith(".safetensors") for name in files)
        if depth and is_classifier and all((folder / name).resolve().is_relative_to(top) for name in files):
            found[folder.relative_to(top).as_posix()] = folder.resolve()
    return dict(sorted(found.items()))


def folder_of(root: Path, name: str) -> Path:
    """Return the folder behind a name of the list. Raises `InputError` for any other text."""
    found = list_classifiers(root).get(name)
    if found is None:
        raise InputError("This is not in the list of classifiers on the server; reload the page and choose again.")
    return found
