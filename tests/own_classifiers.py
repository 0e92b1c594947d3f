"""Classifiers of one's own, one of each kind, small and random, and how a profile names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.models import save_for_hf
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from pipeline.tiny.world import LABELS

SMALL = {"channels": (8, 8, 16, 16)}


def timm_folder(folder: Path) -> str:
    network = timm.create_model("resnet18", num_classes=len(LABELS), **SMALL)
    names = {"label_names": list(LABELS)}
    save_for_hf(network, str(folder), model_config=names, model_args=SMALL, safe_serialization=True)
    return f"local-dir:./{folder.name}"


def transformers_folder(folder: Path) -> str:
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 24], depths=[1, 1, 1, 1], layer_type="basic",
        num_labels=len(LABELS), id2label=dict(enumerate(LABELS)),
    )  # fmt: skip
    ResNetForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return f"./{folder.name}"


def bare(folder: Path, architecture: str, network: torch.nn.Module) -> str:
    folder.mkdir()
    save_file(network.state_dict(), folder / "weights.safetensors")
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n\n")
    return f"{architecture} + ./{folder.name}/weights.safetensors + ./{folder.name}/labels.txt"


def hub_folder(folder: Path) -> str:
    cached = folder.parent / "models--me--mine"
    timm_folder(cached / "snapshots" / ("d" * 40))
    return f"hf-hub:me/mine@{'d' * 40}"


def cached(folder: Path, name: str) -> None:
    """A model that timm lists, where the hub's cache would have it."""
    timm_folder(folder.parent / f"models--timm--{name}" / "snapshots" / ("e" * 40))
    (folder.parent / f"models--timm--{name}" / "refs").mkdir()
    (folder.parent / f"models--timm--{name}" / "refs" / "main").write_text("e" * 40)


def timm_name(folder: Path) -> str:
    cached(folder, "resnet10t.c3_in1k")
    return "resnet10t.c3_in1k"


def torchvision_name(folder: Path) -> str:
    cached(folder, "resnet18.tv_in1k")
    return "torchvision:resnet18"


MAKERS: dict[str, Callable[[Path], str]] = {
    "timm folder": timm_folder,
    "transformers": transformers_folder,
    "torchvision": lambda folder: bare(
        folder, "torchvision:mobilenet_v3_small",
        torchvision.models.mobilenet_v3_small(num_classes=len(LABELS)),
    ),
    "bare timm": lambda folder: bare(
        folder, "mobilenetv3_small_050", timm.create_model("mobilenetv3_small_050", num_classes=len(LABELS))
    ),
    "hub": hub_folder,
    "timm name": timm_name,
    "torchvision name": torchvision_name,
}  # fmt: skip
