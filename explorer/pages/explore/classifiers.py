"""Choosing the classifier under study, and adding one: by a published name, or from the list of a folder on the server.

Nothing that a visitor sends is a path. What has to be fetched from a hub is told with its size first, and then fetched
by a job (`pipeline/tasks/adding.py`); the data folder keeps what was added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gradio as gr
from gradio.components import Component

from explorer.components.markup import Html, tag
from explorer.components.status import status_line
from explorer.desk import Desk
from explorer.wiring import use_records
from pipeline.classifiers import model_folder
from pipeline.classifiers.promotion import LISTED, add_and_open, refuse_name
from pipeline.classifiers.sources import HUB, published_model
from pipeline.errors import InputError, PipelineError
from pipeline.runtime.hub import HubModel, here, offered
from pipeline.store.jobs import DONE
from pipeline.tasks.adding import FetchTask, format_size

FORMS = "A name that timm lists (resnet50.tv_in1k), torchvision:NAME, or OWNER/NAME@COMMIT of a hub. Safetensors only."
NONE = ("none of them", "")
SIGN_IN = "Classifiers are added by visitors who have signed in; start the server with accounts (--auth-file)."


class Adding(NamedTuple):
    """The form that adds a classifier."""

    text: gr.Textbox
    folder: gr.Dropdown
    name: gr.Textbox
    button: gr.Button
    fetch: gr.Button
    status: gr.HTML


def form() -> Adding:
    """Draw the form into the current column."""
    with gr.Accordion("Add a classifier", open=False, elem_classes="quiet"):
        text = gr.Textbox(label="Its published name", info=FORMS, elem_id="own-classifier", lines=2, max_length=200)
        folder = gr.Dropdown([NONE], value="", label="Or a folder on the server", elem_id="own-folder", visible=False)
        name = gr.Textbox(label="What to call it", elem_id="own-classifier-name", max_length=60)
        with gr.Row(elem_classes="actions"):
            button = gr.Button("Add", elem_id="add-classifier", min_width=90)
            fetch = gr.Button("Fetch it", variant="primary", elem_id="fetch-classifier", min_width=90, visible=False)
        status = gr.HTML(value=Html(), apply_default_css=False, js_on_load=None, elem_classes="component")
    return Adding(text, folder, name, button, fetch, status)


def wire(demo: gr.Blocks, desk: Desk, parts: Adding, classifier: Component) -> None:
    """Attach the form to the page's own choice of classifiers."""
    asked = (parts.text, parts.folder, parts.name)
    use_records(demo.load, desk, offers, (), (parts.folder,))
    use_records(parts.button.click, desk, add_own, asked, (parts.status, classifier, parts.fetch))
    use_records(parts.fetch.click, desk, fetch_own, (parts.text, parts.name), (parts.status, parts.fetch))


def offers(desk: Desk) -> object:
    """Return the list of folders, hidden while there is none."""
    found = list(model_folder.list_classifiers(_folder(desk)))
    return gr.update(choices=[NONE, *((name, name) for name in found)], value="", visible=bool(found))


def choices(desk: Desk, value: str = "") -> object:
    """Return the dropdown with all there are by now; `value` is chosen, even if only the command line knows it."""
    desk.models.adopt(desk.store.root)  # another process may have added one
    names = list(desk.models.profile.classifiers)
    if not value:
        return gr.update(choices=names)
    return gr.update(choices=list(dict.fromkeys((*names, value))), value=value)


def require_choice(desk: Desk, name: str) -> str:
    """Return the name, when it is one of the choices. Raises `InputError` for any other text."""
    names = list(desk.models.profile.classifiers)
    if name and name not in names:
        raise InputError(f"There is no classifier of this name here; choose one of {', '.join(names)}.")
    return name


def add_own(desk: Desk, text: str, folder: str | None, name: str, request: gr.Request) -> Iterator[tuple[object, ...]]:
    """Open what was named and keep it as a choice, or tell what would be fetched for it.

    Yields (status, classifier, button that fetches).
    """
    hidden = gr.update(visible=False)
    _refuse_strangers(desk, request)
    text, name = text.strip(), _name_for(desk, name, folder or text)
    yield status_line(f"Looking for '{name}'…"), gr.skip(), hidden
    try:
        model = None if folder else published_model(text)
        found = here(model) if model else None
        if model and not found:
            yield status_line(_describe_download(desk, *offered(model))), gr.skip(), gr.update(visible=True)
            return
        source = f"{HUB}{found}" if found else f"{LISTED}{folder}"
        if folder:
            model_folder.folder_of(_folder(desk), folder)
        desk.ask(lambda models: add_and_open(models, desk.store.root, source, name))
    except PipelineError as error:
        yield status_line(str(error), "failed"), gr.skip(), hidden
        raise
    yield status_line(f"'{name}' can be chosen now, here and on the other pages."), choices(desk), hidden


def fetch_own(desk: Desk, text: str, name: str, request: gr.Request) -> tuple[object, ...]:
    """Start the job that fetches what was named; return (status, button that fetches)."""
    _refuse_strangers(desk, request)
    name = _name_for(desk, name, text.strip())
    model, size = offered(published_model(text.strip()))
    _describe_download(desk, model, size)
    task = FetchTask(repo=model.repo, revision=model.revision, size=size, name=name)
    job = desk.fetcher.add(task, request.username or "")
    desk.open()
    told = "has been fetched already" if job.state == DONE else "started; it goes on when this page is closed"
    link = tag("a", "Jobs", href="./jobs")
    text_ = f"{job.title}: {told}. Reload the page when it has ended; follow it under "
    return tag("div", tag("p", text_, link, ".", role="status"), class_="status"), gr.update(visible=False)


def _refuse_strangers(desk: Desk, request: gr.Request) -> None:
    """Raise `InputError` for a visitor who has not signed in, where others than the server's owner can come."""
    if desk.shared and not request.username:
        raise InputError(SIGN_IN)


def _describe_download(desk: Desk, model: HubModel, size: int) -> str:
    """Say what would be fetched. Raises `InputError` when it is more than this server fetches."""
    if size > desk.fetch_limit:
        raise InputError(
            f"{model.repo} has {format_size(size)} to fetch, and this server fetches at most "
            f"{format_size(desk.fetch_limit)} at once; choose a smaller one, or have the server started with a larger "
            "--fetch-limit."
        )
    commit = model.revision[:12]
    return f"{model.repo} at {commit} is not on this computer: {format_size(size)} would be fetched, as a job."


def _folder(desk: Desk) -> Path:
    return desk.model_folder or desk.store.root / model_folder.FOLDER


def _name_for(desk: Desk, name: str, source: str) -> str:
    """Return the name that was given, or one from the last part of the source. Raises as `refuse_name`."""
    last = source.partition("@")[0].rstrip("/").rpartition("/")[2].rpartition(":")[2]
    name = name.strip() or re.sub(r"[^\w.-]+", "-", last).strip("-.")[:60]
    if not source:
        raise InputError("No classifier was named; give its published name, or choose a folder from the list.")
    refuse_name(name, desk.store.root, desk.models.profile)
    return name
