"""The jobs of a data folder: what is to be done, how far it is and how it ended.

A job's id is a hash of everything that determines its result, so one that is started twice is one job. Whoever takes a
job up holds it by a lease: every heartbeat raises the job's counter, and a process takes a job over when it has itself
seen, by its own monotonic clock, no new beat for `LEASE` seconds. So no clock is compared with another machine's, on
SQLite as on PostgreSQL; the price is that a job whose holder was killed waits so long for the next process.

A holder that was merely paused for longer may work on for a moment beside the one that took over, but only one's writes
count: each take raises the job's revision, which is its fencing token, and whatever rests on an older one is refused in
its own transaction, a job's end and heartbeats here, everything that its work saves by `Store.fenced`. What there is to
do, and how, is told in `pipeline/tasks/`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sql

from pipeline.errors import Cancelled, ConflictError, DataError
from pipeline.store import schema
from pipeline.store.database import Database, saving

LEASE = 20.0  # seconds for which another process must have seen no heartbeat before it takes a job over
ATTEMPTS = 3  # how often a job is taken up again without finishing anything, before a person has to say so
SHOWN = 50  # jobs in the list until more are asked for
WAITING, RUNNING, DONE, FAILED, CANCELLED, INTERRUPTED = STATES = (
    "waiting", "running", "done", "failed", "cancelled", "interrupted",
)  # fmt: skip
ENDED = (DONE, FAILED, CANCELLED, INTERRUPTED)
CUT_OFF = (
    f"The server was stopped {ATTEMPTS} times in the middle of it before anything was finished; its log may say why. "
    "Resume to try again."
)


class Interrupted(Exception):
    """The work ends here because its server does, and goes on with the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One line of the list of jobs; times in seconds since the epoch, 0 for not yet."""

    id: str
    kind: str  # as in `tasks/kinds.py`
    title: str
    profile: str  # name of the profile whose models do it
    analyst: str = ""  # who started it
    result: str = ""  # where what comes of it is found; what that means depends on the kind
    state: str = WAITING  # one of `STATES`
    stop: bool = False  # somebody asked to stop
    done: int = 0
    total: int = 0  # 0 while that is unknown
    remaining: float = 0.0  # seconds still to go at the last heartbeat; 0 while unknown
    note: str = ""  # what it is at
    live: str = ""  # JSON: what its page shows meanwhile
    error: str = ""  # how it ended when not as wished, or what had to be left out
    attempts: int = 0  # times it was taken up since it last finished anything
    revision: int = 0
    created: float = 0.0
    started: float = 0.0  # of the latest attempt
    heartbeat: float = 0.0  # by its holder's clock, to be shown and not to be compared
    beats: int = 0  # heartbeats so far
    ended: float = 0.0

    @property
    def active(self) -> bool:
        """Return whether it waits or runs."""
        return self.state not in ENDED


_NAMES = tuple(field.name for field in fields(Job))
_COLUMNS = tuple(schema.jobs.c[name] for name in _NAMES)


class Jobs:
    """The list of jobs. Safe to use from many threads and processes at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}  # running job -> its latest beat, and when it was new

    def add(self, job: Job, parameters: str) -> Job:
        """Put a job at the end of the list and return it; one that is there already is returned as it is.

        One that failed, was cancelled or interrupted waits again. Raises `StoreError`.
        """
        line = {name: getattr(job, name) for name in _NAMES} | {"parameters": parameters, "created": time.time()}
        with saving(f"The job '{job.title}' could not be saved"), self._database.write() as connection:
            query = schema.insert(connection, schema.jobs).values(line)
            connection.execute(query.on_conflict_do_nothing(index_elements=["id"]))
            known = _find(connection, job.id)
            return known if known.active or known.state == DONE else _again(connection, known)

    def get(self, id_: str) -> Job | None:
        """Return the job, or None."""
        with self._database.read() as connection:
            return _found(connection, id_)

    def parameters(self, id_: str) -> str:
        """Return the job's arguments as JSON, as they were given to `add`. Raises `DataError` for an unknown job."""
        with self._database.read() as connection:
            found = connection.execute(sql.select(schema.jobs.c.parameters).where(schema.jobs.c.id == id_)).scalar()
        if found is None:
            raise DataError("This job is not in the data folder; start it again.")
        return str(found)

    def all(self, kind: str = "", count: int = SHOWN) -> tuple[Job, ...]:
        """Return the `count` latest jobs, of one kind or of all, and whatever else waits or runs; the newest first."""
        number = schema.jobs.c.number
        of_kind = (schema.jobs.c.kind == kind,) if kind else ()
        latest = sql.select(number).where(*of_kind).order_by(number.desc()).limit(count).subquery()
        wanted = number.in_(sql.select(latest.c.number)) | schema.jobs.c.state.not_in(ENDED)
        query = sql.select(*_COLUMNS).where(wanted, *of_kind).order_by(number.desc())
        with self._database.read() as connection:
            return tuple(Job(**row._mapping) for row in connection.execute(query))

    def number(self) -> int:
        """Return how many jobs there are."""
        with self._database.read() as connection:
            return connection.execute(sql.select(sql.func.count()).select_from(schema.jobs)).scalar_one()

    def take(self, profile: str, kinds: Collection[str] | None = None) -> Hold | None:
        """Take the oldest job of this profile, and of these kinds, that nobody holds; None when there is none.

        A job that was cut off `ATTEMPTS` times without finishing anything becomes "interrupted" instead.
        """
        with self._database.read() as connection:
            if not self._free(connection, profile, kinds):
                return None
        with saving("A job could not be taken up"), self._database.write() as connection:
            for job in self._free(connection, profile, kinds):
                now = time.time()
                if job.stop:
                    _move(connection, job, CANCELLED, ended=now, error="It was cancelled; what was finished is kept.")
                elif job.attempts >= ATTEMPTS:
                    _move(connection, job, INTERRUPTED, ended=now, error=CUT_OFF)
                else:
                    fresh = {"attempts": job.attempts + 1, "started": now, "heartbeat": now, "remaining": 0.0}
                    return Hold(self, _move(connection, job, RUNNING, **fresh))
        return None

    def _free(self, connection: sql.Connection, profile: str, kinds: Collection[str] | None) -> list[Job]:
        """Return what waits, and what runs no longer because its holder is gone, the oldest first."""
        state = schema.jobs.c.state
        query = sql.select(*_COLUMNS).where(state.in_((WAITING, RUNNING))).order_by(schema.jobs.c.number)
        active = [Job(**row._mapping) for row in connection.execute(query)]
        lapsed = self._lapsed([job for job in active if job.state == RUNNING])
        free = (job for job in active if job.state == WAITING or job.id in lapsed)
        return [job for job in free if job.profile == profile and (kinds is None or job.kind in kinds)]

    def _lapsed(self, running: Sequence[Job]) -> frozenset[str]:
        """Note the latest beats, and return the jobs that have given none for `LEASE` seconds under these eyes."""
        now = time.monotonic()
        with self._lock:
            before, self._seen = self._seen, {}
            for job in running:
                beat = job.revision, job.beats
                known = before.get(job.id)
                self._seen[job.id] = known if known is not None and known[0] == beat else (beat, now)
            return frozenset(id_ for id_, (_, since) in self._seen.items() if now - since >= LEASE)

    def cancel(self, id_: str, revision: int | None = None) -> Job:
        """Ask a running job to stop, and end one that waits; the job as it then is.

        Raises `ConflictError` when it has ended, or when it is not as the caller saw it, at `revision`.
        """
        with saving("The job could not be cancelled"), self._database.write() as connection:
            job = _seen(_find(connection, id_), revision)
            if job.state == WAITING:
                return _move(connection, job, CANCELLED, ended=time.time(), error="It was cancelled before it began.")
            if not job.active:
                raise _moved_on(job)
            connection.execute(sql.update(schema.jobs).where(schema.jobs.c.id == id_).values(stop=True))
            return _find(connection, id_)

    def retry(self, id_: str, revision: int | None = None) -> Job:
        """Let a job that has ended wait again; what it finished stays finished. Raises `ConflictError` as `cancel`."""
        with saving("The job could not be started again"), self._database.write() as connection:
            job = _seen(_find(connection, id_), revision)
            if job.active:
                raise _moved_on(job)
            return _again(connection, job)

    def beat(self, job: Job, **values: Any) -> Job:
        """Renew the lease on a job that the caller holds and note how far it is; the job as it then is.

        Raises `ConflictError` when somebody else holds it by now.
        """
        with saving(f"The progress of '{job.title}' could not be saved"), self._database.write() as connection:
            held = (schema.jobs.c.id == job.id, schema.jobs.c.revision == job.revision)
            beat = {"heartbeat": time.time(), "beats": schema.jobs.c.beats + 1}
            query = sql.update(schema.jobs).where(*held).values(**beat, **values)
            if not connection.execute(query).rowcount:
                raise _moved_on(_find(connection, job.id))
            return _find(connection, job.id)

    def end(self, job: Job, state: str, **values: Any) -> Job:
        """Give a job that the caller holds out of its hands, in this state. Raises `ConflictError` as `beat`."""
        values |= {"ended": time.time() if state in ENDED else 0.0, "heartbeat": time.time(), "remaining": 0.0}
        with saving(f"The end of '{job.title}' could not be saved"), self._database.write() as connection:
            return _move(connection, job, state, **values)


