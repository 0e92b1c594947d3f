"""What is measured of an edit by CLIP: every score with its names, its formula and its gate, in the order of the page.

To add a score, add a field to `Scores`: the scorer measures it, its gate judges it, and pages, tables and exports show
it. Of every score more is better. The cosines and their bounds follow LANCE (Prabhu et al., 2023), the directional
similarity StyleGAN-NADA (Gal et al., 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from math import isfinite, nan
from typing import TYPE_CHECKING

from pipeline.settings import Settings

if TYPE_CHECKING:
    import torch

EPSILON = 1e-8  # keeps the direction of two equal captions at similarity 0 instead of NaN


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedded:
    """What CLIP makes of one picture and its n edits: unit vectors."""

    image: torch.Tensor  # I, (1, width)
    caption: torch.Tensor  # c, (1, width)
    edited_image: torch.Tensor  # I', (n, width)
    edited_caption: torch.Tensor  # c', (n, width)


Formula = Callable[[Embedded], "torch.Tensor"]
"""Gives a score of all n edits, (n,), or one for all of them, (1,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A bound that a score has to reach."""

    bound: str | float  # a field of `Settings`, or the figure itself
    exceed: bool = False  # whether the bound itself is too little

    def figure(self, settings: Settings) -> float:
        """Return the bound that holds under these settings."""
        return float(getattr(settings, self.bound)) if isinstance(self.bound, str) else self.bound

    def passes(self, value: float, settings: Settings) -> bool:
        """Return whether a value reaches the bound; one that is not known misses nothing."""
        return not (value <= self.figure(settings) if self.exceed else value < self.figure(settings))

    def wish(self, settings: Settings) -> str:
        """Return the bound with its sign, such as "≥ 0.20"."""
        return f"{'>' if self.exceed else '≥'} {self.figure(settings):.2f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What is said of one score, and how it is measured."""

    name: str
    short: str  # its name where there is little room
    help: str
    formula: Formula
    gate: Gate | None = None

    def missed(self, value: float, settings: Settings) -> str:
        """Return a sentence with its figures when the value misses the gate, "" otherwise."""
        if self.gate is None or self.gate.passes(value, settings):
            return ""
        bound = self.gate.figure(settings)
        if self.gate.exceed:
            return f"{self.name} {value:+.3f} is not above {bound:g}"
        # Two digits, more only where two would show the value as equal to what it misses.
        figure = f"{value:.2f}" if f"{value:.2f}" != f"{bound:.2f}" else f"{value:.4f}"
        return f"{self.name} {figure} is below {bound:.2f}"


def cosine(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return cosines row by row, one of both may be a single row; clamped because rounding may step over 1."""
    return (unit(left) * unit(right)).sum(dim=-1).clamp(-1.0, 1.0)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Return rows of length 1; what has next to no length stays near 0."""
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(EPSILON)


def _field(score: Score) -> float:
    return field(default=nan, metadata={"score": score})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of one edit, cosines of CLIP in -1..1 and their differences; what nobody measured is not a number.

    I, c: source picture and caption; I', c': edited ones.
    """

    directional_similarity: float = _field(
        Score(
            name="directional similarity",
            short="direction",
            help="cos(I' - I, c' - c): whether the picture changed the way the caption did",
            formula=lambda of: cosine(of.edited_image - of.image, of.edited_caption - of.caption),
            gate=Gate(bound="min_directional_similarity"),
        )
    )
    image_similarity: float = _field(
        Score(
            name="image similarity",
            short="image",
            help="cos(I, I'): how much of the photo is left",
            formula=lambda of: cosine(of.edited_image, of.image),
            gate=Gate(bound="min_image_similarity"),
        )
    )
    edited_alignment: float = _field(
        Score(
            name="edited caption match",
            short="caption",
            help="cos(I', c'): whether the edit shows what its caption says",
            formula=lambda of: cosine(of.edited_image, of.edited_caption),
            gate=Gate(bound="min_edited_alignment"),
        )
    )
    source_alignment: float = _field(
        Score(
            name="original caption match",
            short="source",
            help="cos(I, c): whether the photo shows what its caption says",
            formula=lambda of: cosine(of.image, of.caption),
            gate=Gate(bound="min_source_alignment"),
        )
    )
    prefers_edit: float = _field(
        Score(
            name="preference for new words",
            short="preference",
            help="cos(I', c') - cos(I', c): above 0 when the edit fits the new words better than the old ones",
            formula=lambda of: cosine(of.edited_image, of.edited_caption) - cosine(of.edited_image, of.caption),
            gate=Gate(bound=0.0, exceed=True),
        )
    )

    @classmethod
    def of(cls, kept: Mapping[str, float | None]) -> Scores:
        """Return scores that were `kept`: one unknown then is not a number, one gone since is dropped."""
        known = {name: value for name in SCORES if (value := kept.get(name)) is not None}
        return cls(**known)

    @property
    def kept(self) -> dict[str, float | None]:
        """Return the scores by name, as records keep and exports tell them; None for one that is not known."""
        return {name: value if isfinite(value) else None for name, value in asdict(self).items()}

    @property
    def complete(self) -> bool:
        """Return whether every score is known."""
        return None not in self.kept.values()


SCORES: Mapping[str, Score] = {entry.name: entry.metadata["score"] for entry in fields(Scores)}
