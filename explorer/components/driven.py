"""A component whose markup is drawn once and whose behaviour is a script beside it, which may ask the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import gradio as gr

from explorer.components.keymap import KEY_NAME
from explorer.components.markup import Html


def driven(name: str, shell: Html, script: str, functions: Sequence[Callable[..., object]]) -> gr.HTML:
    """Return the component `name` (its element id), driven by the file `script`; `functions` answer the browser."""
    return gr.HTML(
        value=shell,
        js_on_load=KEY_NAME + Path(__file__).with_name(script).read_text(encoding="utf-8"),
        server_functions=list(functions),
        apply_default_css=False,
        elem_id=name,
        elem_classes="component",
    )
