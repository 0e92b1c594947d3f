"""Suggested thresholds against cuts that can be seen with the eye."""

from __future__ import annotations

import pytest

from pipeline.thresholds import separations, threshold
from tests.stores import study_of


def test_the_cut_is_half_way_between_what_it_parts() -> None:
    assert threshold([0.6, 0.7, 0.8, 0.9, 1.0], [0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(0.55)


def test_a_lone_stray_does_not_move_the_cut() -> None:
    # The stray at 0.05 costs one of six kept; any cut below 0.55 lets two or more of the rejected through.
    assert threshold([0.05, 0.6, 0.7, 0.8, 0.9, 1.0], [0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(0.55)


def test_too_few_of_either_verdict_suggest_nothing() -> None:
    assert threshold([0.6, 0.7, 0.8, 0.9], [0.1, 0.2, 0.3, 0.4, 0.5]) is None


def test_verdicts_are_counted_and_unsure_ones_wait() -> None:
    made = study_of().counterfactuals[:9]
    verdicts = ["keep"] * 2 + ["reject"] + ["unsure"] + [""] * 5
    row = separations(zip(made, verdicts, strict=True))[0]
    assert (len(row.kept), len(row.rejected), len(row.undecided)) == (2, 1, 6)
    assert row.threshold is None
    assert row.kept == tuple(one.scores.image_similarity for one in made[:2])
