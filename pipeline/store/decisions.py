"""What a log of decisions means: which verdicts hold, where analysts disagree, what can be undone.

A log only grows. An analyst's verdict on a counterfactual is their latest one; while all analysts who have one agree it
holds, otherwise it is a conflict until somebody resolves it. Undoing appends the verdicts from before, redoing those
that were undone; both are entries of their own, so both survive a reload and neither loses anything. Pure: `Store.undo`
reads the log and appends to it in one transaction.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.statistics.intervals import share
from pipeline.types import Decision

RESOLVE, UNDO, REDO = "resolve", "undo", "redo"
Histories = dict[str, tuple[Decision, ...]]
"""counterfactual -> all entries about it, oldest first; one that is added makes a new tuple."""
Views = dict[str, dict[str, Decision]]
"""counterfactual -> analyst -> their latest decision since the last resolution; taken-back ones included."""


class Act(Protocol):
    """What `stacks` needs to know of a decision."""

    @property
    def analyst(self) -> str: ...
    @property
    def act(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def of(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two analysts agree on what both have judged."""

    analysts: tuple[str, str]
    n: int  # edits
    photos: int  # behind them
    agree: int
    kappa: float  # Cohen's, 1960; nan where both always say the same one thing
    low: float  # 95 % interval, over photos and with the agreement by chance as it is, as Cohen has it
    high: float


def views(log: Iterable[Decision]) -> Views:
    """Return everybody's latest decision on everything."""
    histories: dict[str, list[Decision]] = {}
    for decision in log:
        histories.setdefault(decision.counterfactual, []).append(decision)
    return {key: latest(history) for key, history in histories.items()}


def add(histories: Histories, decision: Decision) -> None:
    """Bring the histories up to date with one more decision."""
    histories[decision.counterfactual] = (*histories.get(decision.counterfactual, ()), decision)


def latest(history: Sequence[Decision]) -> dict[str, Decision]:
    """Return everybody's latest decision on one counterfactual since its last resolution, the newest last."""
    found: dict[str, Decision] = {}
    for decision in standing(history):
        if decision.kind == RESOLVE:
            found.clear()
        found.pop(decision.analyst, None)
        found[decision.analyst] = decision
    return found


def standing(log: Sequence[Decision]) -> Iterator[Decision]:
    """Yield the decisions that count, oldest first: none that was undone, one that was redone where it was redone."""
    kinds = {decision.act: decision.kind for decision in log if decision.kind not in (UNDO, REDO)}
    undone: set[str] = set()
    for decision in log:
        if decision.kind == UNDO:
            undone.add(decision.of)
        elif decision.kind == REDO:
            undone.discard(decision.of)
    for decision in log:
        act = decision.of if decision.kind == REDO else decision.act
        if decision.kind != UNDO and act not in undone:
            yield replace(decision, kind=kinds.get(act, "")) if decision.kind == REDO else decision


def newest(history: Sequence[Decision]) -> int:
    """Return the place in the log of the newest entry, whatever it means by now; 0 when there is none."""
    return max((decision.number for decision in history), default=0)


def holding(log: Iterable[Decision]) -> dict[str, Decision]:
    """Return for each counterfactual the decision that holds; absent where there is none, or a conflict."""
    found = ((key, settled(of)) for key, of in views(log).items())
    return {key: decision for key, decision in found if decision is not None}


def conflicts(log: Iterable[Decision]) -> dict[str, tuple[Decision, ...]]:
    """Return for each disputed counterfactual the decisions that contradict one another."""
    return {key: opinions(of) for key, of in views(log).items() if is_disputed(of)}


def settled(of: Mapping[str, Decision]) -> Decision | None:
    """Return the decision that holds, given everybody's latest one on a counterfactual; None without one.

    It is the newest verdict with the label that all agree on and the tags of all.
    """
    said = _spoken(of)
    if not said or is_disputed(of):
        return None
    tags = dict.fromkeys(name for decision in of.values() for name in decision.tags)
    return replace(said[-1], label=shown_label(of) or "", tags=tuple(tags))


def opinions(of: Mapping[str, Decision]) -> tuple[Decision, ...]:
    """Return everybody's latest decision that gives a verdict or a label, the newest last."""
    return tuple(decision for decision in of.values() if decision.verdict or decision.label)


def following(of: Mapping[str, Decision], counterfactual: str, analyst: str, *, settle: bool = False) -> Decision:
    """Return a new decision of this analyst that repeats what they said, for the doors to change and to name.

    One that settles a dispute overrules everybody and takes over all tags.
    """
    before = of.get(analyst) or Decision(id="", counterfactual=counterfactual, verdict="", analyst=analyst)
    fresh = replace(before, id="", act="", kind="", of="", time=0.0, number=0)
    if not (settle and is_disputed(of)):
        return fresh
    tags = dict.fromkeys(name for decision in (before, *of.values()) for name in decision.tags)
    return replace(fresh, kind=RESOLVE, tags=tuple(tags))


