"""The deck of the Curate page: pairs one at a time or as a grid, decided with keys, saved before it says so.

The shell is drawn once; `deck.js` beside this file fills it through the component's server functions
(`explorer/pages/curate/triage.py`), which answer with the markup made here. Only a window of items is ever in the
browser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlencode

import gradio as gr

from explorer.components.dialog import dialog
from explorer.components.driven import driven
from explorer.components.keymap import REASONS, key_label, keymap_json, keys_dialog
from explorer.components.markup import Html, join, tag
from explorer.components.tau_strip import diff_markup
from explorer.views import diff, gate_name, percent, points
from pipeline.scores import SCORES
from pipeline.store.queue import Entry
from pipeline.types import Axis, Decision

STATES = (
    ("waiting", "To decide"),
    ("keep", "Kept"),
    ("reject", "Rejected"),
    ("unsure", "Unsure"),
    ("conflict", "Conflicts"),
    ("all", "All"),
)
SCRIPTS = ("deck_queue.js", "deck_address.js", "deck.js")
ORDERS = (
    ("uncertain", "most uncertain"),
    ("shift", "biggest shift"),
    ("score", "lowest score"),
    ("diverse", "most diverse"),
    ("random", "random"),
    ("newest", "newest"),
)
SAID = {"keep": "✓ kept", "reject": "✕ rejected", "unsure": "? unsure", "conflict": "⚡ conflict"}


def deck(functions: Sequence[Callable[..., object]]) -> gr.HTML:
    """Return the shell with its behaviour; `functions` answer the browser."""
    return driven("deck", _shell(), SCRIPTS, functions)


def _shell() -> Html:
    return tag(
        "div",
        _tabs(),
        _filters(),
        tag("div", class_="notice", role="alert", hidden=True),
        tag("div", class_="stage"),
        _verdicts(),
        _bulk(),
        tag("p", class_="live", aria_live="polite"),
        keys_dialog(),
        dialog("Label or tag", "", "deck-words", 80),
        class_="triage",
        data_keymap=keymap_json(),
        data_mode="focus",
    )


def _tabs() -> Html:
    tabs = (
        tag("button", title, " ", tag("b", ""), type="button", data_do="state", data_state=state, aria_pressed="false")
        for state, title in STATES
    )
    saved = tag("span", "", class_="saved", role="status")
    return tag("div", tag("div", *tabs, class_="tabs", role="group", aria_label="Which pairs"), saved, class_="head")


def _filters() -> Html:
    search = tag("input", type="search", name="text", placeholder="Search  /", aria_label="Search", maxlength=80)
    blind = tag("label", tag("input", type="checkbox", name="blind"), "blind", title="Hide what others decided")
    analyst = tag(
        "input", type="text", name="analyst", placeholder="Your name", aria_label="Your name", maxlength=40, size=10
    )
    return tag(
        "div",
        _choice("order", "Order", ORDERS),
        _choice("label", "Class", (("", "every class"),)),
        _choice("factor", "Factor", (("", "every factor"),)),
        search,
        tag("span", class_="spring"),
        analyst,
        tag("span", "", class_="signed-in hint"),
        blind,
        tag("button", "Grid", key_label("grid"), type="button", data_do="grid", class_="mode"),
        tag("button", "Keys", key_label("help"), type="button", data_do="help"),
        class_="filters",
    )


def _choice(name: str, title: str, options: Sequence[tuple[str, str]]) -> Html:
    return tag("select", *(tag("option", text, value=value) for value, text in options), name=name, aria_label=title)


def _verdicts() -> Html:
    main = (
        _button("keep", "Keep", "main keep"),
        _button("reject", "Reject", "main reject"),
        _button("unsure", "Unsure", "main unsure"),
        _button("previous", "Previous"),
        _button("next", "Next"),
        _button("undo", "Undo"),
        _button("redo", "Redo"),
        _button("label", "Label"),
        _button("tag", "Tag"),
    )
    reasons = (
        _button(f"reason-{number}", name, "reason", says) for number, (name, says) in enumerate(REASONS, start=1)
    )
    why = tag("div", tag("span", "Reject because", class_="hint"), *reasons, class_="buttons reasons")
    return tag("div", tag("div", *main, class_="buttons"), why, class_="verdicts")


def _button(action: str, text: str, class_: str = "", title: str = "") -> Html:
    return tag("button", text, key_label(action), type="button", data_do=action, class_=class_, title=title or None)


def _bulk() -> Html:
    return tag(
        "div",
        tag("button", "Select page", type="button", data_do="page-all"),
        tag("button", "Select all ", tag("b", "", class_="how-many"), type="button", data_do="all"),
        tag("button", "Select none", type="button", data_do="none"),
        tag("span", "", class_="chosen hint"),
        tag("span", class_="spring"),
        tag("button", "◂ Page", type="button", data_do="page-back", aria_label="Previous page"),
        tag("span", "", class_="where hint"),
        tag("button", "Page ▸", type="button", data_do="page-on", aria_label="Next page"),
        class_="buttons bulk",
    )


def empty_markup(state: str, filtered: bool) -> Html:
    """Return what to do when a view holds nothing."""
    if filtered:
        return tag(
            "p", "Nothing matches. Clear the search or choose every class and every factor.", class_="empty tall"
        )
    said = {
        "waiting": "Nothing waits for a decision. Edit a photo, and each variation's best comes here.",
        "keep": "Nothing is kept yet. Keep a pair here, or a frame on the Explore page.",
        "reject": "Nothing was rejected.",
        "unsure": "Nobody was unsure.",
        "conflict": "No conflicts: whoever judged the same pair agreed.",
        "all": "There are no counterfactuals yet. Edit a photo on the Explore page.",
    }
    return tag("p", said[state], " ", tag("a", "Go to Explore", href="./"), class_="empty tall")


def focus_markup(entry: Entry, axis: Axis, before: str, after: str) -> Html:
    """Return one pair, large; `before` and `after` are the pictures' URLs."""
    words = tag("p", diff_markup(diff(entry.caption, entry.edited_caption)), class_="words")
    link = tag("a", "Open in Explore", href=_link(entry), class_="link")
    return join(
        words,
        tag(
            "div",
            _figure(before, f"Original photo of a {entry.label}", f"{entry.label}: original"),
            _figure(after, _title(entry, axis), axis.label(entry.tau)),
            class_="pictures",
        ),
        tag("div", _prediction_change(entry), _chips(entry, axis), _gate_chips(entry), link, class_="under"),
    )


