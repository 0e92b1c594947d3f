"""What theta(alpha) = (1 - alpha) theta_0 + alpha theta_1 (WiSE-FT) says of pictures, for every alpha. Tensors only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch.nn.functional import cross_entropy, linear

from pipeline.reinforcement.heads import Network, Part, Theta, interpolate
from pipeline.types import Answers


class Blend(ABC):
    """What theta(alpha) says of one part."""

    targets: torch.Tensor  # (n,)

    @abstractmethod
    def at(self, alpha: float) -> torch.Tensor:
        """Return the logits (n, classes) of theta(alpha)."""

    def answers(self, alphas: Sequence[float], names: Sequence[str], photos: Sequence[str]) -> Answers:
        """Return what every alpha says of every picture; `names` and `photos` (n,) are those of `Answers`."""
        found = [_said(self.at(alpha), self.targets) for alpha in alphas]
        predicted, ranks, losses = zip(*found, strict=True)
        return Answers(
            names=tuple(names),
            photos=tuple(photos),
            targets=tuple(self.targets.tolist()),
            predicted=predicted,
            ranks=ranks,
            losses=losses,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Logits(Blend):
    """What both heads say of one part. Blending heads is blending their logits, so one product serves every alpha."""

    theta_0: torch.Tensor  # (n, classes)
    theta_1: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def of(cls, theta_0: Theta, theta_1: Theta, part: Part) -> Self:
        """Return the logits of one part's features."""
        return cls(
            theta_0=linear(part.features, *theta_0), theta_1=linear(part.features, *theta_1), targets=part.targets
        )

    def at(self, alpha: float) -> torch.Tensor:
        """Return the logits (n, classes) of theta(alpha)."""
        return (1 - alpha) * self.theta_0 + alpha * self.theta_1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights(Blend):
    """The same of weights in more than one layer: logits are not linear in them, so every alpha is a forward pass."""

    theta_0: Theta
    theta_1: Theta
    part: Part
    network: Network

    @property
    def targets(self) -> torch.Tensor:  # type: ignore[override]
        """Return each picture's row (n,) of the head."""
        return self.part.targets

    def at(self, alpha: float) -> torch.Tensor:
        """Return the logits (n, classes) of theta(alpha)."""
        return self.network(interpolate(self.theta_0, self.theta_1, alpha), self.part.features)


def _said(logits: torch.Tensor, targets: torch.Tensor) -> tuple[tuple[int, ...], tuple[int, ...], float]:
    """Return answers, ranks of the targets (among equals the lower row first, as argmax does) and the mean loss."""
    own, rows = logits.gather(1, targets[:, None]), torch.arange(logits.shape[1])
    ranks = ((logits > own) | ((logits == own) & (rows < targets[:, None]))).sum(1)
    said = logits.argmax(-1)
    return tuple(said.tolist()), tuple(ranks.tolist()), float(cross_entropy(logits, targets))
