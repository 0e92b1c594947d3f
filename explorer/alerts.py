"""What the page says when something goes wrong: the only place where a `PipelineError` becomes a message.

Faults that are not ours pass through untouched, so that the log keeps their trace; the visitor then sees Gradio's
plain "Error" and no detail.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar, cast

import gradio as gr

from pipeline.errors import Cancelled, InputError, PipelineError

log = logging.getLogger(__name__)
Inputs = ParamSpec("Inputs")
Answer = TypeVar("Answer")


def shown(handler: Callable[Inputs, Answer]) -> Callable[Inputs, Answer]:
    """The handler with every `PipelineError` turned into a message on the page; works on generators too."""
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def stream(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Iterator[object]:
            try:
                yield from handler(*args, **kwargs)
            except PipelineError as error:
                raise message(error) from error

        return cast("Callable[Inputs, Answer]", stream)

    @functools.wraps(handler)
    def call(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Answer:
        try:
            return handler(*args, **kwargs)
        except PipelineError as error:
            raise message(error) from error

    return call


def message(error: PipelineError) -> gr.Error:
    """The message to raise; input that can be mended is titled so, faults of models and storage are logged too."""
    if not isinstance(error, (InputError, Cancelled)):
        log.warning("%s: %s", type(error).__name__, error)
    title = "Please check" if isinstance(error, InputError) else "That did not work"
    return gr.Error(plain(error), title=title, duration=12, print_exception=False)


def warn(error: PipelineError) -> None:
    """Shows a fault that does not stop the work."""
    gr.Warning(plain(error))


def note(text: str) -> None:
    """Shows a plain sentence for a moment."""
    gr.Info(escape(text), duration=4)


def plain(error: PipelineError) -> str:
    """The error's sentence, escaped because Gradio renders messages as HTML."""
    return escape(str(error))


def escape(text: str) -> str:
    """Text without the characters that begin markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
