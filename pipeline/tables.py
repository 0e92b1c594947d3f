"""The tables of a store, and how their rows become the pipeline's types.

Schema and conversion only: knows no file, no folder and no transaction. Every function that takes a connection leaves
beginning and ending the transaction to its caller (`pipeline/store.py`).
"""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sql
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.triage import Entry
from pipeline.types import (
    Check,
    CounterfactualRecord,
    CounterfactualSet,
    Decision,
    Perturbation,
    PhotoRecord,
    Prediction,
    Rewording,
    Scores,
    Study,
)

Row = sql.Row[Any]
Stamp = tuple[int, float, int]
"""What changes with a store: see `stamp`."""

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
    sql.Column("seed", sql.Integer),
    sql.Column("models", sql.JSON, nullable=False, server_default="{}"),
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
    sql.Column("act", sql.String, nullable=False, server_default=""),
    sql.Column("kind", sql.String, nullable=False, server_default=""),
    sql.Column("of", sql.String, nullable=False, server_default=""),
    sql.Column("label", sql.String, nullable=False, server_default=""),
    sql.Column("tags", sql.JSON, nullable=False, server_default="[]"),
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
# Photos that are left out of every list.
away = sql.Table("away", schema, sql.Column("photo", sql.String, primary_key=True))
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
# What is to be done, is being done and was done, in the order in which it was asked for.
jobs = sql.Table(
    "jobs",
    schema,
    sql.Column("number", sql.Integer, primary_key=True),
    sql.Column("id", sql.String, nullable=False, unique=True),  # hash of everything that determines the result
    sql.Column("kind", sql.String, nullable=False),
    sql.Column("title", sql.String, nullable=False),
    sql.Column("profile", sql.String, nullable=False),
    sql.Column("parameters", sql.String, nullable=False),
    sql.Column("analyst", sql.String, nullable=False),
    sql.Column("result", sql.String, nullable=False),
    sql.Column("state", sql.String, nullable=False),
    sql.Column("stop", sql.Boolean, nullable=False),
    sql.Column("done", sql.Integer, nullable=False),
    sql.Column("total", sql.Integer, nullable=False),
    sql.Column("remaining", sql.Float, nullable=False),
    sql.Column("note", sql.String, nullable=False),
    sql.Column("live", sql.String, nullable=False),
    sql.Column("error", sql.String, nullable=False),
    sql.Column("attempts", sql.Integer, nullable=False),
    sql.Column("revision", sql.Integer, nullable=False),
    sql.Column("created", sql.Float, nullable=False),
    sql.Column("started", sql.Float, nullable=False),
    sql.Column("heartbeat", sql.Float, nullable=False),
    sql.Column("ended", sql.Float, nullable=False),
)


