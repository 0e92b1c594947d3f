"""torch.compile on the UNet's blocks, and tiles in the autoencoder: the pictures stay the same to rounding."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.editing.latent_diffusion import LatentDiffusion
from pipeline.editing.prompt_to_prompt import StableDiffusionEditor
from pipeline.settings import Settings

pytestmark = pytest.mark.slow

CAPTION, EDITED = "a photo of a dog in the snow", "a photo of a cat in the snow"


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_compiled_blocks_give_the_same_edits(editor: StableDiffusionEditor, folder: Path, picture: Image.Image) -> None:
    from torch._dynamo.utils import counters

    counters.clear()
    compiled = StableDiffusionEditor.from_pretrained(str(folder), compiled=True)
    assert compiled.model.fingerprint == editor.model.fingerprint
    settings = Settings(num_inference_steps=4, taus=(0.3, 0.8), guidance_scale=3.0)
    made = []
    for engine in (editor, compiled):
        inversion = engine.invert(picture, CAPTION, settings)
        made.append([np.asarray(edit.image, dtype=int) for edit in engine.edit(inversion, [EDITED], settings)])
    assert counters["stats"]["unique_graphs"] > 0
    for eager, fast in zip(*made, strict=True):
        assert np.abs(eager - fast).max() <= 2


@pytest.mark.parametrize(("pixels", "tiled"), [(768, False), (800, True)])
def test_large_pictures_go_through_the_autoencoder_in_tiles(
    pixels: int, tiled: bool, folder: Path, tmp_path: Path
) -> None:
    large = shutil.copytree(folder, tmp_path / "large")
    config = json.loads((large / "unet" / "config.json").read_text())
    (large / "unet" / "config.json").write_text(json.dumps({**config, "sample_size": pixels // 4}))
    model = LatentDiffusion.from_pretrained(str(large))
    assert model.image_size == (pixels, pixels)
    seen: list[int] = []
    model.vae.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    (made,) = model.decode(torch.zeros(1, 4, 24, 16))  # two tiles and a half of the autoencoder's own size
    assert made.size == (64, 96)
    assert (max(seen) < 16) == tiled
