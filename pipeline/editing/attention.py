"""Attention control: the source's attention maps injected into the edits beside it in one batch.

Follows prompt-to-prompt (Hertz et al., 2022), section 3.2. Knows diffusers' attention layers and rows of a batch, but
no captions, steps or schedules: whoever denoises says before each call of the UNet which rows are under control.

Rows of a batch: the source first, then R edits with their captions, then, where guidance is on, the same edits
unconditionally. Only the R conditional rows are ever controlled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention, AttentionProcessor
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

MAX_SELF_POSITIONS = 32**2  # larger maps hold detail, not layout, and stay the edit's own (as in the reference)
MAX_SEEN_POSITIONS = 32**2  # of word maps that are looked at
SEEN_POSITIONS = 16**2  # at which they say most (prompt-to-prompt); of a smaller model the nearest there is


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
    """An `Alignment` per conditional row: matrix (R, n, n), own and weight (R, n)."""

    matrix: torch.Tensor
    own: torch.Tensor
    weight: torch.Tensor

    def apply(self, source: torch.Tensor, edited: torch.Tensor) -> torch.Tensor:
        """Return Edit(M, M*): maps of the edits, from the source's (1, positions, n) and theirs (R, positions, n)."""
        return (source @ self.matrix + edited * self.own[:, None]) * self.weight[:, None]

    def values(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return V1, V2 with Edit(M, M*) V = M V1 + M* V2, all (R, heads, n, head width): no map has to be written."""
        weighted = value * self.weight[:, None, :, None].to(value.dtype)
        return self.matrix[:, None].to(value.dtype) @ weighted, weighted * self.own[:, None, :, None].to(value.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class WordMapRecorder:
    """Word maps of the first `rows` rows in one call of the UNet, per number of positions; a few small tensors."""

    rows: int
    layers: dict[int, list[torch.Tensor]] = field(default_factory=dict)

    def record(self, attn: Attention, query: torch.Tensor, key: torch.Tensor) -> None:
        """Note one layer's maps, averaged over its heads; those with many positions are passed over."""
        if query.shape[2] <= MAX_SEEN_POSITIONS:
            maps = _probabilities(attn, query[: self.rows], key[: self.rows]).mean(dim=1)
            self.layers.setdefault(query.shape[2], []).append(maps)

    def maps(self) -> torch.Tensor:
        """Return (rows, positions, n): the mean over the layers whose resolution is nearest to 16 x 16."""
        positions = min(self.layers, key=lambda count: abs(count - SEEN_POSITIONS))
        return torch.stack(self.layers[positions]).mean(dim=0)


def grid(positions: int, height: int, width: int) -> tuple[int, int]:
    """Return height and width of a map with so many positions, over latents of this height and width."""
    scale = math.sqrt(height * width / positions)
    return round(height / scale), round(width / scale)


@dataclass(slots=True, kw_only=True, eq=False)
class AttentionControl:
    """What is controlled in the next call of the UNet.

    `self_rows` (rows,): for each row the row whose self-attention map it uses, 0 being the source; None: its own.
    `cross_maps`: how the conditional rows' cross-attention follows from the source's; None: it is their own.
    `seen`: takes down the word maps, as they are before control; None: nobody looks.
    """

    self_rows: torch.Tensor | None = None
    cross_maps: CrossMaps | None = None
    seen: WordMapRecorder | None = None


@contextmanager
def controlled(unet: UNet2DConditionModel) -> Iterator[AttentionControl]:
    """Put the UNet under attention control; its own processors come back at the end, also after an error."""
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


class _Injection:
    def __init__(self, original: Processor, control: AttentionControl) -> None:
        self.original = original
        self.control = control


class SelfAttentionInjection(_Injection):
    """softmax(Q_source K_source^T) V_edit, which is the source's map on the edit's values, without storing a map."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Turn (rows, positions, channels) into the same shape."""
        rows = self.control.self_rows
        if rows is None or hidden_states.shape[1] > MAX_SELF_POSITIONS:
            return self.original(attn, hidden_states, encoder_hidden_states, attention_mask)
        query, key, value = _project(attn, hidden_states, hidden_states)
        return _merge(attn, scaled_dot_product_attention(query[rows], key[rows], value, scale=attn.scale))


class CrossAttentionInjection(_Injection):
    """The source's word maps on the edit's values: a sum of two attentions, each without a map of its own."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Turn (rows, positions, channels), text (rows, n, width) into (rows, positions, channels)."""
        maps, seen = self.control.cross_maps, self.control.seen
        if encoder_hidden_states is None or (maps is None and seen is None):
            return self.original(attn, hidden_states, encoder_hidden_states, attention_mask)
        query, key, value = _project(attn, hidden_states, encoder_hidden_states)
        if seen is not None:
            seen.record(attn, query, key)
        if maps is None:
            return _merge(attn, scaled_dot_product_attention(query, key, value, scale=attn.scale))
        # 1. M*_t on the part of the values that is the edit's own; all other rows run free.
        edits = slice(1, 1 + len(maps.matrix))
        carried, own = maps.values(value[edits])
        values = torch.cat((value[:1], own, value[edits.stop :]))
        states = scaled_dot_product_attention(query, key, values, scale=attn.scale)
        # 2. M_t on the part that follows the source.
        source_query, source_key = (projection[:1].expand(len(carried), -1, -1, -1) for projection in (query, key))
        states[edits] += scaled_dot_product_attention(source_query, source_key, carried, scale=attn.scale)
        return _merge(attn, states)


def _project(
    attn: Attention, hidden_states: torch.Tensor, context: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return Q, K, V, each (rows, heads, positions, head width)."""
    query, key, value = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
    return _split(attn, query), _split(attn, key), _split(attn, value)


def _split(attn: Attention, states: torch.Tensor) -> torch.Tensor:
    rows, positions, channels = states.shape
    return states.view(rows, positions, attn.heads, channels // attn.heads).transpose(1, 2)


def _merge(attn: Attention, states: torch.Tensor) -> torch.Tensor:
    projected = attn.to_out[0](states.transpose(1, 2).flatten(2))
    return cast(torch.Tensor, attn.to_out[1](projected))


def _probabilities(attn: Attention, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return (rows, heads, positions, n) in float32, whatever the model's precision."""
    return ((query * attn.scale) @ key.transpose(-1, -2)).float().softmax(dim=-1)
