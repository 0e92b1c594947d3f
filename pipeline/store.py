"""Everything that is kept between sessions: records in a database, pictures as files named by their content.

A store is one folder: `explorer.db` (unless the records lie in PostgreSQL) and `media/ab/<sha256>.png`. A picture is
written before the row that names it, so a row never points at nothing; a picture without a row is harmless. Rows are
keyed by a hash of what they describe, so saving twice changes nothing. Decisions are only ever appended; what holds now
is derived. Knows no model and no page.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import sqlalchemy as sql

from pipeline import tables
from pipeline.database import FILE, Database, saving
from pipeline.decisions import holding, redoing, undoing
from pipeline.errors import ConflictError, DataError
from pipeline.jobs import Jobs
from pipeline.media import Media
from pipeline.triage import Entry
from pipeline.types import Counterfactual, CounterfactualSet, Decision, Photo, Rewording, Study, StudyRecord

VERDICTS = ("keep", "reject", "unsure", "")
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

    def __init__(self, root: Path, database: str = "") -> None:
        """Opens the folder, or makes it; the records lie in it, or in PostgreSQL when `database` is its address.

        Raises `StoreError` when it cannot be written or is of another version, `DataError` for an unusable address.
        """
        self.root, self.address = Path(root), database
        with saving(f"The data folder {self.root} cannot be opened"):
            self.media = Media(self.root / "media")
        self.database = Database(self.root, database)
        self.jobs = Jobs(self.database)
        self._entries: tuple[tables.Stamp, tuple[Entry, ...]] = (0, 0.0, 0), ()
        self._records: dict[str, tuple[tables.Stamp, tuple[StudyRecord, ...]]] = {}

    @classmethod
    def existing(cls, root: Path) -> Store:
        """Opens a folder that already holds a store. Raises `DataError` when it does not."""
        if not (Path(root) / FILE).is_file():
            raise DataError(f"There is no run in {root}; make one with 'python -m pipeline stress'.")
        return cls(root)

    def close(self) -> None:
        """Closes all connections; the store must not be used afterwards."""
        self.database.close()

    def save_study(self, study: Study, *, proposals: bool = True) -> None:
        """Saves what is new in the study, all or nothing; saving the same study again changes nothing.

        The study's list of perturbations replaces the stored one, unless `proposals` is False: then what an analyst
        ticked meanwhile stays. Counterfactuals are added to those of earlier saves. Raises `StoreError`.
        """
        with saving(f"The study of '{study.photo.name or study.photo.key[:8]}' could not be saved"):
            known = self._known([counterfactual.key for counterfactual in study.counterfactuals])
            fresh = [one for one in study.counterfactuals if one.key not in known]
            pictures = {one.key: self.media.put(one.image) for one in fresh}
            picture = study.photo.key if self.media.touch(study.photo.key) else self.media.put(study.photo.image)
            reconstruction = self.media.put(study.reconstruction) if study.reconstruction is not None else None
            with self.database.write() as connection:
                tables.bring_back(connection, [study.photo.key])
                key = tables.save_head(connection, study, picture, reconstruction)
                if proposals:
                    tables.save_proposals(connection, key, study.perturbations)
                tables.save_counterfactuals(connection, key, study, pictures)

    def load_study(self, photo_key: str, classifier: str = "") -> Study | None:
        """The photo's study under its latest caption and this classifier ("": the latest one), or None.

        Raises `StoreError`.
        """
        query = tables.heads().where(tables.studies.c.photo == photo_key).order_by(*_NEWEST_LAST)
        if classifier:
            query = query.where(tables.vocabularies.c.classifier == classifier)
        with self.database.read() as connection:
            heads = connection.execute(query).all()
            if not heads:
                return None
            proposals, made = tables.rows_of_study(connection, heads[-1].key)
        return self._study(heads[-1], proposals, made)

    def records(self, classifier: str = "") -> tuple[StudyRecord, ...]:
        """What `load_study` gives of every photo, without pictures, newest first; read anew only after a change."""
        query = tables.heads().where(tables.studies.c.photo.not_in(tables.hidden())).order_by(*_NEWEST_LAST)
        if classifier:
            query = query.where(tables.vocabularies.c.classifier == classifier)
        with self.database.read() as connection:
            stamp = tables.stamp(connection)
            if self._records.get(classifier, ((), ()))[0] != stamp:
                heads = {row.photo: row for row in connection.execute(query)}.values()
                made = tables.made_of(connection, [head.key for head in heads])
                newest = sorted(heads, key=lambda head: -head.updated)
                self._records[classifier] = stamp, tuple(_record(head, made.get(head.key, ())) for head in newest)
        return self._records[classifier][1]

    def studies(self) -> tuple[StudySummary, ...]:
        """One line per photo, newest first."""
        proposed = tables.count_for_study(tables.proposals.c.study, "proposed")
        made = tables.count_for_study(tables.counterfactuals.c.study, "made")
        query = sql.select(tables.studies, tables.vocabularies.c.classifier, proposed, made).join(tables.vocabularies)
        query = query.where(tables.studies.c.photo.not_in(tables.hidden()))
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(*_NEWEST_LAST)).all()
        newest = {row.photo: row for row in rows}
        return tuple(_summary(row) for row in sorted(newest.values(), key=lambda row: -row.updated))

    def file(self, key: str) -> Path:
        """The PNG of a photo or counterfactual key, below `root`. Raises `DataError` for an unknown key."""
        photos = sql.select(tables.studies.c.picture).where(tables.studies.c.photo == key)
        made = sql.select(tables.counterfactuals.c.picture).where(tables.counterfactuals.c.key == key)
        with self.database.read() as connection:
            picture = connection.execute(photos.union(made)).scalars().first()
        if picture is None:
            raise DataError(f"There is no picture {key[:12]} in this data folder; it may belong to another one.")
        return self.media.path(picture)

    def decide(self, decision: Decision, expected: int | None = None) -> Decision:
        """`decide_all` for one decision."""
        return self.decide_all([decision], None if expected is None else {decision.counterfactual: expected})[0]

    def decide_all(
        self, decisions: Sequence[Decision], expected: Mapping[str, int] | None = None
    ) -> tuple[Decision, ...]:
        """Appends to the log, all or none, and returns what is stored: of two decisions with one id, the first.

        `expected` says for counterfactuals which decision of the same analyst was the latest when this one was made,
        by its number, 0 for none. A time of 0 is replaced by now. Raises `ConflictError` when there is a later one,
        `DataError` for an unknown verdict or counterfactual, else `StoreError`.
        """
        for one in decisions:
            if one.verdict not in VERDICTS:
                raise DataError(f"The verdict '{one.verdict}' is unknown; use keep, reject or unsure.")
        now, keys = time.time(), {one.counterfactual for one in decisions}
        with saving("The decision could not be saved"), self.database.write() as connection:
            known = {row.key for row in tables.in_chunks(connection, _KEYS, tables.counterfactuals.c.key, list(keys))}
            for key in sorted(keys - known):
                raise DataError(f"There is no counterfactual {key[:12]} in this data folder; save its study first.")
            for one in decisions:
                _refuse_late(tables.latest(connection, one.counterfactual, one.analyst), one, expected or {})
            return tuple(
                tables.append(connection, replace(one, time=one.time or now, act=one.act or one.id))
                for one in decisions
            )

    def undo(self, analyst: str, act: str) -> tuple[Decision, ...]:
        """Takes this analyst's last act back, by new decisions under the id `act`; () when there is none."""
        return self.decide_all(undoing(self.log(), analyst, act))

    def redo(self, analyst: str, act: str) -> tuple[Decision, ...]:
        """Does again what this analyst undid last; () when there is nothing or something was decided since."""
        return self.decide_all(redoing(self.log(), analyst, act))

    def decisions(self) -> dict[str, Decision]:
        """Counterfactual -> the decision that holds now; absent where it was taken back or analysts disagree."""
        return holding(self.log())

    def log(self, after: int = 0) -> tuple[Decision, ...]:
        """Every decision ever sent, oldest first; only those that came after the one of this number."""
        query = sql.select(tables.decisions).where(tables.decisions.c.number > after)
        query = query.where(tables.decisions.c.counterfactual.not_in(tables.hidden_counterfactuals()))
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(tables.decisions.c.number)).all()
        return tuple(tables.decision_of(row) for row in rows)

    def entries(self) -> tuple[Entry, ...]:
        """All counterfactuals without their pictures, in the order they were made; read anew only after a change."""
        with self.database.read() as connection:
            stamp = tables.stamp(connection)
            if self._entries[0] != stamp:
                words = tables.words(connection)
                rows = connection.execute(tables.entry_rows())
                self._entries = stamp, tuple(tables.entry_of(row, words[row.vocabulary]) for row in rows)
        return self._entries[1]

    def pairs(self, keys: Sequence[str]) -> tuple[tuple[Photo, Counterfactual], ...]:
        """Photo and counterfactual of each key, in this order. Raises `DataError` for an unknown one."""
        with self.database.read() as connection:
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

    def reword(self, rewording: Rewording) -> Rewording:
        """Appends to the log of captions that analysts wrote and returns what is stored. A time of 0 becomes now."""
        timed = replace(rewording, time=rewording.time or time.time())
        with saving("The caption could not be saved"), self.database.write() as connection:
            connection.execute(sql.insert(tables.rewordings).values(asdict(timed)))
        return timed

    def rewordings(self, photo_key: str) -> tuple[Rewording, ...]:
        """Who wrote which caption of this photo and when, oldest first."""
        query = sql.select(tables.rewordings).where(tables.rewordings.c.photo == photo_key)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(tables.rewordings.c.number)).all()
        return tuple(tables.rewording_of(row) for row in rows)

    def kept(self) -> tuple[tuple[Photo, Counterfactual], ...]:
        """All counterfactuals whose verdict is "keep", in the order they were made."""
        return self.pairs(self._kept_keys())

    def freeze(self, name: str, chosen: Container[str] | None = None) -> CounterfactualSet:
        """Kept counterfactuals as the set's next version; the latest version again when nothing changed since.

        All that are kept, or those among them whose keys are `chosen`. Raises `DataError` for an unusable name or when
        nothing is left.
        """
        name = name.strip()
        if not name or len(name) > 80 or not name.isprintable():
            raise DataError("A set needs a name of 1 to 80 printable characters; give one.")
        with saving(f"The set '{name}' could not be saved"):
            items = tuple(key for key in self._kept_keys() if chosen is None or key in chosen)
            if not items:
                raise DataError("No counterfactual is kept yet; keep at least one, then freeze the set.")
            with self.database.write() as connection:
                return tables.next_version(connection, name, items)

    def sets(self) -> tuple[CounterfactualSet, ...]:
        """All frozen sets, newest first, without those of which every photo was put away."""
        with self.database.read() as connection:
            rows = connection.execute(sql.select(tables.sets).order_by(tables.sets.c.number.desc())).all()
            hidden = set(connection.execute(tables.hidden_counterfactuals()).scalars())
        return tuple(tables.set_of(row) for row in rows if not hidden.issuperset(row.items))

    def put_away(self, photo_keys: Collection[str]) -> None:
        """Leaves these photos out of every list, with all that was made and decided of them; nothing is deleted.

        A photo that is worked on again is back by itself.
        """
        with saving("The photos could not be put away"), self.database.write() as connection:
            tables.put_away(connection, photo_keys)

    def put_away_photos(self) -> frozenset[str]:
        """Keys of the photos that were put away."""
        with self.database.read() as connection:
            return frozenset(connection.execute(tables.hidden()).scalars())

    def bring_back(self, photo_keys: Collection[str]) -> None:
        """Takes back `put_away`."""
        with saving("The photos could not be brought back"), self.database.write() as connection:
            tables.bring_back(connection, photo_keys)

    def items(self, chosen: CounterfactualSet) -> tuple[tuple[Photo, Counterfactual], ...]:
        """What a set holds, in its order."""
        return self.pairs(chosen.items)

    def finish(self, job: str, photo_key: str, name: str) -> None:
        """Notes that a run has finished this photo, and forgets an earlier failure of the same file."""
        with saving(f"The end of '{name}' could not be saved"), self.database.write() as connection:
            connection.execute(
                tables.insert(connection, tables.finished).values(job=job, photo=photo_key).on_conflict_do_nothing()
            )
            failed = sql.delete(tables.failures)
            connection.execute(failed.where(tables.failures.c.job == job, tables.failures.c.name == name))

    def finished(self, job: str) -> frozenset[str]:
        """Keys of the photos that a run has finished."""
        query = sql.select(tables.finished.c.photo).where(tables.finished.c.job == job)
        with self.database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def fail(self, job: str, name: str, message: str) -> None:
        """Notes that a run could not study this file."""
        with saving(f"The failure of '{name}' could not be saved"), self.database.write() as connection:
            row = tables.insert(connection, tables.failures).values(job=job, name=name, message=message)
            connection.execute(row.on_conflict_do_update(index_elements=["job", "name"], set_={"message": message}))

    def failures(self, job: str = "") -> tuple[Failure, ...]:
        """Files that could not be studied, of one run or over all runs in this folder, by name."""
        query = sql.select(tables.failures).order_by(tables.failures.c.name)
        if job:
            query = query.where(tables.failures.c.job == job)
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return tuple(Failure(name=name, message=message) for name, message in {r.name: r.message for r in rows}.items())

    def _known(self, keys: Sequence[str]) -> frozenset[str]:
        with self.database.read() as connection:
            return frozenset(row.key for row in tables.in_chunks(connection, _KEYS, tables.counterfactuals.c.key, keys))

    def _kept_keys(self) -> tuple[str, ...]:
        kept = [key for key, decision in self.decisions().items() if decision.verdict == "keep"]
        with self.database.read() as connection:
            rows = list(tables.in_chunks(connection, _KEYS, tables.counterfactuals.c.key, kept))
        rows.sort(key=lambda row: row.number)
        return tuple(row.key for row in rows)

    def _study(self, head: tables.Row, proposals: Sequence[tables.Row], made: Sequence[tables.Row]) -> Study:
        photo = self._photo(head)
        labels = photo.prediction.labels
        return Study(
            photo=photo,
            caption=head.caption,
            reconstruction=self.media.get(head.reconstruction) if head.reconstruction else None,
            control=tables.unpack(head.control, labels) if head.control else None,
            perturbations=tuple(tables.perturbation_of(row) for row in proposals),
            counterfactuals=tuple(self._counterfactual(row, labels) for row in made),
        )

    def _photo(self, head: tables.Row) -> Photo:
        return tables.photo_of(head).with_image(self.media.get(head.picture))

    def _counterfactual(self, row: tables.Row, labels: tuple[str, ...]) -> Counterfactual:
        return tables.counterfactual_of(row, labels).with_image(self.media.get(row.picture))


def _record(head: tables.Row, made: Sequence[tables.Row]) -> StudyRecord:
    photo = tables.photo_of(head)
    labels = photo.prediction.labels
    return StudyRecord(
        photo=photo,
        caption=head.caption,
        control=tables.unpack(head.control, labels) if head.control else None,
        counterfactuals=tuple(tables.counterfactual_of(row, labels) for row in made),
    )


def _refuse_late(latest: Decision | None, one: Decision, expected: Mapping[str, int]) -> None:
    """Raises `ConflictError` when the analyst's latest decision is another one than this one was made upon."""
    seen = expected.get(one.counterfactual)
    if seen is None or latest is None or latest.number == seen or latest.id == one.id:
        return
    raise ConflictError(
        f"Meanwhile {latest.analyst or 'somebody'} decided '{latest.verdict or 'to decide'}' in another window; "
        "nothing was changed, decide again if you disagree."
    )


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
