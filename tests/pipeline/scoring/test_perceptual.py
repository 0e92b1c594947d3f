"""Distances on networks of others, with weights for which they can be worked out by hand; what is refused."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest
import timm
import torch
from safetensors.torch import save_model
from timm.models import save_for_hf
from torchmetrics.functional.image.lpips import _LPIPS
from torchvision.transforms.functional import normalize, to_tensor

from pipeline.errors import ModelError
from pipeline.scoring.perceptual import lpips, open_distances, structure

RED, BLACK = (PIL.Image.new("RGB", (64, 64), colour) for colour in ((255, 0, 0), (0, 0, 0)))
NOISE = PIL.Image.effect_noise((32, 32), 90).convert("RGB")
SMALL = {"img_size": 32, "embed_dim": 8, "depth": 1, "num_heads": 1}


@pytest.fixture
def alexnet(tmp_path: Path) -> Path:
    """LPIPS that sees two features: how red a pixel is, and a constant 1."""
    network = _LPIPS(pretrained=False, net="alex", pnet_rand=True)
    for weight in network.parameters():
        weight.zero_()
    first = network.net.slice1[0]
    first.weight[0, 0, 5, 5] = 1.0
    first.bias[1] = 1.0
    network.lin0.model[-1].weight.fill_(1.0)
    save_model(network, str(tmp_path / "model.safetensors"))
    return tmp_path


def test_lpips_by_hand(alexnet: Path) -> None:
    """Red is (v, 1) and black (0, 1), whose cosine is 1 / sqrt(v v + 1); squared distance of units is 2 - 2 cos."""
    distance = lpips(alexnet, "cpu")
    v = (1 + 0.030) / 0.458  # as LPIPS scales its input
    assert distance(RED, BLACK) == pytest.approx(2 - 2 / (v * v + 1) ** 0.5, rel=1e-4)
    assert distance(RED, RED) == 0.0


def test_structure_is_how_differently_keys_resemble_one_another(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, **SMALL).eval()
    torch.nn.init.normal_(network.blocks[0].attn.qkv.weight)
    network.pretrained_cfg.update(input_size=(3, 32, 32), crop_pct=1.0)
    save_for_hf(network, str(tmp_path), model_args=SMALL, safe_serialization=True)
    settings = network.pretrained_cfg

    def cosines(image: PIL.Image.Image) -> torch.Tensor:
        pixels = normalize(to_tensor(image), settings["mean"], settings["std"])[None]
        block = network.blocks[0]
        keys = block.attn.qkv(block.norm1(network._pos_embed(network.patch_embed(pixels))))[0, :, 8:16]
        return torch.nn.functional.cosine_similarity(keys[:, None], keys[None], dim=-1)

    black = BLACK.resize((32, 32))
    distance = structure(tmp_path, "cpu")
    with torch.no_grad():
        expected = float(((cosines(NOISE) - cosines(black)) ** 2).mean())
    assert distance(NOISE, black) == pytest.approx(expected, rel=1e-3)
    assert distance(NOISE, black) > 0.0 == distance(NOISE, NOISE)


def test_what_is_not_named_is_not_measured_and_the_reason_is_told(alexnet: Path) -> None:
    found, absent = open_distances({}, "cpu")
    assert (list(found), list(absent)) == ([], ["LPIPS", "DINO structure", "FID"])
    assert "pickles only" in absent["LPIPS"]
    found, absent = open_distances({"lpips": str(alexnet)}, "cpu")
    assert (list(found), list(absent)) == (["LPIPS"], ["DINO structure", "FID"])


@pytest.mark.parametrize("role", ["lpips", "dino", "vmaf"])
def test_weights_that_cannot_be_opened_are_one_sentence(role: str, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    (tmp_path / "config.json").write_text('{"architecture": "vit_tiny_patch16_224"}')
    with pytest.raises(ModelError) as caught:
        open_distances({role: str(tmp_path)}, "cpu")
    assert len(str(caught.value).splitlines()) == 1
