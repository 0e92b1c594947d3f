"""A training of a head that can be stopped anywhere: all that its next epoch depends on, on the disk after every epoch.

A file belongs to one training: pictures, first head and recipe are told by a fingerprint, and a file of another one is
passed over. The number of epochs is not part of it, so a longer training goes on where a shorter one was stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pipeline.errors import StoreError
from pipeline.store.media import write_whole

Tensors = tuple[torch.Tensor, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class Progressed:
    """Where a training is after an epoch; a new one has seen none."""

    best: Tensors  # the parameters with the lowest validation loss so far
    losses: list[float] = field(default_factory=list)  # on validation, of theta_0 first
    accuracies: list[float] = field(default_factory=list)
    reference: float = 0.0  # the loss that the next better epoch has to beat
    waited: int = 0  # epochs since then

    @property
    def epoch(self) -> int:
        """Return the number of epochs done."""
        return len(self.losses) - 1


def fingerprint(parts: Sequence[torch.Tensor], recipe: str) -> torch.Tensor:
    """Return 32 numbers, (32,) uint8, that tell trainings apart."""
    told = hashlib.sha256(recipe.encode())
    for part in parts:
        told.update(repr((tuple(part.shape), part.dtype)).encode())
        told.update(part.detach().cpu().contiguous().numpy().tobytes())
    return torch.tensor(list(told.digest()), dtype=torch.uint8)


def write(
    file: Path,
    mark: torch.Tensor,
    parameters: Sequence[torch.Tensor],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    at: Progressed,
) -> None:
    """Replace the file in one step. Raises `StoreError` when the disk does not take it."""
    from safetensors.torch import save

    held = {"mark": mark, "generator": generator.get_state()}
    held["curves"] = torch.tensor([at.losses, at.accuracies], dtype=torch.float64)
    held["waiting"] = torch.tensor([at.reference, at.waited], dtype=torch.float64)
    for number, (parameter, best) in enumerate(zip(parameters, at.best, strict=True)):
        held |= {f"now.{number}": parameter.detach(), f"best.{number}": best}
        held |= {f"{name}.{number}": value for name, value in optimizer.state[parameter].items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, save({name: tensor.clone().contiguous() for name, tensor in held.items()}))
    except OSError as error:
        raise StoreError(f"The training cannot be kept: {error.strerror}; free some space.", path=file) from error


def resume(
    file: Path,
    mark: torch.Tensor,
    parameters: Sequence[torch.Tensor],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> Progressed | None:
    """Put parameters, optimizer and generator where they were; None when the file is of no use."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        held = load_file(file)
        if not torch.equal(held["mark"], mark):
            return None
        losses, accuracies = held["curves"].tolist()
        reference, waited = held["waiting"].tolist()
        best = tuple(held[f"best.{number}"] for number in range(len(parameters)))
        states = [_state(held, number) for number in range(len(parameters))]
        now = [held[f"now.{number}"] for number in range(len(parameters))]
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    with torch.no_grad():
        for parameter, value, state in zip(parameters, now, states, strict=True):
            parameter.copy_(value)
            optimizer.state[parameter] = state
    generator.set_state(held["generator"])
    return Progressed(best=best, losses=losses, accuracies=accuracies, reference=reference, waited=int(waited))


def _state(held: dict[str, torch.Tensor], number: int) -> dict[str, torch.Tensor]:
    """Return the optimizer's own tensors of one parameter."""
    ours = ("now", "best")
    names = (name.rpartition(".") for name in held)
    return {name: held[f"{name}.{place}"] for name, _, place in names if place == str(number) and name not in ours}
