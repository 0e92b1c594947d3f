"""A real browser on the application: what it complains about, and steps that several stories share.

Any error on the console, any fault of the page, any failed request and any request that leaves this machine fails.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from explorer import build_app, serving
from pipeline import workflow
from pipeline.scores import Scores
from pipeline.store.store import Store
from pipeline.tiny.world import Scene, draw, redraw
from pipeline.types import Counterfactual, Decision, Models, Perturbation
from tests.stores import save

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

    from explorer.desk import Desk

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
SLOW = 120_000  # milliseconds; models on a busy machine
ABORTED = re.compile(r"^console: .*(AbortError|Connection errored out)", re.DOTALL)


def browser_is_missing() -> str:
    """Why no browser can be driven here, or ""."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return "" if Path(CHROMIUM).exists() else f"there is no browser at {CHROMIUM}"


@contextmanager
def launched(desk: Desk, accounts: Sequence[tuple[str, str]] = ()) -> Iterator[str]:
    """The application on a free port; its address."""
    app = build_app(desk)
    # Gradio's own search for a port leaves a socket behind for every port that is taken.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"server_name": "127.0.0.1", "server_port": port, "prevent_thread_lock": True, "quiet": True}
    _, url, _ = app.launch(auth=list(accounts) or None, **options, **serving())
    yield url.rstrip("/")
    app.close()


@contextmanager
def visiting(browser: Browser, address: str) -> Iterator[Page]:
    """A page of a browser that was never here; whatever it complains about fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(SLOW)
    page, faults = context.new_page(), Faults(address)
    faults.watch(page)
    yield page
    context.close()
    assert faults.found == []


@dataclass
class Faults:
    """What a browser complains about.

    A page that is left takes its unanswered requests with it, which is no fault; one that stays has to answer them.
    """

    address: str
    found: list[str] = field(default_factory=list)
    leaving: bool = False  # from a navigation's request until the new page is there
    unanswered: set[Request] = field(default_factory=set)  # of the pages that were left

    def watch(self, page: Page) -> None:
        asked: set[Request] = set()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"page error: {error}"))
        page.on("request", lambda request: self._request(request, asked))
        page.on("load", lambda _: setattr(self, "leaving", False))
        page.on("requestfinished", lambda request: asked.discard(request))
        page.on("requestfailed", self._failed)
        page.on("response", lambda r: self.found.append(f"{r.status}: {r.url}") if r.status >= 400 else None)

    def _console(self, message: ConsoleMessage) -> None:
        told = f"console: {message.text}"
        if message.type == "error" and not (self.leaving and ABORTED.search(told)):
            self.found.append(told)

    def _request(self, request: Request, asked: set[Request]) -> None:
        if request.is_navigation_request():
            self.leaving = True
            self.unanswered |= asked
            asked.clear()
            # Gradio ends its streams, and says so, before the browser asks for the next page.
            self.found = [fault for fault in self.found if not ABORTED.search(fault)]
        (self.unanswered if self.leaving else asked).add(request)
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.found.append(f"request to another host: {request.url}")

    def _failed(self, request: Request) -> None:
        # Streams of events end by being cut, when their last event has come.
        stream = re.search(r"/(queue/data|heartbeat/|upload_progress)", request.url)
        left = request in self.unanswered
        if not ((stream or left) and request.failure == "net::ERR_ABORTED"):
            self.found.append(f"failed: {request.url} {request.failure}")


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
        control = {"reconstruction": study.photo.image, "control": study.photo.prediction}
        save(store, replace(study, perturbations=(words,), counterfactuals=(item,), **control))
        store.decide(Decision(id=item.key, counterfactual=item.key, verdict="keep"))
