"""Twins of the models that profiles name: same class, same processor, same files, small and random.

What a profile does with a checkpoint of billions of weights, it does with its twin of some hundred thousand. Language
models of random weights babble; their output rows are set so that they babble in words.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import open_clip
import timm
import torch
from diffusers import AutoencoderKL, StableDiffusionInstructPix2PixPipeline, StableDiffusionPipeline
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from timm.models import save_for_hf
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    BlipTextConfig,
    BlipVisionConfig,
    CLIPTextConfig,
    CLIPTextModel,
    GPT2Tokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizer,
    OPTConfig,
    PreTrainedTokenizerBase,
)

from pipeline.profiles import models_of
from pipeline.runtime.hub import hub_model
from pipeline.settings import Profile
from tests.architectures import BK_SDM_SMALL, clip_tokenizer, sd1_scheduler, sd1_unet

WIDTH = 32
SMALL = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = ("a", "photo", "of", "dog", "cat", "with", "sled", "in", "the", "snow", "beach", "brown", "white", "red", "on")
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": WIDTH, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": WIDTH, "heads": 2, "layers": 2},
}


def diffusion(folder: Path, pipe: type = StableDiffusionPipeline, **changes: object) -> Path:
    """A Stable Diffusion 1.x, 64 x 64 pixels; `changes` are the UNet's, such as those of a distilled one."""
    torch.manual_seed(0)
    text = CLIPTextConfig(**SMALL, projection_dim=WIDTH, bos_token_id=49406, eos_token_id=49407, pad_token_id=49407)
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


def distilled(folder: Path) -> Path:
    """BK-SDM Small."""
    return diffusion(folder, **BK_SDM_SMALL)


def byte_level(**special: str) -> GPT2Tokenizer:
    """GPT-2's kind of tokenizer, as OPT and SmolLM2 have it: bytes, and words with their space."""
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        for k in range(1, len(word) + 1):
            left, right = ("Ġ" + word)[:k], ("Ġ" + word)[k : k + 1]
            merges.append((left, right))
    merges = list(dict.fromkeys(merges))
    pieces = (*special.values(), *sorted(ByteLevel.alphabet()), *("".join(pair) for pair in merges))
    return GPT2Tokenizer(vocab={piece: k for k, piece in enumerate(dict.fromkeys(pieces))}, merges=merges, **special)


def sentence_piece() -> LlamaTokenizer:
    """LLaMA's kind of tokenizer: bytes as a last resort, and words with their space."""
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        for k in range(1, len(word) + 1):
            merges.append((("▁" + word)[:k], ("▁" + word)[k : k + 1]))
    merges = list(dict.fromkeys(merges))
    letters = sorted({letter for word in WORDS for letter in word})
    pieces = ("<unk>", "<s>", "</s>", *(f"<0x{k:02X}>" for k in range(256)), "▁", *letters)
    pieces += tuple("".join(pair) for pair in merges)
    return LlamaTokenizer(vocab={piece: k for k, piece in enumerate(dict.fromkeys(pieces))}, merges=merges)


def word_piece(*special: str) -> BertTokenizer:
    """BERT's kind of tokenizer."""
    letters = [chr(k) for k in range(33, 127)]
    pieces = (
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *special,
        *letters,
        *("##" + letter for letter in letters),
        *WORDS,
    )
    return BertTokenizer(vocab={piece: k for k, piece in enumerate(dict.fromkeys(pieces))})


def babble(output: torch.nn.Linear, tokenizer: PreTrainedTokenizerBase, mark: str) -> None:
    """Makes the words likely and all else unlikely."""
    words = [tokenizer.convert_tokens_to_ids(mark + word) for word in WORDS]
    with torch.no_grad():
        output.weight.zero_()
        output.weight[words] = torch.randn(len(words), output.weight.shape[1])


def pictures() -> BlipImageProcessor:
    return BlipImageProcessor(size={"height": 32, "width": 32})


