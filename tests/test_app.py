"""The application as a person meets it: a real browser, the shipped models, one story from the first click to a model.

Any error on the console, any fault of the page, any failed request and any request that leaves this machine fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from explorer import build_app, serving
from explorer.jobs import Desk
from pipeline import workflow
from pipeline.errors import StoreError
from pipeline.store import Store
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import Scene, draw, redraw, sample
from pipeline.types import Counterfactual, Decision, Models, Perturbation, Scores, Study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

CHROMIUM = "/usr/bin/chromium"
ROOT = Path(__file__).resolve().parents[1]
SLOW = 120_000  # milliseconds; models on a busy machine


def browser_is_missing() -> str:
    """Why no browser can be driven here, or ""."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return "" if Path(CHROMIUM).exists() else f"there is no browser at {CHROMIUM}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if reason := browser_is_missing():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def address(models: Models, store: Store) -> Iterator[str]:
    """The application on a free port."""
    app = build_app(Desk(models=models, store=store))
    _, url, _ = app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **serving())
    yield url.rstrip("/")
    app.close()


@dataclass
class Faults:
    """What a browser complains about."""

    address: str
    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"page error: {error}"))
        page.on("request", self._request)
        page.on("requestfailed", self._failed)
        page.on("response", lambda r: self.found.append(f"{r.status}: {r.url}") if r.status >= 400 else None)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.found.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.found.append(f"request to another host: {request.url}")

    def _failed(self, request: Request) -> None:
        # Event streams end when their page is left or their last event has come; that is no fault.
        stream = re.search(r"/(queue/data|heartbeat/)", request.url)
        if not (stream and request.failure == "net::ERR_ABORTED"):
            self.found.append(f"failed: {request.url} {request.failure}")


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(SLOW)
    opened, faults = context.new_page(), Faults(address)
    faults.watch(opened)
    opened.goto(address)
    opened.wait_for_selector("#examples .thumb")
    yield opened
    context.close()
    assert faults.found == []


def open_example(page: Page, number: int = 0) -> None:
    page.click(f"#examples .thumb >> nth={number}")
    page.wait_for_function("(document.querySelector('#caption textarea')?.value || '').length > 5")


def suggest(page: Page, factor: str) -> None:
    """One variation of one factor, ticked even when a gate objects."""
    for box in page.locator("#factors label").all():
        if box.inner_text().strip() != factor:
            box.locator("input").uncheck()
    page.click("#suggest")
    page.wait_for_selector(".proposal")
    page.wait_for_selector("text=Tick what you want to try")
    if page.locator(".tick[aria-checked=true]").count() == 0:
        page.click(".tick >> nth=0")
        page.wait_for_selector(".tick[aria-checked=true]")


def test_from_a_picture_to_a_kept_counterfactual(page: Page, store: Store, address: str) -> None:
    open_example(page)
    assert "photo=" in page.url
    suggest(page, "background")
    assert page.locator(".proposal del .sign").first.inner_text() == "−"
    assert page.locator(".proposal ins .sign").first.inner_text() == "+"

    page.click("#run")
    page.wait_for_selector(".frame.pending")
    page.wait_for_selector(".frame[data-do]")
    page.wait_for_selector("#keep")
    frames = page.locator(".variation").first.locator(".frame[data-do]")
    assert frames.count() == len(store_taus(store))
    assert page.locator(".variation").first.locator(".source img").count() == 2
    for frame in frames.all():
        assert "dir " in frame.inner_text()
        assert ("missed" in (frame.get_attribute("class") or "")) == (frame.locator(".chip.gate").count() > 0)

    frames.last.click()
    page.wait_for_selector(f".frame.selected[data-key='{frames.last.get_attribute('data-key')}']")
    page.wait_for_selector(f"#compare .after figcaption:has-text('{max(store_taus(store)):.2f}')")
    page.wait_for_selector("#shift .js-plotly-plot .bars")
    assert page.locator("#compare img").count() == 2
    page.click("#keep")
    page.wait_for_selector(".verdict.keep")
    (kept,) = store.kept()
    assert kept[1].key == frames.last.get_attribute("data-key")

    page.reload()
    page.wait_for_selector(f'.frame.keep[data-key="{kept[1].key}"]')
    assert page.input_value("#caption textarea") == kept[1].perturbation.caption
    page.wait_for_selector("#shift .js-plotly-plot .bars")
    page.goto(f"{address}/curate")
    page.wait_for_selector(f'.card.keep[data-key="{kept[1].key}"]')


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
    pressed = time.monotonic()
    page.click("#cancel")
    page.wait_for_selector("text=/Stopped; everything/")
    assert time.monotonic() - pressed < 20
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


