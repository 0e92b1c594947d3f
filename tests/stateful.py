"""Two analysts and a job at work on one data folder, judged after every step by a plain model of what must be there.

`python -m tests.stateful --steps 20000 --database sqlite` prints how many steps were taken and how many differences
were found, and ends with status 1 when there are any. Ada has two windows, Grace one, the job one: each is a store of
its own, as in a process of its own, with its own caches, and each remembers what it saw last, so that it is often out
of date. hypothesis chooses what is done next and makes what failed short.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import hypothesis
import numpy as np
import PIL.Image
import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from PIL.Image import Image

from pipeline.curation.catalogue import CONFLICT, WAITING, Catalogue
from pipeline.errors import ConflictError, DataError
from pipeline.images import key_of
from pipeline.store import jobs
from pipeline.store.decisions import RESOLVE, stacks
from pipeline.store.jobs import ATTEMPTS, CANCELLED, DONE, ENDED, FAILED, INTERRUPTED, RUNNING, Hold, Job
from pipeline.store.jobs import WAITING as WAITS
from pipeline.store.queue import listed
from pipeline.store.store import Store
from pipeline.types import (
    ANALYST,
    CONFIRMED,
    FOLDER,
    GUESS,
    UNKNOWN,
    Counterfactual,
    Decision,
    Judged,
    Perturbation,
    Photo,
    Prediction,
    Scores,
)
from tests.postgres import Server, binaries, serving

LABELS = ("red", "green", "blue")
TAUS = (0.3, 0.6)
GATES = ((), ("The gate of the test objects.",))
WINDOWS = ("Ada", "Ada", "Grace", "job")  # who sits at each
SOURCES = (GUESS, UNKNOWN, FOLDER, ANALYST)  # of labels; each outranks those before it
JUDGES = tuple(
    Judged(name=name, labels=LABELS, fingerprint=fingerprint)
    for name, fingerprint in (("colour", "first"), ("colour", "retrained"), ("other", "first"))
)
JOBS = ("job-0", "job-1")
PROFILE = "seams"
SCORES = Scores(
    image_similarity=0.9, source_alignment=0.3, edited_alignment=0.3, directional_similarity=0.5, prefers_edit=0.1
)
LONG = 60  # steps of one folder
Choice = tuple[str, ...] | None

WINDOW, PHOTO, JUDGE, PLACE = (st.integers(0, most) for most in (len(WINDOWS) - 1, 2, len(JUDGES) - 1, 1000))
CAPTION = st.sampled_from(("a plane", "a wall"))
WORDS = st.sampled_from(("on yellow", "under blue", "beside green"))
SOME_WORDS = st.lists(WORDS, min_size=1, max_size=2, unique=True)
CHOICE = st.sampled_from(((), ("You rejected it.",), None))


@cache
def picture(*parts: object) -> Image:
    """A picture of its own for everything that has one."""
    pixels = np.frombuffer(hashlib.sha256(repr(parts).encode()).digest() * 6, np.uint8)
    return PIL.Image.fromarray(pixels.reshape(8, 8, 3).copy())


@cache
def key(*parts: object) -> str:
    """Its key."""
    return key_of(picture(*parts))


def photo_of(number: int, label: str, source: str, judge: int) -> Photo:
    """A photo as a classifier sees it."""
    return Photo(
        key=key("photo", number),
        image=picture("photo", number),
        label=label,
        label_source=source,
        prediction=judgement(judge, key("photo", number)),
        name=f"{number}.png",
        classifier=JUDGES[judge].name,
        fingerprint=JUDGES[judge].fingerprint,
    )


@cache
def judgement(judge: int, shown: str) -> Prediction:
    """What a classifier makes of a picture: other numbers for every two."""
    seed = int(hashlib.sha256(f"{JUDGES[judge].fingerprint}{JUDGES[judge].name}{shown}".encode()).hexdigest()[:8], 16)
    weights = np.random.default_rng(seed).random(len(LABELS)).astype(np.float32)
    return Prediction(labels=LABELS, probabilities=weights / weights.sum())


def perturbation(caption: str, words: str, refused: tuple[str, ...] = ()) -> Perturbation:
    """A variation of a caption."""
    return Perturbation(
        caption=caption,
        edited_caption=f"{caption} {words}",
        factor="object",
        original="",
        edit=words,
        rejected_by=refused,
    )


def drawn(photo: int, caption: str, words: str, tau: float, judge: int) -> Counterfactual:
    """An edit of a photo, judged."""
    shown = picture("edit", photo, caption, words, tau)
    return Counterfactual(
        key=f"{photo} {caption} {words} {tau}",
        perturbation=perturbation(caption, words),
        tau=tau,
        image=shown,
        scores=SCORES,
        prediction=judgement(judge, key_of(shown)),
        missed=(),
        settings={},
        scorer="clip",
    )


@dataclass
class Act:
    """Something an analyst did at one time; an undone one counts no more, a redone one from then on."""

    name: str
    analyst: str
    verdicts: dict[str, str]
    resolves: bool = False
    undone: bool = False


@dataclass
class Shown:
    """A photo as it must be."""

    label: str
    source: str
    judge: int  # the classifier it is shown under
    caption: str = ""
    away: bool = False

    @property
    def said(self) -> str:
        """The label that somebody gave; a guess is nobody's word."""
        return self.label if self.source in CONFIRMED else ""


