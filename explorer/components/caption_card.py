"""What is known of a caption: what to look at before relying on it, who wrote it, and others to choose from.

Reports `act` with `do="caption"`, the chosen words as `text` and the caption that was shown as `seen`, or `do="looks"`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import gradio as gr

from explorer.components.markup import REPORT_CLICKS, Html, join, tag
from pipeline.types import Rewording


def caption_card() -> gr.HTML:
    """Return an empty card; `caption_markup` gives its values. Listen with `.act(...)`."""
    return gr.HTML(js_on_load=REPORT_CLICKS, apply_default_css=False, elem_id="caption-card", elem_classes="component")


def caption_markup(
    caption: str,
    notes: Sequence[str],
    written: Rewording | None,
    candidates: Sequence[str] = (),
    looks: Html | None = None,
) -> Html:
    """Return notes, the hand that wrote the caption if not the captioner's, and the candidates as buttons.

    `looks` shows where the words look; without it there is a link that asks for it.
    """
    if not caption:
        return join()
    parts = [tag("p", note, class_="reason") for note in notes]
    if written is not None:
        at = time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(written.time))
        parts.append(tag("p", f"Written by {written.analyst or 'hand'}, {at}.", class_="said"))
    if candidates:
        parts.append(tag("ul", *(tag("li", _choice(text, caption)) for text in candidates)))
    ask = tag("button", "Where does each word look?", type="button", class_="link", data_do="looks")
    parts.append(ask if looks is None else looks)
    return tag("div", *parts, class_="caption-card", data_seen=caption)


def _choice(text: str, caption: str) -> Html:
    pressed = "true" if text == caption else "false"
    chosen = {"data_do": "caption", "data_text": text, "data_seen": caption}
    return tag("button", text, type="button", aria_pressed=pressed, **chosen)
