"""What the recipes of a reproduction learn from: counterfactuals, what rivals take in their place, and all features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image
from safetensors.torch import load_file, save_file

from pipeline.curation.selection import chosen
from pipeline.reinforcement.features import Features
from pipeline.reinforcement.refits import Bank
from pipeline.reinforcement.training_data import Example, augment
from pipeline.types import Study


def items_of(studies: Sequence[Study], samples: Mapping[str, Sequence[Image]]) -> tuple[Example, ...]:
    """Return every chosen counterfactual with what rival recipes take in its place; `samples` by counterfactual."""
    return tuple(
        Example(
            label=study.photo.label,
            photo=study.photo.image,
            counterfactual=counterfactual.image,
            photo_key=study.photo.key,
            factor=counterfactual.perturbation.factor,
            reconstruction=study.reconstruction,
            samples=tuple(samples.get(counterfactual.key, ())),
            key=counterfactual.key,
        )
        for study in studies
        for counterfactual in chosen(study)
    )


def views_of(classifiers: Mapping[str, Features], items: Sequence[Example], depth: int, folder: Path) -> None:
    """Draw `depth` plain augmentations of the photo for every item and keep their features under every classifier.

    A view is drawn once for all classifiers; what the folder holds already is not made again.
    """
    for photo in dict.fromkeys(item.photo_key for item in items):
        missing = [name for name in classifiers if not _views_file(folder, name, photo).is_file()]
        mine = [item for item in items if item.photo_key == photo]
        if not missing:
            continue
        drawn = [
            (augment(item.photo, f"{photo}:{place}:{epoch}"), item.label)
            for place, item in enumerate(mine)
            for epoch in range(depth)
        ]
        for name in missing:
            seen = classifiers[name].part(drawn, keep=False).features
            file = _views_file(folder, name, photo)
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file({"views": seen.view(len(mine), depth, -1).half()}, file.with_suffix(".part"))
            file.with_suffix(".part").replace(file)


def bank_of(features: Features, items: Sequence[Example], views: Path, name: str) -> Bank:
    """Return the features of everything the recipes learn from; those of `views_of` come from its folder."""
    photos = {item.photo_key: (item.photo, item.label) for item in items}
    keys, targets = tuple(photos), [(item.counterfactual, item.label) for item in items]
    counterfactuals, plain = features.part(targets), features.part(list(photos.values()))
    kinds = {"counterfactual": counterfactuals.features[:, None]}
    if all(item.reconstruction for item in items):
        kinds["reconstruction"] = features.part(
            [(item.reconstruction, item.label) for item in items if item.reconstruction]
        ).features[:, None]
    if least := min(len(item.samples) for item in items):
        drawn = features.part([(image, item.label) for item in items for image in item.samples[:least]])
        kinds["text-to-image"] = drawn.features.view(len(items), least, -1)
    place = np.array([keys.index(item.photo_key) for item in items])
    standard = {key: load_file(_views_file(views, name, key))["views"].float() for key in keys}
    order = [int((place[:number] == photo).sum()) for number, photo in enumerate(place)]
    kinds["standard"] = torch.stack([standard[keys[photo]][row] for photo, row in zip(place, order, strict=True)])
    return Bank(
        photo_keys=keys,
        labels={key: label for key, (_, label) in photos.items()},
        photo=place,
        factors=tuple(item.factor for item in items),
        photos=plain.features,
        kinds=kinds,
        targets=torch.cat([counterfactuals.targets, plain.targets]),
    )


def _views_file(folder: Path, name: str, photo: str) -> Path:
    return folder / name / f"{photo[:32]}.safetensors"