@dataclass
class Edit:
    """A counterfactual as it must be."""

    photo: int
    caption: str
    words: str
    tau: float
    judge: int  # it was drawn for
    picture: str
    missed: tuple[str, ...] = ()


@dataclass
class Held:
    """A job as it must be, and whose it is: `token` names the latest taking."""

    state: str
    attempts: int = 0
    stop: bool = False
    token: int = 0


@dataclass
class Truth:
    """The plain model: what must be in the data folder."""

    photos: dict[int, Shown] = field(default_factory=dict)
    proposals: dict[tuple[int, str], dict[str, list[Choice]]] = field(default_factory=dict)  # gates, analyst's word
    reconstructed: set[tuple[int, str]] = field(default_factory=set)
    edits: dict[str, Edit] = field(default_factory=dict)  # in the order they were made
    judged: set[tuple[int, str]] = field(default_factory=set)
    current: dict[str, int] = field(default_factory=dict)  # name -> the judge that bears it now
    acts: list[Act] = field(default_factory=list)  # in the order in which they count
    steps: list[tuple[str, str, str]] = field(default_factory=list)  # (analyst, "do", "undo" or "redo", act), as sent
    log: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)  # edit -> (analyst, settles) of its entries
    sets: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    rewordings: dict[int, list[tuple[str, str, str]]] = field(default_factory=dict)
    jobs: dict[str, Held] = field(default_factory=dict)
    frozen: list[tuple[str, int, tuple[str, ...]]] = field(default_factory=list)
    finished: set[tuple[str, str]] = field(default_factory=set)
    failed: set[tuple[str, str]] = field(default_factory=set)

    def use(self, judge: int) -> None:
        """This classifier bears its name from now on."""
        self.current[JUDGES[judge].name] = judge

    def now(self, judge: int) -> int:
        """What bears this classifier's name now."""
        return self.current[JUDGES[judge].name]

    def hidden(self, edit: str) -> bool:
        return self.photos[self.edits[edit].photo].away

    def spoken(self, edit: str) -> dict[str, str]:
        """Analyst -> the verdict that counts."""
        said: dict[str, str] = {}
        for act in self.acts:
            if act.undone or edit not in act.verdicts:
                continue
            if act.resolves:
                said.clear()
            said[act.analyst] = act.verdicts[edit]
        return {analyst: verdict for analyst, verdict in said.items() if verdict}

    def holds(self, edit: str) -> str:
        verdicts = set(self.spoken(edit).values())
        return CONFLICT if len(verdicts) > 1 else next(iter(verdicts), WAITING)

    def stacks(self, analyst: str) -> tuple[list[Act], list[Act]]:
        """What can be undone and redone, the next one last; acts of which nothing is shown are passed over."""
        done: list[Act] = []
        undone: list[Act] = []
        named = {act.name: act for act in self.acts}
        for who, what, name in self.steps:
            act = named[name]
            if who != analyst or all(map(self.hidden, act.verdicts)):
                continue
            if what == "do":
                done.append(act)
                undone.clear()
            else:
                source, target = (done, undone) if what == "undo" else (undone, done)
                if act in source:
                    source.remove(act)
                    target.append(act)
        return done, undone

    def visible(self, judge: int) -> list[str]:
        """Edits that are listed under a classifier, with the photos it judged."""
        return [name for name, one in self.edits.items() if self.is_judged(judge, one) and not self.hidden(name)]

    def is_judged(self, judge: int, one: Edit) -> bool:
        return {(judge, one.picture), (judge, key("photo", one.photo))} <= self.judged

    def listed(self) -> list[str]:
        """Edits that are listed under the classifiers that they were drawn for."""
        return [
            name
            for name, one in self.edits.items()
            if self.is_judged(self.now(one.judge), one) and not self.hidden(name)
        ]


