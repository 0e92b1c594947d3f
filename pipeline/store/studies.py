"""The part of a store that writes photos: captions, proposals, pictures, and what classifiers make of them.

A write says what it means and touches nothing else, so whoever works on a photo for an hour overwrites nothing that was
done to it meanwhile. What a person changes names what they saw, and is refused when that is no longer so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import sqlalchemy as sql
from PIL.Image import Image

from pipeline.errors import ConflictError, DataError
from pipeline.store import judgement_rows, schema
from pipeline.store import study_rows as rows
from pipeline.store.database import saving
from pipeline.store.judgement_rows import Vocabularies
from pipeline.store.study_reading import StudyReader
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
)


class Studies(StudyReader):
    """Photos and what was made of them in one data folder, read and written."""

    @contextmanager
    def _write(self, what: str, *topics: str) -> Iterator[sql.Connection]:
        """Open the one transaction in which this store writes, which counts itself on its topics.

        `what` begins the sentence that tells a fault.
        """
        with saving(what), self.database.write() as connection:
            yield connection
            schema.raised(connection, topics)

    def add_photo(self, photo: Photo, collection: int | None = None) -> None:
        """Add a photo with its classifier's judgement to a collection, or bring it back from where it was put away.

        Without a collection it is in that of single photos, unless another one that is shown holds it already.
        A photo that is known keeps its label, unless the new one's source outranks it: a person's word counts more
        than a folder's, a folder's more than a guess. Raises `StoreError`.
        """
        what = f"The photo '{photo.name or photo.key[:8]}' could not be saved"
        with saving(what):
            picture = photo.key if self.media.touch(photo.key) else self.media.put(photo.image)
        with self._write(what, schema.RECORDS, schema.DECISIONS) as connection:
            rows.save_photo(connection, photo, picture, collection)

    def set_label(
        self, photo_key: str, label: str, *, source: str = ANALYST, analyst: str = "", expected: str | None = None
    ) -> None:
        """Say what a photo shows.

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
        """Say under which classifier a photo is shown where none is named."""
        with self._write("The choice of the classifier could not be saved", schema.RECORDS) as connection:
            rows.change(connection, photo_key, vocabulary=judgement_rows.save_vocabulary(connection, judge))

    def set_caption(
        self, photo_key: str, caption: str, *, analyst: str | None = None, expected: str | None = None
    ) -> None:
        """Make this the photo's caption; what rests on others stays and comes back with them.

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

    def add_proposals(self, photo_key: str, caption: str, perturbations: Sequence[Perturbation]) -> None:
        """Add proposals to those under this caption, at the end.

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
        """Say of proposals, by edited caption, why they are left out: () for not at all, None leaves it to the gates.

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
        """Keep what inversion alone makes of the photo under this caption, and return its picture's key."""
        with saving("The reconstruction could not be saved"):
            picture = self.media.put(image)
        with self._write("The reconstruction could not be saved", schema.RECORDS) as connection:
            rows.save_caption(connection, photo_key, caption, reconstruction=picture)
        return picture

    def add_counterfactuals(self, photo_key: str, caption: str, made: Sequence[Counterfactual], judge: Judge) -> None:
        """Add edits with this classifier's judgements; what is there already stays as it is. Raises `StoreError`."""
        with saving("The edits could not be saved"):
            pictures = {item.key: self.media.put(item.image) for item in made}
        with self._write("The edits could not be saved", schema.RECORDS) as connection:
            vocabulary = judgement_rows.save_vocabulary(connection, judge)
            study = rows.save_caption(connection, photo_key, caption)
            rows.save_counterfactuals(connection, study, vocabulary, made, pictures)
            judged = {pictures[item.key]: item.prediction for item in made}
            judgement_rows.save_judgements(connection, vocabulary, judged)

    def set_scores(self, made: Sequence[CounterfactualRecord]) -> None:
        """Keep these edits' scores, whose they are, and which gates they miss."""
        with self._write("The scores could not be saved", schema.RECORDS) as connection:
            for item in made:
                values = {"scores": item.scores.kept, "scorer": item.scorer, "missed": list(item.missed)}
                here = schema.counterfactuals.c.key == item.key
                connection.execute(sql.update(schema.counterfactuals).where(here).values(**values))

    def add_judgements(self, judge: Judge, predictions: Mapping[str, Prediction]) -> None:
        """Add what a classifier makes of pictures, by the pictures' own keys."""
        with self._write("The judgements could not be saved", schema.RECORDS) as connection:
            judgement_rows.save_judgements(connection, judgement_rows.save_vocabulary(connection, judge), predictions)

    def recognise(self, judge: Judge) -> None:
        """Say that the classifier of this name whose fingerprint nobody noted is this one."""
        with self._write("The classifier could not be noted", schema.RECORDS) as connection:
            known = Vocabularies(connection).current.get(judge.name)
            if known is not None and not known.fingerprint and known.labels == tuple(judge.labels):
                here = schema.vocabularies.c.key == known.key
                connection.execute(sql.update(schema.vocabularies).where(here).values(fingerprint=judge.fingerprint))
