"""The part of a store that reads photos: captions, proposals, pictures, and what classifiers make of them.

What is asked for often is kept in memory, and read anew only after a change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sql

from pipeline.errors import DataError, display_name
from pipeline.store import judgement_rows, schema
from pipeline.store import study_rows as rows
from pipeline.store.database import Database, saving
from pipeline.store.entry_rows import entries
from pipeline.store.judgement_rows import Vocabularies, Vocabulary
from pipeline.store.media import Media
from pipeline.store.queue import Entry
from pipeline.types import Counterfactual, CounterfactualRecord, Judge, Photo, Prediction, Rewording, Study, StudyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySummary:
    """One line of the list of studies."""

    key: str  # the photo's key
    name: str
    label: str
    label_source: str
    caption: str
    classifier: str
    perturbations: int  # proposed
    counterfactuals: int  # made, over all tau
    time: float  # seconds since the epoch of the last change


class StudyReader:
    """Photos and what was made of them in one data folder, to be read."""

    def __init__(self, root: Path, database: str = "") -> None:
        self.root, self.address = Path(root), database
        with saving(f"The data folder '{display_name(self.root)}' cannot be opened", self.root):
            self.media = Media(self.root / "media")
        self.database = Database(self.root, database)
        self._entries: tuple[int, tuple[Entry, ...]] = -1, ()
        self._records = _Kept()

    def rewordings(self, photo_key: str) -> tuple[Rewording, ...]:
        """Return who wrote which caption of this photo and when, oldest first."""
        query = sql.select(schema.rewordings).where(schema.rewordings.c.photo == photo_key)
        with self.database.read() as connection:
            found = connection.execute(query.order_by(schema.rewordings.c.number)).all()
        return tuple(rows.rewording_of(row) for row in found)

    def caption_of(self, photo_key: str) -> tuple[str, bool]:
        """Return the present caption, "" for none, and whether a person wrote it. Raises `DataError` without photo."""
        query = sql.select(schema.rewordings.c.caption).where(schema.rewordings.c.photo == photo_key)
        with self.database.read() as connection:
            caption = rows.need_photo(connection, photo_key).caption
            return caption, caption in set(connection.execute(query).scalars())

    def known_judge(self, name: str) -> Judge | None:
        """Return what bears this classifier's name in the store, or None."""
        with self.database.read() as connection:
            return Vocabularies(connection).current.get(name)

    def judges(self) -> tuple[str, ...]:
        """Return the names of the classifiers that judged anything here, sorted."""
        with self.database.read() as connection:
            return tuple(sorted(Vocabularies(connection).current))

    def outdated(self, judge: Judge) -> dict[str, Prediction]:
        """Return the pictures that only other versions of this classifier judged, with one of those judgements."""
        with self.database.read() as connection:
            return judgement_rows.outdated(connection, judge)

    def unjudged(self, photo_key: str, judge: Judge) -> tuple[str, ...]:
        """Return the pictures of a photo that this classifier has not judged, in a fixed order."""
        with self.database.read() as connection:
            found = Vocabularies(connection).find(judge)
            pictures = judgement_rows.pictures_of(connection, photo_key)
            done = sql.select(schema.judgements.c.picture).where(
                schema.judgements.c.vocabulary == (found.key if found else "")
            )
            judged = {
                row.picture for row in schema.in_chunks(connection, done, schema.judgements.c.picture, [*pictures])
            }
        return tuple(sorted(pictures - judged))

    def unjudged_pictures(self, judge: Judge) -> tuple[str, ...]:
        """Return what this classifier has not judged of all photos that are shown, in a fixed order.

        Their own pictures and, under their present captions, reconstructions and edits.
        """
        with self.database.read() as connection:
            found = Vocabularies(connection).find(judge)
            return judgement_rows.unjudged(connection, found.key if found else "")

    def load_study(self, photo_key: str, classifier: str = "") -> Study | None:
        """Return the photo's present study as this classifier judges it ("": the one it is shown under), or None.

        Edits that the classifier has not judged are left out; `workflow.judged` judges them. Raises `StoreError`.
        """
        with self.database.read() as connection:
            known = Vocabularies(connection)
            row = connection.execute(sql.select(schema.photos).where(schema.photos.c.key == photo_key)).one_or_none()
            judge = None if row is None else known.current.get(classifier) if classifier else known.now(row.vocabulary)
            if judge is None:
                return None
            head = connection.execute(rows.heads(judge.key).where(schema.photos.c.key == photo_key)).one_or_none()
            if head is None:
                return None
            proposed = rows.proposed(connection, head.study) if head.study else ()
            query = rows.made(judge.key).where(schema.counterfactuals.c.study == head.study)
            made = rows.distinct(connection.execute(query), known.versions(judge.name))
        return Study(
            photo=self._photo(head, judge),
            caption=head.caption,
            reconstruction=self.media.get(head.reconstruction) if head.reconstruction else None,
            control=judgement_rows.unpack(head.control, judge.labels) if head.control else None,
            perturbations=tuple(map(rows.proposal_of, proposed)),
            counterfactuals=tuple(self._counterfactual(row, judge) for row in made),
        )

    def records(self, classifier: str = "") -> tuple[StudyRecord, ...]:
        """Return every photo's present study without pictures, newest first; read anew only after a change."""
        with self.database.read() as connection:
            number = schema.number_of(connection, schema.RECORDS)
            kept = self._records if self._records.number == number else _Kept(number=number)
            if classifier not in kept.listed:
                known = Vocabularies(connection)
                names = [classifier] if classifier else sorted(known.current)
                for name in names:
                    if name in known.current and name not in kept.seen:
                        kept.seen[name] = tuple(_seen(connection, known, known.current[name]))
                found = [listed for name in names for listed in kept.seen.get(name, ()) if classifier or listed.shown]
                kept.listed[classifier] = tuple(
                    listed.record for listed in sorted(found, key=lambda listed: -listed.updated)
                )
            self._records = kept
        return kept.listed[classifier]

    def studies(self) -> tuple[StudySummary, ...]:
        """Return one line per photo, newest first."""
        proposed = rows.count_for_study(schema.proposals.c.study, "proposed")
        made = rows.count_for_study(schema.counterfactuals.c.study, "made")
        photos, studies = schema.photos, schema.studies
        present = sql.and_(studies.c.photo == photos.c.key, studies.c.caption == photos.c.caption)
        query = sql.select(photos, schema.vocabularies.c.classifier, proposed, made)
        query = query.join(schema.vocabularies).outerjoin(studies, present)
        query = query.where(photos.c.key.not_in(schema.hidden())).order_by(photos.c.updated.desc())
        with self.database.read() as connection:
            return tuple(map(_summary, connection.execute(query)))

    def file(self, key: str) -> Path:
        """Return the PNG of a photo or counterfactual key, below `root`. Raises `DataError` for an unknown key."""
        photos = sql.select(schema.photos.c.picture).where(schema.photos.c.key == key)
        made = sql.select(schema.counterfactuals.c.picture).where(schema.counterfactuals.c.key == key)
        with self.database.read() as connection:
            picture = connection.execute(photos.union(made)).scalars().first()
        if picture is None:
            raise DataError(f"There is no picture {key[:12]} in this data folder; it may belong to another one.")
        return self.media.path(picture)

    def entries(self) -> tuple[Entry, ...]:
        """Return all counterfactuals without pictures, in the order they were made; read anew only after a change."""
        with self.database.read() as connection:
            number = schema.number_of(connection, schema.RECORDS)
            if self._entries[0] != number:
                self._entries = number, entries(connection)
        return self._entries[1]

    def pairs(self, keys: Sequence[str]) -> tuple[tuple[Photo, Counterfactual], ...]:
        """Return photo and counterfactual of each key, in this order, as the classifier judges that it was drawn for.

        Raises `DataError` for an unknown key.
        """
        found: dict[str, tuple[Photo, Counterfactual]] = {}
        drawn = sql.select(schema.counterfactuals.c.key, schema.counterfactuals.c.vocabulary, schema.studies.c.photo)
        drawn = drawn.join(schema.studies, schema.studies.c.key == schema.counterfactuals.c.study)
        with self.database.read() as connection:
            known = Vocabularies(connection)
            of = {row.key: row for row in schema.in_chunks(connection, drawn, schema.counterfactuals.c.key, keys)}
            for vocabulary in {row.vocabulary for row in of.values()}:
                # Where what bears the name now has not judged a picture yet, the one counts that it was drawn for.
                for judge in dict.fromkeys((known.now(vocabulary), known.all[vocabulary])):
                    photos = {
                        key: row.photo for key, row in of.items() if row.vocabulary == vocabulary and key not in found
                    }
                    found |= dict(self._pairs(connection, judge, photos))
        missing = [key for key in keys if key not in found]
        if missing:
            message = f"Counterfactual {missing[0][:12]} is not in this data folder; open the folder it was made in."
            raise DataError(message, path=self.root)
        return tuple(found[key] for key in keys)

    def _pairs(
        self, connection: sql.Connection, judge: Vocabulary, of: Mapping[str, str]
    ) -> Iterator[tuple[str, tuple[Photo, Counterfactual]]]:
        """Yield (key, pair) of those that this classifier judged; `of` names the photo of each."""
        made = list(schema.in_chunks(connection, rows.made(judge.key), schema.counterfactuals.c.key, list(of)))
        wanted = list({of[row.key] for row in made})
        heads = schema.in_chunks(connection, rows.heads(judge.key), schema.photos.c.key, wanted)
        photos = {head.key: self._photo(head, judge) for head in heads}
        for row in made:
            if of[row.key] in photos:
                yield row.key, (photos[of[row.key]], self._counterfactual(row, judge))

    def _photo(self, head: schema.Row, judge: Vocabulary) -> Photo:
        return rows.photo_of(head, judge).with_image(self.media.get(head.picture))

    def _counterfactual(self, row: schema.Row, judge: Vocabulary) -> Counterfactual:
        prediction = judgement_rows.unpack(row.prediction, judge.labels)
        return rows.counterfactual_of(row, prediction).with_image(self.media.get(row.picture), prediction)


