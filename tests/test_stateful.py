"""A data folder under many hands: step by step against a plain model, and by threads that really run at once.

`python -m tests.stateful --steps 20000 --database sqlite` takes as many steps as one likes.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import pipeline.store.store
from pipeline.curation.catalogue import Catalogue
from pipeline.errors import ConflictError
from pipeline.store import jobs, schema
from pipeline.store.decisions import UNDO
from pipeline.store.jobs import Job
from pipeline.store.store import Store
from pipeline.types import FOLDER, Decision
from tests.stateful import PROFILE, Folder, machine, on_postgres, on_sqlite, take_steps
from tests.stateful_objects import JOBS, JUDGES, LABELS, drawn, key, photo_of

pytestmark = pytest.mark.slow

ANALYSTS = ("Ada", "Grace", "Ada")  # of the threads; two sit at one name
ROUNDS = 25


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest) -> Callable[[], tuple[Path, str]]:
    """Empty data folders, their records in a file and on a server in turn."""
    return on_sqlite if request.param == "sqlite" else on_postgres(request.getfixturevalue("postgres"))


def test_the_store_shows_what_a_plain_model_says(fresh: Callable[[], tuple[Path, str]]) -> None:
    folders = machine(fresh)
    take_steps(folders, 8, long=40)
    assert folders.taken > 150


@contextmanager
def folder_to_play_on() -> Iterator[Folder]:
    """An empty data folder whose steps are taken by name."""
    folder = machine(on_sqlite)()
    yield folder
    for window in folder.windows:
        window.store.close()
    shutil.rmtree(folder.root)


def relabel(folder: Folder) -> None:
    """Have one window look, and another say something."""
    folder.open_photo(window=0, photo=0, label=LABELS[0], source=FOLDER, judge=0)
    folder.check(folder.windows[1])
    folder.set_label(window=0, photo=0, label=LABELS[1], blind=True)
    folder.check(folder.windows[1])


def lose_a_job(folder: Folder) -> None:
    """Have a job write whose lease somebody else has taken."""
    folder.open_photo(window=0, photo=0, label=LABELS[0], source=FOLDER, judge=0)
    folder.add_job(window=0, name=JOBS[0])
    folder.take(window=2, lapsed=False)
    folder.take(window=3, lapsed=True)
    folder.work(place=0, photo=0, caption="a plane", words=["on yellow"])


FAULTS = {
    "caches that miss a change": (relabel, (schema, "raised", lambda connection, topics: None)),
    "a job that writes after its lease": (
        lose_a_job,
        (pipeline.store.store, "refuse_lost", lambda connection, job: None),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_model_notices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, fault = FAULTS[name]
    with folder_to_play_on() as folder:
        steps(folder)
    monkeypatch.setattr(*fault)
    with folder_to_play_on() as folder, pytest.raises((AssertionError, pytest.fail.Exception)):
        steps(folder)


class Hand:
    """A thread that works on the folder with a store of its own, and notes what was acknowledged."""

    def __init__(self, number: int, root: Path, address: str) -> None:
        self.number, self.analyst, self.store = number, ANALYSTS[number], Store(root, address)
        self.catalogue, self.rng = Catalogue(self.store), random.Random(number)
        self.links: dict[str, list[tuple[str, str]]] = {"label": [], "caption": []}  # (what was seen, what was written)
        self.decided: list[str] = []
        self.saved: list[tuple[str, int, float]] = []  # (job, token, when the write began) of writes that a job saved
        self.taken: list[tuple[str, int, float]] = []  # (job, token, when it was in hand)
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            for step in range(ROUNDS):
                for act in self.rng.sample(
                    (self.relabel, self.reword, self.decide, self.undo, self.work, self.read), 6
                ):
                    act(f"{self.number}-{step}")
        except Exception as error:
            self.fault = error

    def relabel(self, name: str) -> None:
        seen = self.store.studies()[0].label
        with suppress(ConflictError):
            self.store.set_label(key("photo", 0), name, analyst=self.analyst, expected=seen)
            self.links["label"].append((seen, name))

    def reword(self, name: str) -> None:
        seen = self.store.studies()[0].caption
        with suppress(ConflictError):
            self.store.set_caption(key("photo", 0), name, analyst=self.analyst, expected=seen)
            self.links["caption"].append((seen, name))

    def decide(self, name: str) -> None:
        entries = self.store.entries()
        chosen = self.rng.sample(entries, min(2, len(entries)))
        made = [
            Decision(id=f"{name}-{taken.key}", act=name, counterfactual=taken.key, verdict="keep", analyst=self.analyst)
            for taken in chosen
        ]
        self.decided += [decision.id for decision in self.store.decide_all(made)]

    def undo(self, name: str) -> None:
        self.store.undo(self.analyst, f"undo-{name}")

    def work(self, name: str) -> None:
        """Takes a job from whoever has it, and saves for it until somebody else does so."""
        hold = self.store.jobs.take(PROFILE)
        if hold is None:
            return
        token = hold.job.revision
        self.taken.append((hold.job.id, token, time.monotonic()))
        with suppress(ConflictError):
            for tau in (0.1, 0.2, 0.3):
                begun, made = time.monotonic(), drawn(0, name, "on yellow", tau, 0)
                self.store.fenced(hold).add_counterfactuals(key("photo", 0), name, [made], JUDGES[0])
                self.saved.append((hold.job.id, token, begun))
            hold.kept()
            hold.beat()

    def read(self, _name: str) -> None:
        self.store.records()
        self.catalogue.refresh()
        for entry in self.catalogue.shown():
            self.catalogue.said(entry.key)


@pytest.fixture
def hands(fresh: Callable[[], tuple[Path, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Hand]]:
    """Everybody after their work."""
    monkeypatch.setattr(jobs, "LEASE", 0.0)  # whoever asks for a job has it
    root, address = fresh()
    made = [Hand(number, root, address) for number in range(len(ANALYSTS))]
    made[0].store.add_photo(photo_of(0, "red", "folder", 0))
    made[0].store.set_caption(key("photo", 0), "a plane")
    made[0].store.add_counterfactuals(
        key("photo", 0),
        "a plane",
        [drawn(0, "a plane", "on yellow", 0.5, 0), drawn(0, "a plane", "under blue", 0.5, 0)],
        JUDGES[0],
    )
    for number in range(2):
        made[0].store.jobs.add(Job(id=f"job-{number}", kind="study", title="", profile=PROFILE), "{}")
    threads = [threading.Thread(target=taken.run) for taken in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield made
    for hand in made:
        hand.store.close()


def test_threads_lose_nothing_of_one_another(hands: list[Hand]) -> None:
    assert [hand.fault for hand in hands] == [None] * len(hands)
    store = Store(hands[0].store.root, hands[0].store.address)
    (summary,) = store.studies()
    for what, first, last in (("label", "red", summary.label), ("caption", "a plane", summary.caption)):
        links = [link for hand in hands for link in hand.links[what]]
        follows = dict(links)
        assert len(follows) == len(links) > 5, "each was written upon what the one before wrote"
        passed = [first]
        while passed[-1] in follows:
            passed.append(follows[passed[-1]])
        assert (len(passed), passed[-1]) == (len(links) + 1, last)

    log = store.log()
    assert Counter(id_ for hand in hands for id_ in hand.decided) <= Counter(decision.id for decision in log)
    assert set(Counter(decision.id for decision in log).values()) == {1}
    undone = Counter(
        decision.of
        for decision in {(decision.act, decision.of): decision for decision in log if decision.kind == UNDO}.values()
    )
    assert set(undone.values()) == {1}, "no act was undone twice"

    for hand in hands:
        hand.catalogue.refresh()
        assert tuple(hand.catalogue.log) == log
        assert hand.store.decisions() == store.decisions()
        assert [entry.key for entry in hand.store.entries()] == [entry.key for entry in store.entries()]
        assert [study.caption for study in hand.store.records()] == [summary.caption]

    taken = sorted((item for hand in hands for item in hand.taken), key=lambda taken: taken[2])
    for job, token, begun in (item for hand in hands for item in hand.saved):
        later = [when for name, other, when in taken if name == job and other > token]
        assert not later or begun < min(later), "nobody saves for a job after somebody else had it in hand"
    store.close()
