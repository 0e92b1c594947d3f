"""What the Explore page shows before a photo is opened: the steps to come, and finished edits to look at first."""

from __future__ import annotations

from collections.abc import Sequence

from explorer.components.markup import Html, tag
from explorer.components.pairs import PairCard, pairs_markup

STEPS = (
    ("Caption", "The picture is put into words."),
    ("Vary", "A language model changes one factor: subject, object, background, adjective or domain."),
    ("Edit", "The picture follows the words, at several strengths tau."),
    ("Judge", "You see what the classifier makes of it, and keep what is worth teaching."),
)


def welcome_markup(pairs: Sequence[PairCard]) -> Html:
    """Return the steps; below them the pairs, if there are any."""
    items = (tag("li", tag("b", name), tag("span", text)) for name, text in STEPS)
    steps = tag("div", tag("h3", "Choose an example, or upload a picture."), tag("ol", *items), class_="welcome")
    if not pairs:
        return steps
    more = (tag("h4", "Or look at edits that changed the classifier's mind"), pairs_markup(pairs))
    return tag("div", steps, tag("div", *more, class_="finished"))
