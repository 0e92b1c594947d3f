"""What theta(alpha) = (1 - alpha) theta_0 + alpha theta_1 (WiSE-FT) says of pictures, for every alpha. Tensors only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch.nn.functional import linear

from pipeline.heads import Network, Part, Theta, interpolate
from pipeline.types import Answers


class Blend(ABC):
    """What theta(alpha) says of one part."""

    targets: torch.Tensor  # (n,)

    @abstractmethod
    def at(self, alpha: float) -> torch.Tensor:
        """(n, classes) of theta(alpha)."""

    def right(self, alpha: float) -> list[bool]:
        """Which pictures theta(alpha) names right."""
        return [bool(hit) for hit in self.at(alpha).argmax(-1) == self.targets]

    def answers(self, alphas: Sequence[float], names: Sequence[str]) -> Answers:
        """What every alpha says of every picture."""
        predicted = tuple(tuple(self.at(alpha).argmax(-1).tolist()) for alpha in alphas)
        return Answers(names=tuple(names), targets=tuple(self.targets.tolist()), predicted=predicted)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Logits(Blend):
    """What both heads say of one part. Blending heads is blending their logits, so one product serves every alpha."""

    theta_0: torch.Tensor  # (n, classes)
    theta_1: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def of(cls, theta_0: Theta, theta_1: Theta, part: Part) -> Self:
        """Of one part's features."""
        return cls(
            theta_0=linear(part.features, *theta_0), theta_1=linear(part.features, *theta_1), targets=part.targets
        )

    def at(self, alpha: float) -> torch.Tensor:
        """(n, classes) of theta(alpha)."""
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
        """(n,) rows of the head."""
        return self.part.targets

    def at(self, alpha: float) -> torch.Tensor:
        """(n, classes) of theta(alpha)."""
        return self.network(interpolate(self.theta_0, self.theta_1, alpha), self.part.features)
