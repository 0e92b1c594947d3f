"""Jobs that study: a photo, many photos, or a labelled folder on the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from pipeline import workflow
from pipeline.editing.inversion_cache import Inversions
from pipeline.errors import (
    Cancelled,
    ConflictError,
    DataError,
    PerturbationError,
    PipelineError,
    StoreError,
    display_name,
)
from pipeline.importing.folders import load_folder
from pipeline.settings import Settings
from pipeline.store.jobs import Hold
from pipeline.store.schema import digest
from pipeline.store.store import Failure, Store
from pipeline.tasks import studio
from pipeline.types import Models, Step, Study

FOLDERS = "folders"  # below the data folder: labelled folders to be studied on the server
LEFT_OUT = 3  # names told of the photos that could not be studied


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTask:
    """One photo under all factors: variations of those that have none yet, then every edit that is lacking."""

    photo: str
    classifier: str
    caption: str  # "": the captioner's
    name: str
    settings: Settings
    kind: ClassVar[str] = "study"

    @property
    def title(self) -> str:
        """Return the photo's file."""
        return f"{self.name or 'A photo'} under {_factors(self.settings)}"

    @property
    def result(self) -> str:
        """Return the photo's place."""
        return f"{self.photo}@{self.classifier}"

    def run(self, hold: Hold, models: Models, store: Store, inversions: Inversions) -> Iterator[None]:
        study = studio.require_study(store, self.photo, self.classifier)
        if self.caption and study.caption != self.caption:
            raise DataError("The photo has another caption by now; start the job again for that one.")
        begun = False

        def step(done: int, total: int) -> None:
            if begun:
                hold.step(done, total, "editing")
            else:
                hold.step(0, 0, "inverting")  # its steps are others than those of the edits

        hold.step(0, 0, "captions and variations")
        for _ in _vary(hold, models, store, study, self.settings):
            yield
        for _ in _edit(hold, models, store, study, self.settings, step, inversions):
            begun = True
            yield


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotosTask:
    """Many photos of the store, each under all factors; one that fails is noted, and the others go on."""

    photos: tuple[tuple[str, str], ...]  # key and classifier
    settings: Settings
    kind: ClassVar[str] = "photos"
    result: ClassVar[str] = ""

    @property
    def title(self) -> str:
        """Return how many photos."""
        count = len(self.photos)
        return f"{count} photo{'s' * (count != 1)} under {_factors(self.settings)}"

    def run(self, hold: Hold, models: Models, store: Store, inversions: Inversions) -> Iterator[None]:
        job, finished = hold.job.id, store.finished(hold.job.id)
        for done, (key, classifier) in enumerate(self.photos):
            if key in finished:
                continue
            name = key[:8]
            try:
                study = studio.require_study(store, key, classifier)
                name = study.photo.name or name
                hold.step(done, len(self.photos), name)
                for _ in _vary(hold, models, store, study, self.settings):
                    yield
                look: Step = lambda _done, _total: hold.look()  # noqa: E731
                for _ in _edit(hold, models, store, study, self.settings, look, inversions):
                    yield
            except (StoreError, Cancelled):
                raise
            except PipelineError as error:
                store.fail(job, name, str(error))
            else:
                store.finish(job, key, name)
                hold.kept()
            yield
        hold.step(len(self.photos), len(self.photos), "")
        hold.tell(error=_left_out(store.failures(job), len(self.photos)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderTask:
    """Every picture of a labelled folder that lies on the server, as `studio.stress` studies it."""

    folder: str  # its name below `FOLDERS` in the data folder
    contents: str  # hash of its files' names, labels and sizes
    classifier: str
    settings: Settings
    kind: ClassVar[str] = "folder"
    result: ClassVar[str] = ""

    @property
    def title(self) -> str:
        """Return the folder's name."""
        return f"The folder {self.folder} under {_factors(self.settings)}"

    def run(self, hold: Hold, models: Models, store: Store, inversions: Inversions) -> Iterator[None]:
        folder = _folder(store, self.folder)
        found, left_out = load_folder(folder), list[Failure]()
        total = len(found.pictures)
        hold.step(0, 0, "looking at what is finished")
        look: Step = lambda _done, _total: hold.look()  # noqa: E731
        studied = studio.stress(
            models, folder, store, self.settings, self.classifier, step=look, begun=hold.step, failed=left_out.append
        )
        for _ in studied:
            hold.kept()
            yield
        hold.step(total, total, "")
        faults = (f"{fault.name}: {fault.reason}" for fault in found.faults[:LEFT_OUT])
        hold.tell(error=" ".join(filter(None, (_left_out(left_out, total), *faults))))


def unstudied_photos(store: Store) -> tuple[tuple[str, str], ...]:
    """Return key and classifier of every photo without an edit, in a fixed order."""
    return tuple(
        sorted((summary.key, summary.classifier) for summary in store.studies() if not summary.counterfactuals)
    )


def list_folders(store: Store) -> tuple[str, ...]:
    """Return the names of the labelled folders that can be studied; a link that leads elsewhere is none of them."""
    root = (store.root / FOLDERS).resolve()
    found = root.glob("[!.]*") if root.is_dir() else ()
    return tuple(sorted(path.name for path in found if path.is_dir() and path.resolve().is_relative_to(root)))


def folder_task(store: Store, name: str, classifier: str, settings: Settings) -> FolderTask:
    """Return the task of a folder. Raises `DataError` when it is not among `list_folders`, or holds no picture."""
    found = load_folder(_folder(store, name)).pictures
    contents = digest(*((picture.path.name, picture.label, picture.path.stat().st_size) for picture in found))
    return FolderTask(folder=name, contents=contents, classifier=classifier, settings=settings)


def _folder(store: Store, name: str) -> Path:
    if name not in list_folders(store):
        asked = display_name(name)[:60]
        raise DataError(f"There is no folder '{asked}' in the data folder's '{FOLDERS}'; put one there first.")
    return store.root / FOLDERS / name


def _factors(settings: Settings) -> str:
    count = len(settings.factors)
    return "all factors" if count > 1 else f"the factor {settings.factors[0]}"


def _vary(hold: Hold, models: Models, store: Store, study: Study, settings: Settings) -> Iterator[None]:
    """Write the caption, and variations of every factor that has none; each is saved before the next is asked for."""
    key, classifier = study.photo.key, study.photo.classifier
    if not study.caption:
        hold.look()
        caption = workflow.describe(models, study, settings).caption
        with suppress(ConflictError):  # a person was quicker, and theirs is taken
            store.set_caption(key, caption, expected="")
        hold.kept()
        yield
    failed: list[PerturbationError] = []
    for factor in settings.factors:
        hold.look()
        study = studio.require_study(store, key, classifier)  # anew, because an analyst may be at work on it
        if any(
            perturbation.factor == factor and perturbation.caption == study.caption
            for perturbation in study.perturbations
        ):
            continue
        try:
            fresh = workflow.propose(models, replace(study, perturbations=()), replace(settings, factors=(factor,)))
            store.add_proposals(key, study.caption, fresh.perturbations)
            hold.kept()
        except PerturbationError as error:
            failed.append(error)
        yield
    if failed and len(failed) == len(settings.factors):
        raise failed[0]


def _edit(
    hold: Hold,
    models: Models,
    store: Store,
    study: Study,
    settings: Settings,
    step: Step,
    inversions: Inversions,
) -> Iterator[None]:
    """Make every accepted variation at every tau that the store lacks."""
    key, classifier = study.photo.key, study.photo.classifier
    study = studio.require_study(store, key, classifier)
    wanted = [
        perturbation
        for perturbation in study.perturbations
        if perturbation.accepted and perturbation.caption == study.caption
    ]
    if not wanted:
        raise DataError("No variation of its caption passes the gates; open the photo and write one.")
    for grown in studio.edit(
        models, store, key, wanted, settings, classifier, caption=study.caption, step=step, inversions=inversions
    ):
        if len(grown.counterfactuals) > len(study.counterfactuals):
            hold.kept()
        yield


def _left_out(failures: Sequence[Failure], total: int) -> str:
    """Return what could not be studied, by name with the reason; "" when nothing is missing."""
    if not failures:
        return ""
    told = " ".join(f"{failure.name}: {failure.message}" for failure in failures[:LEFT_OUT])
    more = f" And {len(failures) - LEFT_OUT} more." if len(failures) > LEFT_OUT else ""
    return f"{len(failures)} of {total} photos were left out. {told}{more}"
