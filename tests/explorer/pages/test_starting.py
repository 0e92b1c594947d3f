"""What a new data folder starts with, and what it does not."""

from pathlib import Path

import pytest

import app as program
from explorer import collections
from explorer.desk import Desk
from explorer.pages.explore import starting
from pipeline.models.loader import LoadedModels
from pipeline.store.schema import DEMO, EARLIER
from pipeline.store.store import Store
from pipeline.tasks import demo
from tests.seams import SeamModels
from tests.stores import save, study_of


def test_a_new_data_folder_gets_the_demo_and_a_used_one_does_not(
    store: Store, models: LoadedModels, tmp_path: Path
) -> None:
    starting.bring_demo(Desk(models=models, store=store)).result()
    assert demo.is_shown(store)
    assert (store.root / "reinforced" / demo.NAME / "run.json").is_file()
    used = Store(tmp_path / "used")
    save(used, study_of())
    starting.bring_demo(Desk(models=models, store=used)).result()
    assert len(used.studies()) == 1
    used.close()


def test_the_demo_in_an_earlier_folder_is_parted_from_ones_own_photos(store: Store, models: LoadedModels) -> None:
    desk = Desk(models=models, store=store)
    starting.bring_demo(desk).result()
    save(store, study_of())
    with store.database.write() as connection:
        for table in ("members", "collections"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql("PRAGMA user_version=6")
    earlier = Store(store.root)
    again = Desk(models=models, store=earlier)
    count = len(earlier.studies())
    starting.claim_demo(again)
    assert {found.kind: found.photos for found in earlier.collections()} == {EARLIER: 1, DEMO: count - 1}
    starting.claim_demo(again)
    assert demo.is_shown(earlier)
    earlier.close()


def test_a_profile_without_a_demo_says_nothing(store: Store) -> None:
    desk = Desk(models=SeamModels(), store=store)
    starting.bring_demo(desk).result()
    assert store.studies() == ()
    assert collections.show(desk) == ""


@pytest.mark.parametrize(("given", "empty"), [("", False), ("0", False), ("1", True)])
def test_the_environment_may_say_empty(given: str, empty: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_EMPTY", given)
    assert program.build_parser().parse_args([]).empty == empty
    assert program.build_parser().parse_args(["--empty"]).empty


@pytest.mark.parametrize(("before", "arguments", "begun"), [("", [], True), ("", ["--empty"], False), ("x", [], False)])
def test_only_the_first_start_brings_it(
    before: str, arguments: list[str], begun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before:
        (tmp_path / before).write_text("somebody's")
    monkeypatch.setattr(LoadedModels, "warm", lambda self: None)
    monkeypatch.setattr("explorer.build_app", lambda desk: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        program.serve(program.build_parser().parse_args(["--data", str(tmp_path), "--device", "cpu", *arguments]), ())
    store = Store(tmp_path)
    assert bool(store.studies()) == begun
    store.close()
