"""Rows of classifiers and of what they make of pictures: how they are found and written, and how they become types.

A picture exists once, whoever judges it; a judgement is a row of its own. What bears a classifier's name now is its
current vocabulary, the one used last; those before it are other classifiers. Every function leaves beginning and ending
the transaction to its caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import sqlalchemy as sql

from pipeline.store.schema import counterfactuals, digest, hidden, insert, judgements, photos, studies, vocabularies
from pipeline.types import Judge, Prediction


class Vocabulary(NamedTuple):
    """A classifier as it once was; a `types.Judge`."""

    key: str
    name: str
    labels: tuple[str, ...]
    fingerprint: str
    used: int


class Vocabularies:
    """All classifiers of a store at one moment."""

    def __init__(self, connection: sql.Connection) -> None:
        rows = connection.execute(sql.select(vocabularies).order_by(vocabularies.c.used))
        self.all = {row.key: Vocabulary(row.key, row.classifier, tuple(row.labels), *row[3:]) for row in rows}
        self.current = {vocabulary.name: vocabulary for vocabulary in self.all.values()}  # the one used last

    def now(self, key: str) -> Vocabulary:
        """Return what bears the name of this classifier now."""
        return self.current[self.all[key].name]

    def versions(self, name: str) -> frozenset[str]:
        """Return the keys of all that ever bore this name."""
        return frozenset(vocabulary.key for vocabulary in self.all.values() if vocabulary.name == name)

    def find(self, judge: Judge) -> Vocabulary | None:
        """Return the classifier of the same name, labels and fingerprint, or None."""
        wanted = (judge.name, tuple(judge.labels), judge.fingerprint)
        return next((vocabulary for vocabulary in self.all.values() if vocabulary[1:4] == wanted), None)


def save_vocabulary(connection: sql.Connection, judge: Judge) -> str:
    """Save a classifier, which bears its name from now on, and return its key; without a fingerprint none gives way."""
    known = Vocabularies(connection)
    found, current = known.find(judge), known.current.get(judge.name)
    if found is not None and (found == current or not judge.fingerprint):
        return found.key
    gives_way = current is not None and current.fingerprint and not judge.fingerprint
    used = 0 if gives_way else 1 + (current.used if current else 0)
    if found is not None:
        connection.execute(sql.update(vocabularies).where(vocabularies.c.key == found.key).values(used=used))
        return found.key
    key = digest(judge.name, tuple(judge.labels), judge.fingerprint)
    line = {"classifier": judge.name, "labels": list(judge.labels), "fingerprint": judge.fingerprint, "used": used}
    connection.execute(sql.insert(vocabularies).values(key=key, **line))
    return key


def save_judgements(connection: sql.Connection, vocabulary: str, made: Mapping[str, Prediction]) -> None:
    """Save a prediction for each picture; one that is there already stays."""
    rows = [
        {"picture": key, "vocabulary": vocabulary, "prediction": pack(prediction)} for key, prediction in made.items()
    ]
    if rows:
        connection.execute(insert(connection, judgements).on_conflict_do_nothing(), rows)


def outdated(connection: sql.Connection, judge: Judge) -> dict[str, Prediction]:
    """Return the pictures that only other versions of this classifier judged, each with one of those judgements."""
    known = Vocabularies(connection)
    own = known.find(judge)
    others = known.versions(judge.name) - {own.key if own else ""}
    if not others:
        return {}
    done = sql.select(judgements.c.picture).where(judgements.c.vocabulary == (own.key if own else ""))
    query = sql.select(judgements).where(judgements.c.vocabulary.in_(others), judgements.c.picture.not_in(done))
    return {row.picture: unpack(row.prediction, known.all[row.vocabulary].labels) for row in connection.execute(query)}


def pictures_of(connection: sql.Connection, photo: str) -> frozenset[str]:
    """Return the photo's own picture, its reconstructions and its edits, under whichever caption."""
    own = sql.select(photos.c.picture).where(photos.c.key == photo)
    controls = sql.select(studies.c.reconstruction).where(studies.c.photo == photo)
    edits = sql.select(counterfactuals.c.picture).join(studies).where(studies.c.photo == photo)
    return frozenset(key for key in connection.execute(sql.union(own, controls, edits)).scalars() if key)


def unjudged(connection: sql.Connection, vocabulary: str) -> tuple[str, ...]:
    """Return the pictures of photos, and of their present captions, that a classifier has not judged, in a fixed order.

    Photos that were put away are left out.
    """
    present = sql.and_(studies.c.photo == photos.c.key, studies.c.caption == photos.c.caption)
    shown = photos.c.key.not_in(hidden())
    own = sql.select(photos.c.picture).where(shown)
    controls = sql.select(studies.c.reconstruction).select_from(studies.join(photos, present)).where(shown)
    edits = (
        sql.select(counterfactuals.c.picture)
        .select_from(counterfactuals.join(studies).join(photos, present))
        .where(shown)
    )
    done = set(
        connection.execute(sql.select(judgements.c.picture).where(judgements.c.vocabulary == vocabulary)).scalars()
    )
    pictures = connection.execute(sql.union(own, controls, edits)).scalars()
    return tuple(sorted(key for key in pictures if key and key not in done))


def pack(prediction: Prediction) -> bytes:
    """Return the probabilities as little-endian float32, one per label."""
    return prediction.probabilities.astype("<f4").tobytes()


def unpack(data: bytes, labels: tuple[str, ...]) -> Prediction:
    """Return the prediction behind `pack`."""
    return Prediction(labels=labels, probabilities=np.frombuffer(data, "<f4"))