class Hold:
    """A job in this process's hands: the working thread tells how far it is, another one keeps the lease."""

    def __init__(self, jobs: Jobs, job: Job) -> None:
        self.job = job  # as at the latest heartbeat
        self._jobs, self._lock, self._saving = jobs, threading.Lock(), threading.Lock()
        self._halt: Exception | None = None
        self._fresh: dict[str, Any] = {}  # values that no heartbeat has told yet
        self._pace: tuple[float, int, int] = 0.0, 0, -1  # when, and from where, the present total was begun

    def look(self) -> None:
        """Raise what is to end the work, once something is: `Cancelled` when somebody asked to stop."""
        if self._halt is not None:
            raise self._halt

    def step(self, done: int, total: int, note: str | None = None) -> None:
        """Note the progress, and look."""
        now = time.monotonic()
        if total != self._pace[2]:
            self._pace = now, done, total
        since, before, _ = self._pace
        each = (now - since) / (done - before) if done > before else 0.0
        self.tell(done=done, total=total, remaining=each * (total - done), **({} if note is None else {"note": note}))
        self.look()

    def tell(self, **values: Any) -> None:
        """Note other values of the job, to be saved by the next heartbeat."""
        with self._lock:
            self._fresh |= values

    def kept(self) -> None:
        """Note that something was finished that the next attempt need not do again."""
        self.tell(attempts=0)

    def halt(self, reason: Exception | None = None) -> None:
        """Have the work end at its next look; without a reason because somebody asked to stop."""
        self._halt = self._halt or reason or Cancelled("It was cancelled; what was finished is kept.")

    def beat(self) -> None:
        """Renew the lease and save the progress; halt the work when it is to stop or is somebody else's by now."""
        with self._saving:
            if self.job.state != RUNNING:  # its end came first
                return
            try:
                self.job = self._jobs.beat(self.job, **self._told())
            except ConflictError as error:
                self.halt(error)
                raise
        if self.job.stop:
            self.halt()

    def end(self, state: str, error: str = "") -> None:
        """Save how the work ended, with all progress. Raises `ConflictError` when it is somebody else's by now."""
        with self._saving:
            values = self._told() | ({"error": error} if error else {})
            self.job = self._jobs.end(self.job, state, **values)

    def _told(self) -> dict[str, Any]:
        with self._lock:
            values, self._fresh = self._fresh, {}
            return values


