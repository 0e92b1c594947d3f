"""The deck of the Curate page: pairs of original and edit with the sentence, the shift and a verdict.

Reports `act` with `do` = "keep", "reject" or "undo", the counterfactual's key and a fresh id, so that a click that is
sent twice counts once. Keys while a card has the focus: J and K next and previous, A keep, R reject, U undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlencode

import gradio as gr

from explorer.components.markup import Html, join, picture_url, tag
from explorer.components.tau_strip import sentence
from explorer.views import Card, diff, percent, points
from pipeline.types import Counterfactual

SIDE = 256

BEHAVIOUR = """
const report = (card, action) => {
  const id = Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join('');
  trigger('act', {do: action, key: card.dataset.key, id});
};
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-do]');
  if (button) report(button.closest('.card'), button.dataset.do);
});
const actions = {a: 'keep', r: 'reject', u: 'undo'};
element.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const cards = [...element.querySelectorAll('.card')];
  const here = cards.indexOf(event.target.closest('.card'));
  const key = event.key.toLowerCase();
  if (here < 0) return;
  if (key === 'j' || key === 'k') {
    event.preventDefault();
    cards[here + (key === 'j' ? 1 : -1)]?.focus();
  } else if (actions[key]) {
    event.preventDefault();
    report(cards[here], actions[key]);
    if (key !== 'u') cards[here + 1]?.focus();
  }
});
"""


def deck() -> gr.HTML:
    """An empty deck; `deck_markup` gives its values. Listen with `.act(...)`."""
    return gr.HTML(
        value=Html(), js_on_load=BEHAVIOUR, apply_default_css=False, elem_id="deck", elem_classes="component"
    )


def deck_markup(cards: Sequence[Card], empty: str) -> Html:
    """All cards, or what to do when there are none."""
    if not cards:
        return tag("p", empty, " ", tag("a", "Go to Explore", href="./"), class_="empty tall")
    return tag("div", *(_card(card) for card in cards), class_="deck")


def _card(card: Card) -> Html:
    item, frame = card.item, card.frame
    link = "./?" + urlencode({"photo": card.photo.key, "classifier": card.photo.classifier, "frame": item.key})
    pair = tag(
        "a",
        tag(
            "figure", tag("img", src=picture_url(card.photo.image, SIDE), alt=f"Original photo of a {card.photo.label}")
        ),
        tag("span", "→", class_="arrow", aria_hidden="true"),
        tag("figure", tag("img", src=_picture(item), alt=frame.title)),
        class_="pair",
        href=link,
        title="Open in Explore",
    )
    words = tag("p", sentence(diff(item.perturbation.caption, item.perturbation.edited_caption)), class_="words")
    return tag(
        "article",
        pair,
        tag("div", _said(card), words, _chips(card), _buttons(card), class_="body"),
        class_=f"card {frame.verdict}",
        data_key=item.key,
        tabindex=0,
        aria_label=f"{card.photo.label}: {item.perturbation.edited_caption}",
    )


def _said(card: Card) -> Html:
    before, after = card.photo.prediction.top(1)[0], card.item.prediction.top(1)[0]
    return tag(
        "p",
        tag("b", before[0]),
        f" {percent(before[1])} → ",
        tag("b", after[0]),
        f" {percent(after[1])}",
        class_="said",
    )


def _chips(card: Card) -> Html:
    frame = card.frame
    drop = "fall" if frame.change <= -0.005 else "rise" if frame.change >= 0.005 else ""
    parts = [
        tag("span", card.item.perturbation.factor, class_="factor"),
        tag("span", card.frame.strength, class_="chip"),
        tag("span", f"p({card.photo.label}) {points(frame.change)}", class_=f"chip {drop}"),
    ]
    if frame.flip:
        parts.append(tag("span", f"⇄ {frame.flip}", class_="chip flip"))
    parts += [tag("span", gate, class_="chip gate", title=" ".join(frame.reasons)) for gate in frame.gates]
    return tag("p", *parts, class_="chips")


def _buttons(card: Card) -> Html:
    verdict = card.frame.verdict
    if verdict:
        said = {"keep": "✓ kept", "reject": "✕ rejected"}.get(verdict, verdict)
        inside = join(tag("span", said, class_=f"verdict {verdict}"), _button("undo", "Undo", "U"))
    else:
        inside = join(_button("keep", "Keep", "A"), _button("reject", "Reject", "R"))
    return tag("div", inside, class_="buttons")


def _button(do: str, text: str, key: str) -> Html:
    return tag("button", text, tag("kbd", key), type="button", data_do=do)


@lru_cache(maxsize=512)
def _picture(item: Counterfactual) -> str:
    return picture_url(item.image, SIDE)
