"""Which value of a score parts what analysts kept from what they rejected: a suggestion for the gates, with its n.

The suggested threshold is the one with the largest Youden index, the share of kept edits at or above it plus the share
of rejected ones below it, minus 1. Pure arithmetic on scores and verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from pipeline.intervals import wilson
from pipeline.types import CounterfactualRecord, Proportion, Scores

MIN_N = 5  # of either verdict; below it a threshold says nothing
NAMES = tuple(field.name for field in fields(Scores))


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """One score beside the verdicts."""

    score: str
    kept: tuple[float, ...]
    rejected: tuple[float, ...]
    undecided: tuple[float, ...]
    threshold: float | None  # None with fewer than `MIN_N` of either verdict
    kept_above: Proportion  # share of kept edits at or above the threshold
    rejected_below: Proportion  # share of rejected edits below it


def separations(judged: Iterable[tuple[CounterfactualRecord, str]]) -> tuple[Separation, ...]:
    """One row per score of (counterfactual, verdict); "unsure" counts as undecided."""
    pairs = list(judged)
    return tuple(_separation(name, pairs) for name in NAMES)


def threshold(kept: Sequence[float], rejected: Sequence[float]) -> float | None:
    """The cut with the largest Youden index, half way between two values; the lowest of equals; None for too few."""
    if min(len(kept), len(rejected)) < MIN_N:
        return None
    values = np.unique([*kept, *rejected])
    cuts = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    above = (np.asarray(kept)[:, None] >= cuts).mean(axis=0)
    below = (np.asarray(rejected)[:, None] < cuts).mean(axis=0)
    return float(cuts[int(np.argmax(above + below))])


def _separation(name: str, pairs: Sequence[tuple[CounterfactualRecord, str]]) -> Separation:
    def values(*verdicts: str) -> tuple[float, ...]:
        return tuple(float(getattr(one.scores, name)) for one, verdict in pairs if verdict in verdicts)

    kept, rejected = values("keep"), values("reject")
    cut = threshold(kept, rejected)
    return Separation(
        score=name,
        kept=kept,
        rejected=rejected,
        undecided=values("", "unsure"),
        threshold=cut,
        kept_above=wilson(sum(value >= cut for value in kept) if cut is not None else 0, len(kept)),
        rejected_below=wilson(sum(value < cut for value in rejected) if cut is not None else 0, len(rejected)),
    )
