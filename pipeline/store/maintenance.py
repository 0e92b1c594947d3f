"""The care of a store: is everything there and whole, a copy while it is in use, and what may be thrown away.

Knows the tables and the files, no model. A backup is an ordinary data folder, whatever engine held the records, and is
opened like any other.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sql

from pipeline.errors import DataError, display_name
from pipeline.store import schema
from pipeline.store.database import FILE, Database, saving
from pipeline.store.media import sync_folder, write_whole
from pipeline.store.store import Store

CACHES = ("inversions",)
HOUR = 3600.0  # seconds
AT_ONCE = 20  # files that go under one lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something in a data folder that is not as it should be, or is needed by nothing."""

    kind: str  # records, missing, damaged: faults; orphan, partial, cache: harmless
    where: str
    detail: str = ""
    size: int = 0  # bytes

    @property
    def is_fault(self) -> bool:
        """Return whether something is lost or wrong."""
        return self.kind in ("records", "missing", "damaged")


def check(store: Store) -> Iterator[Finding]:
    """Find all that is wrong with records or pictures, and what is needed by nothing. Changes nothing."""
    with store.database.read() as connection:
        yield from _faults(connection)
        needed = _pictures(connection)
    for key in sorted(needed):
        path = store.media.path(key)
        if not path.is_file():
            yield Finding(kind="missing", where=str(path), detail="a row names it; restore it from a backup")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != key:
            yield Finding(kind="damaged", where=str(path), detail="its sha256 differs; restore it from a backup")
    yield from _dispensable(store, needed, 0.0)


