"""Architectures of the models that profiles name, at full size and without their weights.

The configurations are those of the published checkpoints, as far as they decide shapes; on `torch.device("meta")` the
classes take no memory. Vocabularies are open_clip's, which is CLIP's own.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import open_clip
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import (
    BertConfig,
    BertModel,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipTextConfig,
    BlipVisionConfig,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
)

MERGES = 49152 - 256 - 2  # of CLIP's byte-pair encoding


def sd1_unet(**changes: object) -> UNet2DConditionModel:
    """Stable Diffusion 1.x: 860 M parameters, 64 x 64 latents."""
    config = {
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
        **changes,
    }
    return UNet2DConditionModel(**config)


def sd1_vae() -> AutoencoderKL:
    """The autoencoder of Stable Diffusion 1.x: 512 x 512 pixels to 64 x 64 latents."""
    return AutoencoderKL(
        sample_size=512,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=0.18215,
    )


def sd1_text_encoder() -> CLIPTextModel:
    """The text part of CLIP ViT-L-14: 123 M parameters, a window of 77 tokens."""
    return CLIPTextModel(
        CLIPTextConfig(
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            projection_dim=768,
            bos_token_id=49406,
            eos_token_id=49407,
            pad_token_id=49407,
        )
    )


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's own vocabulary of 49,408 tokens, from the file that open_clip ships."""
    file = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")[1 : MERGES + 1]
    merges = [tuple(line.split()) for line in lines]
    letters = list(open_clip.tokenizer.bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge) for merge in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: k for k, word in enumerate(words)}, merges=merges, model_max_length=77)


def sd1_scheduler(*, prediction_type: str = "epsilon", steps_offset: int = 1) -> DDIMScheduler:
    """The noise schedule of Stable Diffusion 1.x."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=steps_offset,
        prediction_type=prediction_type,
    )


def write_diffusion(folder: Path) -> None:
    """A diffusers folder of the full size with random weights, part by part so that one at a time is in memory."""
    torch.manual_seed(0)
    for name, make in (("unet", sd1_unet), ("vae", sd1_vae), ("text_encoder", sd1_text_encoder)):
        make().save_pretrained(folder / name)
    clip_tokenizer().save_pretrained(folder / "tokenizer")
    sd1_scheduler().save_pretrained(folder / "scheduler")


BK_SDM_SMALL = {"layers_per_block": 1, "mid_block_type": None}
"""What distilling took out of Stable Diffusion's UNet: every second layer, and the middle."""


def blip2() -> Blip2ForConditionalGeneration:
    """BLIP-2 with OPT 2.7B: 3.7 billion parameters."""
    text = OPTConfig(
        vocab_size=50304, hidden_size=2560, word_embed_proj_dim=2560, ffn_dim=10240, num_hidden_layers=32,
        num_attention_heads=32,
    )  # fmt: skip
    config = Blip2Config(
        vision_config=Blip2VisionConfig().to_dict(),
        qformer_config=Blip2QFormerConfig().to_dict(),
        text_config=text.to_dict(),
        num_query_tokens=32,
        image_token_index=50265,
    )
    return Blip2ForConditionalGeneration(config)


def blip_large() -> BlipForConditionalGeneration:
    """BLIP large: a ViT-L and a text decoder of BERT's size."""
    vision = BlipVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=384
    )
    text = BlipTextConfig(encoder_hidden_size=1024, hidden_size=768, vocab_size=30524)
    return BlipForConditionalGeneration(BlipConfig(vision_config=vision.to_dict(), text_config=text.to_dict()))


def llama_7b() -> LlamaForCausalLM:
    """LLaMA-7B."""
    return LlamaForCausalLM(LlamaConfig(tie_word_embeddings=False))


def smollm2() -> LlamaForCausalLM:
    """SmolLM2 1.7B."""
    config = LlamaConfig(
        vocab_size=49152, hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_attention_heads=32,
        max_position_embeddings=8192, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def clip(name: str) -> open_clip.CLIP:
    """A CLIP as open_clip lists it, such as "ViT-L-14-quickgelu"."""
    return open_clip.CLIP(**open_clip.get_model_config(name))


def minilm() -> BertModel:
    """all-MiniLM-L6-v2."""
    return BertModel(BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536))
