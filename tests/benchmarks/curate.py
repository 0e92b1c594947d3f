"""What an analyst waits for with thousands of pairs in the data folder: Chromium against `app.py` on the tiny profile.

`python -m tests.benchmarks.curate --items 5000` prints each figure with its n beside the bar it is held against; status
1 when one is missed. Pages are switched by their links, in turns; the first turn, in which the server reads what it
then keeps in memory, is told by itself.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pipeline.store import Store
from tests.browser import CHROMIUM, FLAGS, SLOW
from tests.crowd import fill

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
MEMORY = Path("/dev/shm")
PATIENCE = 300  # seconds until the server answers
SHOWN = {
    "Explore": "#examples .thumb img",
    "Curate": "#deck article.item img",
    "Insights": "#heat table.heat",
    "Reinforce": "#start",
}
# From a key to the next pair with its pictures decoded, and to "Saved".
WATCH = """() => {
  window.waits = {next: [], saved: []};
  const [stage, saved] = ['.stage', '.saved'].map((part) => document.querySelector('#deck ' + part));
  let pressed = 0, waiting = false;
  document.addEventListener('keydown', () => { pressed = performance.now(); waiting = true; }, true);
  new MutationObserver(async () => {
    const since = pressed;
    await Promise.all([...stage.querySelectorAll('img')].map((image) => image.decode()));
    requestAnimationFrame(() => window.waits.next.push(performance.now() - since));
  }).observe(stage, {childList: true});
  new MutationObserver(() => {
    if (!waiting || saved.textContent !== 'Saved') return;
    waiting = false;
    window.waits.saved.push(performance.now() - pressed);
  }).observe(saved, {childList: true, characterData: true, subtree: true});
}"""


@dataclass(frozen=True)
class Figure:
    """One thing that is waited for; milliseconds."""

    name: str
    values: Sequence[float]
    bar: float
    at: float  # the quantile that the bar is for

    @property
    def measured(self) -> float:
        ordered = sorted(self.values)
        return median(ordered) if self.at == 0.5 else ordered[min(len(ordered) - 1, int(self.at * len(ordered)))]

    def __str__(self) -> str:
        which = "median" if self.at == 0.5 else f"p{100 * self.at:.0f}"
        end = "" if not self.bar else f", bar {self.bar:.0f} ms: {'met' if self.measured < self.bar else 'MISSED'}"
        return (
            f"{self.name}: {which} {self.measured:.0f} ms, worst {max(self.values):.0f} ms, n {len(self.values)}{end}"
        )


def build(folder: Path, items: int) -> None:
    """A data folder with so many counterfactuals; made in memory where there is some, then copied."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as place:
        store = Store(Path(place) / "data")
        fill(store, items, classifier="resnet")
        store.close()
        shutil.copytree(Path(place) / "data", folder)


@contextmanager
def served(data: Path) -> Iterator[str]:
    """The application's address, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--data", str(data), "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait()


def keys(page: Page, address: str, presses: int) -> Iterator[Figure]:
    """To the next pair and back again, then verdicts."""
    page.goto(f"{address}/curate")
    page.wait_for_selector(SHOWN["Curate"])
    page.evaluate(WATCH)
    for number in range(presses):
        page.keyboard.press("j")
        page.wait_for_function("n => window.waits.next.length > n", arg=number)
    yield Figure("key to next item", page.evaluate("window.waits.next"), 100, 0.5)
    for number in range(presses):
        page.keyboard.press("ars"[number % 3])
        page.wait_for_function("n => window.waits.saved.length > n", arg=number)
    yield Figure("decision acknowledged", page.evaluate("window.waits.saved"), 150, 0.99)


def switches(page: Page, address: str, turns: int) -> Iterator[Figure]:
    """From a link to the page that it leads to, with what the page is for."""
    page.goto(f"{address}/curate")
    page.wait_for_selector(SHOWN["Curate"])
    for kind in ("first switch to", "switch to"):
        waits: dict[str, list[float]] = {name: [] for name in SHOWN}
        for _ in range(turns if kind == "switch to" else 1):
            for name, part in SHOWN.items():
                start = time.perf_counter()
                page.click(f".masthead nav >> text={name}")
                page.wait_for_url(lambda url, name=name: url.partition("?")[0].endswith(_path(name)))
                page.wait_for_selector(part)
                waits[name].append(1000 * (time.perf_counter() - start))
        for name, values in waits.items():
            yield Figure(f"{kind} {name}", values, 700 if kind == "switch to" else 0, 0.5)


def _path(name: str) -> str:
    return "/" if name == "Explore" else f"/{name.lower()}"


def paints(browser: Browser, address: str, turns: int) -> Iterator[Figure]:
    """The first paint of every page in a browser that was never here."""
    waits = []
    for _ in range(turns):
        for name, part in SHOWN.items():
            context = browser.new_context()
            context.set_default_timeout(SLOW)
            page = context.new_page()
            page.goto(address + _path(name))
            page.wait_for_selector(part)
            waits.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            context.close()
    yield Figure("first paint", waits, 2000, 0.5)


def main() -> int:
    """0 when every bar is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--presses", type=int, default=200)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        build(Path(place) / "data", options.items)
        sys.stdout.write(f"{options.items} counterfactuals made in {time.perf_counter() - start:.0f} s\n")
        with served(Path(place) / "data") as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(SLOW)
            for part in (
                switches(page, address, options.turns),
                keys(page, address, options.presses),
                paints(browser, address, options.turns),
            ):
                for figure in part:
                    figures.append(figure)
                    sys.stdout.write(f"{figure}\n")
                    sys.stdout.flush()
            browser.close()
    return int(any(one.bar and one.measured >= one.bar for one in figures))


if __name__ == "__main__":
    sys.exit(main())
