"""Classes of words: attributes, actors, kinds of pictures, weather; and what ImageNet's classes are called.

The common words stand in assets/lexicon.toml; names of things and classes come from WordNet's lemmas and definitions as
timm ships them, offline. A word that is known to neither belongs to no class, so that it never speaks against a change.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from pipeline.captions.wording import label_names, singular

LEXICON = Path(__file__).resolve().parents[2] / "assets" / "lexicon.toml"

# WordNet 3.0 numbers its nouns by topic: these offsets hold artifacts, food and plants.
THINGS = (range(2_667_000, 4_620_000), range(7_550_000, 7_950_000), range(11_500_000, 13_150_000))


def is_attribute(word: str) -> bool:
    """Return whether the word says what something is like: "red", "old", "checked"."""
    return word in _class("attributes") or (word.endswith("ed") and len(word) > 5)


def is_material(word: str) -> bool:
    """Return whether the word is a noun that stands as an attribute before another: "wooden", "paper"."""
    return word in _class("materials")


@cache
def is_actor(word: str) -> bool:
    """Return whether the word names people or animals."""
    return singular(word) in _class("actors") or singular(word).endswith(("woman", "keeper"))


def is_medium(word: str) -> bool:
    """Return whether the word names a kind of picture: "photo", "sketch"."""
    return singular(word) in _class("media")


def is_weather(word: str) -> bool:
    """Return whether the word tells the state of the sky: "rain", "foggy"."""
    return word in _class("weather")


@cache
def is_thing(word: str) -> bool:
    """Return whether all that WordNet means by the word among ImageNet's classes are artifacts, food or plants."""
    offsets = _offsets().get(singular(word), ())
    return bool(offsets) and not is_actor(word) and all(any(n in part for part in THINGS) for n in offsets)


@cache
def synonyms(label: str) -> tuple[str, ...]:
    """Return all names of a label: its own, and the lemmas of the ImageNet classes that bear one of them.

    The 1,000 classes of ImageNet-1k are asked first, all others only when none of those matches.
    """
    own = label_names(label)
    for known in (_defined("imagenet-1k"), _defined("imagenet-22k")):
        if found := [names for names, _ in known if set(own) & set(names)]:
            return tuple(dict.fromkeys((*own, *(name for names in found for name in names))))
    return own


@cache
def definitions(label: str) -> tuple[str, ...]:
    """Return what WordNet says of the ImageNet classes that bear one of the label's names; () for other labels."""
    own = set(label_names(label))
    for known in (_defined("imagenet-1k"), _defined("imagenet-22k")):
        if found := [text for names, text in known if own & set(names)]:
            return tuple(found)
    return ()


@cache
def _class(name: str) -> frozenset[str]:
    return frozenset(tomllib.loads(LEXICON.read_text(encoding="utf-8"))[name].split())


@cache
def _defined(subset: str) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Return names and definition of every class of an ImageNet subset."""
    from timm.data.imagenet_info import ImageNetInfo

    told = (text.partition(": ") for text in ImageNetInfo(subset).label_descriptions(detailed=True))
    return tuple((label_names(lemmas), definition) for lemmas, _, definition in told)


@cache
def _offsets() -> dict[str, tuple[int, ...]]:
    """Return the WordNet offsets of the ImageNet classes that bear a word, by word."""
    from timm.data.imagenet_info import ImageNetInfo

    found: dict[str, tuple[int, ...]] = {}
    info = ImageNetInfo("imagenet-22k")
    for synset in info.label_names():  # type: ignore[no-untyped-call]
        for name in label_names(info.label_name_to_description(synset)):
            found[singular(name)] = (*found.get(singular(name), ()), int(synset[1:]))
    return found
