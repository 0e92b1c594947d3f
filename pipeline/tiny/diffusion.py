"""The training of the tiny Stable Diffusion: `UNet2DConditionModel` and `CLIPTextModel` together, on latents made once.

Loss: the error of the predicted noise (Ho et al., 2020) with min-SNR weights (Hang et al., 2023), which reach the same
quality in a fraction of the steps. Schedule and prediction type are Stable Diffusion 1.4's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pipeline.tiny.autoencoder import to_tensor
from pipeline.tiny.data import Scenes
from pipeline.tiny.loop import Run, fit
from pipeline.tiny.words import TEXT_WINDOW, clip_tokenizer
from pipeline.tiny.world import PHRASINGS, SIZE

WIDTH = 128  # of the text encoder
SNR_CAP = 5.0
CAPTION_DROP = 0.1  # share of empty captions, for classifier-free guidance


def new_scheduler() -> DDIMScheduler:
    """Return Stable Diffusion 1.4's schedule."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


class Denoiser(nn.Module):
    """UNet and text encoder as one module, so that they are trained and averaged together."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.unet = UNet2DConditionModel(
            sample_size=SIZE // 4,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(64, 128, 128),
            # Attention at 12 x 12 and 6 x 6: at 24 x 24 it doubles the cost of a step.
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=WIDTH,
            attention_head_dim=2,
            norm_num_groups=16,
        )
        # Explicit attention is twice as fast to train on a CPU as the fused kernel's backward pass at this size.
        self.unet.set_attn_processor(AttnProcessor())
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                intermediate_size=4 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=TEXT_WINDOW,
                projection_dim=WIDTH,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )

    def forward(self, latents: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """Return the predicted noise, like `latents` (n, 4, h, w)."""
        words = self.text_encoder(ids)[0]
        noise: Tensor = self.unet(latents, timesteps, words).sample
        return noise


@torch.inference_mode()
def encode(autoencoder: AutoencoderKL, data: Scenes, path: Path) -> Tensor:
    """Return (n, 4, h, w) float16 latents of all pictures, scaled to unit variance; kept at `path`."""
    if not path.exists():
        scale = autoencoder.config.scaling_factor
        rows = []
        for start in range(0, len(data.scenes), 64):
            with torch.autocast("cpu", torch.bfloat16):
                latents = autoencoder.encode(to_tensor(data.pixels[start : start + 64])).latent_dist.mode()
            rows.append((latents.float() * scale).half().numpy())
        np.save(path, np.concatenate(rows))
    return torch.from_numpy(np.load(path))


def tokenise(data: Scenes, tokenizer: CLIPTokenizer) -> Tensor:
    """Return (n, phrasings, window) ids: every scene in every phrasing."""
    captions = [replace(scene, phrasing=k).caption() for scene in data.scenes for k in range(len(PHRASINGS))]
    ids = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return ids.view(len(data.scenes), len(PHRASINGS), -1)


def train_diffusion(
    autoencoder: AutoencoderKL, data: Scenes, folder: Path, steps: int, batch: int = 32
) -> StableDiffusionPipeline:
    """Train the whole pipeline and return it, ready for `save_pretrained`."""
    tokenizer, scheduler = clip_tokenizer(), new_scheduler()
    latents = encode(autoencoder, data, folder / f"latents-{len(data.scenes)}.npy")
    ids, empty = tokenise(data, tokenizer), tokenizer("", padding="max_length", return_tensors="pt").input_ids[0]
    torch.manual_seed(0)
    model = Denoiser(tokenizer).to(memory_format=torch.channels_last)
    snr = scheduler.alphas_cumprod / (1 - scheduler.alphas_cumprod)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(latents), (batch,), generator=generator)
        phrasing = torch.randint(ids.shape[1], (batch,), generator=generator)
        captions = ids[rows, phrasing].clone()
        captions[torch.rand(batch, generator=generator) < CAPTION_DROP] = empty
        clean = latents[rows].float().contiguous(memory_format=torch.channels_last)
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = torch.randint(1000, (batch,), generator=generator)
        predicted = model(scheduler.add_noise(clean, noise, timesteps), timesteps, captions).float()
        weight = (SNR_CAP / snr[timesteps]).clamp(max=1.0)
        return (weight * (predicted - noise).square().mean((1, 2, 3))).mean()

    fit(model, loss, Run(name="diffusion", folder=folder, steps=steps, learning_rate=1e-3, average=0.999))
    model.unet.set_default_attn_processor()
    return StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=model.text_encoder,
        tokenizer=tokenizer,
        unet=model.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
