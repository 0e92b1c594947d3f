"""The training of the tiny BLIP-2: a small ViT, a Q-Former and an OPT, in one stage, from the world's true captions.

At full size the vision tower and the language model come trained and frozen; here nothing exists yet, so all learns.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from pipeline.tiny.autoencoder import to_tensor
from pipeline.tiny.data import Scenes
from pipeline.tiny.loop import Run, fit
from pipeline.tiny.words import word_tokenizer
from pipeline.tiny.world import PHRASINGS, SIZE

QUERIES = 8
BATCH = 64


def new_captioner(tokenizer: PreTrainedTokenizerFast) -> Blip2ForConditionalGeneration:
    """Return an untrained captioner, about 4 M weights."""
    vision = Blip2VisionConfig(
        hidden_size=192,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=8,
        attention_dropout=0.0,
    )
    qformer = Blip2QFormerConfig(
        vocab_size=4,
        hidden_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=384,
        encoder_hidden_size=192,
        cross_attention_frequency=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    text = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        word_embed_proj_dim=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=384,
        max_position_embeddings=128,
        dropout=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = Blip2Config(
        vision_config=vision.to_dict(),
        qformer_config=qformer.to_dict(),
        text_config=text.to_dict(),
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return Blip2ForConditionalGeneration(config)


def train_captioner(data: Scenes, folder: Path, out: Path, steps: int) -> None:
    """Train the captioner and write the folder `out`."""
    tokenizer = word_tokenizer(["<image>"], end=True)
    torch.manual_seed(0)
    model = new_captioner(tokenizer)
    # Explicit attention: on a CPU the fused kernel's backward pass takes twice as long at this size.
    model.set_attn_implementation("eager")
    image = [model.config.image_token_index] * QUERIES
    captions = [replace(scene, phrasing=k).caption() for scene in data.scenes for k in range(len(PHRASINGS))]
    spoken = tokenizer(captions, padding=True, return_tensors="pt").input_ids
    ids = torch.cat([torch.tensor(image).expand(len(spoken), -1), spoken], 1).view(len(data.scenes), len(PHRASINGS), -1)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(ids), (BATCH,), generator=generator)
        picked = ids[rows, torch.randint(len(PHRASINGS), (BATCH,), generator=generator)]
        labels = picked.masked_fill(picked == tokenizer.pad_token_id, -100)
        labels[:, : QUERIES + 1] = -100  # the picture and the begin token are given
        answer = model(
            pixel_values=to_tensor(data.pixels[rows.numpy()]).contiguous(),
            input_ids=picked,
            attention_mask=(picked != tokenizer.pad_token_id).long(),
            labels=labels,
        )
        value: Tensor = answer.loss
        return value

    fit(model, loss, Run(name="captioner", folder=folder, steps=steps, learning_rate=1e-3, average=0.995))
    model.half().save_pretrained(out)
    half = [0.5] * 3
    pictures = BlipImageProcessor(size={"height": SIZE, "width": SIZE}, image_mean=half, image_std=half)
    Blip2Processor(pictures, tokenizer, num_query_tokens=QUERIES).save_pretrained(out)