def refuse_lost(connection: sql.Connection, job: Job) -> None:
    """Raise `ConflictError` when the job is no longer held under this revision; for the transaction that writes."""
    held = sql.select(schema.jobs.c.revision).where(schema.jobs.c.id == job.id, schema.jobs.c.state == RUNNING)
    if connection.execute(held).scalar() != job.revision:
        raise _moved_on(_find(connection, job.id))


def _found(connection: sql.Connection, id_: str) -> Job | None:
    row = connection.execute(sql.select(*_COLUMNS).where(schema.jobs.c.id == id_)).one_or_none()
    return None if row is None else Job(**row._mapping)


def _find(connection: sql.Connection, id_: str) -> Job:
    job = _found(connection, id_)
    if job is None:
        raise DataError("This job is not in the data folder; start it again.")
    return job


def _seen(job: Job, revision: int | None) -> Job:
    if revision is not None and revision != job.revision:
        raise _moved_on(job)
    return job


def _again(connection: sql.Connection, job: Job) -> Job:
    return _move(connection, job, WAITING, stop=False, attempts=0, error="", remaining=0.0, ended=0.0)


def _move(connection: sql.Connection, job: Job, state: str, **values: Any) -> Job:
    """Return the job in another state. Raises `ConflictError` when it has changed since it was read."""
    query = sql.update(schema.jobs).where(schema.jobs.c.id == job.id, schema.jobs.c.revision == job.revision)
    if not connection.execute(query.values(state=state, revision=job.revision + 1, **values)).rowcount:
        raise _moved_on(_find(connection, job.id))
    return _find(connection, job.id)


def _moved_on(job: Job) -> ConflictError:
    return ConflictError(f"Meanwhile '{job.title}' is {job.state}; nothing was changed, look at it again.")
