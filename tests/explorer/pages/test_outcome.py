"""What the Reinforce page says of a run in words and tables."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from explorer.components.comparison import COMPARE, HIDDEN, comparison_markup
from explorer.components.outcome import result_markup, seen_alpha, step_markup, validation_markup, verdict_sentence
from pipeline.reinforcement.figures import figures, told_together
from pipeline.reinforcement.saving import looked
from pipeline.types import Answers, Look
from tests.runs import EDITS, run_of, split_of

CHECKS = {"validation counterfactuals": split_of(photos=6, edits=2, wrong={1})}
GAINED = {"home": split_of(photos=40, wrong=set(range(12))), "away": split_of(photos=40, wrong={0})}
ADA = Look(alpha=1.0, analyst="ada")


def verdict_of(answers: dict[str, Answers]) -> str:
    made = run_of(answers)
    return verdict_sentence(told_together(figures(made, made.answers)), made.alpha).replace("\u202f", " ")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (GAINED, "reliably changed: home +30.0 pt; on the others no change can be told from chance"),
        ({"away": GAINED["away"]}, "no change can be told from chance"),
        ({EDITS: split_of(photos=5, edits=15, wrong={0})}, "there are too few photos to tell a change from chance"),
        (
            {"home": split_of(photos=40, wrong=set(), lost=set(range(0, 32, 2)))},
            "reliably changed: home −40.0 pt, tent on home −80.0 pt; on the others no change can be told from chance",
        ),
    ],
)
def test_the_verdict_says_what_the_figures_allow(answers: dict[str, Answers], said: str) -> None:
    assert verdict_of(answers) == f"At alpha 1: {said}."


def test_the_verdict_stands_above_the_table_and_p_is_explained() -> None:
    shown = result_markup(run_of(GAINED))
    assert shown.index("At alpha 1:") < shown.index("<table>")
    assert "flips the signs of whole photos" in shown
    assert "all 8 changes that have one here, classes included" in shown  # two splits with two k, and four classes
    assert "flips the signs" not in result_markup(run_of({EDITS: split_of(photos=5, edits=15, wrong={0})}))


def test_counts_are_of_photos_where_edits_share_them() -> None:
    shown = result_markup(run_of({EDITS: split_of(photos=5, edits=15, wrong={0})}))
    assert "75<small>5 photos</small>" in shown
    assert "photos</small>" not in result_markup(run_of(GAINED))


def test_classes_are_told_split_by_split() -> None:
    shown = result_markup(
        run_of({"home": split_of(photos=80, wrong=set()), "away": split_of(6, wrong=set(), lost={0})})
    )
    assert "By class on home: 0 of 2 lost accuracy" in shown
    assert "By class on away: 1 of 2 lost accuracy (tent), none reliably" in shown


def test_validation_is_shown_without_a_word_of_the_test_sets() -> None:
    made = run_of(GAINED, CHECKS)
    shown = validation_markup(made)
    assert "validation counterfactuals" in shown
    assert "Acc@5" in shown
    assert "home" not in shown
    assert "reliabl" not in shown
    assert '<th scope="col">p</th>' not in shown


def test_what_a_look_means_is_said_before_it() -> None:
    made = run_of(GAINED, CHECKS)
    assert seen_alpha(made) is None
    assert "Nobody has seen the test sets yet" in step_markup(made, 1.0)
    seen = looked(made, ADA)
    assert seen_alpha(seen) == 1.0
    assert "are at this alpha, 1." in step_markup(seen, 1.0)
    assert "A change to 0 is noted as made after they were seen" in step_markup(seen, 0.0)


def test_a_change_after_the_tests_were_seen_stays_on_the_page() -> None:
    moved = looked(looked(run_of(GAINED, CHECKS), ADA), Look(alpha=0.0, analyst="bob"))
    assert "alpha was changed from 1 to 0 after the test figures were seen, by bob" in result_markup(moved)
    assert "alpha changed after the tests were seen" in comparison_markup({"a": moved, "b": moved})


def test_runs_are_compared_on_validation_until_their_tests_were_shown() -> None:
    made = run_of(GAINED, CHECKS)
    assert COMPARE in comparison_markup({"one": made})
    shown = comparison_markup({"one": made, "two": made})
    assert shown.count(HIDDEN) == 4
    assert "after Holm" not in shown
    both = comparison_markup({"one": looked(made, ADA), "two": looked(made, ADA)})
    assert HIDDEN not in both
    assert "all 8 changes on test sets in this table" in both  # two runs, two splits, Acc@1 and Acc@5
    assert "Acc@5" in both


def test_more_runs_told_together_make_a_change_less_sure() -> None:
    """Twelve photos of forty gain: p 0.0005 alone, and 20 runs with 80 changes together are no longer below 0.05."""
    made = looked(run_of({"home": split_of(photos=40, wrong=set(range(10))), "away": GAINED["away"]}, CHECKS), ADA)
    few, many = (comparison_markup({str(n): made for n in range(number)}) for number in (2, 20))
    assert "p 0.016" in few
    assert "p 0.156" in many


def test_names_are_no_markup() -> None:
    made = replace(run_of({"<i>": GAINED["home"]}, {"<u>": GAINED["home"]}), source="<b>")
    for shown in (validation_markup(made), result_markup(made)):
        assert not {"<i>", "<u>", "<b>"} & set(re.findall(r"<.>", shown))


def test_a_run_whose_recipe_is_no_longer_here_is_shown_all_the_same() -> None:
    made = replace(run_of(GAINED), method="gone", validation=CHECKS, chosen=1.0)
    assert "gone: a recipe that is no longer here" in validation_markup(made)
