"""What a log of decisions means: verdicts of several analysts, conflicts, undo and redo, kappa by hand."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from pipeline.store.decisions import REDO, UNDO, Agreement, again, agreements, conflicts, holding, own, stacks
from pipeline.types import Decision

Step = Callable[[Sequence[Decision], str, str], tuple[Decision, ...]]
"""`undoing` or `redoing`."""


def log_of(*entries: tuple[str, str, str]) -> tuple[Decision, ...]:
    """(analyst, counterfactual, verdict) one after the other, each an act of its own."""
    return tuple(
        Decision(id=str(n), act=str(n), number=n, analyst=analyst, counterfactual=key, verdict=verdict)
        for n, (analyst, key, verdict) in enumerate(entries, start=1)
    )


def undoing(log: Sequence[Decision], analyst: str, act: str) -> tuple[Decision, ...]:
    """What undoing the last act appends."""
    return again(log, analyst, act, UNDO, stacks(log, analyst)[0][-1])


def redoing(log: Sequence[Decision], analyst: str, act: str) -> tuple[Decision, ...]:
    """What redoing the act that was undone last appends; nothing when there is none."""
    return tuple(decision for of in stacks(log, analyst)[1][-1:] for decision in again(log, analyst, act, REDO, of))


def said(found: dict[str, Decision]) -> dict[str, str]:
    return {key: decision.verdict for key, decision in found.items()}


def test_the_latest_verdict_of_one_analyst_holds() -> None:
    log = log_of(("", "x", "keep"), ("", "x", "reject"), ("", "y", "keep"), ("", "y", ""))
    assert said(holding(log)) == {"x": "reject"}


def test_what_analysts_agree_on_holds_and_the_rest_is_a_conflict_until_it_is_resolved() -> None:
    log = log_of(("Ada", "x", "keep"), ("Bo", "x", "keep"), ("Ada", "y", "keep"), ("Bo", "y", "reject"))
    assert said(holding(log)) == {"x": "keep"}
    assert {key: [decision.analyst for decision in found] for key, found in conflicts(log).items()} == {
        "y": ["Ada", "Bo"]
    }
    resolved = (*log, replace(log[-1], id="r", act="r", analyst="Cy", kind="resolve", verdict="keep"))
    assert said(holding(resolved)) == {"x": "keep", "y": "keep"}
    assert conflicts(resolved) == {}
    assert said(own(resolved, "Bo")) == {"x": "keep", "y": "keep"}
    reopened = (*resolved, *log_of(("Bo", "y", "reject")))
    assert set(conflicts(reopened)) == {"y"}


def test_a_verdict_taken_back_leaves_the_other_analysts() -> None:
    log = log_of(("Ada", "x", "keep"), ("Bo", "x", "reject"), ("Bo", "x", ""))
    assert said(holding(log)) == {"x": "keep"}
    assert said(own(log, "Bo")) == {}


def test_a_corrected_label_holds_while_all_agree_on_it_and_tags_are_everybodys() -> None:
    ada, bo = log_of(("Ada", "x", "keep"), ("Bo", "x", "keep"))
    ada = replace(ada, label="kite", tags=("night",))
    (decision,) = holding((ada, replace(bo, label="kite", tags=("blurred",)))).values()
    assert (decision.label, decision.tags) == ("kite", ("night", "blurred"))
    # Keeping it without another label says that it shows what the photo shows.
    assert holding((ada, bo)) == {}
    assert [said.analyst for said in conflicts((ada, bo))["x"]] == ["Ada", "Bo"]
    assert set(conflicts((ada, replace(bo, label="boat")))) == {"x"}
    settled = replace(ada, id="r", act="r", analyst="Cy", kind="resolve")
    assert holding((ada, bo, settled))["x"].label == "kite"
    # A label without a verdict contradicts whoever keeps it under another one; what all reject is no matter of labels.
    assert set(conflicts((ada, replace(bo, verdict="", label="boat")))) == {"x"}
    rejected = replace(ada, verdict="reject"), replace(bo, verdict="reject", label="boat")
    assert (conflicts(rejected), holding(rejected)["x"].verdict) == ({}, "reject")


def test_undo_brings_back_the_verdict_before_and_redo_the_one_undone() -> None:
    log = log_of(("", "x", "keep"), ("Bo", "x", "reject"), ("", "x", "reject"))
    (back,) = again(log, "", "u1", UNDO, "3")
    assert (back.verdict, back.kind, back.of, back.act) == ("keep", "undo", "3", "u1")
    log += (back,)
    assert stacks(log, "") == (("1",), ("3",))
    (forth,) = again(log, "", "r1", REDO, "3")
    assert (forth.verdict, forth.of) == ("reject", "3")
    newer = replace(log[0], id="4", act="4", counterfactual="y")
    assert stacks((*log, newer), "") == (("1", "4"), ()), "a new decision ends what could be redone"


def grown(log: tuple[Decision, ...], *steps: tuple[Step, str]) -> tuple[Decision, ...]:
    """The log after every step of an analyst, numbered as a store would."""
    for step, analyst in steps:
        made = step(log, analyst, f"{step.__name__}-{len(log)}")
        log += tuple(replace(decision, number=len(log) + place) for place, decision in enumerate(made, start=1))
    return log


def test_undoing_a_resolution_brings_the_conflict_back_and_redoing_it_settles_it_again() -> None:
    log = log_of(("Ada", "x", "keep"), ("Bo", "x", "reject"))
    log += (replace(log[0], id="3", act="3", number=3, kind="resolve"),)
    assert said(holding(log)) == {"x": "keep"}
    undone = grown(log, (undoing, "Ada"))
    assert [decision.analyst for decision in conflicts(undone)["x"]] == ["Ada", "Bo"]
    assert own(undone, "Bo")["x"].verdict == "reject"
    assert said(holding(grown(undone, (redoing, "Ada")))) == {"x": "keep"}
    assert set(conflicts(grown(undone, (redoing, "Ada"), (undoing, "Ada")))) == {"x"}


def test_what_is_undone_after_somebody_resolved_it_reopens_nothing() -> None:
    log = log_of(("Bo", "x", "keep"), ("Bo", "x", "unsure"), ("Ada", "x", "reject"))
    resolved = (*log[:2], replace(log[2], kind="resolve"))
    assert said(holding(grown(resolved, (undoing, "Bo")))) == {"x": "reject"}


def test_two_windows_that_undo_at_once_undo_once() -> None:
    log = log_of(("", "x", "keep"), ("", "x", "reject"))
    both = (*undoing(log, "", "u1"), *undoing(log, "", "u2"))
    log += both
    assert stacks(log, "") == (("1",), ("2",))
    assert said(holding(log)) == {"x": "keep"}
    assert stacks((*log, *redoing(log, "", "r1"), *redoing(log, "", "r2")), "") == (("1", "2"), ())


def test_there_is_nothing_to_undo_for_somebody_who_decided_nothing() -> None:
    assert stacks(log_of(("Ada", "x", "keep")), "Bo") == ((), ())
    assert stacks((), "") == ((), ())


def test_a_damaged_log_has_its_stacks_too() -> None:
    log = log_of(("", "x", "keep"), ("", "x", "reject"))
    (back,) = again(log, "", "u1", UNDO, "2")
    twice = (*log, back, replace(back, id="u2-0", act="u2"))
    assert stacks(twice, "") == (("1",), ("2",)), "an act that was undone twice is undone"
    unknown = replace(back, id="r-0", act="r", kind=REDO, of="never heard of")
    assert stacks((unknown, *twice, replace(unknown, id="v-0", act="v", kind=UNDO)), "") == (("1",), ("2",))
    (forth,) = again(twice, "", "r1", REDO, "2")
    assert stacks((*twice, forth, replace(forth, id="r2-0", act="r2")), "") == (("1", "2"), ())


def test_kappa_is_cohens() -> None:
    # Cohen's kappa by hand: 50 items, 20 both keep, 15 both reject, 5 keep/reject, 10 reject/keep: (0.7 - 0.5) / 0.5.
    pairs = [("keep", "keep")] * 20 + [("reject", "reject")] * 15 + [("keep", "reject")] * 5 + [("reject", "keep")] * 10
    entries = [(name, str(n), verdicts[k]) for n, verdicts in enumerate(pairs) for k, name in enumerate(("Ada", "Bo"))]
    (found,) = agreements(log_of(*entries), {})
    assert (found.analysts, found.n, found.agree) == (("Ada", "Bo"), 50, 35)
    assert found.kappa == pytest.approx(0.4)
    spread = 1.96 * math.sqrt(0.7 * 0.3 / 50) / 0.5  # Cohen's own standard error
    assert found.high - found.low == pytest.approx(2 * spread, abs=0.03)
    assert found.low < 0.4 < found.high


def test_verdicts_on_one_photos_edits_are_not_as_many_findings() -> None:
    """Fifty edits of five photos, on two of which the analysts never agree: hardly anything is known."""
    entries = [
        (name, str(n), "keep" if (n % 2) ^ (k and n >= 30) else "reject")
        for n in range(50)
        for k, name in enumerate("AB")
    ]
    log = log_of(*entries)
    (decision,) = agreements(log, {str(n): str(n) for n in range(50)})
    (five,) = agreements(log, {str(n): str(n // 10) for n in range(50)})
    assert (five.n, five.photos) == (50, 5)
    assert five.kappa == decision.kappa
    assert five.low < 0 < decision.low + 0.2
    assert five.high - five.low > 2 * (decision.high - decision.low)


def test_analysts_who_always_agree_are_not_certain_to() -> None:
    entries = [(name, str(n), ("keep", "reject")[n % 2]) for n in range(20) for name in ("Ada", "Bo")]
    (found,) = agreements(log_of(*entries), {})
    assert found.kappa == found.high == 1.0
    assert 0.5 < found.low < 0.9


def test_kappa_of_those_who_always_say_the_same_says_nothing() -> None:
    (found,) = agreements(log_of(("Ada", "x", "keep"), ("Bo", "x", "keep")), {})
    assert isinstance(found, Agreement)
    assert math.isnan(found.kappa)
    assert agreements(log_of(("Ada", "x", "keep"), ("Bo", "y", "keep")), {}) == ()
