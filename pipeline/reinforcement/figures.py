"""Figures of a reinforcement: Acc@1 and Acc@5 before and after by split and by class, from what was said of pictures.

Intervals and tests take photos as the unit (`analysis/intervals.py`): pictures of one photo are alike, and each picture
of a test set is a photo of its own. What is told together is tested together, by `told_together`. Pure arithmetic on
what a run holds; no model is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.analysis.weakness import MIN_PHOTOS
from pipeline.statistics.intervals import Change, Clusters, adjusted
from pipeline.types import Answers, Proportion, Reinforcement

KS = (1, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Accuracy on the same pictures by theta_0 and by theta(alpha)."""

    split: str
    label: str  # "" for all classes
    k: int  # of Acc@k
    n: int  # pictures
    photos: int  # behind them; 0 where a run did not keep it, and then nothing is known but the values
    before: Proportion
    after: Proportion
    change: Change  # its p_adjusted is of no use before `told_together`

    @property
    def tested(self) -> bool:
        """Return whether the change counts among what is tested; Acc@5 by class is told with its interval alone."""
        return self.photos >= MIN_PHOTOS and (self.k == 1 or not self.label)

    @property
    def reliable(self) -> bool:
        """Return whether the change holds up against chance, in view of all that is told beside it."""
        return self.tested and self.change.reliable


def figures(made: Reinforcement, answers: Mapping[str, Answers]) -> tuple[Figure, ...]:
    """Return the figures at the run's alpha: each split's, then those of its classes.

    `answers` are the run's own `answers` or `validation`. Acc@5 is missing where a run did not keep it.
    """
    place = made.alphas.index(made.alpha)
    return tuple(figure for split, said in answers.items() for figure in _of_split(split, said, place, made.labels))


def told_together(found: Sequence[Figure]) -> tuple[Figure, ...]:
    """Return the figures with their p adjusted by Holm's method over all of them that are tested."""
    changes = iter(adjusted([figure.change for figure in found if figure.tested]))
    return tuple(replace(figure, change=next(changes)) if figure.tested else figure for figure in found)


def curve(made: Reinforcement) -> tuple[tuple[float, dict[tuple[str, int], Proportion]], ...]:
    """Return alpha -> {(validation split, k): Acc@k}; test sets have no curve, so that no alpha is chosen on them."""
    return tuple((alpha, _at(made.validation, place)) for place, alpha in enumerate(made.alphas))


def _at(answers: Mapping[str, Answers], place: int) -> dict[tuple[str, int], Proportion]:
    return {
        (split, k): Clusters(said.photos).shares(said.hits(place, k))[0] for split, said in answers.items() for k in KS
    }


def _of_split(split: str, said: Answers, place: int, labels: Sequence[str]) -> Iterator[Figure]:
    """Return all classes together, then each that the split shows, in the order of the head's rows."""
    known = bool(said.photos)
    photos = said.photos or [""] * len(said.targets)
    classes, rows = np.unique(said.targets, return_inverse=True)
    whole = Clusters(photos), [""]
    single = Clusters(photos, rows, len(classes)), [labels[row] for row in classes]
    for clusters, names in (whole, single):
        by_k = [_changes(clusters, said, place, k) for k in (KS if said.ranks else KS[:1])]
        for row, label in enumerate(names):
            for k, (before, after, changes) in zip(KS, by_k, strict=False):
                yield Figure(
                    split=split,
                    label=label,
                    k=k,
                    n=changes[row].n,
                    photos=changes[row].photos if known else 0,
                    before=before[row],
                    after=after[row],
                    change=changes[row],
                )


def _changes(
    clusters: Clusters, said: Answers, place: int, k: int
) -> tuple[list[Proportion], list[Proportion], list[Change]]:
    before, after = said.hits(0, k), said.hits(place, k)
    return clusters.shares(before), clusters.shares(after), clusters.changes(before, after)
