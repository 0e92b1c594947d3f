"""Classifiers that cannot work, each refused with its cause before anybody is offered it, and those that can."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torch import nn
from torchvision.models import get_model
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from pipeline.classifiers import promotion
from pipeline.classifiers.model_folder import FOLDER
from pipeline.errors import ModelError
from pipeline.models import loader
from pipeline.profiles import load_profile
from pipeline.types import Classifier
from tests.own_classifiers import SMALL
from tests.seams import picture

pytestmark = pytest.mark.slow

LABELS = ["sled", "ball", "kite"]


def opened(text: str) -> Classifier:
    profile = load_profile("tiny")
    return loader.load(replace(profile, classifiers={"own": text}), "cpu").classifier("own")


def timm_folder(folder: Path, labels: list[str] = LABELS, **arguments: object) -> Path:
    made = {**SMALL, **arguments}
    network = timm.create_model("resnet18", num_classes=len(labels), **made)
    save_for_hf(network, str(folder), {"label_names": labels}, model_args=made, safe_serialization=True)
    return folder


def transformers_folder(folder: Path, labels: list[str] = LABELS, **arguments: object) -> Path:
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 24], depths=[1, 1, 1, 1], layer_type="basic",
        num_labels=len(labels), id2label=dict(enumerate(labels)), **arguments,
    )  # fmt: skip
    ResNetForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def prefixed(folder: Path, prefix: str) -> Path:
    weights = folder / "model.safetensors"
    save_file({f"{prefix}{name}": tensor for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    return folder


def bare(folder: Path, architecture: str, network: nn.Module, prefix: str = "") -> str:
    folder.mkdir()
    state = {f"{prefix}{name}": tensor.clone() for name, tensor in network.state_dict().items()}
    save_file(state, folder / "w.safetensors")
    (folder / "labels.txt").write_text("\n".join(LABELS))
    return f"{architecture} + {folder}/w.safetensors + {folder}/labels.txt"


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "timm, grey": (lambda folder: timm_folder(folder, in_chans=1), "takes pictures of 1 channel"),
    "transformers, grey": (lambda folder: transformers_folder(folder, num_channels=1), "takes pictures of 1 channel"),
    "timm, five channels": (lambda folder: timm_folder(folder, in_chans=5), "takes pictures of 5 channels"),
    "timm, one output": (lambda folder: timm_folder(folder, ["defect"]), "has one output"),
    "transformers, one output": (lambda folder: transformers_folder(folder, ["defect"]), "has one output"),
    "transformers, several labels": (
        lambda folder: transformers_folder(folder, problem_type="multi_label_classification"), "multi-label",
    ),
    "transformers, prefixed": (lambda folder: prefixed(transformers_folder(folder), "module."), "begin with 'module.'"),
    "timm, prefixed": (lambda folder: prefixed(timm_folder(folder), "net."), "begin with 'net.'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_work_is_refused_with_its_cause(kind: str, tmp_path: Path) -> None:
    make, words = REFUSED[kind]
    make(tmp_path / "own")
    with pytest.raises(ModelError, match=words):
        opened(str(tmp_path / "own"))


def test_what_does_not_open_is_not_offered(tmp_path: Path) -> None:
    tiny = loader.load(load_profile("tiny"), "cpu")
    timm_folder(tmp_path / FOLDER / "grey", in_chans=1)
    timm_folder(tmp_path / FOLDER / "good")
    tiny.adopt(tmp_path)
    with pytest.raises(ModelError, match="1 channel"):
        promotion.add_and_open(tiny, tmp_path, "models:grey", "grey")
    assert "grey" not in tiny.profile.classifiers
    promotion.add_and_open(tiny, tmp_path, "models:good", "good")
    assert tiny.classifier("good").labels == tuple(LABELS)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_a_prefix_of_all_weights_is_taken_off(prefix: str, tmp_path: Path) -> None:
    network = timm.create_model("mobilenetv3_small_050", num_classes=3).eval()
    found = opened(bare(tmp_path / "own", "mobilenetv3_small_050", network, prefix))
    plain = opened(bare(tmp_path / "plain", "mobilenetv3_small_050", network))
    assert found.predict([picture("red")]) == plain.predict([picture("red")])


@pytest.mark.parametrize("architecture", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("auxiliary", [True, False])
def test_torchvisions_own_flags_go_with_its_weights(architecture: str, auxiliary: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    flags = {"aux_logits": auxiliary, "transform_input": True, "init_weights": False}
    network = get_model(architecture, num_classes=3, **flags).eval()
    found = opened(bare(tmp_path / "own", f"torchvision:{architecture}", network))
    pixels = torch.stack([found._preprocess(picture("red", 3))])  # type: ignore[attr-defined]
    with torch.inference_mode():
        right = network(pixels).softmax(-1)[0].tolist()
    assert found.predict([picture("red", 3)])[0].probabilities.tolist() == pytest.approx(right, abs=1e-5)
    found.save(tmp_path / "saved", "card")  # type: ignore[attr-defined]
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["arguments"]["transform_input"] is True
    assert opened(str(tmp_path / "saved")).predict([picture("red", 3)]) == found.predict([picture("red", 3)])


def test_duplicates_are_numbered_in_all_families(tmp_path: Path) -> None:
    twice = ["crane", "ball", "crane"]
    right = ("crane (0)", "ball", "crane (2)")
    assert opened(str(timm_folder(tmp_path / "timm", twice))).labels == right
    assert opened(str(transformers_folder(tmp_path / "transformers", twice))).labels == right
    text = bare(tmp_path / "bare", "mobilenetv3_small_050", timm.create_model("mobilenetv3_small_050", num_classes=3))
    (tmp_path / "bare" / "labels.txt").write_bytes(b"\xef\xbb\xbfcrane\r\nball\r\ncrane\r\n")
    assert opened(text).labels == right


def test_a_network_whose_answers_are_not_its_heads_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.classifiers.families import TimmClassifier

    timm_folder(tmp_path / "own")
    monkeypatch.setattr(TimmClassifier, "_logits", lambda self, pixels: 3 * self._model(pixels))
    with pytest.raises(ModelError, match="not those of its last linear layer"):
        opened(str(tmp_path / "own"))
