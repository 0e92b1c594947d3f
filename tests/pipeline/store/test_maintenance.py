"""The care of a store: every fault is found, a copy is a store, nothing that a row names is ever removed."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.__main__ import app as commands
from pipeline.commands.store import app
from pipeline.errors import DataError
from pipeline.images import encode
from pipeline.store import maintenance
from pipeline.store.maintenance import Finding, backup, check, gc
from pipeline.store.store import Store
from pipeline.types import Study
from tests.postgres import Server
from tests.seams import picture
from tests.stores import DATABASES, contents, keep, save, study_of


@pytest.fixture(params=DATABASES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    address = request.getfixturevalue("postgres").database() if request.param == "postgresql" else ""
    opened = Store(tmp_path / "data", address)
    yield opened
    opened.close()


def orphan(store: Store, age: float = 7200.0) -> Path:
    """A picture that no row names."""
    path = store.media.path(store.media.put(picture("green", 99)))
    old = path.stat().st_mtime - age
    os.utime(path, (old, old))
    return path


def test_a_whole_store_is_whole_and_every_fault_is_found(store: Store) -> None:
    study = study_of()
    save(store, study)
    assert list(check(store)) == []
    missing, damaged = (store.file(item.key) for item in study.counterfactuals[:2])
    missing.unlink()
    damaged.write_bytes(encode(picture("blue")))
    loose = orphan(store)
    found = {finding.kind: (finding.where, finding.is_fault) for finding in check(store)}
    assert found == {
        "missing": (str(missing), True),
        "damaged": (str(damaged), True),
        "orphan": (str(loose), False),
    }


def test_a_copy_is_the_store_of_one_moment_while_others_write(store: Store, tmp_path: Path) -> None:
    study, stop = study_of(), threading.Event()
    save(store, study)
    (store.root / "reinforced").mkdir()
    (store.root / "reinforced" / "card").write_text("a model")

    def write() -> None:
        for number in range(10_000):
            if stop.is_set():
                return
            keep(store, study.counterfactuals[number % 9].key, number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        pictures = backup(store, tmp_path / "copy")
    finally:
        stop.set()
        writer.join()
    copy = Store.existing(tmp_path / "copy")
    assert list(check(copy)) == []
    assert contents(copy.load_study(study.photo.key)) == contents(study)
    assert copy.log() == store.log()[: len(copy.log())]
    assert (pictures, (copy.root / "reinforced" / "card").read_text()) == (11, "a model")
    assert {path.name for path in copy.root.iterdir()} - {"explorer.db-wal", "explorer.db-shm"} == {
        "explorer.db",
        "media",
        "reinforced",
    }
    with pytest.raises(DataError, match="not empty"):
        backup(store, tmp_path / "copy")
    copy.close()


def test_only_what_nothing_needs_is_removed_and_only_when_told(store: Store) -> None:
    study = study_of()
    save(store, study)
    for path in store.root.rglob("*.png"):
        os.utime(path, (1, 1))
    loose, fresh = orphan(store), store.media.path(store.media.put(picture("blue", 98)))
    cached, partial = store.root / "inversions" / "x.safetensors", loose.parent / ".y.part"
    cached.parent.mkdir()
    for path in (cached, partial):
        path.write_bytes(b"x")
        os.utime(path, (1, 1))
    expected = {str(loose), str(cached), str(partial)}
    assert {finding.where for finding in gc(store)} == expected
    assert all(Path(path).exists() for path in expected)
    assert {finding.where for finding in gc(store, delete=True)} == expected
    assert not any(Path(path).exists() for path in expected)
    assert fresh.exists()
    assert contents(store.load_study(study.photo.key)) == contents(study)
    assert not any(finding.is_fault for finding in check(store))


def test_a_picture_that_is_wanted_again_is_not_removed(store: Store) -> None:
    study = study_of()
    bare = Study(photo=study.photo)
    path = store.media.path(store.media.put(study.photo.image))
    os.utime(path, (1, 1))
    save(store, replace(bare, caption="a red wall"))  # finds the picture there
    assert gc(store, delete=True) == ()
    loose = orphan(store)
    store.media.put(picture("green", 99))  # wanted again, its row not yet written
    assert gc(store, delete=True) == ()
    assert loose.exists()


def test_the_commands_tell_what_they_found(tmp_path: Path) -> None:
    with_fault = Store(tmp_path / "data")
    study = study_of()
    save(with_fault, study)
    run = CliRunner().invoke
    assert run(app, ["check", "--data", str(with_fault.root)]).exit_code == 0
    orphan(with_fault)
    assert "orphan" in run(app, ["gc", "--data", str(with_fault.root), "--json"]).stdout
    with_fault.file(study.photo.key).unlink()
    told = run(app, ["check", "--data", str(with_fault.root), "--json"])
    assert (told.exit_code, "missing" in told.stdout) == (1, True)
    assert run(app, ["check", "--data", str(tmp_path)]).exit_code == 2
    with_fault.close()


@pytest.mark.parametrize("delete", [False, True])
def test_nobody_waits_while_files_are_looked_through(
    store: Store, monkeypatch: pytest.MonkeyPatch, delete: bool
) -> None:
    study = study_of()
    save(store, study)
    loose = [store.media.path(store.media.put(picture("green", 100 + number))) for number in range(50)]
    for path in loose:
        os.utime(path, (1, 1))
    looked, go = threading.Event(), threading.Event()
    kind = maintenance._kind

    def slow(*of: Any) -> str:
        looked.set()
        go.wait(60)
        return kind(*of)

    monkeypatch.setattr(maintenance, "_kind", slow)
    found: list[tuple[Finding, ...]] = []
    sweep = threading.Thread(target=lambda: found.append(gc(store, delete=delete)))
    sweep.start()
    assert looked.wait(60)
    writer = threading.Thread(target=keep, args=(store, study.counterfactuals[0].key, 1), daemon=True)
    writer.start()
    writer.join(20)
    waited = writer.is_alive()
    go.set()
    sweep.join()
    writer.join()
    assert not waited, "a decision waited for the search"
    assert {finding.where for finding in found[0]} == {str(path) for path in loose}
    assert any(path.exists() for path in loose) != delete


def test_a_picture_that_a_row_comes_to_name_during_the_search_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of()
    path = store.media.path(store.media.put(study.photo.image))
    dispensable = maintenance._dispensable

    def late(*of: Any) -> Iterator[Finding]:
        yield from list(dispensable(*of))
        save(store, study)
        for path in store.root.rglob("*.png"):
            os.utime(path, (1, 1))  # long ago, so that only the row speaks for it

    os.utime(path, (1, 1))
    monkeypatch.setattr(maintenance, "_dispensable", late)
    assert gc(store, delete=True) == ()
    assert contents(store.load_study(study.photo.key)) == contents(study)


def test_a_copy_into_the_folder_itself_is_refused(store: Store, tmp_path: Path) -> None:
    save(store, study_of())
    (tmp_path / "way in").symlink_to(store.root, target_is_directory=True)
    for out in (store.root / "copy", store.root / "media" / "copy", tmp_path / "way in" / "copy"):
        with pytest.raises(DataError, match="lies in the data folder"):
            backup(store, out)
        assert not out.exists()
    with pytest.raises(DataError, match="not empty"):
        backup(store, store.root)


def test_a_backup_is_restored_into_postgresql(store: Store, tmp_path: Path, postgres: Server) -> None:
    study = study_of()
    save(store, study)
    for number, item in enumerate(study.counterfactuals[:4]):
        keep(store, item.key, number)
    store.freeze("mine")
    backup(store, tmp_path / "copy")
    address, run = postgres.database(), CliRunner().invoke
    command = ["restore", str(tmp_path / "copy"), "--database", address, "--data"]
    done = run(app, [*command, str(tmp_path / "restored")])
    assert done.exit_code == 0, done.output
    restored = Store.existing(tmp_path / "restored", address)
    assert list(check(restored)) == []
    assert contents(restored.load_study(study.photo.key)) == contents(study)
    assert (restored.log(), restored.sets()) == (store.log(), store.sets())
    assert keep(restored, study.counterfactuals[5].key, 9).number > store.log()[-1].number
    assert restored.freeze("mine").version == 2
    save(restored, study_of(3))
    restored.close()
    again = run(app, [*command, str(tmp_path / "elsewhere")])
    assert again.exit_code == 2
    assert "holds records already" in again.output
    assert "Traceback" not in again.output


def test_a_run_in_postgresql_is_looked_at_by_every_command(tmp_path: Path, postgres: Server) -> None:
    address, study = postgres.database(), study_of()
    store = Store(tmp_path / "run", address)
    save(store, study)
    keep(store, study.counterfactuals[0].key, 1)
    store.freeze("mine")
    store.close()
    run = CliRunner().invoke
    where = [str(tmp_path / "run")]
    for command in (
        ["weakness", *where, "--json"],
        ["export", *where, "--set", "mine", "--out", str(tmp_path / "out"), "--format", "csv"],
    ):
        told = run(commands, [*command, "--database", address])
        assert told.exit_code == 0, told.output
        assert "There is no run" in run(commands, command).output
    for command in (["quality", *where], ["reinforce", *where, "--out", str(tmp_path / "new"), "--set", "none"]):
        told = run(commands, [*command, "--database", address, "--classifier", "none of these"])
        assert told.exit_code == 2
        assert "There is no run" not in told.output
