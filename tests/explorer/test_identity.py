"""Whose verdict it is at every door: the signed-in name, a chosen one where nobody signs in; stale ones never."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
import httpx
import pytest

from explorer import api, identity
from explorer.address import place_of
from explorer.alerts import guard_handler
from explorer.desk import Desk
from explorer.pages.explore import edits
from pipeline.errors import ConflictError, DataError, InputError
from pipeline.store.store import Store
from pipeline.types import Decision, Study
from tests.browser import SLOW, Faults, launched
from tests.seams import SeamModels, WordPerturber
from tests.stores import save, study_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ADA, BO, NOBODY = gr.Request(username="ada"), gr.Request(username="bo"), gr.Request()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(models=SeamModels(), store=Store(tmp_path))
    yield opened
    opened.close()
    opened.store.close()


@pytest.fixture
def study(desk: Desk) -> Study:
    """A photo with its edits, in the store."""
    made = study_of()
    save(desk.store, made)
    return made


def log(desk: Desk) -> list[tuple[str, str, str]]:
    """(analyst, verdict, kind) of every decision."""
    return [(decision.analyst, decision.verdict, decision.kind) for decision in desk.store.log()]


def seen(desk: Desk, key: str) -> int:
    """What Explore remembers of a frame that it shows now."""
    number = edits.verdict_values(desk, key)["seen"]
    assert isinstance(number, int)
    return number


def test_a_chosen_name_counts_where_nobody_signs_in() -> None:
    assert identity.analyst(ADA, "bo") == "ada"
    assert identity.analyst(NOBODY, " bo ") == "bo"
    assert identity.analyst(NOBODY) == ""
    with pytest.raises(DataError, match="at most 40"):
        identity.analyst(NOBODY, "x" * 41)


def test_explore_decides_in_the_visitors_name(desk: Desk, study: Study) -> None:
    place, key = place_of(study), study.counterfactuals[0].key
    desk.store.decide(Decision(id="1", counterfactual=key, verdict="", analyst="ada", label="green", tags=("night",)))
    edits.keep(desk, place, key, seen(desk, key), "bo", ADA)
    (decision,) = desk.store.decisions().values()
    assert (decision.analyst, decision.label, decision.tags) == ("ada", "green", ("night",)), (
        "what she said before stays"
    )
    edits.reject(desk, place, key, seen(desk, key), "bo", NOBODY)
    assert log(desk)[1:] == [("ada", "keep", ""), ("bo", "reject", "")]
    assert desk.store.decisions() == {}, "two analysts who differ are in conflict; nobody overruled the other"
    with pytest.raises(DataError, match="not yours"):
        edits.take_back(desk, place, key, seen(desk, key), "", gr.Request(username="cy"))
    told = str(edits.verdict_values(desk, key)["verdict"])
    assert "In conflict: ada says keep, as green; bo says reject." in told
    edits.reject(desk, place, key, seen(desk, key), "", gr.Request(username="cy"))
    assert log(desk)[-1] == ("cy", "reject", "resolve")
    assert desk.store.decisions()[key].tags == ("night",)
    edits.keep(desk, place, key, seen(desk, key), "", BO)
    assert log(desk)[-1] == ("bo", "keep", ""), "what was settled can be disputed again by who has seen it"


def test_a_stale_verdict_on_explore_is_refused_and_told(
    desk: Desk, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(gr, "Warning", told.append)
    place, key = place_of(study), study.counterfactuals[0].key
    before = seen(desk, key)
    edits.keep(desk, place, key, before, "", ADA)
    verdict, *_, number, _ = edits.reject(desk, place, key, before, "", ADA)  # from another tab
    assert log(desk) == [("ada", "keep", "")]
    assert "Meanwhile ada decided 'keep'" in told[0].replace("&#39;", "'")
    assert "Kept and saved" in str(verdict)
    edits.reject(desk, place, key, number, "", ADA)
    assert log(desk)[-1] == ("ada", "reject", "")
    # A dispute is settled by who has seen all of it.
    known = seen(desk, key)
    edits.keep(desk, place, key, known, "", BO)
    edits.keep(desk, place, key, known, "", gr.Request(username="cy"))
    assert len(log(desk)) == 3
    assert "Meanwhile bo decided 'keep'" in told[1].replace("&#39;", "'")


def test_a_program_overrules_nobody_unawares(desk: Desk, study: Study) -> None:
    key = study.counterfactuals[0].key
    assert api.decide(desk, key, "keep", ADA, request_id="r1") == "keep"
    assert api.decide(desk, key, "keep", ADA, request_id="r1") == "keep"
    assert log(desk) == [("ada", "keep", "")]
    with pytest.raises(ConflictError, match="ada decided 'keep' on this; nothing was changed, give expected='keep'"):
        api.decide(desk, key, "reject", ADA)
    with pytest.raises(ConflictError, match="bo has decided nothing on this"):
        api.decide(desk, key, "reject", BO, expected="keep")
    assert api.decide(desk, key, "reject", ADA, expected="keep") == "reject"
    assert api.decide(desk, key, "keep", ADA, request_id="r1") == "keep", "the same request counts once"
    api.decide(desk, key, "keep", BO, analyst="ada")
    api.decide(desk, key, "keep", NOBODY, analyst="cy")
    assert log(desk) == [("ada", "keep", ""), ("ada", "reject", ""), ("bo", "keep", ""), ("cy", "keep", "")]


def test_an_edit_that_a_gate_objects_to_says_so_and_can_be_overruled(tmp_path: Path, study: Study) -> None:
    desk = Desk(models=SeamModels(perturber=WordPerturber(rejected=("own words",))), store=Store(tmp_path / "other"))
    save(desk.store, study)
    words = "a photo of a red plane on green"
    with pytest.raises(InputError, match=r"gate of the test objects: 0.1 is below 0.2.*overrule=True"):
        api.edit(desk, place_of(study), words, [0.4])
    assert [word["tau"] for word in api.edit(desk, place_of(study), words, [0.4], overrule=True)] == [0.4]
    with pytest.raises(gr.Error, match="below 0\\.2"):
        guard_handler(api.edit)(desk, place_of(study), "a photo of a red plane on blue", [0.4])
    desk.close()
    desk.store.close()


@pytest.fixture
def address(desk: Desk) -> Iterator[str]:
    """The application, for ada and bo alone."""
    with launched(desk, [("ada", "a"), ("bo", "b")]) as url:
        yield url


@contextmanager
def visiting(browser: Browser, address: str, name: str) -> Iterator[Page]:
    """A browser in which this visitor signed in, and somebody chose another name before."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(SLOW)
    context.add_init_script("localStorage.setItem('explorer.analyst', JSON.stringify('mallory'))")
    page = context.new_page()
    page.goto(address)
    page.fill("input[type=text], input:not([type=password])", name)
    page.fill("input[type=password]", name[0])
    page.click("button")
    page.wait_for_selector(".masthead")
    faults = Faults(address)
    faults.watch(page)
    yield page
    context.close()
    assert faults.found == []


