"""Recorded jobs: done once, cancelled at the next step, taken up where a killed server left them, by one of many."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from explorer import desk as explorer_jobs
from explorer.desk import Desk
from explorer.pages.reinforce.reinforce import task_for
from pipeline import workflow
from pipeline.errors import DataError, EditingError
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.reinforcement import reinforce
from pipeline.reinforcement.runs import read_run
from pipeline.reinforcement.training_data import Example
from pipeline.store import jobs
from pipeline.store.jobs import CANCELLED, DONE, FAILED, RUNNING, WAITING, Job
from pipeline.store.store import Store
from pipeline.tasks import training
from pipeline.tasks.kinds import task_of
from pipeline.tasks.studying import FolderTask, PhotosTask, StudyTask, folder_task, list_folders, unstudied_photos
from pipeline.tasks.tasks import job_of
from pipeline.tasks.training import FOLDER, TrainingTask, course_of
from pipeline.types import Classifier, Decision, Reinforcement
from tests.seams import LABELS, PROFILE, SETTINGS, SeamModels, folder_of, picture, quarters, settings
from tests.stores import contents, save

PATIENCE = 120.0  # seconds, on a busy machine


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(explorer_jobs, "BEAT", 0.02)
    store = Store(tmp_path / "data")
    opened = Desk(models=SeamModels(), store=store)
    yield opened
    opened.close()
    store.close()


def next_heartbeat(store: Store, job: Job, seen: float) -> float:
    """When it came."""
    end = time.monotonic() + PATIENCE
    while (known := store.jobs.get(job.id)) is None or known.heartbeat <= seen:
        assert time.monotonic() < end, "waited in vain for a heartbeat"
        time.sleep(0.005)
    return known.heartbeat


def ended(desk: Desk, job: Job) -> Job:
    """The job once it no longer waits or runs."""
    end = time.monotonic() + PATIENCE
    while True:
        known = desk.store.jobs.get(job.id)
        assert known is not None
        if not known.active:
            return known
        assert time.monotonic() < end, f"waited in vain: {known}"
        time.sleep(0.005)


def photo(desk: Desk, seed: int = 0, label: str = "red") -> StudyTask:
    """A photo in the store, to be studied."""
    study = workflow.open_photo(desk.models, picture(label, seed), label, name=f"{seed}.png")
    save(desk.store, study)
    return StudyTask(photo=study.photo.key, classifier="colour", caption="", name=f"{seed}.png", settings=SETTINGS)


def kept(desk: Desk, each: int = 4) -> TrainingTask:
    """Counterfactuals of every label, kept, to be learnt from."""
    for number in range(each * len(LABELS)):
        label = LABELS[number % len(LABELS)]
        study = workflow.open_photo(desk.models, picture(label, number), label)
        study = workflow.propose(desk.models, workflow.describe(desk.models, study, SETTINGS), SETTINGS)
        save(desk.store, list(workflow.edit(desk.models, study, study.perturbations, SETTINGS))[-1])
    items = tuple((entry.key, entry.label) for entry in desk.store.entries())
    return TrainingTask(classifier="colour", items=items, recipes=(Recipe(max_epochs=8),), source="all")


class Gate:
    """Stops the editor at its first step until it may go on; counts the steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open, self.steps = threading.Event(), threading.Event(), 0
        step = jobs.Hold.step

        def gated(hold: jobs.Hold, done: int, total: int, note: str | None = None) -> None:
            if note == "editing":
                self.steps += 1
                self.reached.set()
                self.open.wait(PATIENCE)
            step(hold, done, total, note)

        monkeypatch.setattr(jobs.Hold, "step", gated)


def test_a_photo_is_studied_under_all_factors_and_only_once(desk: Desk) -> None:
    task = photo(desk)
    job = ended(desk, desk.runner.add(task, "Ada"))
    assert (job.state, job.error, job.analyst, job.result) == (DONE, "", "Ada", f"{task.photo}@colour")
    study = desk.store.load_study(task.photo)
    assert study is not None
    assert {variation.factor for variation in study.perturbations} == set(SETTINGS.factors)
    assert len(study.counterfactuals) == 9
    asked = desk.models.captioner.calls
    assert desk.runner.add(task, "Bo") == job
    assert desk.models.captioner.calls == asked


