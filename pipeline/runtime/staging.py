"""Folders that appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from pipeline.errors import DataError, StoreError, display_name, reason


def refuse_used(folder: Path) -> None:
    """Raise `DataError` when the folder is a file or holds something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"'{display_name(folder)}' exists already and is not empty; name a new folder."
        raise DataError(message, path=folder)


@contextmanager
def new_folder(folder: Path, moment: AbstractContextManager[None] | None = None) -> Iterator[Path]:
    """Offer a hidden folder beside `folder` that takes its place at the end, or vanishes when something fails.

    It takes its place within `moment`, such as `Store.alone()`.
    """
    refuse_used(folder)
    partial: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        yield partial
        partial.chmod(0o755)  # mkdtemp's folder is for its owner alone
        with moment or nullcontext():
            partial.replace(folder)
    except OSError as error:
        why, detail = reason(error)
        message = f"'{display_name(folder)}' cannot be written: {why}; free some space or choose another."
        raise StoreError(message, path=folder, detail=detail) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
