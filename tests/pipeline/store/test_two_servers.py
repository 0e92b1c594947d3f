"""Two servers on one data folder, SQLite and PostgreSQL: undos that race, leases under any clock, a long sleep."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sql

import pipeline.store.store
from explorer import desk as explorer_jobs
from explorer.desk import Desk
from pipeline import workflow
from pipeline.editing.inversion_cache import Inversions
from pipeline.errors import ConflictError
from pipeline.reinforcement.recipes import Recipe
from pipeline.store import decisions, jobs, schema
from pipeline.store.jobs import DONE, RUNNING, Hold, Job
from pipeline.store.store import Store
from pipeline.tasks.studying import PhotosTask, StudyTask
from pipeline.tasks.tasks import Task, job_of
from pipeline.tasks.training import FOLDER, TrainingTask
from pipeline.types import Decision
from tests.crowd import fill
from tests.seams import LABELS, PROFILE, SETTINGS, SeamModels, picture
from tests.stores import ON_BOTH, keep, save, study_of

pytestmark = ON_BOTH
PATIENCE = 120.0  # seconds, on a busy machine


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    """The same folder, as another server has it open."""
    opened = Store(store.root, store.address)
    yield opened
    opened.close()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_two_undos_that_race_take_back_two_acts_or_one(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of()
    save(store, study)
    key = study.counterfactuals[0].key
    stacks = decisions.stacks

    def slow(*of: object) -> object:
        """Leaves time for the other one between reading and writing."""
        found = stacks(*of)  # type: ignore[arg-type]
        time.sleep(0.05)
        return found

    monkeypatch.setattr(pipeline.store.store, "stacks", slow)
    acts = 3
    for number in range(acts):
        keep(store, key, number, ("keep", "reject")[number % 2])
    for left in (1, 0):
        together = threading.Barrier(2)

        def undo(server: Store, left: int = left, together: threading.Barrier = together) -> tuple[Decision, ...]:
            together.wait()
            return server.undo("", f"undo-{left}-{server is store}")

        with ThreadPoolExecutor(2) as pool:
            made = list(pool.map(undo, (store, other)))
        log = store.log()
        assert len({decision.of for decision in log if decision.kind == decisions.UNDO}) == sum(
            decision.kind == decisions.UNDO for decision in log
        ), "an act was taken back twice"
        assert stacks(log, "")[0] == tuple(f"id-{number}" for number in range(left))
        assert sorted(map(len, made)) == ([1, 1] if left else [0, 1])
    assert [decision.verdict for decision in store.redo("", "redo")] == ["keep"]


def test_an_undo_that_is_sent_twice_is_one(store: Store, other: Store) -> None:
    study = study_of()
    save(store, study)
    for number, item in enumerate(study.counterfactuals[:3]):
        keep(store, item.key, number)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda server: server.undo("", "the same"), (store, other) * 4))
    assert len(set(made)) == 1
    assert [decision.kind for decision in store.log()].count(decisions.UNDO) == 1


def test_an_act_on_many_pairs_is_undone_as_one_and_only_ones_own(store: Store) -> None:
    study = study_of()
    save(store, study)
    keys = [item.key for item in study.counterfactuals]
    keep(store, keys[0], 1)
    store.decide(Decision(id="b", counterfactual=keys[1], verdict="unsure", analyst="Bo"))
    store.decide_all(
        [Decision(id=f"all-{n}", counterfactual=key, verdict="reject", act="all") for n, key in enumerate(keys)]
    )
    back = store.undo("", "u")
    assert [decision.verdict for decision in back] == ["keep", *[""] * (len(keys) - 1)]
    assert {key: decision.verdict for key, decision in store.decisions().items()} == {
        keys[0]: "keep",
        keys[1]: "unsure",
    }
    assert {decision.verdict for decision in store.redo("", "r")} == {"reject"}


def test_a_log_that_is_damaged_already_can_be_undone(store: Store) -> None:
    study = study_of()
    save(store, study)
    key = study.counterfactuals[0].key
    keep(store, key, 1)
    keep(store, key, 2, "reject")
    for name in ("u1", "u2"):  # as two tabs of an earlier version left it
        store.decide(Decision(id=f"{name}-0", act=name, counterfactual=key, verdict="keep", kind="undo", of="id-2"))
    assert [decision.of for decision in store.undo("", "u3")] == ["id-1"]
    assert [decision.of for decision in store.redo("", "r1")] == ["id-1"]


def job() -> Job:
    return Job(id="a", kind="study", title="Job a", profile=PROFILE.name)


class Clock:
    """The clocks of the module `jobs`, which go when they are told to; `skew` is how far the wall clock is off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, skew: float = 0.0) -> None:
        self.now, start = 0.0, time.time() + skew
        clocks = SimpleNamespace(monotonic=lambda: self.now, time=lambda: start + self.now)
        monkeypatch.setattr(jobs, "time", clocks)

    def go(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("skew", [25.0, 3600.0, -3600.0])
def test_no_clock_takes_a_job_from_a_holder_that_lives(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    store.jobs.add(job(), "{}")
    hold = store.jobs.take(PROFILE.name)
    assert hold is not None
    clock = Clock(monkeypatch, skew)
    for _ in range(4):
        assert other.jobs.take(PROFILE.name) is None
        clock.go(0.9 * jobs.LEASE)
        hold.beat()
    assert other.jobs.take(PROFILE.name) is None
    clock.go(jobs.LEASE)
    assert other.jobs.take(PROFILE.name) is not None  # nothing was heard of it any more


def test_a_lease_is_counted_from_ones_own_first_look(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    store.jobs.add(job(), "{}")
    assert store.jobs.take(PROFILE.name) is not None
    clock.go(1.2 * jobs.LEASE)
    assert other.jobs.take(PROFILE.name) is None
    clock.go(0.9 * jobs.LEASE)
    assert other.jobs.take(PROFILE.name) is None
    clock.go(0.2 * jobs.LEASE)
    assert other.jobs.take(PROFILE.name) is not None


def everything(store: Store) -> object:
    """Every row and every file of a data folder but caches and the database's own files."""
    with store.database.read() as connection:
        rows = {
            table.name: [tuple(row) for row in connection.execute(sql.select(table).order_by(*table.primary_key))]
            for table in schema.schema.sorted_tables
        }
    kept = [path for path in store.root.rglob("*") if path.is_file() and not path.name.startswith("explorer.db")]
    names = [path.relative_to(store.root) for path in kept]
    caches = ("inversions", "features", ".training")
    return rows, sorted(name for name in names if name.parts[0] not in caches and name.parts[0] != "media")


def photos(store: Store, count: int) -> tuple[tuple[str, str], ...]:
    """Photos in the store that have no edit yet."""
    found = []
    for seed in range(count):
        study = workflow.open_photo(SeamModels(), picture("red", seed), "red", name=f"{seed}.png")
        save(store, study)
        found.append((study.photo.key, study.photo.classifier))
    return tuple(found)


def study_task(store: Store) -> Task:
    ((key, classifier),) = photos(store, 1)
    return StudyTask(photo=key, classifier=classifier, caption="", name="", settings=SETTINGS)


def photos_task(store: Store) -> Task:
    return PhotosTask(photos=photos(store, 2), settings=SETTINGS)


def training_task(store: Store) -> Task:
    models = SeamModels()
    for number in range(4 * len(LABELS)):
        label = LABELS[number % len(LABELS)]
        study = workflow.open_photo(models, picture(label, number), label)
        study = workflow.propose(models, workflow.describe(models, study, SETTINGS), SETTINGS)
        save(store, list(workflow.edit(models, study, study.perturbations, SETTINGS))[-1])
    items = tuple((entry.key, entry.label) for entry in store.entries())
    return TrainingTask(
        classifier="colour", items=items, recipes=(Recipe(max_epochs=3), Recipe(max_epochs=3, seed=1)), source="all"
    )


@pytest.mark.parametrize("pieces", [0, 1, 2])
@pytest.mark.parametrize("kind", [study_task, photos_task, training_task])
def test_a_holder_that_slept_beyond_its_lease_writes_nothing(
    store: Store,
    other: Store,
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[Store], Task],
    pieces: int,
) -> None:
    task = kind(store)
    if pieces and isinstance(task, TrainingTask):
        pieces = 1  # of two recipes one
    store.jobs.add(*job_of(task, PROFILE))
    hold = store.jobs.take(PROFILE.name)
    assert hold is not None
    work = task.run(hold, SeamModels(), store.fenced(hold), Inversions())
    for _ in range(pieces):
        next(work)
    monkeypatch.setattr(jobs, "LEASE", 0.0)
    taken = other.jobs.take(PROFILE.name)
    assert taken is not None
    for _ in task.run(taken, SeamModels(), other.fenced(taken), Inversions()):
        taken.beat()
        if pieces == 1:
            break  # in the middle of the second holder's work
    before = everything(store)
    with suppress(ConflictError) if pieces != 1 else pytest.raises(ConflictError, match="Meanwhile"):
        for _ in work:  # where the other one has finished everything there may be nothing left to write
            pass
    for late in (lambda: store.fenced(hold).finish(hold.job.id, "photo", "name"), hold.beat, lambda: hold.end(DONE)):
        with pytest.raises(ConflictError):
            late()
    assert everything(store) == before
    if isinstance(task, TrainingTask):
        assert not list((store.root / FOLDER).glob(".*"))


SLEEPER = """
import os, signal, sys, time
from pathlib import Path
from explorer import desk as explorer_jobs
from explorer.desk import Desk
from pipeline.store import jobs
from pipeline.store.store import Store
from tests.seams import SeamModels
root, address, reached = sys.argv[1:]
explorer_jobs.BEAT = 0.02
step = jobs.Hold.step

def sleepy(hold, done, total, note=None):
    if note == "editing" and not Path(reached).exists():
        with hold._saving:  # between two transactions: what is stopped within one holds SQLite's lock
            Path(reached).touch()
            os.kill(os.getpid(), signal.SIGSTOP)
    step(hold, done, total, note)

jobs.Hold.step = sleepy
desk = Desk(models=SeamModels(), store=Store(Path(root), address))
desk.runner.open()
while not Path(reached).exists() or desk.runner._hold is not None:
    time.sleep(0.01)
desk.close()
"""


@pytest.mark.slow
def test_a_process_that_is_stopped_and_wakes_up_writes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = study_task(store)
    added, _ = job_of(task, PROFILE)
    store.jobs.add(*job_of(task, PROFILE))
    reached = tmp_path / "reached"
    arguments = map(str, (store.root, store.address, reached))
    sleeper = subprocess.Popen([sys.executable, "-c", SLEEPER, *arguments], stderr=subprocess.PIPE, text=True)
    until(reached.exists)
    monkeypatch.setattr(jobs, "LEASE", 0.5)
    monkeypatch.setattr(explorer_jobs, "BEAT", 0.02)
    desk = Desk(models=SeamModels(), store=store)
    desk.runner.open()

    def known() -> Job:
        found = store.jobs.get(added.id)
        assert found is not None
        return found

    until(lambda: not known().active)
    assert (known().state, known().error) == (DONE, "")
    before = everything(store)
    sleeper.send_signal(signal.SIGCONT)
    _, told = sleeper.communicate(timeout=PATIENCE)
    assert sleeper.returncode == 0, told
    assert "was not saved: Meanwhile" in told
    assert everything(store) == before
    desk.close()


def test_a_fence_lets_through_whoever_holds_the_job(store: Store) -> None:
    store.jobs.add(job(), "{}")
    hold = store.jobs.take(PROFILE.name)
    assert isinstance(hold, Hold)
    fenced = store.fenced(hold)
    study = study_of()
    save(fenced, study)
    hold.beat()
    fenced.finish("a", study.photo.key, "name")
    store.jobs.cancel("a")  # asks; the holder ends by itself
    with fenced.alone():
        (store.root / "file").touch()
    assert fenced.finished("a") == {study.photo.key}
    known = store.jobs.get("a")
    assert known is not None
    assert known.state == RUNNING
    hold.end(DONE)
    with pytest.raises(ConflictError, match="is done"):
        save(fenced, study)


def test_a_verdict_on_many_asks_the_database_as_little_as_one_on_few(store: Store) -> None:
    def asked(name: str, keys: list[str], **more: object) -> int:
        """Statements of one verdict on all of these."""
        statements: list[str] = []

        def note(_c: object, _k: object, statement: str, *_: object) -> None:
            statements.append(statement)

        made = [Decision(id=f"{name}-{n}", counterfactual=key, verdict="keep", act=name) for n, key in enumerate(keys)]
        sql.event.listen(store.database.engine, "before_cursor_execute", note)
        assert [decision.id for decision in store.decide_all(made, **more)] == [item.id for item in made]  # type: ignore[arg-type]
        sql.event.remove(store.database.engine, "before_cursor_execute", note)
        return len(statements)

    fill(store, 400, per_photo=100)
    keys = [entry.key for entry in store.entries()]
    few = asked("few", keys[:2])
    assert asked("many", keys) == few
    numbers = {decision.counterfactual: decision.number for decision in store.decisions().values()}
    assert asked("expected", keys, expected=numbers) == few + 1
    with pytest.raises(ConflictError):
        asked("late", keys, expected=numbers)
