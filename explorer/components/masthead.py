"""The head of every page: the name, the one question, and where one can go."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from explorer.components.markup import Html, tag

QUESTION = "What would have to be different for the classifier to change its mind?"


def masthead(active: str, pages: Sequence[tuple[str, str]], profile: str) -> gr.HTML:
    """Return the head with links to pages, by title and route, the active one marked and the profile in use named."""
    links = (_link(title, f".{route}", title == active) for title, route in pages)
    title = tag("div", tag("h1", "Counterfactual Explorer"), tag("p", QUESTION), class_="title")
    chip = tag("span", f"profile {profile}", class_="chip profile", title="Which models are in use")
    bar = tag("header", title, tag("nav", *links, aria_label="Pages"), chip, class_="masthead")
    return gr.HTML(value=bar, apply_default_css=False, js_on_load=None, elem_classes="component")


def _link(name: str, path: str, active: bool) -> Html:
    return tag("a", name, href=path, aria_current="page" if active else None)


def section(number: str, title: str, hint: str = "") -> gr.HTML:
    """Return a small-caps heading with its step number and one sentence of help."""
    mark = tag("span", number, class_="number") if number else Html()
    heading = tag("h2", mark, title, tag("small", hint) if hint else Html(), class_="section")
    return gr.HTML(value=heading, apply_default_css=False, js_on_load=None, elem_classes="component")
