"""Runs of a reinforcement that were never trained, with the answers that a test wants."""

from __future__ import annotations

from collections.abc import Set

import torch

from pipeline.types import Answers, Reinforcement

LABELS = ("tent", "boat", "cart", "kite", "drum", "sled")
EDITS = "held-out counterfactuals"


def split_of(
    photos: int, edits: int = 1, *, wrong: Set[int], lost: Set[int] = frozenset(), labels: int = 2, rank: int = 1
) -> Answers:
    """Pictures of photos 0..: all edits of those in `wrong` become right at alpha 1, those in `lost` become wrong.

    Photo n shows label n modulo `labels`; the right label of what is named wrong stands at place `rank`.
    """
    of = [photo for photo in range(photos) for _ in range(edits)]
    targets = tuple(photo % labels for photo in of)
    hits = [[photo not in wrong for photo in of], [photo not in lost for photo in of]]
    said = [[target if hit else target + 1 for target, hit in zip(targets, right, strict=True)] for right in hits]
    return Answers(
        names=tuple(f"{photo}-{number}" for number, photo in enumerate(of)),
        photos=tuple(map(str, of)),
        targets=targets,
        predicted=tuple(map(tuple, said)),
        ranks=tuple(tuple(0 if hit else rank for hit in right) for right in hits),
        losses=(1.0, 0.5),
    )


def run_of(answers: dict[str, Answers], validation: dict[str, Answers] | None = None) -> Reinforcement:
    """A run at alpha 1 that knows alpha 0 and 1, chosen on validation; nobody has seen its test sets."""
    theta = (torch.zeros(len(LABELS), 4), torch.zeros(len(LABELS)))
    return Reinforcement(
        classifier="resnet",
        labels=LABELS,
        theta_0=theta,
        theta_1=theta,
        alphas=(0.0, 1.0),
        alpha=1.0,
        chosen=1.0,
        answers=answers,
        validation=validation or {},
        losses=(1.0, 0.5),
    )
