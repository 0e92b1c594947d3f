"""Where models run and in which precision, with the reason; how much memory there is, and how much weights take.

Knows torch and the header of a safetensors file, and no model. Importing this loads no model library.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError

ROOM = 1.25  # times its weights that a model needs while it works
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A device and the precision of the large models on it."""

    device: str
    dtype: str
    reason: str  # why this precision


def place(wanted: str, dtype: str) -> Place:
    """The wanted device, or CUDA where there is one, otherwise the CPU; `dtype` is what the profile asks for.

    Raises `InputError` for a device that is not here.
    """
    import torch

    device = wanted or ("cuda" if torch.cuda.is_available() else "cpu")
    kind = device.partition(":")[0]
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"The device '{wanted}' was asked for, but no CUDA device is here; use cpu.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"The device '{wanted}' was asked for, but no Apple GPU is here; use cpu.")
    if kind == "cpu":
        return Place(device=device, dtype="float32", reason="half precision is slow and partly missing on a CPU")
    if kind != "cuda":
        return Place(device=device, dtype="float32", reason=f"half precision has not been tried on {kind}")
    if dtype == "bfloat16" and not torch.cuda.is_bf16_supported():
        return Place(device=device, dtype="float16", reason="this GPU has no bfloat16, which the profile asks for")
    return Place(device=device, dtype=dtype, reason="as the profile says")


def free_memory(device: str) -> int:
    """Free bytes where models of this device lie: of the GPU, or of the computer."""
    import psutil
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def release(device: str) -> None:
    """Gives memory back that nothing refers to any more."""
    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def weight_bytes(path: str, dtype: str) -> int:
    """What the safetensors of a folder, or one such file, take in memory in this precision; 0 for anything else."""
    return sum(_parameters(file) for file in _weights(Path(path))) * BYTES[dtype]


def _weights(path: Path) -> Iterator[Path]:
    if path.suffix == ".safetensors" and path.is_file():
        yield path
    elif path.is_dir():
        yield from (file for file in path.rglob("*.safetensors") if ".fp16." not in file.name)


def _parameters(file: Path) -> int:
    """Numbers in a safetensors file, from its header alone; 0 when that cannot be read."""
    try:
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    except (OSError, ValueError, MemoryError, OverflowError):
        return 0
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
