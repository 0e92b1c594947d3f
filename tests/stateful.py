"""Two analysts and a job at work on one data folder, judged after every step by a plain model of what must be there.

`python -m tests.stateful --steps 20000 --database sqlite` prints how many steps were taken and how many differences
were found, and ends with status 1 when there are any. Ada has two windows, Grace one, the job one: each is a store of
its own, as in a process of its own, with its own caches, and each remembers what it saw last, so that it is often out
of date. hypothesis chooses what is done next and makes what failed short.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from pipeline.errors import ConflictError, DataError
from pipeline.images import key_of
from pipeline.store import jobs
from pipeline.store.decisions import RESOLVE
from pipeline.store.jobs import ATTEMPTS, CANCELLED, DONE, ENDED, FAILED, INTERRUPTED, RUNNING, Hold, Job
from pipeline.store.jobs import WAITING as WAITS
from pipeline.store.store import Store
from pipeline.types import ANALYST, Decision
from tests.postgres import Server, binaries, serving
from tests.stateful_checks import WINDOWS, Watched
from tests.stateful_objects import (
    GATES,
    JOBS,
    JUDGES,
    LABELS,
    SOURCES,
    TAUS,
    drawn,
    judgement,
    key,
    perturbation,
    photo_of,
    picture,
)
from tests.stateful_truth import Act, Choice, Edit, Held, Memory, Shown, said

PROFILE = "seams"
LONG = 60  # steps of one folder

WINDOW, PHOTO, JUDGE, PLACE = (st.integers(0, most) for most in (len(WINDOWS) - 1, 2, len(JUDGES) - 1, 1000))
CAPTION = st.sampled_from(("a plane", "a wall"))
WORDS = st.sampled_from(("on yellow", "under blue", "beside green"))
SOME_WORDS = st.lists(WORDS, min_size=1, max_size=2, unique=True)
CHOICE = st.sampled_from(((), ("You rejected it.",), None))


class Folder(Watched):
    """The steps; each does in the store what it does in the model."""

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
        made = [perturbation(caption, word, gates) for word in words]
        with self.needs(photo):
            self.windows[window].store.add_proposals(key("photo", photo), caption, made)
            there = self.truth.proposals.setdefault((photo, caption), {})
            for word in words:
                there.setdefault(word, [(), None])[0] = gates

    @rule(window=WINDOW, photo=PHOTO, caption=CAPTION, words=SOME_WORDS, choice=CHOICE, blind=st.booleans())
    def tick(self, window: int, photo: int, caption: str, words: list[str], choice: Choice, blind: bool) -> None:
        at, there = self.windows[window], self.truth.proposals.get((photo, caption), {})
        seen = {} if blind else {w: s for w in words if (s := at.memory.ticks.get((photo, caption, w))) is not None}
        missing = next((place for place, word in enumerate(words) if word not in there), len(words))
        wrong = [place for place, w in enumerate(words) if w in seen and w in there]
        late = next(
            (place for place in wrong if said(there[words[place]]) not in (seen[words[place]], choice)), len(words)
        )
        decided = {f"{caption} {word}": choice for word in words}
        expected = {f"{caption} {name}": value for name, value in seen.items()}
        # The first of them that cannot be done names the fault.
        with (
            refused(DataError, missing < late or photo not in self.truth.photos),
            refused(ConflictError, late < missing),
        ):
            at.store.tick(key("photo", photo), caption, decided, expected)
            for word in words:
                there[word][1] = choice

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
        made = [drawn(photo, caption, word, tau, judge) for word in words for tau in TAUS]
        store.add_counterfactuals(key("photo", photo), caption, made, JUDGES[judge])
        self.truth.use(judge)
        self.truth.proposals.setdefault((photo, caption), {})
        for item in made:
            shown = key_of(item.image)
            words_of = item.perturbation.edit
            self.truth.edits.setdefault(item.key, Edit(photo, caption, words_of, item.tau, judge, shown))
            self.truth.judged.add((judge, shown))

    @rule(window=WINDOW, judge=JUDGE, photo=PHOTO)
    def judge_photo(self, window: int, judge: int, photo: int) -> None:
        """A classifier looks at everything there is of a photo."""
        pictures = {key("photo", photo), *(edit.picture for edit in self.truth.edits.values() if edit.photo == photo)}
        if photo not in self.truth.photos:
            return
        self.windows[window].store.add_judgements(
            JUDGES[judge], {picture: judgement(judge, picture) for picture in pictures}
        )
        self.truth.use(judge)
        self.truth.judged |= {(judge, picture) for picture in pictures}

    @rule(window=WINDOW, place=PLACE, missed=st.sampled_from(GATES))
    def score(self, window: int, place: int, missed: tuple[str, ...]) -> None:
        if name := self.edit_at(place):
            item = self.truth.edits[name]
            made = drawn(item.photo, item.caption, item.words, item.tau, item.judge)
            self.windows[window].store.set_scores([replace(made, missed=missed)])
            item.missed = missed

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
        names = [name for name in names if not self.truth.hidden(name)]  # a page offers what is shown
        if not names:
            return
        act = f"act-{self.number()}"
        kind = RESOLVE if resolves and verdict else ""
        made = [
            Decision(id=f"{act}-{n}", counterfactual=name, verdict=verdict, analyst=at.analyst, act=act, kind=kind)
            for n, name in enumerate(names)
        ]
        seen = {} if blind else {name: at.memory.numbers[name] for name in names if name in at.memory.numbers}
        since = [entry for item, (_, count) in seen.items() for entry in self.truth.log.get(item, [])[count:]]
        late = any(kind or settles or analyst == at.analyst for analyst, settles in since)
        with refused(ConflictError, late):
            stored = at.store.decide_all(made, {item: number for item, (number, _) in seen.items()})
            assert at.store.decide_all(made) == stored, "the same request again is the same act"
            self.truth.acts.append(Act(act, at.analyst, dict.fromkeys(names, verdict), bool(kind)))
            self.noted("do", self.truth.acts[-1])

    def noted(self, what: str, act: Act) -> None:
        """An act is in the log."""
        self.truth.steps.append((act.analyst, what, act.name))
        for name in act.verdicts:
            self.truth.log.setdefault(name, []).append((act.analyst, act.resolves and what != "undo"))

    @rule(window=st.integers(0, 2))
    def undo(self, window: int) -> None:
        at, (done, _) = self.windows[window], self.truth.stacks(self.windows[window].analyst)
        request = f"undo-{self.number()}"
        made = at.store.undo(at.analyst, request)
        assert at.store.undo(at.analyst, request) == made
        assert {name.counterfactual for name in made} == set(done[-1].verdicts if done else ())
        if done:
            done[-1].undone = True
            self.noted("undo", done[-1])

    @rule(window=st.integers(0, 2))
    def redo(self, window: int) -> None:
        at, (_, undone) = self.windows[window], self.truth.stacks(self.windows[window].analyst)
        made = at.store.redo(at.analyst, f"redo-{self.number()}")
        assert {name.counterfactual for name in made} == set(undone[-1].verdicts if undone else ())
        if undone:
            act = undone[-1]
            self.noted("redo", act)
            self.truth.acts.remove(act)
            self.truth.acts.append(act)
            act.undone = False

    @rule(window=WINDOW, name=st.sampled_from(("robust", "weak")), words=st.none() | WORDS)
    def freeze(self, window: int, name: str, words: str | None) -> None:
        chosen = None if words is None else {key for key, edit in self.truth.edits.items() if edit.words == words}
        kept = [edit for edit in self.truth.edits if self.truth.holds(edit) == "keep" and not self.truth.hidden(edit)]
        items = tuple(item for item in kept if chosen is None or item in chosen)
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
            name for name, job in self.truth.jobs.items() if job.state == WAITS or (lapsed and job.state == RUNNING)
        ]
        for name in free:
            item = self.truth.jobs[name]
            if item.stop:
                item.state = CANCELLED
            elif item.attempts >= ATTEMPTS:
                item.state = INTERRUPTED
            else:
                item.state, item.attempts, item.token = RUNNING, item.attempts + 1, self.number()
                assert hold is not None
                assert hold.job.id == name
                self.holds.append((hold, item.token))
                return
        assert hold is None

    def hold_at(self, place: int) -> tuple[Hold, Held, bool] | None:
        """Somebody who took a job once and has not let it go: the hold, the job, and whether it is lost by now."""
        holds = [name for name in self.holds if name[0].job.state == RUNNING]
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
            labels={photo: name.said for photo, name in truth.photos.items()},
            captions={photo: name.caption for photo, name in truth.photos.items()},
            ticks={
                (*of, words): said(photo) for of, there in truth.proposals.items() for words, photo in there.items()
            },
            numbers={name: (at.catalogue.newest(name), len(truth.log.get(name, ()))) for name in truth.listed()},
        )


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
