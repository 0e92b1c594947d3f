"""A component whose markup is drawn once and whose behaviour are scripts beside it, which may ask the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import gradio as gr

from explorer.components.keymap import KEY_NAME
from explorer.components.markup import Html


def driven(name: str, shell: Html, scripts: Sequence[str], functions: Sequence[Callable[..., object]]) -> gr.HTML:
    """Return the component `name` (its element id), driven by these files in turn; `functions` answer the browser."""
    return gr.HTML(
        value=shell,
        js_on_load=KEY_NAME + "".join(map(script_of, scripts)),
        server_functions=list(functions),
        apply_default_css=False,
        elem_id=name,
        elem_classes="component",
    )


def script_of(name: str) -> str:
    """Return the script of this file name."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
