"""The tables of a store, and how their rows become the pipeline's types.

Schema and conversion only: knows no file, no folder and no transaction. Every function that takes a connection leaves
beginning and ending the transaction to its caller (`pipeline/store.py`).
"""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects.sqlite import insert

from pipeline.types import Check, CounterfactualSet, Decision, Perturbation, Prediction, Rewording, Study

Row = sql.Row[Any]

schema = sql.MetaData()
# One line per classifier and its labels, so that a prediction is nothing but its numbers.
vocabularies = sql.Table(
    "vocabularies",
    schema,
    sql.Column("key", sql.String, primary_key=True),
    sql.Column("classifier", sql.String, nullable=False),
    sql.Column("labels", sql.JSON, nullable=False),
)
# What is known of a photo under one caption and one classifier; the newest of a photo's rows is its study.
studies = sql.Table(
    "studies",
    schema,
    sql.Column("key", sql.String, primary_key=True),
    sql.Column("photo", sql.String, nullable=False, index=True),
    sql.Column("picture", sql.String, nullable=False),
    sql.Column("name", sql.String, nullable=False),
    sql.Column("label", sql.String, nullable=False),
    sql.Column("caption", sql.String, nullable=False),
    sql.Column("vocabulary", sql.ForeignKey("vocabularies.key"), nullable=False),
    sql.Column("prediction", sql.LargeBinary, nullable=False),
    sql.Column("reconstruction", sql.String),
    sql.Column("control", sql.LargeBinary),
    sql.Column("created", sql.Float, nullable=False),
    sql.Column("updated", sql.Float, nullable=False, index=True),
)
perturbations = sql.Table(
    "perturbations",
    schema,
    sql.Column("key", sql.String, primary_key=True),
    sql.Column("caption", sql.String, nullable=False),
    sql.Column("edited_caption", sql.String, nullable=False),
    sql.Column("factor", sql.String, nullable=False),
    sql.Column("original", sql.String, nullable=False),
    sql.Column("edit", sql.String, nullable=False),
    sql.Column("rejected_by", sql.JSON, nullable=False),
    sql.Column("checks", sql.JSON, nullable=False, server_default="[]"),
)
proposals = sql.Table(
    "proposals",
    schema,
    sql.Column("study", sql.ForeignKey("studies.key"), primary_key=True),
    sql.Column("position", sql.Integer, primary_key=True),
    sql.Column("perturbation", sql.ForeignKey("perturbations.key"), nullable=False),
)
counterfactuals = sql.Table(
    "counterfactuals",
    schema,
    sql.Column("number", sql.Integer, primary_key=True),  # the order in which they were made
    sql.Column("key", sql.String, nullable=False, unique=True),
    sql.Column("study", sql.ForeignKey("studies.key"), nullable=False, index=True),
    sql.Column("perturbation", sql.ForeignKey("perturbations.key"), nullable=False),
    sql.Column("tau", sql.Float, nullable=False),
    sql.Column("picture", sql.String, nullable=False),
    sql.Column("scores", sql.JSON, nullable=False),
    sql.Column("prediction", sql.LargeBinary, nullable=False),
    sql.Column("missed", sql.JSON, nullable=False),
)
decisions = sql.Table(
    "decisions",
    schema,
    sql.Column("number", sql.Integer, primary_key=True),
    sql.Column("id", sql.String, nullable=False, unique=True),
    sql.Column("counterfactual", sql.ForeignKey("counterfactuals.key"), nullable=False),
    sql.Column("verdict", sql.String, nullable=False),
    sql.Column("reason", sql.String, nullable=False),
    sql.Column("analyst", sql.String, nullable=False),
    sql.Column("time", sql.Float, nullable=False),
)
sets = sql.Table(
    "sets",
    schema,
    sql.Column("number", sql.Integer, primary_key=True),
    sql.Column("name", sql.String, nullable=False),
    sql.Column("version", sql.Integer, nullable=False),
    sql.Column("items", sql.JSON, nullable=False),
    sql.UniqueConstraint("name", "version"),
)
rewordings = sql.Table(
    "rewordings",
    schema,
    sql.Column("number", sql.Integer, primary_key=True),
    sql.Column("photo", sql.String, nullable=False, index=True),
    sql.Column("before", sql.String, nullable=False),
    sql.Column("caption", sql.String, nullable=False),
    sql.Column("analyst", sql.String, nullable=False),
    sql.Column("time", sql.Float, nullable=False),
)
# Photos that a run has finished under one job (a hash of everything that determines the result).
finished = sql.Table(
    "finished",
    schema,
    sql.Column("job", sql.String, primary_key=True),
    sql.Column("photo", sql.String, primary_key=True),
)
failures = sql.Table(
    "failures",
    schema,
    sql.Column("job", sql.String, primary_key=True),
    sql.Column("name", sql.String, primary_key=True),
    sql.Column("message", sql.String, nullable=False),
)


