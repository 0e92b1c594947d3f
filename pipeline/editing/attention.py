"""Attention control: the source's attention maps injected into the edits beside it in one batch.

Follows prompt-to-prompt (Hertz et al., 2022), section 3.2. Knows diffusers' attention layers and rows of a batch, but
no captions, steps or schedules: whoever denoises says before each call of the UNet which rows are under control.

Rows of a batch: the source first, then R edits with their captions, then, where guidance is on, the same edits
unconditionally. Only the R conditional rows are ever controlled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention, AttentionProcessor
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

MAX_SELF_POSITIONS = 32**2  # larger maps hold detail, not layout, and stay the edit's own (as in the reference)


class Processor(Protocol):
    """How a layer of the UNet calls its attention processor. diffusers' own union of classes has no room for ours."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrossMaps:
    """An `Alignment` per conditional row: matrix (R, 1, n, n), own and weight (R, 1, 1, n)."""

    matrix: torch.Tensor
    own: torch.Tensor
    weight: torch.Tensor

    def apply(self, source: torch.Tensor, edited: torch.Tensor) -> torch.Tensor:
        """Maps of the edits: from source (1, heads, positions, n) and edited (R, heads, positions, n)."""
        return (source @ self.matrix + edited * self.own) * self.weight


@dataclass(slots=True, kw_only=True, eq=False)
class AttentionControl:
    """What is controlled in the next call of the UNet.

    `self_rows` (rows,): for each row the row whose self-attention map it uses, 0 being the source; None: its own.
    `cross_maps`: how the conditional rows' cross-attention follows from the source's; None: it is their own.
    """

    self_rows: torch.Tensor | None = None
    cross_maps: CrossMaps | None = None


@contextmanager
def controlled(unet: UNet2DConditionModel) -> Iterator[AttentionControl]:
    """The UNet under attention control; its own processors come back at the end, also after an error."""
    control = AttentionControl()
    originals = dict(unet.attn_processors)
    injections = {name: _injection(name, cast(Processor, own), control) for name, own in originals.items()}
    unet.set_attn_processor(cast("dict[str, AttentionProcessor]", injections))
    try:
        yield control
    finally:
        unet.set_attn_processor(originals)


def _injection(name: str, original: Processor, control: AttentionControl) -> Processor:
    if name.endswith("attn1.processor"):
        return SelfAttentionInjection(original, control)
    if name.endswith("attn2.processor"):
        return CrossAttentionInjection(original, control)
    return original


class SelfAttentionInjection:
    """softmax(Q_source K_source^T) V_edit, which is the source's map on the edit's values, without storing a map."""

    def __init__(self, original: Processor, control: AttentionControl) -> None:
        self.original = original
        self.control = control

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(rows, positions, channels) -> the same shape."""
        rows = self.control.self_rows
        if rows is None or hidden_states.shape[1] > MAX_SELF_POSITIONS:
            return self.original(attn, hidden_states, encoder_hidden_states, attention_mask)
        query, key, value = _project(attn, hidden_states, hidden_states)
        return _merge(attn, scaled_dot_product_attention(query[rows], key[rows], value, scale=attn.scale))


class CrossAttentionInjection:
    """The source's word maps on the edit's values; explicit, because a text window is short."""

    def __init__(self, original: Processor, control: AttentionControl) -> None:
        self.original = original
        self.control = control

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(rows, positions, channels), text (rows, n, width) -> (rows, positions, channels)."""
        maps = self.control.cross_maps
        if maps is None or encoder_hidden_states is None:
            return self.original(attn, hidden_states, encoder_hidden_states, attention_mask)
        query, key, value = _project(attn, hidden_states, encoder_hidden_states)
        conditional = 1 + len(maps.matrix)
        # 1. M_t and M*_t: the maps of the source and of the edits.
        probabilities = _probabilities(attn, query[:conditional], key[:conditional])
        source, edited = probabilities[:1], probabilities[1:]
        # 2. Edit(M_t, M*_t, t), then times the values of each row.
        edited = maps.apply(source, edited).to(value.dtype)
        controlled_rows = torch.cat((source.to(value.dtype), edited)) @ value[:conditional]
        # 3. Unconditional rows run free.
        free = (query[conditional:], key[conditional:], value[conditional:])
        free_rows = scaled_dot_product_attention(*free, scale=attn.scale)
        return _merge(attn, torch.cat((controlled_rows, free_rows)))


def _project(
    attn: Attention, hidden_states: torch.Tensor, context: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Q, K, V, each (rows, heads, positions, head width)."""
    query, key, value = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
    return _split(attn, query), _split(attn, key), _split(attn, value)


def _split(attn: Attention, states: torch.Tensor) -> torch.Tensor:
    rows, positions, channels = states.shape
    return states.view(rows, positions, attn.heads, channels // attn.heads).transpose(1, 2)


def _merge(attn: Attention, states: torch.Tensor) -> torch.Tensor:
    projected = attn.to_out[0](states.transpose(1, 2).flatten(2))
    return cast(torch.Tensor, attn.to_out[1](projected))


def _probabilities(attn: Attention, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """(rows, heads, positions, n) in float32, whatever the model's precision: they are products of several factors."""
    return ((query * attn.scale) @ key.transpose(-1, -2)).float().softmax(dim=-1)
