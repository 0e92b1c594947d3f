"""Shelves of small pictures to click: the examples, and the photos studied so far.

Reports `act` with `do="open"` and `data-example` (a file's place in the folder) or `data-photo` (a photo's key).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import gradio as gr

from explorer.components.markup import REPORT_CLICKS, Html, picture_url, tag
from pipeline.images import fit, open_image
from pipeline.importing.folders import LabelledImage
from pipeline.store.store import Store
from pipeline.store.study_reading import StudySummary
from pipeline.types import CONFIRMED

THUMB = 128  # pixels
LIMIT = 40  # photos in the history

# Keeps the address in step with what is shown: a reload comes back to it, the back button to what was before.
# What `data-keep` names is another component's and stays in the address.
FOLLOW = """
const placed = () => {
  const {place, keep} = element.querySelector('[data-place]')?.dataset ?? {};
  const kept = keep && new URLSearchParams(window.location.search).get(keep);
  return kept ? `${place}&${new URLSearchParams([[keep, kept]])}` : place;
};
watch('value', () => {
  const place = placed();
  if (place === undefined || place === window.location.search) return;
  history.pushState(history.state, '', window.location.pathname + place);  // the page has a <base> of its own
});
window.addEventListener('popstate', () => {
  if (placed() === undefined) return;
  const asked = new URLSearchParams(window.location.search);
  if (asked.get('photo')) trigger('act', {do: 'open', ...Object.fromEntries(asked)});
  else window.location.reload();
});
"""


def shelf(elem_id: str, value: Html) -> gr.HTML:
    """Return a shelf with these pictures. Listen with `.act(...)`."""
    return gr.HTML(
        value=value,
        js_on_load=REPORT_CLICKS + FOLLOW,
        apply_default_css=False,
        elem_id=elem_id,
        elem_classes="component",
    )


def examples_markup(examples: Sequence[LabelledImage]) -> Html:
    """Return the profile's examples as picture buttons."""
    if not examples:
        return tag("p", "This profile brings no examples; upload a picture below.", class_="empty")
    return tag("div", *(_example(index, example) for index, example in enumerate(examples)), class_="shelf")


def _example(index: int, example: LabelledImage) -> Html:
    name = f"Example: {example.label or example.path.stem}"
    return tag(
        "button",
        tag("img", src=_thumb(example.path), alt=name),
        tag("span", example.label),
        type="button",
        class_="thumb",
        data_do="open",
        data_example=index,
    )


def history_markup(store: Store, summaries: Sequence[StudySummary], current: str, place: str) -> Html:
    """Return photos studied before, newest first; `place` is the query that leads back to what is shown."""
    if not summaries:
        return tag("p", "Photos you open are kept here.", class_="empty", data_place=place)
    rows = (_study(store, summary, summary.key == current) for summary in summaries[:LIMIT])
    return tag("div", *rows, class_="history", data_place=place)


def _study(store: Store, summary: StudySummary, current: bool) -> Html:
    count = summary.counterfactuals
    edits = f"{count} edit{'s' * (count > 1)}" if count else "no edits yet"
    text = tag(
        "span",
        tag("b", summary.label if summary.label_source in CONFIRMED else f"{summary.label}?"),
        tag("small", edits),
    )
    return tag(
        "button",
        tag("img", src=_thumb(store.file(summary.key)), alt=""),
        text,
        type="button",
        data_do="open",
        data_photo=summary.key,
        aria_current="true" if current else None,
        title=summary.caption or summary.name or None,
    )


@lru_cache(maxsize=512)
def _thumb(path: Path) -> str:
    return picture_url(fit(open_image(path), THUMB), THUMB)
