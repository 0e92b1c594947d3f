"""Twins of the models that profiles name: same class, same files, same shapes of configuration, random and small.

What a profile does with a checkpoint of billions of weights, it does with its twin of some hundred thousand.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionInstructPix2PixPipeline, StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel

from tests.architectures import clip_tokenizer, sd1_scheduler, sd1_unet

WIDTH = 32


def diffusion(folder: Path, pipe: type = StableDiffusionPipeline, **changes: object) -> Path:
    """A Stable Diffusion 1.x, 64 x 64 pixels; `changes` are the UNet's, such as those of a distilled one."""
    torch.manual_seed(0)
    text = CLIPTextConfig(
        hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, projection_dim=WIDTH,
        bos_token_id=49406, eos_token_id=49407, pad_token_id=49407,
    )  # fmt: skip
    vae = AutoencoderKL(
        sample_size=64, block_out_channels=(8, 8, 16, 16), layers_per_block=1, latent_channels=4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, scaling_factor=0.18215,
    )  # fmt: skip
    small = {"sample_size": 8, "block_out_channels": (16, 32, 32, 32), "norm_num_groups": 8, "attention_head_dim": 4}
    made = pipe(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=clip_tokenizer(),
        unet=sd1_unet(**{**small, "cross_attention_dim": WIDTH, **changes}),
        scheduler=sd1_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.save_pretrained(folder)
    return folder


def instruct_pix2pix(folder: Path) -> Path:
    """An InstructPix2Pix: a Stable Diffusion whose UNet sees the picture's latent beside the noise."""
    return diffusion(folder, StableDiffusionInstructPix2PixPipeline, in_channels=8)