def is_disputed(of: Mapping[str, Decision]) -> bool:
    """Return whether the verdicts contradict one another, or what the edit is said to show."""
    verdicts = {decision.verdict for decision in _spoken(of)}
    return len(verdicts) > 1 or (bool(verdicts - {"reject"}) and shown_label(of) is None)


def shown_label(of: Mapping[str, Decision]) -> str | None:
    """Return what the edit is said to show: "" for what its photo shows, None while analysts disagree."""
    labels = {decision.label for decision in of.values() if decision.label or decision.verdict == "keep"}
    return None if len(labels) > 1 else next(iter(labels), "")


def own(log: Iterable[Decision], analyst: str) -> dict[str, Decision]:
    """Return for each counterfactual this analyst's decision, or the one that resolved a conflict since."""
    found = ((key, of.get(analyst) or _resolution(of)) for key, of in views(log).items())
    return {key: decision for key, decision in found if decision is not None and decision.verdict}


def agreements(log: Sequence[Decision], photos: Mapping[str, str]) -> tuple[Agreement, ...]:
    """Return the agreement of every two analysts who judged something in common, on their own latest verdicts.

    `photos` names the photo of each counterfactual, because verdicts on edits of one photo are alike; a counterfactual
    that is not there counts as one of a photo of its own.
    """
    verdicts: dict[str, dict[str, str]] = {}
    for decision in standing(log):
        if decision.kind != RESOLVE:
            verdicts.setdefault(decision.analyst, {})[decision.counterfactual] = decision.verdict
    pairs = itertools.combinations(sorted(verdicts), 2)
    found = (_agreement(pair, verdicts[pair[0]], verdicts[pair[1]], photos) for pair in pairs)
    return tuple(agreement for agreement in found if agreement is not None)


def stacks(log: Iterable[Act], analyst: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (acts that can be undone, acts that can be redone), the next one last in each.

    Total: an act that is undone twice was undone once, a redo of what was not undone does nothing.
    """
    done: list[str] = []
    undone: list[str] = []
    seen = set()
    for decision in log:
        if decision.analyst != analyst or decision.act in seen:
            continue
        seen.add(decision.act)
        if decision.kind == UNDO:
            _pass(decision.of, done, undone)
        elif decision.kind == REDO:
            _pass(decision.of, undone, done)
        else:
            done.append(decision.act)
            undone.clear()
    return tuple(done), tuple(undone)


def again(log: Iterable[Decision], analyst: str, act: str, kind: str, of: str) -> tuple[Decision, ...]:
    """Return the decisions that undo or redo the act `of`, to be appended under the id `act`.

    For each decision of that act the analyst's own one before it (undo) or itself (redo).
    """
    before: dict[str, Decision] = {}
    made: list[Decision] = []
    for decision in log:
        if decision.analyst != analyst:
            continue
        if decision.act == of:
            blank = replace(decision, verdict="", reason="", label="", tags=())
            said = decision if kind == REDO else before.get(decision.counterfactual, blank)
            made.append(replace(said, id=f"{act}-{len(made)}", act=act, kind=kind, of=of, time=0.0, number=0))
        before[decision.counterfactual] = decision
    return tuple(made)


def _pass(act: str, source: list[str], target: list[str]) -> None:
    """Move an act from one stack to the other, if it lies there."""
    if act in source:
        source.remove(act)
        target.append(act)


def _spoken(of: Mapping[str, Decision]) -> tuple[Decision, ...]:
    return tuple(decision for decision in of.values() if decision.verdict)


def _resolution(of: dict[str, Decision]) -> Decision | None:
    return next((decision for decision in of.values() if decision.kind == RESOLVE), None)


def _agreement(
    analysts: tuple[str, str], first: dict[str, str], other: dict[str, str], photos: Mapping[str, str]
) -> Agreement | None:
    keys = sorted(key for key in first.keys() & other.keys() if first[key] and other[key])
    both = [(first[key], other[key]) for key in keys]
    if not both:
        return None
    n, agree = len(both), sum(a == b for a, b in both)
    agreed = share([a == b for a, b in both], [photos.get(key, key) for key in keys])
    left, right = Counter(a for a, _ in both), Counter(b for _, b in both)
    chance = sum(left[verdict] * right[verdict] for verdict in left) / n**2

    def kappa(agreement: float) -> float:
        return (agreement - chance) / (1 - chance) if chance < 1 else float("nan")

    low, high = kappa(agreed.low), kappa(agreed.high)
    return Agreement(
        analysts=analysts, n=n, photos=agreed.photos, agree=agree, kappa=kappa(agree / n), low=low, high=high
    )
