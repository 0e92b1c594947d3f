"""The application as a person meets it: a real browser, the shipped models, one story from the first click to a model.

Any error on the console, any fault of the page, any failed request and any request that leaves this machine fails.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import app
from pipeline.errors import StoreError
from pipeline.store.store import Store
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import sample
from pipeline.types import Counterfactual, Judge, Models
from tests.browser import SLOW, open_example, stock, suggest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


def test_from_a_picture_to_a_kept_counterfactual(page: Page, store: Store, address: str) -> None:
    open_example(page)
    assert "photo=" in page.url
    page.wait_for_selector("#compare .alone img")
    page.wait_for_selector(".top5 li >> nth=4")
    page.wait_for_selector(".headline:has-text('the label to protect')")
    suggest(page, "background")
    assert page.locator(".proposal del .sign").first.inner_text() == "−"
    assert page.locator(".proposal ins .sign").first.inner_text() == "+"

    page.click("#run")
    page.wait_for_selector(".frame.pending")
    page.wait_for_selector(".frame[data-do]")
    page.wait_for_selector("#keep")
    page.wait_for_selector(".frame.pending", state="detached")
    frames = page.locator(".variation").first.locator(".frame[data-do]")
    assert frames.count() == len(store_taus(store))
    assert page.locator(".variation").first.locator(".source img").count() == 2
    for frame in frames.all():
        assert "dir " in frame.inner_text()
        assert ("missed" in (frame.get_attribute("class") or "")) == (frame.locator(".chip.gate").count() > 0)

    frames.last.click()
    page.wait_for_selector(f".frame.selected[data-key='{frames.last.get_attribute('data-key')}']")
    page.wait_for_selector(f"#compare .after figcaption:has-text('{max(store_taus(store)):.2f}')")
    page.wait_for_selector("#shift .js-plotly-plot .scatterlayer")
    assert page.locator("#compare img").count() == 2
    page.click("#provenance summary")
    page.click("text=Copy as command line")
    page.wait_for_selector("#provenance [role=status]:text-matches('Copied|Selected')")
    assert f"--tau={max(store_taus(store))} " in page.inner_text("#as-command")
    page.click("#keep")
    page.wait_for_selector(".verdict.keep")
    (kept,) = store.kept()
    assert kept[1].key == frames.last.get_attribute("data-key")

    page.reload()
    page.wait_for_selector(f'.frame.keep[data-key="{kept[1].key}"]')
    assert page.input_value("#caption textarea") == kept[1].perturbation.caption
    page.wait_for_selector("#shift .js-plotly-plot .scatterlayer")
    page.goto(f"{address}/curate?state=keep")
    page.wait_for_selector(f'#deck article[data-key="{kept[1].key}"][data-state=keep]')


def test_a_frame_is_looked_at_closely_and_tells_how_it_was_made(
    page: Page, models: Models, store: Store, address: str
) -> None:
    stock(models, store, sample(1, HELD_OUT_SEED + 43))
    page.goto(f"{address}/?photo={store.studies()[0].key}")
    page.wait_for_selector("#compare .after img")
    page.locator(".compare").focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowRight")
    boxes = [page.locator(f"#compare .{name} img").bounding_box() for name in ("before", "after")]
    stage = page.locator("#compare .stage").bounding_box()
    assert boxes[0] == boxes[1]
    assert stage
    assert boxes[0]
    assert boxes[0]["width"] == pytest.approx(1.25**2 * stage["width"], abs=2)
    page.mouse.move(stage["x"] + 40, stage["y"] + 40)
    page.mouse.down()
    page.mouse.move(stage["x"] + 10, stage["y"] + 25)
    page.mouse.up()
    moved = page.locator("#compare .before img").bounding_box()
    assert moved
    assert (moved["x"] - boxes[0]["x"], moved["y"] - boxes[0]["y"]) == pytest.approx((-30, -15), abs=1)
    assert page.input_value("#compare input") == "50"
    page.keyboard.down("Space")
    assert page.locator("#compare .after").evaluate("one => getComputedStyle(one).visibility") == "hidden"
    page.keyboard.up("Space")
    page.keyboard.press("0")
    assert page.locator("#compare .after img").bounding_box()["width"] == pytest.approx(stage["width"], abs=2)

    page.click("#looks .link")
    page.locator("#looks figure").nth(1).wait_for()
    assert page.locator("#looks img").count() == 2
    page.click("#provenance summary")
    page.wait_for_selector("#provenance p:has-text('cannot be made again')")


def store_taus(store: Store) -> set[float]:
    """Every tau of the one study in the store."""
    study = store.load_study(store.studies()[0].key)
    assert study is not None
    return {item.tau for item in study.counterfactuals}


def test_a_cancel_stops_and_what_was_ready_stays(page: Page, store: Store) -> None:
    open_example(page, 1)
    suggest(page, "subject")
    page.click("text=Inversion, tau and steps")
    page.fill("#steps input[type=number]", "100")
    page.keyboard.press("Tab")
    page.click("#run")
    page.wait_for_selector("text=/step [0-9]+ of/")
    page.click("#cancel")
    page.wait_for_selector("text=/Stopped; everything/")  # which nothing says that came to its end
    assert page.locator(".frame.pending").count() == 0


def test_gates_are_told_and_what_passes_is_ticked_at_once(page: Page, store: Store) -> None:
    open_example(page, 4)
    suggest(page, "subject")
    proposal = page.locator(".proposal").first
    assert proposal.locator(".gates i").count() == proposal.locator(".gates li").count() > 3
    proposal.locator(".gates summary").click()
    proposal.locator(".gates li:has-text('label')").wait_for()

    page.fill("#own textarea", page.input_value("#caption textarea").replace("a photo of", "a sketch of"))
    page.click("#add")
    page.wait_for_selector(".proposals h4:has-text('domain')")
    ticks = page.locator(".tick[aria-checked=true]")
    count = ticks.count()
    ticks.first.click()
    page.wait_for_function("n => document.querySelectorAll('.tick[aria-checked=true]').length === n", arg=count - 1)
    page.click("text=tick all that pass")
    page.wait_for_function("n => document.querySelectorAll('.tick[aria-checked=true]').length === n", arg=count)

    page.fill("#caption textarea", "a photo of a blue robot in a forest")
    page.keyboard.press("Tab")
    page.wait_for_selector("text=Caption saved.")
    (written,) = store.rewordings(store.studies()[0].key)
    assert written.caption == "a photo of a blue robot in a forest"


def test_a_caption_is_chosen_among_several_and_weak_ones_are_told(page: Page, store: Store) -> None:
    open_example(page, 3)
    first = page.input_value("#caption textarea")
    page.click("#ask")
    choices = page.locator("#caption-card li button")
    choices.nth(1).wait_for()
    assert choices.first.get_attribute("aria-pressed") == "true"
    other = choices.nth(1).inner_text()
    choices.nth(1).click()
    page.wait_for_function("text => document.querySelector('#caption textarea').value === text", arg=other)
    page.wait_for_selector("#caption-card .said:has-text('Written by hand')")
    (written,) = store.rewordings(store.studies()[0].key)
    assert (written.before, written.caption) == (first, other)

    page.click("#caption-card .link")
    page.wait_for_selector(".word-maps figure")
    assert page.locator(".word-maps figcaption").all_inner_texts() == other.split()

    page.fill("#caption textarea", "in the snow")
    page.keyboard.press("Tab")
    page.wait_for_selector("#caption-card .reason:has-text('does not name the label')")
    page.reload()
    page.wait_for_selector("#caption-card .reason:has-text('3 words')")


def test_a_full_disk_in_the_middle_of_a_run_is_told_and_loses_nothing(
    page: Page, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_example(page, 2)
    suggest(page, "subject")
    add = Store.add_counterfactuals

    def full(self: Store, photo: str, caption: str, made: Sequence[Counterfactual], judge: Judge) -> None:
        study = self.load_study(photo)
        if study is not None and study.counterfactuals:
            raise StoreError("The disk is full; free some space and try again.")
        add(self, photo, caption, made, judge)

    monkeypatch.setattr(Store, "add_counterfactuals", full)
    page.click("#run")
    page.wait_for_selector(".toast-body:has-text('The disk is full')")
    page.wait_for_selector(".status.failed:has-text('The disk is full')")
    assert page.locator(".frame.pending").count() == 0
    assert page.locator(".frame[data-do]").count() == 1
    page.reload()
    page.wait_for_selector(".frame[data-do]")
    assert len(store_taus(store)) == 1


def test_the_demo_is_told_put_away_and_brought_back(page: Page, models: Models, store: Store, address: str) -> None:
    page.click("#demo >> text=Show a demo project")
    page.wait_for_selector("#demo:has-text('This is a demo project')")
    page.wait_for_selector(".finished .pairs img")
    assert len(store.studies()) >= 24
    for path, part in (
        ("/curate", "#deck article.item img"),
        ("/insights", "#histogram .js-plotly-plot .bars"),
        ("/reinforce", "#alpha-curve .js-plotly-plot .scatterlayer"),
    ):
        page.goto(address + path)
        page.wait_for_selector("#demo:has-text('This is a demo project')")
        page.wait_for_selector(part)
    page.click("#demo >> text=Hide the demo")
    page.wait_for_selector("#demo:has-text('The demo project is hidden')")
    assert (store.studies(), store.sets(), store.log()) == ((), (), ())
    page.goto(f"{address}/curate")
    page.wait_for_selector("#deck .empty")
    page.click("#demo >> text=Bring it back")
    page.wait_for_selector("#deck article.item img")
    page.goto(address)
    page.click(".finished .pairs a >> nth=0")
    page.wait_for_selector("#shift .js-plotly-plot .scatterlayer")
    assert "frame=" in page.url


def test_what_a_visitor_writes_is_shown_as_text(page: Page) -> None:
    open_example(page)
    caption = page.input_value("#caption textarea")
    page.fill("#own textarea", caption + " ${document.title = 'run'} <img src=x onerror=alert(1)> {{value}}")
    page.click("#add")
    page.wait_for_selector(".proposal ins:has-text('<img src=x onerror=alert(1)>')")
    assert page.locator(".proposal img").count() == 0
    assert page.title() == "Counterfactual Explorer"


def test_a_file_that_is_no_picture_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    fake = tmp_path / "fake.png"
    fake.write_text("not a picture")
    page.set_input_files("#upload input[type=file]", fake)
    page.wait_for_selector(".toast-body:has-text('fake.png')")
    assert "Traceback" not in page.inner_text("body")
    page.wait_for_selector("#upload .file-preview", state="detached")


def test_an_emptied_caption_is_put_back_and_nobody_is_said_to_have_written_it(page: Page, store: Store) -> None:
    open_example(page)
    caption = page.input_value("#caption textarea")
    page.fill("#caption textarea", "  ")
    page.locator("#caption textarea").blur()
    page.wait_for_selector(".status.failed:has-text('A caption cannot be empty')")
    page.wait_for_function("text => document.querySelector('#caption textarea').value === text", arg=caption)
    page.fill("#caption textarea", "")
    page.click("#suggest")
    page.wait_for_selector(".proposal")
    assert store.rewordings(store.studies()[0].key) == ()
    assert "Written by hand" not in page.inner_text("body")


def test_what_waits_for_edits_is_told_and_can_be_unticked(page: Page) -> None:
    open_example(page)
    suggest(page, "background")
    page.reload()
    page.wait_for_selector(".status:has-text('ticked variations have no edits yet')")
    page.wait_for_selector("#cancel", state="hidden")
    page.click("text=untick all")
    page.wait_for_selector(".tally >> text=/^0 of \\d+ ticked/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (1024, 768), (390, 844)], ids=lambda size: f"{size[0]}")
def test_nothing_sticks_out_of_the_page(browser: Browser, address: str, size: tuple[int, int], scheme: str) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    context.set_default_timeout(SLOW)
    page = context.new_page()
    for path, part in (
        ("/", "#examples .thumb"),
        ("/curate", "#deck .empty"),
        ("/insights", ".empty"),
        ("/reinforce", "#start"),
        ("/jobs", "#jobs .empty"),
    ):
        page.goto(address + path)
        page.wait_for_selector(part)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.evaluate("[...document.images].every((image) => image.hasAttribute('alt'))")
    context.close()


def test_the_help_answers_quickly_and_names_every_flag() -> None:
    shown = subprocess.run(
        [sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for flag in ("--profile", "--data", "--host", "--port", "--auth", "--empty"):
        assert flag in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "nowhere"], "There is no profile 'nowhere'"),
        (["--auth", "ada"], "Line 1 of --auth is no account"),
        (["--port", "{taken}"], "Another program listens on port {taken}; give another one with --port."),
        (["--port", "70000"], "--port is 70000; give a number from 0 to 65535."),
    ],
)
def test_what_cannot_be_used_gets_one_sentence(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = str(other.getsockname()[1])
        monkeypatch.setattr(sys, "argv", ["app.py", *(word.replace("{taken}", taken) for word in arguments)])
        assert app.main() == 2
    told = capsys.readouterr().err
    assert said.replace("{taken}", taken) in told
    assert len(told.strip().splitlines()) == 1
    assert "Traceback" not in told
