"""What a new data folder starts with: the profile's demo project, told on every page, and "start empty" beside it.

What the demo is and how it enters a data folder is `pipeline/tasks/demo.py`'s.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from pathlib import Path

import gradio as gr

from explorer.components.markup import REPORT_CLICKS, Html, tag
from explorer.desk import Desk
from explorer.wiring import use_records
from pipeline.errors import DataError, PipelineError
from pipeline.tasks import demo, studio
from pipeline.tasks.training import FOLDER
from pipeline.types import Models

log = logging.getLogger(__name__)
# The page as it is without the photo that it may have shown.
AGAIN = "() => { window.location.assign(window.location.pathname); }"


def bring_demo(desk: Desk) -> Future[None]:
    """Bring the demo, if the profile has one, into a data folder that nothing was kept in; its run when it can."""
    folder = desk.models.profile.demo
    if not folder or desk.store.studies():
        return desk.worker.submit(lambda: None)
    demo.bring(desk.store, Path(folder))
    return desk.worker.submit(lambda: _judge_demo(desk, desk.models))


def notice(blocks: gr.Blocks, desk: Desk) -> None:
    """Draw the line below the masthead into the current Blocks."""
    line = gr.HTML(js_on_load=REPORT_CLICKS, apply_default_css=False, elem_id="demo", elem_classes="component")
    use_records(blocks.load, desk, show, (), (line,))
    use_records(line.act, desk, change, (), (line,)).success(None, js=AGAIN, api_visibility="private")


def show(desk: Desk) -> Html:
    """Return what there is to say of the demo; nothing where there are photos and never was a demo."""
    folder = desk.models.profile.demo
    if not folder:
        return Html()
    if demo.is_shown(desk.store, Path(folder)):
        text = "This is a demo project: drawn scenes with their edits and decisions, so that no page is bare."
        return _line(text, "away", "Start empty")
    if demo.photo_keys(Path(folder)) & desk.store.put_away_photos():
        return _line("The demo project is put away.", "bring", "Bring it back")
    if desk.store.studies():
        return Html()
    return _line("Nothing is in this data folder yet.", "bring", "Show a demo project")


def change(desk: Desk, event: gr.EventData) -> Html:
    """Put the demo away, or bring it (back)."""
    if not (folder := desk.models.profile.demo):
        raise DataError("This profile has no demo project; choose an example or upload a picture.")
    if event._data.get("do") == "away":
        demo.put_away(desk.store, desk.store.root / FOLDER, Path(folder))
    else:
        demo.bring(desk.store, Path(folder))
        desk.worker.submit(lambda: _judge_demo(desk, desk.models))
    return show(desk)


def _judge_demo(desk: Desk, models: Models) -> None:
    """Have the classifiers that are here judge what was brought, and bring the demo's run.

    Without its run the demo is a little smaller; that stops nobody.
    """
    studio.refresh_classifiers(models, desk.store)
    try:
        demo.bring_run(models, desk.store.root / FOLDER, Path(models.profile.demo))
    except PipelineError as error:
        log.warning("the demo's run is left out: %s", error.in_full())


def _line(text: str, do: str, button: str) -> Html:
    action = tag("button", button, type="button", data_do=do, class_="link")
    return tag("p", text, " ", action, class_="demo", role="note")
