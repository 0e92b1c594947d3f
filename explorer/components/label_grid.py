"""A grid of photos of which nobody has said what they show, answered with number keys, one after the other or at once.

The shell is drawn once; `label_grid.js` beside this file fills it through the component's server functions
(`explorer/pages/labels/labels.py`), which answer with the markup made here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gradio as gr

from explorer.components.dialog import dialog
from explorer.components.driven import driven
from explorer.components.markup import Html, join, tag
from explorer.views import percent

KEYS = "1 to 5: a label · arrows: another photo · L: any other label · A: all of these are right · N: next photos"


def label_grid(functions: Sequence[Callable[..., object]]) -> gr.HTML:
    """Return the shell with its behaviour; `functions` answer the browser."""
    return driven("label-grid", _shell(), ("label_grid.js",), functions)


def _shell() -> Html:
    buttons = (
        _button("all", "All of these are right", "a", "main"),
        _button("other", "Any other label", "l"),
        _button("next", "Next photos", "n"),
    )
    saved, left = tag("span", "", class_="saved", role="status"), tag("span", "", class_="left hint")
    analyst = tag("input", type="text", name="analyst", placeholder="Your name", aria_label="Your name", maxlength=40)
    who = tag("span", "", class_="signed-in hint")
    return tag(
        "div",
        tag("div", *buttons, left, tag("span", class_="spring"), analyst, who, saved, class_="buttons head"),
        tag("p", KEYS, class_="hint keys"),
        tag("div", class_="notice", role="alert", hidden=True),
        tag("div", class_="photos"),
        tag("p", class_="live", aria_live="polite"),
        dialog("Any other label", "What does it show?", "all-labels", 200),
        class_="labelling",
    )


def _button(do: str, text: str, key: str, class_: str = "") -> Html:
    return tag("button", text, tag("kbd", key.upper()), type="button", data_do=do, data_key=key, class_=class_ or None)


def photo_card(name: str, picture: str, top: Sequence[tuple[str, float]]) -> Html:
    """Return a photo with the classifier's most probable labels as answers; `picture` is its URL."""
    answers = (
        tag(
            "button",
            tag("kbd", str(place)),
            tag("span", label),
            tag("small", percent(share)),
            type="button",
            data_label=label,
        )
        for place, (label, share) in enumerate(top, start=1)
    )
    image = tag("img", src=picture, alt=f"Photo {name}", draggable="false")
    return join(image, tag("div", *answers, class_="answers"), tag("p", "", class_="answered"))


def nothing_left() -> Html:
    """Return what is shown when every photo has a label that somebody gave."""
    text = "Somebody has said of every photo what it shows. "
    return tag("p", text, tag("a", "Go to Insights", href="./insights"), class_="empty tall")