def test_two_who_signed_in_are_told_apart_on_every_page(
    browser: Browser, address: str, desk: Desk, study: Study
) -> None:
    key = next(item.key for item in study.counterfactuals if not item.missed)
    with visiting(browser, address, "ada") as ada, visiting(browser, address, "bo") as bo:
        for page in (ada, bo):
            page.goto(f"{address}/?photo={study.photo.key}&frame={key}")
            page.wait_for_selector("#keep:visible")
        ada.click("#keep")
        ada.wait_for_selector(".verdict:has-text('Kept and saved')")
        bo.click("#reject")
        bo.wait_for_selector(".verdict:has-text('In conflict: ada says keep; bo says reject.')")
        bo.goto(f"{address}/curate?state=conflict")
        bo.wait_for_selector("#deck .signed-in:has-text('Signed in as bo')")
        assert not bo.locator("#deck [name=analyst]").is_visible()
        bo.keyboard.press("a")
        bo.wait_for_selector("#deck [data-state=conflict] b:text-is('0')")
        ada.click("#reject")
        ada.wait_for_selector("text=Meanwhile bo decided 'keep'")
        ada.wait_for_selector(".verdict:has-text('Kept and saved')")
    assert log(desk) == [("ada", "keep", ""), ("bo", "reject", ""), ("bo", "keep", "resolve")]


@pytest.mark.usefixtures("browser")  # in whose event loop Gradio makes its locks; alone it leaves loops open
def test_nobody_decides_in_anothers_name(address: str, desk: Desk, study: Study) -> None:
    key = study.counterfactuals[0].key
    with httpx.Client(base_url=address, timeout=SLOW / 1000) as client:
        assert client.post("/login", data={"username": "bo", "password": "b"}).status_code == 200
        components = client.get("/config").json()["components"]
        (number,) = (component["id"] for component in components if component["props"].get("elem_id") == "deck")
        items = [{"key": key, "expected": 0}]
        data = {"state": "all", "act": "x", "verdict": "keep", "analyst": "ada", "items": items}
        body = {"session_hash": "s", "component_id": number, "fn_name": "decide", "data": data}
        told = client.post("/gradio_api/component_server", json=body)
        assert told.status_code == 200
        assert "bo: ✓ kept" in told.json()["items"][0]["opinion"]
    assert log(desk) == [("bo", "keep", "")]
