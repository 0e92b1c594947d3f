"""Where an edit may change the picture: local blending.

Follows prompt-to-prompt (Hertz et al., 2022), section 3.3 "Local editing". Knows word maps and latents, but no model,
captions or schedule.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate, max_pool2d

from pipeline.editing.attention import CrossMaps, grid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalBlend:
    """Which words of C captions say where, and how clearly they must."""

    went: torch.Tensor  # (C, n): 1 for tokens of the source that went, 0 for all others
    came: torch.Tensor  # (C, n): 1 for tokens of the edited captions that came
    threshold: float  # share of a map's maximum
    start: int  # the step from which on the rest of the picture is held to the source

    def heat(self, seen: torch.Tensor, maps: CrossMaps | None, captions: list[int]) -> torch.Tensor:
        """Return the attention to the words that went and to those that came: (R, 2, positions).

        `seen` (1 + R, positions, n) are the maps of the source and of R edits of these captions, before control.
        """
        source, edited = seen[:1], seen[1:]
        if maps is not None:
            edited = maps.apply(source, edited)
        went = (source * self.went[captions][:, None]).sum(dim=2)
        came = (edited * self.came[captions][:, None]).sum(dim=2)
        return torch.stack((went, came), dim=1)

    def apply(self, edited: torch.Tensor, source: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
        """Return latents that are the source's (1, C, h, w) outside the mask and the edit's (R, C, h, w) inside."""
        return torch.where(self.mask(heat, edited.shape[2], edited.shape[3]), edited, source)

    def mask(self, heat: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Return (R, 1, height, width): true where a map (R, 2, positions), widened by a cell, is above the threshold.

        `heat` may be a sum over steps: only its share of its own maximum counts.
        """
        maps = heat.view(len(heat), 2, *grid(heat.shape[2], height, width))
        maps = interpolate(max_pool2d(maps, kernel_size=3, stride=1, padding=1), size=(height, width))
        most = maps.amax(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
        return (maps / most > self.threshold).any(dim=1, keepdim=True)
