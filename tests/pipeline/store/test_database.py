"""Records on a PostgreSQL server: addresses, faults, versions, many writers. The store's own tests run on both."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import DataError, StoreError
from pipeline.store.database import SCHEMA
from pipeline.store.store import Store
from tests.postgres import Server
from tests.stores import keep, save, study_of


@pytest.mark.parametrize(
    ("address", "told"),
    [("mysql://ada@host/name", "'mysql'"), ("not an address", "cannot be read"), ("sqlite:///x", "'sqlite'")],
)
def test_an_address_that_cannot_be_used_is_told(tmp_path: Path, address: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        Store(tmp_path, address)


def test_a_missing_driver_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DataError, match=r"pip install 'psycopg\[binary\]'"):
        Store(tmp_path, "postgresql://ada@host/name")


def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match="does not answer") as caught:
        Store(tmp_path, "postgresql://ada:s3cret@127.0.0.1:9/name")
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_a_database_of_a_later_version_is_refused(tmp_path: Path, postgres: Server) -> None:
    address = postgres.database()
    store = Store(tmp_path, address)
    Store(tmp_path, address).close()
    with store.database.write() as connection:
        assert connection.exec_driver_sql("SELECT number FROM version").scalar() == SCHEMA
        connection.exec_driver_sql("UPDATE version SET number = 99")
    store.close()
    with pytest.raises(StoreError, match="version 99"):
        Store(tmp_path, address)


def test_commits_wait_for_the_disk(tmp_path: Path, postgres: Server) -> None:
    store = Store(tmp_path, postgres.database())
    with store.database.read() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        assert connection.exec_driver_sql("SHOW fsync").scalar() == "on"
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "repeatable read"
    store.close()


OPENED = """
import sys
from pathlib import Path
from pipeline.store.store import Store
from pipeline.types import Decision
store = Store(Path(sys.argv[1]), sys.argv[2])
for number in range(20):
    store.decide(Decision(id=f"{sys.argv[3]}-{number}", counterfactual=sys.argv[4], verdict="keep"))
store.close()
"""


def test_threads_and_processes_write_at_once(tmp_path: Path, postgres: Server) -> None:
    address, study = postgres.database(), study_of()
    command = [sys.executable, "-c", OPENED, str(tmp_path), address]
    store = Store(tmp_path, address)
    save(store, study)
    writers = [subprocess.Popen([*command, str(n), study.counterfactuals[0].key]) for n in range(3)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: keep(store, study.counterfactuals[1].key, n), range(40)))
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    numbers = [decision.number for decision in store.log()]
    assert len(numbers) == 100
    assert numbers == sorted(numbers)
    store.close()


def test_words_that_the_database_cannot_hold_are_told(tmp_path: Path, postgres: Server) -> None:
    store, study = Store(tmp_path, postgres.database()), study_of(caption="a red wall")
    with pytest.raises(StoreError, match="UTF-8"):
        store.add_photo(replace(study.photo, name="nul \0"))
    assert store.studies() == ()
    store.close()
