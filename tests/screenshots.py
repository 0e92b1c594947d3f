"""Take the pictures of README.md and docs/quickstart.md: `python -m tests.screenshots`.

The story that the quickstart tells, on a fresh data folder with the demo, in Chromium at 1440 pixels.
"""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

from explorer.desk import Desk
from explorer.pages.explore import starting
from pipeline.models.loader import load
from pipeline.profiles import load_profile
from pipeline.store.store import Store
from tests.browser import CHROMIUM, FLAGS, launched, open_example, visiting

if TYPE_CHECKING:
    from playwright.sync_api import Page

ASSETS = Path(__file__).resolve().parents[1] / "assets"
QUICKSTART = ASSETS / "docs" / "quickstart"
PATIENCE = 600_000  # milliseconds, for a machine that does other work
SLED = 9  # the example whose background the classifiers lean on


def main() -> None:
    """Write every picture anew."""
    QUICKSTART.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        models = load(load_profile("tiny"), "cpu")
        desk = Desk(models=models, store=Store(Path(folder) / "data"))
        starting.bring_demo(desk).result()
        desk.open()
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with launched(desk) as address, visiting(chromium, address) as page:
            page.set_default_timeout(PATIENCE)
            explore(page, address)
            curate(page, address)
            insights(page, address)
            reinforce(page, address)
        chromium.close()
        desk.close()


def explore(page: Page, address: str) -> None:
    """Suggest variations of an example, make the edits, and keep one."""
    page.goto(address)
    page.wait_for_selector("#examples .thumb")
    open_example(page, SLED)
    for factor in ("object", "domain"):
        page.locator(f"#factors label:has-text('{factor}') input").uncheck()
    page.click("#suggest")
    page.wait_for_selector("text=Tick what you want to try")
    shoot(page, QUICKSTART / "variations.png", 760)
    page.click("#run")
    page.wait_for_selector(".frame.pending")
    page.wait_for_selector(".frame.pending", state="detached")
    page.locator(".variation:has-text('background')").last.locator(".frame[data-do]").first.click()
    page.wait_for_selector("#shift .js-plotly-plot .scatterlayer")
    page.click("#keep")
    page.wait_for_selector(".verdict.keep")
    shoot(page, ASSETS / "screenshot.png", 1220)
    page.locator(".variation:has-text('background')").last.scroll_into_view_if_needed()
    shoot(page, QUICKSTART / "edits.png", 760, scrolled=True)


def curate(page: Page, address: str) -> None:
    """Open the pairs that wait."""
    page.goto(f"{address}/curate")
    page.wait_for_selector("#deck article img")
    shoot(page, QUICKSTART / "curate.png", 900)


def insights(page: Page, address: str) -> None:
    """Open the table of weaknesses."""
    page.goto(f"{address}/insights")
    page.wait_for_selector("table td")
    shoot(page, QUICKSTART / "insights.png", 900)


def reinforce(page: Page, address: str) -> None:
    """Reinforce with the demo's set, and look at what came of it."""
    page.goto(f"{address}/reinforce")
    page.wait_for_selector("#alpha-curve .js-plotly-plot .scatterlayer")
    shoot(page, QUICKSTART / "reinforce.png", 900)


def shoot(page: Page, path: Path, height: int, *, scrolled: bool = False) -> None:
    """Save what is seen in a window of that height, in pixels, with 256 colours."""
    page.set_viewport_size({"width": 1440, "height": height})
    if not scrolled:
        page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(800)  # until charts have followed the window and messages are gone
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