def test_the_same_parameters_give_the_same_id_and_others_another(desk: Desk) -> None:
    task = photo(desk)
    job, parameters = job_of(task, PROFILE)
    assert task_of(job.kind, parameters) == task
    assert job_of(task_of(job.kind, parameters), PROFILE)[0].id == job.id
    other = replace(task, settings=settings(taus=(0.5,)))
    assert job_of(other, PROFILE)[0].id != job.id
    with pytest.raises(DataError, match="another version"):
        task_of("study", '{"photo": 1}')


def test_a_cancel_stops_the_models_within_two_steps(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    task = photo(desk)
    job = desk.runner.add(task)
    gate.reached.wait(PATIENCE)
    assert desk.runner.cancel(job.id).stop
    gate.open.set()
    job = ended(desk, job)
    assert (job.state, gate.steps) == (CANCELLED, 1)
    assert desk.ask(lambda models: "free") == "free"
    gate.steps = 0
    again = ended(desk, desk.runner.retry(job.id, job.revision))
    assert (again.state, again.error, gate.steps) == (DONE, "", len(SETTINGS.taus))


def test_a_cancel_by_another_server_arrives_with_the_next_heartbeat(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    job = desk.runner.add(photo(desk))
    gate.reached.wait(PATIENCE)
    other = Store(desk.store.root)
    seen = other.jobs.cancel(job.id).heartbeat
    for _ in range(2):  # the first may have been on its way
        seen = next_heartbeat(other, job, seen)
    gate.open.set()
    assert ended(desk, job).state == CANCELLED
    assert gate.steps == 1


def test_two_servers_on_one_folder_do_every_job_once(desk: Desk) -> None:
    tasks = [photo(desk, seed) for seed in range(5)]
    other = Desk(models=SeamModels(), store=Store(desk.store.root))
    both = (desk, other)
    found = [both[place % 2].runner.add(task) for place, task in enumerate(tasks)]
    assert {ended(desk, job).state for job in found} == {DONE}
    other.close()
    other.store.close()
    inverted = [item.models.editor.inversions for item in both]  # type: ignore[attr-defined]
    assert sum(inverted) == len(tasks)


def test_a_server_that_ends_gives_its_job_back_and_the_next_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    job = desk.runner.add(photo(desk))
    gate.reached.wait(PATIENCE)
    threading.Timer(0.1, gate.open.set).start()
    desk.close()
    known = desk.store.jobs.get(job.id)
    assert known is not None
    assert (known.state, known.attempts) == (WAITING, 0)
    fresh = Desk(models=SeamModels(), store=desk.store)
    fresh.runner.open()
    assert ended(fresh, job).state == DONE
    fresh.close()


def test_what_a_killed_server_left_goes_on_by_itself_when_its_lease_ran_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = photo(desk)
    job = desk.store.jobs.add(*job_of(task, PROFILE))
    assert desk.store.jobs.take(PROFILE.name) is not None  # by a process of which nothing is heard any more
    desk.runner.open()
    time.sleep(0.1)
    known = desk.store.jobs.get(job.id)
    assert known is not None
    assert known.state == RUNNING
    monkeypatch.setattr(jobs, "LEASE", 0.0)
    assert ended(desk, job).state == DONE


def test_photos_go_on_past_one_that_fails_and_retry_only_that(desk: Desk) -> None:
    for seed in range(4):
        photo(desk, seed)
    todo = unstudied_photos(desk.store)
    editor = desk.models.editor
    broken = min(float(editor_mean(desk, key)) for key, _ in todo)
    editor.broken_below = broken + 1e-9  # type: ignore[attr-defined]
    job = ended(desk, desk.runner.add(PhotosTask(photos=todo, settings=SETTINGS)))
    assert (job.state, job.done, job.total) == (DONE, 4, 4)
    assert "1 of 4 photos were left out." in job.error
    assert "values that are not numbers" in job.error
    assert len(unstudied_photos(desk.store)) == 1
    done = editor.inversions  # type: ignore[attr-defined]
    editor.broken_below = -1.0  # type: ignore[attr-defined]
    job = ended(desk, desk.runner.retry(job.id))
    assert (job.state, job.error) == (DONE, "")
    assert editor.inversions == done + 1  # type: ignore[attr-defined]
    assert unstudied_photos(desk.store) == ()


def editor_mean(desk: Desk, key: str) -> float:
    study = desk.store.load_study(key)
    assert study is not None
    return float(quarters(study.photo.image).mean())


def test_a_labelled_folder_is_studied_and_a_new_picture_makes_it_another_job(desk: Desk) -> None:
    assert list_folders(desk.store) == ()
    root = folder_of(desk.store.root / "folders" / "mine", each=1)
    assert list_folders(desk.store) == ("mine",)
    task = folder_task(desk.store, "mine", "colour", SETTINGS)
    job = ended(desk, desk.runner.add(task))
    assert (job.state, job.done, job.total, job.error) == (DONE, 3, 3, "")
    assert sorted(study.label for study in desk.store.studies()) == sorted(LABELS)
    assert desk.runner.add(folder_task(desk.store, "mine", "colour", SETTINGS)) == job
    picture("red", seed=99).save(root / "red" / "more.png")
    more = desk.runner.add(folder_task(desk.store, "mine", "colour", SETTINGS))
    assert more.id != job.id
    assert ended(desk, more).done == 4
    assert isinstance(task, FolderTask)
    for name in ("theirs", "../media", ""):
        with pytest.raises(DataError, match="There is no folder"):
            folder_task(desk.store, name, "colour", SETTINGS)


def test_a_second_folder_is_counted_and_told_for_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(desk.store.root / "folders" / "one", each=1)
    Path(desk.store.root / "folders" / "one" / "red" / "text.png").write_text("no picture")
    two = desk.store.root / "folders" / "two"
    for number, label in enumerate(LABELS):
        (two / label).mkdir(parents=True)
        picture(label, seed=500 + number).save(two / label / "0.png")
    told: dict[str, list[tuple[int, int]]] = {}
    step = jobs.Hold.step

    def noted(hold: jobs.Hold, done: int, total: int, note: str | None = None) -> None:
        told.setdefault(hold.job.title.split()[2], []).append((done, total))
        step(hold, done, total, note)

    monkeypatch.setattr(jobs.Hold, "step", noted)
    first = ended(desk, desk.runner.add(folder_task(desk.store, "one", "colour", SETTINGS)))
    assert first.error.startswith("1 of 4 photos were left out. red/text.png: ")
    second = ended(desk, desk.runner.add(folder_task(desk.store, "two", "colour", SETTINGS)))
    assert (second.state, second.done, second.total, second.error) == (DONE, 3, 3, "")
    assert told["one"] == [(0, 0), (0, 4), (1, 4), (2, 4), (4, 4)]
    assert told["two"] == [(0, 0), (0, 3), (1, 3), (2, 3), (3, 3)]


def test_other_work_has_its_turn_between_two_photos(desk: Desk) -> None:
    for seed in range(3):
        photo(desk, seed)
    order: list[str] = []
    save = desk.store.finish
    desk.store.finish = lambda *of: (order.append("photo"), save(*of))[1]  # type: ignore[method-assign]
    job = desk.runner.add(PhotosTask(photos=unstudied_photos(desk.store), settings=SETTINGS))
    while "photo" not in order:
        desk.ask(lambda models: order.append("preview") if "preview" not in order else None)
    ended(desk, job)
    assert order.index("preview") < len(order) - 1


def test_a_job_that_fails_keeps_its_sentence_and_can_be_retried(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    task = photo(desk)
    desk.models.editor.broken_below = 1.0  # type: ignore[attr-defined]
    job = ended(desk, desk.runner.add(task))
    assert (job.state, job.error) == (FAILED, "The inversion gave values that are not numbers; try another picture.")
    assert desk.ask(lambda models: "free") == "free"
    desk.models.editor.broken_below = -1.0  # type: ignore[attr-defined]
    assert ended(desk, desk.runner.retry(job.id)).state == DONE


def test_a_job_keeps_no_folder_and_the_log_names_the_file(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    task = photo(desk)
    file = desk.store.media.path(task.photo)
    file.unlink()
    job = ended(desk, desk.runner.add(task))
    told = f"Picture {task.photo[:12]} is missing from the data folder or damaged; restore it."
    assert (job.state, job.error) == (FAILED, told)
    assert f"{job.title} failed: {told} ({file})" in caplog.messages


def test_an_unforeseen_fault_ends_the_job_and_is_logged(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nobody thought of it")

    monkeypatch.setattr(workflow, "propose", fault)
    job = ended(desk, desk.runner.add(photo(desk)))
    assert (job.state, job.error) == (FAILED, "It ended unexpectedly; the server's log says why.")
    assert "nobody thought of it" in caplog.text


def test_a_training_that_was_cut_off_ends_as_one_that_was_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task = kept(desk)
    whole = ended(desk, desk.runner.add(task))
    assert (whole.state, whole.error) == (DONE, "")
    reference = read_run(desk.store.root / FOLDER / whole.result)
    other = TrainingTask(classifier="colour", items=task.items, recipes=task.recipes, source="again")
    told = jobs.Hold.kept
    counts: list[int] = []

    def cut(hold: jobs.Hold) -> None:
        counts.append(1)
        told(hold)
        if len(counts) == 3:
            hold.halt(EditingError("cut off"))

    monkeypatch.setattr(jobs.Hold, "kept", cut)
    failed = ended(desk, desk.runner.add(other))
    assert (failed.state, len(course_of(failed).epochs)) == (FAILED, 3)
    job = ended(desk, desk.runner.add(other))
    assert job.state == DONE
    assert len(counts) == len(reference.losses) - 1  # no epoch was trained twice
    assert [epoch.number for epoch in course_of(job).epochs] == list(range(1, len(reference.losses)))
    again = read_run(desk.store.root / FOLDER / job.result)
    assert (again.losses, again.answers) == (reference.losses, reference.answers)
    assert all((a == b).all() for a, b in zip(again.theta_1, reference.theta_1, strict=True))


def test_a_cancelled_training_keeps_the_best_head_until_then(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    task = kept(desk)
    step = jobs.Hold.step

    def cancelling(hold: jobs.Hold, done: int, total: int, note: str | None = None) -> None:
        if done == 2:
            desk.runner.cancel(hold.job.id)
        step(hold, done, total, note)

    with monkeypatch.context() as patched:
        patched.setattr(jobs.Hold, "step", cancelling)
        job = ended(desk, desk.runner.add(task))
    assert job.state == CANCELLED
    assert job.result.endswith("-epoch2")
    assert f"{FOLDER}/{job.result}; it can be resumed" in job.error
    assert read_run(desk.store.root / FOLDER / job.result).stopped
    again = ended(desk, desk.runner.add(task))
    assert (again.state, again.result) == (DONE, job.result.removesuffix("-epoch2"))
    assert course_of(again).runs == (job.result, again.result)


def test_a_training_takes_what_the_edits_show_and_leaves_out_what_nobody_knows(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(desk)
    first, second, *rest = desk.store.entries()
    wrong = next(label for label in LABELS if label != first.label)
    for item, label in ((first, wrong), (second, "unicorn"), *((item, "") for item in rest)):
        desk.store.decide(Decision(id=item.key, counterfactual=item.key, verdict="keep", analyst="ada", label=label))
    task = task_for(desk, "", "colour", Recipe(max_epochs=2))
    assert dict(task.items) == {
        first.key: wrong,
        second.key: "unicorn",
        **{item.key: item.label for item in rest},
    }

    learnt: list[Example] = []

    def watched(judge: Classifier, items: tuple[Example, ...], *others: Any) -> Reinforcement:
        learnt.extend(items)
        return reinforce(judge, items, *others)

    monkeypatch.setattr(training, "reinforce", watched)
    job = ended(desk, desk.runner.add(task))
    assert (job.state, job.error) == (DONE, "")
    shown = {picture.key: (picture.label, picture.shown) for picture in learnt}
    assert shown == {
        first.key: (first.label, wrong),
        **{picture.key: (picture.label, picture.label) for picture in rest},
    }
    source = read_run(desk.store.root / FOLDER / job.result).source
    assert "1 pair is left out: the classifier colour does not know 'unicorn'" in source


def test_an_analysts_ticks_survive_the_job_that_edits(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    task = photo(desk)
    job = desk.runner.add(task)
    gate.reached.wait(PATIENCE)
    study = desk.store.load_study(task.photo)
    assert study is not None
    unticked = tuple(replace(variation, rejected_by=("You rejected it.",)) for variation in study.perturbations)
    save(desk.store, replace(study, perturbations=unticked))
    gate.open.set()
    assert ended(desk, job).state == DONE
    after = desk.store.load_study(task.photo)
    assert after is not None
    assert after.perturbations == unticked
    assert contents(after) != contents(study)
