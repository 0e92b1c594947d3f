"""Figures of a reinforcement: photos are the unit, what is told together is tested together, splits stay apart."""

from __future__ import annotations

from pathlib import Path

from pipeline.commands.rows import reinforcement_rows
from pipeline.reinforcement.figures import Figure, curve, figures, told_together
from pipeline.types import Answers, Reinforcement
from tests.runs import EDITS, run_of, split_of

OUT = Path("out")


def one_of(found: tuple[Figure, ...], split: str, label: str = "", k: int = 1) -> Figure:
    (figure,) = [given for given in found if (given.split, given.label, given.k) == (split, label, k)]
    return figure


def told(answers: dict[str, Answers]) -> tuple[Figure, ...]:
    made = run_of(answers)
    return told_together(figures(made, made.answers))


def test_one_photo_of_five_is_no_reliable_change_however_many_edits_it_has() -> None:
    """15 edits of one photo, all wrong before and right after, are one photo."""
    found = one_of(told({EDITS: split_of(photos=5, edits=15, wrong={0})}), EDITS)
    assert (found.n, found.photos) == (75, 5)
    assert round(found.change.value, 2) == 0.2
    assert found.change.p == 1.0
    assert not found.tested
    assert not found.reliable
    assert found.change.low < 0 < found.change.high


def test_a_change_of_many_photos_is_reliable() -> None:
    found = one_of(told({EDITS: split_of(photos=20, edits=3, wrong=set(range(12)))}), EDITS)
    assert found.reliable
    assert found.change.p == 2 / 2**12


def test_each_picture_of_a_test_set_is_a_photo_of_its_own() -> None:
    found = one_of(told({"ood": split_of(photos=240, wrong=set(range(20)))}), "ood")
    assert (found.n, found.photos, found.change.p) == (240, 240, 2 / 2**20)


def test_what_holds_alone_falls_when_it_is_told_with_others() -> None:
    """Six photos that all change have p 0.031, which one split of four with their classes cannot carry."""
    alone = {"ood": split_of(photos=6, wrong=set(range(6)), labels=1)}
    assert one_of(told(alone), "ood").change.p == 2 / 2**6
    others = {f"set {number}": split_of(photos=60, wrong=set()) for number in range(3)}
    together = told({**alone, **others})
    assert not one_of(together, "ood").reliable
    counted = [figure for figure in together if figure.tested]
    assert one_of(together, "ood").change.p_adjusted == min(1.0, len(counted) * 2 / 2**6)
    assert {bool(picture.label) for picture in counted} == {True, False}


def test_classes_keep_their_splits_apart() -> None:
    """A class that is lost on three photos of ood is not hidden behind forty of original."""
    answers = {
        "original": split_of(photos=80, wrong=set(), labels=2),
        "ood": split_of(photos=6, wrong=set(), lost={0, 2, 4}, labels=2),
    }
    found = told(answers)
    assert one_of(found, "original", "tent").change.value == 0
    assert one_of(found, "ood", "tent").change.value == -1
    assert one_of(found, "ood", "tent").n == 3
    made = run_of(answers)
    rows = [row for row in reinforcement_rows(made, OUT) if row["kind"] == "class"]
    assert [(row["name"], row["split"], row["n"]) for row in rows] == [
        ("tent", "original", 40), ("boat", "original", 40), ("tent", "ood", 3), ("boat", "ood", 3),
    ]  # fmt: skip


def test_acc5_stands_beside_acc1_in_figures_curve_and_rows() -> None:
    answers = {EDITS: split_of(photos=8, wrong={0, 1, 2}, rank=3)}  # wrong is fourth before
    made = run_of(answers, {"validation counterfactuals": answers[EDITS]})
    found = figures(made, made.answers)
    assert one_of(found, EDITS).before.value == 5 / 8
    assert one_of(found, EDITS, k=5).before.value == 1.0
    assert set(curve(made)[0][1]) == {("validation counterfactuals", 1), ("validation counterfactuals", 5)}
    (row,) = [row for row in reinforcement_rows(made, OUT) if row["kind"] == "split"]
    assert row["acc@1"]["before"]["value"] == 5 / 8  # type: ignore[index]
    assert row["acc@5"]["before"]["value"] == 1.0  # type: ignore[index]
    (check,) = [row for row in reinforcement_rows(made, OUT) if row["kind"] == "validation"]
    assert "p" not in check["acc@1"]  # type: ignore[operator]


def test_a_run_that_kept_no_photos_and_no_ranks_tells_values_alone() -> None:
    known = split_of(photos=5, edits=15, wrong={0})
    old = Answers(names=known.names, photos=(), targets=known.targets, predicted=known.predicted)
    (found, *_) = told({EDITS: old})
    assert (found.n, found.photos, found.tested) == (75, 0, False)
    assert {figure.k for figure in told({EDITS: old})} == {1}


def test_nothing_is_told_of_nothing() -> None:
    made: Reinforcement = run_of({})
    assert figures(made, made.answers) == ()
    assert told_together(()) == ()