def blip2(folder: Path) -> Path:
    """BLIP-2 with OPT."""
    torch.manual_seed(0)
    tokenizer = byte_level(bos_token="</s>", pad_token="<pad>", eos_token="<end>", unk_token="<unk>")
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    text = OPTConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, word_embed_proj_dim=WIDTH, ffn_dim=64, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=128, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=False,
    )  # fmt: skip
    config = Blip2Config(
        vision_config=Blip2VisionConfig(image_size=32, patch_size=8, **SMALL).to_dict(),
        qformer_config=Blip2QFormerConfig(vocab_size=8, encoder_hidden_size=WIDTH, **SMALL).to_dict(),
        text_config=text.to_dict(),
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    model = Blip2ForConditionalGeneration(config)
    babble(model.language_model.get_output_embeddings(), tokenizer, "Ġ")
    model.save_pretrained(folder)
    Blip2Processor(pictures(), tokenizer, num_query_tokens=4).save_pretrained(folder)
    return folder


def blip(folder: Path) -> Path:
    """BLIP large."""
    torch.manual_seed(0)
    tokenizer = word_piece("[DEC]", "[ENC]")
    text = BlipTextConfig(
        vocab_size=len(tokenizer), encoder_hidden_size=WIDTH, **SMALL, max_position_embeddings=64,
        bos_token_id=tokenizer.convert_tokens_to_ids("[DEC]"), eos_token_id=tokenizer.sep_token_id,
        sep_token_id=tokenizer.sep_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    vision = BlipVisionConfig(image_size=32, patch_size=8, **SMALL)
    model = BlipForConditionalGeneration(BlipConfig(vision_config=vision.to_dict(), text_config=text.to_dict()))
    babble(model.text_decoder.get_output_embeddings(), tokenizer, "")
    model.save_pretrained(folder)
    BlipProcessor(pictures(), tokenizer).save_pretrained(folder)
    return folder


def language_model(folder: Path, tokenizer: PreTrainedTokenizerBase, mark: str, *, tied: bool) -> Path:
    """A LLaMA."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), **SMALL, max_position_embeddings=512, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=tied,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    babble(model.get_output_embeddings(), tokenizer, mark)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def llama(folder: Path) -> Path:
    """LLaMA-7B."""
    return language_model(folder, sentence_piece(), "▁", tied=False)


def smollm2(folder: Path) -> Path:
    """SmolLM2 1.7B Instruct."""
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    return language_model(folder, byte_level(**special), "Ġ", tied=True)


def lora(folder: Path, base: Path) -> Path:
    """An adapter as the paper trains it: r = 8 on the query and value projections."""
    torch.manual_seed(0)
    wanted = LoraConfig(
        r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False
    )
    get_peft_model(LlamaForCausalLM.from_pretrained(base), wanted).save_pretrained(folder)
    return folder


def minilm(folder: Path) -> Path:
    """all-MiniLM-L6-v2, with its pooling and normalising modules."""
    torch.manual_seed(0)
    base = folder.with_name("bert")
    tokenizer = word_piece()
    BertModel(BertConfig(vocab_size=len(tokenizer), **SMALL, max_position_embeddings=64)).save_pretrained(base)
    tokenizer.save_pretrained(base)
    modules = [Transformer(str(base), max_seq_length=32), Pooling(WIDTH), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    shutil.rmtree(base)
    return folder


def clip(folder: Path) -> Path:
    """A CLIP as open_clip publishes it."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    save_file(
        {key: value.contiguous() for key, value in open_clip.CLIP(**CLIP).state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    preprocess = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    config = {"model_cfg": CLIP, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def classifier(folder: Path, architecture: str, **changes: object) -> Path:
    """A timm classifier of 1,000 classes without label names, as timm publishes them."""
    torch.manual_seed(0)
    model = timm.create_model(architecture, pretrained_cfg_overlay={"input_size": (3, 64, 64)}, **changes)
    save_for_hf(model, str(folder), model_args=changes, safe_serialization=True)
    return folder


class Twin(NamedTuple):
    """How one model of a profile is made small."""

    make: object  # called with the folder
    changes: Mapping[str, object] = {}


TWINS: dict[str, Twin] = {
    "Salesforce/blip2-opt-2.7b": Twin(blip2),
    "Salesforce/blip-image-captioning-large": Twin(blip),
    "huggyllama/llama-7b": Twin(llama),
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": Twin(smollm2),
    "sentence-transformers/all-MiniLM-L6-v2": Twin(minilm),
    "CompVis/stable-diffusion-v1-4": Twin(diffusion),
    "nota-ai/bk-sdm-small": Twin(distilled),
    "timm/vit_large_patch14_clip_224.openai": Twin(clip),
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": Twin(clip),
    "timm/resnet50.tv_in1k": Twin(classifier, {"architecture": "resnet50", "channels": (8, 8, 16, 16)}),
    "timm/resnet18.tv_in1k": Twin(classifier, {"architecture": "resnet18", "channels": (8, 8, 16, 16)}),
    "timm/densenet121.tv_in1k": Twin(
        classifier, {"architecture": "densenet121", "growth_rate": 4, "block_config": (1, 1, 1, 1)}
    ),
    "timm/vgg16.tv_in1k": Twin(classifier, {"architecture": "vgg11", "mlp_ratio": 0.01}),
    "timm/mobilenetv3_large_100.ra_in1k": Twin(classifier, {"architecture": "mobilenetv3_small_050"}),
}


def write_cache(cache: Path, profile: Profile) -> None:
    """The twins of a profile's models in the layout of the hub's cache, under the very commits that it pins."""
    for role, _, text in models_of(profile):
        model = hub_model(role, text)
        if model is None:
            raise ValueError(f"{text} is not a hub id")
        folder, commit = cache / f"models--{model.repo.replace('/', '--')}", model.revision or "0" * 40
        if not (folder / "snapshots" / commit).exists():
            twin = TWINS[model.repo]
            twin.make(folder / "snapshots" / commit, **twin.changes)  # type: ignore[operator]
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
