"""Every picture that is named wrong is told."""

from pipeline.reinforcement.changes import changes
from pipeline.reinforcement.reinforcement import reinforce
from pipeline.reinforcement.saving import at_alpha
from pipeline.types import Reinforcement
from tests.colour_items import RECIPE, evaluation, items_of
from tests.seams import ColourClassifier


def test_every_picture_that_is_named_wrong_is_told_with_its_name(made: Reinforcement) -> None:
    named = [item._replace(key=f"edit-{number}") for number, item in enumerate(items_of())]
    run = reinforce(ColourClassifier.plain(), named, evaluation(), RECIPE)
    found = changes(run, run.answers)
    held = [one for one in found if one.split == "held-out counterfactuals"]
    labels = {item.key: item.label for item in named}
    assert all(labels[one.name] == one.label != one.before for one in held)
    assert [one.after == one.label for one in held] == [one.kind == "fixed" for one in held]
    right = run.answers["held-out counterfactuals"].hits(run.alphas.index(run.alpha))
    assert sum(one.kind == "fixed" for one in held) == sum(right)
    assert {one.photo for one in held} <= {item.photo_key for item in named}
    assert changes(at_alpha(run, 0.0), run.answers) == tuple(
        one._replace(kind="still failing", after=one.before) for one in found if one.kind != "newly broken"
    )
