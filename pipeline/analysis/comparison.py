"""Two classifiers on the same pictures: what an edit costs each of them, and on which pictures they disagree.

An edited picture exists once and is judged by both, so every figure is a difference within pairs: the second classifier
minus the first on one and the same counterfactual. Intervals and tests are those of `intervals.py`, with photos as the
unit. The difference of accuracy over all classes and factors is the question that is asked, and is tested alone;
p-values of everything told beside it are adjusted together. Whether one of the two was trained on these very photos is
for the caller to say. Knows no model and no file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.analysis.weakness import ALL, MIN_PHOTOS, Effect, effects
from pipeline.statistics.intervals import Change, Clusters, adjusted
from pipeline.types import Proportion, StudyRecord

Pair = tuple[Effect, Effect]
"""One counterfactual as the first and as the second classifier judges it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierComparison:
    """One row: a class (or "all") under one factor (or "all"), every edit at its chosen tau."""

    label: str
    factor: str
    n: int  # counterfactuals that both judged
    photos: int  # behind them
    control_acc1: tuple[Proportion, Proportion]  # of the first and of the second classifier, on the reconstructions
    edited_acc1: tuple[Proportion, Proportion]  # on the edits
    flips: tuple[Proportion, Proportion]
    delta_acc1: Change  # accuracy on the edits, the second minus the first
    delta_flips: Change  # flip rate, the second minus the first

    @property
    def overall(self) -> bool:
        """Return whether the row is that of all classes and factors."""
        return self.label == self.factor == ALL

    @property
    def too_few(self) -> bool:
        """Return whether the row rests on fewer than `MIN_PHOTOS` photos and says hardly anything."""
        return self.photos < MIN_PHOTOS


def pair_up(first: Iterable[StudyRecord], second: Iterable[StudyRecord]) -> tuple[Pair, ...]:
    """Return the chosen counterfactuals that both classifiers judged, in the first one's order.

    What only one of them judged, or whose photo has a label that one of them lacks, counts for neither.
    """
    others = {(effect.photo, effect.edit.key): effect for effect in effects(second)}
    return tuple(
        (effect, other)
        for effect in effects(first)
        if (other := others.get((effect.photo, effect.edit.key))) is not None
    )


def compare(pairs: Iterable[Pair]) -> tuple[ClassifierComparison, ...]:
    """Return rows for every class and factor that occurs and for "all" of either; () without a pair.

    The overall row comes first, then the greatest certain difference of accuracy on the edits; rows of fewer than
    `MIN_PHOTOS` photos come last.
    """
    known = list(pairs)
    if not known:
        return ()
    places: dict[tuple[str, str], int] = {}
    inside = [
        places.setdefault((label, factor), len(places))
        for first, _ in known
        for label in (ALL, first.label)
        for factor in (ALL, first.factor)
    ]
    owner = np.repeat(np.arange(len(known)), 4)
    clusters = Clusters(np.array([first.photo for first, _ in known])[owner], inside, len(places))
    control, edited = (
        [np.array([pair[which].ranks[place] == 1 for pair in known])[owner] for which in (0, 1)] for place in (1, 2)
    )
    flips = [np.array([pair[which].flip for pair in known])[owner] for which in (0, 1)]
    shares = [[clusters.shares(hits) for hits in measure] for measure in (control, edited, flips)]
    delta_acc1, delta_flips = clusters.changes(*edited), clusters.changes(*flips)
    rows = [
        ClassifierComparison(
            label=label,
            factor=factor,
            n=delta_acc1[at].n,
            photos=delta_acc1[at].photos,
            control_acc1=(shares[0][0][at], shares[0][1][at]),
            edited_acc1=(shares[1][0][at], shares[1][1][at]),
            flips=(shares[2][0][at], shares[2][1][at]),
            delta_acc1=delta_acc1[at],
            delta_flips=delta_flips[at],
        )
        for (label, factor), at in places.items()
    ]
    return tuple(sorted(_adjusted(rows), key=_place))


def disagreements(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """Return the pairs on which exactly one of the two is right about the edit, the surest winner first.

    That is the order of how much more probable the photo's label is to the one that is right than to the other.
    """
    split = [pair for pair in pairs if (pair[0].ranks[2] == 1) != (pair[1].ranks[2] == 1)]
    return tuple(sorted(split, key=lambda pair: -abs(_probability(pair[1]) - _probability(pair[0]))))


def _probability(effect: Effect) -> float:
    return effect.edit.prediction.standing(effect.label).probability


def _adjusted(rows: list[ClassifierComparison]) -> list[ClassifierComparison]:
    """Return the rows of enough photos with p-values adjusted over all differences but the overall one of accuracy."""
    told = [row for row in rows if not row.too_few]
    beside = [row.delta_flips for row in told] + [row.delta_acc1 for row in told if not row.overall]
    changes = iter(adjusted(beside))
    flips = {id(row): next(changes) for row in told}
    accuracies = {id(row): next(changes) for row in told if not row.overall}
    return [
        replace(
            row, delta_flips=flips.get(id(row), row.delta_flips), delta_acc1=accuracies.get(id(row), row.delta_acc1)
        )
        for row in rows
    ]


def _place(row: ClassifierComparison) -> tuple[object, ...]:
    least = max(row.delta_acc1.low, -row.delta_acc1.high)  # the part of the difference that is certain
    return not row.overall, row.too_few, -least, row.label, row.factor
