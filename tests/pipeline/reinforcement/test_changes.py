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
    held = [change for change in found if change.split == "held-out counterfactuals"]
    labels = {item.key: item.label for item in named}
    assert all(labels[change.name] == change.label != change.before for change in held)
    assert [change.after == change.label for change in held] == [change.kind == "fixed" for change in held]
    right = run.answers["held-out counterfactuals"].hits(run.alphas.index(run.alpha))
    assert sum(change.kind == "fixed" for change in held) == sum(right)
    assert {change.photo for change in held} <= {item.photo_key for item in named}
    assert changes(at_alpha(run, 0.0), run.answers) == tuple(
        change._replace(kind="still failing", after=change.before) for change in found if change.kind != "newly broken"
    )
