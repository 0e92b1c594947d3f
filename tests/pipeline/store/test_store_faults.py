"""A store under faults: full and read-only disks, kills, many writers at once, folders of another version."""

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pipeline.errors import DataError, StoreError
from pipeline.store import media
from pipeline.store.database import FILE, SCHEMA
from pipeline.store.store import Store
from pipeline.types import Study
from tests.stores import contents, keep, save, study_of


def test_the_disk_comes_first(store: Store) -> None:
    with store.database.engine.connect() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode",)}
        assert pragmas["journal_mode"] == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA user_version").scalar() == SCHEMA


def test_every_picture_is_synced_before_it_gets_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, name = os.fsync, os.replace
    monkeypatch.setattr(media.os, "fsync", lambda file: (calls.append("sync"), sync(file))[1])
    monkeypatch.setattr(media.os, "replace", lambda a, b: (calls.append("name"), name(a, b))[1])
    save(store, Study(photo=study_of().photo))
    assert calls == ["sync", "sync", "name", "sync"]  # folder, file, its name, folder again


def test_a_folder_of_another_version_is_refused(store: Store) -> None:
    store.close()
    with sqlite3.connect(store.root / FILE) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="version 99"):
        Store(store.root)


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"cannot be opened"):
        Store(tmp_path / "file" / "data")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / FILE).write_text("this is no database, but long enough to be looked at" * 30)
    with pytest.raises(StoreError, match="damaged"):
        Store(tmp_path / "data")
    with pytest.raises(DataError, match="no run"):
        Store.existing(tmp_path)


def test_threads_write_at_once(store: Store) -> None:
    studies = [study_of(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(partial(save, store), studies))
        list(pool.map(partial(save, store), studies))
        decided = [(study.counterfactuals[n].key, n) for study in studies for n in range(9)]
        list(pool.map(lambda pair: keep(store, pair[0], hash(pair[0])), decided))
    assert len(store.kept()) == 54
    for study in studies:
        assert contents(store.load_study(study.photo.key)) == contents(study)


PROCESS = """
import sys
from pathlib import Path
from pipeline.store.store import Store
from pipeline.types import Decision
store = Store(Path(sys.argv[1]))
for number in range(20):
    store.decide(Decision(id=f"{sys.argv[2]}-{number}", counterfactual=sys.argv[3], verdict="keep"))
"""


@pytest.mark.slow
def test_processes_write_at_once(store: Store) -> None:
    study = study_of()
    save(store, study)
    arguments = [sys.executable, "-c", PROCESS, str(store.root)]
    writers = [subprocess.Popen([*arguments, str(n), study.counterfactuals[0].key]) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(store.log()) == 60


@pytest.mark.slow
def test_processes_open_a_new_folder_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.store.store import Store; "
        "Store(Path(sys.argv[1])).studies()"
    )
    openers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "new")]) for _ in range(4)]
    assert [opener.wait() for opener in openers] == [0] * 4


KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from pipeline.store.store import Store
from pipeline.types import Decision
store = Store(Path(sys.argv[1]))
for number in itertools.count():
    store.decide(Decision(id=str(number), counterfactual=sys.argv[2], verdict="keep"))
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_kill(store: Store) -> None:
    study = study_of()
    save(store, study)
    command = [sys.executable, "-c", KILLED, str(store.root), study.counterfactuals[0].key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(10)]
        writer.kill()
        said += [int(line) for line in writer.stdout.read().split()]
    assert {str(number) for number in said} <= {decision.id for decision in store.log()}


def limited(store: Store, pages: int) -> None:
    """Leaves the database this many pages to grow, in every connection from now on."""
    import sqlalchemy

    store.close()

    def limit(connection: sqlite3.Connection, _: object) -> None:
        used = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={used + pages}")

    sqlalchemy.event.listen(store.database.engine, "connect", limit)


def test_a_full_database_leaves_nothing_half_applied(store: Store) -> None:
    first = study_of()
    save(store, first)
    limited(store, 1)
    fresh = study_of(1).photo
    with pytest.raises(StoreError, match="disk is full") as caught:
        store.add_photo(replace(fresh, name="x" * 50_000))
    assert "\n" not in str(caught.value)
    assert [study.key for study in store.studies()] == [first.photo.key]
    assert store.load_study(fresh.key) is None
    with pytest.raises(StoreError, match="disk is full"):
        store.set_caption(first.photo.key, "x" * 50_000, analyst="Ada")
    assert contents(store.load_study(first.photo.key)) == contents(first)
    assert keep(store, first.counterfactuals[0].key, 0).verdict == "keep"


FULL = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from pipeline.errors import StoreError
from pipeline.store.store import Store
from pipeline.types import Photo, Prediction
from PIL import Image
import numpy as np
store = Store(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
prediction = Prediction(labels=("a", "b"), probabilities=(0.5, 0.5))
photo = Photo(key="k", image=image, label="a", prediction=prediction)
try:
    store.add_photo(replace(photo, name="c" * 100_000))
except StoreError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert store.studies() == (), store.studies()
store.add_photo(photo)
assert len(store.studies()) == 1
"""


@pytest.mark.parametrize("limit", [5_000, 40_000], ids=["picture", "database"])
def test_a_full_disk_gets_one_sentence_and_the_next_save_works(tmp_path: Path, limit: int) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path / "data"), str(limit)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "disk is full" in result.stdout
    assert len(result.stdout.splitlines()) == 1
    assert not list((tmp_path / "data" / "media").rglob("*.part"))


READ_ONLY = """
import os, sys
from pathlib import Path
from pipeline.errors import StoreError
from pipeline.store.store import Store
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
try:
    Store(Path(sys.argv[1]))
except StoreError as error:
    print(error)
"""


def test_a_read_only_folder_gets_one_sentence(store: Store) -> None:
    store.close()
    for place in (store.root / FILE, store.root, store.root / "media"):
        place.chmod(0o444 if place.is_file() else 0o555)
    for parent in store.root.parents[:3]:
        parent.chmod(0o755)
    command = [sys.executable, "-c", READ_ONLY, str(store.root)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    store.root.chmod(0o755)
    (store.root / "media").chmod(0o755)
    assert result.returncode == 0, result.stderr
    assert "cannot be written; check its permissions" in result.stdout