class _Seen(NamedTuple):
    """A photo as one classifier judges it."""

    updated: float
    shown: bool  # under this classifier, where none is named
    record: StudyRecord


@dataclass(slots=True, kw_only=True)
class _Kept:
    """Records in memory, as they are at one number of writes."""

    number: int = -1
    seen: dict[str, tuple[_Seen, ...]] = field(default_factory=dict)  # by classifier
    listed: dict[str, tuple[StudyRecord, ...]] = field(default_factory=dict)  # as they were asked for


def _seen(connection: sql.Connection, known: Vocabularies, judge: Vocabulary) -> Iterator[_Seen]:
    """Return every photo that this classifier judged and nobody put away.

    Of an edit's prediction that is kept which figures need: a thousand labels are 4 KB. All of it stays where the
    classifier does not know the photo's label.
    """
    versions = known.versions(judge.name)
    found = connection.execute(rows.heads(judge.key).where(schema.photos.c.key.not_in(schema.hidden()))).all()
    labels = {head.study: head.label for head in found if head.study}
    edits = {
        study: tuple(_edits(rows.distinct(made, versions), judge, labels[study]))
        for study, made in groupby(connection.execute(rows.made(judge.key)), attrgetter("study"))
        if study in labels
    }
    for head in found:
        record = StudyRecord(
            photo=rows.photo_of(head, judge),
            caption=head.caption,
            control=judgement_rows.unpack(head.control, judge.labels) if head.control else None,
            counterfactuals=edits.get(head.study, ()),
        )
        yield _Seen(head.updated, head.vocabulary in versions, record)


def _edits(made: Sequence[schema.Row], judge: Vocabulary, label: str) -> Iterator[CounterfactualRecord]:
    place = judge.labels.index(label) if label in judge.labels else None
    for row in made:
        prediction = judgement_rows.unpack(row.prediction, judge.labels)
        yield rows.counterfactual_of(row, prediction if place is None else prediction.standing(label, place))


def _summary(row: schema.Row) -> StudySummary:
    return StudySummary(
        key=row.key,
        name=row.name,
        label=row.label,
        label_source=row.label_source,
        caption=row.caption,
        classifier=row.classifier,
        perturbations=row.proposed,
        counterfactuals=row.made,
        time=row.updated,
    )
