"""A dialog that asks for a few words; the component around it opens it, fills in the question and takes the answer."""

from __future__ import annotations

from explorer.components.markup import Html, tag


def dialog(name: str, question: str, words: str, most: int) -> Html:
    """Return a dialog with one field of at most `most` characters, which completes from the list of the id `words`."""
    field = tag("input", type="text", maxlength=most, list=words, autocomplete="off")
    buttons = tag(
        "div",
        tag("button", "Cancel", type="button", data_do="close"),
        tag("button", "Save", type="submit", class_="main"),
        class_="buttons",
    )
    form = tag("form", tag("label", tag("span", question), field), tag("datalist", id=words), buttons, method="dialog")
    return tag("dialog", form, class_="asking", aria_label=name)
