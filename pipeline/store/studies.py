"""The part of a store that keeps photos: captions, proposals, pictures, and what classifiers make of them.

A write says what it means and touches nothing else, so whoever works on a photo for an hour overwrites nothing that was
done to it meanwhile. What a person changes names what they saw, and is refused when that is no longer so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sql
from PIL.Image import Image

from pipeline.errors import ConflictError, DataError
from pipeline.store import schema
from pipeline.store import study_rows as rows
from pipeline.store.database import Database, saving
from pipeline.store.entry_rows import entries
from pipeline.store.media import Media
from pipeline.store.queue import Entry
from pipeline.store.study_rows import Vocabularies, Vocabulary
from pipeline.types import (
    ANALYST,
    CONFIRMED,
    Counterfactual,
    CounterfactualRecord,
    Judge,
    Perturbation,
    Photo,
    Prediction,
    Rewording,
    Study,
    StudyRecord,
)


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


class Studies:
    """Photos and what was made of them in one data folder."""

    def __init__(self, root: Path, database: str = "") -> None:
        self.root, self.address = Path(root), database
        with saving(f"The data folder {self.root} cannot be opened"):
            self.media = Media(self.root / "media")
        self.database = Database(self.root, database)
        self._entries: tuple[int, tuple[Entry, ...]] = -1, ()
        self._records = _Kept()

    @contextmanager
    def _write(self, what: str, *topics: str) -> Iterator[sql.Connection]:
        """The one way in which this store writes: a transaction that counts itself on its topics.

        `what` begins the sentence that tells a fault.
        """
        with saving(what), self.database.write() as connection:
            yield connection
            schema.raised(connection, topics)

    def add_photo(self, photo: Photo) -> None:
        """Adds a photo with its classifier's judgement, or brings it back from where it was put away.

        A photo that is known keeps its label, unless the new one's source outranks it: a person's word counts more
        than a folder's, a folder's more than a guess. Raises `StoreError`.
        """
        what = f"The photo '{photo.name or photo.key[:8]}' could not be saved"
        with saving(what):
            picture = photo.key if self.media.touch(photo.key) else self.media.put(photo.image)
        with self._write(what, schema.RECORDS, schema.DECISIONS) as connection:
            rows.save_photo(connection, photo, picture)

    def set_label(
        self, photo_key: str, label: str, *, source: str = ANALYST, analyst: str = "", expected: str | None = None
    ) -> None:
        """Says what a photo shows.

        `expected` is what somebody had said before, "" for nobody. Raises `ConflictError` when that is another one.
        """
        with self._write("The label could not be saved", schema.RECORDS) as connection:
            known = rows.need_photo(connection, photo_key)
            said = known.label if known.label_source in CONFIRMED else ""
            if expected is not None and said and said not in (expected, label):
                raise ConflictError(
                    f"Meanwhile the label became '{known.label}'; nothing was changed, choose again if you disagree."
                )
            rows.change(connection, photo_key, label=label, label_source=source, label_analyst=analyst)

    def set_classifier(self, photo_key: str, judge: Judge) -> None:
        """Says under which classifier a photo is shown where none is named."""
        with self._write("The choice of the classifier could not be saved", schema.RECORDS) as connection:
            rows.change(connection, photo_key, vocabulary=rows.save_vocabulary(connection, judge))

    def set_caption(
        self, photo_key: str, caption: str, *, analyst: str | None = None, expected: str | None = None
    ) -> None:
        """Makes this the photo's caption; what rests on others stays and comes back with them.

        `analyst` is who wrote it, "" where nobody signs in, and notes it among the rewordings; None for the
        captioner. Raises `ConflictError` when the caption is neither this one nor the `expected` one.
        """
        with self._write("The caption could not be saved", schema.RECORDS) as connection:
            before = rows.need_photo(connection, photo_key).caption
            if expected is not None and before not in (expected, caption):
                raise ConflictError(
                    f"Meanwhile the caption became '{before}'; nothing was changed, write yours again if you disagree."
                )
            rows.save_caption(connection, photo_key, caption)
            rows.change(connection, photo_key, caption=caption)
            if analyst is not None and before != caption:
                line = Rewording(photo=photo_key, before=before, caption=caption, analyst=analyst, time=time.time())
                connection.execute(sql.insert(schema.rewordings).values(asdict(line)))

    def rewordings(self, photo_key: str) -> tuple[Rewording, ...]:
        """Who wrote which caption of this photo and when, oldest first."""
        query = sql.select(schema.rewordings).where(schema.rewordings.c.photo == photo_key)
        with self.database.read() as connection:
            found = connection.execute(query.order_by(schema.rewordings.c.number)).all()
        return tuple(schema.rewording_of(row) for row in found)

    def caption_of(self, photo_key: str) -> tuple[str, bool]:
        """The photo's present caption, "" for none, and whether a person wrote it. Raises `DataError` without one."""
        query = sql.select(schema.rewordings.c.caption).where(schema.rewordings.c.photo == photo_key)
        with self.database.read() as connection:
            caption = rows.need_photo(connection, photo_key).caption
            return caption, caption in set(connection.execute(query).scalars())

    def add_proposals(self, photo_key: str, caption: str, perturbations: Sequence[Perturbation]) -> None:
        """Adds proposals to those under this caption, at the end.

        One with the same edited caption takes the new judgement of the gates and keeps what an analyst decided of it.
        """
        with self._write("The variations could not be saved", schema.RECORDS) as connection:
            rows.save_proposals(connection, rows.save_caption(connection, photo_key, caption), perturbations)

    def tick(
        self,
        photo_key: str,
        caption: str,
        decided: Mapping[str, tuple[str, ...] | None],
        expected: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """Says of proposals, by edited caption, why they are left out: () for not at all, None leaves it to the gates.

        All or none. Raises `ConflictError` when one's `rejected_by` is neither that nor the `expected` one, and
        `DataError` when it is not there.
        """
        with self._write("The choice could not be saved", schema.RECORDS) as connection:
            study = rows.save_caption(connection, photo_key, caption)
            known = {row.edited_caption: row for row in rows.proposed(connection, study)}
            for words, reasons in decided.items():
                if words not in known:
                    raise DataError("This variation is no longer there; the page shows the present ones.")
                there = rows.proposal_of(known[words]).rejected_by
                if expected and words in expected and there not in (expected[words], reasons):
                    raise ConflictError(
                        f"Meanwhile '{words}' was {'left out' if there else 'ticked'} in another window; nothing was "
                        "changed, decide again if you disagree."
                    )
                value = None if reasons is None else list(reasons)
                rows.decide_proposal(connection, study, known[words].position, value)

    def set_reconstruction(self, photo_key: str, caption: str, image: Image) -> str:
        """Keeps what inversion alone makes of the photo under this caption, and returns its picture's key."""
        with saving("The reconstruction could not be saved"):
            picture = self.media.put(image)
        with self._write("The reconstruction could not be saved", schema.RECORDS) as connection:
            rows.save_caption(connection, photo_key, caption, reconstruction=picture)
        return picture

    def add_counterfactuals(self, photo_key: str, caption: str, made: Sequence[Counterfactual], judge: Judge) -> None:
        """Adds edits with this classifier's judgements; what is there already stays as it is. Raises `StoreError`."""
        with saving("The edits could not be saved"):
            pictures = {one.key: self.media.put(one.image) for one in made}
        with self._write("The edits could not be saved", schema.RECORDS) as connection:
            vocabulary = rows.save_vocabulary(connection, judge)
            study = rows.save_caption(connection, photo_key, caption)
            rows.save_counterfactuals(connection, study, vocabulary, made, pictures)
            judged = {pictures[one.key]: one.prediction for one in made}
            rows.save_judgements(connection, vocabulary, judged)

    def set_scores(self, made: Sequence[CounterfactualRecord]) -> None:
        """Keeps these edits' scores, whose they are, and which gates they miss."""
        with self._write("The scores could not be saved", schema.RECORDS) as connection:
            for one in made:
                values = {"scores": asdict(one.scores), "scorer": one.scorer, "missed": list(one.missed)}
                here = schema.counterfactuals.c.key == one.key
                connection.execute(sql.update(schema.counterfactuals).where(here).values(**values))

    def add_judgements(self, judge: Judge, predictions: Mapping[str, Prediction]) -> None:
        """Adds what a classifier makes of pictures, by the pictures' own keys."""
        with self._write("The judgements could not be saved", schema.RECORDS) as connection:
            rows.save_judgements(connection, rows.save_vocabulary(connection, judge), predictions)

    def recognise(self, judge: Judge) -> None:
        """Says that the classifier of this name whose fingerprint nobody noted is this one."""
        with self._write("The classifier could not be noted", schema.RECORDS) as connection:
            known = Vocabularies(connection).current.get(judge.name)
            if known is not None and not known.fingerprint and known.labels == tuple(judge.labels):
                here = schema.vocabularies.c.key == known.key
                connection.execute(sql.update(schema.vocabularies).where(here).values(fingerprint=judge.fingerprint))

    def known_judge(self, name: str) -> Judge | None:
        """What bears this classifier's name in the store, or None."""
        with self.database.read() as connection:
            return Vocabularies(connection).current.get(name)

    def judges(self) -> tuple[str, ...]:
        """Names of the classifiers that judged anything here, sorted."""
        with self.database.read() as connection:
            return tuple(sorted(Vocabularies(connection).current))

    def outdated(self, judge: Judge) -> dict[str, Prediction]:
        """Pictures that other versions of this classifier judged and it has not, with one of those judgements."""
        with self.database.read() as connection:
            return rows.outdated(connection, judge)

    def unjudged(self, photo_key: str, judge: Judge) -> tuple[str, ...]:
        """Of the pictures of a photo, those that this classifier has not judged, in a fixed order."""
        with self.database.read() as connection:
            found = Vocabularies(connection).find(judge)
            pictures = rows.pictures_of(connection, photo_key)
            done = sql.select(schema.judgements.c.picture).where(
                schema.judgements.c.vocabulary == (found.key if found else "")
            )
            judged = {
                row.picture for row in schema.in_chunks(connection, done, schema.judgements.c.picture, [*pictures])
            }
        return tuple(sorted(pictures - judged))

    def load_study(self, photo_key: str, classifier: str = "") -> Study | None:
        """The photo under its present caption, as this classifier judges it ("": the one it is shown under), or None.

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
            control=rows.unpack(head.control, judge.labels) if head.control else None,
            perturbations=tuple(map(rows.proposal_of, proposed)),
            counterfactuals=tuple(self._counterfactual(row, judge) for row in made),
        )

    def records(self, classifier: str = "") -> tuple[StudyRecord, ...]:
        """What `load_study` gives of every photo, without pictures, newest first; read anew only after a change."""
        with self.database.read() as connection:
            number = schema.number_of(connection, schema.RECORDS)
            kept = self._records if self._records.number == number else _Kept(number=number)
            if classifier not in kept.listed:
                known = Vocabularies(connection)
                names = [classifier] if classifier else sorted(known.current)
                for name in names:
                    if name in known.current and name not in kept.seen:
                        kept.seen[name] = tuple(_seen(connection, known, known.current[name]))
                found = [one for name in names for one in kept.seen.get(name, ()) if classifier or one.shown]
                kept.listed[classifier] = tuple(one.record for one in sorted(found, key=lambda one: -one.updated))
            self._records = kept
        return kept.listed[classifier]

    def studies(self) -> tuple[StudySummary, ...]:
        """One line per photo, newest first."""
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
        """The PNG of a photo or counterfactual key, below `root`. Raises `DataError` for an unknown key."""
        photos = sql.select(schema.photos.c.picture).where(schema.photos.c.key == key)
        made = sql.select(schema.counterfactuals.c.picture).where(schema.counterfactuals.c.key == key)
        with self.database.read() as connection:
            picture = connection.execute(photos.union(made)).scalars().first()
        if picture is None:
            raise DataError(f"There is no picture {key[:12]} in this data folder; it may belong to another one.")
        return self.media.path(picture)

    def entries(self) -> tuple[Entry, ...]:
        """All counterfactuals without their pictures, in the order they were made; read anew only after a change."""
        with self.database.read() as connection:
            number = schema.number_of(connection, schema.RECORDS)
            if self._entries[0] != number:
                self._entries = number, entries(connection)
        return self._entries[1]

    def pairs(self, keys: Sequence[str]) -> tuple[tuple[Photo, Counterfactual], ...]:
        """Photo and counterfactual of each key, in this order, as the classifier judges that it was drawn for.

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
            raise DataError(f"Counterfactual {missing[0][:12]} is not in {self.root}; open the folder it was made in.")
        return tuple(found[key] for key in keys)

    def _pairs(
        self, connection: sql.Connection, judge: Vocabulary, of: Mapping[str, str]
    ) -> Iterator[tuple[str, tuple[Photo, Counterfactual]]]:
        """(key, pair) of those that this classifier judged; `of` names the photo of each."""
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
        prediction = rows.unpack(row.prediction, judge.labels)
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
    """Every photo that this classifier judged and nobody put away.

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
            control=rows.unpack(head.control, judge.labels) if head.control else None,
            counterfactuals=edits.get(head.study, ()),
        )
        yield _Seen(head.updated, head.vocabulary in versions, record)


def _edits(made: Sequence[schema.Row], judge: Vocabulary, label: str) -> Iterator[CounterfactualRecord]:
    place = judge.labels.index(label) if label in judge.labels else None
    for row in made:
        prediction = rows.unpack(row.prediction, judge.labels)
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
