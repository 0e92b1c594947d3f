"""Long work outside the event queue: one lock, progress while it runs, a cancel that really stops.

A Gradio event that is cancelled or whose tab is closed only stops at its next yield, and `concurrency_limit=1` lets the
next one in meanwhile. So the models are worked by a thread that holds the lock until it has truly ended, and that looks
for a cancel at every step. Knows no page and no model family.
"""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipeline.errors import Cancelled, PipelineError
from pipeline.store import Store
from pipeline.types import Models, Reinforcement, Step
from pipeline.workflow import Inversions

Item = TypeVar("Item")
TICK = 0.25  # seconds between two looks at a silent worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a piece of work is; `total` 0 while that is unknown, `waiting` while somebody else has the models."""

    done: int = 0
    total: int = 0
    seconds: float = 0.0
    waiting: bool = False

    @property
    def remaining(self) -> float:
        """Seconds still to go at the pace so far; 0 while unknown."""
        return self.seconds / self.done * (self.total - self.done) if self.done else 0.0


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """A piece of work that outlives the page that started it."""

    name: str
    title: str
    started: float = field(default_factory=time.monotonic)
    progress: Progress = field(default_factory=Progress)
    note: str = ""
    losses: list[float] = field(default_factory=list)
    state: str = "running"  # then "done", "failed" or "cancelled"
    error: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    result: Reinforcement | None = None

    def step(self, done: int, total: int) -> None:
        """Notes the progress; raises `Cancelled` once somebody asked to stop."""
        if self.stop.is_set():
            raise Cancelled(f"{self.title} was cancelled; nothing was changed.")
        self.progress = Progress(done=done, total=total, seconds=time.monotonic() - self.started)


@dataclass(slots=True, kw_only=True, eq=False)
class Desk:
    """What every handler works with: the models behind one lock, the store, and the work under way."""

    models: Models
    store: Store
    lock: threading.Lock = field(default_factory=threading.Lock)
    running: dict[str, threading.Event] = field(default_factory=dict)  # photo key -> its cancel
    jobs: dict[str, Job] = field(default_factory=dict)
    inversions: Inversions = field(default_factory=Inversions)

    @contextmanager
    def using(self) -> Iterator[Models]:
        """The models, for a short call."""
        with self.lock:
            yield self.models

    def stream(self, key: str, work: Callable[[Models, Step], Iterator[Item]]) -> Iterator[Item | Progress]:
        """Runs `work` in a thread under the lock and hands over its items, with `Progress` in between.

        Closing the iterator, or `cancel(key)`, stops the work at its next step. Raises what the work raises.
        """
        stop = threading.Event()
        stream = _Stream[Item](stop=stop)
        self.running[key] = stop
        # The event's context goes along, so that warnings raised by the work find their page.
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(stream.run, self.models, self.lock, work), daemon=True).start()
        try:
            yield from stream.items()
        finally:
            stop.set()
            if self.running.get(key) is stop:
                del self.running[key]

    def cancel(self, key: str) -> bool:
        """Asks the work on this photo to stop; True when there was some."""
        stop = self.running.get(key)
        if stop is not None:
            stop.set()
        return stop is not None

    def start(self, job: Job, work: Callable[[Models, Job], None]) -> None:
        """Runs `work` as a job in a thread under the lock; a running job of the same name stays as it is."""
        known = self.jobs.get(job.name)
        if known is None or known.state != "running":
            self.jobs[job.name] = job
            threading.Thread(target=self._run, args=(job, work), daemon=True).start()

    def _run(self, job: Job, work: Callable[[Models, Job], None]) -> None:
        job.state = _ended(job, lambda: self._locked(job, work))

    def _locked(self, job: Job, work: Callable[[Models, Job], None]) -> None:
        with self.lock:
            job.started = time.monotonic()
            job.step(0, 0)
            work(self.models, job)


def _ended(job: Job, work: Callable[[], None]) -> str:
    """Runs the work and says how it ended; keeps its sentence. An unforeseen fault ends the job and then surfaces."""
    state = "failed"
    try:
        work()
        state = "done"
    except Cancelled as error:
        state, job.error = "cancelled", str(error)
    except PipelineError as error:
        job.error = str(error)
    finally:
        job.error = job.error or ("" if state == "done" else "It ended unexpectedly; the server's log says why.")
        job.state = state
    return state


@dataclass(slots=True, kw_only=True, eq=False)
class _Stream(Generic[Item]):
    """The channel between one worker thread and the generator that an event consumes."""

    stop: threading.Event
    channel: queue.SimpleQueue[Item | _End] = field(default_factory=queue.SimpleQueue)
    progress: Progress = field(default_factory=lambda: Progress(waiting=True))

    def run(self, models: Models, lock: threading.Lock, work: Callable[[Models, Step], Iterator[Item]]) -> None:
        """The thread: takes the lock, works, and always ends the channel."""
        error: BaseException | None = None
        try:
            with lock:
                started = time.monotonic()
                self._step(started, 0, 0)
                for item in work(models, lambda done, total: self._step(started, done, total)):
                    self.channel.put(item)
                    if self.stop.is_set():
                        raise Cancelled("Stopped; everything that was ready is kept.")
        except BaseException as fault:
            error = fault
        self.channel.put(_End(error))

    def _step(self, started: float, done: int, total: int) -> None:
        if self.stop.is_set():
            raise Cancelled("Stopped; everything that was ready is kept.")
        self.progress = Progress(done=done, total=total, seconds=time.monotonic() - started)

    def items(self) -> Iterator[Item | Progress]:
        """Items as they come, and the progress whenever the worker is silent for a moment."""
        while True:
            try:
                item = self.channel.get(timeout=TICK)
            except queue.Empty:
                yield self.progress
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
