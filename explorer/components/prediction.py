"""What the classifier makes of a photo before anything is edited: its top-5, the label to protect in bold."""

from __future__ import annotations

from explorer.components.markup import Html, join, tag
from explorer.views import percent
from pipeline.types import Photo


def photo_markup(photo: Photo) -> Html:
    """Return one sentence and the most probable labels with their shares, the label to protect in any case."""
    top = photo.prediction.top()
    first = top[0][0]
    if not photo.confirmed:
        said = join("The classifier names it ", tag("b", first), ". Nobody has said yet what it shows.")
    elif first == photo.label:
        said = join("The classifier names it ", tag("b", first), ", the label to protect.")
    else:
        said = join("The classifier names it ", tag("b", first), ", not ", tag("b", photo.label), ".")
    missing = [] if photo.label in dict(top) else [(photo.label, photo.prediction.probability(photo.label))]
    rows = (_row(label, share, label == photo.label) for label, share in [*top, *missing])
    next_step = tag(
        "p", "Suggest variations, tick some, and make the edits: what they change is told here.", class_="hint"
    )
    return tag("div", tag("p", said, class_="said"), tag("ul", *rows, class_="top5"), next_step, class_="headline")


def _row(label: str, share: float, mine: bool) -> Html:
    bar = tag("i", style=f"width:{100 * share:.1f}%")
    return tag("li", tag("b" if mine else "span", label), tag("span", bar, class_="share"), tag("span", percent(share)))
