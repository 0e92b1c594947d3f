"""Judges of a changed place of a caption: what speaks against its being one change of a factor, "" when nothing does.

`factors.py` says which judge is whose. A caption is read as chunks, groups of words between prepositions, conjunctions
and articles: "a brown dog | next to a tree | in a snowy field". Without a parser this reads English captions only, and
it lets pass what it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.captions.lexicon import is_actor, is_attribute, is_material, is_medium, is_thing, is_weather
from pipeline.captions.wording import ARTICLES, ChangedPlace

INSIDE = frozenset({"in", "on", "at", "through", "across", "along", "over", "above", "inside", "outside", "aboard"})
BESIDE = frozenset(
    {"near", "by", "behind", "under", "beneath", "below", "around", "beside", "against", "between", "among", "amid",
     "within", "beyond", "overlooking", "of"}
)  # fmt: skip
OTHER = frozenset(
    {"with", "from", "to", "for", "into", "onto", "past", "towards", "toward", "off", "out", "up", "down", "without",
     "during", "front", "next", "while", "as", "when", "where", "who", "that", "which", "and", "or", "but", "like"}
)  # fmt: skip
DETERMINERS = ARTICLES | {
    "his", "her", "its", "their", "my", "our", "one", "two", "three", "four", "five", "some", "each", "every",
    "another", "no",
}  # fmt: skip
BREAKS = INSIDE | (BESIDE - {"of"}) | OTHER
LEADING = ("of", "showing", "depicting")  # the words that end "a photo of"
LONGEST_LEAD = 6  # words of "a black and white photo of"
STYLES = ("in", "as", "like", "drawn", "painted", "rendered")  # begin a kind of picture that is told at the end
NOUNS = frozenset(  # that end like something being done
    {"building", "ceiling", "clothing", "evening", "morning", "wedding", "ring", "string", "king", "spring", "wing",
     "swing", "railing"}
)  # fmt: skip


def judge_subject(place: ChangedPlace) -> str:
    """Object to what is not who or what acts, one chunk with its noun."""
    if _changes_attributes(place):
        return f"{describe_change(place)} changes what something is like, not the subject"
    acts = next(filter(is_actor, (*place.before, *place.after)), "")
    if acts and not (_ends_in_actor(_first_chunk(place.went)) or _ends_in_actor(_first_chunk(place.came))):
        return f"{describe_change(place)} replaces something beside the subject ('{acts}')"
    return _judge_thing(place, "subject")


def judge_object(place: ChangedPlace) -> str:
    """Object to what is not one thing beside the subject."""
    if _ends_in_actor(_first_chunk(place.went)) and _ends_in_actor(_first_chunk(place.came)):
        return f"{describe_change(place)} replaces who acts, not an object"
    return _judge_thing(place, "object")


def judge_background(place: ChangedPlace) -> str:
    """Object to what is no place, or who acts in it."""
    chunks = [*_chunks(place.went, place.after), *_chunks(place.came, place.after)]
    if actors := [chunk[-1] for chunk in chunks if _ends_in_actor(chunk)]:
        return f"{describe_change(place)} also changes who acts ('{actors[0]}')"
    lead = lead_of(place.before)
    lead += bool(lead)  # and its "of"
    opening = next((word for word in (*place.went[:1], *place.came[:1]) if word in INSIDE | BESIDE | OTHER), "")
    before = opening or next((word for word in reversed(place.before[lead:]) if word in INSIDE | BESIDE | OTHER), "")
    if before not in INSIDE | BESIDE | {"front"}:
        return f"{describe_change(place)} changes no place"
    if before not in INSIDE and place.went and place.went[0] not in BREAKS and set(place.went) & INSIDE:
        return f"'{' '.join(place.went)}' is more than the background: it reaches across two parts of the caption"
    return ""


def judge_adjective(place: ChangedPlace) -> str:
    """Object to more than attributes."""
    said = content_words(place)
    if all(map(is_attribute, said)):
        return ""
    stands_before_noun = bool(place.after) and place.after[0] not in BREAKS | DETERMINERS | {"of"}
    names = [side[-1] for side in (place.went, place.came) if side]
    things = len(names) == 2 and all(is_thing(name) and not is_material(name) for name in names)
    if not stands_before_noun or things or any(map(is_actor, said)):
        return f"{describe_change(place)} replaces more than an attribute"
    return ""


def judge_weather(place: ChangedPlace) -> str:
    """Object to what names no weather."""
    return "" if any(map(is_weather, content_words(place))) else f"{describe_change(place)} names no weather"


def judge_picture(place: ChangedPlace) -> str:
    """Object to what is not the kind of picture."""
    return "" if place.changes_medium else f"{describe_change(place)} names no kind of picture"


def _judge_thing(place: ChangedPlace, factor: str) -> str:
    """Object to what neither subject nor object may be: several chunks, no noun, or a new attribute beside it."""
    for side in (place.went, place.came):
        if len(_chunks(side, place.after)) > 1:
            return f"'{' '.join(side)}' is more than one part of the caption, so more than one factor changed"
    if _changes_attributes(place):
        return f"{describe_change(place)} changes what something is like, not the {factor}"
    new = [word for word in place.came if is_attribute(word) and word not in place.went]
    if new and place.went and not _is_one_name(place.came):
        return f"{describe_change(place)} also changes what the {factor} is like ('{new[0]}')"
    return ""


def _changes_attributes(place: ChangedPlace) -> bool:
    """Return whether only attributes changed, or words in front of a noun that stays."""
    follows = place.after[0] if place.after else ""
    last = [side[-1] for side in (place.went, place.came) if side]
    modifies = (is_thing(follows) or is_actor(follows)) and any(is_attribute(w) or is_material(w) for w in last)
    return modifies or all(map(is_attribute, content_words(place)))


def lead_of(caption: Sequence[str]) -> int:
    """Count the words that tell the kind of picture: 2 for "a photo of a dog", 0 for "a dog"."""
    end = next((number for number, word in enumerate(caption) if word in LEADING), 0)
    return end if end <= LONGEST_LEAD and any(map(is_medium, caption[:end])) else 0


def changes_medium(place: ChangedPlace, lead: int) -> bool:
    """Return whether the change lies in "a photo of", adds such words in front, or tells the style at the end."""
    said = content_words(place)
    if len(place.before) < lead:
        return not place.came or any(map(is_medium, said))
    styled = any(side[:1] and side[0] in STYLES for side in (place.went, place.came))
    return any(map(is_medium, said)) and (not place.before or styled)


def _chunks(side: Sequence[str], after: Sequence[str]) -> list[list[str]]:
    """Return the words in groups, parted by prepositions, conjunctions, articles and what is done ("riding a ...")."""
    chunks: list[list[str]] = [[]]
    for number, word in enumerate(side):
        follows = side[number + 1] if number + 1 < len(side) else next(iter(after), "")
        does = word.endswith("ing") and word not in NOUNS and (follows in BREAKS | DETERMINERS or not follows)
        does = does or (word.endswith(("s", "ing")) and any(map(is_actor, chunks[-1][-1:])) and not is_thing(word))
        if word in BREAKS or (word in DETERMINERS and side[number - 1 : number] != ("of",)):
            chunks.append([])
        elif does and chunks[-1]:
            chunks.append([word])
        elif word not in DETERMINERS and word != "of":
            chunks[-1].append(word)
    return [chunk for chunk in chunks if chunk]


def content_words(place: ChangedPlace) -> list[str]:
    """Return the words that went and those that came, without prepositions, conjunctions and articles."""
    return [w for w in (*place.went, *place.came) if w not in BREAKS | DETERMINERS and w != "of"]


def _first_chunk(side: Sequence[str]) -> list[str]:
    """Return the first chunk, [] where there is none."""
    return next(iter(_chunks(side, ())), [])


def _ends_in_actor(chunk: Sequence[str]) -> bool:
    """Return whether the chunk ends with somebody who acts; a stone lion and a teddy bear do not."""
    return bool(chunk) and is_actor(chunk[-1]) and not any(map(is_material, chunk[:-1]))


def _is_one_name(side: Sequence[str]) -> bool:
    """Return whether these are a name of several words for one thing that WordNet knows, such as "hot dog"."""
    return is_thing(" ".join(word for word in side if word not in DETERMINERS))


def describe_change(place: ChangedPlace) -> str:
    """Return the change in words, such as "'dog' to 'cat'"."""
    went, came = " ".join(place.went), " ".join(place.came)
    return f"'{went or 'nothing'}' to '{came or 'nothing'}'"
