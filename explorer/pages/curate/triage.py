"""What the deck of the Curate page asks the server: windows of pairs, decisions, undo and redo, other tau.

These functions bypass the event queue, so a decision is answered as soon as it is on the disk. Each takes what the
browser sent, which is not to be trusted, and answers with plain values; a pipeline error becomes an answer, too. Whose
decision it is the server says where visitors sign in, whatever name the browser sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypedDict

import gradio as gr

from explorer import identity
from explorer.alerts import guard_server_function
from explorer.components.deck import card_markup, empty_markup, focus_markup, opinion_markup
from explorer.components.keymap import REASONS
from explorer.components.markup import picture_url
from explorer.desk import Desk
from pipeline.curation.catalogue import STATES, WAITING, Catalogue, View
from pipeline.errors import ConflictError, DataError
from pipeline.images import open_image
from pipeline.store import decisions
from pipeline.store.queue import Entry
from pipeline.store.store import Store
from pipeline.types import Decision

LARGE, SMALL = 512, 192  # pixels a side, at most
MOST = 48  # pairs that one window holds
Message = Mapping[str, object]
ServerFunction = Callable[[Message, gr.Request], object]
"""A function that the browser may call."""


class State(TypedDict):
    """What was decided about a pair, as the browser needs it."""

    key: str
    state: str
    expected: int  # number of the newest entry about it in the log, by whomever; 0 for none
    opinion: str


class DeckItem(State):
    """A pair as the browser shows it."""

    markup: str
    title: str


class DeckAnswer(TypedDict, total=False):
    """What goes back; `error` alone, or with the items as they are now."""

    error: str
    conflict: bool
    items: Sequence[State]
    start: int
    total: int
    empty: str
    counts: dict[str, int]
    classes: tuple[str, ...]
    factors: tuple[str, ...]
    tags: tuple[str, ...]
    undo: int
    redo: int
    analyst: str  # who signed in; "" where nobody does


@dataclass(slots=True)
class Triage:
    """The server's side of the deck."""

    desk: Desk

    @property
    def catalogue(self) -> Catalogue:
        """Return what is known of the store's counterfactuals."""
        return self.desk.catalogue

    def functions(self) -> list[ServerFunction]:
        """Return what the browser may call."""
        asked = (self.look, self.tally, self.strengths, self.decide, self.take_back, self.do_again)
        return [server_function(function) for function in asked]

    def look(self, sent: Message) -> DeckAnswer:
        """Return a window of pairs: `after`, `before` or `at` an item; `large` for one at a time."""
        self.catalogue.refresh()
        view, count = view_of(sent), min(MOST, max(1, _number(sent, "count")))
        places = {name: text_of(sent, name) for name in ("after", "before", "at")}
        window = self.catalogue.window(view, count, **places)
        items = [self._item(entry, view, large=bool(sent.get("large"))) for entry in window.entries]
        filtered = bool(view.label or view.factor or view.text)
        return DeckAnswer(items=items, start=window.start, total=window.total, empty=empty_markup(view.state, filtered))

    def tally(self, sent: Message) -> DeckAnswer:
        """Return how many pairs each tab holds, what can be filtered by, what can be undone."""
        self.catalogue.refresh()
        view, log = view_of(sent), self.catalogue.log
        done, undone = decisions.stacks(log, view.analyst)
        return DeckAnswer(
            counts=self.catalogue.counts(view),
            classes=self.catalogue.classes(),
            factors=self.catalogue.factors(),
            tags=tuple(sorted({name for decision in log for name in decision.tags})),
            undo=len(done),
            redo=len(undone),
            analyst=text_of(sent, "signed_in"),
        )

    def strengths(self, sent: Message) -> DeckAnswer:
        """Return the same variation at every tau."""
        self.catalogue.refresh()
        view = view_of(sent)
        return DeckAnswer(
            items=[self._item(entry, view, large=True) for entry in self.catalogue.strengths(text_of(sent, "key"))]
        )

    def decide(self, sent: Message) -> DeckAnswer:
        """Save a verdict on the pairs sent, or with `all` on the whole view; all or none, undone together."""
        self.catalogue.refresh()
        view = view_of(sent)
        expected = None if sent.get("all") else _expected(sent)
        keys = [entry.key for entry in self.catalogue.matching(view)] if expected is None else list(expected)
        made = [self._decision(key, place, sent, view) for place, key in enumerate(keys)]
        try:
            self.desk.store.decide_all(made, expected)
        except ConflictError as error:
            self.catalogue.refresh()
            return DeckAnswer(error=str(error), conflict=True, items=self._states(keys, view))
        self.catalogue.refresh()
        return DeckAnswer(items=self._states(keys[:MOST], view))

    def take_back(self, sent: Message) -> DeckAnswer:
        """Undo the analyst's last act."""
        return self._step(sent, self.desk.store.undo)

    def do_again(self, sent: Message) -> DeckAnswer:
        """Redo what was undone last."""
        return self._step(sent, self.desk.store.redo)

    def _step(self, sent: Message, step: Callable[[str, str], tuple[Decision, ...]]) -> DeckAnswer:
        view = view_of(sent)
        made = step(view.analyst, _act_id(sent))
        self.catalogue.refresh()
        return DeckAnswer(items=self._states([decision.counterfactual for decision in made[:MOST]], view))

    def _decision(self, key: str, place: int, sent: Message, view: View) -> Decision:
        """Return the analyst's decision with what was sent changed; on a conflict it settles it for everybody."""
        act, settle = _act_id(sent), "verdict" in sent and not view.blind
        fresh = decisions.following(self.catalogue.views(key), key, view.analyst, settle=settle)
        fresh = replace(fresh, id=f"{act}-{place}", act=act)
        if "verdict" in sent:
            fresh = replace(fresh, verdict=text_of(sent, "verdict"), reason=_reason(sent))
        if "label" in sent:
            label = text_of(sent, "label", 80)
            fresh = replace(fresh, label="" if label == self.catalogue.entry(key).label else label)
        if name := text_of(sent, "tag", 40):
            tags = [tag for tag in fresh.tags if tag != name] if name in fresh.tags else [*fresh.tags, name]
            fresh = replace(fresh, tags=tuple(tags))
        return fresh

    def _states(self, keys: Sequence[str], view: View) -> list[State]:
        return [self._state(key, view) for key in keys]

    def _state(self, key: str, view: View) -> State:
        own = self.catalogue.own(key, view.analyst)
        said = self.catalogue.said(key)
        hidden = view.blind and not (own and own.verdict) and any(decision.analyst != view.analyst for decision in said)
        return State(
            key=key,
            state=self.catalogue.state(key, view),
            expected=self.catalogue.newest(key),
            opinion=opinion_markup(said, own, hidden),
        )

    def _item(self, entry: Entry, view: View, *, large: bool) -> DeckItem:
        side, markup = (LARGE, focus_markup) if large else (SMALL, card_markup)
        before, after = (_picture(self.desk.store, key, side) for key in (entry.photo, entry.key))
        shown = markup(entry, self.desk.models.axis, before, after)
        title = f"{entry.label}, {entry.factor}: {entry.edited_caption}"
        return DeckItem(**self._state(entry.key, view), markup=shown, title=title)


