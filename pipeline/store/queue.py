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

SortKey = Callable[["Entry"], float]


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
        """Return the signed change of p(label)."""
        return self.after - self.before


ORDERS: Mapping[str, SortKey] = {
    "newest": lambda entry: -entry.number,
    "uncertain": lambda entry: entry.margin,  # the classifier is between two labels
    "shift": lambda entry: entry.change,  # the largest fall of p(label) first
    "score": lambda entry: entry.directional_similarity,  # the weakest edits first
}
DIVERSE, RANDOM = "diverse", "random"


def listed(entries: Iterable[Entry], decided: Container[str]) -> list[Entry]:
    """Return each variation's best edit that passes all gates, as `scoring.choose_tau` has it, and what was decided."""
    best: dict[tuple[str, str], Entry] = {}
    kept: dict[str, Entry] = {}
    for entry in entries:
        if entry.key in decided:
            kept[entry.key] = entry
        place = entry.study, entry.edited_caption
        if entry.passes and (place not in best or _merit(entry) > _merit(best[place])):
            best[place] = entry
    return sorted(({entry.key: entry for entry in best.values()} | kept).values(), key=lambda entry: entry.number)


def ordered(entries: Sequence[Entry], order: str, seed: int = 0) -> list[Entry]:
    """Return the entries in one of `ORDERS`, `DIVERSE` or `RANDOM`; ties by number. Raises `SettingsError`."""
    if order == RANDOM:
        return random.Random(seed).sample(entries, len(entries))
    if order == DIVERSE:
        return _round_robin(entries)
    if order not in ORDERS:
        raise SettingsError(f"The order '{order}' is unknown; use {', '.join([*ORDERS, DIVERSE, RANDOM])}.")
    return sorted(entries, key=lambda entry: (ORDERS[order](entry), entry.number))


def found(entries: Iterable[Entry], *, label: str = "", factor: str = "", words: str = "") -> list[Entry]:
    """Return those of this label and factor whose edited caption or label holds all of the words; "" asks for all."""
    wanted = words.casefold().split()
    return [
        entry
        for entry in entries
        if (not label or entry.label == label)
        and (not factor or entry.factor == factor)
        and all(word in f"{entry.edited_caption} {entry.label}".casefold() for word in wanted)
    ]


def _merit(entry: Entry) -> tuple[float, float]:
    return entry.directional_similarity, entry.tau


def _round_robin(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries so that one of every class and factor comes before the second of any."""
    groups: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.label, entry.factor].append(entry)
    rounds = ((place, which, entry) for which, group in enumerate(groups.values()) for place, entry in enumerate(group))
    return [entry for _, _, entry in sorted(rounds, key=lambda row: row[:2])]
