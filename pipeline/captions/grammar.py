"""Whether a change of a caption is one change, and of the factor it claims: judged by its words and their classes.

One factor is one place of the caption and one chunk of it, as the factor's judge has it (`judges.py`); only a factor
that spans, such as the background, may reach over the chunks of its own place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.captions.factors import FACTORS
from pipeline.captions.judges import (
    BESIDE,
    BREAKS,
    INSIDE,
    OTHER,
    changes_medium,
    describe_change,
    judge_picture,
    lead_of,
)
from pipeline.captions.wording import ARTICLES, ChangedPlace, places


def objection(caption: str, edited_caption: str, factor: str) -> str:
    """Return a sentence that tells why the change is not exactly one of this factor, "" when nothing speaks against it.

    An unknown factor (an analyst's own words) may be any one place.
    """
    known = FACTORS.get(factor)
    found = _join_places(places(caption, edited_caption), known is not None and known.spans)
    if len(found) != 1:
        return f"{len(found)} places of the caption changed, but one factor is one place" if found else ""
    place, lead = found[0], lead_of(caption.lower().split())
    if len(place.before) < lead < len(place.before) + len(place.went):
        return f"'{' '.join(place.went)}' changed at once: the kind of picture and what it shows"
    if known is None or known.judge is None:
        return ""
    place = replace(place, changes_medium=changes_medium(place, lead))
    if place.changes_medium and known.judge is not judge_picture:
        return f"{describe_change(place)} changes the kind of picture, not the {factor}"
    return known.judge(place)


def guess_factor(caption: str, edited_caption: str) -> str:
    """Return the factor that an analyst's own words most likely change, "" when they agree with none.

    The last of `FACTORS` that nothing speaks against; of object and background, what stands behind "near" or "under"
    is an object. Of the written variations 89 in 100 are told right, of the miniature world's all.
    """
    found = places(caption, edited_caption)
    agreeing = [name for name in reversed(FACTORS) if found and not objection(caption, edited_caption, name)]
    if agreeing[:2] == ["background", "object"]:
        place = found[0]
        said = (*place.before, *place.went[:1])
        opening = next((word for word in reversed(said) if word in INSIDE | BESIDE | OTHER), "")
        return "object" if opening in BESIDE else "background"
    return agreeing[0] if agreeing else ""


def _join_places(found: Sequence[ChangedPlace], spans: bool) -> list[ChangedPlace]:
    """Join places with nothing but "of" and articles between them; where a factor spans, prepositions too."""
    bridges = ARTICLES | {"of"} | (BREAKS - OTHER if spans else frozenset())
    joined: list[ChangedPlace] = []
    for place in found:
        last = joined[-1] if joined else None
        gap = place.before[len(last.before) + len(last.went) :] if last else ()
        if last and set(gap) <= bridges and len(last.before) >= lead_of((*place.before, *place.went, *place.after)):
            joined[-1] = ChangedPlace(
                went=(*last.went, *gap, *place.went),
                came=(*last.came, *gap, *place.came),
                before=last.before,
                after=place.after,
            )
        else:
            joined.append(place)
    return joined
