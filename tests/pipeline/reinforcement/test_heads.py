"""The rivals' ways of training a head, on features where it is known what each must find."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import linear

from pipeline.errors import SettingsError
from pipeline.models.loader import LoadedModels
from pipeline.reinforcement.features import Features
from pipeline.reinforcement.heads import Head, Part, balanced_regression, judged, train_head
from pipeline.reinforcement.recipes import METHODS, Recipe
from pipeline.tiny.world import Scene, draw
from tests.benchmarks.heads import cached, plain

GENERATOR = torch.Generator().manual_seed(0)


def spurious(n: int, agree: float, seed: int) -> tuple[Part, list[str]]:
    """Feature 0 is the cause, weak; feature 1 a cue, strong, that agrees with the label this often."""
    draw = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 2, (n,), generator=draw)
    agrees = torch.rand(n, generator=draw) < agree
    cue = torch.where(agrees, targets, 1 - targets)
    noise = torch.randn(n, 4, generator=draw) * 0.3
    features = noise + torch.stack([targets * 2.0 - 1, (cue * 2.0 - 1) * 4, 0 * targets, 0 * targets], 1)
    groups = [
        f"{int(target)}/{'original' if same else 'counterfactual'}"
        for target, same in zip(targets, agrees, strict=True)
    ]
    return Part(features, targets), groups


LEANING: Head = (torch.tensor([[-0.1, -1.0, 0, 0], [0.1, 1.0, 0, 0]]), torch.zeros(2))


def test_dfr_sees_past_a_cue_that_the_old_head_leans_on() -> None:
    (train, groups), (check, _), (test, _) = spurious(400, 0.9, 1), spurious(200, 0.5, 2), spurious(400, 0.0, 3)
    assert judged(LEANING, test)[1] < 0.1
    found = balanced_regression(train, groups, check, LEANING, 0)
    assert judged(found.theta, test)[1] > 0.95
    assert found.losses[1] < found.losses[0]
    again = balanced_regression(train, groups, check, LEANING, 0)
    assert torch.equal(found.theta[0], again.theta[0])


def test_dfr_leaves_classes_that_are_not_shown_as_they_were() -> None:
    (train, groups), (check, _) = spurious(100, 0.5, 1), spurious(50, 0.5, 2)
    three: Head = (torch.randn(3, 4, generator=GENERATOR), torch.randn(3, generator=GENERATOR))
    found = balanced_regression(train, groups, check, three, 0)
    assert torch.equal(found.theta[0][2], three[0][2])
    assert not torch.equal(found.theta[0][0], three[0][0])


def test_dfr_weighs_every_group_alike() -> None:
    """A group of three pictures decides as much as one of three hundred."""
    (many, names), (few, others) = spurious(300, 1.0, 1), spurious(6, 0.0, 2)
    train = Part(torch.cat([many.features, few.features]), torch.cat([many.targets, few.targets]))
    (check, _), (test, _) = spurious(100, 0.5, 3), spurious(200, 0.0, 4)
    found = balanced_regression(train, [*names, *others], check, LEANING, 0)
    assert judged(found.theta, test)[1] > 0.9


def test_afr_learns_from_what_the_old_head_gets_wrong() -> None:
    (train, _), (check, _) = spurious(400, 0.9, 1), spurious(200, 0.5, 2)
    recipe = Recipe(learning_rate=0.02, max_epochs=3, patience=9)
    plain, _ = train_head(train, check, LEANING, recipe=recipe).theta
    afr, _ = train_head(train, check, LEANING, recipe=replace(recipe, method="afr")).theta
    assert abs(afr[1, 1] / afr[1, 0]) < 0.5 * abs(plain[1, 1] / plain[1, 0])  # of the cue, beside the cause


def test_afr_stays_nearer_to_the_old_head_than_its_weights_alone_would(monkeypatch: pytest.MonkeyPatch) -> None:
    (train, _), (check, _) = spurious(200, 0.9, 1), spurious(100, 0.5, 2)
    recipe = Recipe(method="afr", learning_rate=0.02, max_epochs=20, patience=20)
    held = train_head(train, check, LEANING, recipe=recipe).theta
    monkeypatch.setitem(METHODS, "afr", replace(METHODS["afr"], pull=0.0))
    free = train_head(train, check, LEANING, recipe=recipe).theta
    assert (held[0] - LEANING[0]).norm() < (free[0] - LEANING[0]).norm()


def test_the_alpha_of_a_method_that_does_not_blend_is_one() -> None:
    assert {name: Recipe(method=name).blend for name in METHODS} == {
        "counterfactual": 0.3, "standard": 0.3, "reconstruction": 0.3, "text-to-image": 0.3,
        "fine-tuning": 1.0, "afr": 1.0, "dfr": 1.0,
    }  # fmt: skip
    assert Recipe(alpha=None).blend is None
    with pytest.raises(SettingsError, match="'magic'"):
        Recipe(method="magic")


def test_accuracy_counts() -> None:
    part, _ = spurious(50, 0.5, 5)
    hits = (linear(part.features, *LEANING).argmax(-1) == part.targets).sum()
    assert judged(LEANING, part)[1] == pytest.approx(int(hits) / 50)


def test_cached_features_give_what_the_plain_way_gives(models: LoadedModels, scenes: tuple[Scene, ...]) -> None:
    """The whole network at every epoch and alpha, on the shipped classifier: the same losses, head and curve."""
    classifier, pictures = models.classifier("repvgg"), [(draw(scene), scene.label) for scene in scenes[:12]]
    recipe = Recipe(learning_rate=1e-3, max_epochs=3)
    parts = (pictures[:6], pictures[6:9], pictures[9:])
    slow = plain(classifier, *parts, recipe)
    fast = cached(classifier, *parts, recipe, Features(classifier))
    assert fast[1] == pytest.approx(slow[1], abs=1e-4)
    for first, other in ((fast[0][0], slow[0][0]), (fast[0][1], slow[0][1]), (fast[2], slow[2])):
        torch.testing.assert_close(first, other, atol=1e-4, rtol=0)
    start, end = classifier.head(), fast[0]
    part = Features(classifier).part(parts[2])
    torch.testing.assert_close(fast[2][0], linear(part.features, *start), atol=0, rtol=0)
    torch.testing.assert_close(fast[2][-1], linear(part.features, *end), atol=0, rtol=0)
