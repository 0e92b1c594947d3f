"""Jobs that add a classifier: it is fetched from a hub, and opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pipeline.classifiers.promotion import add_and_open
from pipeline.classifiers.sources import HUB
from pipeline.editing.inversion_cache import Inversions
from pipeline.runtime.fetching import fetch_apart
from pipeline.runtime.hub import HubModel
from pipeline.store.jobs import Hold
from pipeline.store.store import Store
from pipeline.tasks.tasks import job_of
from pipeline.types import Models


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchTask:
    """A classifier that a visitor adds, from a hub to this computer; when it is here a job opens it.

    It needs no model, so that pages and other jobs go on meanwhile.
    """

    repo: str
    revision: str  # a commit
    size: int  # bytes to be fetched, as the hub told
    name: str  # what it will be called
    kind: ClassVar[str] = "fetch"
    result: ClassVar[str] = ""

    @property
    def title(self) -> str:
        """Return what comes from where, and how much."""
        return f"Fetching {self.repo}, {format_size(self.size)}, to be called {self.name}"

    def run(self, hold: Hold, models: Models, store: Store, inversions: Inversions) -> Iterator[None]:
        model = HubModel(role="classifier", repo=self.repo, revision=self.revision)
        fetch_apart(model, self.size, lambda done, total: hold.step(done, total, "MB fetched"))
        hold.kept()
        yield
        task = AddTask(text=f"{HUB}{model}", name=self.name)
        store.jobs.add(*job_of(task, models.profile, hold.job.analyst))


@dataclass(frozen=True, slots=True, kw_only=True)
class AddTask:
    """A classifier that lies on this computer is opened and, when that goes well, can be chosen from then on."""

    text: str  # as `promotion.add` takes it
    name: str
    kind: ClassVar[str] = "classifier"
    result: ClassVar[str] = ""

    @property
    def title(self) -> str:
        """Return what the classifier will be called."""
        return f"Adding the classifier {self.name}"

    def run(self, hold: Hold, models: Models, store: Store, inversions: Inversions) -> Iterator[None]:
        models.adopt(store.root)
        if self.name not in models.profile.classifiers:  # an attempt that was cut off may have come so far
            add_and_open(models, store.root, self.text, self.name)
        yield


def format_size(size: int) -> str:
    """Return bytes in words, such as "102 MB" or "4.1 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
