"""What every window shows, compared with the model after every step."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
from hypothesis.stateful import RuleBasedStateMachine, invariant

from pipeline.curation.catalogue import CONFLICT, WAITING, Catalogue
from pipeline.store.decisions import stacks
from pipeline.store.jobs import Hold
from pipeline.store.queue import listed
from pipeline.store.store import Store
from pipeline.types import Prediction
from tests.stateful_objects import JOBS, JUDGES, judgement, key
from tests.stateful_truth import Memory, Shown, Truth, said

WINDOWS = ("Ada", "Ada", "Grace", "job")  # who sits at each


class Window:
    """A process with a store of its own."""

    def __init__(self, analyst: str, root: Path, database: str) -> None:
        self.analyst, self.store, self.memory = analyst, Store(root, database), Memory()
        self.catalogue = Catalogue(self.store)


class Watched(RuleBasedStateMachine):
    """A data folder in several windows, each of which has to show the truth; the steps are in `tests/stateful.py`."""

    fresh: ClassVar[Callable[[], tuple[Path, str]]]  # an empty data folder and its database's address
    taken: ClassVar[int] = 0  # steps, over all runs

    def __init__(self) -> None:
        super().__init__()
        root, database = type(self).fresh()
        self.root, self.truth, self.numbers = root, Truth(), 0
        self.windows = [Window(name, root, database) for name in WINDOWS]
        self.holds: list[tuple[Hold, int]] = []  # whoever ever held a job, with the token it held it by

    def teardown(self) -> None:
        try:
            for one in self.windows:
                self.check(one)
        finally:
            for one in self.windows:
                one.store.close()
            shutil.rmtree(self.root, ignore_errors=True)

    @invariant()
    def a_window_shows_the_truth(self) -> None:
        """Each in its turn, so that its caches pass over what happened since."""
        type(self).taken += 1
        self.check(self.windows[self.taken % len(self.windows)])

    def check(self, at: Window) -> None:
        """All that a window can show."""
        self.check_photos(at.store)
        self.check_edits(at.store)
        self.check_decisions(at)
        self.check_rest(at.store)

    def check_photos(self, store: Store) -> None:
        truth = self.truth
        there = {photo: one for photo, one in truth.photos.items() if not one.away}
        told = {
            one.key: (one.label, one.label_source, one.caption, one.classifier, one.perturbations, one.counterfactuals)
            for one in store.studies()
        }
        assert told == {
            key("photo", photo): (
                *(one.label, one.source, one.caption, JUDGES[one.judge].name),
                len(truth.proposals.get((photo, one.caption), {})),
                sum((each.photo, each.caption) == (photo, one.caption) for each in truth.edits.values()),
            )
            for photo, one in there.items()
        }
        assert store.put_away_photos() == {key("photo", photo) for photo in truth.photos.keys() - there.keys()}
        for name in ("", "colour", "other"):
            judges = {photo: truth.current.get(name or JUDGES[one.judge].name) for photo, one in there.items()}
            shown = {
                key("photo", photo): (one.label, one.caption, judge, self.keys_of(photo, one.caption, judge))
                for photo, one in there.items()
                if (judge := judges[photo]) is not None and (judge, key("photo", photo)) in truth.judged
            }
            assert self.records(store, name) == shown
        for photo, one in truth.photos.items():
            self.check_study(store, photo, one)

    def records(self, store: Store, name: str) -> dict[str, tuple[str, str, int, list[str]]]:
        """Photo -> what its record tells; the classifier by its numbers."""
        found = {}
        for one in store.records(name):
            judge = next(n for n, judge in enumerate(JUDGES) if same(one.photo.prediction, judgement(n, one.photo.key)))
            keys = [each.key for each in one.counterfactuals]
            assert all(
                e.prediction == judgement(judge, self.truth.edits[e.key].picture).standing(one.photo.label)
                for e in one.counterfactuals
            )
            found[one.photo.key] = one.photo.label, one.caption, judge, keys
        return found

    def keys_of(self, photo: int, caption: str, judge: int) -> list[str]:
        """Edits of a photo under a caption that a classifier judged."""
        edits = self.truth.edits.items()
        return [
            name
            for name, one in edits
            if (one.photo, one.caption) == (photo, caption) and (judge, one.picture) in self.truth.judged
        ]

    def check_study(self, store: Store, photo: int, one: Shown) -> None:
        truth, judge = self.truth, self.truth.now(one.judge)
        study = store.load_study(key("photo", photo))
        if (judge, key("photo", photo)) not in truth.judged:
            assert study is None
            return
        assert study is not None
        assert (study.photo.label, study.caption, study.photo.classifier) == (
            one.label,
            one.caption,
            JUDGES[judge].name,
        )
        there = truth.proposals.get((photo, one.caption), {})
        assert [(each.edit, each.rejected_by) for each in study.perturbations] == [
            (w, said(e)) for w, e in there.items()
        ]
        assert [each.key for each in study.counterfactuals] == self.keys_of(photo, one.caption, judge)
        assert (study.reconstruction is not None) == ((photo, one.caption) in truth.reconstructed)

    def check_edits(self, store: Store) -> None:
        truth, entries = self.truth, store.entries()
        assert [one.key for one in entries] == truth.listed()
        for one in entries:
            edit = truth.edits[one.key]
            label = truth.photos[edit.photo].label
            after = judgement(truth.now(edit.judge), edit.picture).probability(label)
            assert (one.label, one.caption, one.tau, one.missed) == (label, edit.caption, edit.tau, edit.missed)
            assert abs(one.after - after) < 1e-6
        if truth.edits:
            assert [made.key for _, made in store.pairs(self.whole())] == self.whole()

    def whole(self) -> list[str]:
        """Edits that can be opened: those whose photo was judged by the classifier they were drawn for."""
        return [
            name
            for name, one in self.truth.edits.items()
            if self.truth.is_judged(one.judge, one) or self.truth.is_judged(self.truth.now(one.judge), one)
        ]

    def check_decisions(self, at: Window) -> None:
        truth = self.truth
        shown = {one: truth.holds(one) for one in truth.edits if not truth.hidden(one)}
        told = {one: decision.verdict for one, decision in at.store.decisions().items()}
        assert told == {one: state for one, state in shown.items() if state not in (WAITING, CONFLICT)}
        log = at.store.log()
        assert len(log) == sum(len(entries) for one, entries in truth.log.items() if not truth.hidden(one))
        assert len(log) == len({one.id for one in log})
        at.catalogue.refresh()
        picked = {one for one in truth.log if not truth.hidden(one)}
        assert at.catalogue.shown() == tuple(listed(at.store.entries(), picked))
        for one in truth.listed():
            assert at.catalogue.holds(one) == shown[one]
            assert {each.analyst: each.verdict for each in at.catalogue.said(one)} == truth.spoken(one)
        done, undone = stacks(at.catalogue.log, at.analyst)
        assert tuple(map(len, (done, undone))) == tuple(map(len, truth.stacks(at.analyst)))

    def check_rest(self, store: Store) -> None:
        truth = self.truth
        frozen = [one for one in reversed(truth.frozen) if not all(map(truth.hidden, one[2]))]
        assert [(one.name, one.version, one.items) for one in store.sets()] == frozen
        for photo in truth.photos:
            written = [(one.before, one.caption, one.analyst) for one in store.rewordings(key("photo", photo))]
            assert written == truth.rewordings.get(photo, [])
        told = {one.id: (one.state, one.attempts, one.stop) for one in store.jobs.all()}
        assert told == {name: (one.state, one.attempts, one.stop) for name, one in truth.jobs.items()}
        for run in JOBS:
            assert store.finished(run) == {photo for name, photo in truth.finished if name == run}
            assert {one.name for one in store.failures(run)} == {name for job, name in truth.failed if job == run}


def same(one: Prediction, other: Prediction) -> bool:
    return np.array_equal(one.probabilities, other.probabilities)
