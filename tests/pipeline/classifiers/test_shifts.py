"""How two predictions differ: flip, sensitivity and shift."""

from __future__ import annotations

import pytest

from pipeline.classifiers.shifts import is_prediction_flip, sensitivity, shift
from pipeline.errors import LabelError
from pipeline.types import Prediction

LABELS = ("sled", "ball", "umbrella", "kite", "drum", "balloon")

BEFORE = Prediction(labels=LABELS, probabilities=(0.4, 0.3, 0.15, 0.1, 0.05, 0.0))
AFTER = Prediction(labels=LABELS, probabilities=(0.1, 0.3, 0.2, 0.0, 0.05, 0.35))


def test_a_flip_is_another_first_label() -> None:
    assert is_prediction_flip(BEFORE, AFTER)
    assert not is_prediction_flip(BEFORE, BEFORE)


def test_sensitivity_is_signed_and_reads_labels_outside_the_top_five() -> None:
    assert sensitivity("sled", BEFORE, AFTER) == pytest.approx(-0.3)
    assert sensitivity("balloon", BEFORE, AFTER) == pytest.approx(0.35)
    assert "balloon" not in [label for label, _ in BEFORE.top(5)]
    with pytest.raises(LabelError, match="does not know"):
        sensitivity("tiger", BEFORE, AFTER)


def test_a_shift_is_the_union_of_both_top_labels() -> None:
    rows = shift(BEFORE, AFTER, k=2)
    assert [row.label for row in rows] == ["sled", "ball", "balloon"]
    sled, _, balloon = rows
    assert (sled.p_before, sled.p_after) == (pytest.approx(0.4), pytest.approx(0.1))
    assert (sled.rank_before, sled.rank_after) == (1, 4)
    assert (balloon.p_before, balloon.p_after) == (0.0, pytest.approx(0.35))
    assert (balloon.rank_before, balloon.rank_after) == (6, 1)
    assert len(shift(BEFORE, AFTER)) == 6