def test_a_full_disk_in_the_middle_of_a_run_is_told_and_loses_nothing(
    page: Page, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_example(page, 2)
    suggest(page, "subject")
    save = Store.save_study

    def full(self: Store, study: Study) -> None:
        if len(study.counterfactuals) > 1:
            raise StoreError("The disk is full; free some space and try again.")
        save(self, study)

    monkeypatch.setattr(Store, "save_study", full)
    page.click("#run")
    page.wait_for_selector(".toast-body:has-text('The disk is full')")
    page.wait_for_selector(".status.failed:has-text('The disk is full')")
    assert page.locator(".frame.pending").count() == 0
    assert page.locator(".frame[data-do]").count() == 1
    page.reload()
    page.wait_for_selector(".frame[data-do]")
    assert len(store_taus(store)) == 1


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


def stock(models: Models, store: Store, scenes: tuple[Scene, ...]) -> None:
    """Keeps the true counterfactual of every scene, as drawn by the world."""
    scores = Scores(
        image_similarity=0.9, source_alignment=0.3, edited_alignment=0.3, directional_similarity=0.5, prefers_edit=0.1
    )
    for number, scene in enumerate(scenes):
        background = "desert" if scene.background != "desert" else "forest"
        other = redraw(scene, "background", background)
        study = workflow.open_photo(models, draw(scene), label=scene.label)
        words = Perturbation(
            caption=scene.caption(),
            edited_caption=other.caption(),
            factor="background",
            original=scene.background,
            edit=background,
        )
        item = Counterfactual(
            key=f"true-{number}",
            perturbation=words,
            tau=0.5,
            image=draw(other),
            scores=scores,
            prediction=models.classifier().predict([draw(other)])[0],
            missed=(),
        )
        study = workflow.describe(models, study, models.profile.settings, scene.caption())
        store.save_study(replace(study, perturbations=(words,), counterfactuals=(item,)))
        store.decide(Decision(id=item.key, counterfactual=item.key, verdict="keep"))


def test_from_kept_counterfactuals_to_a_reinforced_classifier(page: Page, models: Models, store: Store) -> None:
    stock(models, store, sample(10, HELD_OUT_SEED + 41))
    page.click(".masthead >> text=Curate")
    page.wait_for_selector(".card.keep")
    page.fill("#set-name input, #set-name textarea", "first")
    page.click("#freeze")
    page.wait_for_selector("text=Frozen: first v1 with 10 counterfactuals.")
    page.click("#export")
    page.wait_for_selector("text=Exported to sets/first-v001")
    assert len(list((store.root / "sets" / "first-v001").rglob("*.png"))) == 10

    page.click(".card >> nth=0 >> text=Undo")
    page.wait_for_selector(".card button[data-do=keep]")
    assert len(store.kept()) == 9

    page.click(".masthead >> text=Reinforce")
    page.wait_for_selector("#start")
    page.click("#start")
    page.wait_for_selector("text=/Done: .*Saved as reinforced/")
    assert page.locator(".facts tbody tr").count() >= 2
    page.wait_for_selector("#alpha-curve .js-plotly-plot .scatterlayer")
    (folder,) = (store.root / "reinforced").iterdir()
    assert models.classifier(str(folder)).labels == models.classifier().labels
    page.reload()
    page.wait_for_selector("text=/Done: .*Saved as reinforced/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (1024, 768), (390, 844)], ids=lambda size: f"{size[0]}")
def test_nothing_sticks_out_of_the_page(browser: Browser, address: str, size: tuple[int, int], scheme: str) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    context.set_default_timeout(SLOW)
    page = context.new_page()
    for path, part in (("/", "#examples .thumb"), ("/curate", "#deck .empty"), ("/reinforce", "#start")):
        page.goto(address + path)
        page.wait_for_selector(part)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.evaluate("[...document.images].every((image) => image.hasAttribute('alt'))")
    context.close()


def test_the_help_answers_quickly_and_names_every_flag() -> None:
    shown = subprocess.run(
        [sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for flag in ("--profile", "--data", "--host", "--port", "--auth"):
        assert flag in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--profile", "nowhere"], "There is no profile 'nowhere'"), (["--auth", "ada"], "--auth needs a name")],
)
def test_what_cannot_be_used_gets_one_sentence(arguments: list[str], said: str) -> None:
    done = subprocess.run([sys.executable, "app.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
