"""How the selected frame was made: its parameters, and what makes it again, to be copied."""

from __future__ import annotations

import gradio as gr

from explorer.components.markup import Html, join, tag
from pipeline.tasks.provenance import Provenance

# The clipboard is closed to pages that came without TLS from another machine; there the text is selected instead.
BEHAVIOUR = """
element.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const text = element.querySelector('#' + button.dataset.copy);
  const said = element.querySelector('[role=status]');
  text.hidden = false;
  try {
    await navigator.clipboard.writeText(text.textContent);
    said.textContent = 'Copied.';
  } catch {
    getSelection().selectAllChildren(text);
    said.textContent = 'Selected; copy it with Ctrl+C.';
  }
});
"""


def provenance_card() -> gr.HTML:
    """Return an empty card; `provenance_markup` gives its values."""
    return gr.HTML(js_on_load=BEHAVIOUR, apply_default_css=False, elem_id="provenance", elem_classes="component")


def provenance_markup(told: Provenance | None) -> Html:
    """Return everything behind a fold; a sentence when nobody noted how the frame was made."""
    if told is None:
        body = tag(
            "p", "Made by an earlier version, which did not record its settings; it cannot be made again from here."
        )
    else:
        terms = (join(tag("dt", name), tag("dd", value)) for name, value in told.parameters)
        body = join(tag("dl", *terms), *_copies(told))
    return tag("details", tag("summary", "How this frame was made"), body, class_="provenance")


def _copies(told: Provenance) -> tuple[Html, ...]:
    buttons = (
        tag("button", "Copy as Python", type="button", class_="link", data_copy="as-python"),
        tag("button", "Copy as command line", type="button", class_="link", data_copy="as-command"),
        tag("span", role="status", class_="said"),
    )
    note = "Both read the photo from the data folder: EXPLORER_DATA, or data; a profile of one's own from this folder."
    return (
        tag("div", *buttons, class_="copies"),
        tag("pre", told.python, id="as-python", hidden=True, tabindex=0, aria_label="Python"),
        tag("pre", told.command, id="as-command", hidden=True, tabindex=0, aria_label="Command line"),
        tag("p", note, class_="said"),
    )
