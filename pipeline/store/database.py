"""Where records are kept: SQLite in the data folder, or PostgreSQL by URL; the same tables and the same promises.

A transaction that writes is alone from its first statement on (SQLite: BEGIN IMMEDIATE; PostgreSQL: an advisory lock),
so what is numbered in it follows the order of the commits; one that only reads sees a single moment. What is committed
is on the disk. The version of the tables is SQLite's user_version, on PostgreSQL a table of one number. Knows the
tables' names and nothing of what they mean.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from pipeline.errors import DataError, StoreError
from pipeline.store import schema
from pipeline.store.migrations import MIGRATIONS

FILE = "explorer.db"
SCHEMA = 7
BUSY_SECONDS = 30
LOCK = 0x1A4CE  # the advisory lock that writers take on PostgreSQL
_versions = sql.Table("version", sql.MetaData(), sql.Column("number", sql.Integer, nullable=False))


class Database:
    """The records of one store. Safe to use from many threads and processes at once."""

    def __init__(self, root: Path, url: str = "") -> None:
        """Open SQLite in the folder `root`, or PostgreSQL at `url`, and make its tables or bring them up to date.

        Raises `DataError` for an address that cannot be used, and `StoreError` when the database cannot be opened or
        is of a later version.
        """
        self.name, self.path = FILE, None if url else root / FILE
        self.closed = False
        self.engine = _sqlite(root) if not url else _postgresql(url)
        if url:
            self.name = self.engine.url.render_as_string()  # without the password
        try:
            with saving(f"The database {self.name} cannot be opened", self.path), self.write() as connection:
                version = _version(connection)
                if version == 0:
                    self._make(connection)
            if version not in (0, SCHEMA):
                self._migrate(root, version)
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections; nothing must be asked of it afterwards."""
        self.closed = True
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[sql.Connection]:
        """Open a transaction that sees one moment. Faults are told as `StoreError`."""
        with saving(f"The database {self.name} cannot be read", self.path), self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[sql.Connection]:
        """Open a transaction that holds the write lock from the start, so that it cannot fail half way."""
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(sql.select(sql.func.pg_advisory_xact_lock(LOCK)))
            yield connection

    def _make(self, connection: sql.Connection) -> None:
        """Make the tables of a new database; refuse one that holds others."""
        if sql.inspect(connection).get_table_names():
            raise self._unknown(0)
        schema.schema.create_all(connection)
        _set_version(connection)

    def _migrate(self, root: Path, version: int) -> None:
        """Bring an older database up to date, all at once or not at all; refuse one of a later version."""
        if version not in MIGRATIONS:
            raise self._unknown(version)
        message = f"The database {self.name} cannot be brought up to date"
        with saving(message, self.path), self._unchecked(root) as connection:
            for number in range(_version(connection), SCHEMA):  # another process may have been first
                MIGRATIONS[number](connection)
            schema.schema.create_all(connection)
            _set_version(connection)

    def _unknown(self, version: int) -> StoreError:
        message = f"{self.name} is of version {version}, this program writes {SCHEMA}; use another one."
        return StoreError(message, path=self.path)

    @contextmanager
    def _unchecked(self, root: Path) -> Iterator[sql.Connection]:
        """Open a transaction that writes, and may replace tables of SQLite; references are checked at its end."""
        if self.engine.dialect.name != "sqlite":
            with self.write() as connection:
                yield connection
            return
        engine = _sqlite(root, references=False)
        try:
            with engine.connect().execution_options(writes=True) as connection, connection.begin():
                yield connection
                if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                    message = f"{self.name} names rows that are not there; restore it from a backup."
                    raise StoreError(message, path=self.path)
        finally:
            engine.dispose()


@contextmanager
def saving(what: str, path: Path | None = None) -> Iterator[None]:
    """Turn what the disk and the database complain about into one sentence; `path` is what it speaks of."""
    try:
        yield
    except (SQLAlchemyError, OSError, UnicodeError) as error:
        raise StoreError(f"{what}: {_reason(error)}.", path=path) from error


def _sqlite(root: Path, *, references: bool = True) -> sql.Engine:
    """Set a connection up; with `references` SQLite refuses rows that name others which are not there."""
    engine = sql.create_engine(f"sqlite:///{root / FILE}", connect_args={"timeout": BUSY_SECONDS})
    sql.event.listen(engine, "connect", lambda connection, _record: _on_connect(connection, references))
    sql.event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: sqlite3.Connection, references: bool) -> None:
    connection.isolation_level = None  # transactions begin where `_on_begin` says, not where the driver guesses
    keys = f"foreign_keys={'ON' if references else 'OFF'}"
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_SECONDS * 1000}", keys):
        connection.execute(f"PRAGMA {pragma}").close()


def _on_begin(connection: sql.Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(text: str) -> sql.Engine:
    """Check connections before it uses them, so that a restarted server costs no fault."""
    try:
        url = sql.make_url(text)
    except ArgumentError as error:
        raise DataError("The database's address cannot be read; write postgresql://USER@HOST/NAME.") from error
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise DataError(f"'{url.drivername}' is no database that is known; give a postgresql:// address, or none.")
    try:
        return sql.create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={"options": "-c synchronous_commit=on", "connect_timeout": 10},
            pool_pre_ping=True,
        )
    except ModuleNotFoundError as error:
        raise DataError("PostgreSQL needs its driver; install it with: pip install 'psycopg[binary]'.") from error


def _version(connection: sql.Connection) -> int:
    """Return the version of the tables, 0 for a new database."""
    if connection.dialect.name == "sqlite":
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if not sql.inspect(connection).has_table(_versions.name):
        return 0
    return int(connection.execute(sql.select(_versions.c.number)).scalar_one())


def _set_version(connection: sql.Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA}")
        return
    _versions.create(connection, checkfirst=True)
    connection.execute(sql.delete(_versions))
    connection.execute(sql.insert(_versions).values(number=SCHEMA))


def _reason(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    text = str(getattr(error, "orig", error)).lower()
    full = any(words in text for words in ("disk i/o", "disk is full", "no space left"))
    if full or number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "the disk is full or cannot be written; free some space and try again"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or "readonly" in text or "unable to open" in text:
        return "the folder cannot be written; check its permissions or choose another one"
    if "connection" in text and ("failed" in text or "refused" in text or "closed" in text or "lost" in text):
        return "the server does not answer; start it or check the address, the name and the password"
    if "locked" in text:
        return "another program is writing to it; close that and try again"
    if "malformed" in text or "not a database" in text:
        return "it is damaged; restore it from a copy or choose another folder"
    if isinstance(error, UnicodeError) or "cannot contain nul" in text:
        return "it holds characters that cannot be written as UTF-8; remove them"
    return f"{(error.strerror if isinstance(error, OSError) and error.strerror else text).splitlines()[0]}"