@dataclass
class Memory:
    """What a window saw last."""

    labels: dict[int, str] = field(default_factory=dict)
    captions: dict[int, str] = field(default_factory=dict)
    ticks: dict[tuple[int, str, str], tuple[str, ...]] = field(default_factory=dict)
    numbers: dict[str, tuple[int, int]] = field(default_factory=dict)  # edit -> newest number, entries until then


class Window:
    """A process with a store of its own."""

    def __init__(self, analyst: str, root: Path, database: str) -> None:
        self.analyst, self.store, self.memory = analyst, Store(root, database), Memory()
        self.catalogue = Catalogue(self.store)


class Folder(RuleBasedStateMachine):
    """The steps; each does in the store what it does in the model."""

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

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    # -- photos, labels, captions

    @rule(window=WINDOW, photo=PHOTO, label=st.sampled_from(LABELS), source=st.sampled_from(SOURCES), judge=JUDGE)
    def open_photo(self, window: int, photo: int, label: str, source: str, judge: int) -> None:
        self.windows[window].store.add_photo(photo_of(photo, label, source, judge))
        truth = self.truth
        truth.use(judge)
        truth.judged.add((judge, key("photo", photo)))
        known = truth.photos.setdefault(photo, Shown(label, source, judge))
        if SOURCES.index(source) > SOURCES.index(known.source):
            known.label, known.source = label, source
        known.away = False

    def needs(self, photo: int) -> AbstractContextManager[None]:
        """What is said of a photo that is not there is refused."""
        return refused(DataError, photo not in self.truth.photos)

    @rule(window=WINDOW, photo=PHOTO, label=st.sampled_from(LABELS), blind=st.booleans())
    def set_label(self, window: int, photo: int, label: str, blind: bool) -> None:
        at, known = self.windows[window], self.truth.photos.get(photo)
        seen = None if blind else at.memory.labels.get(photo)
        late = known is not None and seen is not None and bool(known.said) and known.said not in (seen, label)
        with self.needs(photo), refused(ConflictError, late):
            at.store.set_label(key("photo", photo), label, analyst=at.analyst, expected=seen)
            assert known is not None
            known.label, known.source = label, ANALYST

    @rule(window=WINDOW, photo=PHOTO, judge=JUDGE)
    def set_classifier(self, window: int, photo: int, judge: int) -> None:
        known = self.truth.photos.get(photo)
        if known is None or (judge, key("photo", photo)) not in self.truth.judged:
            return  # a page offers what has judged the photo
        self.windows[window].store.set_classifier(key("photo", photo), JUDGES[judge])
        known.judge = judge
        self.truth.use(judge)

    @rule(window=WINDOW, photo=PHOTO, caption=CAPTION, by_hand=st.booleans(), blind=st.booleans())
    def set_caption(self, window: int, photo: int, caption: str, by_hand: bool, blind: bool) -> None:
        at, known = self.windows[window], self.truth.photos.get(photo)
        seen = None if blind else at.memory.captions.get(photo)
        late = known is not None and seen is not None and known.caption not in (seen, caption)
        analyst = at.analyst if by_hand else None
        with self.needs(photo), refused(ConflictError, late):
            at.store.set_caption(key("photo", photo), caption, analyst=analyst, expected=seen)
            assert known is not None
            if analyst is not None and known.caption != caption:
                self.truth.rewordings.setdefault(photo, []).append((known.caption, caption, analyst))
            known.caption = caption
            self.truth.proposals.setdefault((photo, caption), {})

    # -- variations

    @rule(window=WINDOW, photo=PHOTO, caption=CAPTION, words=SOME_WORDS, gates=st.sampled_from(GATES))
    def add_proposals(self, window: int, photo: int, caption: str, words: list[str], gates: tuple[str, ...]) -> None:
        made = [perturbation(caption, one, gates) for one in words]
        with self.needs(photo):
            self.windows[window].store.add_proposals(key("photo", photo), caption, made)
            there = self.truth.proposals.setdefault((photo, caption), {})
            for one in words:
                there.setdefault(one, [(), None])[0] = gates

    @rule(window=WINDOW, photo=PHOTO, caption=CAPTION, words=SOME_WORDS, choice=CHOICE, blind=st.booleans())
    def tick(self, window: int, photo: int, caption: str, words: list[str], choice: Choice, blind: bool) -> None:
        at, there = self.windows[window], self.truth.proposals.get((photo, caption), {})
        seen = {} if blind else {w: s for w in words if (s := at.memory.ticks.get((photo, caption, w))) is not None}
        missing = next((place for place, one in enumerate(words) if one not in there), len(words))
        wrong = [place for place, w in enumerate(words) if w in seen and w in there]
        late = next(
            (place for place in wrong if said(there[words[place]]) not in (seen[words[place]], choice)), len(words)
        )
        decided = {f"{caption} {one}": choice for one in words}
        expected = {f"{caption} {one}": value for one, value in seen.items()}
        # The first of them that cannot be done names the fault.
        with (
            refused(DataError, missing < late or photo not in self.truth.photos),
            refused(ConflictError, late < missing),
        ):
            at.store.tick(key("photo", photo), caption, decided, expected)
            for one in words:
                there[one][1] = choice

    # -- pictures and judgements

    @rule(window=WINDOW, photo=PHOTO, caption=CAPTION)
    def set_reconstruction(self, window: int, photo: int, caption: str) -> None:
        with self.needs(photo):
            shown = picture("control", photo, caption)
            self.windows[window].store.set_reconstruction(key("photo", photo), caption, shown)
            self.truth.reconstructed.add((photo, caption))
            self.truth.proposals.setdefault((photo, caption), {})

    @rule(window=WINDOW, photo=PHOTO, caption=CAPTION, words=SOME_WORDS, judge=JUDGE)
    def add_counterfactuals(self, window: int, photo: int, caption: str, words: list[str], judge: int) -> None:
        with self.needs(photo):
            self.draw(self.windows[window].store, photo, caption, words, judge)

    def draw(self, store: Store, photo: int, caption: str, words: list[str], judge: int) -> None:
        """Adds edits at every tau, in the store and then in the model."""
        made = [drawn(photo, caption, one, tau, judge) for one in words for tau in TAUS]
        store.add_counterfactuals(key("photo", photo), caption, made, JUDGES[judge])
        self.truth.use(judge)
        self.truth.proposals.setdefault((photo, caption), {})
        for one in made:
            shown = key_of(one.image)
            words_of = one.perturbation.edit
            self.truth.edits.setdefault(one.key, Edit(photo, caption, words_of, one.tau, judge, shown))
            self.truth.judged.add((judge, shown))

    @rule(window=WINDOW, judge=JUDGE, photo=PHOTO)
    def judge_photo(self, window: int, judge: int, photo: int) -> None:
        """A classifier looks at everything there is of a photo."""
        pictures = {key("photo", photo), *(one.picture for one in self.truth.edits.values() if one.photo == photo)}
        if photo not in self.truth.photos:
            return
        self.windows[window].store.add_judgements(JUDGES[judge], {one: judgement(judge, one) for one in pictures})
        self.truth.use(judge)
        self.truth.judged |= {(judge, one) for one in pictures}

    @rule(window=WINDOW, place=PLACE, missed=st.sampled_from(GATES))
    def score(self, window: int, place: int, missed: tuple[str, ...]) -> None:
        if name := self.edit_at(place):
            one = self.truth.edits[name]
            made = drawn(one.photo, one.caption, one.words, one.tau, one.judge)
            self.windows[window].store.set_scores([replace(made, missed=missed)])
            one.missed = missed

    def edit_at(self, place: int) -> str:
        """One of the edits, "" while there are none."""
        names = list(self.truth.edits)
        return names[place % len(names)] if names else ""

    # -- decisions

    @rule(
        window=st.integers(0, 2),
        places=st.lists(PLACE, min_size=1, max_size=3),
        verdict=st.sampled_from(("keep", "reject", "unsure", "")),
        resolves=st.booleans(),
        blind=st.booleans(),
    )
    def decide(self, window: int, places: list[int], verdict: str, resolves: bool, blind: bool) -> None:
        at, names = self.windows[window], list(dict.fromkeys(filter(None, map(self.edit_at, places))))
        names = [one for one in names if not self.truth.hidden(one)]  # a page offers what is shown
        if not names:
            return
        act = f"act-{self.number()}"
        kind = RESOLVE if resolves and verdict else ""
        made = [
            Decision(id=f"{act}-{n}", counterfactual=one, verdict=verdict, analyst=at.analyst, act=act, kind=kind)
            for n, one in enumerate(names)
        ]
        seen = {} if blind else {one: at.memory.numbers[one] for one in names if one in at.memory.numbers}
        since = [entry for one, (_, count) in seen.items() for entry in self.truth.log.get(one, [])[count:]]
        late = any(kind or settles or analyst == at.analyst for analyst, settles in since)
        with refused(ConflictError, late):
            stored = at.store.decide_all(made, {one: number for one, (number, _) in seen.items()})
            assert at.store.decide_all(made) == stored, "the same request again is the same act"
            self.truth.acts.append(Act(act, at.analyst, dict.fromkeys(names, verdict), bool(kind)))
            self.noted("do", self.truth.acts[-1])

    def noted(self, what: str, act: Act) -> None:
        """An act is in the log."""
        self.truth.steps.append((act.analyst, what, act.name))
        for one in act.verdicts:
            self.truth.log.setdefault(one, []).append((act.analyst, act.resolves and what != "undo"))

    @rule(window=st.integers(0, 2))
    def undo(self, window: int) -> None:
        at, (done, _) = self.windows[window], self.truth.stacks(self.windows[window].analyst)
        request = f"undo-{self.number()}"
        made = at.store.undo(at.analyst, request)
        assert at.store.undo(at.analyst, request) == made
        assert {one.counterfactual for one in made} == set(done[-1].verdicts if done else ())
        if done:
            done[-1].undone = True
            self.noted("undo", done[-1])

    @rule(window=st.integers(0, 2))
    def redo(self, window: int) -> None:
        at, (_, undone) = self.windows[window], self.truth.stacks(self.windows[window].analyst)
        made = at.store.redo(at.analyst, f"redo-{self.number()}")
        assert {one.counterfactual for one in made} == set(undone[-1].verdicts if undone else ())
        if undone:
            act = undone[-1]
            self.noted("redo", act)
            self.truth.acts.remove(act)
            self.truth.acts.append(act)
            act.undone = False

    @rule(window=WINDOW, name=st.sampled_from(("robust", "weak")), words=st.none() | WORDS)
    def freeze(self, window: int, name: str, words: str | None) -> None:
        chosen = None if words is None else {key for key, one in self.truth.edits.items() if one.words == words}
        kept = [one for one in self.truth.edits if self.truth.holds(one) == "keep" and not self.truth.hidden(one)]
        items = tuple(one for one in kept if chosen is None or one in chosen)
        with refused(DataError, not items):
            frozen = self.windows[window].store.freeze(name, chosen)
            versions = self.truth.sets.setdefault(name, [])
            if not versions or versions[-1] != items:
                versions.append(items)
                self.truth.frozen.append((name, len(versions), items))
            assert (frozen.version, frozen.items) == (len(versions), items)

    # -- photos that are put away, files of runs

    @rule(window=WINDOW, photo=PHOTO, away=st.booleans())
    def put_away(self, window: int, photo: int, away: bool) -> None:
        if photo in self.truth.photos:
            store = self.windows[window].store
            (store.put_away if away else store.bring_back)([key("photo", photo)])
            self.truth.photos[photo].away = away

    @rule(window=WINDOW, photo=PHOTO, other=PHOTO)
    def swap_away(self, window: int, photo: int, other: int) -> None:
        """One goes and another comes before anybody looks."""
        if photo != other and {photo, other} <= self.truth.photos.keys():
            store = self.windows[window].store
            store.put_away([key("photo", photo)])
            store.bring_back([key("photo", other)])
            self.truth.photos[photo].away, self.truth.photos[other].away = True, False

    @rule(window=WINDOW, run=st.sampled_from(JOBS), photo=PHOTO, fails=st.booleans())
    def finish(self, window: int, run: str, photo: int, fails: bool) -> None:
        store, name = self.windows[window].store, f"{photo}.png"
        if fails:
            store.fail(run, name, "It is broken.")
            self.truth.failed.add((run, name))
        else:
            store.finish(run, key("photo", photo), name)
            self.truth.finished.add((run, key("photo", photo)))
            self.truth.failed.discard((run, name))

    # -- jobs

    @rule(window=WINDOW, name=st.sampled_from(JOBS))
    def add_job(self, window: int, name: str) -> None:
        self.windows[window].store.jobs.add(Job(id=name, kind="study", title=name, profile=PROFILE), "{}")
        known = self.truth.jobs.setdefault(name, Held(WAITS))
        if known.state in ENDED and known.state != DONE:
            known.state, known.attempts, known.stop = WAITS, 0, False

    @rule(window=st.integers(2, 3), lapsed=st.booleans())
    def take(self, window: int, lapsed: bool) -> None:
        """A process looks for a job, and with `lapsed` counts whoever holds one as gone."""
        with lease(0.0 if lapsed else 1e9):
            hold = self.windows[window].store.jobs.take(PROFILE)
        free = [
            name for name, one in self.truth.jobs.items() if one.state == WAITS or (lapsed and one.state == RUNNING)
        ]
        for name in free:
            one = self.truth.jobs[name]
            if one.stop:
                one.state = CANCELLED
            elif one.attempts >= ATTEMPTS:
                one.state = INTERRUPTED
            else:
                one.state, one.attempts, one.token = RUNNING, one.attempts + 1, self.number()
                assert hold is not None
                assert hold.job.id == name
                self.holds.append((hold, one.token))
                return
        assert hold is None

    def hold_at(self, place: int) -> tuple[Hold, Held, bool] | None:
        """Somebody who took a job once and has not let it go: the hold, the job, and whether it is lost by now."""
        holds = [one for one in self.holds if one[0].job.state == RUNNING]
        if not holds:
            return None
        hold, token = holds[place % len(holds)]
        job = self.truth.jobs[hold.job.id]
        return hold, job, job.token != token or job.state != RUNNING

    @rule(place=PLACE, progress=st.booleans())
    def beat(self, place: int, progress: bool) -> None:
        if found := self.hold_at(place):
            hold, job, lost = found
            if progress:
                hold.kept()
            with refused(ConflictError, lost):
                hold.beat()
                job.attempts = 0 if progress else job.attempts

    @rule(place=PLACE, state=st.sampled_from((DONE, FAILED, CANCELLED, WAITS)))
    def end(self, place: int, state: str) -> None:
        if found := self.hold_at(place):
            hold, job, lost = found
            with refused(ConflictError, lost):
                hold.end(state)
                job.state = state

    @rule(window=WINDOW, name=st.sampled_from(JOBS))
    def cancel(self, window: int, name: str) -> None:
        job = self.truth.jobs.get(name)
        with refused(DataError, job is None), refused(ConflictError, job is not None and job.state in ENDED):
            self.windows[window].store.jobs.cancel(name)
            assert job is not None
            if job.state == WAITS:
                job.state = CANCELLED
            else:
                job.stop = True

    @rule(window=WINDOW, name=st.sampled_from(JOBS))
    def retry(self, window: int, name: str) -> None:
        job = self.truth.jobs.get(name)
        with refused(DataError, job is None), refused(ConflictError, job is not None and job.state not in ENDED):
            self.windows[window].store.jobs.retry(name)
            assert job is not None
            job.state, job.attempts, job.stop = WAITS, 0, False

    @rule(place=PLACE, photo=PHOTO, caption=CAPTION, words=SOME_WORDS)
    def work(self, place: int, photo: int, caption: str, words: list[str]) -> None:
        """A job saves what it made, as long as it holds its lease; one that was paused too long does not."""
        found = self.hold_at(place)
        if found and photo in self.truth.photos:
            hold, _, lost = found
            with refused(ConflictError, lost):
                self.draw(self.windows[3].store.fenced(hold), photo, caption, words, 0)

    # -- what is seen

    @rule(window=WINDOW)
    def look(self, window: int) -> None:
        """A window shows what there is; until it looks again that is what it knows."""
        at, truth = self.windows[window], self.truth
        at.catalogue.refresh()
        at.memory = Memory(
            labels={photo: one.said for photo, one in truth.photos.items()},
            captions={photo: one.caption for photo, one in truth.photos.items()},
            ticks={(*of, words): said(one) for of, there in truth.proposals.items() for words, one in there.items()},
            numbers={one: (at.catalogue.newest(one), len(truth.log.get(one, ()))) for one in truth.listed()},
        )

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
                same(e.prediction, judgement(judge, self.truth.edits[e.key].picture)) for e in one.counterfactuals
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


