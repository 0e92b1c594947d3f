"""kill -9 at random moments while decisions are saved and a job runs; another process looks at what is left.

`python -m tests.kills --rounds 200` prints one line of figures and ends with status 1 when anything was lost. Every
round copies a data folder, lets a victim decide and do a job of one of the real kinds with the tiny profile's models,
kills it, and has a process of its own look at the folder: is every acknowledged decision there, once, and every act
whole; are the records and all pictures whole; does the job go on and end as one that nobody disturbed? All processes
are forked from one that has opened the models and computed nothing. The lease is shortened for the one that looks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import torch

from explorer.desk import Desk
from pipeline import workflow
from pipeline.models.loader import load
from pipeline.profiles import load_profile
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.runs import read_run
from pipeline.store import jobs, maintenance
from pipeline.store.jobs import DONE
from pipeline.store.store import Store
from pipeline.tasks.kinds import task_of
from pipeline.tasks.studying import PhotosTask, StudyTask
from pipeline.tasks.tasks import Task
from pipeline.tasks.training import FOLDER, TrainingTask
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import draw, sample
from pipeline.types import Decision, Models
from tests.browser import stock
from tests.stores import save

KINDS = ("study", "reinforcement", "photos")
BATCH = 3  # decisions of one act
UNDONE = 4  # one act of so many takes back the one before
PATIENCE = 120.0  # seconds


def fork(work: Callable[[int], None]) -> tuple[int, int]:
    """A child that does the work with a pipe to write to; its id and the pipe's other end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.close(reading)
        work(writing)
        os._exit(0)
    except BaseException as error:
        os.write(writing, f"\n{json.dumps({'fault': f'{type(error).__name__}: {error}'})}\n".encode())
        os._exit(1)


def answer(work: Callable[[], object]) -> dict[str, object]:
    """What a child of its own answers, by way of JSON."""
    child, reading = fork(lambda pipe: os.write(pipe, json.dumps(work()).encode()) and None)
    with os.fdopen(reading) as pipe:
        told = json.loads(pipe.read().strip().splitlines()[-1])
    os.waitpid(child, 0)
    if isinstance(told, dict) and "fault" in told:
        raise AssertionError(told["fault"])
    return dict(told)


def prepare(models: Models, root: Path) -> dict[str, object]:
    """Fills a data folder: photos to be studied, and counterfactuals to be decided upon and learnt from."""
    store = Store(root)
    settings = replace(
        models.profile.settings, factors=("background", "subject"), proposals=1, taus=(0.5,), num_inference_steps=3
    )
    stock(models, store, sample(10, HELD_OUT_SEED + 61))
    items = tuple((entry.key, entry.label) for entry in store.entries())
    fresh = []
    for number, scene in enumerate(sample(3, HELD_OUT_SEED + 62)):
        study = workflow.open_photo(models, draw(scene), scene.label, name=f"{number}.png")
        save(store, workflow.describe(models, study, settings, scene.caption()))
        fresh.append((study.photo.key, study.photo.classifier))
    (photo, judge), *rest = fresh
    few = replace(settings, factors=("background",), taus=(0.5,))
    tasks: dict[str, Task] = {
        "study": StudyTask(photo=photo, classifier=judge, caption="", name="", settings=settings),
        "photos": PhotosTask(photos=tuple(rest), settings=few),
        "reinforcement": TrainingTask(
            classifier=judge, items=items, recipes=(Recipe(max_epochs=40, patience=40),), source=""
        ),
    }
    store.close()
    return {kind: json.dumps(asdict(task)) for kind, task in tasks.items()}  # type: ignore[call-overload]


def victim(models: Models, root: Path, kind: str, parameters: str, pipe: int) -> None:
    """Starts the job and decides as fast as it can; tells every act once the store has acknowledged it."""
    task, store = task_of(kind, parameters), Store(root)
    desk, rng = Desk(models=models, store=store), random.Random(os.getpid())
    keys = [entry.key for entry in store.entries()]

    def decide() -> None:
        for number in itertools.count():
            act, made = f"{rng.getrandbits(128):032x}", rng.choice(("keep", "reject", "unsure", ""))
            chosen = rng.sample(keys, BATCH)
            acts = [
                Decision(id=f"{act}-{n}", counterfactual=key, verdict=made, act=act) for n, key in enumerate(chosen)
            ]
            stored = store.undo("", act) if number % UNDONE == UNDONE - 1 else store.decide_all(acts)
            told = [(decision.id, decision.counterfactual, decision.verdict) for decision in stored]
            os.write(pipe, (json.dumps(told) + "\n").encode())
            time.sleep(0.02)

    os.write(pipe, b'"ready"\n')
    job = desk.runner.add(task)
    os.write(pipe, (json.dumps(job.id) + "\n").encode())
    threading.Thread(target=decide, daemon=True).start()
    time.sleep(PATIENCE)


def finish(models: Models, root: Path, kind: str, parameters: str) -> dict[str, object]:
    """Has the job done to its end by this process, and tells what came of it and how long it took."""
    jobs.LEASE = 0.0
    store = Store(root)
    desk, begun = Desk(models=models, store=store), time.monotonic()
    task = task_of(kind, parameters)
    job = desk.runner.add(task)
    while (known := store.jobs.get(job.id)) is not None and known.active:
        assert time.monotonic() < begun + PATIENCE, f"the job does not end: {known}"
        time.sleep(0.01)
    seconds = time.monotonic() - begun
    assert known is not None
    assert (known.state, known.error) == (DONE, ""), f"{known.state}: {known.error}"
    desk.close()
    return {"seconds": seconds, "result": list(result(store, task, known.result))}