def view_of(sent: Message) -> View:
    """Return the view that the browser asks for. Raises `DataError` for an unknown state or order."""
    state = text_of(sent, "state") or WAITING
    if state not in STATES:
        raise DataError(f"There are no pairs of the kind '{state}'; choose one of: {', '.join(STATES)}.")
    return View(
        order=text_of(sent, "order") or "uncertain",
        seed=_number(sent, "seed"),
        state=state,
        label=text_of(sent, "by_label"),
        factor=text_of(sent, "by_factor"),
        text=text_of(sent, "text", 80).strip(),
        analyst=text_of(sent, "analyst"),
        blind=bool(sent.get("blind")),
    )


@lru_cache(maxsize=2048)
def _picture(store: Store, key: str, side: int) -> str:
    return picture_url(open_image(store.file(key)), side)


def server_function(function: Callable[[Message], Mapping[str, object]]) -> ServerFunction:
    """Return a plain function, on which Gradio notes that the browser may call it; it adds who asks."""

    def asked(sent: Message, request: gr.Request) -> object:
        def work(sent: Message) -> Mapping[str, object]:
            who = identity.analyst(request, text_of(sent, "analyst"))
            return function({**sent, "analyst": who, "signed_in": identity.signed_in(request)})

        return guard_server_function(work)(sent if isinstance(sent, Mapping) else {})

    asked.__name__ = function.__name__
    return asked


def text_of(sent: Message, name: str, most: int = 200) -> str:
    """Return a text that the browser sent, "" for none. Raises `DataError` for another kind or an overlong one."""
    value = sent.get(name, "")
    if not isinstance(value, str) or len(value) > most:
        raise DataError(f"'{name}' is no text of at most {most} characters; shorten it.")
    return value


def _number(sent: Message, name: str) -> int:
    value = sent.get(name, 0)
    return value if isinstance(value, int) and abs(value) < 2**31 else 0


def _act_id(sent: Message) -> str:
    if not (act := text_of(sent, "act", 64)):
        raise DataError("The decision has no id; reload the page.")
    return act


def _reason(sent: Message) -> str:
    reason = text_of(sent, "reason")
    if reason and reason not in {name for name, _ in REASONS}:
        raise DataError(f"The reason '{reason}' is unknown; choose one of: {', '.join(name for name, _ in REASONS)}.")
    return reason


def _expected(sent: Message) -> dict[str, int]:
    """Return by key the number of the newest decision that the browser knows of."""
    items = sent.get("items")
    if not isinstance(items, list) or len(items) > MOST:
        raise DataError(f"At most {MOST} pairs can be decided upon one by one; select all instead.")
    return {str(item.get("key"))[:200]: _number(item, "expected") for item in items if isinstance(item, dict)}
