"""Make a data folder with the code of an earlier version; README.md beside this says how the stored ones were made.

Runs in a checkout of that version, imports its `pipeline` and its seams, and goes the way an analyst goes: photos are
opened, captioned, varied, edited, relabelled, reworded, judged by two analysts, frozen into sets, put away, studied by
jobs. What a version does not know yet is left out. `expected.json` is what that version itself reads back from it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline import workflow
from pipeline.errors import PipelineError
from pipeline.store.store import Store
from pipeline.types import Decision, Study
from tests.seams import SeamModels, picture, settings

BEGUN = 1_763_800_000.0  # the clock of all versions starts here and goes on by a quarter of a second
FEW = settings(factors=("background", "object"), taus=(0.3, 0.6))
ONE = replace(FEW, factors=("background",))
UNTICKED = ("You rejected it.",)


class Analysts:
    """Ada and Grace, and how the version at hand writes their decisions down."""

    def __init__(self, store: Store) -> None:
        self.store, self.acts = store, hasattr(store, "undo")
        self._numbers = count(1)

    def says(self, analyst: str, verdict: str, *keys: str, **more: Any) -> None:
        """One act on all keys; a reason, and whatever else the version knows of decisions."""
        act = f"{analyst.lower()}-{next(self._numbers)}"
        for place, key in enumerate(keys):
            known = {"act": act} if self.acts else {}
            made = Decision(id=f"{act}-{place}", counterfactual=key, verdict=verdict, analyst=analyst, **known, **more)
            self.store.decide(made)

    def undo(self, analyst: str) -> None:
        """Takes the last act back."""
        self.store.undo(analyst, f"{analyst.lower()}-undo-{next(self._numbers)}")

    def redo(self, analyst: str) -> None:
        """Does it again."""
        self.store.redo(analyst, f"{analyst.lower()}-redo-{next(self._numbers)}")


def studied(models: SeamModels, store: Store, study: Study, wanted: object = FEW, caption: str = "") -> Study:
    """Caption, variations and edits, saved after every stage."""
    study = workflow.describe(models, study, wanted, caption)
    store.save_study(study)
    study = workflow.propose(models, study, wanted)
    store.save_study(study)
    for grown in workflow.edit(models, study, study.perturbations, wanted):
        store.save_study(grown)
    return grown


def opened(models: SeamModels, store: Store, colour: str, seed: int, label: str = "", classifier: str = "") -> Study:
    """A photo as it is uploaded."""
    study = workflow.open_photo(models, picture(colour, seed), label, classifier, f"{colour}-{seed}.png")
    store.save_study(study)
    return study


def fill(store: Store, version: int, *, puts_away: bool) -> list[str]:
    """Goes through everything that the version knows; the runs under which photos were finished or failed."""
    models, analysts = SeamModels(), Analysts(store)
    first = studied(models, store, opened(models, store, "red", 1, "red"))
    again = studied(models, store, first, ONE, "a red wall on white")
    both = studied(models, store, opened(models, store, "green", 2, "green"))
    other = opened(models, store, "green", 2, "green", "other")
    other = studied(models, store, replace(other, perturbations=both.perturbations), FEW, both.caption)
    # Under one of its classifiers alone, as it was done then; the latest word is the photo's.
    store.save_study(replace(both, photo=replace(both.photo, label="blue")))
    relabelled = studied(models, store, opened(models, store, "blue", 3, "blue"), ONE)
    store.save_study(replace(relabelled, photo=replace(relabelled.photo, label="red")))
    opened(models, store, "red", 4)  # its label is the classifier's guess
    left = studied(models, store, opened(models, store, "green", 5, "green"), ONE)
    ticks(models, store, again)

    keys = [item.key for item in first.counterfactuals]
    analysts.says("Ada", "keep", keys[0], keys[1])
    analysts.says("Ada", "reject", keys[1], reason="the wall is gone")
    analysts.says("Ada", "keep", *(item.key for item in both.counterfactuals[:2]))
    analysts.says("Ada", "unsure", other.counterfactuals[0].key)
    analysts.says("Grace", "keep", left.counterfactuals[0].key)
    analysts.says("Grace", "reject", again.counterfactuals[0].key)
    analysts.says("Grace", "", again.counterfactuals[0].key)
    store.freeze("robust")
    analysts.says("Ada", "keep", again.counterfactuals[1].key)
    store.freeze("robust")
    if version >= 3:
        analysts.says("Grace", "reject", keys[0])  # a conflict that stays
        analysts.says("Grace", "reject", both.counterfactuals[0].key)
        analysts.says("Ada", "keep", both.counterfactuals[0].key, kind="resolve")
        analysts.says("Ada", "keep", keys[2], keys[3])
        analysts.undo("Ada")
        analysts.redo("Ada")
        analysts.says("Ada", "reject", relabelled.counterfactuals[0].key)
        analysts.undo("Ada")
    if version >= 4:
        said = {"label": "green", "tags": ("blurred", "two of them")}
        analysts.says("Grace", "keep", relabelled.counterfactuals[1].key, **said)
        store.freeze("labelled")
    if version >= 2:
        from pipeline.types import Rewording

        for before, after, analyst in ((first.caption, again.caption, "Ada"), ("", left.caption, "")):
            photo = first.photo.key if before else left.photo.key
            store.reword(Rewording(photo=photo, before=before, caption=after, analyst=analyst))
    runs = [a_run(models, store)]
    if version >= 5:
        runs += jobs(models, store)
    if puts_away:
        store.put_away([left.photo.key])
    return runs


def ticks(models: SeamModels, store: Store, study: Study) -> None:
    """One variation is unticked by the analyst, one is their own, one is refused by a gate."""
    models.perturber.rejected = ("subject",)
    own = models.perturber.judge(study.caption, "a red wall beside green", "object", study.photo.label, FEW)
    refused = models.perturber.judge(study.caption, "a red wall under blue", "subject", study.photo.label, FEW)
    unticked = tuple(replace(variation, rejected_by=UNTICKED) for variation in study.perturbations)
    store.save_study(replace(study, perturbations=(*unticked, own, refused)))


def a_run(models: SeamModels, store: Store) -> str:
    """A labelled folder is studied, one of its pictures cannot be; the run's key."""
    with tempfile.TemporaryDirectory() as folder:
        for label, seed in (("red", 6), ("blue", 7)):
            (Path(folder) / label).mkdir()
            picture(label, seed).save(Path(folder) / label / f"{seed}.png")
        Image.new("RGB", (16, 16), "black").save(Path(folder) / "blue" / "dark.png")
        models.editor.broken_below = 0.01
        list(workflow.stress(models, Path(folder), store, ONE))
    key = workflow.run_key if hasattr(workflow, "run_key") else None
    return str(key(models, ONE) if key else workflow._job(models, ONE, models.classifier()))


