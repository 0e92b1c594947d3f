"""Pictures on the disk, each under the sha256 of its own bytes: <root>/ab/<sha256>.png. Knows nothing but pictures."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from PIL.Image import Image

from pipeline.errors import ImageError, StoreError
from pipeline.images import encode, open_image


class Media:
    """A folder of pictures that only grows. Safe to use from many threads and processes at once."""

    def __init__(self, root: Path) -> None:
        """Make the folder when it is not there. Raises `OSError`."""
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Return where the picture of this key lies, if it is here."""
        return self._root / key[:2] / f"{key}.png"

    def touch(self, key: str) -> bool:
        """Return whether the picture is here; it counts as wanted from now on, so that nothing tidies it away."""
        try:
            os.utime(self.path(key))
        except FileNotFoundError:
            return False
        return True

    def put(self, image: Image) -> str:
        """Write the picture unless it is here and return its key; on the disk when this returns. Raises `OSError`."""
        data = encode(image)
        key = hashlib.sha256(data).hexdigest()
        if not self.touch(key):
            folder = self.path(key).parent
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                sync_folder(self._root)
            write_whole(self.path(key), data)
        return key

    def get(self, key: str) -> Image:
        """Return the picture of this key. Raises `StoreError` when it is missing or damaged."""
        try:
            return open_image(self.path(key))
        except ImageError as error:
            message = f"Picture {key[:12]} is missing from the data folder or damaged; restore it."
            raise StoreError(message, path=self.path(key)) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write the file so that it is there complete or not at all, even when the machine stops. Raises `OSError`."""
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the folder's names on the disk when it returns. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
