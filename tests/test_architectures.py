"""Full-size architectures without their weights: what is found in them, how many parameters they have."""

from __future__ import annotations

import torch

from pipeline.editing.attention import CrossAttentionInjection, SelfAttentionInjection, controlled
from tests import architectures


def parameters(model: torch.nn.Module) -> int:
    return sum(one.numel() for one in model.parameters())


def test_every_attention_layer_of_stable_diffusion_is_under_control() -> None:
    with torch.device("meta"):
        unet = architectures.sd1_unet()
    assert parameters(unet) == 859_520_964
    before = dict(unet.attn_processors)
    with controlled(unet):
        found = list(unet.attn_processors.values())
    assert sum(isinstance(one, SelfAttentionInjection) for one in found) == 16
    assert sum(isinstance(one, CrossAttentionInjection) for one in found) == 16
    assert len(found) == 32
    assert unet.attn_processors == before
