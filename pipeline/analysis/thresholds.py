"""Which value of a score parts what analysts kept from what they rejected: a suggestion for the gates, with its n.

The suggested threshold is the one with the largest Youden index, the share of kept edits at or above it plus the share
of rejected ones below it, minus 1. On the edits that it was found on any threshold looks good, so both shares are told
out of sample: each photo's edits are judged by the threshold that the other photos give (cross-validation by photo).
Pure arithmetic on scores and verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from pipeline.scores import SCORES
from pipeline.statistics.intervals import share
from pipeline.types import CounterfactualRecord, Proportion

MIN_N = 5  # photos with an edit of either verdict; below it a threshold says nothing
FOLDS = 10  # of photos, at most

Verdict = tuple[str, CounterfactualRecord, str]
"""Key of the photo, its edit and what was said of it: "keep", "reject", "unsure" or ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """One score beside the verdicts."""

    score: str
    kept: tuple[float, ...]
    rejected: tuple[float, ...]
    undecided: tuple[float, ...]
    threshold: float | None  # None with fewer than `MIN_N` photos of either verdict
    kept_above: Proportion  # share of kept edits at or above the threshold that other photos give
    rejected_below: Proportion  # share of rejected edits below the threshold that other photos give

    @property
    def helps(self) -> bool:
        """Return whether both shares sum to more than 1, which is chance, even at the lower ends of their intervals."""
        return self.threshold is not None and self.kept_above.low + self.rejected_below.low > 1


def separations(judged: Iterable[Verdict]) -> tuple[Separation, ...]:
    """Return one row per score; "unsure" counts as undecided."""
    verdicts = list(judged)
    return tuple(_separation(name, verdicts) for name in SCORES)


def threshold(kept: Sequence[float], rejected: Sequence[float]) -> float | None:
    """Return the cut with the largest Youden index, half way between two values, the middle one of equals."""
    if not len(kept) or not len(rejected):
        return None
    values = np.unique([*kept, *rejected])
    cuts = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    above = 1 - np.searchsorted(np.sort(kept), cuts) / len(kept)
    below = np.searchsorted(np.sort(rejected), cuts) / len(rejected)
    merit = (above + below).round(12)
    best = np.flatnonzero(merit == merit.max())
    return float(cuts[best[len(best) // 2]])


def out_of_sample(
    kept: Sequence[float], rejected: Sequence[float], kept_photos: Sequence[str], rejected_photos: Sequence[str]
) -> tuple[Proportion, Proportion]:
    """Return the shares of kept edits at or above, and of rejected ones below, the threshold of other photos."""
    names = sorted({*kept_photos, *rejected_photos})
    fold = {name: place % FOLDS for place, name in enumerate(names)}
    above, below = np.zeros(len(kept), bool), np.zeros(len(rejected), bool)
    sides = [(np.asarray(kept), np.array([fold[name] for name in kept_photos]), above)]
    sides += [(np.asarray(rejected), np.array([fold[name] for name in rejected_photos]), below)]
    for left_out in range(min(FOLDS, len(names))):
        cut = threshold(*(values[folds != left_out].tolist() for values, folds, _ in sides))
        for values, folds, hits in sides:
            mine = folds == left_out
            hits[mine] = cut is not None and values[mine] >= cut
    return share(above.tolist(), kept_photos), share((~below).tolist(), rejected_photos)


def _separation(name: str, judged: Sequence[Verdict]) -> Separation:
    def those(*verdicts: str) -> tuple[list[float], list[str]]:
        found = [(float(getattr(item.scores, name)), photo) for photo, item, verdict in judged if verdict in verdicts]
        known = [(value, photo) for value, photo in found if isfinite(value)]
        return [value for value, _ in known], [photo for _, photo in known]

    (kept, kept_photos), (rejected, rejected_photos) = those("keep"), those("reject")
    enough = min(len(set(kept_photos)), len(set(rejected_photos))) >= MIN_N
    above, below = out_of_sample(kept, rejected, kept_photos, rejected_photos)
    return Separation(
        score=name,
        kept=tuple(kept),
        rejected=tuple(rejected),
        undecided=tuple(those("", "unsure")[0]),
        threshold=threshold(kept, rejected) if enough else None,
        kept_above=above,
        rejected_below=below,
    )
