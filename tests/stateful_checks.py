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
            for window in self.windows:
                self.check(window)
        finally:
            for window in self.windows:
                window.store.close()
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
        there = {photo: shown_photo for photo, shown_photo in truth.photos.items() if not shown_photo.away}
        told = {
            study.key: (
                study.label,
                study.label_source,
                study.caption,
                study.classifier,
                study.perturbations,
                study.counterfactuals,
            )
            for study in store.studies()
        }
        assert told == {
            key("photo", photo): (
                *(shown_photo.label, shown_photo.source, shown_photo.caption, JUDGES[shown_photo.judge].name),
                len(truth.proposals.get((photo, shown_photo.caption), {})),
                sum((each.photo, each.caption) == (photo, shown_photo.caption) for each in truth.edits.values()),
            )
            for photo, shown_photo in there.items()
        }
        assert store.put_away_photos() == {key("photo", photo) for photo in truth.photos.keys() - there.keys()}
        for name in ("", "colour", "other"):
            judges = {
                photo: truth.current.get(name or JUDGES[shown_photo.judge].name) for photo, shown_photo in there.items()
            }
            shown = {
                key("photo", photo): (
                    shown_photo.label,
                    shown_photo.caption,
                    judge,
                    self.keys_of(photo, shown_photo.caption, judge),
                )
                for photo, shown_photo in there.items()
                if (judge := judges[photo]) is not None and (judge, key("photo", photo)) in truth.judged
            }
            assert self.records(store, name) == shown
        for photo, shown_photo in truth.photos.items():
            self.check_study(store, photo, shown_photo)

    def records(self, store: Store, name: str) -> dict[str, tuple[str, str, int, list[str]]]:
        """Photo -> what its record tells; the classifier by its numbers."""
        found = {}
        for study in store.records(name):
            judge = next(
                n for n, judge in enumerate(JUDGES) if same(study.photo.prediction, judgement(n, study.photo.key))
            )
            keys = [each.key for each in study.counterfactuals]
            assert all(
                e.prediction == judgement(judge, self.truth.edits[e.key].picture).standing(study.photo.label)
                for e in study.counterfactuals
            )
            found[study.photo.key] = study.photo.label, study.caption, judge, keys
        return found

    def keys_of(self, photo: int, caption: str, judge: int) -> list[str]:
        """Edits of a photo under a caption that a classifier judged."""
        edits = self.truth.edits.items()
        return [
            name
            for name, edit in edits
            if (edit.photo, edit.caption) == (photo, caption) and (judge, edit.picture) in self.truth.judged
        ]

    def check_study(self, store: Store, photo: int, shown_photo: Shown) -> None:
        truth, judge = self.truth, self.truth.now(shown_photo.judge)
        study = store.load_study(key("photo", photo))
        if (judge, key("photo", photo)) not in truth.judged:
            assert study is None
            return
        assert study is not None
        assert (study.photo.label, study.caption, study.photo.classifier) == (
            shown_photo.label,
            shown_photo.caption,
            JUDGES[judge].name,
        )
        there = truth.proposals.get((photo, shown_photo.caption), {})
        assert [(each.edit, each.rejected_by) for each in study.perturbations] == [
            (w, said(e)) for w, e in there.items()
        ]
        assert [each.key for each in study.counterfactuals] == self.keys_of(photo, shown_photo.caption, judge)
        assert (study.reconstruction is not None) == ((photo, shown_photo.caption) in truth.reconstructed)

    def check_edits(self, store: Store) -> None:
        truth, entries = self.truth, store.entries()
        assert [entry.key for entry in entries] == truth.listed()
        for entry in entries:
            edit = truth.edits[entry.key]
            label = truth.photos[edit.photo].label
            after = judgement(truth.now(edit.judge), edit.picture).probability(label)
            assert (entry.label, entry.caption, entry.tau, entry.missed) == (label, edit.caption, edit.tau, edit.missed)
            assert abs(entry.after - after) < 1e-6
        if truth.edits:
            assert [made.key for _, made in store.pairs(self.whole())] == self.whole()

    def whole(self) -> list[str]:
        """Edits that can be opened: those whose photo was judged by the classifier they were drawn for."""
        return [
            name
            for name, edit in self.truth.edits.items()
            if self.truth.is_judged(edit.judge, edit) or self.truth.is_judged(self.truth.now(edit.judge), edit)
        ]

    def check_decisions(self, at: Window) -> None:
        truth = self.truth
        shown = {edit: truth.holds(edit) for edit in truth.edits if not truth.hidden(edit)}
        told = {name: decision.verdict for name, decision in at.store.decisions().items()}
        assert told == {name: state for name, state in shown.items() if state not in (WAITING, CONFLICT)}
        log = at.store.log()
        assert len(log) == sum(len(entries) for decision, entries in truth.log.items() if not truth.hidden(decision))
        assert len(log) == len({decision.id for decision in log})
        at.catalogue.refresh()
        picked = {name for name in truth.log if not truth.hidden(name)}
        assert at.catalogue.shown() == tuple(listed(at.store.entries(), picked))
        for name in truth.listed():
            assert at.catalogue.holds(name) == shown[name]
            assert {each.analyst: each.verdict for each in at.catalogue.said(name)} == truth.spoken(name)
        done, undone = stacks(at.catalogue.log, at.analyst)
        assert tuple(map(len, (done, undone))) == tuple(map(len, truth.stacks(at.analyst)))

    def check_rest(self, store: Store) -> None:
        truth = self.truth
        frozen = [frozen for frozen in reversed(truth.frozen) if not all(map(truth.hidden, frozen[2]))]
        assert [(frozen.name, frozen.version, frozen.items) for frozen in store.sets()] == frozen
        for photo in truth.photos:
            written = [
                (rewording.before, rewording.caption, rewording.analyst)
                for rewording in store.rewordings(key("photo", photo))
            ]
            assert written == truth.rewordings.get(photo, [])
        told = {job.id: (job.state, job.attempts, job.stop) for job in store.jobs.all()}
        assert told == {name: (job.state, job.attempts, job.stop) for name, job in truth.jobs.items()}
        for run in JOBS:
            assert store.finished(run) == {photo for name, photo in truth.finished if name == run}
            assert {failure.name for failure in store.failures(run)} == {
                name for job, name in truth.failed if job == run
            }


def same(shown_photo: Prediction, other: Prediction) -> bool:
    return np.array_equal(shown_photo.probabilities, other.probabilities)