def backup(store: Store, out: Path, database: str = "") -> int:
    """Copy the store as it is at one moment into a new data folder; return the number of pictures copied.

    Its records go into a file there, or into the empty PostgreSQL database at this address, which is how a backup is
    restored. Everybody may go on working meanwhile. The records come last, so a copy that has some is whole. Raises
    `DataError` when `out` or the database is in use or lies in the store itself, `StoreError` when it cannot be written
    or a picture is missing.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"'{display_name(out)}' is not empty; give a new folder for the copy.", path=out)
    if out.resolve().is_relative_to(store.root.resolve()):
        message = f"'{display_name(out)}' lies in the data folder that is to be copied; give a folder outside it."
        raise DataError(message, path=out)
    with saving(f"The copy '{display_name(out)}' could not be written", out):
        (out / "media").mkdir(parents=True)
        with store.database.read() as connection, tempfile.TemporaryDirectory(dir=out) as partial:
            target = Database(Path(partial), database)
            try:
                _refuse_filled(target)
                needed = _pictures(connection)
                for key in needed:
                    _copy(store.media.path(key), out / "media" / key[:2] / f"{key}.png")
                for entry in store.root.iterdir():
                    if not entry.name.startswith(FILE) and entry.name not in ("media", *CACHES) and entry.is_dir():
                        shutil.copytree(entry, out / entry.name, ignore=shutil.ignore_patterns("*.part"))
                _copy_records(connection, target)
            finally:
                target.close()
            if not database:
                os.replace(Path(partial) / FILE, out / FILE)
        sync_folder(out)
    return len(needed)


def gc(store: Store, *, delete: bool = False, older: float = HOUR) -> tuple[Finding, ...]:
    """Return what nothing needs and nobody touched for `older` seconds; thrown away only with `delete`.

    Looking holds no lock. What is thrown away goes under the write lock, a few files at a time, so that no row can come
    to name a picture while it goes and nobody waits long. Raises `StoreError`.
    """
    with saving("What is not needed could not be removed"):
        with store.database.read() as connection:
            needed = _pictures(connection)
        found = tuple(_dispensable(store, needed, time.time() - older))
        if not delete:
            return found
        parts = (found[start : start + AT_ONCE] for start in range(0, len(found), AT_ONCE))
        return tuple(finding for part in parts for finding in _swept(store, part, older))


def _swept(store: Store, part: Sequence[Finding], older: float) -> Iterator[Finding]:
    """Throw away those that nothing needs by now, and yield them."""
    with store.alone(), store.database.read() as connection:
        needed = _pictures(connection, [Path(finding.where).stem for finding in part if finding.kind == "orphan"])
        for finding in part:
            path = Path(finding.where)
            if (finding.kind != "orphan" or path.stem not in needed) and _remove(path, time.time() - older):
                yield finding


def _faults(connection: sql.Connection) -> Iterator[Finding]:
    """Yield what is wrong with the tables; PostgreSQL keeps references itself, so there every row need only be read."""
    if connection.dialect.name == "sqlite":
        for (said,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if said != "ok":
                yield Finding(kind="records", where=FILE, detail=said)
        for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            yield Finding(
                kind="records", where=FILE, detail=f"row {row[1]} of {row[0]} names a missing row of {row[2]}"
            )
    for table in schema.schema.sorted_tables:
        for _ in connection.execute(sql.select(table)):
            pass


def _pictures(connection: sql.Connection, among: Sequence[str] | None = None) -> frozenset[str]:
    """Return the key of every picture that a row names, or of those `among` these."""
    columns = (schema.photos.c.picture, schema.studies.c.reconstruction, schema.counterfactuals.c.picture)
    queries = (sql.select(column) for column in columns)
    named = (query if among is None else query.where(query.selected_columns[0].in_(among)) for query in queries)
    return frozenset(key for (key,) in connection.execute(sql.union(*named)) if key)


def _dispensable(store: Store, needed: frozenset[str], before: float) -> Iterator[Finding]:
    """Find the files that nothing needs; with `before`, seconds since the epoch, only those not touched since."""
    for path in sorted(store.root.rglob("*")):
        kind = _kind(path.relative_to(store.root), needed)
        if kind and path.is_file() and (stat := path.stat()) and (not before or stat.st_mtime < before):
            yield Finding(kind=kind, where=str(path), size=stat.st_size)


def _kind(path: Path, needed: frozenset[str]) -> str:
    """Return why a file of the data folder may go, or ""."""
    if path.name.startswith(".") and path.suffix in (".part", ".gone"):
        return "partial"
    if path.parts[0] in CACHES:
        return "cache"
    return "orphan" if path.parts[0] == "media" and path.suffix == ".png" and path.stem not in needed else ""


def _remove(path: Path, before: float) -> bool:
    """Take the name away first: whoever wants the picture now writes it anew, whoever touched it keeps it."""
    gone = path.with_name(f".{path.stem}.gone")
    try:
        os.replace(path, gone)
    except FileNotFoundError:
        return False
    if gone.stat().st_mtime >= before:
        os.replace(gone, path)
        return False
    gone.unlink()
    return True


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    write_whole(target, source.read_bytes())


def _refuse_filled(target: Database) -> None:
    """Raise `DataError` when the database holds records already."""
    with target.read() as connection:
        for table in schema.schema.sorted_tables:
            if connection.execute(sql.select(table).limit(1)).first() is not None:
                raise DataError(
                    f"The database {target.name} holds records already; give an empty one.", path=target.path
                )


def _copy_records(connection: sql.Connection, copy: Database) -> None:
    """Copy every row, at once; what numbers rows goes on after the last of them."""
    with copy.write() as target:
        for table in schema.schema.sorted_tables:
            for rows in connection.execute(sql.select(table)).partitions(500):
                target.execute(sql.insert(table), [dict(row._mapping) for row in rows])
            numbered = "number" in table.primary_key.columns
            if numbered and target.dialect.name == "postgresql":
                following = sql.select(sql.func.coalesce(sql.func.max(table.c.number), 0) + 1).scalar_subquery()
                sequence = sql.func.pg_get_serial_sequence(table.name, "number")
                target.execute(sql.select(sql.func.setval(sequence, following, False)))
