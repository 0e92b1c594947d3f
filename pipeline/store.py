"""Everything that is kept between sessions: records in SQLite, pictures as files named by their content.

A store is one folder: `explorer.db` (write-ahead log, every commit on the disk before it is acknowledged) and
`media/ab/<sha256>.png`. A picture is written before the row that names it, so a row never points at nothing; a picture
without a row is harmless. Rows are keyed by a hash of what they describe, so saving twice changes nothing. Decisions
are only ever appended; what holds now is derived. Knows no model and no page.
"""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError

from pipeline import tables
from pipeline.errors import DataError, StoreError
from pipeline.media import Media
from pipeline.types import Counterfactual, CounterfactualSet, Decision, Photo, Rewording, Scores, Study

FILE = "explorer.db"
SCHEMA = 2  # kept in SQLite's user_version; 2 added the gates' checks and the rewordings
VERDICTS = ("keep", "reject", "unsure", "")
BUSY_SECONDS = 30
_KEYS = sql.select(tables.counterfactuals.c.key, tables.counterfactuals.c.number)
# A study that has its caption outranks one that has none yet, so that opening a photo again hides no work.
_NEWEST_LAST = (tables.studies.c.caption != "", tables.studies.c.updated, tables.studies.c.created)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySummary:
    """One line of the list of studies."""

    key: str  # the photo's key
    name: str
    label: str
    caption: str
    classifier: str
    perturbations: int  # proposed
    counterfactuals: int  # made, over all tau
    time: float  # seconds since the epoch of the last save


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A picture of a run that could not be studied, and why."""

    name: str
    message: str


class Store:
    """One data folder. Safe to use from many threads and processes at once."""

    def __init__(self, root: Path) -> None:
        """Opens the folder, or makes it. Raises `StoreError` when it cannot be written or is of another version."""
        self.root = Path(root)
        with _saving(f"The data folder {self.root} cannot be opened"):
            self._media = Media(self.root / "media")
            self._engine = sql.create_engine(f"sqlite:///{self.root / FILE}", connect_args={"timeout": BUSY_SECONDS})
            sql.event.listen(self._engine, "connect", _on_connect)
            sql.event.listen(self._engine, "begin", _on_begin)
            with self._write() as connection:
                _prepare(connection, self.root)

    @classmethod
    def existing(cls, root: Path) -> Store:
        """Opens a folder that already holds a store. Raises `DataError` when it does not."""
        if not (Path(root) / FILE).is_file():
            raise DataError(f"There is no run in {root}; make one with 'python -m pipeline stress'.")
        return cls(root)

    def close(self) -> None:
        """Closes all connections; the store must not be used afterwards."""
        self._engine.dispose()

    def save_study(self, study: Study) -> None:
        """Saves what is new in the study, all or nothing; saving the same study again changes nothing.

        The study's list of perturbations replaces the stored one; counterfactuals are added to those of earlier
        saves. Raises `StoreError`.
        """
        with _saving(f"The study of '{study.photo.name or study.photo.key[:8]}' could not be saved"):
            known = self._known([counterfactual.key for counterfactual in study.counterfactuals])
            fresh = [one for one in study.counterfactuals if one.key not in known]
            pictures = {one.key: self._media.put(one.image) for one in fresh}
            picture = study.photo.key if self._media.has(study.photo.key) else self._media.put(study.photo.image)
            reconstruction = self._media.put(study.reconstruction) if study.reconstruction is not None else None
            with self._write() as connection:
                key = tables.save_head(connection, study, picture, reconstruction)
                tables.save_proposals(connection, key, study.perturbations)
                tables.save_counterfactuals(connection, key, study, pictures)

    def load_study(self, photo_key: str, classifier: str = "") -> Study | None:
        """The photo's study under its latest caption and this classifier ("": the latest one), or None.

        Raises `StoreError`.
        """
        query = tables.heads().where(tables.studies.c.photo == photo_key).order_by(*_NEWEST_LAST)
        if classifier:
            query = query.where(tables.vocabularies.c.classifier == classifier)
        with _reading(self.root), self._engine.begin() as connection:
            heads = connection.execute(query).all()
            if not heads:
                return None
            proposals, made = tables.rows_of_study(connection, heads[-1].key)
        return self._study(heads[-1], proposals, made)

    def studies(self) -> tuple[StudySummary, ...]:
        """One line per photo, newest first."""
        proposed = tables.count_for_study(tables.proposals.c.study, "proposed")
        made = tables.count_for_study(tables.counterfactuals.c.study, "made")
        query = sql.select(tables.studies, tables.vocabularies.c.classifier, proposed, made).join(tables.vocabularies)
        with _reading(self.root), self._engine.begin() as connection:
            rows = connection.execute(query.order_by(*_NEWEST_LAST)).all()
        newest = {row.photo: row for row in rows}
        return tuple(_summary(row) for row in sorted(newest.values(), key=lambda row: -row.updated))

    def file(self, key: str) -> Path:
        """The PNG of a photo or counterfactual key, below `root`. Raises `DataError` for an unknown key."""
        photos = sql.select(tables.studies.c.picture).where(tables.studies.c.photo == key)
        made = sql.select(tables.counterfactuals.c.picture).where(tables.counterfactuals.c.key == key)
        with _reading(self.root), self._engine.begin() as connection:
            picture = connection.execute(photos.union(made)).scalars().first()
        if picture is None:
            raise DataError(f"There is no picture {key[:12]} in this data folder; it may belong to another one.")
        return self._media.path(picture)

    def decide(self, decision: Decision) -> Decision:
        """Appends to the log and returns what is stored: of two decisions with one id, the first.

        A time of 0 is replaced by now. Raises `DataError` for an unknown verdict or counterfactual, else `StoreError`.
        """
        if decision.verdict not in VERDICTS:
            raise DataError(f"The verdict '{decision.verdict}' is unknown; use keep, reject or unsure.")
        timed = replace(decision, time=decision.time or time.time())
        with _saving("The decision could not be saved"), self._write() as connection:
            key = decision.counterfactual
            if not list(tables.in_chunks(connection, _KEYS, tables.counterfactuals.c.key, [key])):
                raise DataError(f"There is no counterfactual {key[:12]} in this data folder; save its study first.")
            connection.execute(insert(tables.decisions).values(asdict(timed)).on_conflict_do_nothing(["id"]))
            row = connection.execute(sql.select(tables.decisions).where(tables.decisions.c.id == decision.id)).one()
        return tables.decision_of(row)

    def decisions(self) -> dict[str, Decision]:
        """Counterfactual key -> the decision that holds now; one that was taken back is absent."""
        latest = {decision.counterfactual: decision for decision in self.log()}
        return {key: decision for key, decision in latest.items() if decision.verdict}

    def log(self) -> tuple[Decision, ...]:
        """Every decision ever sent, oldest first."""
        with _reading(self.root), self._engine.begin() as connection:
            rows = connection.execute(sql.select(tables.decisions).order_by(tables.decisions.c.number)).all()
        return tuple(tables.decision_of(row) for row in rows)

    def reword(self, rewording: Rewording) -> Rewording:
        """Appends to the log of captions that analysts wrote and returns what is stored. A time of 0 becomes now."""
        timed = replace(rewording, time=rewording.time or time.time())
        with _saving("The caption could not be saved"), self._write() as connection:
            connection.execute(sql.insert(tables.rewordings).values(asdict(timed)))
        return timed

    def rewordings(self, photo_key: str) -> tuple[Rewording, ...]:
        """Who wrote which caption of this photo and when, oldest first."""
        query = sql.select(tables.rewordings).where(tables.rewordings.c.photo == photo_key)
        with _reading(self.root), self._engine.begin() as connection:
            rows = connection.execute(query.order_by(tables.rewordings.c.number)).all()
        return tuple(tables.rewording_of(row) for row in rows)

    def kept(self) -> tuple[tuple[Photo, Counterfactual], ...]:
        """All counterfactuals whose verdict is "keep", in the order they were made."""
        return self._pairs(self._kept_keys())

    def freeze(self, name: str) -> CounterfactualSet:
        """All kept counterfactuals as the set's next version; the latest version again when nothing changed since.

        Raises `DataError` for an unusable name or when nothing is kept.
        """
        name = name.strip()
        if not name or len(name) > 80 or not name.isprintable():
            raise DataError("A set needs a name of 1 to 80 printable characters; give one.")
        with _saving(f"The set '{name}' could not be saved"):
            items = self._kept_keys()
            if not items:
                raise DataError("No counterfactual is kept yet; keep at least one, then freeze the set.")
            with self._write() as connection:
                return tables.next_version(connection, name, items)

    def sets(self) -> tuple[CounterfactualSet, ...]:
        """All frozen sets, newest first."""
        with _reading(self.root), self._engine.begin() as connection:
            rows = connection.execute(sql.select(tables.sets).order_by(tables.sets.c.number.desc())).all()
        return tuple(tables.set_of(row) for row in rows)

    def items(self, chosen: CounterfactualSet) -> tuple[tuple[Photo, Counterfactual], ...]:
        """What a set holds, in its order."""
        return self._pairs(chosen.items)

    def finish(self, job: str, photo_key: str, name: str) -> None:
        """Notes that a run has finished this photo, and forgets an earlier failure of the same file."""
        with _saving(f"The end of '{name}' could not be saved"), self._write() as connection:
            connection.execute(insert(tables.finished).values(job=job, photo=photo_key).on_conflict_do_nothing())
            failed = sql.delete(tables.failures)
            connection.execute(failed.where(tables.failures.c.job == job, tables.failures.c.name == name))

    def finished(self, job: str) -> frozenset[str]:
        """Keys of the photos that a run has finished."""
        query = sql.select(tables.finished.c.photo).where(tables.finished.c.job == job)
        with _reading(self.root), self._engine.begin() as connection:
            return frozenset(connection.execute(query).scalars())

    def fail(self, job: str, name: str, message: str) -> None:
        """Notes that a run could not study this file."""
        row = insert(tables.failures).values(job=job, name=name, message=message)
        with _saving(f"The failure of '{name}' could not be saved"), self._write() as connection:
            connection.execute(row.on_conflict_do_update(["job", "name"], set_={"message": message}))

    def failures(self) -> tuple[Failure, ...]:
        """Files that could not be studied, over all runs in this folder, by name."""
        with _reading(self.root), self._engine.begin() as connection:
            rows = connection.execute(sql.select(tables.failures).order_by(tables.failures.c.name)).all()
        return tuple(Failure(name=name, message=message) for name, message in {r.name: r.message for r in rows}.items())

    @contextmanager
    def _write(self) -> Iterator[sql.Connection]:
        """A transaction that takes the write lock at once, so that it cannot fail half way for want of it."""
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    def _known(self, keys: Sequence[str]) -> frozenset[str]:
        with self._engine.begin() as connection:
            return frozenset(row.key for row in tables.in_chunks(connection, _KEYS, tables.counterfactuals.c.key, keys))

    def _kept_keys(self) -> tuple[str, ...]:
        kept = [key for key, decision in self.decisions().items() if decision.verdict == "keep"]
        with _reading(self.root), self._engine.begin() as connection:
            rows = list(tables.in_chunks(connection, _KEYS, tables.counterfactuals.c.key, kept))
        rows.sort(key=lambda row: row.number)
        return tuple(row.key for row in rows)

    def _pairs(self, keys: Sequence[str]) -> tuple[tuple[Photo, Counterfactual], ...]:
        with _reading(self.root), self._engine.begin() as connection:
            found = tables.in_chunks(connection, tables.counterfactual_rows(), tables.counterfactuals.c.key, keys)
            rows = {row.key: row for row in found}
            origins = list({row.study for row in rows.values()})
            found = tables.in_chunks(connection, tables.heads(), tables.studies.c.key, origins)
            heads = {row.key: row for row in found}
        missing = [key for key in keys if key not in rows]
        if missing:
            raise DataError(f"Counterfactual {missing[0][:12]} is not in {self.root}; open the folder it was made in.")
        photos = {key: self._photo(head) for key, head in heads.items()}
        pairs = ((photos[rows[key].study], rows[key]) for key in keys)
        return tuple((photo, self._counterfactual(row, photo.prediction.labels)) for photo, row in pairs)

    def _study(self, head: tables.Row, proposals: Sequence[tables.Row], made: Sequence[tables.Row]) -> Study:
        photo = self._photo(head)
        labels = photo.prediction.labels
        return Study(
            photo=photo,
            caption=head.caption,
            reconstruction=self._media.get(head.reconstruction) if head.reconstruction else None,
            control=tables.unpack(head.control, labels) if head.control else None,
            perturbations=tuple(tables.perturbation_of(row) for row in proposals),
            counterfactuals=tuple(self._counterfactual(row, labels) for row in made),
        )

    def _photo(self, head: tables.Row) -> Photo:
        return Photo(
            key=head.photo,
            image=self._media.get(head.picture),
            label=head.label,
            prediction=tables.unpack(head.prediction, tuple(head.labels)),
            name=head.name,
            classifier=head.classifier,
        )

    def _counterfactual(self, row: tables.Row, labels: tuple[str, ...]) -> Counterfactual:
        return Counterfactual(
            key=row.key,
            perturbation=tables.perturbation_of(row),
            tau=row.tau,
            image=self._media.get(row.picture),
            scores=Scores(**row.scores),
            prediction=tables.unpack(row.prediction, labels),
            missed=tuple(row.missed),
        )


def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where `_on_begin` says, not where the driver guesses
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_SECONDS * 1000}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _on_begin(connection: sql.Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare(connection: sql.Connection, root: Path) -> None:
    """Makes the tables of a new file, brings an older one up to date; refuses a file of a later version."""
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version == SCHEMA:
        return
    if version == 1:
        connection.exec_driver_sql("ALTER TABLE perturbations ADD COLUMN checks JSON NOT NULL DEFAULT '[]'")
    elif version != 0 or sql.inspect(connection).get_table_names():
        raise StoreError(f"{root / FILE} is of version {version}, this program writes {SCHEMA}; use another folder.")
    tables.schema.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA}")


def _summary(row: tables.Row) -> StudySummary:
    return StudySummary(
        key=row.photo,
        name=row.name,
        label=row.label,
        caption=row.caption,
        classifier=row.classifier,
        perturbations=row.proposed,
        counterfactuals=row.made,
        time=row.updated,
    )


@contextmanager
def _saving(what: str) -> Iterator[None]:
    """Turns what the disk and the database complain about into one sentence."""
    try:
        yield
    except (SQLAlchemyError, OSError, UnicodeError) as error:
        raise StoreError(f"{what}: {_reason(error)}.") from error


def _reading(root: Path) -> AbstractContextManager[None]:
    return _saving(f"The data folder {root} cannot be read")


def _reason(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    text = str(getattr(error, "orig", error)).lower()
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "full" in text or "disk i/o" in text:
        return "the disk is full or cannot be written; free some space and try again"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or "readonly" in text or "unable to open" in text:
        return "the folder cannot be written; check its permissions or choose another one"
    if "locked" in text:
        return "another program is writing to it; close that and try again"
    if "malformed" in text or "not a database" in text:
        return f"{FILE} is damaged; restore it from a copy or choose another folder"
    if isinstance(error, UnicodeError):
        return "it holds characters that cannot be written as UTF-8; remove them"
    return f"{(error.strerror if isinstance(error, OSError) and error.strerror else text).splitlines()[0]}"
