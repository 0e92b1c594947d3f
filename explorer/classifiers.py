"""Choosing the classifier under study, and adding one of one's own that lies on the server or on a hub.

Nothing is uploaded: a classifier is named as a profile names it. The data folder keeps what was added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gradio as gr
from gradio.components import Component
from gradio.utils import get_upload_folder

from explorer.components.markup import Html
from explorer.components.status import said
from explorer.jobs import Desk
from explorer.wiring import works
from pipeline.errors import InputError, PipelineError
from pipeline.networks import pieces
from pipeline.promotion import add, forget

FORMS = (
    "A folder on the server, a name that timm lists, torchvision:NAME, hf-hub:OWNER/NAME@COMMIT, or "
    "ARCHITECTURE + WEIGHTS.safetensors + LABELS.txt. Safetensors only."
)


class Adding(NamedTuple):
    """The form."""

    text: gr.Textbox
    name: gr.Textbox
    button: gr.Button
    status: gr.HTML


def form() -> Adding:
    """Draws the form into the current column."""
    with gr.Accordion("Add a classifier", open=False, elem_classes="quiet"):
        text = gr.Textbox(label="Where it is", info=FORMS, elem_id="own-classifier", lines=2, max_length=1000)
        name = gr.Textbox(label="What to call it", elem_id="own-classifier-name", max_length=60)
        button = gr.Button("Add", elem_id="add-classifier", min_width=90)
        status = gr.HTML(value=Html(), apply_default_css=False, js_on_load=None, elem_classes="component")
    return Adding(text, name, button, status)


def wire(desk: Desk, parts: Adding, classifier: Component) -> None:
    """Attaches the form to the page's own choice of classifiers."""
    works(parts.button.click, desk, add_own, (parts.text, parts.name), (parts.status, classifier))


def choices(desk: Desk, value: str = "") -> object:
    """The dropdown with all there are by now; `value` chosen, also when only the command line knows it."""
    names = list(desk.models.profile.classifiers)
    if not value:
        return gr.update(choices=names)
    return gr.update(choices=list(dict.fromkeys((*names, value))), value=value)


def need(desk: Desk, name: str) -> str:
    """The name, when it is one of the choices; programs may not name what lies elsewhere on the server.

    Raises `InputError`.
    """
    names = list(desk.models.profile.classifiers)
    if name and name not in names:
        raise InputError(f"There is no classifier '{name[:60]}' here; choose one of {', '.join(names)}.")
    return name


def add_own(desk: Desk, text: str, name: str) -> Iterator[tuple[object, ...]]:
    """Opens what was named and keeps it as a choice; answers (status, classifier)."""
    text, name = text.strip(), name.strip() or _suggested(text)
    yield said(f"Opening '{name}'…"), gr.skip()
    try:
        labels = keep(desk, text, name)
    except PipelineError as error:
        yield said(str(error), "failed"), gr.skip()
        raise
    yield said(f"'{name}' with {labels} labels can be chosen now, here and on the other pages."), choices(desk)


def keep(desk: Desk, text: str, name: str) -> int:
    """Adds the classifier and opens it; how many labels it has. One that does not open is not kept."""
    if not text:
        raise InputError("No classifier was named; say where it is, such as a folder on the server.")
    if any(Path(piece).is_relative_to(get_upload_folder()) for piece in pieces(text)):
        raise InputError("Uploaded files are no classifiers; put its folder on the server and name it.")
    root = desk.store.root
    add(text, root, name, desk.models.profile)
    try:
        desk.models.adopt(root)
        return len(desk.ask(lambda models: models.classifier(name).labels))
    except BaseException:
        forget(root, name)
        desk.models.adopt(root)
        raise


def _suggested(text: str) -> str:
    """A name from the last part of what was given."""
    last = pieces(text)[0].partition("@")[0].rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return re.sub(r"[^\w.-]+", "-", last).strip("-.")[:60]