def jobs(models: SeamModels, store: Store) -> list[str]:
    """One job is done, one failed, one was cancelled, one runs in a process that is gone, one waits."""
    from pipeline.editing.inversion_cache import Inversions
    from pipeline.store.jobs import Hold
    from pipeline.tasks import tasks

    def added(task: tasks.Task) -> str:
        return store.jobs.add(*tasks.job_of(task, models.profile, "Ada")).id

    def taken() -> tuple[Hold, tasks.Task]:
        hold = store.jobs.take(models.profile.name)
        assert hold is not None
        return hold, tasks.task_of(hold.job.kind, store.jobs.parameters(hold.job.id))

    def study(colour: str, seed: int) -> tasks.StudyTask:
        photo = opened(models, store, colour, seed, colour).photo
        return tasks.StudyTask(photo=photo.key, classifier="colour", caption="", name=photo.name, settings=ONE)

    added(study("red", 8))
    hold, task = taken()
    list(task.run(hold, models, store, Inversions()))
    hold.end("done")
    added(replace(study("green", 9), caption="words that the photo never had"))
    hold, task = taken()
    try:
        list(task.run(hold, models, store, Inversions()))
    except PipelineError as error:
        hold.end("failed", str(error))
    store.jobs.cancel(added(study("blue", 10)))
    # Their labels are guesses, though they count as finished.
    many = tuple((opened(models, store, "blue", seed).photo.key, "colour") for seed in (11, 12))
    cut = added(tasks.PhotosTask(photos=many, settings=ONE))
    hold, task = taken()
    work = task.run(hold, models, store, Inversions())
    while not store.finished(cut):
        next(work)
    hold.beat()
    added(study("red", 13))
    return [cut]


