"""Table 1 on colours, where the weakness and its truth are known by construction."""

from __future__ import annotations

import numpy as np

from pipeline.analysis.weakness import ALL
from pipeline.reinforcement.features import Features
from pipeline.study.results import Weaknesses
from pipeline.study.weaknesses import weaknesses
from tests.colour_studies import STUDIES, TRUTH
from tests.seams import ColourClassifier


def test_table_1_sees_the_weakness_and_its_truth(table_1: Weaknesses) -> None:
    rows = {(row.label, row.factor): row for row in table_1.rows}
    assert rows[ALL, "background"].delta_acc1.value == -1.0
    assert rows[ALL, "background"].delta_acc1.high < 0
    assert rows[ALL, "object"].delta_acc1.value == 0.0
    true = {(row.label, row.factor): row for row in table_1.truth}
    assert true[ALL, "background"].n == 24
    assert true[ALL, "background"].delta_acc1.value < -0.8
    assert len(table_1.cells) == 6
    assert table_1.correlation is not None
    assert table_1.correlation.low > 0.5
    assert {row.tau for row in table_1.by_tau} == {0.5}


def test_every_prediction_is_the_classifiers_own(table_1: Weaknesses) -> None:
    """Whoever made the studies: another classifier gives another table."""
    blind = ColourClassifier(np.tile(np.eye(3), 4), (9, 0, 0), "blind")
    rows = {(row.label, row.factor): row for row in weaknesses(Features(blind), STUDIES, TRUTH).rows}
    assert rows["red", ALL].delta_acc1.value == 0.0
    assert rows["green", ALL].control_acc1.value == 0.0
    assert table_1.rows[0].control_acc1.value == 1.0


def test_without_truth_there_is_nothing_to_compare() -> None:
    found = weaknesses(Features(ColourClassifier.plain()), STUDIES, {})
    assert (found.truth, found.cells, found.correlation) == ((), (), None)
    assert found.rows[0].n == 48
