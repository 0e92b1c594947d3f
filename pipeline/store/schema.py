"""The tables of a store, and what the modules of its rows share.

Those of photos are in `study_rows.py`, of classifiers and judgements in `judgement_rows.py`, of decisions and sets in
`decision_rows.py`. Knows no file, no folder and no transaction: every function that takes a connection leaves beginning
and ending the transaction to its caller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

CHUNK = 500  # values in one statement, which SQLite accepts
Row = sql.Row[Any]
RECORDS, DECISIONS = "records", "decisions"
"""Topics of `revision`: photos and what was made of them; what analysts said of that."""

DEMO, UPLOAD, STUDIED, SINGLE, EARLIER = COLLECTION_KINDS = ("demo", "upload", "folder", "single", "earlier")
"""Where photos come from. The earlier ones were here before there were collections."""

schema = sql.MetaData()
# One line per classifier as it once was, so that a judgement is nothing but its numbers.
vocabularies = sql.Table(
    "vocabularies",
    schema,
    sql.Column("key", sql.String, primary_key=True),
    sql.Column("classifier", sql.String, nullable=False),
    sql.Column("labels", sql.JSON, nullable=False),
    sql.Column("fingerprint", sql.String, nullable=False, server_default=""),  # "" where nobody noted it
    sql.Column("used", sql.Integer, nullable=False, server_default="0"),  # greatest for what bears this name now
)
photos = sql.Table(
    "photos",
    schema,
    sql.Column("key", sql.String, primary_key=True),
    sql.Column("picture", sql.String, nullable=False),
    sql.Column("name", sql.String, nullable=False),
    sql.Column("label", sql.String, nullable=False),
    sql.Column("label_source", sql.String, nullable=False),  # one of `types.LABEL_SOURCES`
    sql.Column("label_analyst", sql.String, nullable=False),
    sql.Column("caption", sql.String, nullable=False),  # the present one, "" for none
    sql.Column("vocabulary", sql.ForeignKey("vocabularies.key"), nullable=False),  # the classifier it is shown under
    sql.Column("created", sql.Float, nullable=False),
    sql.Column("updated", sql.Float, nullable=False, index=True),
)
# What a classifier makes of a picture: of a photo, a reconstruction or an edit alike.
judgements = sql.Table(
    "judgements",
    schema,
    sql.Column("picture", sql.String, primary_key=True),  # as `Media` names it, by its content
    sql.Column("vocabulary", sql.ForeignKey("vocabularies.key"), primary_key=True),
    sql.Column("prediction", sql.LargeBinary, nullable=False),
)
# What rests on one caption of a photo.
studies = sql.Table(
    "studies",
    schema,
    sql.Column("key", sql.String, primary_key=True),
    sql.Column("photo", sql.ForeignKey("photos.key"), nullable=False, index=True),
    sql.Column("caption", sql.String, nullable=False),
    sql.Column("reconstruction", sql.String),
    sql.Column("created", sql.Float, nullable=False),
    sql.Column("updated", sql.Float, nullable=False),
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
    # The analyst's word in place of the gates' `rejected_by`; NULL where the gates have theirs.
    sql.Column("decided", sql.JSON(none_as_null=True)),
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
    sql.Column("scorer", sql.String, nullable=False, server_default=""),  # fingerprint of the CLIP, "" if not noted
    sql.Column("missed", sql.JSON, nullable=False),
    sql.Column("seed", sql.Integer),
    sql.Column("models", sql.JSON, nullable=False, server_default="{}"),
    sql.Column("settings", sql.JSON(none_as_null=True)),  # what drew it; NULL where nobody noted it
    sql.Column("vocabulary", sql.ForeignKey("vocabularies.key"), nullable=False),  # the classifier it was drawn for
)
decisions = sql.Table(
    "decisions",
    schema,
    sql.Column("number", sql.Integer, primary_key=True),
    sql.Column("id", sql.String, nullable=False, unique=True),
    sql.Column("counterfactual", sql.ForeignKey("counterfactuals.key"), nullable=False, index=True),
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
# How often something was written, by what it is about: whoever keeps a copy in memory compares these.
revision = sql.Table(
    "revision",
    schema,
    sql.Column("topic", sql.String, primary_key=True),
    sql.Column("number", sql.Integer, nullable=False),
)
# What keeps photos apart. One that was put away is left out of every list, with the photos that no other holds.
collections = sql.Table(
    "collections",
    schema,
    sql.Column("number", sql.Integer, primary_key=True),
    sql.Column("name", sql.String, nullable=False, unique=True),
    sql.Column("kind", sql.String, nullable=False),  # one of `COLLECTION_KINDS`
    sql.Column("created", sql.Float, nullable=False),
    sql.Column("away", sql.Boolean, nullable=False),
)
members = sql.Table(
    "members",
    schema,
    sql.Column("collection", sql.ForeignKey("collections.number"), primary_key=True),
    sql.Column("photo", sql.ForeignKey("photos.key"), primary_key=True, index=True),
)
# Photos that were put away one by one.
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
    sql.Column("beats", sql.Integer, nullable=False, server_default="0"),
    sql.Column("ended", sql.Float, nullable=False),
)


def insert(connection: sql.Connection, table: sql.Table) -> sqlite.Insert | postgresql.Insert:
    """Return an insertion that may name what happens on a conflict, in this database's dialect."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def digest(*parts: object) -> str:
    """Return the sha256 over the parts, each with its length so that no two lists of parts run together."""
    total = hashlib.sha256()
    for part in parts:
        data = repr(part).encode("utf-8", "surrogatepass")
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def in_chunks(
    connection: sql.Connection, query: sql.Select[Any], column: sql.Column[str], keys: Sequence[str]
) -> Iterator[Row]:
    """Return the rows of the query whose column is one of the keys, asked for in portions that SQLite accepts."""
    for start in range(0, len(keys), CHUNK):
        yield from connection.execute(query.where(column.in_(keys[start : start + CHUNK])))


def hidden() -> sql.CompoundSelect[Any]:
    """Return the keys of the photos that are left out of every list: put away alone, or with all their collections."""
    shown = sql.select(members.c.photo).join(collections).where(~collections.c.away)
    return sql.union(sql.select(away.c.photo), sql.select(members.c.photo).where(members.c.photo.not_in(shown)))


def hidden_counterfactuals() -> sql.Select[Any]:
    """Return the keys of what was made of them."""
    made = sql.select(counterfactuals.c.key).join(studies, studies.c.key == counterfactuals.c.study)
    return made.where(studies.c.photo.in_(hidden()))


def put_away(connection: sql.Connection, photo_keys: Collection[str]) -> None:
    """Note photos as put away, those that are already, too."""
    rows = [{"photo": key} for key in sorted(photo_keys)]
    if rows:
        connection.execute(insert(connection, away).on_conflict_do_nothing(), rows)


def bring_back(connection: sql.Connection, photo_keys: Collection[str]) -> None:
    """Take that back."""
    for key in photo_keys:
        connection.execute(sql.delete(away).where(away.c.photo == key))


def raised(connection: sql.Connection, topics: Collection[str]) -> None:
    """Count one more write on each topic."""
    for topic in sorted(topics):
        line = insert(connection, revision).values(topic=topic, number=1)
        connection.execute(line.on_conflict_do_update(index_elements=["topic"], set_={"number": revision.c.number + 1}))


def number_of(connection: sql.Connection, topic: str) -> int:
    """Return how many writes on this topic there were."""
    return connection.execute(sql.select(revision.c.number).where(revision.c.topic == topic)).scalar() or 0
