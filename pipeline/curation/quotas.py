"""Which kept counterfactuals make a set: a rule with quotas, and whether photos leak into it from other sets. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.store.queue import Entry

Cell = tuple[str, str]  # label and factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A counterfactual that is kept, as the analysts describe it."""

    entry: Entry
    label: str  # what it shows: the corrected label that holds, else the photo's
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What belongs to a set."""

    labels: tuple[str, ...] = ()  # (): every class
    factors: tuple[str, ...] = ()  # (): every factor
    tags: tuple[str, ...] = ()  # one of these; (): with any tag, or none
    quota: int = 0  # at most so many of each class with each factor; 0: no limit

    def admits(self, pair: Kept) -> bool:
        """Return whether class, factor and a tag are asked for."""
        by_label = not self.labels or pair.label in self.labels
        by_factor = not self.factors or pair.entry.factor in self.factors
        return by_label and by_factor and (not self.tags or not set(self.tags).isdisjoint(pair.tags))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a rule takes."""

    keys: tuple[str, ...]
    cells: dict[Cell, tuple[int, int]]  # taken, and how many the rule admits before its quota


def select(kept: Iterable[Kept], rule: Rule) -> Selection:
    """Return the kept that the rule takes; within a quota those of the best directional similarity, then the oldest."""
    admitted = [pair for pair in kept if rule.admits(pair)]
    admitted.sort(key=lambda pair: (-pair.entry.directional_similarity, pair.entry.number))
    taken: Counter[Cell] = Counter()
    there = Counter((pair.label, pair.entry.factor) for pair in admitted)
    keys = []
    for pair in admitted:
        cell = pair.label, pair.entry.factor
        if not rule.quota or taken[cell] < rule.quota:
            taken[cell] += 1
            keys.append(pair.entry.key)
    return Selection(keys=tuple(keys), cells={cell: (taken[cell], there[cell]) for cell in sorted(there)})


def leaks(keys: Iterable[str], sets: Mapping[str, Iterable[str]], photos: Mapping[str, str]) -> dict[str, int]:
    """Name of another set -> how many source photos it shares with these keys; sets that share none are absent.

    `photos` tells the photo of a counterfactual key.
    """
    mine = {photos[key] for key in keys if key in photos}
    shared = {name: len(mine & {photos[key] for key in others if key in photos}) for name, others in sets.items()}
    return {name: count for name, count in shared.items() if count}
