"""A data folder's counterfactuals and decisions in memory, kept up to date, and windows on them.

Reads from the store only what is new, so that a decision costs the same whether ten or ten thousand are in the folder.
Pages ask for windows by the key of the last item they have, which stays right while decisions are made. What is listed
and in which order is `store/triage.py`'s, what decisions mean is `store/decisions.py`'s. Knows no picture.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from pipeline.errors import DataError
from pipeline.store import decisions
from pipeline.store.queue import Entry, found, listed, ordered
from pipeline.store.store import Store
from pipeline.types import Decision

WAITING, CONFLICT, ALL = "waiting", "conflict", "all"
ORDERS_KEPT = 32  # orders in memory; every seed of the random one is another
STATES = (WAITING, "keep", "reject", "unsure", CONFLICT, ALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Which items, in which order, seen by whom."""

    order: str = "uncertain"  # as `triage.ordered` has it
    seed: int = 0  # of the random order
    state: str = ALL  # one of `STATES`
    label: str = ""  # "": every class
    factor: str = ""  # "": every factor
    text: str = ""  # every word of it must occur in the edited caption or the label
    analyst: str = ""
    blind: bool = False  # only one's own verdicts count


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of a view."""

    entries: tuple[Entry, ...]
    start: int  # how many of the view come before the first
    total: int  # how many the view holds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What was read at one moment; whoever reads it goes on with it while the next one is made."""

    read: tuple[Entry, ...] = ()  # as the store gave them
    entries: Mapping[str, Entry] = field(default_factory=dict)
    variations: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)  # keys of all its tau
    picked: Set[str] = frozenset()
    shown: tuple[Entry, ...] = ()  # the picked ones
    log: Sequence[Decision] = ()
    histories: decisions.Histories = field(default_factory=dict)
    version: int = 0


