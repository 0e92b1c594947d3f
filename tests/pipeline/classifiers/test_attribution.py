"""Grad-CAM: the map lies where the evidence lies, on the picture as the analyst sees it; no map where there is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import get_model
from torchvision.transforms import v2

from pipeline.classifiers.attribution import field_of_view, grad_cam, last_feature_map
from pipeline.errors import LabelError
from pipeline.tiny.world import Scene, draw
from pipeline.types import Models

SIZE = 64


class RedOrBlue(torch.nn.Module):
    """Two channels that see red and blue; row 0 counts red, row 1 blue."""

    def __init__(self) -> None:
        super().__init__()
        self.see = torch.nn.Conv2d(3, 2, 5, padding=2, bias=False)
        self.count = torch.nn.Linear(2, 2, bias=False)
        weight = torch.zeros(2, 3, 5, 5)
        weight[0, 0], weight[1, 2] = 0.04, 0.04
        self.see.weight.data, self.count.weight.data = weight, torch.eye(2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.count(self.see(pixels).mean(dim=(2, 3)))


def preprocess(resize: int, crop: int) -> Callable[[Image.Image], torch.Tensor]:
    scale = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.2] * 3, [0.5] * 3)]
    return v2.Compose([v2.Resize(resize, antialias=True), v2.CenterCrop(crop), *scale])


def planted() -> Image.Image:
    """Red near the left, blue near the lower right, black elsewhere."""
    picture = Image.new("RGB", (SIZE, SIZE))
    picture.paste("red", (12, 26, 20, 34))
    picture.paste("blue", (44, 44, 52, 52))
    return picture


@pytest.mark.parametrize(("target", "box"), [(0, (12, 26, 20, 34)), (1, (44, 44, 52, 52))])
@pytest.mark.parametrize(("resize", "crop"), [(64, 64), (96, 80)])
def test_the_map_is_highest_on_what_speaks_for_the_label(
    target: int, box: tuple[int, int, int, int], resize: int, crop: int
) -> None:
    model = RedOrBlue().eval()
    plain = v2.Compose([v2.Resize(resize), v2.CenterCrop(crop), v2.PILToTensor(), v2.ToDtype(torch.float32)])
    (found,) = grad_cam(model, model, plain, [planted()], target)
    assert found.shape == (SIZE, SIZE)
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert box[0] <= column < box[2]
    assert box[1] <= row < box[3]
    inside = found[box[1] : box[3], box[0] : box[2]].sum()
    assert inside / found.sum() > 0.6


@pytest.mark.parametrize(
    ("resize", "crop", "size", "expected"),
    [
        (96, 96, (96, 96), (0.0, 0.0, 1.0, 1.0)),
        (256, 224, (96, 96), (0.0625, 0.0625, 0.9375, 0.9375)),
        (64, 64, (128, 64), (0.25, 0.0, 0.75, 1.0)),
    ],
)
def test_the_field_of_view_is_what_the_preprocessing_leaves(
    resize: int, crop: int, size: tuple[int, int], expected: tuple[float, ...]
) -> None:
    assert field_of_view(preprocess(resize, crop), size) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet18", "layer4"), ("densenet121", "features"), ("vgg11", "features"), ("vit_b_32", None)]
)
@pytest.mark.slow
def test_the_layer_in_networks_of_torchvision(name: str, layer: str | None) -> None:
    model = get_model(name, num_classes=3).eval()
    found = last_feature_map(model, model, torch.zeros(1, 3, 224, 224))
    assert found is (getattr(model, layer) if layer else None)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("convnext_atto", "stages"), ("vit_tiny_patch16_224", None), ("swin_tiny_patch4_window7_224", None)],
)
def test_the_layer_in_networks_of_timm(name: str, layer: str | None) -> None:
    import timm

    model = timm.create_model(name, pretrained=False, num_classes=3).eval()
    found = last_feature_map(model, model, torch.zeros(1, 3, 224, 224))
    assert found is (getattr(model, layer) if layer else None)


@pytest.mark.parametrize("with_attention", [False, True])
def test_the_layer_in_networks_of_transformers(with_attention: bool) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

    small = {"num_hidden_layers": 1, "hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 24}
    if with_attention:
        model = ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, **small)).eval()
    else:
        model = ResNetForImageClassification(ResNetConfig(hidden_sizes=[8, 16], depths=[1, 1], embedding_size=8)).eval()
    found = last_feature_map(model, lambda pixels: model(pixels).logits, torch.zeros(1, 3, 32, 32))
    assert found is (None if with_attention else model.resnet.encoder.stages[-1])


@pytest.mark.parametrize("name", ["resnet", "densenet", "repvgg"])
def test_a_shipped_classifier_tells_where_it_looks(models: Models, scenes: tuple[Scene, ...], name: str) -> None:
    judge = models.classifier(name)
    pictures = [draw(scene) for scene in scenes[:2]]
    maps = judge.grad_cam(pictures, scenes[0].label)
    assert [word_map.shape for word_map in maps] == [picture.size[::-1] for picture in pictures]
    assert maps[0].max() > 0
    assert min(word_map.min() for word_map in maps) >= 0
    with pytest.raises(LabelError, match="'nothing'"):
        judge.grad_cam(pictures, "nothing")
