"""Collections of photos, folded away behind what is in view: each can be renamed, hidden and shown again.

Reports `act` with `do="hide"`, `"show"` or `"rename"`, the collection's `number`, and for a new name `name` and `seen`.
A value with `[data-again]` has the page loaded anew, without the photo that it may have shown.
"""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from explorer.components.markup import Html, tag
from pipeline.store.collections import LONGEST, PhotoCollection

BEHAVIOUR = """
const report = (part) => {
  const name = part.closest('li')?.querySelector('input')?.value;
  trigger('act', {...part.dataset, ...(part.dataset.do === 'rename' && {name})});
};
element.addEventListener('click', (event) => {
  const part = event.target.closest('[data-do]');
  if (part && element.contains(part)) report(part);
});
element.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.isComposing || !event.target.matches('input')) return;
  report(event.target.closest('li').querySelector('[data-do=rename]'));
});
watch('value', () => {
  if (element.querySelector('[data-again]')) window.location.assign(window.location.pathname);
});
"""


def collection_list(elem_id: str) -> gr.HTML:
    """Return an empty list; `collections_markup` gives its values. Listen with `.act(...)`."""
    return gr.HTML(js_on_load=BEHAVIOUR, apply_default_css=False, elem_id=elem_id, elem_classes="component")


def collections_markup(collections: Sequence[PhotoCollection]) -> Html:
    """Return the list behind a sentence on what is in view; nothing where there is one collection, and it is shown."""
    if len(collections) < 2 and not any(collection.away for collection in collections):
        return Html()
    shown = [collection for collection in collections if not collection.away]
    names = ", ".join(f"{collection.name} ({_photos(collection.photos)})" for collection in shown) or "nothing"
    hidden = len(collections) - len(shown)
    more = f"; {hidden} hidden" if hidden else ""
    return tag(
        "details",
        tag("summary", f"In view: {names}{more}"),
        tag("ul", *map(_line, collections)),
        class_="collections",
    )


def _line(collection: PhotoCollection) -> Html:
    number, do = str(collection.number), "show" if collection.away else "hide"
    name = tag("input", value=collection.name, maxlength=LONGEST, aria_label="Name of the collection")
    rename = tag(
        "button",
        "Rename",
        type="button",
        data_do="rename",
        data_number=number,
        data_seen=collection.name,
        class_="link",
    )
    switch = tag("button", do.title(), type="button", data_do=do, data_number=number, class_="link")
    state = f"{_photos(collection.photos)}{', hidden' if collection.away else ''}"
    return tag("li", name, rename, tag("span", state, class_="hint"), switch)


def _photos(count: int) -> str:
    return f"{count} photo{'s' * (count != 1)}"
