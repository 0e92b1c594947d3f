"""What is learnt from never meets what is tested on, and what cannot be split is refused."""

from dataclasses import replace

import pytest
import torch
from PIL.Image import Image

from pipeline.errors import DataError, LabelError
from pipeline.reinforcement.reinforcement import reinforce
from pipeline.reinforcement.training_data import Example
from tests.colour_items import RECIPE, evaluation, items_of
from tests.seams import ColourClassifier, picture


def test_no_photo_is_in_two_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture carries its photo in its pixels; what the head is trained on never meets what it is tested on."""
    seen: list[set[bytes]] = []

    class Watching(ColourClassifier):
        def features(self, images: "list[Image]") -> torch.Tensor:  # type: ignore[override]
            seen.append({image.tobytes() for image in images})
            return super().features(images)

    watching = Watching(*(part.numpy() for part in ColourClassifier.plain().head()))
    items = items_of()
    reinforce(watching, [*items, *items], {}, RECIPE)
    photos = {picture.tobytes(): item.photo_key for item in items for picture in (item.photo, item.counterfactual)}
    batches = [{photos[pixels] for pixels in batch} for batch in seen[1:]]  # the first is the check of the head
    assert sum(len(batch) for batch in batches) >= 30
    assert not batches[0] & batches[-1]
    assert not batches[0] & batches[-2]


def test_what_cannot_be_learned_from_is_refused() -> None:
    plain, items = ColourClassifier.plain(), items_of()
    red = [item for item in items if item.label == "red"]
    with pytest.raises(DataError, match="no counterfactual"):
        reinforce(plain, [], evaluation(), RECIPE)
    with pytest.raises(DataError, match="All counterfactuals show 'red'"):
        reinforce(plain, red, evaluation(), RECIPE)
    with pytest.raises(LabelError, match="'sled'"):
        reinforce(plain, [item._replace(label="sled") for item in items], evaluation(), RECIPE)
    with pytest.raises(LabelError, match="'sled'"):
        reinforce(plain, items, {"ood": [(picture("red", 7), "sled")]}, RECIPE)
    with pytest.raises(DataError, match="too few"):
        reinforce(plain, [red[0], items[-1]], evaluation(), RECIPE)


def test_counterfactuals_without_a_label_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 30 counterfactuals have no label"):
        reinforce(ColourClassifier.plain(), [items_of()[0]._replace(label=""), *items_of()[1:]], {}, RECIPE)


def refusal(items: list[Example], splits: dict[str, list[tuple[Image, str]]], seed: int) -> str:
    """How the refusal begins, or "" when there is none."""
    try:
        reinforce(ColourClassifier.plain(), items, splits, replace(RECIPE, seed=seed, max_epochs=1))
    except DataError as told:
        return str(told).partition(" are trained")[0]
    return ""


def test_an_evaluation_picture_that_is_trained_on_is_refused() -> None:
    items = items_of()
    for leak in (items[0].photo, items[0].counterfactual):
        every = {"ood": [*evaluation()["original"], (leak.copy(), "red")]}
        told = [refusal(items, every, seed) for seed in range(12)]
        assert set(told) <= {"", "1 of 19 pictures of 'ood'"}
        assert 6 <= len(list(filter(None, told))) <= 12  # a photo in the held-out part is not trained on
