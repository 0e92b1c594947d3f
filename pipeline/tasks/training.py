"""The job that reinforces a classifier: features once, then a training, its evaluation and a folder per recipe.

What its live curves show goes along in the job as JSON. An attempt goes on from the checkpoint of the training that was
cut off, and passes over recipes whose folder is there.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

from PIL.Image import Image

from pipeline.curation.selection import Material
from pipeline.editing.inversion_cache import Inversions
from pipeline.errors import Cancelled
from pipeline.images import fit, open_image
from pipeline.importing.folders import load_folder
from pipeline.reinforcement.features import Features, features_folder
from pipeline.reinforcement.heads import Epoch
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.reinforcement import checkpoint_file, reinforce
from pipeline.reinforcement.saving import save
from pipeline.reinforcement.training_data import RECONSTRUCTIONS, Example
from pipeline.settings import Profile
from pipeline.store.jobs import Hold, Job
from pipeline.store.store import Store
from pipeline.types import Classifier, Models, Reinforcement

FOLDER = "reinforced"  # below the data folder: one folder per run


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How far a reinforcement is: the recipe under way, its epochs, and the runs that were made."""

    method: str = ""
    place: int = 0  # among the recipes
    epochs: tuple[Epoch, ...] = ()
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """Reinforces a classifier with counterfactuals, by one recipe or several."""

    classifier: str
    items: tuple[tuple[str, str], ...]  # key of the counterfactual and what it shows
    recipes: tuple[Recipe, ...]
    source: str  # what the items are, in words
    kind: ClassVar[str] = "reinforcement"
    result: ClassVar[str] = ""

    @property
    def title(self) -> str:
        """Return the classifier, and how much it learns from."""
        what = f" by {len(self.recipes)} recipes" if len(self.recipes) > 1 else ""
        return f"Reinforcing {self.classifier} with {len(self.items)} pairs{what}"

    def run(self, hold: Hold, models: Models, store: Store, inversions: Inversions) -> Iterator[None]:
        """Yield once per recipe; a cancel keeps the best head until then. No inversion is needed."""
        hold.step(0, 0, "features")
        judge = models.classifier(self.classifier)
        features, splits = (
            Features(judge, features_folder(store.root, self.classifier)),
            evaluation_pictures(models.profile),
        )
        material = Material(labels=dict(self.items), source=self.source).known_to(judge.name, judge.labels)
        items, course = self._items(store, material.labels), course_of(hold.job)
        for place, recipe in enumerate(self.recipes):
            name, stopped = self.run_name(hold.job, recipe), False
            if not (store.root / FOLDER / name).is_dir():
                earlier = course.epochs if place == course.place else ()
                course = replace(course, method=recipe.method, place=place, epochs=earlier)
                told = _Progress(hold, course, place * recipe.max_epochs, len(self.recipes) * recipe.max_epochs)
                unfinished = checkpoint_file(store.root, self.classifier, recipe)
                made = reinforce(judge, items, splits, recipe, told, features, unfinished)
                course, stopped = told.course, made.stopped
                name += f"-epoch{len(made.losses) - 1}" if stopped else ""
                _save_run(store, replace(made, source=material.told), judge, store.root / FOLDER / name)
            course = replace(course, runs=tuple(dict.fromkeys((*course.runs, name))))
            hold.tell(result=name, live=_course_json(course))
            if stopped:
                raise Cancelled(f"Stopped with the best head until then, saved as {FOLDER}/{name}; it can be resumed.")
            yield

    def run_name(self, job: Job, recipe: Recipe) -> str:
        """Return the name of the folder, below `FOLDER`, that a recipe's run gets."""
        when = time.strftime("%Y%m%d-%H%M%S", time.localtime(job.created))
        which = f"-{recipe.method}-{recipe.seed}" if len(self.recipes) > 1 else ""
        return f"{Path(self.classifier).name}-{when}-{job.id[:4]}{which}"

    def _items(self, store: Store, labels: Mapping[str, str]) -> tuple[Example, ...]:
        """Return what is learnt from, with the reconstructions only where a recipe takes them: they are read singly."""
        controls = any(recipe.how.kind is RECONSTRUCTIONS for recipe in self.recipes)
        items = []
        for photo, counterfactual in store.pairs(list(labels)):
            study = store.load_study(photo.key, photo.classifier) if controls else None
            control = study.reconstruction if study else None
            seen = (photo.image, counterfactual.image, photo.key, counterfactual.perturbation.factor, control)
            items.append(Example(photo.label, *seen, key=counterfactual.key, corrected=labels[counterfactual.key]))
        return tuple(items)


class _Progress:
    """Hears of every epoch and passes it on; the checkpoint of that epoch is on the disk by then."""

    def __init__(self, hold: Hold, course: Course, before: int, total: int) -> None:
        self.course = course
        self._hold, self._before, self._total = hold, before, total

    def __call__(self, epoch: Epoch) -> None:
        earlier = tuple(known for known in self.course.epochs if known.number < epoch.number)
        self.course = replace(self.course, epochs=(*earlier, epoch))
        self._hold.tell(live=_course_json(self.course))
        self._hold.kept()
        self._hold.step(self._before + epoch.number, self._total, f"{self.course.method}, epoch {epoch.number}")


def course_of(job: Job) -> Course:
    """Return how far the job of a reinforcement is."""
    held = json.loads(job.live) if job.live else {"epochs": (), "runs": ()}
    return Course(**{**held, "epochs": tuple(Epoch(**epoch) for epoch in held["epochs"]), "runs": tuple(held["runs"])})


def evaluation_pictures(profile: Profile) -> dict[str, list[tuple[Image, str]]]:
    """Return the profile's own test pictures by split."""
    found = {split: load_folder(Path(folder)).pictures for split, folder in profile.evaluation.items()}
    return {
        split: [(fit(open_image(picture.path), profile.image_size), picture.label) for picture in pictures]
        for split, pictures in found.items()
    }


def _course_json(course: Course) -> str:
    return json.dumps(asdict(course))


def _save_run(store: Store, made: Reinforcement, judge: Classifier, folder: Path) -> None:
    """Write the run's folder, unless it is there; what an attempt left behind that was killed here goes."""
    if folder.is_dir():
        return
    with store.alone():
        for left in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(left, ignore_errors=True)
    save(made, judge, folder, store.alone())