def insert(connection: sql.Connection, table: sql.Table) -> sqlite.Insert | postgresql.Insert:
    """An insertion that may name what happens on a conflict, in this database's dialect."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


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


def photo_of(row: Row) -> PhotoRecord:
    """From a row of `heads`."""
    return PhotoRecord(
        key=row.photo,
        label=row.label,
        prediction=unpack(row.prediction, tuple(row.labels)),
        name=row.name,
        classifier=row.classifier,
    )


def counterfactual_of(row: Row, labels: tuple[str, ...]) -> CounterfactualRecord:
    """From a row of `counterfactual_rows` and its classifier's labels."""
    return CounterfactualRecord(
        key=row.key,
        perturbation=perturbation_of(row),
        tau=row.tau,
        scores=Scores(**row.scores),
        prediction=unpack(row.prediction, labels),
        missed=tuple(row.missed),
        seed=row.seed,
        models=row.models,
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
        act=row.act or row.id,
        kind=row.kind,
        of=row.of,
        number=row.number,
        label=row.label,
        tags=tuple(row.tags),
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


def made_of(connection: sql.Connection, studies_: Sequence[str]) -> dict[str, list[Row]]:
    """Study -> its counterfactuals in the order they were made; studies without any are absent."""
    found: dict[str, list[Row]] = {}
    query = counterfactual_rows().order_by(counterfactuals.c.number)
    for row in in_chunks(connection, query, counterfactuals.c.study, studies_):
        found.setdefault(row.study, []).append(row)
    return found


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


def entry_rows() -> sql.Select[Any]:
    """What `entry_of` needs of every counterfactual."""
    whole = sql.select(
        counterfactuals.c.number, counterfactuals.c.key, counterfactuals.c.study, counterfactuals.c.tau,
        counterfactuals.c.scores, counterfactuals.c.prediction, counterfactuals.c.missed,
        perturbations.c.factor, perturbations.c.edited_caption, studies.c.photo, studies.c.label,
        studies.c.control, studies.c.prediction.label("original"), studies.c.vocabulary,
        studies.c.name, perturbations.c.caption,
    )  # fmt: skip
    joined = whole.join(perturbations).join(studies).where(studies.c.photo.not_in(hidden()))
    return joined.order_by(counterfactuals.c.number)


def hidden() -> sql.Select[Any]:
    """Keys of the photos that were put away."""
    return sql.select(away.c.photo)


def hidden_counterfactuals() -> sql.Select[Any]:
    """Keys of what was made of them."""
    return sql.select(counterfactuals.c.key).join(studies).join(away, away.c.photo == studies.c.photo)


def put_away(connection: sql.Connection, photo_keys: Collection[str]) -> None:
    """Notes photos as put away, those that are already, too."""
    rows = [{"photo": key} for key in sorted(photo_keys)]
    if rows:
        connection.execute(insert(connection, away).on_conflict_do_nothing(), rows)


def bring_back(connection: sql.Connection, photo_keys: Collection[str]) -> None:
    """Takes that back."""
    for key in photo_keys:
        connection.execute(sql.delete(away).where(away.c.photo == key))


class Vocabulary(NamedTuple):
    """A classifier's labels, and the place of each."""

    classifier: str
    labels: tuple[str, ...]
    places: dict[str, int]


def entry_of(row: Row, words: Vocabulary) -> Entry:
    """From a row of `entry_rows` and its vocabulary; a photo without a control is compared with itself."""
    before = np.frombuffer(row.control or row.original, "<f4")
    after = np.frombuffer(row.prediction, "<f4")
    best, here = np.sort(np.partition(after, -2)[-2:]) if len(after) > 1 else (0.0, after[0]), words.places[row.label]
    return Entry(
        number=row.number,
        key=row.key,
        photo=row.photo,
        study=row.study,
        label=row.label,
        factor=row.factor,
        edited_caption=row.edited_caption,
        tau=row.tau,
        before=float(before[here]),
        after=float(after[here]),
        margin=float(best[1] - best[0]),
        flip=bool(before.argmax() != after.argmax()),
        directional_similarity=row.scores["directional_similarity"],
        passes=not row.missed,
        name=row.name,
        classifier=words.classifier,
        caption=row.caption,
        was=_top(before, words.labels),
        now=_top(after, words.labels),
        scores=Scores(**row.scores),
        missed=tuple(row.missed),
    )


def _top(prediction: NDArray[np.float32], labels: tuple[str, ...]) -> tuple[str, float]:
    place = int(prediction.argmax())
    return labels[place], float(prediction[place])


def words(connection: sql.Connection) -> dict[str, Vocabulary]:
    """Every vocabulary by its key."""
    found = {}
    for row in connection.execute(sql.select(vocabularies)):
        places = {label: place for place, label in enumerate(row.labels)}
        found[row.key] = Vocabulary(row.classifier, tuple(row.labels), places)
    return found


def stamp(connection: sql.Connection) -> Stamp:
    """Changes whenever a counterfactual is added, a study is saved, or photos are put away or brought back."""
    number = sql.select(sql.func.max(counterfactuals.c.number)).scalar_subquery()
    updated = sql.select(sql.func.max(studies.c.updated)).scalar_subquery()
    number_away = sql.select(sql.func.count()).select_from(away).scalar_subquery()
    row = connection.execute(sql.select(number, updated, number_away)).one()
    return row[0] or 0, row[1] or 0.0, row[2]


def latest(connection: sql.Connection, counterfactual: str, analyst: str) -> Decision | None:
    """What an analyst decided last about a counterfactual."""
    of_both = (decisions.c.counterfactual == counterfactual, decisions.c.analyst == analyst)
    query = sql.select(decisions).where(*of_both).order_by(decisions.c.number.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else decision_of(row)


def append(connection: sql.Connection, decision: Decision) -> Decision:
    """Puts the decision at the end of the log, unless its id is there already; returns what the log holds."""
    line = asdict(decision)
    del line["number"]
    connection.execute(insert(connection, decisions).values(line).on_conflict_do_nothing(index_elements=["id"]))
    return decision_of(connection.execute(sql.select(decisions).where(decisions.c.id == decision.id)).one())


def save_head(connection: sql.Connection, study: Study, picture: str, reconstruction: str | None) -> str:
    """Inserts or refreshes the study's own line and returns its key. What is known already is never emptied."""
    photo, now = study.photo, time.time()
    words = {"classifier": photo.classifier, "labels": list(photo.prediction.labels)}
    vocabulary = digest(photo.classifier, photo.prediction.labels)
    connection.execute(insert(connection, vocabularies).values(key=vocabulary, **words).on_conflict_do_nothing())
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
    line = insert(connection, studies).values(created=now, **fixed, **fresh)
    connection.execute(line.on_conflict_do_update(index_elements=["key"], set_=fresh))
    return key


def save_perturbations(connection: sql.Connection, all_of: Sequence[Perturbation]) -> tuple[str, ...]:
    """Inserts what is not there yet and returns all keys."""
    keys = tuple(digest(*asdict(one).values()) for one in all_of)
    rows = [{"key": key, **asdict(one)} for key, one in zip(keys, all_of, strict=True)]
    if rows:
        connection.execute(insert(connection, perturbations).on_conflict_do_nothing(), rows)
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
        line = insert(connection, counterfactuals).values(
            key=one.key,
            study=study,
            perturbation=perturbation,
            tau=one.tau,
            picture=pictures[one.key],
            scores=asdict(one.scores),
            prediction=pack(one.prediction),
            missed=list(one.missed),
            seed=one.seed,
            models=one.models,
        )
        connection.execute(line.on_conflict_do_nothing(index_elements=["key"]))


def next_version(connection: sql.Connection, name: str, items: Sequence[str]) -> CounterfactualSet:
    """The set's next version, or its latest one when that holds the same items."""
    query = sql.select(sets).where(sets.c.name == name).order_by(sets.c.version.desc()).limit(1)
    latest = connection.execute(query).one_or_none()
    if latest is not None and tuple(latest.items) == tuple(items):
        return set_of(latest)
    version = 1 if latest is None else latest.version + 1
    connection.execute(sql.insert(sets).values(name=name, version=version, items=list(items)))
    return CounterfactualSet(name=name, version=version, items=tuple(items))
