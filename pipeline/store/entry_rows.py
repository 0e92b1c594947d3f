"""Rows of counterfactuals as entries: what lists, filters and orders need of each, light enough for many thousands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sqlalchemy as sql
from numpy.typing import NDArray

from pipeline.scores import Scores
from pipeline.store.judgement_rows import Vocabularies, Vocabulary
from pipeline.store.queue import Entry
from pipeline.store.schema import Row, counterfactuals, hidden, judgements, perturbations, photos, studies
from pipeline.types import CONFIRMED


def entries(connection: sql.Connection) -> tuple[Entry, ...]:
    """Return what is known of every counterfactual, as the classifier judges that it was drawn for; no pictures."""
    known = Vocabularies(connection)
    found = (entry for judge in known.current.values() for entry in _entries(connection, known, judge))
    return tuple(sorted(found, key=lambda entry: entry.number))


def _entries(connection: sql.Connection, known: Vocabularies, judge: Vocabulary) -> Iterator[Entry]:
    """Yield the entries of one classifier; edits of a photo without a control are compared with the photo."""
    columns = (photos.c.key, judgements.c.prediction)
    judged = sql.and_(judgements.c.picture == photos.c.picture, judgements.c.vocabulary == judge.key)
    originals = {key: _vector(data) for key, data in connection.execute(sql.select(*columns).join(judgements, judged))}
    judged = sql.and_(judgements.c.picture == studies.c.reconstruction, judgements.c.vocabulary == judge.key)
    columns = (studies.c.key, judgements.c.prediction)
    controls = {key: _vector(data) for key, data in connection.execute(sql.select(*columns).join(judgements, judged))}
    for row in connection.execute(_edits(judge.key, known.versions(judge.name))):
        if row.photo in originals:
            yield entry_of(row, controls.get(row.study, originals[row.photo]), judge)


def _edits(vocabulary: str, versions: frozenset[str]) -> sql.Select[Any]:
    """Return what `entry_of` needs of every counterfactual that was drawn for a classifier of these versions."""
    whole = sql.select(
        counterfactuals.c.number, counterfactuals.c.key, counterfactuals.c.study, counterfactuals.c.tau,
        counterfactuals.c.scores, counterfactuals.c.missed, judgements.c.prediction, perturbations.c.factor,
        perturbations.c.edited_caption, perturbations.c.caption, studies.c.photo, photos.c.label, photos.c.name,
        photos.c.label_source,
    )  # fmt: skip
    judged = sql.and_(judgements.c.picture == counterfactuals.c.picture, judgements.c.vocabulary == vocabulary)
    joined = (
        whole.join(perturbations, perturbations.c.key == counterfactuals.c.perturbation)
        .join(studies, studies.c.key == counterfactuals.c.study)
        .join(photos, photos.c.key == studies.c.photo)
        .join(judgements, judged)
    )
    return joined.where(photos.c.key.not_in(hidden()), counterfactuals.c.vocabulary.in_(versions))


def entry_of(row: Row, before: NDArray[np.float32], judge: Vocabulary) -> Entry:
    """Return the entry of a row of `_edits`, with what its study is compared with.

    A label that the classifier does not know has no probability.
    """
    after = _vector(row.prediction)
    best = np.sort(np.partition(after, -2)[-2:]) if len(after) > 1 else (0.0, after[0])
    here = judge.labels.index(row.label) if row.label in judge.labels else None
    return Entry(
        number=row.number,
        key=row.key,
        photo=row.photo,
        study=row.study,
        label=row.label,
        factor=row.factor,
        edited_caption=row.edited_caption,
        tau=row.tau,
        before=0.0 if here is None else float(before[here]),
        after=0.0 if here is None else float(after[here]),
        margin=float(best[1] - best[0]),
        flip=bool(before.argmax() != after.argmax()),
        directional_similarity=row.scores["directional_similarity"],
        passes=not row.missed,
        name=row.name,
        classifier=judge.name,
        caption=row.caption,
        was=_top(before, judge.labels),
        now=_top(after, judge.labels),
        scores=Scores.of(row.scores),
        missed=tuple(row.missed),
        confirmed=row.label_source in CONFIRMED,
    )


def _top(prediction: NDArray[np.float32], labels: tuple[str, ...]) -> tuple[str, float]:
    place = int(prediction.argmax())
    return labels[place], float(prediction[place])


def _vector(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, "<f4")
