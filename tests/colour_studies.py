"""Studies on colours, where the weakness, its truth and its repair are known by construction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import PIL.Image
import pytest
from PIL.Image import Image

from pipeline.reinforcement.features import Features
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.training_data import Example
from pipeline.scores import Scores
from pipeline.study.banks import bank_of, views_of
from pipeline.study.repair import repair
from pipeline.study.results import Repair
from pipeline.types import Counterfactual, Perturbation, Photo, Study
from tests.seams import LABELS, ColourClassifier, picture

SEEDS, REPLICATES = 2, 3
RECIPE = Recipe(max_epochs=15)
RATES = (0.01, 0.05)


def mixed(label: str, seed: int, share: float) -> Image:
    """The label's colour with this share of the next one, which the plain head mistakes it for above a half."""
    other = LABELS[(LABELS.index(label) + 1) % 3]
    return PIL.Image.blend(picture(label, seed), picture(other, seed + 1000), share)


def study(label: str, number: int) -> Study:
    """A photo with two edits: its background goes to the next colour by 0.6, its object by 0.1."""
    seed = 100 * LABELS.index(label) + number
    classifier = ColourClassifier.plain()
    image = picture(label, seed)
    scores = Scores(
        image_similarity=1, source_alignment=1, edited_alignment=1, directional_similarity=0.5, prefers_edit=1
    )

    def made(factor: str, share: float) -> Counterfactual:
        edited = mixed(label, seed, share)
        words = Perturbation(caption="c", edited_caption=f"{factor} {seed}", factor=factor, original="a", edit="b")
        return Counterfactual(
            key=f"{factor}-{seed}",
            perturbation=words,
            tau=0.5,
            image=edited,
            scores=scores,
            prediction=classifier.predict([edited])[0],
            missed=(),
        )

    before = classifier.predict([image])[0]
    photo = Photo(key=f"{seed}", image=image, label=label, prediction=before, classifier="colour")
    edits = (made("background", 0.6), made("object", 0.1))
    return Study(photo=photo, caption="c", reconstruction=image, control=before, counterfactuals=edits)


STUDIES = [study(label, number) for label in LABELS for number in range(8)]
TRUTH = {
    edit.key: mixed(item.photo.label, 7000 + place, 0.55 if edit.perturbation.factor == "background" else 0.05)
    for place, item in enumerate(STUDIES)
    for edit in item.counterfactuals
}
TESTS = {
    "T": [(picture(label, 3000 + n), label) for n in range(8) for label in LABELS],
    "OOD": [(mixed(label, 4000 + n, 0.55), label) for n in range(8) for label in LABELS],
}


def repaired(items: Sequence[Example], folder: Path, recipe: Recipe = RECIPE) -> tuple[list[int], Repair]:
    """What `repair` counts, and its table."""
    features = Features(ColourClassifier.plain())
    views_of({"colour": features}, items, recipe.max_epochs, folder / "views")
    bank = bank_of(features, items, folder / "views", "colour")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.study.repair.RATES", RATES)
        *counted, table = repair(
            features, bank, TESTS, recipe, seeds=SEEDS, replicates=REPLICATES, folder=folder / "refits"
        )
    assert isinstance(table, Repair)
    return [edit for edit in counted if isinstance(edit, int)], table
