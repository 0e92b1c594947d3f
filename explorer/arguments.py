"""What arrives for a handler: values of the declared kind, finite and of a sensible length, or one sentence of refusal.

Whoever talks to the server without the page may send anything as anything. Knows no handler; only plain kinds (text,
numbers, lists of them) are looked at, for Gradio itself makes the others.
"""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import InputError

MAX_TEXT = 20_000  # characters of one text; captions are held to less where they are used
MAX_ITEMS = 1000
PLAIN = (str, int, float, bool, types.NoneType)
NAMES = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}

Arguments = Callable[[Sequence[object], Mapping[str, object]], None]


def arguments_of(handler: Callable[..., object]) -> Arguments:
    """Return a check of the handler's arguments, which raises `InputError` for the first that is unfit."""
    hints = typing.get_type_hints(handler)
    order = list(inspect.signature(handler).parameters)
    expected = {name: hint for name, hint in hints.items() if name in order and _is_plain(hint)}
    adapters = {name: TypeAdapter[object](hint) for name, hint in expected.items()}

    def check(args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        for name, value in {**dict(zip(order, args, strict=False)), **kwargs}.items():
            if name in adapters:
                _refuse_size(name, value)
                _refuse_kind(name, value, adapters[name], expected[name])
                _refuse_values(name, value)

    return check


def _is_plain(hint: object) -> bool:
    """Return whether a type hint is text, a number or a list of them."""
    if hint in PLAIN:
        return True
    inner = [argument for argument in typing.get_args(hint) if argument is not Ellipsis]
    is_list = typing.get_origin(hint) in (list, tuple, Sequence, types.UnionType, typing.Union)
    return is_list and bool(inner) and all(_is_plain(argument) for argument in inner)


def _refuse_kind(name: str, value: object, adapter: TypeAdapter[object], hint: object) -> None:
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        wanted = NAMES.get(getattr(hint, "__name__", ""), "a list of such values")
        raise InputError(f"'{name}' is of another kind than expected; give {wanted}.") from error


def _refuse_size(name: str, value: object) -> None:
    """Raise `InputError` for an overlong value, before anything walks through it."""
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise InputError(f"'{name}' has {len(value):,} characters; give at most {MAX_TEXT:,}.")
    if isinstance(value, list | tuple | dict) and len(value) > MAX_ITEMS:
        raise InputError(f"'{name}' has {len(value):,} entries; give at most {MAX_ITEMS:,}.")


def _refuse_values(name: str, value: object) -> None:
    if isinstance(value, list | tuple):
        for entry in value:
            _refuse_size(name, entry)
            _refuse_values(name, entry)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"'{name}' holds a number that is not finite; give an ordinary one.")
    elif isinstance(value, str) and (reason := _unwritable(value)):
        raise InputError(f"'{name}' holds {reason}, which no file can keep; write it anew without.")


def _unwritable(text: str) -> str:
    if "\0" in text:
        return "a NUL character"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "half a character"
    return ""
