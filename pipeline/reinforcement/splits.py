"""Which pictures a reinforcement learns from, chooses alpha by and is measured on.

Photos are split by source, never by edit: training, validation (early stopping, alpha) and held-out test share no
photo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from pipeline.curation.selection import split_by_photo
from pipeline.errors import DataError
from pipeline.reinforcement.features import pixels, refuse_unknown
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.training_data import EDITS, Example, Pictures, lesson
from pipeline.types import Classifier

HELD_OUT = ("held-out originals", "held-out counterfactuals")


class Split(NamedTuple):
    """Pictures with what `Answers` calls them and the photo of each."""

    pictures: Pictures
    names: Sequence[str]
    photos: Sequence[str]


def split_items(
    classifier: Classifier, items: Sequence[Example], fractions: Sequence[float], seed: int
) -> tuple[list[Example], ...]:
    """Part items for training, validation and what else is asked for, by source photo and spread over the labels.

    Raises `DataError` for nothing, for items without a label, for a single class and for too few photos; `LabelError`
    for labels that the classifier does not know.
    """
    if not items:
        raise DataError("There is no counterfactual to learn from; keep some, or stress more pictures, first.")
    unlabelled = sum(not item.label for item in items)
    if unlabelled:
        raise DataError(
            f"{unlabelled} of {len(items)} counterfactuals have no label; say what their photos show first."
        )
    refuse_unknown(classifier, {label for item in items for label in (item.label, item.shown)})
    labels = {item.photo_key: item.label for item in items}
    if len(set(labels.values())) < 2:
        raise DataError(f"All counterfactuals show '{items[0].label}'; two classes or more are needed to learn from.")
    parts = [set(part) for part in split_by_photo(list(labels), fractions, seed, labels)]
    found = tuple([item for item in items if item.photo_key in part] for part in parts)
    if len({item.label for item in found[0]}) < 2 or not found[1]:
        raise DataError(f"{len(labels)} source photos are too few to train and validate on; study more of each class.")
    return found


def refuse_leaks(seen: Sequence[Example], evaluation: Mapping[str, Pictures]) -> None:
    """Raise `DataError` when a picture of the evaluation is one that is learnt from."""
    known = {pixels(image) for item in seen for image in (item.photo, item.counterfactual)}
    for name, pictures in evaluation.items():
        leaks = sum(pixels(image) in known for image, _ in pictures)
        if leaks:
            raise DataError(
                f"{leaks} of {len(pictures)} pictures of '{name}' are trained on too, so its figures would flatter; "
                "evaluate on others."
            )


def tests_of(
    classifier: Classifier,
    evaluation: Mapping[str, Pictures],
    seen: Sequence[Example],
    held_out: Sequence[Example],
) -> dict[str, Split]:
    """Return everything to measure on, by name: nothing of it has been seen in training or validation."""
    for pictures in evaluation.values():
        refuse_unknown(classifier, {label for _, label in pictures})
    refuse_leaks(seen, evaluation)
    given = {name: _own(pictures) for name, pictures in evaluation.items()}
    made = [(item.counterfactual, item.shown) for item in held_out]
    own = (_originals(held_out), Split(made, [item.key for item in held_out], [item.photo_key for item in held_out]))
    found = {name: split for name, split in (*given.items(), *zip(HELD_OUT, own, strict=True)) if split.pictures}
    if not found:
        raise DataError("No picture is left to evaluate on; study more photos, or give an evaluation folder.")
    return found


def checks_of(items: Sequence[Example], recipe: Recipe) -> dict[str, Split]:
    """Return the validation pictures by name: of what the recipe learns from, and the originals where it does."""
    made = lesson(items, replace(recipe, originals=False)).pictures
    kind = recipe.how.kind
    names = [item.key if kind is EDITS else "" for item in items]
    found = {f"validation {kind.plural}": Split(made, names, [item.photo_key for item in items])}
    return ({"validation originals": _originals(items)} if recipe.originals else {}) | found


def _originals(items: Sequence[Example]) -> Split:
    """Return the photos of the items, each once."""
    photos = {item.photo_key: (item.photo, item.label) for item in items}
    return Split(list(photos.values()), list(photos), list(photos))


def _own(pictures: Pictures) -> Split:
    """Return a test set, each of whose pictures is a photo of its own; it is called by its place."""
    names = list(map(str, range(len(pictures))))
    return Split(pictures, names, names)
