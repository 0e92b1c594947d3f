"""The training of the tiny `AutoencoderKL`: 96 x 96 pictures to 24 x 24 latents with 4 channels, a quarter of the side.

An eighth of the side, as in Stable Diffusion, blurs things that are a few pixels wide at this size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from pipeline.tiny.data import Pixels, Scenes
from pipeline.tiny.loop import Run, fit
from pipeline.tiny.world import SIZE

KL_WEIGHT = 1e-6
BATCH = 8


def new_autoencoder() -> AutoencoderKL:
    """Return an untrained autoencoder, 2.7 M weights."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(32, 64, 128),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=1.0,
    )


def to_tensor(pixels: Pixels) -> Tensor:
    """Turn uint8 (n, H, W, 3) into float32 (n, 3, H, W) in -1..1, channels last in memory."""
    tensor = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    return tensor.contiguous(memory_format=torch.channels_last)


def edges(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences between neighbouring pixels, across and down."""
    return pictures[..., 1:] - pictures[..., :-1], pictures[..., 1:, :] - pictures[..., :-1, :]


def train_autoencoder(data: Scenes, folder: Path, steps: int, decoder_steps: int) -> AutoencoderKL:
    """Train all of it, then the decoder alone, which costs less a step and leaves the latents as they are."""
    model = new_autoencoder().to(memory_format=torch.channels_last)

    def decoded(latents: Tensor, pictures: Tensor) -> Tensor:
        """Return L1 + the squared error + the error of the edges."""
        found = model.decode(latents).sample.float()
        sharpness = sum(F.l1_loss(a, b) for a, b in zip(edges(found), edges(pictures), strict=True))
        return F.l1_loss(found, pictures) + F.mse_loss(found, pictures) + sharpness

    def batch(generator: torch.Generator) -> Tensor:
        return to_tensor(data.pixels[torch.randint(len(data.scenes), (BATCH,), generator=generator).numpy()])

    def whole(step: int, generator: torch.Generator) -> Tensor:
        """Return the loss of both halves, with a slight pull to the unit Gaussian."""
        pictures = batch(generator)
        posterior = model.encode(pictures).latent_dist
        return decoded(posterior.sample(), pictures) + KL_WEIGHT * posterior.kl().mean()

    def decoder_alone(step: int, generator: torch.Generator) -> Tensor:
        pictures = batch(generator)
        with torch.no_grad():
            latents = model.encode(pictures).latent_dist.mode()
        return decoded(latents, pictures)

    fit(model, whole, Run(name="autoencoder", folder=folder, steps=steps, learning_rate=1.5e-3, average=0.999))
    model.encoder.requires_grad_(False)
    model.quant_conv.requires_grad_(False)
    run = Run(name="decoder", folder=folder, steps=decoder_steps, learning_rate=1e-3, average=0.999)
    fit(model, decoder_alone, run)
    model.register_to_config(scaling_factor=_scaling_factor(model, data))
    return model


@torch.inference_mode()
def _scaling_factor(model: AutoencoderKL, data: Scenes) -> float:
    """Return what brings the latents to unit variance, as Stable Diffusion's 0.18215 does for its own."""
    latents = torch.cat(
        [model.encode(to_tensor(data.pixels[k : k + 32])).latent_dist.mode() for k in range(0, 256, 32)]
    )
    return round(1.0 / latents.std().item(), 5)