@contextmanager
def refused(kind: type[Exception], expected: bool) -> Iterator[None]:
    """What is in it raises this error if that is expected, and only then."""
    if expected:
        with pytest.raises(kind):
            yield
    else:
        yield


@contextmanager
def lease(seconds: float) -> Iterator[None]:
    """After so long a holder counts as gone."""
    before, jobs.LEASE = jobs.LEASE, seconds
    try:
        yield
    finally:
        jobs.LEASE = before


def said(one: list[tuple[str, ...] | None]) -> tuple[str, ...]:
    """Why a variation is left out: the analyst's word, else the gates'."""
    gates, decided = one
    return gates or () if decided is None else decided


def same(one: Prediction, other: Prediction) -> bool:
    return np.array_equal(one.probabilities, other.probabilities)


def machine(fresh: Callable[[], tuple[Path, str]]) -> type[Folder]:
    """The steps on folders of this kind."""
    return type("Folders", (Folder,), {"fresh": staticmethod(fresh), "taken": 0})


def on_sqlite() -> tuple[Path, str]:
    """An empty data folder."""
    return Path(tempfile.mkdtemp(prefix="stateful-")), ""


def on_postgres(server: Server) -> Callable[[], tuple[Path, str]]:
    """Empty data folders with their records in one database, which is emptied for each."""
    address = server.database()
    engine = sql.create_engine(sql.make_url(address).set(drivername="postgresql+psycopg"), poolclass=sql.NullPool)

    def fresh() -> tuple[Path, str]:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        return Path(tempfile.mkdtemp(prefix="stateful-")), address

    return fresh


