"""The deck's scripts that know no page, run in a browser: what waits to be sent, and what the address holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from explorer.components.driven import script_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# A queue that notes everything; the server answers with what `answers` holds in turn, an Error for being away.
WATCHED = """
  const heard = [], sent = [], done = [];
  let finished; const end = new Promise((go) => { finished = go; });
  const ask = async (name, data) => {
    sent.push([name, data]);
    const answer = answers.shift();
    if (answer === 'away') throw new Error(answer);
    return answer;
  };
  const {send, pending} = queueOf({ask, told: (...now) => heard.push(now), idle: finished, first: 1, longest: 2});
"""


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    """A page that holds nothing."""
    page = browser.new_page()
    yield page
    page.close()


def queued(page: Page, answers: list[object], sending: str) -> dict[str, list[object]]:
    """What was heard, sent and done when the queue is empty again."""
    told = "await end; return {heard, sent, done, pending: pending()};"
    return page.evaluate(f"async (answers) => {{ {script_of('deck_queue.js')} {WATCHED} {sending} {told} }}", answers)


def test_requests_go_one_after_the_other(blank: Page) -> None:
    sending = "for (const n of [1, 2]) send('decide', () => n, (answer) => done.push([n, answer.items]));"
    found = queued(blank, [{"items": ["a"]}, {"items": ["b"]}], sending)
    assert found["sent"] == [["decide", 1], ["decide", 2]]
    assert found["done"] == [[1, ["a"]], [2, ["b"]]]
    assert found["heard"] == [[1, False], [2, False], [1, False], [0, False]]
    assert found["pending"] == 0


def test_a_request_is_repeated_until_the_server_has_it_and_later_ones_wait(blank: Page) -> None:
    sending = """let tries = 0;
      send('decide', () => ({act: 'x', tries: tries += 1}), () => done.push('first'));
      send('redo', () => 0, () => done.push('second'));"""
    found = queued(blank, ["away", None, {}, {"items": []}, {"items": []}], sending)
    assert found["sent"] == [*(["decide", {"act": "x", "tries": n}] for n in (1, 2, 3, 4)), ["redo", 0]]
    assert found["done"] == ["first", "second"]
    assert found["heard"] == [[1, False], [2, False], *[[2, True]] * 3, [1, False], [0, False]]


def test_a_refusal_is_an_answer(blank: Page) -> None:
    found = queued(blank, [{"error": "no"}], "send('decide', () => 0, (answer) => done.push(answer.error));")
    assert found["done"] == ["no"]
    assert len(found["sent"]) == 1


def addressed(page: Page, query: str, change: str = "") -> dict[str, object]:
    """The view and mode of an address, and the address of what `change` makes of them."""
    body = f"""const query = new URLSearchParams(before), view = viewOf(query), found = {{...view}};
      let mode = modeOf(query), item; const was = mode; {change}
      return {{view: found, mode: was, query: queryOf(before, view, mode, item).toString()}};"""
    return page.evaluate(f"(before) => {{ {script_of('deck_address.js')} {body} }}", query)


def test_an_address_without_a_view_is_the_first_one(blank: Page) -> None:
    found = addressed(blank, "")
    view = {"order": "uncertain", "state": "waiting", "by_label": "", "by_factor": "", "text": "", "seed": 0}
    assert (found["view"], found["mode"]) == (view, "focus")
    assert found["query"] == "order=uncertain&state=waiting"


def test_a_view_comes_back_from_its_address(blank: Page) -> None:
    query = "order=random&state=keep&by_label=cat&by_factor=weather&text=a+b&seed=7&mode=grid&item=k"
    found = addressed(blank, query, "item = query.get('item');")
    assert found["view"] == {
        "order": "random", "state": "keep", "by_label": "cat", "by_factor": "weather", "text": "a b", "seed": 7,
    }  # fmt: skip
    assert found["mode"] == "grid"
    assert found["query"] == query


def test_what_no_longer_counts_leaves_the_address_and_other_names_stay(blank: Page) -> None:
    query = "order=random&seed=7&text=snow&mode=grid&item=k&__theme=dark"
    found = addressed(blank, query, "view.order = 'newest'; view.text = ''; mode = 'focus';")
    assert found["query"] == "order=newest&__theme=dark&state=waiting"
    assert addressed(blank, "seed=many&order=")["view"]["seed"] == 0  # type: ignore[index]