def _figure(url: str, alt: str, caption: str) -> Html:
    return tag("figure", tag("img", src=url, alt=alt, draggable="false"), tag("figcaption", caption))


def card_markup(entry: Entry, axis: Axis, before: str, after: str) -> Html:
    """Return one pair in the grid; `before` and `after` are the pictures' URLs."""
    pair = tag(
        "span",
        tag("img", src=before, alt=f"Original photo of a {entry.label}", draggable="false"),
        tag("span", "→", class_="arrow", aria_hidden="true"),
        tag("img", src=after, alt=_title(entry, axis), draggable="false"),
        class_="pair",
    )
    changed = [piece for piece in diff(entry.caption, entry.edited_caption) if piece.sign]
    return join(pair, tag("p", diff_markup(changed), class_="words"), _prediction_change(entry), _chips(entry, axis))


def _link(entry: Entry) -> str:
    return "./?" + urlencode({"photo": entry.photo, "classifier": entry.classifier, "frame": entry.key})


def _title(entry: Entry, axis: Axis) -> str:
    words = f"Edit at {axis.label(entry.tau)}: {entry.edited_caption}, p({entry.label}) {percent(entry.after)}"
    return words + (f", the prediction flips to {entry.now[0]}" if entry.flip else "")


def _prediction_change(entry: Entry) -> Html:
    (before, p), (after, q) = entry.was, entry.now
    return tag("p", tag("b", before), f" {percent(p)} → ", tag("b", after), f" {percent(q)}", class_="said")


def _chips(entry: Entry, axis: Axis) -> Html:
    drop = "fall" if entry.change <= -0.005 else "rise" if entry.change >= 0.005 else ""
    parts = [
        tag("span", entry.factor, class_="factor"),
        tag("span", axis.short(entry.tau), class_="chip"),
        tag("span", f"p({entry.label}) {points(entry.change)}", class_=f"chip {drop}"),
    ]
    if not entry.confirmed:
        title = "Nobody has said what the photo shows; until then the pair is in no set"
        parts.append(tag("a", f"{entry.label}?", href="./labels", class_="chip gate", title=title))
    if entry.flip:
        parts.append(tag("span", f"⇄ {entry.now[0]}", class_="chip flip", title="The prediction flips to this label"))
    return tag("p", *parts, class_="chips")


def _gate_chips(entry: Entry) -> Html:
    """Return the gates that were missed, and the scores."""
    shown = (
        tag("span", f"{SCORES[name].short} {value:.2f}", class_="chip", title=SCORES[name].name)
        for name, value in entry.scores.kept.items()
        if value is not None
    )
    if not entry.missed:
        gates = [tag("span", "✓ all gates", class_="light pass")]
    else:
        gates = [tag("span", "✕ ", gate_name(text), class_="chip gate", title=text) for text in entry.missed]
    return tag("p", *gates, *shown, class_="chips lights")


def opinion_markup(decisions: Sequence[Decision], own: Decision | None, hidden: bool) -> Html:
    """Return the analysts' decisions; `hidden` while the others' verdicts must not be seen yet."""
    parts = [_opinion(decision) for decision in decisions if not hidden]
    if own is not None and (own.label or own.tags) and own not in decisions:
        parts.append(_opinion(own))
    if hidden:
        parts.append(tag("span", "Others' verdicts show once yours is in.", class_="hint"))
    return tag("p", *parts, class_="opinion") if parts else Html()


def _opinion(decision: Decision) -> Html:
    who = f"{decision.analyst}: " if decision.analyst else ""
    more = [decision.reason] if decision.reason else []
    more += [f"shows {decision.label}"] if decision.label else []
    more += [f"#{name}" for name in decision.tags]
    text = who + SAID.get(decision.verdict, "") + (f" ({', '.join(more)})" if more else "")
    return tag("span", text, class_=f"verdict {decision.verdict}")
