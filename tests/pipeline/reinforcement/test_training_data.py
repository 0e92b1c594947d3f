"""What each recipe learns from: the same number of pictures, of its own kind."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.reinforcement.recipes import METHODS, Recipe
from pipeline.reinforcement.training_data import Example, augment, lesson
from tests.seams import picture

ITEMS = [
    Example(label, picture(label, n), picture("yellow", 10 * n + m), f"{label}{n}", "background",
         picture(label, 50 + n), (picture("yellow", 90 + 10 * n + m), picture("yellow", 200 + 10 * n + m)))
    for n, label in enumerate(("red", "green"))
    for m in range(3)
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_every_recipe_gets_as_many_pictures_and_each_photo_once(method: str) -> None:
    found = lesson(ITEMS, Recipe(method=method))
    assert [label for _, label in found.pictures] == ["red"] * 3 + ["green"] * 3 + ["red", "green"]
    assert len(set(found.groups)) == 4
    assert found.groups[0] == f"red/{method}"
    if METHODS[method].kind.returns:
        kinds = {"reconstruction": "reconstruction", "text-to-image": "samples"}
        kept = kinds.get(METHODS[method].kind.name, "counterfactual")
        shown = [getattr(item, kept) for item in ITEMS]
        assert [image for image, _ in found.pictures[:6]] == [made[0] if kept == "samples" else made for made in shown]
    assert [image for image, _ in found.pictures[6:]] == [ITEMS[0].photo, ITEMS[3].photo]
    assert len(lesson(ITEMS, Recipe(method=method, originals=False)).pictures) == 6


@pytest.mark.parametrize("method", METHODS)
def test_a_corrected_label_is_that_of_the_edit_alone(method: str) -> None:
    found = lesson([ITEMS[0]._replace(corrected="blue"), *ITEMS[1:]], Recipe(method=method)).pictures
    shows_the_edit = found[0][0] is ITEMS[0].counterfactual
    assert [label for _, label in found[:2]] == ["blue" if shows_the_edit else "red", "red"]
    assert [label for _, label in found[6:]] == ["red", "green"], "the photos keep theirs"


def test_plain_augmentation_changes_the_photo_and_repeats_itself() -> None:
    found = lesson(ITEMS, Recipe(method="standard")).pictures
    views = [image.tobytes() for image, _ in found[:3]]
    assert len({*views, ITEMS[0].photo.tobytes()}) == 4
    assert [image.tobytes() for image, _ in lesson(ITEMS, Recipe(method="standard")).pictures[:3]] == views
    assert found[0][0].size == ITEMS[0].photo.size
    wide = picture("red", 1, 32).crop((0, 0, 32, 20))
    assert augment(wide, "a").size == wide.size
    reddest = np.asarray(augment(ITEMS[0].photo, "b"), float).mean((0, 1)).argmax()
    assert reddest == 0


def test_rivals_pictures_are_others_in_the_next_epoch() -> None:
    def seen(method: str, epoch: int) -> list[bytes]:
        return [image.tobytes() for image, _ in lesson(ITEMS, Recipe(method=method), epoch).pictures]

    for method in METHODS:
        first, second = seen(method, 0), seen(method, 1)
        assert first[6:] == second[6:]  # the photos
        assert (first[:6] != second[:6]) == METHODS[method].kind.varies
    assert not set(seen("standard", 0)[:6]) & set(seen("standard", 1)[:6])
    assert seen("text-to-image", 0) == seen("text-to-image", 2)  # two each


@pytest.mark.parametrize("method", ["reconstruction", "text-to-image"])
def test_a_recipe_whose_pictures_were_not_made_is_refused(method: str) -> None:
    bare = [Example(item.label, item.photo, item.counterfactual, item.photo_key) for item in ITEMS]
    with pytest.raises(DataError, match=f"'{method}' needs"):
        lesson(bare, Recipe(method=method))
