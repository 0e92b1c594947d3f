"""How handlers are attached: two kinds of event, those that use the models and those that only read and write records.

All model events share one queue; records answer at once beside them. Handlers are module-level functions that take the
desk first; binding makes methods of them, because Gradio reads the type hints of methods but not of partials.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Protocol

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from explorer.alerts import guard_handler
from explorer.desk import Desk

# Gradio's <base> is the first page, so the path has to be said.
ADDRESS = """(name, nothing, now) => {
  const query = new URLSearchParams(location.search);
  now && now !== nothing ? query.set(name, now) : query.delete(name);
  history.replaceState(history.state, '', location.pathname + (query.size ? '?' + query : ''));
}"""
Parts = Sequence[Component | gr.Column]


class Listen(Protocol):
    """An event of a component, such as `button.click`."""

    def __call__(self, fn: Callable[..., object], inputs: object, outputs: object, **options: object) -> Dependency: ...


def bind(desk: Desk, handler: Callable[..., object]) -> Callable[..., object]:
    """Return the handler with its desk, and with pipeline errors shown on the page."""
    return MethodType(guard_handler(handler), desk)


def keep_in_address(choice: Component, name: str, nothing: str = "") -> Dependency:
    """Keep what is chosen in the page's address under this name; `nothing` is the choice not mentioned."""
    told = f"(now) => ({ADDRESS})({json.dumps(name)}, {json.dumps(nothing)}, now)"
    return choice.change(None, [choice], None, js=told, api_visibility="private", show_progress="hidden")


def use_models(
    event: Listen, desk: Desk, handler: Callable[..., object], inputs: Parts, outputs: Parts, js: str | None = None
) -> Dependency:
    """Attach a handler that uses the models; `js` may change the inputs before they are sent."""
    return event(
        bind(desk, handler),
        list(inputs),
        list(outputs),
        js=js,
        concurrency_id="models",
        concurrency_limit=1,
        api_visibility="private",
        show_progress="hidden",
    )


def use_records(
    event: Listen, desk: Desk, handler: Callable[..., object], inputs: Parts, outputs: Parts, js: str | None = None
) -> Dependency:
    """Attach a handler that touches records, and a model at most for a moment; quick repeats all count.

    It waits for no other event: whatever it asks of a model has its turn between two pieces of others' work.
    """
    return event(
        bind(desk, handler),
        list(inputs),
        list(outputs),
        js=js,
        concurrency_limit=None,
        trigger_mode="multiple",
        api_visibility="private",
        show_progress="hidden",
    )
