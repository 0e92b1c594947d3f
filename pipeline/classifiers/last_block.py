"""A classifier's last block on its own: what it sees of pictures, and logits of it and the head under other weights.

The block is the last stage with weights before pooling and head. It and the head are all that takes other weights here;
every other parameter stays as it is, and so do the statistics of all batch norms, within the block too, for the network
stays in eval mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import torch
from PIL.Image import Image
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from pipeline.errors import ModelError
from pipeline.types import Classifier

BATCH = 32  # pictures a pass

Forward = Callable[[torch.Tensor], torch.Tensor]


class LastBlock(torch.nn.Module):
    """A network that goes on from known inputs of its last block.

    What follows the block runs as the network's own code has it: the network is called with one blank picture, and what
    comes to the block is exchanged for the known inputs. So a pass costs one picture in the layers before the block.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        name: str,
        head: torch.nn.Module,
        logits: Forward,
        run: Callable[[Forward, Sequence[Image]], torch.Tensor],
        blank: torch.Tensor,
    ) -> None:
        """Take a network that nobody else uses, its block and head, and a picture (1, 3, h, w), normalised.

        logits (n, 3, h, w) -> (n, classes) is the network's forward pass, run gives pictures to one in batches.
        """
        super().__init__()
        self.name = name
        self._network = network.eval().requires_grad_(False)
        self._logits, self._run, self._blank = logits, run, blank
        learning = {id(weight) for part in (network.get_submodule(name), head) for weight in part.parameters()}
        self.names = tuple(key for key, weight in network.named_parameters() if id(weight) in learning)

    def theta(self) -> tuple[torch.Tensor, ...]:
        """Return copies of the block's and the head's parameters, in the order of `names`, float32 on the CPU."""
        return tuple(self._network.get_parameter(name).float().cpu().clone() for name in self.names)

    def inputs(self, images: Sequence[Image]) -> torch.Tensor:
        """Return what the block sees, (n, ...) float32 on the CPU.

        Raises `ModelError` when it is not one tensor a picture.
        """

        def block_inputs(pixels: torch.Tensor) -> torch.Tensor:
            found: list[object] = []
            hook = self._before(lambda _, given: found.append(given[0] if given else None))
            try:
                self._logits(pixels)
            finally:
                hook.remove()
            if len(found) == 1 and isinstance(found[0], torch.Tensor) and len(found[0]) == len(pixels):
                return found[0].clone()  # layers that work in place would change it
            raise ModelError(f"The block '{self.name}' does not take one tensor a picture; train the head alone.")

        return self._run(block_inputs, images)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (n, classes) of inputs (n, ...) under the weights that the network has now."""
        hook = self._before(lambda _, given: (inputs.clone(), *given[1:]))
        try:
            return self._logits(self._blank)
        finally:
            hook.remove()

    def _before(self, change: Callable[..., object]) -> RemovableHandle:
        return self._network.get_submodule(self.name).register_forward_pre_hook(change)

    def logits(self, theta: tuple[torch.Tensor, ...], inputs: torch.Tensor) -> torch.Tensor:
        """Return (n, classes) on the CPU of inputs (n, ...) under theta; gradients go to theta."""
        device = self._blank.device
        held = {f"_network.{name}": weight.to(device) for name, weight in zip(self.names, theta, strict=True)}
        batches = [functional_call(self, held, (batch.to(device),)) for batch in torch.split(inputs, BATCH)]
        return torch.cat(batches).float().cpu()


@runtime_checkable
class Unfreezable(Classifier, Protocol):
    """A classifier whose last block can be trained, and which can be saved."""

    def last_block(self) -> LastBlock:
        """Return a copy of the network, cut before its last block. Raises `ModelError` when none can be told."""
        ...

    def with_parameters(self, values: Mapping[str, torch.Tensor]) -> Self:
        """Return the same classifier with other values of the named parameters."""
        ...

    def save(self, folder: Path, card: str) -> None:
        """Write a folder that the same loader opens."""
        ...


def last_block_of(classifier: Classifier) -> LastBlock:
    """Return the classifier's last block. Raises `ModelError` when it has none that can be told."""
    if not isinstance(classifier, Unfreezable):
        raise ModelError(f"The last block of the classifier '{classifier.name}' cannot be told; train the head alone.")
    return classifier.last_block()


def last_stage(network: torch.nn.Module, name: str) -> str:
    """Return the named stage, or the nearest before it that holds weights (a pooling has none), of a sequence its last.

    "" when there is none.
    """
    parent, _, last = name.rpartition(".")
    siblings = dict(network.get_submodule(parent).named_children())
    until = list(siblings)[: list(siblings).index(last) + 1]
    weighty = [key for key in until if any(weight.dim() > 1 for weight in siblings[key].parameters())]
    if not weighty:
        return ""
    found = f"{parent}.{weighty[-1]}".lstrip(".")
    within = siblings[weighty[-1]]
    if weighty[-1] != last and type(within) is torch.nn.Sequential:
        return last_stage(network, f"{found}.{len(within) - 1}")
    return found
