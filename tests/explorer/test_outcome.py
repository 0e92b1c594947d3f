"""What the Reinforce page says of a run in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from explorer.components.outcome import outcome_markup, verdict
from pipeline.intervals import wilson
from pipeline.types import Reinforcement

RUN = Reinforcement(
    classifier="resnet",
    labels=("tent", "boat"),
    theta_0=(),
    theta_1=(),
    alpha=0.9,
    curve=(),
    before={"home": wilson(50, 100), "away": wilson(50, 100)},
    after={"home": wilson(62, 100), "away": wilson(47, 100)},
    losses=(1.0, 0.5),
    by_class={"tent": (wilson(50, 100), wilson(49, 100)), "boat": (wilson(50, 100), wilson(60, 100))},
    p_values={"home": 0.004, "away": 0.25},
)


@pytest.mark.parametrize(
    ("p_values", "said"),
    [
        (RUN.p_values, "reliably changed: home +12.0 pt; on the others no change can be told from chance. "),
        ({"home": 0.004, "away": 0.049}, "reliably changed: home +12.0 pt, away −3.0 pt. "),
        ({"home": 0.05, "away": 1.0}, "no change can be told from chance. "),
        ({}, ""),  # nothing was tested, so nothing is said of chance
    ],
)
def test_the_verdict_says_what_the_figures_allow(p_values: dict[str, float], said: str) -> None:
    told = verdict(replace(RUN, p_values=p_values)).replace("\u202f", " ")
    assert told == f"At alpha 0.9: {said}1 of 2 classes lost accuracy."


def test_the_verdict_stands_above_the_table_and_p_is_explained() -> None:
    shown = outcome_markup(RUN)
    assert shown.index(verdict(RUN)) < shown.index("<table>")
    assert "exact McNemar test on the same pictures" in shown
    assert "exact McNemar test on the same pictures" not in outcome_markup(replace(RUN, p_values={}))
