"""The line below the masthead of four pages (not Labels, not Jobs): the demo, and which collections are in view.

Hiding deletes nothing: what is hidden is left out of every list, figure and set until it is shown again.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from explorer.components.collection_list import collection_list, collections_markup
from explorer.components.markup import Html, join, tag
from explorer.desk import Desk
from explorer.pages.explore.starting import judge_demo
from explorer.wiring import use_records
from pipeline.errors import DataError
from pipeline.store.schema import DEMO
from pipeline.tasks import demo
from pipeline.tasks.training import FOLDER


def notice(blocks: gr.Blocks, desk: Desk) -> None:
    """Draw the line into the current Blocks."""
    line = collection_list("demo")
    use_records(blocks.load, desk, show, (), (line,))
    use_records(line.act, desk, change, (), (line,))


def show(desk: Desk) -> Html:
    """Return what there is to say of the demo, and the list of collections where there is a choice."""
    listed = collections_markup(desk.store.collections())
    folder = desk.models.profile.demo
    if not folder:
        return listed
    if demo.is_shown(desk.store):
        text = (
            "This is a demo project: drawn scenes with their edits and decisions, so you can look around before adding "
            "your own data."
        )
        return join(_line(text, "away", "Hide the demo"), listed)
    if demo.found(desk.store):
        return join(_line("The demo project is hidden.", "bring", "Bring it back"), listed)
    if desk.store.studies():
        return listed
    return join(_line("Nothing is in this data folder yet.", "bring", "Show a demo project"), listed)


def change(desk: Desk, event: gr.EventData) -> Html:
    """Show or hide the demo or another collection, or rename one; the page is loaded anew where photos come or go."""
    asked = {name: str(event._data.get(name, ""))[:200] for name in ("do", "number", "name", "seen")}
    if asked["do"] in ("away", "bring"):
        _show_demo(desk, asked["do"] == "bring")
    elif asked["do"] == "rename":
        desk.store.rename_collection(_number(asked["number"]), asked["name"], expected=asked["seen"])
        return show(desk)
    elif asked["do"] in ("hide", "show"):
        _show_collection(desk, _number(asked["number"]), asked["do"] == "show")
    else:
        raise DataError("A collection can be shown, hidden or renamed; reload the page.")
    return join(tag("span", data_again=True), show(desk))


def _show_collection(desk: Desk, number: int, shown: bool) -> None:
    """Show or hide a collection; the demo with its run."""
    if any(known.number == number and known.kind == DEMO for known in desk.store.collections()):
        _show_demo(desk, shown)
    elif shown:
        desk.store.bring_collection_back(number)
    else:
        desk.store.put_collection_away(number)


def _show_demo(desk: Desk, shown: bool) -> None:
    if not (folder := desk.models.profile.demo):
        raise DataError("This profile has no demo project; choose an example or upload a picture.")
    if shown:
        demo.bring(desk.store, Path(folder))
        desk.worker.submit(lambda: judge_demo(desk, desk.models))
    else:
        demo.put_away(desk.store, desk.store.root / FOLDER)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _line(text: str, do: str, button: str) -> Html:
    action = tag("button", button, type="button", data_do=do, class_="link")
    return tag("p", text, " ", action, class_="demo", role="note")
