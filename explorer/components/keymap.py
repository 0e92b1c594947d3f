"""The keys of the Curate page: one table that the buttons, the sheet and the browser read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from explorer.components.markup import Html, tag


@dataclass(frozen=True, slots=True)
class Action:
    """What a key does; `keys` are the browser's names of the keys, "ctrl+" and "shift+" before them."""

    name: str
    keys: tuple[str, ...]
    says: str


REASONS = (
    ("not the factor", "the edit changes something else than its factor"),
    ("artefact", "the picture is broken"),
    ("label changed", "the picture no longer shows the label"),
    ("too weak", "one hardly sees the edit"),
    ("unsafe", "nobody should have to see it"),
    ("other", "for another reason"),
)
ACTIONS = (
    Action("next", ("j", "arrowright"), "next"),
    Action("previous", ("k", "arrowleft"), "previous"),
    Action("keep", ("a",), "keep"),
    Action("reject", ("r",), "reject"),
    Action("unsure", ("s",), "unsure"),
    *(Action(f"reason-{n}", (str(n),), f"reject: {name}") for n, (name, _) in enumerate(REASONS, start=1)),
    Action("label", ("l",), "say what it really shows"),
    Action("tag", ("t",), "tag"),
    Action("undo", ("u", "ctrl+z"), "undo"),
    Action("redo", ("ctrl+shift+z", "ctrl+y"), "redo"),
    Action("bolder", ("[",), "bolder edit (smaller tau)"),
    Action("milder", ("]",), "more careful edit (larger tau)"),
    Action("grid", ("g",), "grid, or one at a time"),
    Action("select", ("x",), "select in the grid"),
    Action("search", ("/",), "search"),
    Action("help", ("?",), "this sheet"),
)
KEY_NAME = Path(__file__).with_name("keys.js").read_text(encoding="utf-8")  # before the scripts that listen to keys
KEYS = {action.name: action.keys[0] for action in ACTIONS}


def keymap_json() -> str:
    """Return the keys of every action as JSON, for the browser."""
    return json.dumps({action.name: action.keys for action in ACTIONS})


def key_label(action: str) -> Html:
    """Return the key as written on a button; the browser replaces it when the analyst has chosen another one."""
    return tag("kbd", KEYS[action].upper(), data_key_of=action)


def keys_dialog() -> Html:
    """Return the dialog with all keys, in which they can be changed."""
    rows = (
        tag(
            "tr",
            tag("td", action.says),
            tag("td", tag("kbd", "", data_keys_of=action.name)),
            tag("td", tag("button", "change", type="button", class_="link", data_do="remap", data_action=action.name)),
        )
        for action in ACTIONS
    )
    return tag(
        "dialog",
        tag("h3", "Keys"),
        tag("p", "They rest while you type. Shift with a click selects a range in the grid.", class_="hint"),
        tag("table", tag("tbody", *rows)),
        tag(
            "div",
            tag("button", "As they were", type="button", data_do="unmap"),
            tag("button", "Close", type="button", data_do="close", class_="main"),
            class_="buttons",
        ),
        class_="sheet",
        aria_label="Keys",
    )