def result(store: Store, task: Task, name: str) -> Iterator[object]:
    """All that the job makes, to be compared."""
    if isinstance(task, TrainingTask):
        made = read_run(store.root / FOLDER / name)
        told = str((made.answers, made.validation))
        yield [list(made.losses), [line.double().sum().item() for line in made.theta_1], made.alpha, told]
        return
    photos = task.photos if isinstance(task, PhotosTask) else ((task.photo, task.classifier),)  # type: ignore[attr-defined]
    for key, classifier in sorted(photos):
        study = store.load_study(key, classifier)
        assert study is not None
        yield [variation.edited_caption for variation in study.perturbations]
        yield sorted([item.key, item.prediction.probabilities.tolist()] for item in study.counterfactuals)


def alike(line: object, other: object) -> bool:
    """Equal, numbers to the third place: how many pictures go through a network at once decides on the fifth."""
    if isinstance(line, list) and isinstance(other, list):
        return len(line) == len(other) and all(map(alike, line, other))
    if isinstance(line, float) and isinstance(other, float):
        return abs(line - other) < 1e-3
    return line == other


def look(models: Models, root: Path, kind: str, parameters: str, said: list[object]) -> dict[str, object]:
    """What is left after the kill, and what becomes of the job; raises `AssertionError` for what must not be."""
    store = Store(root)
    acts = [act for act in said if isinstance(act, list)]
    ids = [line for line in said if isinstance(line, str) and line != "ready"]
    log = store.log()
    there = {decision.id: (decision.counterfactual, decision.verdict) for decision in log}
    lost = [line for act in acts for line in act if there.get(line[0]) != (line[1], line[2])]
    sizes = Counter(
        decision.act for decision in log if decision.act != decision.id
    )  # what was kept beforehand are acts of one
    faults = [
        f"{finding.kind} {finding.where} {finding.detail}" for finding in maintenance.check(store) if finding.is_fault
    ]
    known = [store.jobs.get(id_) for id_ in ids]
    report = {
        "acknowledged": sum(map(len, acts)),
        "lost": len(lost),
        "twice": len(log) - len(there),
        "half": sum(size != BATCH for size in sizes.values()),
        "faults": faults,
        "jobs_lost": sum(job is None for job in known),
        "state": known[0].state if known and known[0] else "none",
    }
    store.close()
    report |= finish(models, root, kind, parameters)
    after = Store(root)
    report["faults_after"] = [finding.where for finding in maintenance.check(after) if finding.is_fault]
    after.close()
    return report


def one_round(models: Models, base: Path, root: Path, kind: str, parameters: str, delay: float) -> dict[str, object]:
    """Copies, begins, kills, looks."""
    shutil.copytree(base, root)
    child, reading = fork(lambda pipe: victim(models, root, kind, parameters, pipe))
    with os.fdopen(reading) as pipe:
        ready = pipe.readline()
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        lines = [ready, *pipe]
    os.waitpid(child, 0)
    said = [json.loads(line) for line in lines if line.endswith("\n") and line.strip()]
    if any(isinstance(item, dict) for item in said):
        raise AssertionError(str(said[-1]))
    report = answer(lambda: look(models, root, kind, parameters, said))
    shutil.rmtree(root)
    return report


def figures(report: dict[str, object], reference: object) -> Counter[str]:
    """What is counted of one round."""
    counted = ("acknowledged", "lost", "twice", "half", "jobs_lost")
    found = Counter({name: int(str(report[name])) for name in counted})
    found["faults"] = sum(len(report[name]) for name in ("faults", "faults_after"))  # type: ignore[arg-type]
    found["same"] = int(alike(report["result"], reference))
    found[f"state {report['state']}"] = 1
    return found


def told(total: Counter[str], rounds: int, seconds: float) -> str:
    """The line of figures."""
    states = ", ".join(f"{count} {name[6:]}" for name, count in sorted(total.items()) if name.startswith("state "))
    return (
        f"{rounds} kills in {seconds:.0f} s: {total['acknowledged']} decisions acknowledged, {total['lost']} lost, "
        f"{total['twice']} twice, {total['half']} acts half applied, {total['jobs_lost']} jobs lost, "
        f"{total['faults']} faults in records or pictures; jobs were {states} when killed; "
        f"{total['same']} went on to the same result as undisturbed\n"
    )


def main() -> int:
    """0 when nothing was lost; an interrupt from the keyboard ends early, with the figures until then."""
    parser = argparse.ArgumentParser(description="Kills the explorer at random moments and looks at what is left.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = load(replace(load_profile("tiny"), evaluation={}), "cpu")
    _ = models.captioner, models.perturber, models.editor, models.scorer, models.classifier()
    rng, begun, rounds = random.Random(options.seed), time.monotonic(), 0
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        base = Path(folder) / "base"
        parameters = {kind: str(text) for kind, text in answer(lambda: prepare(models, base)).items()}
        whole = {}
        for kind in KINDS[: options.rounds]:
            shutil.copytree(base, Path(folder) / kind)
            whole[kind] = answer(lambda kind=kind: finish(models, Path(folder) / kind, kind, parameters[kind]))
        try:
            while rounds < options.rounds:
                kind = KINDS[rounds % len(KINDS)]
                delay = rng.uniform(0.0, 1.2 * float(str(whole[kind]["seconds"])))
                report = one_round(models, base, Path(folder) / f"{rounds}", kind, parameters[kind], delay)
                total += figures(report, whole[kind]["result"])
                rounds += 1
        except KeyboardInterrupt:
            sys.stderr.write("stopped\n")
    sys.stdout.write(told(total, rounds, time.monotonic() - begun))
    bad = ("lost", "twice", "half", "jobs_lost", "faults")
    return 1 if any(total[name] for name in bad) or total["same"] != rounds else 0


if __name__ == "__main__":
    sys.exit(main())
