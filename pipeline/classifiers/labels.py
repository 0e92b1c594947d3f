"""How what people call a class meets a classifier's own names: one rule at every door.

A text fits a label that it equals but for case, spaces, dashes and underscores, and one of which it is a synonym
("ski" in "alpine ski, ski"). Classifiers of ImageNet's classes also answer to synset ids and WordNet's lemmas.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from pipeline.errors import DataError, LabelError
from pipeline.importing.folders import LabelledImage

SYNSET = re.compile(r"n\d{8}")
IMAGENET = 1000  # classes
ALIKE = 0.9  # least share of ImageNet's classes that are called as WordNet calls them
TOLD = 5  # labels told by name


def find_label(text: str, labels: tuple[str, ...]) -> str:
    """Return the one of a classifier's labels that the text means. Raises `LabelError` for none and for several."""
    if text in labels:
        return text
    wanted = _plain(text)
    places = _names(labels).get(wanted) or _imagenet(labels).get(wanted, frozenset())
    if len(places) == 1:
        return labels[next(iter(places))]
    if not places:
        known = ", ".join(labels[:TOLD]) + (", ..." if len(labels) > TOLD else "")
        raise LabelError(f"The label '{text[:80]}' fits no class of the classifier, such as {known}; use its names.")
    several = ", ".join(f"'{labels[place]}'" for place in sorted(places)[:TOLD])
    raise LabelError(
        f"The label '{text[:80]}' fits {len(places)} classes of the classifier, {several}; use one of them."
    )


def refuse_merged(texts: Iterable[str], labels: tuple[str, ...]) -> None:
    """Raise `DataError` when two different texts mean one label; what fits none is left to `find_label`."""
    first: dict[str, str] = {}
    for text in sorted(set(texts) - {""}):
        try:
            label = find_label(text, labels)
        except LabelError:
            continue
        if first.setdefault(label, text) != text:
            raise DataError(f"'{first[label]}' and '{text}' are both the classifier's '{label}'; call them alike.")


def match_labels(pictures: Sequence[LabelledImage], labels: Sequence[str]) -> tuple[LabelledImage, ...]:
    """Return the pictures under the classifier's own names, unlabelled ones as they are.

    Raises `LabelError` for a label that no class or more than one answers to, `DataError` for two that mean one.
    """
    own = tuple(labels)
    refuse_merged((picture.label for picture in pictures), own)
    found = {text: find_label(text, own) for text in {picture.label for picture in pictures} - {""}}
    return tuple(replace(picture, label=found.get(picture.label, "")) for picture in pictures)


def distinct_labels(labels: Sequence[str], keys: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the labels, those that occur more than once with their key, or the row of the head, behind them."""
    often = Counter(labels)
    marks = keys if len(set(keys)) == len(labels) else [str(row) for row in range(len(labels))]
    return tuple(label if often[label] == 1 else f"{label} ({mark})" for label, mark in zip(labels, marks, strict=True))


def _plain(name: str) -> str:
    folded = unicodedata.normalize("NFC", name).casefold()
    return "".join(folded.replace("_", " ").replace("-", " ").split())


def _aliases(label: str) -> Iterable[str]:
    """Yield what a label may be called: itself, without a mark that tells it from another, and each synonym."""
    bare, _, mark = label.rpartition(" (") if label.endswith(")") else (label, "", "")
    bare = bare or label
    yield from map(_plain, (label, bare, *bare.split(",")))
    if SYNSET.fullmatch(mark.removesuffix(")")):
        yield mark.removesuffix(")")


@lru_cache(maxsize=8)
def _names(labels: tuple[str, ...]) -> Mapping[str, frozenset[int]]:
    return _rows_by_name((name, place) for place, label in enumerate(labels) for name in _aliases(label))


def _rows_by_name(pairs: Iterable[tuple[str, int]]) -> Mapping[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for name, place in pairs:
        if name:
            found.setdefault(name, set()).add(place)
    return {name: frozenset(places) for name, places in found.items()}


@lru_cache(maxsize=8)
def _imagenet(labels: tuple[str, ...]) -> Mapping[str, frozenset[int]]:
    """Return the places of synset ids and lemmas, in a classifier of ImageNet's classes or of some of them."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    synsets = list(info.label_names())  # type: ignore[no-untyped-call]
    lemmas = [{_plain(part) for part in info.label_name_to_description(key).split(",")} for key in synsets]
    called = [set(_aliases(label)) for label in labels]
    if len(labels) == IMAGENET:
        alike = sum(bool(names & own) or key in names for key, own, names in zip(synsets, lemmas, called, strict=True))
        if alike < ALIKE * IMAGENET:
            return {}
        own_names = ({key, *own} for key, own in zip(synsets, lemmas, strict=True))
        return _rows_by_name((name, place) for place, names in enumerate(own_names) for name in names)
    known = _names(labels)
    places = ((key, known.get(name, frozenset())) for key, own in zip(synsets, lemmas, strict=True) for name in own)
    return _rows_by_name((key, place) for key, found in places for place in found)
