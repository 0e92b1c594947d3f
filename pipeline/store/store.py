"""Everything that is kept between sessions: records in a database, pictures as files named by their content.

A store is one folder: `explorer.db` (unless the records lie in PostgreSQL) and `media/ab/<sha256>.png`. A picture is
written before the row that names it, so a row never points at nothing; a picture without a row is harmless. Rows are
keyed by a hash of what they describe, so saving twice changes nothing. Decisions are only ever appended; what holds now
is derived. What is kept of photos is told in `pipeline/store/studies.py`. Knows no model and no page.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sql

from pipeline.errors import ConflictError, DataError, display_name
from pipeline.store import decision_rows, schema
from pipeline.store.collections import Collections
from pipeline.store.database import FILE
from pipeline.store.decisions import REDO, RESOLVE, UNDO, again, holding, stacks
from pipeline.store.jobs import Hold, Jobs, refuse_lost
from pipeline.types import Counterfactual, CounterfactualSet, Decision, Photo

VERDICTS = ("keep", "reject", "unsure", "")
_KEYS = sql.select(schema.counterfactuals.c.key, schema.counterfactuals.c.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A picture of a run that could not be studied, and why."""

    name: str
    message: str


class Store(Collections):
    """One data folder. Safe to use from many threads and processes at once."""

    def __init__(self, root: Path, database: str = "") -> None:
        """Open the folder, or make it; the records lie in it, or in PostgreSQL when `database` is its address.

        Raises `StoreError` when it cannot be written or is of another version, `DataError` for an unusable address.
        """
        super().__init__(root, database)
        self.jobs = Jobs(self.database)
        self._hold: Hold | None = None

    @classmethod
    def existing(cls, root: Path, database: str = "") -> Store:
        """Open a folder that already holds a store, its records at the address `database` if one is given.

        Raises `DataError` when there is none.
        """
        if not ((root / "media").is_dir() if database else (root / FILE).is_file()):
            message = f"There is no run in '{display_name(root)}'; make one with 'python -m pipeline stress'."
            raise DataError(message, path=root)
        return cls(root, database)

    def close(self) -> None:
        """Close all connections; the store must not be used afterwards."""
        self.database.close()

    def fenced(self, hold: Hold) -> Store:
        """Return this store for the work of a job: whatever it writes, it writes only while the job is still held.

        Each write checks that in its own transaction and raises `ConflictError` when the job is somebody else's by now.
        """
        fenced = copy.copy(self)
        fenced._hold = hold
        return fenced

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the write lock, for files that take their place beside the records; fenced like every other write."""
        with self._write(f"The data folder {self.root} could not be written"):
            yield

    @contextmanager
    def _write(self, what: str, *topics: str) -> Iterator[sql.Connection]:
        """Refuse what a job would write that is somebody else's by now."""
        with super()._write(what, *topics) as connection:
            if self._hold is not None:
                refuse_lost(connection, self._hold.job)
            yield connection

    def decide(self, decision: Decision, expected: int | None = None) -> Decision:
        """Append one decision, as `decide_all` does."""
        return self.decide_all([decision], None if expected is None else {decision.counterfactual: expected})[0]

    def decide_all(
        self, decisions: Sequence[Decision], expected: Mapping[str, int] | None = None
    ) -> tuple[Decision, ...]:
        """Append to the log, all or none, and return what is stored: of two decisions with one id, the first.

        `expected` says for counterfactuals which decision on them was the newest that was seen when this one was made,
        by its number, 0 for none. A time of 0 is replaced by now. Raises `ConflictError` when the same analyst decided
        later, or a dispute was settled, or for one that settles a dispute when anybody did; `DataError` for an unknown
        verdict or counterfactual, else `StoreError`.
        """
        for decision in decisions:
            if decision.verdict not in VERDICTS:
                raise DataError(f"The verdict '{decision.verdict}' is unknown; use keep, reject or unsure.")
        now, keys = time.time(), {decision.counterfactual for decision in decisions}
        with self._write("The decision could not be saved", schema.DECISIONS) as connection:
            known = {row.key for row in schema.in_chunks(connection, _KEYS, schema.counterfactuals.c.key, list(keys))}
            for key in sorted(keys - known):
                raise DataError(f"There is no counterfactual {key[:12]} in this data folder; save its study first.")
            seen = list(expected or ())
            latest = {whose: decision_rows.latest(connection, seen, whose) for whose in set(map(_rivals, decisions))}
            for decision in decisions:
                _refuse_late(latest[_rivals(decision)].get(decision.counterfactual), decision, expected or {})
            timed = [
                replace(decision, time=decision.time or now, act=decision.act or decision.id) for decision in decisions
            ]
            return decision_rows.append(connection, timed)

    def undo(self, analyst: str, act: str) -> tuple[Decision, ...]:
        """Take this analyst's last act back, by new decisions under the id `act`; () when there is none.

        The same `act` again is the same request, and answered with what is stored. Raises `StoreError`.
        """
        return self._again(UNDO, analyst, act)

    def redo(self, analyst: str, act: str) -> tuple[Decision, ...]:
        """Do again what this analyst undid last; () when there is nothing or something was decided since."""
        return self._again(REDO, analyst, act)

    def _again(self, kind: str, analyst: str, act: str) -> tuple[Decision, ...]:
        """Read the log and append to it in one transaction, so that two requests never undo the same act."""
        with self._write("The decision could not be saved", schema.DECISIONS) as connection:
            if known := decision_rows.log(connection, decision_rows.of_act(act)):
                return known
            done, undone = stacks(decision_rows.acts(connection, analyst), analyst)
            for last in (done if kind == UNDO else undone)[-1:]:
                beside = decision_rows.log(connection, decision_rows.beside_act(analyst, last))
                made = again(beside, analyst, act, kind, last)
                return decision_rows.append(connection, [replace(decision, time=time.time()) for decision in made])
            return ()

    def decisions(self) -> dict[str, Decision]:
        """Return for each counterfactual the decision that holds; none where it was taken back or is disputed."""
        return holding(self.log())

    def log(self, after: int = 0) -> tuple[Decision, ...]:
        """Return every decision ever sent, oldest first; only those that came after the one of this number."""
        with self.database.read() as connection:
            return decision_rows.log(connection, schema.decisions.c.number > after)

    def kept(self) -> tuple[tuple[Photo, Counterfactual], ...]:
        """Return all counterfactuals whose verdict is "keep", in the order they were made."""
        return self.pairs(self._kept_keys())

    def freeze(self, name: str, chosen: Container[str] | None = None) -> CounterfactualSet:
        """Freeze the kept as the set's next version; return the latest version again when nothing changed since.

        All that are kept, or those among them whose keys are `chosen`. Raises `DataError` for an unusable name or when
        nothing is left.
        """
        name = name.strip()
        if not name or len(name) > 80 or not name.isprintable():
            raise DataError("A set needs a name of 1 to 80 printable characters; give one.")
        items = tuple(key for key in self._kept_keys() if chosen is None or key in chosen)
        if not items:
            raise DataError("No counterfactual is kept yet; keep at least one, then freeze the set.")
        with self._write(f"The set '{name}' could not be saved") as connection:
            return decision_rows.next_version(connection, name, items)

    def sets(self) -> tuple[CounterfactualSet, ...]:
        """Return all frozen sets, newest first, without those of which every photo was put away."""
        with self.database.read() as connection:
            rows = connection.execute(sql.select(schema.sets).order_by(schema.sets.c.number.desc())).all()
            hidden = set(connection.execute(schema.hidden_counterfactuals()).scalars())
        return tuple(decision_rows.set_of(row) for row in rows if not hidden.issuperset(row.items))

    def put_away(self, photo_keys: Collection[str]) -> None:
        """Leave these photos out of every list, with all that was made and decided of them; nothing is deleted.

        A photo that is worked on again is back by itself.
        """
        with self._write("The photos could not be put away", schema.RECORDS, schema.DECISIONS) as connection:
            schema.put_away(connection, photo_keys)

    def put_away_photos(self) -> frozenset[str]:
        """Return the keys of the photos that were put away."""
        with self.database.read() as connection:
            return frozenset(connection.execute(schema.hidden()).scalars())

    def bring_back(self, photo_keys: Collection[str]) -> None:
        """Take back `put_away`."""
        with self._write("The photos could not be brought back", schema.RECORDS, schema.DECISIONS) as connection:
            schema.bring_back(connection, photo_keys)

    def items(self, chosen: CounterfactualSet) -> tuple[tuple[Photo, Counterfactual], ...]:
        """Return what a set holds, in its order."""
        return self.pairs(chosen.items)

    def finish(self, job: str, photo_key: str, name: str) -> None:
        """Note that a run has finished this photo, and forget an earlier failure of the same file."""
        with self._write(f"The end of '{name}' could not be saved") as connection:
            connection.execute(
                schema.insert(connection, schema.finished).values(job=job, photo=photo_key).on_conflict_do_nothing()
            )
            failed = sql.delete(schema.failures)
            connection.execute(failed.where(schema.failures.c.job == job, schema.failures.c.name == name))

    def finished(self, job: str) -> frozenset[str]:
        """Return the keys of the photos that a run has finished."""
        query = sql.select(schema.finished.c.photo).where(schema.finished.c.job == job)
        with self.database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def fail(self, job: str, name: str, message: str) -> None:
        """Note that a run could not study this file."""
        with self._write(f"The failure of '{name}' could not be saved") as connection:
            row = schema.insert(connection, schema.failures).values(job=job, name=name, message=message)
            connection.execute(row.on_conflict_do_update(index_elements=["job", "name"], set_={"message": message}))

    def failures(self, job: str = "") -> tuple[Failure, ...]:
        """Return the files that could not be studied, of one run or over all runs in this folder, by name."""
        query = sql.select(schema.failures).order_by(schema.failures.c.name)
        if job:
            query = query.where(schema.failures.c.job == job)
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return tuple(Failure(name=name, message=message) for name, message in {r.name: r.message for r in rows}.items())

    def _kept_keys(self) -> tuple[str, ...]:
        kept = [key for key, decision in self.decisions().items() if decision.verdict == "keep"]
        with self.database.read() as connection:
            rows = list(schema.in_chunks(connection, _KEYS, schema.counterfactuals.c.key, kept))
        rows.sort(key=lambda row: row.number)
        return tuple(row.key for row in rows)


def _rivals(decision: Decision) -> str | None:
    """Return whose later decisions stand in the way of this one: its analyst's, or None for anybody's."""
    return None if decision.kind == RESOLVE else decision.analyst


def _refuse_late(latest: Decision | None, decision: Decision, expected: Mapping[str, int]) -> None:
    """Raise `ConflictError` when `latest` came after what was seen when this decision was made."""
    seen = expected.get(decision.counterfactual)
    if seen is None or latest is None or latest.number <= seen or latest.id == decision.id:
        return
    raise ConflictError(
        f"Meanwhile {latest.analyst or 'somebody'} decided '{latest.verdict or 'to decide'}' in another window; "
        "nothing was changed, decide again if you disagree."
    )
