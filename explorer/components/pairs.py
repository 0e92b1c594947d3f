"""Pairs of original and edit as small pictures, each a link that opens it in Explore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlencode

from explorer.components.markup import Html, picture_url, tag
from pipeline.images import fit, open_image

THUMB = 160  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCard:
    """What is shown of one pair; an edit is absent where only a photo is meant."""

    photo: Path | None  # the original's file; None where there is nothing to compare with
    edit: Path
    title: str  # read aloud by screen readers
    said: str  # one line below the pictures
    mark: str = ""  # "fall", "rise" or ""
    words: str = ""  # what was changed
    link: str = ""  # "" where Explore does not hold it


def explore_link(photo: str, classifier: str, frame: str = "") -> str:
    """Return the address of a photo, and of one of its edits, on the Explore page."""
    values = {"photo": photo, "classifier": classifier, "frame": frame}
    return "./?" + urlencode({name: value for name, value in values.items() if value})


def pairs_markup(pairs: Sequence[PairCard]) -> Html:
    """Return a shelf of pairs in the order given."""
    return tag("ul", *(tag("li", _pair(pair)) for pair in pairs), class_="pairs")


def _pair(pair: PairCard) -> Html:
    before = tag("img", src=_thumb(pair.photo), alt="Original") if pair.photo else Html()
    pictures = tag("span", before, tag("img", src=_thumb(pair.edit), alt=pair.title), class_="two")
    words = tag("small", pair.words) if pair.words else Html()
    inside = (pictures, tag("span", pair.said, class_=f"line {pair.mark}"), words)
    if not pair.link:
        return tag("div", *inside)
    return tag("a", *inside, href=pair.link, title="Open in Explore")


@lru_cache(maxsize=1024)
def _thumb(path: Path) -> str:
    return picture_url(fit(open_image(path), THUMB), THUMB)
