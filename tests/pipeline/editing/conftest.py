"""A small random Stable Diffusion folder, written by the real classes and opened by the real loader."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pipeline.editing.prompt_to_prompt import StableDiffusionEditor
from tests.architectures import sd1_scheduler

WORDS = ("a", "photo", "of", "dog", "cat", "on", "the", "red", "ball", "in", "snow")  # one token each
WINDOW = 20
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def tokenizer() -> CLIPTokenizer:
    """Whole words for WORDS, letters for all others."""
    vocabulary = [BEGIN, END, *string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        for k in range(1, len(pieces)):
            left, right = "".join(pieces[:k]), pieces[k]
            if (left, right) not in merges:
                merges.append((left, right))
                vocabulary.append(left + right)
    ids = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
    return CLIPTokenizer(vocab=ids, merges=merges, model_max_length=WINDOW)


def unet() -> UNet2DConditionModel:
    """Sharper attention than at random: injection must be visible."""
    model = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".attn" in name and "bias" not in name:
                parameter.mul_(3)
    return model


def write_diffusion(folder: Path, *, prediction_type: str = "epsilon", steps_offset: int = 1) -> Path:
    """A whole pipeline folder, the same for the same arguments."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        words = tokenizer()
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=WINDOW,
                bos_token_id=0,
                eos_token_id=1,
                pad_token_id=1,
            )
        )
        vae = AutoencoderKL(
            block_out_channels=(8, 16, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            norm_num_groups=4,
            scaling_factor=0.9,
            sample_size=32,
        )
        pipeline = StableDiffusionPipeline(
            vae=vae,
            text_encoder=text,
            tokenizer=words,
            unet=unet(),
            scheduler=sd1_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder)
    # The pipeline class would set the offset to 1, so the scheduler is written by itself.
    sd1_scheduler(prediction_type=prediction_type, steps_offset=steps_offset).save_pretrained(folder / "scheduler")
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_diffusion(tmp_path_factory.mktemp("diffusion"))


@pytest.fixture(scope="session")
def editor(folder: Path) -> StableDiffusionEditor:
    return StableDiffusionEditor.from_pretrained(str(folder))


@pytest.fixture(scope="session")
def v_editor(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionEditor:
    """v-prediction, and a scheduler without an offset."""
    folder = write_diffusion(tmp_path_factory.mktemp("v"), prediction_type="v_prediction", steps_offset=0)
    return StableDiffusionEditor.from_pretrained(str(folder))


@pytest.fixture
def picture() -> Image.Image:
    """32 x 32 pixels with edges and gradients."""
    y, x = np.mgrid[0:32, 0:32]
    pixels = np.stack((x * 8, y * 8, 255 * ((x // 8 + y // 8) % 2)), axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))
