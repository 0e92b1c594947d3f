"""Who is at work: the name that a visitor signed in with, at every door; a chosen one only where nobody signs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import DataError

if TYPE_CHECKING:
    import gradio as gr

LONGEST = 40  # characters of a chosen name


def analyst(request: gr.Request, chosen: str = "") -> str:
    """Return the visitor's name: the one they signed in with, else the chosen one; "" for nobody's.

    Gradio hands its own request to events and endpoints and the bare one of the server to functions of a component.
    Raises `DataError` for a chosen name of more than `LONGEST` characters.
    """
    if name := signed_in(request):
        return name
    if len(chosen) > LONGEST:
        raise DataError(f"A name has at most {LONGEST} characters; choose a shorter one.")
    return chosen.strip()


def signed_in(request: gr.Request) -> str:
    """Return the name that the visitor signed in with; "" where nobody does."""
    if hasattr(request, "username"):
        return request.username or ""
    app, cookies = request.app, request.cookies
    tokens = (cookies.get(f"access-token-{kind}{app.cookie_id}") for kind in ("", "unsecure-"))
    return next((app.tokens[token] for token in tokens if token in app.tokens), "")