def digest(*parts: object) -> str:
    """sha256 over the parts, each with its length so that no two lists of parts run together."""
    total = hashlib.sha256()
    for part in parts:
        data = repr(part).encode("utf-8", "surrogatepass")
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def pack(prediction: Prediction) -> bytes:
    """Little-endian float32, one per label."""
    return struct.pack(f"<{len(prediction.probabilities)}f", *prediction.probabilities)


def unpack(data: bytes, labels: tuple[str, ...]) -> Prediction:
    """The prediction behind `pack`."""
    return Prediction(labels=labels, probabilities=struct.unpack(f"<{len(labels)}f", data))


def perturbation_of(row: Row) -> Perturbation:
    """From a row that holds the columns of `perturbations`."""
    return Perturbation(
        caption=row.caption,
        edited_caption=row.edited_caption,
        factor=row.factor,
        original=row.original,
        edit=row.edit,
        rejected_by=tuple(row.rejected_by),
        checks=tuple(Check(**check) for check in row.checks),
    )


def decision_of(row: Row) -> Decision:
    """From a row of `decisions`."""
    return Decision(
        id=row.id,
        counterfactual=row.counterfactual,
        verdict=row.verdict,
        reason=row.reason,
        analyst=row.analyst,
        time=row.time,
    )


def rewording_of(row: Row) -> Rewording:
    """From a row of `rewordings`."""
    return Rewording(photo=row.photo, before=row.before, caption=row.caption, analyst=row.analyst, time=row.time)


def set_of(row: Row) -> CounterfactualSet:
    """From a row of `sets`."""
    return CounterfactualSet(name=row.name, version=row.version, items=tuple(row.items))


def counterfactual_rows() -> sql.Select[Any]:
    """Every counterfactual with its perturbation; the perturbation's own key is left out."""
    words = [column for column in perturbations.c if column.name != "key"]
    return sql.select(counterfactuals, *words).join(perturbations)


def rows_of_study(connection: sql.Connection, study: str) -> tuple[Sequence[Row], Sequence[Row]]:
    """Its proposals in the analyst's order and its counterfactuals in the order they were made."""
    proposed = sql.select(perturbations).join(proposals).where(proposals.c.study == study)
    made = counterfactual_rows().where(counterfactuals.c.study == study)
    return (
        connection.execute(proposed.order_by(proposals.c.position)).all(),
        connection.execute(made.order_by(counterfactuals.c.number)).all(),
    )


def count_for_study(column: sql.Column[str], name: str) -> sql.Label[int]:
    """How many rows of another table name the study, as a column of a query on `studies`."""
    query = sql.select(sql.func.count()).where(column == studies.c.key)
    return query.correlate(studies).scalar_subquery().label(name)


def in_chunks(
    connection: sql.Connection, query: sql.Select[Any], column: sql.Column[str], keys: Sequence[str]
) -> Iterator[Row]:
    """Rows of the query whose column is one of the keys, asked for in portions that SQLite accepts."""
    for start in range(0, len(keys), 500):
        yield from connection.execute(query.where(column.in_(keys[start : start + 500])))


