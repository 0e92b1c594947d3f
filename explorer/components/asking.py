"""What a picture shows, asked while only a classifier has guessed it: five answers by button or key, or another label.

Reports `act` with `do="say"` and the chosen `label`.
"""

from __future__ import annotations

import gradio as gr

from explorer.components.keymap import KEY_NAME
from explorer.components.markup import REPORT_CLICKS, Html, join, tag
from explorer.views import percent
from pipeline.curation.selection import LeftOut
from pipeline.types import Photo

HINT = (
    "Only the classifier has guessed so far. Variations and edits can be made, but no gate protects what the picture "
    "shows, and it counts in no figure, set, training or export until somebody says it."
)
# Number keys answer while nobody types; "another label" leads to the list of all.
ANSWER = """
const answered = (event) => {
  if (!element.isConnected) { document.removeEventListener('keydown', answered); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest?.('input:not([type=checkbox]):not([type=radio]), textarea, select')) return;
  const answer = (key) => element.querySelector(`[data-key="${CSS.escape(key)}"]`);
  const button = answer(keyName(event, answer));
  if (button) { event.preventDefault(); button.click(); }
};
document.addEventListener('keydown', answered);
element.addEventListener('click', (event) => {
  if (event.target.closest('[data-do=none]')) document.querySelector('#label input')?.focus();
});
"""


def label_question() -> gr.HTML:
    """Return an empty card; `question_markup` gives its values. Listen with `.act(...)`."""
    return gr.HTML(
        js_on_load=REPORT_CLICKS + KEY_NAME + ANSWER,
        apply_default_css=False,
        elem_id="label-question",
        elem_classes="component",
    )


def question_markup(photo: Photo) -> Html:
    """Return the question with the classifier's five most probable labels; nothing once somebody has said it."""
    if photo.confirmed:
        return Html()
    answers = (_answer(place, label, share) for place, (label, share) in enumerate(photo.prediction.top(), start=1))
    other = tag("button", "Another label…", type="button", data_do="none", class_="link")
    return tag(
        "div",
        tag("p", tag("b", "What does the picture show?"), class_="said"),
        tag("div", *answers, other, class_="buttons"),
        tag("p", HINT, class_="hint"),
        class_="question",
        role="group",
        aria_label="What does the picture show?",
    )


def _answer(place: int, label: str, share: float) -> Html:
    parts = (label, " ", tag("small", percent(share)), tag("kbd", str(place)))
    return tag("button", *parts, type="button", data_do="say", data_label=label, data_key=str(place))


def guesses_markup(count: int) -> Html:
    """Return a note on so many photos that count nowhere, with the way to mend it; nothing for none."""
    if not count:
        return Html()
    what = "1 photo counts" if count == 1 else f"{count} photos count"
    link = tag("a", "Say what they show", href="./labels")
    return tag(
        "p", f"{what} nowhere here, because nobody has said what the picture shows. ", link, ".", class_="guesses"
    )


def left_out_markup(left_out: LeftOut) -> Html:
    """Return a note on every kind of photo that counts nowhere here; nothing for none."""
    count = len(left_out.foreign)
    if not count:
        return guesses_markup(left_out.guesses)
    what = "1 photo counts" if count == 1 else f"{count} photos count"
    text = f"{what} nowhere here, because this classifier has no label for what the picture shows: {left_out.unknown}."
    return join(guesses_markup(left_out.guesses), tag("p", text, class_="guesses"))
