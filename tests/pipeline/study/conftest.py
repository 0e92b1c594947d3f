"""Both tables on colours, made once."""

from __future__ import annotations

import pytest

from pipeline.reinforcement.features import Features
from pipeline.reinforcement.training_data import Example
from pipeline.study.banks import items_of
from pipeline.study.results import Weaknesses
from pipeline.study.weaknesses import weaknesses
from tests.colour_studies import STUDIES, TRUTH
from tests.seams import ColourClassifier


@pytest.fixture(scope="package")
def items() -> tuple[Example, ...]:
    return items_of(STUDIES, {item.key: (item.image, item.image) for s in STUDIES for item in s.counterfactuals})


@pytest.fixture(scope="package")
def table_1() -> Weaknesses:
    return weaknesses(Features(ColourClassifier.plain()), STUDIES, TRUTH)