def heads() -> sql.Select[Any]:
    """Every line of `studies` with its classifier and labels."""
    return sql.select(studies, vocabularies.c.classifier, vocabularies.c.labels).join(vocabularies)


def save_head(connection: sql.Connection, study: Study, picture: str, reconstruction: str | None) -> str:
    """Inserts or refreshes the study's own line and returns its key. What is known already is never emptied."""
    photo, now = study.photo, time.time()
    words = {"classifier": photo.classifier, "labels": list(photo.prediction.labels)}
    vocabulary = digest(photo.classifier, photo.prediction.labels)
    connection.execute(insert(vocabularies).values(key=vocabulary, **words).on_conflict_do_nothing())
    key = digest(photo.key, study.caption, vocabulary)
    fresh: dict[str, object] = {
        "name": photo.name,
        "label": photo.label,
        "prediction": pack(photo.prediction),
        "updated": now,
    }
    if reconstruction is not None:
        fresh["reconstruction"] = reconstruction
    if study.control is not None:
        fresh["control"] = pack(study.control)
    fixed = {"key": key, "photo": photo.key, "picture": picture, "caption": study.caption, "vocabulary": vocabulary}
    line = insert(studies).values(created=now, **fixed, **fresh)
    connection.execute(line.on_conflict_do_update(["key"], set_=fresh))
    return key


def save_perturbations(connection: sql.Connection, all_of: Sequence[Perturbation]) -> tuple[str, ...]:
    """Inserts what is not there yet and returns all keys."""
    keys = tuple(digest(*asdict(one).values()) for one in all_of)
    rows = [{"key": key, **asdict(one)} for key, one in zip(keys, all_of, strict=True)]
    if rows:
        connection.execute(insert(perturbations).on_conflict_do_nothing(), rows)
    return keys


def save_proposals(connection: sql.Connection, study: str, all_of: Sequence[Perturbation]) -> None:
    """Makes this the study's list of proposals."""
    keys = save_perturbations(connection, all_of)
    connection.execute(sql.delete(proposals).where(proposals.c.study == study))
    rows = [{"study": study, "position": place, "perturbation": key} for place, key in enumerate(keys)]
    if rows:
        connection.execute(sql.insert(proposals), rows)


def save_counterfactuals(connection: sql.Connection, study: str, made: Study, pictures: Mapping[str, str]) -> None:
    """Inserts those with a picture here; for the others only the judgement of the gates is refreshed."""
    keys = save_perturbations(connection, [one.perturbation for one in made.counterfactuals])
    for one, perturbation in zip(made.counterfactuals, keys, strict=True):
        if one.key not in pictures:
            query = sql.update(counterfactuals).where(counterfactuals.c.key == one.key)
            connection.execute(query.values(missed=list(one.missed)))
            continue
        line = insert(counterfactuals).values(
            key=one.key,
            study=study,
            perturbation=perturbation,
            tau=one.tau,
            picture=pictures[one.key],
            scores=asdict(one.scores),
            prediction=pack(one.prediction),
            missed=list(one.missed),
        )
        connection.execute(line.on_conflict_do_nothing(["key"]))


def next_version(connection: sql.Connection, name: str, items: Sequence[str]) -> CounterfactualSet:
    """The set's next version, or its latest one when that holds the same items."""
    query = sql.select(sets).where(sets.c.name == name).order_by(sets.c.version.desc()).limit(1)
    latest = connection.execute(query).one_or_none()
    if latest is not None and tuple(latest.items) == tuple(items):
        return set_of(latest)
    version = 1 if latest is None else latest.version + 1
    connection.execute(sql.insert(sets).values(name=name, version=version, items=list(items)))
    return CounterfactualSet(name=name, version=version, items=tuple(items))
