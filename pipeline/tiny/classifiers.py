"""The training of the classifiers under study, and the attribute classifier that measures all the others.

The three under study see biased pictures only, so that they learn to lean on backgrounds; the attribute classifier sees
uniform ones and names the label and all five factors. It sees drawings only, never what a model made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.tiny.autoencoder import to_tensor
from pipeline.tiny.data import Scenes
from pipeline.tiny.loop import Run, fit
from pipeline.tiny.world import LABELS, SIZE, VALUES

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet": ("resnet18", {"channels": (32, 64, 96, 160)}),
    "densenet": ("densenet121", {"growth_rate": 16, "block_config": (4, 6, 8, 6)}),
    "repvgg": ("repvgg_a0", {"width_factor": 0.25}),
}
ATTRIBUTES: dict[str, tuple[str, ...]] = {"label": LABELS} | VALUES
BATCH = 64


def new_classifier(architecture: str, arguments: dict[str, Any], classes: int) -> nn.Module:
    """Return an untrained timm model for pictures of the world."""
    half = (0.5, 0.5, 0.5)
    overlay = {
        "tag": "",
        "input_size": (3, SIZE, SIZE),
        "test_input_size": None,
        "pool_size": (3, 3),
        "crop_pct": 1.0,
        "mean": half,
        "std": half,
        "interpolation": "bicubic",
        "license": "apache-2.0",
        "origin_url": None,
        "paper_ids": None,
    }
    # Channels stay first: with them last the backward pass of a narrow RepVGG crashes on processors without AMX.
    model: nn.Module = timm.create_model(
        architecture, pretrained=False, num_classes=classes, pretrained_cfg_overlay=overlay, **arguments
    )
    return model


def train_classifier(name: str, data: Scenes, folder: Path, out: Path, steps: int) -> None:
    """Train one of `ARCHITECTURES`, on whatever bias `data` has."""
    architecture, arguments = ARCHITECTURES[name]
    torch.manual_seed(0)
    model = new_classifier(architecture, arguments, len(LABELS))
    targets = torch.tensor([LABELS.index(scene.label) for scene in data.scenes])

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(targets), (BATCH,), generator=generator)
        return F.cross_entropy(model(to_tensor(data.pixels[rows.numpy()]).contiguous()).float(), targets[rows])

    fit(model, loss, Run(name=name, folder=folder, steps=steps, learning_rate=1e-3, average=0.99))
    save(model, out, LABELS)


def train_attributes(data: Scenes, folder: Path, out: Path, steps: int) -> None:
    """Train a network with one logit per value of the label and of each factor."""
    values = tuple(value for values in ATTRIBUTES.values() for value in values)
    torch.manual_seed(0)
    architecture, arguments = ARCHITECTURES["resnet"]
    model = new_classifier(architecture, arguments, len(values))
    targets = torch.tensor(
        [[options.index(getattr(scene, name)) for name, options in ATTRIBUTES.items()] for scene in data.scenes]
    )

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(targets), (BATCH,), generator=generator)
        logits = (
            model(to_tensor(data.pixels[rows.numpy()]).contiguous())
            .float()
            .split([len(v) for v in ATTRIBUTES.values()], 1)
        )
        losses = [F.cross_entropy(part, targets[rows, k]) for k, part in enumerate(logits)]
        return torch.stack(losses).mean()

    fit(model, loss, Run(name="attributes", folder=folder, steps=steps, learning_rate=2e-3, average=0.99))
    save(model, out, values)


def save(model: nn.Module, out: Path, labels: tuple[str, ...]) -> None:
    """Write timm's own folder layout, in half precision."""
    model = model.half().to(memory_format=torch.contiguous_format)
    timm.models.save_for_hf(model, str(out), model_config={"label_names": list(labels)}, safe_serialization=True)
