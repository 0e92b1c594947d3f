"""Counterfactuals on colours to reinforce a classifier with, and what its head is trained on."""

import PIL.Image
import torch
from PIL.Image import Image

from pipeline.reinforcement.figures import Figure, figures, told_together
from pipeline.reinforcement.heads import Part
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.training_data import Example
from pipeline.types import Reinforcement
from tests.seams import LABELS, picture

RECIPE = Recipe(learning_rate=0.05, alpha=0.5)


def blended(colour: str, other: str, seed: int, share: float) -> Image:
    return PIL.Image.blend(picture(colour, seed), picture(other, seed + 1000), share)


def items_of(each: int = 10) -> list[Example]:
    """Counterfactuals that are mostly of the next colour, which the plain head mistakes for it."""
    items = []
    for place, label in enumerate(LABELS):
        for number in range(each):
            seed = 100 * place + number
            photo = picture(label, seed)
            other = blended(label, LABELS[(place + 1) % 3], seed, 0.6)
            items.append(Example(label, photo, other, f"{label}-{number}"))
    return items


def evaluation(seed: int = 5000) -> dict[str, list[tuple[Image, str]]]:
    return {"original": [(picture(label, seed + number), label) for number in range(6) for label in LABELS]}


def random_head(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(3, 12, generator=draw), torch.randn(3, generator=draw)


def part(seed: int, n: int = 60) -> Part:
    features = torch.randn(n, 12, generator=torch.Generator().manual_seed(seed))
    return Part(features, (features @ random_head(7)[0].T).argmax(-1))


def figures_of(made: Reinforcement) -> dict[tuple[str, str, int], Figure]:
    """Every figure on test pictures by split, class and k."""
    return {(figure.split, figure.label, figure.k): figure for figure in told_together(figures(made, made.answers))}
