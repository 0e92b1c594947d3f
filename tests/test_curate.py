"""The Curate page as an analyst works with it: keys only, reloads, two windows, several names, thousands of pairs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from explorer.components.keymap import ACTIONS, KEY_NAME
from pipeline.store.store import Store
from pipeline.types import Decision
from tests.browser import SLOW, Faults
from tests.crowd import TAUS, fill

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SHOWN = "#deck article.item:not(.card)"
# Whatever the deck asks the server for from now on waits in the browser until it is released.
HOLD = """() => {
  const go = window.fetch;
  const released = new Promise((release) => { window.release = release; });
  window.held = 0;
  window.fetch = async (...request) => {
    if (String(request[0].url ?? request[0]).includes('/component_server')) { window.held += 1; await released; }
    return go(...request);
  };
}"""


@contextmanager
def curating(browser: Browser, address: str, query: str = "", name: str = "") -> Iterator[Page]:
    """The page in a browser of its own; whatever the browser complains about fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(SLOW)
    if name:
        context.add_init_script(f"localStorage.setItem('explorer.analyst', JSON.stringify('{name}'))")
    page, faults = context.new_page(), Faults(address)
    faults.watch(page)
    page.goto(f"{address}/curate{query}")
    page.wait_for_selector("#deck .stage > *")
    yield page
    context.close()
    assert faults.found == []


def shown(page: Page) -> str:
    """Key of the pair that is shown."""
    return page.locator(SHOWN).get_attribute("data-key") or ""


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def decide(page: Page, key: str) -> None:
    """A verdict by key, then on to the pair that comes next."""
    before = shown(page)
    page.keyboard.press(key)
    page.wait_for_function(
        "key => !document.querySelector(`#deck article.item[data-key='${key}']`)"
        " || document.querySelector('#deck .notice:not([hidden])')",
        arg=before,
    )


def saved(page: Page) -> None:
    page.wait_for_selector("#deck .saved:not(.busy):text-is('Saved')")


def count(page: Page, state: str, number: int) -> None:
    """Waits until the tab says so."""
    page.wait_for_selector(f"#deck [data-state={state}] b:text-is('{number}')")


def verdicts(store: Store) -> list[str]:
    return sorted(decision.verdict for decision in store.decisions().values())


