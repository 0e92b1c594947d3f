"""Work with the models outside the event queue: one thread, progress while it runs, a cancel that really stops.

A Gradio event that is cancelled or whose tab is closed only stops at its next yield, and `concurrency_limit=1` lets the
next one in meanwhile. So one thread does all the work with the models, each piece to its true end before the next, and
looks for a cancel at every step. What takes longer than a preview is a job, recorded in the store
(`pipeline/store/jobs.py`). Knows no page and no model family.
"""

from __future__ import annotations

import contextvars
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

from pipeline.curation.catalogue import Catalogue
from pipeline.editing.inversion_cache import Inversions
from pipeline.errors import Cancelled, PipelineError
from pipeline.store.jobs import CANCELLED, DONE, FAILED, WAITING, Hold, Interrupted, Job
from pipeline.store.store import Store
from pipeline.tasks.kinds import APART, KINDS, task_of
from pipeline.tasks.tasks import Task, job_of
from pipeline.types import Models, Step

Item = TypeVar("Item")
Answer = TypeVar("Answer")
log = logging.getLogger(__name__)
TICK = 0.25  # seconds between two looks at a silent worker
BEAT = 1.0  # seconds between two heartbeats of a job, and between two looks for one
PATIENCE = 10.0  # seconds for which a server that ends waits for its job's next step


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
        """Return the seconds still to go at the pace so far; 0 while unknown."""
        return self.seconds / self.done * (self.total - self.done) if self.done else 0.0


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None


class Worker:
    """The one thread that works with the models: a piece at a time, in the order in which they were asked for.

    Always the same thread, because OpenMP keeps a team of processor threads for every thread that computes, and where
    there are several teams each runs at about half the speed. A daemon, so that the program may end while it works.
    """

    def __init__(self, name: str = "models") -> None:
        self._pieces: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, work: Callable[[], Answer]) -> Future[Answer]:
        """Return the future of what `work` returns or raises, once its turn has come."""
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


class Runner:
    """The runner of recorded jobs: those of its kinds, the oldest first and one at a time, on this process's models.

    A job that a killed server left behind goes on by itself: its work can be cut off anywhere, and nobody sits by at
    night. Only one that was cut off again and again waits for a person (`ATTEMPTS`). After everything that a job
    finishes, other work that waits for the models has its turn.
    """

    def __init__(
        self, models: Models, store: Store, worker: Worker, inversions: Inversions, kinds: Collection[str]
    ) -> None:
        self._models, self._store, self._worker, self._inversions = models, store, worker, inversions
        self._kinds = kinds
        self._hold: Hold | None = None
        self._thread: threading.Thread | None = None
        self._lock, self._wake, self._closed = threading.Lock(), threading.Event(), threading.Event()

    def open(self) -> None:
        """Take up what waits, from now on."""
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
                self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """Take up nothing more, and give the job under way back at its next step."""
        self._closed.set()
        if (hold := self._hold) is not None:
            hold.halt(Interrupted())
        self._wake.set()
        end = time.monotonic() + PATIENCE
        while self._hold is not None and time.monotonic() < end:
            time.sleep(0.01)
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def add(self, task: Task, analyst: str = "") -> Job:
        """Record the task as a job and have it done in its turn; return the known job when it is the same one."""
        job = self._store.jobs.add(*job_of(task, self._models.profile, analyst))
        self.open()
        return job

    def cancel(self, job: str, revision: int | None = None) -> Job:
        """Stop a job at its next step, here at once; under another server's models at that one's next heartbeat."""
        known = self._store.jobs.cancel(job, revision)
        if (hold := self._hold) is not None and hold.job.id == job:
            hold.halt()
        return known

    def retry(self, job: str, revision: int | None = None) -> Job:
        """Have a job that ended go on, from what it has finished."""
        known = self._store.jobs.retry(job, revision)
        self.open()
        return known

    def _run(self) -> None:
        while not self._closed.is_set() and not self._store.database.closed:
            try:
                self._tick()
            except PipelineError as error:
                log.warning("a job could not be looked after: %s", error.in_full())
            self._wake.wait(BEAT)
            self._wake.clear()

    def _tick(self) -> None:
        if (hold := self._hold) is not None:
            hold.beat()
        elif (hold := self._store.jobs.take(self._models.profile.name, self._kinds)) is not None:
            self._hold = hold
            self._worker.submit(lambda: self._begin(hold))

    def _begin(self, hold: Hold) -> None:
        try:
            task = task_of(hold.job.kind, self._store.jobs.parameters(hold.job.id))
        except PipelineError as error:
            self._fail(hold, error)
        else:
            self._advance(hold, task.run(hold, self._models, self._store.fenced(hold), self._inversions))

    def _advance(self, hold: Hold, pieces: Iterator[None]) -> None:
        """Do the next piece and queue for the one after; note how the work ended, with its sentence."""
        try:
            hold.look()
            next(pieces)
            self._worker.submit(lambda: self._advance(hold, pieces))
        except StopIteration:
            self._end(hold, DONE)
        except Cancelled as stopped:
            self._end(hold, CANCELLED, str(stopped))
        except Interrupted:
            hold.tell(attempts=0)
            self._end(hold, WAITING)
        except PipelineError as error:
            self._fail(hold, error)
        except Exception:
            log.exception("%s ended unexpectedly", hold.job.title)
            self._end(hold, FAILED, "It ended unexpectedly; the server's log says why.")

    def _fail(self, hold: Hold, error: PipelineError) -> None:
        log.warning("%s failed: %s", hold.job.title, error.in_full())
        self._end(hold, FAILED, str(error))

    def _end(self, hold: Hold, state: str, error: str = "") -> None:
        try:
            hold.end(state, error)
        except PipelineError as fault:
            log.warning("the end of '%s' was not saved: %s", hold.job.title, fault.in_full())
        finally:
            self._hold = None
            self._wake.set()


