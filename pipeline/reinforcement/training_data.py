"""What a head learns from: counterfactuals beside their photos, or as many pictures of a rival kind in their place.

The plain augmentations are Li et al.'s "Standard": flips both ways, rotation, cropping, brightness, contrast,
saturation and random masking. They are drawn anew for every epoch, as are, by turns, the pictures made from a caption
alone where there are several. Knows no model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from PIL.Image import Image

from pipeline.errors import DataError

if TYPE_CHECKING:
    from pipeline.reinforcement.recipes import Recipe

Pictures = Sequence[tuple[Image, str]]
"""(picture, label)"""

ORIGINAL = "original"


class Example(NamedTuple):
    """A counterfactual to learn from, beside the photo it was made of and what rival recipes take in its place."""

    label: str
    photo: Image
    counterfactual: Image
    photo_key: str
    factor: str = ""
    reconstruction: Image | None = None
    samples: tuple[Image, ...] = ()  # made from the edited caption alone, for this photo and no other
    key: str = ""  # the counterfactual's
    corrected: str = ""  # what an analyst says the counterfactual shows; "" where it shows what the photo shows

    @property
    def shown(self) -> str:
        """Return the label of the counterfactual; `label` is that of the photo and of every picture of its own."""
        return self.corrected or self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureKind:
    """Pictures to learn from, one for each counterfactual."""

    name: str  # of one of them
    plural: str
    picture: Callable[
        [Example, str, int], Image | None
    ]  # of an item, by a seed and in this epoch; None: it was not made
    varies: bool = False  # from epoch to epoch
    returns: bool = True  # whether what an epoch showed is shown again


class Lesson(NamedTuple):
    """Pictures with their labels, and the group of each: its label and where it comes from."""

    pictures: Pictures
    groups: tuple[str, ...]


def lesson(items: Sequence[Example], recipe: Recipe, epoch: int = 0) -> Lesson:
    """Return what the recipe learns from in one epoch, and each of the photos once.

    Raises `DataError` when an item lacks what it needs.
    """
    made = [_instead(item, number, recipe, epoch) for number, item in enumerate(items)]
    photos = {item.photo_key: (item.photo, item.label) for item in items} if recipe.originals else {}
    groups = [f"{label}/{recipe.method}" for _, label in made] + [f"{label}/{ORIGINAL}" for _, label in photos.values()]
    return Lesson(pictures=[*made, *photos.values()], groups=tuple(groups))


def augment(photo: Image, seed: str) -> Image:
    """Return the photo flipped, turned, cropped, recoloured and partly masked at random, by the seed."""
    import torch
    from torchvision.transforms import v2

    change = v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomVerticalFlip(0.5),
            v2.RandomRotation(15),
            v2.RandomResizedCrop(photo.size[::-1], scale=(0.7, 1.0), antialias=True),
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
            v2.RandomErasing(0.5, scale=(0.02, 0.15)),
            v2.ToPILImage(),
        ]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) >> 1)
        changed: Image = change(photo.convert("RGB"))
    return changed


def _instead(item: Example, number: int, recipe: Recipe, epoch: int) -> tuple[Image, str]:
    """Return what the recipe shows in the counterfactual's place, with the label of that picture."""
    kind = recipe.how.kind
    picture = kind.picture(item, f"{recipe.seed}:{item.photo_key}:{number}", epoch)
    if picture is None:
        raise DataError(
            f"The method '{recipe.method}' needs a picture for every counterfactual that was not made; "
            "use another method."
        )
    return picture, item.shown if kind is EDITS else item.label


def _sample(item: Example, epoch: int) -> Image | None:
    return item.samples[epoch % len(item.samples)] if item.samples else None


EDITS = PictureKind(
    name="counterfactual", plural="counterfactuals", picture=lambda item, seed, epoch: item.counterfactual
)
AUGMENTATIONS = PictureKind(
    name="standard",
    plural="augmentations",
    picture=lambda item, seed, epoch: augment(item.photo, f"{seed}:{epoch}"),
    varies=True,
    returns=False,
)
RECONSTRUCTIONS = PictureKind(
    name="reconstruction", plural="reconstructions", picture=lambda item, seed, epoch: item.reconstruction
)
SAMPLES = PictureKind(
    name="text-to-image", plural="samples", picture=lambda item, seed, epoch: _sample(item, epoch), varies=True
)
