"""Inversions, found again by what determined them: the last few in memory, the others on the disk up to a limit.

Knows the editor only as a protocol. What lies on the disk is a cache: a file that cannot be read is made again, a disk
that cannot be written costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections import OrderedDict
from dataclasses import fields
from pathlib import Path
from threading import Lock

from safetensors import SafetensorError

from pipeline.settings import Settings
from pipeline.types import Inversion, Models, Step, Study

LIMIT = 8  # in memory: about 3 MB each at 512 pixels, 15 MB with null-text
DISK_LIMIT = 2 * 10**9  # bytes
SUFFIX = ".safetensors"
logger = logging.getLogger(__name__)


class Inversions:
    """Inversions by content: picture, caption, method, steps, guidance, and the editor's weights and schedulers.

    One for an application; safe in threads, and several processes may share the folder.
    """

    def __init__(self, folder: Path | None = None, *, limit: int = LIMIT, disk_limit: int = DISK_LIMIT) -> None:
        """Keep `limit` inversions in memory, and `disk_limit` bytes in the folder if there is one.

        Those used longest ago go first.
        """
        self._folder, self._limit, self._disk_limit = folder, limit, disk_limit
        self._lock = Lock()
        self._kept: OrderedDict[str, Inversion] = OrderedDict()

    def get(self, models: Models, study: Study, settings: Settings, step: Step | None = None) -> Inversion:
        """Return the inversion of the study's photo under its caption, made when neither memory nor disk has it."""
        key = _key(models, study, settings)
        with self._lock:
            found = self._kept.get(key) or self._read(key)
        if found is None:
            found = models.editor.invert(study.photo.image, study.caption, settings, step)
            with self._lock:
                self._write(key, found)
        with self._lock:
            self._kept[key] = found
            self._kept.move_to_end(key)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return found

    def _read(self, key: str) -> Inversion | None:
        if self._folder is None or not (path := self._folder / (key + SUFFIX)).is_file():
            return None
        try:
            inversion = _load(path)
            os.utime(path)
        except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
            logger.warning("the cached inversion %s cannot be read and is made again: %s", path.name, error)
            path.unlink(missing_ok=True)
            return None
        return inversion

    def _write(self, key: str, inversion: Inversion) -> None:
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _save(inversion, self._folder / (key + SUFFIX))
            self._make_room(self._folder)
        except OSError as error:
            logger.warning("inversions cannot be kept in %s: %s", self._folder, error)

    def _make_room(self, folder: Path) -> None:
        """Delete the files used longest ago until the others are within the limit."""
        files = sorted(
            ((path.stat(), path) for path in folder.glob(f"*{SUFFIX}")), key=lambda file: file[0].st_mtime_ns
        )
        excess = sum(stat.st_size for stat, _ in files) - self._disk_limit
        for stat, path in files:
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= stat.st_size


def _key(models: Models, study: Study, settings: Settings) -> str:
    parts = (
        study.photo.key,
        study.caption,
        settings.inversion,
        (settings.null_text_learning_rate, settings.null_text_min_gain),
        settings.num_inference_steps,
        settings.guidance_scale,
        models.editor.fingerprint,
    )
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()


def _save(inversion: Inversion, path: Path) -> None:
    """Write the file complete or not at all. Raises `OSError`."""
    import numpy as np
    import torch
    from safetensors.torch import save

    tensors = {"reconstruction": torch.from_numpy(np.array(inversion.reconstruction))}
    known: dict[str, object] = {}
    for name in (field.name for field in fields(inversion) if field.name != "reconstruction"):
        value = getattr(inversion, name)
        if isinstance(value, torch.Tensor):
            tensors[name] = value.cpu().contiguous()
        else:
            known[name] = value
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(save(tensors, {"inversion": json.dumps(known)}))
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _load(path: Path) -> Inversion:
    from PIL import Image
    from safetensors import safe_open

    with safe_open(path, framework="pt") as stream:
        values = json.loads(stream.metadata()["inversion"])
        values |= {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118  # not a dict
    values["reconstruction"] = Image.fromarray(values["reconstruction"].numpy())
    return Inversion(**values)
