"""Where models run and in which precision, with the reason; how much memory there is, and how much weights take.

Knows torch and the header of a safetensors file, and no model. Importing this loads no model library.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import InputError

LARGE = ("captioner", "perturber", "diffusion")  # those that run in the device's precision; the others are small
QUANTIZED = ("captioner", "perturber")  # in fewer bits a diffusion model loses what inversion needs
ROOM = 1.25  # times its weights that a model needs while it works
ZERO_GPU = (
    "This Space is on ZeroGPU, which lends a GPU to one call at a time, in a process of its own that the models, their "
    "progress and a cancel do not reach; choose CPU basic for the tiny profile, T4 small for light, an A100 for paper."
)
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "8-bit": 1, "4-bit": 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A device and the precision of the large models on it."""

    device: str
    dtype: str
    reason: str  # why this precision
    quantization: str = ""  # of captioner and language model; "" where it is not asked for
    obstacle: str = ""  # why it is not possible here

    def precision(self, role: str) -> str:
        """Return the entry of `BYTES` for a model in this role."""
        if role in QUANTIZED and self.quantization:
            return self.quantization
        return self.dtype if role in LARGE else "float32"


def place(wanted: str, dtype: str, quantization: str = "") -> Place:
    """Return the wanted device, or CUDA where there is one, otherwise the CPU; the rest is what the profile asks for.

    Raises `InputError` for a device that is not here, and on ZeroGPU unless a device is named: what looks like CUDA
    there computes in decorated calls only.
    """
    if not wanted and os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):
        raise InputError(ZERO_GPU)
    found = _place(wanted, dtype)
    return replace(found, quantization=quantization, obstacle=_obstacle(found.device, quantization))


def _obstacle(device: str, quantization: str) -> str:
    """Return why weights of so few bits are not possible here; "" when they are, or are not asked for."""
    if quantization and not device.startswith("cuda"):
        return f"weights in {quantization} need CUDA, and this is {device}"
    if quantization and importlib.util.find_spec("bitsandbytes") is None:
        return f"weights in {quantization} need the package bitsandbytes, which is not installed"
    return ""


def weights_in(device: str, dtype: str, quantization: str) -> dict[str, object]:
    """Return what tells from_pretrained the precision; quantised weights go to their device at once."""
    if not quantization:
        return {"dtype": dtype}
    import torch
    from transformers import BitsAndBytesConfig

    config = (
        BitsAndBytesConfig(load_in_8bit=True)
        if quantization == "8-bit"
        else BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, dtype)
        )
    )
    return {"dtype": dtype, "quantization_config": config, "device_map": {"": device}}


def _place(wanted: str, dtype: str) -> Place:
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
    """Give memory back that nothing refers to any more."""
    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def weight_bytes(path: str, dtype: str) -> int:
    """Return the bytes that a folder's safetensors, or one such file, take in this precision; 0 for anything else."""
    return int(sum(_parameters(file) for file in _weights(Path(path))) * BYTES[dtype])


def _weights(path: Path) -> Iterator[Path]:
    if path.suffix == ".safetensors" and path.is_file():
        yield path
    elif path.is_dir():
        yield from (file for file in path.rglob("*.safetensors") if ".fp16." not in file.name)


def _parameters(file: Path) -> int:
    """Return how many numbers a safetensors file holds, by its header alone; 0 when that cannot be read."""
    try:
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    except (OSError, ValueError, MemoryError, OverflowError):
        return 0
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