@dataclass(slots=True, kw_only=True, eq=False)
class Desk:
    """What every handler works with: the models and their worker, the store, and the work under way."""

    models: Models
    store: Store
    shared: bool = False  # others than who started the server can reach it
    model_folder: Path | None = None  # the folder of classifiers to choose from; the data folder's own without it
    fetch_limit: int = 4_000_000_000  # bytes that a visitor may have fetched for one classifier; 0 forbids it
    worker: Worker = field(default_factory=Worker)
    running: dict[str, threading.Event] = field(default_factory=dict)  # photo key -> its cancel
    inversions: Inversions = field(init=False)
    catalogue: Catalogue = field(init=False)
    runner: Runner = field(init=False)
    fetcher: Runner = field(init=False)  # of jobs that need no model

    def __post_init__(self) -> None:
        """Put inversions beside the store's records, and make the runners of the jobs."""
        self.catalogue = Catalogue(self.store)
        self.inversions = Inversions(self.store.root / "inversions")
        kinds = [kind for kind in KINDS if kind not in APART]
        self.runner = Runner(self.models, self.store, self.worker, self.inversions, kinds)
        self.fetcher = Runner(self.models, self.store, Worker("fetching"), self.inversions, APART)

    def ask(self, work: Callable[[Models], Answer]) -> Answer:
        """Return what a short piece of work returns; waits for its turn. Not to be called from within other work."""
        return self.worker.submit(lambda: work(self.models)).result()

    def stream(self, key: str, work: Callable[[Models, Step], Iterator[Item]]) -> Iterator[Item | Progress]:
        """Have `work` done in its turn and yield its items, with `Progress` in between.

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
        """Ask the work on this photo to stop; return whether there was some."""
        stop = self.running.get(key)
        if stop is not None:
            stop.set()
        return stop is not None

    def open(self) -> None:
        """Take up the jobs that wait, from now on."""
        self.runner.open()
        self.fetcher.open()

    def close(self) -> None:
        """Let go of the jobs under way, so that the next server goes on with them at once."""
        self.runner.close()
        self.fetcher.close()


@dataclass(slots=True, kw_only=True, eq=False)
class _Stream(Generic[Item]):
    """The channel between the worker and the generator that an event consumes."""

    stop: threading.Event
    channel: queue.SimpleQueue[Item | _End] = field(default_factory=queue.SimpleQueue)
    progress: Progress = field(default_factory=lambda: Progress(waiting=True))

    def run(self, models: Models, work: Callable[[Models, Step], Iterator[Item]]) -> None:
        """Do the work, and end the channel whatever happens."""
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
        """Yield items as they come, and the progress whenever the worker is silent for a moment."""
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
