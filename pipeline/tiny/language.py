"""The training of the tiny language models: the LLaMA, its LoRA adapter, and the sentence encoder.

The LLaMA reads lists of captions that differ in one factor, in which it learns the grammar and to repeat what stands
before; it is then frozen. The adapter learns to follow the instructions, as in Li et al. (2024): LoRA on the query and
value projections, W = W_pt + A B.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch import Tensor
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.captions.adapter import CHECKPOINTS, CURVE, AdapterRecipe, train
from pipeline.captions.examples import WrittenVariation
from pipeline.captions.factors import FACTORS
from pipeline.captions.perturbation import PROMPT
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.loop import Run, fit
from pipeline.tiny.words import word_tokenizer
from pipeline.tiny.world import LABELS, PHRASINGS, VALUES, Scene, redraw

BATCH = 48
WINDOW = 96  # tokens of a training text of the LLaMA


def instruction_words() -> tuple[str, ...]:
    """Return every word and sign of the prompts, so that none is unknown."""
    text = PROMPT + " ".join(FACTORS[name].instruction for name in VALUES)
    return tuple(dict.fromkeys(re.findall(r"\w+|[^\w\s]+", text.lower())))


def random_scene(rng: random.Random) -> Scene:
    """Draw a scene that is told but never drawn as a picture."""
    values = {factor: rng.choice(options) for factor, options in VALUES.items()}
    return Scene(label=rng.choice(LABELS), **values, seed=0, phrasing=rng.randrange(len(PHRASINGS)))


def vary(scene: Scene, factor: str, rng: random.Random) -> Scene:
    """Return the scene with another value of the factor."""
    return redraw(scene, factor, rng.choice([v for v in VALUES[factor] if v != getattr(scene, factor)]))


def _grammar_text(rng: random.Random) -> tuple[str, str]:
    """Return a list of captions, each one factor away from the one before."""
    scene = random_scene(rng)
    captions = [scene.caption()]
    for _ in range(3):
        scene = vary(scene, rng.choice(tuple(VALUES)), rng)
        captions.append(scene.caption())
    return "", "\n".join(captions)


def variations(n: int, seed: int, split: str) -> Iterator[WrittenVariation]:
    """Yield true variations of the world's captions, one factor each, as the adapter is taught them."""
    rng = random.Random(seed)
    for _ in range(n):
        scene, factor = random_scene(rng), rng.choice(tuple(VALUES))
        edited = vary(scene, factor, rng).caption()
        yield WrittenVariation(
            caption=scene.caption(), label=scene.label, factor=factor, edited_caption=edited, split=split
        )


def _text_loss(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, make: Callable[[random.Random], tuple[str, str]]
) -> Callable[[int, torch.Generator], Tensor]:
    """Return the cross-entropy of the answers only; a text without a prompt is all answer."""

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rng = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
        ids, labels = [], []
        for prompt, answer in (make(rng) for _ in range(BATCH)):
            given = tokenizer(prompt).input_ids
            said = [*tokenizer(answer, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
            ids.append(torch.tensor([*given, *said])[:WINDOW])
            labels.append(torch.tensor([*[-100] * len(given), *said])[:WINDOW])
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_token_id)
        wanted = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
        value: Tensor = model(
            input_ids=padded, attention_mask=(wanted != -100) | (padded != tokenizer.pad_token_id), labels=wanted
        ).loss
        return value

    return loss


def train_perturber(folder: Path, out: Path, steps: int) -> None:
    """Train the LLaMA, from nothing."""
    tokenizer = word_tokenizer(instruction_words(), end=False)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=8,
            max_position_embeddings=256,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    # Explicit attention: on a CPU the fused kernel's backward pass takes twice as long at this size.
    model.set_attn_implementation("eager")
    loss = _text_loss(model, tokenizer, _grammar_text)
    fit(model, loss, Run(name="perturber", folder=folder, steps=steps, learning_rate=1e-3))
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)


def train_adapter(base: Path, folder: Path, out: Path, steps: int) -> None:
    """Train the LoRA adapter on the frozen LLaMA of the folder `base`, as `pipeline train-perturber` does."""
    taught = (*variations(steps * BATCH, 0, "train"), *variations(min(100, steps), HELD_OUT_SEED, "test"))
    recipe = AdapterRecipe(
        learning_rate=3e-3, steps=steps, batch=BATCH, max_tokens=WINDOW, dtype="bfloat16", attention="eager"
    )
    made = folder / "perturber-lora"
    train(str(base), taught, made, recipe, "Trained on captions of the miniature world.")
    shutil.copytree(made, out, ignore=shutil.ignore_patterns(CHECKPOINTS, CURVE))


def train_sentences(folder: Path, out: Path, steps: int) -> None:
    """Train a small BERT whose cosines tell captions of the same scene from captions of another."""
    tokenizer = word_tokenizer(end=True)
    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=256,
            max_position_embeddings=128,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=tokenizer.pad_token_id,
        ),
        add_pooling_layer=False,
    )
    base = folder / "bert"
    bert.save_pretrained(base)
    tokenizer.save_pretrained(base)
    encoder = SentenceTransformer(modules=[Transformer(str(base), max_seq_length=64), Pooling(128)], device="cpu")

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rng = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
        scenes = [random_scene(rng) for _ in range(32)]
        scenes += [vary(scene, rng.choice(tuple(VALUES)), rng) for scene in scenes]
        texts = [scene.caption() for scene in scenes]
        others = [replace(scene, phrasing=rng.randrange(len(PHRASINGS))).caption() for scene in scenes]
        words = [rng.choice(texts[k].split()) for k in range(16)]  # single words keep a place of their own
        features = encoder.preprocess([*texts, *words, *others, *words])
        vectors = F.normalize(encoder(features)["sentence_embedding"].float(), dim=1)
        left, right = vectors.chunk(2)
        same = torch.tensor([[a == b for b in [*texts, *words]] for a in [*texts, *words]])
        same.fill_diagonal_(False)
        logits = (left @ right.T * 12).masked_fill(same, -1e4)
        return F.cross_entropy(logits, torch.arange(len(logits)))

    fit(encoder, loss, Run(name="sentences", folder=folder, steps=steps, learning_rate=1e-3))
    encoder.save(str(out))
