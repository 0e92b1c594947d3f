"""Reinforcing a classifier: what it mends, by class and split, and how alpha is chosen."""

from dataclasses import replace

import pytest
import torch

from pipeline.errors import ModelError, SettingsError
from pipeline.reinforcement.cards import card
from pipeline.reinforcement.figures import curve
from pipeline.reinforcement.reinforcement import ALPHAS, reinforce
from pipeline.reinforcement.saving import at_alpha
from pipeline.reinforcement.splits import HELD_OUT
from pipeline.types import Reinforcement
from tests.colour_items import RECIPE, evaluation, figures_of, items_of, random_head
from tests.seams import LABELS, ColourClassifier


def test_reinforcing_mends_the_counterfactuals_and_forgets_nothing(made: Reinforcement) -> None:
    found = figures_of(made)
    held = found["held-out counterfactuals", "", 1]
    assert held.before.value < 0.2
    assert held.after.value > 0.8
    assert (held.n, held.photos, held.change.p) == (6, 6, 2 / 2**6)
    assert not held.reliable, "six photos do not hold up against chance beside eight other changes"
    assert found["original", "", 1].after.value == 1.0
    assert not found["original", "", 1].reliable
    assert {split for split, _, _ in found} == {"original", *HELD_OUT}
    assert {label for _, label, _ in found} == {"", *LABELS}


def test_classes_are_told_split_by_split(made: Reinforcement) -> None:
    found = figures_of(made)
    for split, n in (("original", 6), ("held-out originals", 2), ("held-out counterfactuals", 2)):
        assert [found[split, label, 1].n for label in LABELS] == [n, n, n]


def test_every_figure_comes_with_its_top_five(made: Reinforcement) -> None:
    """Of three labels the right one is always among the five first."""
    found = figures_of(made)
    assert {k for _, _, k in found} == {1, 5}
    assert {figure.after.value for figure in found.values() if figure.k == 5} == {1.0}
    said = made.answers["held-out counterfactuals"]
    assert set(said.ranks[0]) == {1}  # the next colour is taken for it
    assert [rank == 0 for rank in said.ranks[0]] == said.hits(0)
    assert said.hits(0, k=3) == [True] * len(said.targets)


def test_the_curve_is_one_of_validation_photos_alone(made: Reinforcement) -> None:
    found = curve(made)
    assert tuple(alpha for alpha, _ in found) == ALPHAS
    splits = {"validation originals", "validation counterfactuals"}
    assert {split for _, shares in found for split, _ in shares} == set(made.validation) == splits
    photos = {photo for answers in made.validation.values() for photo in answers.photos}
    tested = {photo for answers in made.answers.values() for photo in answers.photos}
    assert len(photos) == 6
    assert not photos & tested
    place = made.alphas.index(0.5)
    figure = made.validation["validation counterfactuals"]
    assert found[place][1]["validation counterfactuals", 1].value == sum(figure.hits(place)) / len(figure.targets)


def test_the_curve_runs_from_theta_0_to_theta_1(made: Reinforcement) -> None:
    plain = ColourClassifier.plain()
    assert all(map(torch.equal, made.theta_0, plain.head()))
    labels = [label for _, label in evaluation()["original"]]
    told = [prediction.top(1)[0][0] for prediction in plain.predict([image for image, _ in evaluation()["original"]])]
    assert [LABELS[row] for row in made.answers["original"].targets] == labels
    assert [LABELS[row] for row in made.answers["original"].predicted[0]] == told
    with pytest.raises(SettingsError, match=r"alpha 0\.25 was not measured"):
        at_alpha(made, 0.25)


def test_alpha_is_chosen_on_validation_when_it_is_not_given(made: Reinforcement) -> None:
    chosen = reinforce(ColourClassifier.plain(), items_of(), evaluation(), replace(RECIPE, alpha=None))
    assert (chosen.given, made.given) == (None, 0.5)
    assert chosen.alpha == chosen.chosen == made.chosen
    assert chosen.alpha > 0.3
    assert chosen.answers == made.answers
    right = [sum(sum(answers.hits(place)) for answers in made.validation.values()) for place in range(len(made.alphas))]
    assert right[made.alphas.index(chosen.alpha)] == max(right)
    harmful = [item._replace(label=LABELS[(LABELS.index(item.label) + 1) % 3]) for item in items_of()]
    confused = reinforce(ColourClassifier.plain(), [*harmful, *harmful], {}, replace(RECIPE, alpha=None))
    assert confused.alpha in ALPHAS


def test_originals_can_be_left_out() -> None:
    with_them = reinforce(ColourClassifier.plain(), items_of(), {}, RECIPE)
    without = reinforce(ColourClassifier.plain(), items_of(), {}, replace(RECIPE, originals=False))
    assert not torch.equal(with_them.theta_1[0], without.theta_1[0])


@pytest.mark.parametrize("method", ["afr", "dfr", "fine-tuning", "standard"])
def test_every_recipe_is_measured_on_the_same_splits(method: str, made: Reinforcement) -> None:
    rival = reinforce(ColourClassifier.plain(), items_of(), evaluation(), replace(RECIPE, method=method))
    assert {name: answers.predicted[0] for name, answers in rival.answers.items()} == {
        name: answers.predicted[0] for name, answers in made.answers.items()
    }
    assert rival.alpha == (0.5 if method == "standard" else 1.0)
    assert f"Recipe: {method}" in card(rival)
    what = "augmentations" if method == "standard" else "counterfactuals"
    assert set(rival.validation) == {"validation originals", f"validation {what}"}
    assert all(rival.validation[f"validation {what}"].names) == (method == "counterfactual")
    learnt = figures_of(rival)["held-out counterfactuals", "", 1].after.value
    assert learnt < 0.5 if method == "standard" else learnt > 0.8


def test_a_head_that_is_not_the_classifiers_is_refused() -> None:
    class Foreign(ColourClassifier):
        def head(self) -> tuple[torch.Tensor, torch.Tensor]:
            return random_head(3)

    with pytest.raises(ModelError, match="head"):
        reinforce(Foreign(*(part.numpy() for part in random_head(0))), items_of(), {}, RECIPE)
