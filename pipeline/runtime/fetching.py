"""A model on its way from a hub, in a process of its own: told how far it is, and killed when it is to stop.

The library that fetches has no cancel, and waits a minute for a hub that went silent; a process can be ended at any
moment. Files that arrived whole stay in the hub's cache.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from multiprocessing.connection import Connection
from typing import Any

from tqdm.auto import tqdm

from pipeline.errors import ModelError
from pipeline.runtime.hub import HubModel, fetch
from pipeline.types import Step

TICK = 0.25  # seconds between two looks at a silent process
MB = 1_000_000


def fetch_apart(model: HubModel, size: int, step: Step) -> None:
    """Fetch a model of `size` bytes; tell the MB so far, and stop at once when `step` raises.

    Raises `ModelError` when it cannot be fetched, or when more arrives than was told.
    """
    context = multiprocessing.get_context("spawn")  # a fork would hold the server's sockets and models
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(model, there), name="fetch", daemon=True)
    process.start()
    there.close()
    try:
        told: int | ModelError | None = 0
        while isinstance(told, int):
            step(min(told, size) // MB, max(1, size // MB))
            if told > size + MB:  # configurations may be counted otherwise
                raise ModelError(f"More of '{model}' arrived than its hub had told; nothing of it is used.")
            if here.poll(TICK):
                told = _received(here)
        if told:
            raise told
        step(max(1, size // MB), max(1, size // MB))
    finally:
        process.kill()
        process.join()
        here.close()


def _received(pipe: Connection) -> int | ModelError | None:
    """Return the bytes so far, what went wrong, or None at the end."""
    try:
        told: int | ModelError | None = pipe.recv()
    except EOFError:
        return ModelError("The process that fetched a model was ended from outside; start the job again.")
    return told


def _work(model: HubModel, pipe: Connection) -> None:
    """Fetch and tell, as a process of its own."""
    seen, lock = 0, threading.Lock()  # files come in several threads

    class Told(tqdm):  # the library's own kind of bar
        """Counts the bytes; the library has one bar for files and two for bytes, of which the fullest counts."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})
            self._bytes = 0.0
            self._counts = options.get("unit") == "B"

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal seen
            with lock:
                self._bytes += n or 0
                if self._counts and self._bytes > seen:
                    seen = int(self._bytes)
                    pipe.send(seen)
            return None

    with contextlib.suppress(BrokenPipeError):  # whoever asked is gone
        try:
            fetch(model, Told)
            pipe.send(None)
        except ModelError as error:
            pipe.send(error)