def pixels(image: Image.Image) -> str:
    """A picture as a short text."""
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()[:16]


def read_back(store: Store, runs: list[str], *, puts_away: bool) -> dict[str, object]:
    """What the folder holds, as the version that wrote it reads it."""
    photos = {study.key: study for study in store.studies()}
    asked: dict[str, Callable[[], object]] = {
        "rewordings": lambda: {key: [asdict(rewording) for rewording in store.rewordings(key)] for key in photos},
        "jobs": lambda: [{**asdict(job), "parameters": store.jobs.parameters(job.id)} for job in store.jobs.all()],
        "away": lambda: sorted(store.put_away_photos()) if puts_away else [],
    }
    return {
        "studies": [
            study_told(study)
            for key in sorted(photos)
            for classifier in ("colour", "other")
            if (study := store.load_study(key, classifier)) is not None
        ],
        "current": {
            key: {"label": photo.label, "caption": photo.caption, "name": photo.name} for key, photo in photos.items()
        },
        "log": [asdict(decision) for decision in store.log()],
        "holding": {key: decision.verdict for key, decision in store.decisions().items()},
        "sets": [asdict(frozen) for frozen in store.sets()],
        "pictures": {key: pixels(Image.open(store.file(key))) for key in [*photos, *made(store)]},
        "finished": {run: sorted(store.finished(run)) for run in runs},
        "failures": [asdict(failure) for failure in store.failures()],
    } | {name: read() for name, read in asked.items() if name in known(store, puts_away=puts_away)}


def known(store: Store, *, puts_away: bool) -> set[str]:
    """The parts that not every version has."""
    names = {"rewordings": "rewordings", "jobs": "jobs"}
    return {name for name, attribute in names.items() if hasattr(store, attribute)} | ({"away"} if puts_away else set())


def made(store: Store) -> list[str]:
    """Keys of all counterfactuals, in the order they were made; no version lists them all, the tables do."""
    engine = store.database.engine if hasattr(store, "database") else store._engine
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT key FROM counterfactuals ORDER BY number")
        return [str(row[0]) for row in rows]


def study_told(study: Study) -> dict[str, object]:
    """A study in plain values, its pictures by their pixels."""
    return {
        "photo": study.photo.key,
        "classifier": study.photo.classifier,
        "label": study.photo.label,
        "caption": study.caption,
        "prediction": list(study.photo.prediction.probabilities),
        "control": None if study.control is None else list(study.control.probabilities),
        "reconstruction": None if study.reconstruction is None else pixels(study.reconstruction),
        "proposals": [asdict(variation) for variation in study.perturbations],
        "counterfactuals": [
            {
                "key": item.key,
                "edited_caption": item.perturbation.edited_caption,
                "factor": item.perturbation.factor,
                "tau": item.tau,
                "scores": asdict(item.scores),
                "missed": list(item.missed),
                "prediction": list(item.prediction.probabilities),
                "picture": pixels(item.image),
                "seed": getattr(item, "seed", None),
                "models": getattr(item, "models", {}),
            }
            for item in study.counterfactuals
        ],
    }


def lower(database: Path) -> None:
    """Version 4 as version 3 wrote it: before a decision had a label and tags."""
    with sqlite3.connect(database) as connection:
        for column in ("label", "tags"):
            connection.execute(f"ALTER TABLE decisions DROP COLUMN {column}")
        connection.execute("PRAGMA user_version=3")
    connection.close()


def main() -> None:
    """Fills FOLDER; with --database its records lie on that server and only the pictures in the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=int, choices=range(1, 6))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--database", default="")
    options = parser.parse_args()
    clock = count(BEGUN, 0.25)
    time.time = lambda: next(clock)
    store = Store(options.folder, *([options.database] if options.database else []))
    puts_away = hasattr(store, "put_away")
    runs = fill(store, options.version, puts_away=puts_away)
    told = read_back(store, runs, puts_away=puts_away)
    store.close()
    (options.folder / "expected.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    if options.version == 3:
        lower(options.folder / "explorer.db")


if __name__ == "__main__":
    main()
