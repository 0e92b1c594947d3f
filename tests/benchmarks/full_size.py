"""One edit at the size of Stable Diffusion 1.x with random weights: `python -m tests.benchmarks.full_size`.

Writes the 860 M UNet, the autoencoder and the text encoder as a diffusers folder, opens it with the product's own
loader, edits a picture of 512 x 512 and prints seconds and peak memory. Needs 5 GB of disk for the time it runs. The
picture it makes means nothing; that it is made, in this much memory, is what is measured. Status 1 above the limit.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.architectures import write_diffusion

LIMIT = 24 * 2**30  # bytes
CAPTIONS = ("a photo of a dog in the snow", "a photo of a dog on the beach")


def peak() -> int:
    """Bytes of the largest resident set that this process has had; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def picture() -> Image.Image:
    """512 x 512 with edges and gradients."""
    y, x = np.mgrid[0:512, 0:512]
    return Image.fromarray(np.stack((x // 2, y // 2, 255 * ((x // 64 + y // 64) % 2)), axis=-1).astype(np.uint8))


def measure(folder: Path, steps: int, taus: tuple[float, ...], device: str, dtype: str) -> dict[str, object]:
    """Seconds of each stage, GiB of the peak, and the sizes of what was edited."""
    from pipeline.editing.prompt_to_prompt import StableDiffusionEditor
    from pipeline.settings import Settings

    settings = Settings(num_inference_steps=steps, taus=taus)
    started = time.perf_counter()
    editor = StableDiffusionEditor.from_pretrained(str(folder), device=device, dtype=dtype)
    opened = time.perf_counter()
    inversion = editor.invert(picture(), CAPTIONS[0], settings)
    inverted = time.perf_counter()
    edits = list(editor.edit(inversion, CAPTIONS[1:], settings))
    edited = time.perf_counter()
    unet = editor.model.unet
    row: dict[str, object] = {
        "unet_parameters": sum(parameter.numel() for parameter in unet.parameters()),
        "latent": list(inversion.trajectory.shape[1:]),
        "edits": [edit.image.size for edit in edits],
        "steps": steps,
        "device": device,
        "dtype": str(unet.dtype),
        "open_s": round(opened - started, 1),
        "invert_s": round(inverted - opened, 1),
        "edit_s": round(edited - inverted, 1),
        "peak_GiB": round(peak() / 2**30, 2),
    }
    if device.startswith("cuda"):
        row["peak_cuda_GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return row


def main() -> int:
    """0 when the peak stays below the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--tau", type=float, action="append", help="repeat for several (default: 0.5)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--write", type=Path, help="only write the random model to this folder")
    options = parser.parse_args()
    if options.write:
        write_diffusion(options.write)
        return 0
    with tempfile.TemporaryDirectory(prefix="full-size-") as folder:
        # In a process of its own, so that making the weights does not count.
        subprocess.run([sys.executable, "-m", "tests.benchmarks.full_size", "--write", folder], check=True)
        row = measure(Path(folder), options.steps, tuple(options.tau or (0.5,)), options.device, options.dtype)
    sys.stdout.write(json.dumps(row) + "\n")
    return int(peak() > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
