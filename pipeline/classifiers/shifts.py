"""How two predictions of a classifier differ: flip, sensitivity and shift.

Pure; they read the full distribution, not a top-5. Importing this module loads no model library.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.types import Prediction, Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One label in two predictions: probabilities in 0..1, ranks from 1."""

    label: str
    p_before: float
    p_after: float
    rank_before: int
    rank_after: int


def is_prediction_flip(before: Prediction | Standing, after: Prediction | Standing) -> bool:
    """Return whether the most probable label is another one."""
    return before.first != after.first


def sensitivity(label: str, control: Prediction, after: Prediction) -> float:
    """Return the signed change of p(label), -1..1: below 0 when the edit cost confidence.

    `control` is the prediction on the reconstruction, so that the inversion's own loss does not count.
    Raises `LabelError` for an unknown label.
    """
    return after.probability(label) - control.probability(label)


def shift(before: Prediction, after: Prediction, k: int = 5) -> tuple[Shift, ...]:
    """Return every label of both top-k with its probability and rank in both, the most probable before first."""
    labels = dict.fromkeys(label for prediction in (before, after) for label, _ in prediction.top(k))
    return tuple(
        Shift(
            label=label,
            p_before=before.probability(label),
            p_after=after.probability(label),
            rank_before=before.rank(label),
            rank_after=after.rank(label),
        )
        for label in labels
    )
