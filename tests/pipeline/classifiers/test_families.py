"""Classifiers of torchvision and transformers: the head is found, makes the prediction, and opens again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_model
from torchvision.models import get_model, get_model_weights
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from pipeline.classifiers.base import LinearHeadClassifier
from pipeline.classifiers.families import TorchvisionClassifier, TorchvisionConfig, TransformersClassifier
from pipeline.errors import ModelError

LABELS = ["sled", "ball", "kite"]


def torchvision_folder(folder: Path, architecture: str = "mobilenet_v3_small", **arguments: object) -> Path:
    torch.manual_seed(0)
    save_model(get_model(architecture, num_classes=3, **arguments), str(folder / "model.safetensors"))
    config = {
        "architecture": architecture,
        "label_names": LABELS,
        "arguments": arguments,
        "resize_size": 36,
        "crop_size": 32,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def transformers_folder(folder: Path, kind: str) -> Path:
    torch.manual_seed(0)
    names = dict(enumerate(LABELS))
    if kind == "vit":
        size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        network: torch.nn.Module = ViTForImageClassification(
            ViTConfig(image_size=32, patch_size=16, id2label=names, **size)
        )
    else:
        size = {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"}
        network = ResNetForImageClassification(ResNetConfig(id2label=names, **size))
    network.save_pretrained(folder)  # type: ignore[operator]
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(params=["torchvision", "vit", "resnet"])
def classifier(request: pytest.FixtureRequest, tmp_path: Path) -> LinearHeadClassifier:
    if request.param == "torchvision":
        return TorchvisionClassifier.from_pretrained(str(torchvision_folder(tmp_path)), name="x", device="cpu")
    return TransformersClassifier.from_pretrained(
        str(transformers_folder(tmp_path, request.param)), name="x", device="cpu"
    )


def noise(count: int) -> list[Image.Image]:
    pixels = torch.randint(0, 256, (count, 40, 48, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return [Image.fromarray(pixel.numpy()) for pixel in pixels]


def test_features_and_head_make_the_prediction(classifier: LinearHeadClassifier) -> None:
    pictures = noise(3)
    features, (weight, bias) = classifier.features(pictures), classifier.head()
    assert classifier.labels == tuple(LABELS)
    assert features.shape == (3, weight.shape[1])
    predicted = torch.tensor([picture.probabilities.tolist() for picture in classifier.predict(pictures)])
    torch.testing.assert_close(predicted, (features @ weight.T + bias).softmax(1), atol=1e-5, rtol=0)


def test_another_head_is_saved_and_opened_by_the_same_loader(classifier: LinearHeadClassifier, tmp_path: Path) -> None:
    weight, bias = classifier.head()
    other = classifier.with_head(weight * 2, bias + torch.tensor([0.0, 3.0, 0.0]))
    assert [prediction.top(1)[0][0] for prediction in other.predict(noise(2))] == ["ball", "ball"]
    other.save(tmp_path / "saved", "# How it was made")
    assert (tmp_path / "saved" / "README.md").read_text() == "# How it was made"
    again = type(classifier).from_pretrained(str(tmp_path / "saved"), name="again", device="cpu")
    assert again.predict(noise(2)) == other.predict(noise(2)) != classifier.predict(noise(2))


@pytest.mark.parametrize("architecture", ["mobilenet_v3_small", "swin_t"])
def test_preprocessing_is_as_published(architecture: str) -> None:
    ours = TorchvisionConfig.published(architecture, LABELS).preprocess()
    theirs = get_model_weights(architecture)["DEFAULT"].transforms()
    for picture in noise(2):
        torch.testing.assert_close(ours(picture), theirs(picture), atol=1e-6, rtol=0)


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="timm's copy"):
        TorchvisionClassifier.from_pretrained("resnet50", name="x", device="cpu")
    folder = torchvision_folder(tmp_path, "squeezenet1_1")  # its last layer is a convolution
    with pytest.raises(ModelError, match="no linear head"):
        TorchvisionClassifier.from_pretrained(str(folder), name="x", device="cpu")
