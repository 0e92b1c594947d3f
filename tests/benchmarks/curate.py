"""What an analyst waits for with thousands of pairs in the data folder: Chromium against `app.py` on the tiny profile.

`python -m tests.benchmarks.curate --items 5000` prints each figure with its n beside the bar it is held against, with
`--json` as one object a line; status 1 when one is missed. Pages are switched by their links, in turns; the first turn,
in which the server reads what it then keeps in memory, is told by itself. The classifier that judged the pairs lies in
the data folder: a small random network with `--classes` labels, 1000 as ImageNet has. The memory is the server's
resident set after all of it.
"""

from __future__ import annotations

import argparse
import json
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

import psutil
import timm
from timm.models import save_for_hf

from pipeline.classifiers.families import TimmClassifier
from pipeline.classifiers.promotion import FOLDER
from pipeline.store.store import Store
from tests.browser import CHROMIUM, FLAGS, SLOW
from tests.crowd import LABELS, fill

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from pipeline.types import Classifier

CHANNELS = (8, 8, 16, 16)  # of the network that judges
ROOT = Path(__file__).resolve().parents[2]
MEMORY = Path("/dev/shm")
FIRST = {"Insights": 5000}  # ms, while the server reads the data folder
ROOMY = 1500  # MB of the server's memory
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
    """One thing that is waited for, or held in memory."""

    name: str
    values: Sequence[float]
    bar: float  # 0 for none
    at: float  # the quantile that the bar is for
    unit: str = "ms"

    @property
    def measured(self) -> float:
        ordered = sorted(self.values)
        return median(ordered) if self.at == 0.5 else ordered[min(len(ordered) - 1, int(self.at * len(ordered)))]

    def __str__(self) -> str:
        which = "median" if self.at == 0.5 else f"p{100 * self.at:.0f}"
        end = f", bar {self.bar:.0f} {self.unit}: {'MISSED' if self.missed else 'met'}" if self.bar else ""
        worst = f"worst {max(self.values):.0f} {self.unit}, n {len(self.values)}"
        return f"{self.name}: {which} {self.measured:.0f} {self.unit}, {worst}{end}"

    @property
    def missed(self) -> bool:
        return bool(self.bar) and self.measured >= self.bar

    def row(self) -> dict[str, object]:
        """Return the figure as one line of JSON."""
        return {
            "figure": self.name,
            "measured": round(self.measured, 1),
            "worst": round(max(self.values), 1),
            "n": len(self.values),
            "quantile": self.at,
            "bar": self.bar,
            "unit": self.unit,
        }


def build(folder: Path, items: int, classes: int) -> None:
    """Make a data folder with so many counterfactuals, in memory where there is some, and copy it to `folder`."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as place:
        store = Store(Path(place) / "data")
        names = [*LABELS, *(f"class {number}" for number in range(len(LABELS), classes))][:classes]
        fill(store, items, judge=_judge(store.root / FOLDER / "crowd", names))
        store.close()
        shutil.copytree(Path(place) / "data", folder)


def _judge(folder: Path, names: list[str]) -> Classifier:
    """Return the classifier of a new timm folder, one of the data folder's, which the server finds as it left it."""
    network = timm.create_model("resnet18", num_classes=len(names), channels=CHANNELS)
    folder.mkdir(parents=True)
    config = {"label_names": names}
    save_for_hf(network, str(folder), config, model_args={"channels": CHANNELS}, safe_serialization=True)
    return TimmClassifier.from_pretrained(str(folder), name=folder.name, device="cpu")


@contextmanager
def served(data: Path, python: str = sys.executable) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the application's address, once it answers, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "app.py", "--data", str(data), "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address, psutil.Process(server.pid)
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
            bar = 700 if kind == "switch to" else FIRST.get(name, 0)
            yield Figure(f"{kind} {name}", values, bar, 0.5)


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


def memory(server: psutil.Process) -> Iterator[Figure]:
    """Yield the server's resident set, in MB."""
    yield Figure("memory of the server", [server.memory_info().rss / 1e6], ROOMY, 0.5, "MB")


def main() -> int:
    """0 when every bar is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--presses", type=int, default=200)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--classes", type=int, default=8, help="labels of the classifier (default: 8)")
    which = "of the server: what only tests need takes memory, too (default: this one)"
    parser.add_argument("--python", default=sys.executable, help=which)
    parser.add_argument("--json", action="store_true", help="print one object a line")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        build(Path(place) / "data", options.items, options.classes)
        sys.stderr.write(f"{options.items} counterfactuals made in {time.perf_counter() - start:.0f} s\n")
        with served(Path(place) / "data", options.python) as (address, server), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(SLOW)
            for part in (
                switches(page, address, options.turns),
                keys(page, address, options.presses),
                paints(browser, address, options.turns),
                memory(server),
            ):
                for figure in part:
                    figures.append(figure)
                    sys.stdout.write(f"{json.dumps(figure.row()) if options.json else figure}\n")
                    sys.stdout.flush()
            browser.close()
    return int(any(figure.missed for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