def take_steps(folders: type[Folder], count: int, *, long: int = LONG, seed: int = 0, shrink: bool = True) -> None:
    """As many different folders, of at most so many steps each. Raises what hypothesis found, made short."""
    options = hypothesis.settings(
        max_examples=count,
        stateful_step_count=long,
        deadline=None,
        database=None,
        phases=(Phase.generate, *([Phase.shrink] if shrink else [])),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(hypothesis.seed(seed)(folders), settings=options)


def main() -> int:
    """0 when the store and the model never differed."""
    parser = argparse.ArgumentParser(description="Two analysts and a job on one data folder, judged by a plain model.")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shrink", action="store_true", help="make what failed short, which takes minutes")
    options = parser.parse_args()
    begun, differences = time.monotonic(), 0
    with ExitStack() as stack:
        fresh = on_sqlite
        if options.database == "postgresql":
            programs = binaries()
            if programs is None:
                parser.error("PostgreSQL is not there; install its server.")
            fresh = on_postgres(stack.enter_context(serving(programs)))
        folders = machine(fresh)
        for seed in itertools.count(options.seed):
            try:
                take_steps(folders, 20, seed=seed, shrink=options.shrink)
            except Exception as error:
                differences += 1
                sys.stderr.write("".join(traceback.format_exception(error)))
                break
            if folders.taken >= options.steps:
                break
    seconds = time.monotonic() - begun
    sys.stdout.write(f"{folders.taken} steps on {options.database} in {seconds:.0f} s: {differences} differences\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
