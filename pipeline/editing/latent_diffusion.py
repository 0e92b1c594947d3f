"""The model behind inversion and editing: autoencoder, text encoder, UNet and DDIM schedulers of one diffusers folder.

Follows latent diffusion (Rombach et al., 2022) and DDIM (Song et al., 2021). Knows how to go between pictures and
latents, captions and embeddings, latents and predictions. Knows nothing of inversion, edits or attention control.
Every number comes from the model's own configuration; every step along the trajectory is the schedulers'.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers.models.attention import FeedForward
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddim_inverse import DDIMInverseScheduler
from diffusers.utils.logging import disable_progress_bar
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoTokenizer, CLIPTextModel

from pipeline.editing.alignment import Word
from pipeline.errors import CaptionError, EditingError, ModelError, SettingsError, display_name

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNTILED = 768  # pixels a side; beyond them the autoencoder's memory is worth the faint seams of its tiles
SAMPLE = 8  # values of each weight that go into a model's fingerprint
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatentDiffusion:
    """One Stable Diffusion. Latents, embeddings and predictions are float32 outside the networks."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
    scheduler: DDIMScheduler
    inverse_scheduler: DDIMInverseScheduler
    fingerprint: str  # the same for the same configurations and weights

    @classmethod
    def from_pretrained(
        cls, path: str, *, device: str = "cpu", dtype: str = "float32", compiled: bool = False
    ) -> LatentDiffusion:
        """Open a diffusers folder or hub id. Raises `ModelError` when a part is missing or of another family.

        `dtype` is that of UNet and text encoder; the autoencoder stays in float32, which is what decides how faithful
        a reconstruction can be, and takes pictures of more than 768 pixels a side in tiles. `compiled` has
        torch.compile make the UNet's blocks faster.
        """
        if dtype not in DTYPES:
            raise ModelError(f"The dtype '{dtype}' is unknown; use one of {', '.join(DTYPES)}.")
        _check_location(path)
        disable_progress_bar()
        try:
            vae = AutoencoderKL.from_pretrained(path, subfolder="vae", use_safetensors=True)
            unet = UNet2DConditionModel.from_pretrained(
                path, subfolder="unet", use_safetensors=True, torch_dtype=DTYPES[dtype]
            )
            text_encoder = CLIPTextModel.from_pretrained(
                path, subfolder="text_encoder", use_safetensors=True, dtype=DTYPES[dtype]
            )
            tokenizer = AutoTokenizer.from_pretrained(path, subfolder="tokenizer", use_fast=True)
            scheduler = _ddim(path)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                "The diffusion model could not be loaded; give a diffusers folder with vae, unet, text_encoder, "
                "tokenizer and scheduler, all in safetensors.",
                path=path,
                detail=str(error).partition("\n")[0],
            ) from error
        networks: tuple[torch.nn.Module, ...] = (vae, unet, text_encoder)
        for network in networks:
            network.requires_grad_(False).eval().to(device)
        if compiled:
            compile_blocks(unet)
        unet.to(memory_format=torch.channels_last)  # a sixth faster from ten rows on, and no slower with one
        made = cls(
            vae=vae,
            unet=unet,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            scheduler=scheduler,
            inverse_scheduler=DDIMInverseScheduler.from_config(scheduler.config),
            fingerprint=fingerprint(
                networks, [vae.config, unet.config, text_encoder.config.to_dict(), scheduler.config]
            ),
        )
        if max(made.image_size) > UNTILED:
            vae.enable_tiling()
        return made

    @property
    def device(self) -> torch.device:
        """Return where everything runs."""
        return self.unet.device

    @property
    def window(self) -> int:
        """Return the length of the text window in tokens, begin and end marks included."""
        return int(min(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings))

    @property
    def image_size(self) -> tuple[int, int]:
        """Return width and height in pixels of the pictures the model was trained on."""
        sample_size = self.unet.config["sample_size"]
        height, width = (sample_size, sample_size) if isinstance(sample_size, int) else sample_size
        factor = 2 ** (len(self.vae.config["block_out_channels"]) - 1)
        return width * factor, height * factor

    def words(self, caption: str) -> tuple[Word, ...]:
        """Return token ids word by word, begin and end marks included. Raises `CaptionError` beyond the text window."""
        encoding = self.tokenizer(caption, truncation=False)
        ids, word_ids = encoding.input_ids, encoding.word_ids()
        if len(ids) > self.window:
            marks = self.tokenizer.num_special_tokens_to_add()
            raise CaptionError(
                f"The caption '{caption}' has {len(ids) - marks} tokens, but the diffusion model reads at most "
                f"{self.window - marks}; shorten it."
            )
        grouped = groupby(range(len(ids)), key=lambda k: (word_ids[k], k if word_ids[k] is None else -1))
        return tuple(tuple(ids[k] for k in positions) for _, positions in grouped)

    def spell(self, word: Word) -> str:
        """Return the word as the tokenizer would write it, in its case."""
        return str(self.tokenizer.decode(list(word))).strip()

    @torch.inference_mode()
    def embed(self, caption: str) -> torch.Tensor:
        """Return (1, window, width); "" is the unconditional caption. Raises `CaptionError` beyond the text window."""
        self.words(caption)
        tokens = self.tokenizer(caption, padding="max_length", max_length=self.window, return_tensors="pt")
        hidden: torch.Tensor = self.text_encoder(tokens.input_ids.to(self.device)).last_hidden_state
        return hidden.float()

    @torch.inference_mode()
    def encode(self, image: Image.Image) -> torch.Tensor:
        """Encode a picture, resized where it must be, as a latent (1, C, h, w)."""
        pixels = np.asarray(self.fit(image), dtype=np.float32) / 127.5 - 1
        batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.device)
        latent: torch.Tensor = self.vae.encode(batch).latent_dist.mode()
        return (latent - self._shift) * self._scale

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """Decode latents (R, C, h, w) as R pictures. Raises `EditingError` for values that are not numbers."""
        pixels = self.vae.decode(latents / self._scale + self._shift).sample
        self.check(pixels, "Decoding a picture")
        levels = (pixels.permute(0, 2, 3, 1) * 127.5 + 127.5).round().clamp(0, 255)
        return [Image.fromarray(picture) for picture in levels.to(torch.uint8).cpu().numpy()]

    def fit(self, image: Image.Image) -> Image.Image:
        """Return the picture in RGB and in the model's size."""
        image = image.convert("RGB")
        return image if image.size == self.image_size else image.resize(self.image_size, Image.Resampling.LANCZOS)

    def timesteps(self, num_inference_steps: int) -> tuple[int, ...]:
        """Return the timesteps from noise to picture; both schedulers are set to them."""
        try:
            self.scheduler.set_timesteps(num_inference_steps)
            self.inverse_scheduler.set_timesteps(num_inference_steps)
            timesteps = tuple(int(t) for t in self.scheduler.timesteps)
        except ValueError as error:
            raise SettingsError(f"{num_inference_steps} denoising steps are not possible: {error}") from error
        most = self.scheduler.config["num_train_timesteps"]
        if max(timesteps) >= most:
            raise SettingsError(f"{num_inference_steps} denoising steps leave the schedule of {most}; use fewer.")
        return timesteps

    def predict(self, latents: torch.Tensor, timestep: int | torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the UNet's output for latents (rows, C, h, w) under embeddings (rows, window, width).

        One timestep for all rows, or one for each.
        """
        dtype = self.unet.dtype
        model_input = self.scheduler.scale_model_input(latents, timestep).to(dtype)
        prediction: torch.Tensor = self.unet(model_input, timestep, embeddings.to(dtype), return_dict=False)[0]
        return prediction.float()

    def denoise(self, prediction: torch.Tensor, timestep: int, latents: torch.Tensor) -> torch.Tensor:
        """Take one DDIM step towards the picture. Raises `EditingError` for values that are not numbers."""
        result = self.scheduler.step(prediction, timestep, latents, return_dict=False)[0]
        return self.check(result, f"Denoising at timestep {timestep}")

    def noise(self, prediction: torch.Tensor, timestep: int, latents: torch.Tensor) -> torch.Tensor:
        """Take one DDIM step towards noise, up to `timestep`. Raises `EditingError` for values that are not numbers."""
        result = self.inverse_scheduler.step(prediction, timestep, latents, return_dict=False)[0]
        return self.check(result, f"DDIM inversion at timestep {timestep}")

    def check(self, values: torch.Tensor, attempt: str) -> torch.Tensor:
        """Return the same values. Raises `EditingError` when some are NaN or infinite."""
        if not torch.isfinite(values).all():
            raise EditingError(
                f"{attempt} in {self.unet.dtype} gave values that are not numbers; "
                "choose the dtype float32, or load the model's weights anew."
            )
        return values

    @property
    def _scale(self) -> float:
        return float(self.vae.config["scaling_factor"])

    @property
    def _shift(self) -> float:
        return float(self.vae.config["shift_factor"] or 0)


def compile_blocks(unet: UNet2DConditionModel) -> None:
    """Have the convolution blocks and feed-forward layers compiled at their first use.

    Not the attention between them: its processors change with every edit, and each change would compile anew.
    """
    for layer in unet.modules():
        if isinstance(layer, ResnetBlock2D | FeedForward):
            layer.compile(dynamic=True)


def _check_location(path: str) -> None:
    is_hub_id = path.count("/") == 1 and not path.startswith((".", "/", "~"))
    if not Path(path).is_dir() and not is_hub_id:
        raise ModelError(
            f"The diffusion model folder '{display_name(path)}' does not exist; make it, or give another folder or a "
            "hub id in the profile.",
            path=path,
        )


def fingerprint(networks: Sequence[torch.nn.Module], configurations: Sequence[Mapping[str, object]]) -> str:
    """Return the sha256 of the configurations and of every weight's type and first values: training changes them."""
    # What begins with _ tells of the folder and of the library that wrote it.
    known = [
        {key: value for key, value in configuration.items() if not key.startswith("_")}
        for configuration in configurations
    ]
    parts = [json.dumps(configuration, sort_keys=True, default=str) for configuration in known]
    for network in networks:
        starts = [weight.flatten()[:SAMPLE].float() for weight in network.state_dict().values()]
        parts.append(
            f"{torch.cat(starts).tolist()} {sorted({str(weight.dtype) for weight in network.state_dict().values()})}"
        )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _ddim(path: str) -> DDIMScheduler:
    """Return DDIM on the schedule the model was trained with, whichever sampler its folder names.

    Clipping belongs to pixels, not to latents. The inverse scheduler knows no "linspace" spacing.
    """
    config = DDIMScheduler.load_config(path, subfolder="scheduler")
    spacing = config.get("timestep_spacing", "leading")
    spacing = spacing if spacing in ("leading", "trailing") else "leading"
    scheduler: DDIMScheduler = DDIMScheduler.from_config(
        config, clip_sample=False, thresholding=False, timestep_spacing=spacing
    )
    return scheduler
