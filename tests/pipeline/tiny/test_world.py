"""The miniature world keeps its promises: same scene same picture, true words, and one change at a time."""

from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest

from pipeline.tiny import world
from pipeline.tiny.world import BIAS, Scene, draw, parse, redraw, sample, twins

SCENE = Scene(
    label="umbrella", subject="cat", adjective="orange", object="rock", background="sandy beach", domain="sketch",
    seed=11, phrasing=2,
)  # fmt: skip


def truth(scene: Scene) -> dict[str, str]:
    return {name: value for name, value in asdict(scene).items() if name not in ("seed", "phrasing")}


def test_a_scene_always_gives_the_same_picture() -> None:
    for scene in sample(20, seed=5):
        picture = draw(scene)
        assert (picture.mode, picture.size) == ("RGB", (world.SIZE, world.SIZE))
        assert picture.tobytes() == draw(scene).tobytes()


def test_samples_follow_their_seed() -> None:
    assert sample(30, seed=1) == sample(30, seed=1)
    assert sample(30, seed=1) != sample(30, seed=2)


def test_captions_can_be_read_back() -> None:
    for scene in sample(500, seed=9):
        assert parse(scene.caption()) == truth(scene)


def test_captions_choose_the_right_article() -> None:
    assert SCENE.caption() == "a sketch showing an orange cat beside an umbrella and a rock on a sandy beach"
    assert redraw(SCENE, "adjective", "blue").caption().startswith("a sketch showing a blue cat beside an umbrella")


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a sketch showing a orange cat beside an umbrella and a rock on a sandy beach",
        "a sketch showing an orange cat beside an umbrella and a rock in a sandy beach",
        "a sketch showing an orange cat beside an umbrella and a rock on a sandy beach.",
        "a sketch showing an orange horse beside an umbrella and a rock on a sandy beach",
        "a sketch showing an orange cat beside an umbrella on a sandy beach",
    ],
)
def test_other_sentences_are_not_read(caption: str) -> None:
    assert parse(caption) is None


def test_a_redrawn_scene_differs_in_one_value() -> None:
    for factor, value, twin in twins(SCENE):
        changed = {name for name, old in asdict(SCENE).items() if asdict(twin)[name] != old}
        assert changed == {factor}
        assert getattr(twin, factor) == value
        assert draw(twin).tobytes() != draw(SCENE).tobytes()


def test_a_scene_has_a_twin_for_every_other_value() -> None:
    assert len(twins(SCENE)) == sum(len(values) - 1 for values in world.VALUES.values()) == 22


@pytest.mark.parametrize("domain", world.DOMAINS)
def test_redrawing_keeps_everything_else_in_its_place(domain: str) -> None:
    for scene in sample(10, seed=3):
        scene = redraw(scene, "domain", domain)
        before = np.asarray(draw(scene))
        for factor, value, twin in twins(scene):
            after = np.asarray(draw(twin))
            if factor in ("subject", "adjective"):
                assert (before[:36] == after[:36]).all(), (scene, value)
                assert (before[:, 66:] == after[:, 66:]).all(), (scene, value)
            if factor == "object":
                assert (before[:, 40:] == after[:, 40:]).all(), (scene, value)


def test_biased_samples_follow_the_label() -> None:
    def share_at_home(scenes: tuple[Scene, ...]) -> float:
        return sum(scene.background == world.HOME[scene.label] for scene in scenes) / len(scenes)

    def share_in_company(scenes: tuple[Scene, ...]) -> float:
        return sum(scene.subject == world.COMPANION[scene.label] for scene in scenes) / len(scenes)

    biased, uniform = sample(4000, 0, BIAS), sample(4000, 0)
    assert share_at_home(biased) == pytest.approx(0.95 + 0.05 / 6, abs=0.015)
    assert share_in_company(biased) == pytest.approx(0.5 + 0.5 / 6, abs=0.03)
    assert share_at_home(uniform) == pytest.approx(1 / 6, abs=0.03)
    assert share_in_company(uniform) == pytest.approx(1 / 6, abs=0.03)


def test_the_strength_of_the_bias_changes_backgrounds_alone() -> None:
    weak, strong = sample(2000, 3, 0.5), sample(2000, 3, BIAS)
    assert sum(scene.background == world.HOME[scene.label] for scene in weak) / 2000 == pytest.approx(
        0.5 + 0.5 / 6, abs=0.04
    )
    for first, other in zip(weak, strong, strict=True):
        assert replace(first, background=other.background) == other
        assert first.background == other.background or other.background == world.HOME[other.label]


def test_homes_and_companions_are_shared_by_two_labels_each() -> None:
    assert set(world.HOME) == set(world.COMPANION) == set(world.LABELS)
    assert Counter(world.HOME.values()) == dict.fromkeys(world.BACKGROUNDS, 2)
    assert Counter(world.COMPANION.values()) == dict.fromkeys(world.SUBJECTS, 2)


def test_unknown_factors_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match="'label' is not a factor"):
        redraw(SCENE, "label", "ball")
    with pytest.raises(ValueError, match="'green' is not a value of adjective"):
        redraw(SCENE, "adjective", "green")
