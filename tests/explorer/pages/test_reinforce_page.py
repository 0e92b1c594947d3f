"""The Reinforce page as a person meets it: from kept counterfactuals to a classifier, alpha before test sets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.curation.selection import selection
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.reinforcement import reinforce
from pipeline.reinforcement.runs import read_run
from pipeline.reinforcement.saving import at_alpha, save
from pipeline.reinforcement.training_data import Example
from pipeline.store.store import Store
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import sample
from pipeline.types import Models, Reinforcement
from tests.browser import SLOW, stock

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def test_from_kept_counterfactuals_to_a_reinforced_classifier(page: Page, models: Models, store: Store) -> None:
    stock(models, store, sample(10, HELD_OUT_SEED + 41))
    page.click(".masthead >> text=Curate")
    page.click("[data-do=state][data-state=keep]")
    page.wait_for_selector("article[data-state=keep]")
    page.fill("#set-name input, #set-name textarea", "first")
    page.click("#freeze")
    page.wait_for_selector("text=Frozen: first v1 with 10 counterfactuals.")
    page.click("#export")
    page.wait_for_selector("text=Exported to sets/first-v001")
    assert len(list((store.root / "sets" / "first-v001").glob("[!o]*/*.png"))) == 10

    page.click(".verdicts [data-do=undo]")
    page.wait_for_selector(".saved:has-text('Saved')")
    page.wait_for_selector("article[data-state=waiting]")
    assert len(store.kept()) == 9

    page.click(".masthead >> text=Reinforce")
    page.wait_for_selector("#start")
    assert page.locator("#stop").count() == 0  # there is nothing to cancel yet
    page.click("#start")
    page.wait_for_selector("text=/Done: .*Saved as reinforced/")
    page.wait_for_selector(".facts tbody tr >> nth=1")
    page.wait_for_selector("#alpha-curve .js-plotly-plot .scatterlayer")
    page.wait_for_selector("text=Nobody has seen the test sets yet")
    page.wait_for_selector("#losses .js-plotly-plot .scatterlayer")
    (folder,) = (store.root / "reinforced").iterdir()
    assert models.classifier(models.admit(str(folder))).labels == models.classifier().labels
    page.reload()
    page.wait_for_selector("text=/Done: .*Saved as reinforced/")

    page.click("text=Change the recipe")
    page.click("#options label:has-text('last block')")
    page.click("#start")
    page.wait_for_selector("text=/Trained: the block .* and the head/")
    (deep,) = set((store.root / "reinforced").iterdir()) - {folder}
    assert read_run(deep).block


def slide(page: Page, alpha: str) -> None:
    """Moves the slider to another alpha."""
    page.fill("#alpha input[type=number]", alpha)
    page.keyboard.press("Tab")
    page.wait_for_selector(f"th:has-text('after (alpha {alpha})') >> nth=0")


def test_a_run_is_looked_at_compared_exported_and_promoted(
    page: Page, models: Models, store: Store, address: str
) -> None:
    stock(models, store, sample(20, HELD_OUT_SEED + 47))
    made = a_run(models, store)
    page.goto(f"{address}/reinforce")  # made by an earlier session: no job knows of it
    page.wait_for_selector("th:has-text('after (alpha 0.3)')")
    slide(page, "0")
    page.wait_for_selector("#kind label:has-text('newly broken (0)')")
    page.wait_for_selector("#kind label:has-text('fixed (0)')")
    page.wait_for_selector(".pairs img")
    assert re.fullmatch(r"says (\w+), is (?!\1)\w+", page.locator(".pairs .line").first.inner_text())
    slide(page, "0.9")
    page.click("#show-tests")
    page.wait_for_selector("#tests .facts tbody tr >> nth=1")
    rows = page.locator("#tests .facts > .scroll tbody tr td:nth-child(5) span").all()
    moved = [float(row.inner_text().split()[0].replace("−", "-").replace("±", "")) for row in rows]
    assert len(moved) == len(made.answers)
    assert moved == sorted(moved)
    page.set_viewport_size({"width": 340, "height": 844})  # a table with test sets has longer figures, and fits in 390
    page.wait_for_function("document.documentElement.scrollWidth <= 340")  # charts follow a moment later
    for box in page.locator(".facts.wide, .facts.wide > .scroll").all():
        assert box.evaluate("box => box.scrollWidth <= box.clientWidth")
    page.set_viewport_size({"width": 1440, "height": 900})
    ends = "[...document.querySelectorAll('#promote-name :is(input, textarea), #promote')]"
    page.wait_for_function(f"new Set({ends}.map(part => Math.round(part.getBoundingClientRect().bottom))).size === 1")

    page.fill("#promote-name input, #promote-name textarea", "repaired")
    page.click("#promote")
    page.wait_for_selector("text=Promoted at alpha 0.9: 'repaired'")
    assert read_run(store.root / "classifiers" / "repaired").alpha == 0.9
    page.click("#export-run")
    page.wait_for_selector("text=first-alpha0.9.zip holds the weights at alpha 0.9")
    page.wait_for_selector("#download-run:has-text('Download first-alpha0.9.zip')")
    slide(page, "0.3")
    page.click("#show-tests")
    page.wait_for_selector("#tests th:has-text('after (alpha 0.3)')")
    page.click("#export-run")
    page.wait_for_selector("#download-run:has-text('Download first.zip')")  # its own alpha: no copy is made
    with page.expect_download() as card:
        page.click("a[download='first.md']")
    text = card.value.path().read_text()
    assert "reinforced with counterfactual images" in text
    assert "alpha was changed from 0.9 to 0.3 after the test figures were seen" in text
    assert (store.root / "classifiers" / "repaired" / "model.safetensors").is_file()
    assert [path.name for path in (store.root / "reinforced").iterdir()] == ["first"]
    assert not list(store.root.glob(".alpha-*"))

    save(at_alpha(made, 1.0), models.classifier(), store.root / "reinforced" / "second")
    page.reload()
    page.wait_for_selector("#alpha-curve .js-plotly-plot .scatterlayer")
    for name in ("second", "first"):
        page.click("#compared input")
        page.click(f"ul[role=listbox] li:text-is('{name}')")
    page.wait_for_selector(".runs th:has-text('alpha 1')")
    page.wait_for_function("document.querySelectorAll('.runs thead th').length === 3")
    assert page.locator(".runs small:text-is('not shown yet')").count() == len(made.answers)
    page.click("#compare-tests")
    page.wait_for_selector(".runs small:text-is('not shown yet')", state="detached")
    assert [look.alpha for look in read_run(store.root / "reinforced" / "second").looks] == [1.0]


def test_the_slider_shows_no_test_set_until_alpha_is_fixed_and_a_later_change_is_noted(
    page: Page, browser: Browser, models: Models, store: Store, address: str
) -> None:
    """While alpha is chosen nothing of a test set reaches the browser; what was seen stays seen, for everybody."""
    stock(models, store, sample(20, HELD_OUT_SEED + 47))
    made = a_run(models, store)
    page.goto(f"{address}/reinforce")
    page.wait_for_selector("th:has-text('after (alpha 0.3)')")
    for alpha in ("0.5", "0.7", "0.6"):
        slide(page, alpha)
        assert not [split for split in made.answers if split in page.content()]
        page.wait_for_selector("text=Nobody has seen the test sets yet")
    assert read_run(store.root / "reinforced" / "first").looks == ()
    page.click("#show-tests")
    page.wait_for_selector("#tests th:has-text('after (alpha 0.6)')")
    assert page.locator("#tests li:has-text('first shown at alpha 0.6')").count() == 1
    assert all(split in page.inner_text("#tests") for split in made.answers)

    slide(page, "0.8")
    page.wait_for_selector("#show-tests:has-text('Change to this alpha')")
    page.wait_for_selector("text=A change to 0.8 is noted as made after they were seen")
    assert page.locator("#tests th:has-text('after (alpha 0.6)')").count() > 0

    other = browser.new_page()
    other.goto(f"{address}/reinforce")  # another analyst, who has not touched anything
    other.wait_for_selector("#tests th:has-text('after (alpha 0.6)')", timeout=SLOW)
    other.close()

    page.click("#show-tests")
    page.wait_for_selector("#tests th:has-text('after (alpha 0.8)')")
    page.reload()
    page.wait_for_selector("#tests th:has-text('after (alpha 0.8)')")
    changed = "alpha was changed from 0.6 to 0.8 after the test figures were seen"
    page.wait_for_selector(f"#tests li:has-text('{changed}')")
    page.fill("#promote-name input, #promote-name textarea", "flattered")
    page.click("#promote")
    page.wait_for_selector("text=Promoted at alpha 0.8: 'flattered'")
    kept = store.root / "classifiers" / "flattered"
    assert changed in (kept / "README.md").read_text()
    assert changed in (store.root / "reinforced" / "first" / "README.md").read_text()
    assert [look.alpha for look in read_run(kept).looks] == [0.6, 0.8]


def a_run(models: Models, store: Store) -> Reinforcement:
    """A run called "first" on what is kept."""
    pairs = store.pairs(list(selection(store).labels))
    items = [Example(photo.label, photo.image, edit.image, photo.key, key=edit.key) for photo, edit in pairs]
    recipe = Recipe(learning_rate=models.profile.settings.learning_rate, max_epochs=4)
    made = reinforce(models.classifier(), items, {}, recipe)
    save(made, models.classifier(), store.root / "reinforced" / "first")
    return made
