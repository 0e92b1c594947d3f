"""What leads from each version of a store's tables to the next one, on SQLite and on PostgreSQL.

Keys of counterfactuals stay as they are: decisions and sets name them. Each function leaves beginning and ending the
transaction, and making tables that are new, to `pipeline/store/database.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sql

from pipeline.store import schema
from pipeline.store.collection_rows import add_members, open_collection
from pipeline.store.study_rows import study_key
from pipeline.types import FOLDER, UNKNOWN

REPLACED = ("proposals", "counterfactuals", "studies")  # in version 6; those that name others first
WORDS = (["You rejected it."], ["You replaced it by other words."])  # what the page wrote for an analyst until then
CHUNK = 500  # rows at once
_FOLDERS = re.compile(r"""(?<![\w.~/:])/(?:[^\s/'"]+/)+""")


def _to_2(connection: sql.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE perturbations ADD COLUMN checks JSON NOT NULL DEFAULT '[]'")


def _to_3(connection: sql.Connection) -> None:
    for name in ("act", "kind", "of"):
        connection.exec_driver_sql(f"""ALTER TABLE decisions ADD COLUMN "{name}" VARCHAR NOT NULL DEFAULT ''""")


def _to_4(connection: sql.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE decisions ADD COLUMN label VARCHAR NOT NULL DEFAULT ''")
    connection.exec_driver_sql("ALTER TABLE decisions ADD COLUMN tags JSON NOT NULL DEFAULT '[]'")


def _to_5(connection: sql.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE counterfactuals ADD COLUMN seed INTEGER")
    connection.exec_driver_sql("ALTER TABLE counterfactuals ADD COLUMN models JSON NOT NULL DEFAULT '{}'")


def _to_6(connection: sql.Connection) -> None:
    """Give photos and judgements rows of their own, so that a caption's row no longer hangs on a classifier.

    What earlier versions drew keeps no settings, as they noted none.
    """
    cascade = " CASCADE" if connection.dialect.name == "postgresql" else ""
    if not any(column["name"] == "seed" for column in sql.inspect(connection).get_columns("counterfactuals")):
        _to_5(connection)  # the first folders of version 5 had jobs alone
    for name in REPLACED:
        connection.exec_driver_sql(f"CREATE TABLE earlier_{name} AS SELECT * FROM {name}")
        connection.exec_driver_sql(f"DROP TABLE {name}{cascade}")
    connection.exec_driver_sql("ALTER TABLE vocabularies ADD COLUMN fingerprint VARCHAR NOT NULL DEFAULT ''")
    connection.exec_driver_sql("ALTER TABLE vocabularies ADD COLUMN used INTEGER NOT NULL DEFAULT 0")
    if sql.inspect(connection).has_table("jobs"):  # that came with version 5
        connection.exec_driver_sql("ALTER TABLE jobs ADD COLUMN beats INTEGER NOT NULL DEFAULT 0")
    schema.schema.create_all(connection)
    for column in (schema.jobs.c.error, schema.failures.c.message):
        _cut_folders(connection, column)
    connection.exec_driver_sql("CREATE INDEX ix_decisions_counterfactual ON decisions (counterfactual)")
    _Heads(connection).move()
    if cascade:  # the reference went with the table that it named
        connection.exec_driver_sql(
            "ALTER TABLE decisions ADD FOREIGN KEY (counterfactual) REFERENCES counterfactuals (key)"
        )
    for name in REPLACED:
        connection.exec_driver_sql(f"DROP TABLE earlier_{name}")


def _to_7(connection: sql.Connection) -> None:
    """Put the photos that are there into a collection of their own."""
    schema.schema.create_all(connection)
    keys = connection.execute(sql.select(schema.photos.c.key)).scalars().all()
    if keys:
        add_members(connection, open_collection(connection, schema.EARLIER, "Earlier photos"), keys)


def _cut_folders(connection: sql.Connection, column: sql.Column[str]) -> None:
    """Cut the computer's folders out of messages, in which they stood until then; pages show them as they are."""
    for told in connection.scalars(sql.select(column).distinct()).all():
        line = sql.update(column.table).where(column == told)
        connection.execute(line.values({column: _FOLDERS.sub("", told)}))


MIGRATIONS: Mapping[int, Callable[[sql.Connection], None]] = {
    1: _to_2,
    2: _to_3,
    3: _to_4,
    4: _to_5,
    5: _to_6,
    6: _to_7,
}
"""Version -> what leads to the next one. PostgreSQL began with version 4."""

_earlier = sql.MetaData()
_studies = sql.Table(
    "earlier_studies",
    _earlier,
    *(sql.Column(name) for name in ("key", "photo", "picture", "name", "label", "caption", "vocabulary")),
    *(sql.Column(name) for name in ("prediction", "reconstruction", "control", "created", "updated")),
)
_proposals = sql.Table("earlier_proposals", _earlier, *map(sql.Column, ("study", "position", "perturbation")))
_counterfactuals = sql.Table(
    "earlier_counterfactuals",
    _earlier,
    *(sql.Column(name) for name in ("number", "key", "study", "perturbation", "tau", "picture", "prediction", "seed")),
    *(sql.Column(name, sql.JSON) for name in ("scores", "missed", "models")),
)


class _Heads:
    """The rows of studies as version 5 had them, one for each photo, caption and classifier."""

    def __init__(self, connection: sql.Connection) -> None:
        self.connection = connection
        # The last of a photo's rows was its study: one that had a caption outranked one that had none.
        order = (_studies.c.caption != "", _studies.c.updated, _studies.c.created)
        self.rows = connection.execute(sql.select(_studies).order_by(*order)).all()
        self.keys = {row.key: study_key(row.photo, row.caption) for row in self.rows}  # by their earlier keys
        self.judges = {row.key: row.vocabulary for row in self.rows}

    def move(self) -> None:
        """Fill the new tables."""
        used = {row.vocabulary: place for place, row in enumerate(sorted(self.rows, key=lambda row: row.updated), 1)}
        for key, place in used.items():
            line = sql.update(schema.vocabularies).where(schema.vocabularies.c.key == key)
            self.connection.execute(line.values(used=place))
        self._insert(schema.photos, self._photos())
        self._insert(schema.studies, self._studies())
        self._insert(schema.proposals, self._proposals())
        self._insert(schema.counterfactuals, self._counterfactuals())
        self._insert(schema.judgements, self._judgements())
        if self.connection.dialect.name == "postgresql":
            self.connection.exec_driver_sql(
                "SELECT setval(pg_get_serial_sequence('counterfactuals', 'number'), "
                "(SELECT coalesce(max(number), 0) + 1 FROM counterfactuals), false)"
            )

    def _insert(self, table: sql.Table, lines: dict[Any, dict[str, Any]]) -> None:
        whole = list(lines.values())
        for start in range(0, len(whole), CHUNK):
            self.connection.execute(sql.insert(table), whole[start : start + CHUNK])

    def _photos(self) -> dict[Any, dict[str, Any]]:
        # Jobs finish photos, too, whose labels may be a guess; only runs over a labelled folder are no jobs.
        of_runs = schema.finished.c.job.not_in(sql.select(schema.jobs.c.id))
        runs = set(self.connection.execute(sql.select(schema.finished.c.photo).where(of_runs)).scalars())
        found: dict[Any, dict[str, Any]] = {}
        for row in self.rows:
            found[row.photo] = {
                "key": row.photo,
                "picture": row.picture,
                "name": row.name,
                "label": row.label,
                "label_source": FOLDER if row.photo in runs else UNKNOWN,
                "label_analyst": "",
                "caption": row.caption,
                "vocabulary": row.vocabulary,
                "created": min(row.created, found.get(row.photo, {}).get("created", row.created)),
                "updated": max(row.updated, found.get(row.photo, {}).get("updated", row.updated)),
            }
        return found

    def _studies(self) -> dict[Any, dict[str, Any]]:
        found: dict[Any, dict[str, Any]] = {}
        for row in self.rows:
            before = found.get(self.keys[row.key], {})
            found[self.keys[row.key]] = {
                "key": self.keys[row.key],
                "photo": row.photo,
                "caption": row.caption,
                "reconstruction": row.reconstruction or before.get("reconstruction"),
                "created": min(row.created, before.get("created", row.created)),
                "updated": max(row.updated, before.get("updated", row.updated)),
            }
        return found

    def _proposals(self) -> dict[Any, dict[str, Any]]:
        """Return the rows of the classifier that was looked at last, then what others had beside them."""
        words = sql.select(_proposals, *(schema.perturbations.c[name] for name in ("edited_caption", "rejected_by")))
        words = words.add_columns(schema.perturbations.c.checks)
        words = words.join(schema.perturbations, schema.perturbations.c.key == _proposals.c.perturbation)
        of: dict[str, list[schema.Row]] = {}
        for row in self.connection.execute(words.order_by(_proposals.c.position)):
            of.setdefault(row.study, []).append(row)
        found: dict[Any, dict[str, Any]] = {}
        counts: dict[str, int] = {}
        for head in reversed(self.rows):
            study = self.keys[head.key]
            for row in of.get(head.key, ()):
                if (study, row.edited_caption) in found:
                    continue
                place = counts[study] = counts.get(study, -1) + 1
                overruled = not row.rejected_by and any(not check["passed"] for check in row.checks)
                decided = row.rejected_by if overruled or row.rejected_by in WORDS else None
                line = {"study": study, "position": place, "perturbation": row.perturbation, "decided": decided}
                found[study, row.edited_caption] = line
        return found

    def _counterfactuals(self) -> dict[Any, dict[str, Any]]:
        rows = self.connection.execute(sql.select(_counterfactuals).order_by(_counterfactuals.c.number))
        columns = [column.name for column in _counterfactuals.c if column.name not in ("prediction", "study")]
        return {
            row.key: {
                **{name: row._mapping[name] for name in columns},
                "study": self.keys[row.study],
                "scorer": "",
                "settings": None,
                "vocabulary": self.judges[row.study],
            }
            for row in rows
        }

    def _judgements(self) -> dict[Any, dict[str, Any]]:
        found: dict[Any, dict[str, Any]] = {}

        def add(picture: str | None, vocabulary: str, prediction: bytes | None) -> None:
            if picture and prediction:
                line = {"picture": picture, "vocabulary": vocabulary, "prediction": bytes(prediction)}
                found[picture, vocabulary] = line

        for row in self.rows:
            add(row.picture, row.vocabulary, row.prediction)
            add(row.reconstruction, row.vocabulary, row.control)
        made = (_counterfactuals.c.picture, _counterfactuals.c.study, _counterfactuals.c.prediction)
        for edit in self.connection.execute(sql.select(*made)):
            add(edit.picture, self.judges[edit.study], edit.prediction)
        return found
