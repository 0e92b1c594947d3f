"""The Insights page as a person meets it: a figure leads to the edits behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.store.store import Store
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import sample
from pipeline.types import Models
from tests.browser import stock

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_insights_lead_from_a_figure_to_the_edits_behind_it(
    page: Page, models: Models, store: Store, address: str
) -> None:
    page.goto(f"{address}/insights")
    page.wait_for_selector(".empty:has-text('No edit of this classifier is here yet')")
    stock(models, store, sample(12, HELD_OUT_SEED + 43))
    page.reload()
    cell = page.locator(".heat button[data-factor=background]").first
    cell.wait_for()
    for chart in ("#flips", "#change"):
        page.wait_for_selector(f"{chart} .js-plotly-plot .scatterlayer")
    page.wait_for_selector("#histogram .js-plotly-plot .bars")
    page.wait_for_selector("text=A threshold is suggested once")
    page.wait_for_selector("text=No group of alike edits has 3 photos in either half yet")
    with page.expect_download() as saved:
        page.click("a[download='weakness-by-class-and-factor.csv']")
    assert saved.value.path().read_text().startswith("class,factor,n,")

    label = cell.get_attribute("data-label")
    cell.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f".heat button[data-label='{label}'][data-factor=background][aria-pressed=true]")
    page.wait_for_function("label => location.search.includes(`label=${label}&factor=background`)", arg=label)
    page.reload()
    page.wait_for_selector(f".heat button[data-label='{label}'][data-factor=background][aria-pressed=true]")

    page.set_viewport_size({"width": 1440, "height": 420})
    page.reload()
    page.wait_for_selector("#behind .pairs img")
    page.wait_for_selector("#histogram .js-plotly-plot .bars")
    assert page.evaluate("scrollY") == 0  # nobody asked for the edits yet
    page.locator(".heat button[data-factor=background]").first.dispatch_event("click")
    page.wait_for_function("document.querySelector('#behind').getBoundingClientRect().bottom <= innerHeight + 1")
    page.set_viewport_size({"width": 1440, "height": 900})

    page.click("#draw-map")
    page.wait_for_selector("#landscape .js-plotly-plot .scatterlayer")
    page.click(".pairs a >> nth=0")
    page.wait_for_selector(".frame.selected")
    assert "frame=true-" in page.url
