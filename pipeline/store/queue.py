"""What waits for a verdict, without its pictures: every counterfactual that was chosen or decided upon, in any order.

Light enough for many thousands: one query, numbers only. Whoever shows an entry asks the store for its picture.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import SettingsError
from pipeline.scores import Scores

Key = Callable[["Entry"], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One counterfactual of one photo; probabilities of the protected label in 0..1."""

    number: int  # the order in which they were made
    key: str
    photo: str  # its key
    study: str
    label: str
    factor: str
    edited_caption: str
    tau: float
    before: float  # p(label) on the reconstruction
    after: float  # p(label) on the edit
    margin: float  # between the two best labels on the edit
    flip: bool
    directional_similarity: float
    passes: bool  # every gate
    name: str  # of the photo's file
    classifier: str
    caption: str
    was: tuple[str, float]  # the most probable label on the reconstruction, and its probability
    now: tuple[str, float]  # and on the edit
    scores: Scores
    missed: tuple[str, ...]  # one sentence per gate
    confirmed: bool = True  # somebody said what the photo shows; otherwise `label` is a guess

    @property
    def change(self) -> float:
        """Of p(label), signed."""
        return self.after - self.before


ORDERS: Mapping[str, Key] = {
    "newest": lambda one: -one.number,
    "uncertain": lambda one: one.margin,  # the classifier is between two labels
    "shift": lambda one: one.change,  # the largest fall of p(label) first
    "score": lambda one: one.directional_similarity,  # the weakest edits first
}
DIVERSE, RANDOM = "diverse", "random"


def listed(entries: Iterable[Entry], decided: Container[str]) -> list[Entry]:
    """Of every variation its best edit that passes all gates, as `scoring.choose_tau` has it, and what was decided."""
    best: dict[tuple[str, str], Entry] = {}
    kept: dict[str, Entry] = {}
    for one in entries:
        if one.key in decided:
            kept[one.key] = one
        place = one.study, one.edited_caption
        if one.passes and (place not in best or _merit(one) > _merit(best[place])):
            best[place] = one
    return sorted(({one.key: one for one in best.values()} | kept).values(), key=lambda one: one.number)


def ordered(entries: Sequence[Entry], order: str, seed: int = 0) -> list[Entry]:
    """The entries in one of `ORDERS`, `DIVERSE` or `RANDOM`; ties by number. Raises `SettingsError`."""
    if order == RANDOM:
        return random.Random(seed).sample(entries, len(entries))
    if order == DIVERSE:
        return _round_robin(entries)
    if order not in ORDERS:
        raise SettingsError(f"The order '{order}' is unknown; use {', '.join([*ORDERS, DIVERSE, RANDOM])}.")
    return sorted(entries, key=lambda one: (ORDERS[order](one), one.number))


def found(entries: Iterable[Entry], *, label: str = "", factor: str = "", words: str = "") -> list[Entry]:
    """Those of this label and factor whose edited caption or label holds all of the words; "" asks for all."""
    wanted = words.casefold().split()
    return [
        one
        for one in entries
        if (not label or one.label == label)
        and (not factor or one.factor == factor)
        and all(word in f"{one.edited_caption} {one.label}".casefold() for word in wanted)
    ]


def _merit(one: Entry) -> tuple[float, float]:
    return one.directional_similarity, one.tau


def _round_robin(entries: Sequence[Entry]) -> list[Entry]:
    """One of every class and factor before the second of any, so that the first few differ most."""
    groups: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for one in entries:
        groups[one.label, one.factor].append(one)
    rounds = ((place, which, one) for which, group in enumerate(groups.values()) for place, one in enumerate(group))
    return [one for _, _, one in sorted(rounds, key=lambda row: row[:2])]
