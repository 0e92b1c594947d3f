"""The part of a store that keeps photos apart: collections, which are shown or put away as a whole.

Every photo is in at least one collection: the demo is one, each upload and each studied folder another, and what came
without any is in the one of single photos. A photo may be in several, and is shown as long as one of them is. Putting
away deletes nothing.
"""

from __future__ import annotations

from collections.abc import Collection as Keys
from dataclasses import dataclass

import sqlalchemy as sql

from pipeline.errors import ConflictError, DataError
from pipeline.store import collection_rows as rows
from pipeline.store import schema
from pipeline.store.studies import Studies

LONGEST = 80  # characters of a name


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoCollection:
    """One collection, as it is listed."""

    number: int  # by which addresses name it
    name: str
    kind: str  # one of `schema.COLLECTION_KINDS`
    photos: int  # in it that are not put away one by one
    away: bool
    created: float  # seconds since the epoch


class Collections(Studies):
    """The collections of one data folder."""

    def collections(self) -> tuple[PhotoCollection, ...]:
        """Return all that hold a photo, those put away too, oldest first."""
        alone = sql.select(schema.away.c.photo)
        count = sql.func.count(sql.case((schema.members.c.photo.not_in(alone), 1)))
        query = sql.select(schema.collections, count.label("photos")).join(schema.members)
        query = query.group_by(*schema.collections.c).order_by(schema.collections.c.number)
        with self.database.read() as connection:
            return tuple(PhotoCollection(**row._mapping) for row in connection.execute(query))

    def open_collection(self, kind: str, name: str) -> int:
        """Return the number of the collection of this kind and name, which is made or brought back where needed.

        A name that a collection of another kind has gets a number behind it. Raises `StoreError`.
        """
        with self._write("The collection could not be saved", schema.RECORDS, schema.DECISIONS) as connection:
            return rows.open_collection(connection, kind, name)

    def part_from_earlier(self, kind: str, name: str, photo_keys: Keys[str]) -> None:
        """Move those of the photos that were here before there were collections into one of their own.

        It is put away when all of them were. Nothing happens where none of them is there.
        """
        with self._write("The collection could not be saved", schema.RECORDS, schema.DECISIONS) as connection:
            rows.part_from_earlier(connection, kind, name, photo_keys)

    def collect(self, collection: int, photo_keys: Keys[str]) -> None:
        """Add photos of the store to a collection; those that are in it stay. Raises `DataError` for an unknown one."""
        with self._write("The photos could not be collected", schema.RECORDS, schema.DECISIONS) as connection:
            rows.need_collection(connection, collection)
            rows.add_members(connection, collection, photo_keys)

    def photos_in(self, collections: Keys[int]) -> frozenset[str]:
        """Return the keys of the photos of these collections that are shown; of all collections when none is named."""
        query = sql.select(schema.photos.c.key).where(schema.photos.c.key.not_in(schema.hidden()))
        if collections:
            inside = sql.select(schema.members.c.photo).where(schema.members.c.collection.in_(sorted(collections)))
            query = query.where(schema.photos.c.key.in_(inside))
        with self.database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def collections_of(self, photo_key: str) -> frozenset[int]:
        """Return the numbers of the collections that hold a photo."""
        query = sql.select(schema.members.c.collection).where(schema.members.c.photo == photo_key)
        with self.database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def rename_collection(self, collection: int, name: str, *, expected: str | None = None) -> None:
        """Give a collection another name.

        `expected` is the name that was seen. Raises `DataError` for an unusable or taken name, `ConflictError` when it
        bears neither that one nor the new one.
        """
        name = " ".join(name.split())
        if not name or len(name) > LONGEST or not name.isprintable():
            raise DataError(f"A collection needs a name of 1 to {LONGEST} printable characters; give one.")
        with self._write("The name could not be saved", schema.RECORDS) as connection:
            known = rows.need_collection(connection, collection)
            if expected is not None and known.name not in (expected, name):
                raise ConflictError(
                    f"In the meantime the collection was named '{known.name}'; nothing was changed, name it again if "
                    "you disagree."
                )
            if rows.is_taken(connection, name, besides=collection):
                raise DataError(f"Another collection is named '{name}' already; choose another name.")
            rows.change_collection(connection, collection, name=name)

    def put_collection_away(self, collection: int) -> None:
        """Leave the photos out of every list that are in no other collection that is shown; nothing is deleted."""
        self._set_away(collection, True)

    def bring_collection_back(self, collection: int) -> None:
        """Take back `put_collection_away`."""
        self._set_away(collection, False)

    def _set_away(self, collection: int, away: bool) -> None:
        done = "put away" if away else "brought back"
        topics = (schema.RECORDS, schema.DECISIONS)
        with self._write(f"The collection could not be {done}", *topics) as connection:
            rows.need_collection(connection, collection)
            rows.change_collection(connection, collection, away=away)
