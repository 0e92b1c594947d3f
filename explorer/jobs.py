"""Work with the models outside the event queue: one thread, progress while it runs, a cancel that really stops.

A Gradio event that is cancelled or whose tab is closed only stops at its next yield, and `concurrency_limit=1` lets the
next one in meanwhile. So one thread does all the work with the models, each piece to its true end before the next, and
looks for a cancel at every step. Knows no page and no model family.
"""

from __future__ import annotations

import contextvars
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from pipeline.catalogue import Catalogue
from pipeline.errors import Cancelled, PipelineError
from pipeline.inversions import Inversions
from pipeline.store import Store
from pipeline.types import Models, Reinforcement, Step

Item = TypeVar("Item")
Answer = TypeVar("Answer")
log = logging.getLogger(__name__)
TICK = 0.25  # seconds between two looks at a silent worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a piece of work is; `total` 0 while that is unknown.

    `waiting` while somebody else has the models, `stopping` from a cancel to the step that heeds it.
    """

    done: int = 0
    total: int = 0
    seconds: float = 0.0
    waiting: bool = False
    stopping: bool = False

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


class Worker:
    """The one thread that works with the models: a piece at a time, in the order in which they were asked for.

    Always the same thread, because OpenMP keeps a team of processor threads for every thread that computes, and where
    there are several teams each runs at about half the speed. A daemon, so that the program may end while it works.
    """

    def __init__(self) -> None:
        self._pieces: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="models", daemon=True).start()

    def submit(self, work: Callable[[], Answer]) -> Future[Answer]:
        """What `work` will answer or raise, once its turn has come."""
        future: Future[Answer] = Future()
        # The event's context goes along, so that warnings raised by the work find their page.
        run = contextvars.copy_context().run

        def piece() -> None:
            try:
                future.set_result(run(work))
            except BaseException as fault:
                future.set_exception(fault)

        self._pieces.put(piece)
        return future

    def _run(self) -> None:
        while True:
            self._pieces.get()()


@dataclass(slots=True, kw_only=True, eq=False)
class Desk:
    """What every handler works with: the models and their worker, the store, and the work under way."""

    models: Models
    store: Store
    worker: Worker = field(default_factory=Worker)
    running: dict[str, threading.Event] = field(default_factory=dict)  # photo key -> its cancel
    jobs: dict[str, Job] = field(default_factory=dict)
    inversions: Inversions = field(init=False)
    catalogue: Catalogue = field(init=False)

    def __post_init__(self) -> None:
        """Inversions lie beside the store's records."""
        self.catalogue = Catalogue(self.store)
        self.inversions = Inversions(self.store.root / "inversions")

    def ask(self, work: Callable[[Models], Answer]) -> Answer:
        """What a short piece of work answers; waits for its turn. Not to be called from within other work."""
        return self.worker.submit(lambda: work(self.models)).result()

    def stream(self, key: str, work: Callable[[Models, Step], Iterator[Item]]) -> Iterator[Item | Progress]:
        """Has `work` done in its turn and hands over its items, with `Progress` in between.

        Closing the iterator, or `cancel(key)`, stops the work at its next step. Raises what the work raises.
        """
        stop = threading.Event()
        stream = _Stream[Item](stop=stop)
        self.running[key] = stop
        self.worker.submit(lambda: stream.run(self.models, work))
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
        """Has `work` done as a job in its turn; a running job of the same name stays as it is."""
        known = self.jobs.get(job.name)
        if known is None or known.state != "running":
            self.jobs[job.name] = job
            self.worker.submit(lambda: _run(job, lambda: work(self.models, job)))


def _run(job: Job, work: Callable[[], None]) -> None:
    """Does the work and notes how it ended, with its sentence; the log has the whole story of an unforeseen fault."""
    state, job.started = "failed", time.monotonic()
    try:
        job.step(0, 0)
        work()
        state = "done"
    except Cancelled as error:
        state, job.error = "cancelled", str(error)
    except PipelineError as error:
        job.error = str(error)
    except Exception:
        log.exception("%s ended unexpectedly", job.title)
        job.error = "It ended unexpectedly; the server's log says why."
    job.state = state


@dataclass(slots=True, kw_only=True, eq=False)
class _Stream(Generic[Item]):
    """The channel between the worker and the generator that an event consumes."""

    stop: threading.Event
    channel: queue.SimpleQueue[Item | _End] = field(default_factory=queue.SimpleQueue)
    progress: Progress = field(default_factory=lambda: Progress(waiting=True))

    def run(self, models: Models, work: Callable[[Models, Step], Iterator[Item]]) -> None:
        """Works, and always ends the channel."""
        error: BaseException | None = None
        try:
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
                yield replace(self.progress, stopping=self.stop.is_set())
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
