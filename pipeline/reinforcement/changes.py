"""Which pictures a reinforcement mended, broke or left wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pipeline.types import Answers, Reinforcement

BROKEN, FAILING, FIXED = KINDS = ("newly broken", "still failing", "fixed")


class ChangedAnswer(NamedTuple):
    """One picture that a classifier names wrong before or after."""

    split: str
    name: str  # as in `Answers`
    photo: str  # as in `Answers`; where it was not kept, the name
    kind: str  # one of `KINDS`
    label: str
    before: str
    after: str


def changes(reinforcement: Reinforcement, answers: Mapping[str, Answers]) -> tuple[ChangedAnswer, ...]:
    """Return what theta_0 or theta(alpha) names wrong, one entry per picture, in the order of the splits.

    `answers` are the run's own `answers` or `validation`.
    """
    place = reinforcement.alphas.index(reinforcement.alpha)
    found = []
    for split, said in answers.items():
        rows = zip(
            said.names, said.photos or said.names, said.targets, said.predicted[0], said.predicted[place], strict=True
        )
        for name, photo, target, before, after in rows:
            if before == after == target:
                continue
            kind = FIXED if after == target else BROKEN if before == target else FAILING
            labels = (reinforcement.labels[row] for row in (target, before, after))
            found.append(ChangedAnswer(split, name, photo, kind, *labels))
    return tuple(found)