class Catalogue:
    """All counterfactuals and decisions of one store.

    Safe to use from many threads: `refresh` makes a new `_Known` and changes none that somebody may be reading.
    """

    def __init__(self, store: Store) -> None:
        self.store, self._known, self._lock = store, _Known(), threading.Lock()
        self._ordered: dict[tuple[str, int], tuple[int, tuple[Entry, ...]]] = {}

    def refresh(self) -> None:
        """Read what was saved since the last time. Raises `StoreError`."""
        with self._lock:
            self._known = self._read(self._known)

    def _read(self, before: _Known) -> _Known:
        """Return what is known now; of the log only what came since, unless there are other entries than before.

        What was put away or brought back takes its decisions along.
        """
        entries = self.store.entries()
        anew = not entries or entries is not before.read  # two reads of nothing are the same object
        known = _with_entries(before, entries) if anew else before
        fresh = self.store.log(known.log[-1].number if known.log else 0)
        if fresh:
            histories = dict(known.histories)
            for decision in fresh:
                decisions.add(histories, decision)
            known = replace(known, log=[*known.log, *fresh], histories=histories)
        if anew or any(decision.counterfactual not in known.picked for decision in fresh):
            picked = known.histories.keys()
            known = replace(known, picked=picked, shown=tuple(listed(entries, picked)), version=known.version + 1)
        return known

    @property
    def log(self) -> Sequence[Decision]:
        """Return every decision, oldest first."""
        return self._known.log

    def shown(self) -> tuple[Entry, ...]:
        """Return what analysts look at, in the order in which it was made."""
        return self._known.shown

    def entry(self, key: str) -> Entry:
        """Return the line of one counterfactual. Raises `DataError` for an unknown key."""
        found = self._known.entries.get(key)
        if found is None:
            raise DataError(f"There is no counterfactual {key[:12]} in this data folder; reload the page.")
        return found

    def strengths(self, key: str) -> tuple[Entry, ...]:
        """Return all tau of the same variation, from the boldest edit to the most careful one."""
        entry, known = self.entry(key), self._known
        all_of = known.variations.get((entry.study, entry.edited_caption), ())
        return tuple(sorted((known.entries[other] for other in all_of), key=lambda entry: entry.tau))

    def views(self, key: str) -> Mapping[str, Decision]:
        """Return everybody's latest decision on it since the last resolution, taken back or not."""
        return decisions.latest(self._known.histories.get(key, ()))

    def said(self, key: str) -> tuple[Decision, ...]:
        """Return the verdicts and labels of all analysts on it, the newest last; those taken back are absent."""
        return decisions.opinions(self.views(key))

    def own(self, key: str, analyst: str) -> Decision | None:
        """Return this analyst's latest decision, taken back or not, since the last resolution."""
        return self.views(key).get(analyst)

    def newest(self, key: str) -> int:
        """Return the place in the log of the newest entry about it, by whomever; 0 for none."""
        return decisions.newest(self._known.histories.get(key, ()))

    def state(self, key: str, view: View) -> str:
        """Return one of `STATES` but "all": what holds, or with `view.blind` what the analyst said."""
        if view.blind:
            decision = self.own(key, view.analyst)
            return (decision.verdict if decision else "") or WAITING
        return self.holds(key)

    def holds(self, key: str) -> str:
        """Return what all analysts together say: one of `STATES` but "all"."""
        decision = self.settled(key)
        return decision.verdict if decision else CONFLICT if decisions.is_disputed(self.views(key)) else WAITING

    def settled(self, key: str) -> Decision | None:
        """Return the decision that holds, None without a verdict or in a conflict."""
        return decisions.settled(self.views(key))

    def verdicts(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the verdict that holds of each of these; without a verdict, or in a conflict, a key is absent."""
        found = ((key, self.settled(key)) for key in keys)
        return {key: decision.verdict for key, decision in found if decision is not None}

    def ordered(self, order: str, seed: int = 0) -> tuple[Entry, ...]:
        """Return everything shown, in this order. Raises `SettingsError` for an unknown one."""
        known = self._known
        version, entries = self._ordered.get((order, seed), (-1, ()))
        if version != known.version:
            entries = tuple(ordered(known.shown, order, seed))
            if len(self._ordered) >= ORDERS_KEPT:
                self._ordered.clear()
            self._ordered[order, seed] = known.version, entries
        return entries

    def matching(self, view: View) -> tuple[Entry, ...]:
        """Return all of a view, in its order."""
        return self._among(self.ordered(view.order, view.seed), view)

    def _among(self, order: Sequence[Entry], view: View) -> tuple[Entry, ...]:
        wanted = found(order, label=view.label, factor=view.factor, words=view.text)
        return tuple(entry for entry in wanted if view.state in (ALL, self.state(entry.key, view)))

    def window(self, view: View, count: int, *, after: str = "", before: str = "", at: str = "") -> Window:
        """Return at most `count` items: after an item, before it, from it on, or the first ones.

        The item that is named may have left the view meanwhile; its place in the order counts. What is not in the
        order stands before everything.
        """
        order = self.ordered(view.order, view.seed)
        places = {entry.key: place for place, entry in enumerate(order)}
        matching = self._among(order, view)
        place = places.get(after or before or at, 0)
        start = sum(places[entry.key] < place + bool(after) for entry in matching)
        if before:
            start, count = max(0, start - count), min(start, count)
        return Window(entries=matching[start : start + count], start=start, total=len(matching))

    def counts(self, view: View) -> dict[str, int]:
        """Return for each state how many the view would hold under it, its other filters staying."""
        everything = self.matching(replace(view, state=ALL))
        states = Counter(self.state(entry.key, view) for entry in everything)
        return {state: len(everything) if state == ALL else states[state] for state in STATES}

    def classes(self) -> tuple[str, ...]:
        """Return the labels that occur, sorted."""
        return tuple(sorted({entry.label for entry in self._known.shown}))

    def factors(self) -> tuple[str, ...]:
        """Return the factors that occur, sorted."""
        return tuple(sorted({entry.factor for entry in self._known.shown}))


def _with_entries(before: _Known, entries: tuple[Entry, ...]) -> _Known:
    """Return these entries without any decision."""
    variations: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        variations.setdefault((entry.study, entry.edited_caption), []).append(entry.key)
    named = {entry.key: entry for entry in entries}
    return _Known(read=entries, entries=named, variations=variations, version=before.version)
