"""How much goes through a network at once: as much as memory holds, measured on the first part, halved when it was not.

Knows networks and the memory of their device, but nothing of what they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

import psutil
import torch

from pipeline.errors import EditingError

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

SHARE = 0.5  # of the free memory that a part may take
Result = TypeVar("Result")


class MicroBatches:
    """How many rows one call of a network takes. One for each network; learns for as long as it lives."""

    def __init__(self, network: torch.nn.Module, most: int) -> None:
        """Take at most `most` rows a call, however much memory there is."""
        self.rows = most
        self.row_bytes = (
            0  # of all outputs of all layers, for one row: an upper bound of what it needs; 0: not known yet
        )
        self._network = network

    def each(self, count: int, work: Callable[[slice], Result], *, rows: int = 1, beside: int = 0) -> list[Result]:
        """Return what `work` makes of the items 0 to `count`, part by part.

        An item takes `rows` rows of a call, which has `beside` more. When memory runs out all items are made anew, half
        as many at once; the shortage is raised when there is too little for one.
        """
        while True:
            size = max(1, (self.rows - beside) // rows)
            try:
                return [work(part) for part in self._parts(count, rows, beside)]
            except RuntimeError as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            self.rows = beside + rows * (min(size, count) // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _parts(self, count: int, rows: int, beside: int) -> Iterator[slice]:
        """Yield slices of 0 to `count`; the very first holds one item and is measured."""
        start = 0
        if not self.row_bytes:
            with _row_bytes(self._network) as outputs:
                yield slice(0, 1)
            self.row_bytes = max(1, sum(outputs))
            self.rows = min(self.rows, int(SHARE * free_memory(self._network)) // self.row_bytes)
            start = 1
        size = max(1, (self.rows - beside) // rows)
        while start < count:
            yield slice(start, min(start + size, count))
            start += size


def free_memory(network: torch.nn.Module) -> int:
    """Return the bytes that are free where the network runs."""
    device = next(network.parameters()).device
    if device.type != "cuda":
        return int(psutil.virtual_memory().available)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + cached


@contextmanager
def _row_bytes(network: torch.nn.Module) -> Iterator[list[int]]:
    """Measure the bytes a row of each output of each layer that has no layers inside."""
    outputs: list[int] = []

    def count(_: torch.nn.Module, __: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            outputs.append(output.nbytes // len(output))

    layers = [layer for layer in network.modules() if not any(layer.children())]
    handles = [layer.register_forward_hook(count) for layer in layers]
    is_compiled = any(layer._compiled_call_impl is not None for layer in network.modules())
    try:
        # Otherwise the hooks would be compiled into the layers for good.
        with torch.compiler.set_stance("force_eager") if is_compiled else nullcontext():
            yield outputs
    finally:
        for handle in handles:
            handle.remove()


def retry_with_checkpointing(unet: UNet2DConditionModel, work: Callable[[], Result]) -> Result:
    """Return `work()`, made once more when memory runs out, with activations made again instead of kept.

    Checkpointing then stays on, for the next call would fare no better; the caller switches it off.
    """
    try:
        return work()
    except RuntimeError as error:
        if unet.is_gradient_checkpointing or not is_out_of_memory(error):
            raise
    unet.enable_gradient_checkpointing()
    return work()


@contextmanager
def report_shortage(attempt: str) -> Iterator[None]:
    """Turn running out of memory, when nothing smaller could be tried, into an `EditingError`."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise EditingError(
            f"{attempt} ran out of memory, even one sample at a time; free memory on the device, "
            "or choose a smaller model or the dtype float16."
        ) from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether memory ran out: CUDA has an error of its own; on the CPU the allocator says so in words."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