def tab_to(page: Page, part: str) -> None:
    """Goes on with the Tab key to the first part that this selector fits."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("part => document.activeElement.matches(part)", part):
            return
    raise AssertionError(f"the Tab key does not lead to {part}")


def test_from_a_picture_to_a_loaded_export_with_the_keyboard_only(page: Page, store: Store, tmp_path: Path) -> None:
    import datasets

    fill(store, 40)
    open_pick_run_and_keep(page)
    (first,) = store.decisions()
    tab_to(page, ".masthead nav a[href$=curate]")
    press(page, "Enter")

    page.wait_for_selector(SHOWN)
    for number in range(15):
        decide(page, ("a", "r", "s", "2", "a")[number % 5])
    saved(page)
    assert verdicts(store) == ["keep"] * 7 + ["reject"] * 6 + ["unsure"] * 3
    here = shown(page)
    page.wait_for_url(f"**item={here}**")
    page.reload()
    page.wait_for_selector(f"{SHOWN}[data-key='{here}']")
    for _ in range(15):
        decide(page, "a")
    saved(page)
    count(page, "keep", 22)
    assert len(store.decisions()) == 31

    press(page, "u", "u", "Control+z", "u", "u")
    count(page, "keep", 17)
    page.reload()
    page.wait_for_selector(SHOWN)
    press(page, "Control+Shift+z")
    count(page, "keep", 18)
    assert {fault.reason for fault in store.decisions().values()} == {"", "artefact"}
    assert len(store.log()) == 37

    page.wait_for_selector("#counts .said:has-text('18 pairs now')")
    tab_to(page, "#freeze")
    press(page, "Enter")
    page.wait_for_selector("text=Frozen: counterfactuals v1 with 18 counterfactuals.")
    kept = {key for key, decision in store.decisions().items() if decision.verdict == "keep"}
    assert set(store.sets()[0].items) == kept
    assert first in kept
    page.wait_for_function("new URLSearchParams(location.search).get('set') === 'counterfactuals v1'")
    tab_to(page, "#export")
    press(page, "Enter")
    page.wait_for_selector("text=Exported to sets/counterfactuals-v001")
    folder = str(store.root / "sets" / "counterfactuals-v001")
    loaded = datasets.load_dataset("imagefolder", data_dir=folder, cache_dir=str(tmp_path / "cache"))["train"]
    assert set(loaded["key"]) == kept


def open_pick_run_and_keep(page: Page) -> None:
    """One edit of an example, in the words that are typed, kept."""
    tab_to(page, "#examples .thumb")
    press(page, "Enter")
    page.wait_for_function("(document.querySelector('#caption textarea')?.value || '').length > 5")
    caption = page.input_value("#caption textarea")
    tab_to(page, "#own textarea")
    page.keyboard.type(re.sub(r" (in|on) an? [\w ]+$", "", caption) + " in a desert")
    press(page, "Enter")
    page.wait_for_selector(".proposal")
    if page.locator(".tick[aria-checked=true]").count() == 0:
        page.keyboard.press("Shift+Tab")
        tab_to(page, ".tick")
        press(page, "Space")
        page.wait_for_selector(".tick[aria-checked=true]")
    tab_to(page, "#run")
    press(page, "Enter")
    page.wait_for_selector("#keep")
    tab_to(page, "#keep")
    press(page, "Enter")
    page.wait_for_selector(".verdict.keep")


def test_the_address_names_the_set(browser: Browser, address: str, store: Store) -> None:
    fill(store, 4)
    keys = [entry.key for entry in store.entries()]
    for number, key in enumerate(keys[:2]):
        store.decide(Decision(id=f"{number}", counterfactual=key, verdict="keep"))
        store.freeze("first")
    store.freeze("second")
    with curating(browser, address) as page:
        named = "name => new URLSearchParams(location.search).get('set') === name"
        page.wait_for_function(named, arg="second v1")
        page.click("#export-set input")
        page.click("ul[role=listbox] li:has-text('first v1')")
        page.wait_for_function(named, arg="first v1")
        page.reload()
        page.wait_for_function("document.querySelector('#export-set input')?.value === 'first v1'")
        page.goto(f"{address}/reinforce?set=first")
        page.wait_for_function("document.querySelector('#source input')?.value === 'first'")
        page.click("#source input")
        page.click("ul[role=listbox] li:has-text('second')")
        page.wait_for_function(named, arg="second")
        page.goto(f"{address}/insights")
        page.go_back()
        page.wait_for_function("document.querySelector('#source input')?.value === 'second'")
        page.go_back()
        page.wait_for_function("document.querySelector('#export-set input')?.value === 'first v1'")


def test_two_windows_on_one_set_lose_nothing_and_the_loser_is_told(
    browser: Browser, address: str, store: Store
) -> None:
    fill(store, 6)
    with curating(browser, address, name="Ada") as window, curating(browser, address, name="Ada") as other:
        first = shown(window)
        assert shown(other) == first
        decide(window, "a")
        saved(window)
        other.keyboard.press("r")
        other.wait_for_selector("#deck .notice:has-text(\"Ada decided 'keep'\")")
        assert verdicts(store) == ["keep"]
        other.wait_for_selector(f"{SHOWN}[data-key='{first}'][data-state=keep]")
        decide(other, "r")
        saved(other)
        decide(window, "a")
        saved(window)
        assert verdicts(store) == ["keep", "reject"]
        assert len(store.log()) == 3


def test_keys_rest_while_one_types_and_are_the_analysts_own(browser: Browser, address: str, store: Store) -> None:
    fill(store, 12)
    with curating(browser, address) as page:
        press(page, "/")
        page.keyboard.type("a dark desert")
        page.wait_for_selector("#deck .empty:has-text('Nothing matches')")
        press(page, "Escape")
        page.wait_for_selector(SHOWN)
        assert page.input_value("#deck [name=text]") == ""
        assert store.log() == ()

        press(page, "?")
        page.click("#deck [data-do=remap][data-action=keep]")
        press(page, "r")
        page.wait_for_selector("#deck [data-action=keep]:has-text('taken')")
        page.click("#deck [data-do=remap][data-action=keep]")
        press(page, "m", "Escape")
        page.wait_for_function("!location.search.includes('text=')")
        page.reload()
        page.wait_for_selector("#deck .verdicts [data-do=keep] kbd:text-is('M')")
        page.wait_for_selector(SHOWN)
        press(page, "a")
        decide(page, "m")
        saved(page)
        assert [decision.verdict for decision in store.log()] == ["keep"]


def test_a_key_that_is_pressed_before_the_next_pair_is_here_counts(
    browser: Browser, address: str, store: Store
) -> None:
    fill(store, 30)
    with curating(browser, address, "?state=all") as page:
        page.wait_for_selector("#deck .where:has-text('1 of 30')")
        page.evaluate(HOLD)
        press(page, *"j" * 10)
        page.wait_for_selector("#deck .where:has-text('6 of 30')")  # the six that came with the page
        page.wait_for_function("window.held > 0")
        page.evaluate("window.release()")
        page.wait_for_selector("#deck .where:has-text('11 of 30')")


def test_label_tag_and_other_strengths(browser: Browser, address: str, store: Store) -> None:
    fill(store, 3, taus=TAUS)
    with curating(browser, address) as page:
        first = shown(page)
        press(page, "l")
        page.keyboard.type("boat")
        press(page, "Enter")
        page.wait_for_selector("#deck .opinion:has-text('shows boat')")
        press(page, "t")
        page.keyboard.type("night")
        press(page, "Enter")
        page.wait_for_selector("#deck .opinion:has-text('#night')")
        decide(page, "a")
        saved(page)
        assert (store.decisions()[first].label, store.decisions()[first].tags) == ("boat", ("night",))
        here = shown(page)
        strengths = [f"{here.rsplit('-', 1)[0]}-{tau}" for tau in TAUS]
        step = -1 if here != strengths[0] else 1
        press(page, "[" if step < 0 else "]")
        other = strengths[strengths.index(here) + step]
        page.wait_for_selector(f"{SHOWN}[data-key='{other}']")
        decide(page, "a")
        saved(page)
        assert store.decisions()[other].verdict == "keep"
        assert here not in store.decisions()


def test_a_bulk_act_in_the_grid_is_one_entry_of_undo(browser: Browser, address: str, store: Store) -> None:
    fill(store, 40)
    with curating(browser, address, "?mode=grid&order=newest") as page:
        cards = page.locator("#deck .card")
        assert cards.count() == 24
        cards.nth(1).click()
        cards.nth(5).click(modifiers=["Shift"])
        assert page.locator("#deck .card.selected").count() == 5
        press(page, "r")
        saved(page)
        assert verdicts(store) == ["reject"] * 5
        press(page, "u")
        count(page, "reject", 0)
        saved(page)
        assert verdicts(store) == []
        press(page, "Control+Shift+z")
        count(page, "reject", 5)

        page.click("#deck [data-do=page-on]")
        page.wait_for_selector("#deck .where:has-text('of 35')")
        page.click("#deck [data-do=all]")
        press(page, "a")
        count(page, "keep", 35)
        count(page, "waiting", 0)
        press(page, "u")
        count(page, "keep", 0)
        assert verdicts(store) == ["reject"] * 5


def test_a_second_review_is_blind_and_a_conflict_is_settled(browser: Browser, address: str, store: Store) -> None:
    fill(store, 2)
    with curating(browser, address, name="Ada") as page:
        decide(page, "a")
        saved(page)
    with curating(browser, address, "?state=all", name="Bo") as page:
        page.check("#deck [name=blind]")
        page.wait_for_selector('#deck .opinion:has-text("Others\' verdicts show once yours is in.")')
        assert "Ada" not in page.inner_text("#deck .stage")
        page.keyboard.press("r")
        saved(page)
        page.keyboard.press("k")
        page.wait_for_selector("#deck .opinion:has-text('Ada: ✓ kept')")
        page.uncheck("#deck [name=blind]")
        count(page, "conflict", 1)
        page.wait_for_selector("#agreement td:has-text('Ada and Bo')")
        assert store.decisions() == {}
        page.click("#deck [data-do=state][data-state=conflict]")
        page.wait_for_selector(f"{SHOWN}[data-state=conflict]")
        page.keyboard.press("a")
        count(page, "conflict", 0)
        assert verdicts(store) == ["keep"]


def test_what_stands_in_captions_is_shown_as_text(browser: Browser, address: str, store: Store) -> None:
    fill(store, 1)
    with curating(browser, address) as page:
        press(page, "t")
        page.keyboard.type("<img src=x onerror=alert(1)>")
        press(page, "Enter")
        page.wait_for_selector("#deck .opinion:has-text('<img src=x')")
        assert page.locator("#deck .opinion img").count() == 0


@pytest.mark.parametrize("mode", ["focus", "grid"])
def test_the_browser_holds_a_window_only(browser: Browser, address: str, store: Store, mode: str) -> None:
    sizes = []
    for number in (60, 600):
        fill(store, number, seed=number)
        with curating(browser, address, f"?mode={mode}&state=all") as page:
            count(page, "all", len(Store(store.root).entries()))
            sizes.append(page.evaluate("document.querySelector('#deck').outerHTML.length"))
            assert page.locator("#deck .item").count() <= 24
    assert max(sizes) < 1.3 * min(sizes)


def test_keys_are_known_on_any_layout(browser: Browser) -> None:
    alt = {"altKey": True}
    pressed = {
        "Cyrillic": ({"key": "\u0444", "code": "KeyA"}, "a"),
        "Cyrillic, undo": ({"key": "\u044f", "code": "KeyZ", "ctrlKey": True}, "ctrl+z"),
        "a digit of AZERTY": ({"key": "&", "code": "Digit1"}, "1"),
        "an a of AZERTY": ({"key": "a", "code": "KeyQ"}, "a"),
        "a bracket by AltGr": ({"key": "[", "code": "Digit8", "ctrlKey": True, "modifierAltGraph": True, **alt}, "["),
        "a bracket by Option": ({"key": "]", "code": "Digit6", **alt}, "]"),
        "a bracket where none is typed": ({"key": "\u0445", "code": "BracketLeft"}, "["),
        "Option with a letter is another key": ({"key": "\u00e5", "code": "KeyA", **alt}, "alt+\u00e5"),
        "unknown": ({"key": "q", "code": "KeyQ"}, "q"),
    }
    page = browser.new_page()
    known = [key for action in ACTIONS for key in action.keys]
    name = "keyName(new KeyboardEvent('keydown', event), (key) => known.includes(key))"
    for what, (event, right) in pressed.items():
        assert page.evaluate(f"([event, known]) => {{ {KEY_NAME} return {name}; }}", [event, known]) == right, what
    page.close()
