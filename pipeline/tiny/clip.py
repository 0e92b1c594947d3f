"""The training of the tiny CLIP: OpenAI's ModifiedResNet and a text transformer, as open_clip opens them from a folder.

Contrastive loss (Radford et al., 2021) in batches of one-factor twins: half of each batch differs from the other half
in one factor only, so that the model cannot win by the easy differences.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from pipeline.tiny.autoencoder import to_tensor
from pipeline.tiny.data import Scenes
from pipeline.tiny.loop import Run, fit
from pipeline.tiny.words import TEXT_WINDOW, word_tokenizer
from pipeline.tiny.world import PHRASINGS, SIZE, VALUES, Scene

BATCH = 64


def clip_config(vocab_size: int) -> dict[str, object]:
    """Return open_clip's model configuration, about 3.4 M weights."""
    return {
        "embed_dim": 128,
        "vision_cfg": {"image_size": SIZE, "layers": [1, 1, 1, 1], "width": 24},
        "text_cfg": {
            "context_length": TEXT_WINDOW,
            "vocab_size": vocab_size,
            "hf_tokenizer_name": "local",
            "width": 128,
            "heads": 4,
            "layers": 2,
        },
    }


def new_clip(config: dict[str, object]) -> open_clip.CLIP:
    """Return an untrained CLIP."""
    return open_clip.CLIP(**config)


def twin_index(scenes: tuple[Scene, ...]) -> dict[tuple[str, ...], list[int]]:
    """Return, for every scene with one factor blanked, the rows of the scenes that agree in all the rest."""
    index: dict[tuple[str, ...], list[int]] = {}
    for row, scene in enumerate(scenes):
        values = {name: getattr(scene, name) for name in ("label", *VALUES)}
        for blank in values:
            key = (blank, *(value for name, value in values.items() if name != blank))
            index.setdefault(key, []).append(row)
    return index


def train_clip(data: Scenes, folder: Path, out: Path, steps: int) -> None:
    """Train CLIP and write the folder `out`."""
    tokenizer = word_tokenizer(end=True)
    config = clip_config(len(tokenizer))
    torch.manual_seed(0)
    model = new_clip(config).to(memory_format=torch.channels_last)
    captions = [
        tokenizer(
            [replace(scene, phrasing=k).caption() for k in range(len(PHRASINGS))],
            padding="max_length",
            max_length=TEXT_WINDOW,
        )["input_ids"]
        for scene in data.scenes
    ]
    ids = torch.tensor(captions)  # (n, phrasings, window)
    groups = [rows for rows in twin_index(data.scenes).values() if len(rows) > 1]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        picked = torch.randint(len(groups), (BATCH,), generator=generator).tolist()
        rows = torch.tensor(
            [groups[k][int(i)] for k in picked for i in torch.randperm(len(groups[k]), generator=generator)[:2]]
        )
        rows = torch.tensor(sorted(set(rows.tolist())))  # a scene that was drawn twice would be its own negative
        phrasing = torch.randint(len(PHRASINGS), (len(rows),), generator=generator)
        images, texts, scale = model(to_tensor(data.pixels[rows.numpy()]), ids[rows, phrasing])
        logits = scale.float() * images.float() @ texts.float().T
        target = torch.arange(len(rows))
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    fit(model, loss, Run(name="clip", folder=folder, steps=steps, learning_rate=1e-3, average=0.995))
    out.mkdir(parents=True, exist_ok=True)
    save_file(
        {
            name: value.half().contiguous() if value.is_floating_point() else value
            for name, value in model.state_dict().items()
        },
        out / "open_clip_model.safetensors",
    )
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    (out / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2) + "\n"
    )
    tokenizer.save_pretrained(out)
