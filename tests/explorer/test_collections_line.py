"""The line below the masthead: what is in view is named, hidden, shown again and renamed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from explorer import collections
from explorer.desk import Desk
from explorer.pages.explore import starting, uploads
from pipeline.errors import ConflictError, DataError
from pipeline.models.loader import LoadedModels
from pipeline.store.schema import SINGLE, STUDIED, UPLOAD
from pipeline.store.store import Store
from pipeline.tasks import demo, studio
from pipeline.types import Models
from tests.seams import SeamModels, picture
from tests.stores import study_of

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def seams(tmp_path: Path) -> Iterator[Desk]:
    """Two collections, of two photos and of one."""
    store = Store(tmp_path / "data")
    for seed, (kind, name) in enumerate(((UPLOAD, "a.zip"), (UPLOAD, "a.zip"), (STUDIED, "<b>"))):
        studio.save_study(store, study_of(seed), store.open_collection(kind, name))
    made = Desk(models=SeamModels(), store=store)
    yield made
    made.close()
    store.close()


def changed(desk: Desk, **asked: object) -> str:
    """What the line shows after a click."""
    return str(collections.change(desk, SimpleNamespace(_data=asked)))  # type: ignore[arg-type]


def text_of(markup: str) -> str:
    return re.sub(r"<[^>]+>", " ", markup)


def test_what_is_in_view_is_named_and_one_collection_alone_says_nothing(seams: Desk) -> None:
    assert "In view: a.zip (2 photos), &lt;b&gt; (1 photo)" in text_of(collections.show(seams))
    alone = Store(seams.store.root.parent / "alone")
    studio.save_study(alone, study_of())
    assert collections.show(Desk(models=SeamModels(), store=alone)) == ""
    alone.put_collection_away(alone.collections()[0].number)
    assert "In view: nothing; 1 hidden" in collections.show(Desk(models=SeamModels(), store=alone))
    alone.close()


def test_hiding_and_showing_loads_the_page_anew_and_renaming_does_not(seams: Desk) -> None:
    number = str(seams.store.collections()[0].number)
    hidden = changed(seams, do="hide", number=number)
    assert "data-again" in hidden
    assert "In view: &lt;b&gt; (1 photo); 1 hidden" in hidden
    assert len(seams.store.studies()) == 1
    assert "data-again" in changed(seams, do="show", number=number)
    assert len(seams.store.studies()) == 3
    renamed = changed(seams, do="rename", number=number, name="Mine", seen="a.zip")
    assert "data-again" not in renamed
    assert "In view: Mine (2 photos)" in renamed
    with pytest.raises(ConflictError, match="named 'Mine'"):
        changed(seams, do="rename", number=number, name="Yours", seen="a.zip")


@pytest.mark.parametrize("number", ["", "x", "-1", "99", "9" * 30, None])
def test_a_collection_that_is_not_there_is_refused(seams: Desk, number: object) -> None:
    for do in ("hide", "show", "rename", "", None):
        with pytest.raises(DataError):
            changed(seams, do=do, number=number, name="x", seen="")


def test_an_upload_of_several_is_a_collection_and_hides_the_demo(
    store: Store, models: LoadedModels, tmp_path: Path
) -> None:
    desk = Desk(models=models, store=store)
    starting.bring_demo(desk).result()
    before = len(store.studies())
    files = []
    for seed, name in enumerate(("x.png", "y.png")):
        picture("red", seed, 96).save(tmp_path / name)
        files.append(str(tmp_path / name))
    told = list(uploads.receive(desk, files))
    found = {collection.kind: collection for collection in store.collections()}
    assert (found[UPLOAD].photos, found["demo"].away, found["demo"].photos) == (2, True, before)
    assert re.fullmatch(r"2 files, \d+ \w+ \d{4} \d\d:\d\d", found[UPLOAD].name)
    assert uploads.DEMO_HIDDEN in str(told[-1][1])
    assert len(store.studies()) == 2
    list(uploads.receive(desk, files[:1]))
    assert SINGLE not in {collection.kind for collection in store.collections()}  # it is in a collection already
    desk.close()


def test_on_a_shared_server_an_upload_leaves_the_demo_to_the_others(
    store: Store, models: LoadedModels, tmp_path: Path
) -> None:
    desk = Desk(models=models, store=store, shared=True)
    starting.bring_demo(desk).result()
    picture("red", 1, 96).save(tmp_path / "x.png")
    list(uploads.receive(desk, [str(tmp_path / "x.png")]))
    assert demo.is_shown(store)
    desk.close()


def test_a_collection_is_hidden_shown_and_renamed_on_the_page(
    page: Page, models: Models, store: Store, address: str
) -> None:
    for seed, name in ((1, "Harbour"), (2, "Meadow")):
        image = picture("red", seed, 96)
        studio.take_in(models, store, image, name=f"{name}.png", collection=store.open_collection(UPLOAD, name))
    page.goto(address)
    page.click(".collections summary")
    row = page.locator(".collections li:has(input[value='Harbour'])")
    row.locator("input").fill("Port")
    row.locator("input").press("Enter")
    page.wait_for_selector("text=In view: Port (1 photo), Meadow (1 photo)")
    page.click(".collections summary")
    page.locator(".collections li:has(input[value='Port']) [data-do=hide]").click()
    page.wait_for_selector("text=In view: Meadow (1 photo); 1 hidden")
    assert [study.name for study in store.studies()] == ["Meadow.png"]
    page.click(".collections summary")
    page.click(".collections [data-do=show]")
    page.wait_for_selector("text=In view: Port (1 photo), Meadow (1 photo)")
    assert len(store.studies()) == 2
