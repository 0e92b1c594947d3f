"""Rows of collections and of the photos in them.

Every function leaves beginning and ending the transaction to its caller.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from itertools import count

import sqlalchemy as sql

from pipeline.errors import DataError
from pipeline.store.schema import EARLIER, SINGLE, Row, away, collections, insert, members

SINGLE_PHOTOS = "Single photos"  # how the collection of those is named at first


def need_collection(connection: sql.Connection, number: int) -> Row:
    """Return the collection's row. Raises `DataError` when there is none."""
    row = connection.execute(sql.select(collections).where(collections.c.number == number)).one_or_none()
    if row is None:
        raise DataError("This collection is not in this data folder; reload the page.")
    return row


def is_taken(connection: sql.Connection, name: str, besides: int = 0) -> bool:
    """Return whether a collection other than that one bears the name, in whatever case."""
    named = sql.select(collections.c.name).where(collections.c.number != besides)
    return name.casefold() in {known.casefold() for known in connection.execute(named).scalars()}


def open_collection(connection: sql.Connection, kind: str, name: str) -> int:
    """Return the number of the collection of this kind and name; it is made, or shown again, where needed."""
    same = (collections.c.kind == kind, collections.c.name == name)
    known = connection.execute(sql.select(collections.c.number).where(*same)).scalar()
    if known is not None:
        change_collection(connection, known, away=False)
        return int(known)
    names = (name if place == 1 else f"{name} ({place})" for place in count(1))
    free = next(candidate for candidate in names if not is_taken(connection, candidate))
    line = sql.insert(collections).values(name=free, kind=kind, created=time.time(), away=False)
    return int(connection.execute(line.returning(collections.c.number)).scalar_one())


def add_members(connection: sql.Connection, collection: int, photo_keys: Collection[str]) -> None:
    """Put photos into a collection; those that are in it stay."""
    rows = [{"collection": collection, "photo": key} for key in sorted(photo_keys)]
    if rows:
        connection.execute(insert(connection, members).on_conflict_do_nothing(), rows)


def place_photo(connection: sql.Connection, photo: str, collection: int | None) -> None:
    """Put a photo into a collection, which stays hidden where somebody hid it meanwhile.

    Without one, into that of single photos, which is shown from then on; not where one that is shown holds it already.
    """
    if collection is None:
        shown = sql.select(members.c.photo).join(collections).where(members.c.photo == photo, ~collections.c.away)
        if connection.execute(shown.limit(1)).first() is not None:
            return
        collection = open_single(connection)
    add_members(connection, collection, [photo])


def open_single(connection: sql.Connection) -> int:
    """Return the number of the collection of single photos, whatever it is named by now."""
    known = connection.execute(sql.select(collections.c.number).where(collections.c.kind == SINGLE)).scalar()
    if known is None:
        return open_collection(connection, SINGLE, SINGLE_PHOTOS)
    change_collection(connection, known, away=False)
    return int(known)


def change_collection(connection: sql.Connection, number: int, **values: object) -> None:
    """Change values of a collection."""
    connection.execute(sql.update(collections).where(collections.c.number == number).values(**values))


def part_from_earlier(connection: sql.Connection, kind: str, name: str, photo_keys: Collection[str]) -> None:
    """Move those of the photos that are in the collection of earlier ones into a collection of their own.

    It is put away as a whole, where every one of them was alone.
    """
    earlier = sql.select(collections.c.number).where(collections.c.kind == EARLIER)
    inside = sql.select(members.c.photo).where(members.c.collection.in_(earlier))
    moved = sorted(set(connection.execute(inside).scalars()) & set(photo_keys))
    if not moved:
        return
    number = open_collection(connection, kind, name)
    add_members(connection, number, moved)
    alone = set(connection.execute(sql.select(away.c.photo)).scalars())
    for key in moved:
        connection.execute(sql.delete(members).where(members.c.collection.in_(earlier), members.c.photo == key))
    if alone.issuperset(moved):
        change_collection(connection, number, away=True)
        for key in moved:
            connection.execute(sql.delete(away).where(away.c.photo == key))
