"""Which word looks where: the photo once for every word of its caption, lit where the word looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from explorer.components.markup import Html, picture_url, tag
from pipeline.types import WordMap

SIDE = 128  # pixels
DARK = 0.18  # of the photo's brightness, where a word does not look at all


def word_maps_markup(photo: Image.Image, maps: Sequence[WordMap]) -> Html:
    """Return one figure a word, in the caption's order; a sentence for an editor without such maps."""
    if not maps:
        return tag("p", "This editor is told what to change; no word of the caption looks anywhere.", class_="empty")
    small = photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return tag("div", *(_figure(small, word_map) for word_map in maps), class_="word-maps", role="list")


def _figure(photo: Image.Image, word_map: WordMap) -> Html:
    picture = tag("img", src=picture_url(highlight(photo, word_map), SIDE), alt=f"Where “{word_map.word}” looks")
    return tag("figure", picture, tag("figcaption", word_map.word), role="listitem")


def highlight(photo: Image.Image, word_map: WordMap) -> Image.Image:
    """Return the photo in full brightness where the map is highest, darkened to `DARK` where it is lowest."""
    low, high = float(word_map.weights.min()), float(word_map.weights.max())
    scaled = (word_map.weights - low) / max(high - low, 1e-12)
    mask = Image.fromarray((255 * scaled).astype(np.uint8)).resize(photo.size, Image.Resampling.BICUBIC)
    return Image.composite(photo, photo.point(lambda value: round(DARK * value)), mask)
