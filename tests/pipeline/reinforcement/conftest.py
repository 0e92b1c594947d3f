"""A reinforcement on colours, made once."""

import pytest

from pipeline.reinforcement.reinforcement import reinforce
from pipeline.types import Reinforcement
from tests.colour_items import RECIPE, evaluation, items_of
from tests.seams import ColourClassifier


@pytest.fixture(scope="package")
def made() -> Reinforcement:
    return reinforce(ColourClassifier.plain(), items_of(), evaluation(), RECIPE)
