"""What the page says when something goes wrong: the only place where a `PipelineError` becomes a message.

Of a fault that nobody foresaw the log keeps the trace; the visitor is told that there was one, and no detail.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar, cast

import gradio as gr

from explorer.arguments import arguments_of
from pipeline.errors import Cancelled, InputError, PipelineError

log = logging.getLogger(__name__)
UNFORESEEN = "This request could not be worked with, for no reason that was foreseen; the server's log has the details."
Inputs = ParamSpec("Inputs")
Answer = TypeVar("Answer")
Sent = TypeVar("Sent")
Given = TypeVar("Given")


def guard_handler(handler: Callable[Inputs, Answer]) -> Callable[Inputs, Answer]:
    """Return the handler with its arguments checked and every fault turned into a message; works on generators too."""
    check = arguments_of(handler)
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def stream(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Iterator[object]:
            try:
                check(args, kwargs)
                yield from handler(*args, **kwargs)
            except Exception as error:
                raise message(error) from error

        return cast("Callable[Inputs, Answer]", stream)

    @functools.wraps(handler)
    def call(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Answer:
        try:
            check(args, kwargs)
            return handler(*args, **kwargs)
        except Exception as error:
            raise message(error) from error

    return call


def guard_server_function(handler: Callable[[Sent], Given]) -> Callable[[Sent], Given | dict[str, str]]:
    """Return a component's server function with every fault as its answer, which the component shows as text."""

    def call(sent: Sent) -> Given | dict[str, str]:
        try:
            return handler(sent)
        except PipelineError as error:
            if not isinstance(error, InputError):
                log.warning("%s: %s", type(error).__name__, error.in_full())
            return {"error": str(error)}
        except Exception:
            log.exception("a request ended unexpectedly")
            return {"error": UNFORESEEN}

    return call


def message(error: Exception) -> gr.Error:
    """Return the message to raise; what can be mended is titled so, faults of models and storage are logged too."""
    if isinstance(error, gr.Error):
        return error
    if not isinstance(error, PipelineError):
        log.error("a request ended unexpectedly", exc_info=error)
        return gr.Error(UNFORESEEN, title="That did not work", duration=12, print_exception=False)
    if not isinstance(error, (InputError, Cancelled)):
        log.warning("%s: %s", type(error).__name__, error.in_full())
    title = "Please check" if isinstance(error, InputError) else "That did not work"
    return gr.Error(escape(str(error)), title=title, duration=12, print_exception=False)


def warn(error: PipelineError) -> None:
    """Show a fault that does not stop the work."""
    gr.Warning(escape(str(error)))


def note(text: str) -> None:
    """Show a plain sentence for a moment."""
    gr.Info(escape(text), duration=4)


def escape(text: str) -> str:
    """Return the text without the characters that begin markup, because Gradio renders messages as HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
