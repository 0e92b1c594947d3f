"""A stack of refitted heads is the training of each, and intervals over draws of the photos hold what they promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.reinforcement.heads import Part, train_head
from pipeline.reinforcement.recipes import METHODS, Recipe
from pipeline.reinforcement.refits import ALPHAS, Bank, Draw, DrawnRows, among, draws, refit, refitted, right

CLASSES, WIDTH, PHOTOS, EACH = 3, 5, 24, 2
RECIPE = Recipe(max_epochs=12, learning_rate=0.05, min_delta=0.0, patience=4)


def bank(seed: int = 0) -> Bank:
    """Photos whose counterfactuals lie where the head has not been."""
    chance = torch.Generator().manual_seed(seed)
    keys = tuple(f"photo {number}" for number in range(PHOTOS))
    classes = torch.arange(PHOTOS) % CLASSES
    centres = torch.randn(CLASSES, WIDTH, generator=chance)
    photos = centres[classes] + 0.3 * torch.randn(PHOTOS, WIDTH, generator=chance)
    place = np.repeat(np.arange(PHOTOS), EACH)
    moved = photos[place] + torch.randn(PHOTOS * EACH, WIDTH, generator=chance)
    return Bank(
        photo_keys=keys,
        labels={key: str(int(draw)) for key, draw in zip(keys, classes, strict=True)},
        photo=place,
        factors=("background", "object") * PHOTOS,
        photos=photos,
        kinds={"counterfactual": moved[:, None], "standard": torch.stack([photos[place], moved], 1)},
        targets=torch.cat([classes[place], classes]),
    )


THETA_0 = (torch.zeros(CLASSES, WIDTH), torch.zeros(CLASSES))


@pytest.mark.parametrize("method", ["counterfactual", "afr", "standard"])
def test_a_stack_of_one_is_the_training_of_a_head(method: str) -> None:
    known, recipe = bank(), replace(RECIPE, method=method, seed=7)
    kind = "standard" if method == "standard" else "counterfactual"
    taught, checked = known.rows(range(16)), known.rows(range(16, PHOTOS))
    assert len(taught) % recipe.batch_size == 0

    def of(epoch: int) -> Part:
        return Part(known.table(kind, epoch)[taught], known.targets[taught])

    check = Part(known.table("counterfactual")[checked], known.targets[checked])
    alone = train_head(of, check, THETA_0, recipe=recipe)
    (weight,), (bias,), (loss,), (alpha,) = refit(
        DrawnRows(known, kind, [taught], [checked]), THETA_0, recipe, [recipe.learning_rate]
    )
    assert torch.allclose(weight, alone.theta[0], atol=1e-5)
    assert torch.allclose(bias, alone.theta[1], atol=1e-5)
    assert float(loss) == pytest.approx(min(alone.losses), abs=1e-5)
    assert any(float(alpha) == pytest.approx(draw) for draw in ALPHAS)


def test_a_stack_holds_what_each_would_be_alone() -> None:
    known = bank()
    taught = [known.rows(range(first, first + 16)) for first in (0, 4, 8)]
    checked = [known.rows(photos) for photos in (range(16, 24), range(20, 24), range(8))]
    for method in ("counterfactual", "dfr"):
        recipe = replace(RECIPE, method=method)
        together = refit(DrawnRows(known, "counterfactual", taught, checked), THETA_0, recipe, [0.05])
        for number in range(3):
            mine = replace(recipe, seed=recipe.seed + number)
            rows = DrawnRows(known, "counterfactual", [taught[number]], [checked[number]])
            (weight,), _, (loss,), _ = refit(rows, THETA_0, mine, [0.05])
            assert torch.allclose(together.weight[number], weight, atol=1e-5), (method, number)
            assert float(together.loss[number]) == pytest.approx(float(loss), abs=1e-5)


def test_every_head_takes_the_learning_rate_that_validation_likes_best() -> None:
    known = bank()
    rows = DrawnRows(known, "counterfactual", [known.rows(range(16))], [known.rows(range(16, PHOTOS))])
    alone = [float(refit(rows, THETA_0, RECIPE, [rate]).loss) for rate in (1e-4, 0.05)]
    both = refit(rows, THETA_0, RECIPE, [1e-4, 0.05])
    assert float(both.loss) == min(alone) < max(alone)


def test_a_photo_that_is_drawn_twice_stays_in_one_part() -> None:
    known = bank()
    found = draws(known, (0.75, 0.25), replicates=5, seeds=2)
    assert len(found) == 12
    assert sorted([*found[0].taught, *found[0].checked]) == list(range(PHOTOS))
    assert found[0] != found[1]
    for draw in found:
        assert not set(draw.taught) & set(draw.checked)
        assert len(draw.taught) + len(draw.checked) == PHOTOS
    assert any(len(set(draw.taught)) < len(draw.taught) for draw in found[2:])
    again = found[2].taught
    rows = known.rows(again)
    assert len(rows) == len(again) * (EACH + 1)
    assert [int(row) - PHOTOS * EACH for row in rows[-len(again) :]] == list(again)
    only = known.rows([3], np.array(known.factors) == "object")
    assert only.tolist() == [7, PHOTOS * EACH + 3]


def test_what_is_right_at_an_alpha() -> None:
    known = bank()
    rows = DrawnRows(known, "counterfactual", [known.rows(range(16))], [known.rows(range(16, 24))])
    fits = refit(rows, THETA_0, RECIPE, [0.05])
    test = Part(known.photos, known.targets[-PHOTOS:])
    before = among(test.features @ THETA_0[0].T + THETA_0[1], test.targets, 1)
    assert (right(THETA_0, fits, 0.0, test)[0] == before).all()
    assert right(THETA_0, fits, 1.0, test).mean() > before.mean()
    assert right(THETA_0, fits, None, test, k=CLASSES).all()
    assert Draw((1,), (2,)).taught == (1,)
    assert "dfr" in METHODS


@pytest.mark.parametrize(("photo_spread", "seed_spread"), [(0.0, 0.03), (0.02, 0.03), (0.04, 0.0)])
@pytest.mark.slow
def test_intervals_cover_what_other_photos_would_have_given(photo_spread: float, seed_spread: float) -> None:
    """The accuracy depends on the photos as a mean over them, on the splits and on the test pictures."""
    chance, photos, seeds, replicates, pictures = np.random.default_rng(1), 120, 3, 40, 400
    covered = 0
    for _ in range(400):
        worth = chance.normal(0, photo_spread * np.sqrt(photos), photos)
        drawn = [worth, *(chance.choice(worth, photos) for _ in range(replicates))]
        hard = chance.normal(0.6, 0.2, pictures)  # how often each test picture is named right
        luck = chance.random(pictures)
        values = np.stack(
            [
                np.mean([luck < hard + scene.mean() + chance.normal(0, seed_spread) for _ in range(seeds)], axis=0)
                for scene in drawn
            ]
        )
        _, low, high, _ = refitted(values)
        covered += low <= 0.6 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_pictures_that_all_say_the_same_are_not_certain() -> None:
    mean, low, high, p = refitted(np.zeros((5, 20)))
    assert (mean, p) == (0.0, 1.0)
    assert -0.2 < low < 0.0 < high < 0.2
    mean, low, high, p = refitted(np.ones((41, 100)))
    assert (mean, high) == (1.0, 1.0)
    assert 0.9 < low < 1.0
    assert p < 1e-6
    assert refitted(np.ones((41, 100)), (0.0, 1.0))[1] > low
