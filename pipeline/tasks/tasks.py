"""What every job of a data folder is: parameters, and work that can be cut off anywhere.

A task is its parameters, and a generator that does the work and yields whenever something is finished and saved, so
that whoever drives it may let other work with the models pass. It can be cut off anywhere: begun again, it finds in the
data folder what is finished, passes over that, and ends with the same result. How a job is recorded is told in
`pipeline/store/jobs.py`, which tasks there are in `pipeline/tasks/kinds.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import ClassVar, Protocol

from pipeline.editing.inversion_cache import Inversions
from pipeline.settings import Profile
from pipeline.store.jobs import Hold, Job
from pipeline.store.keys import sources
from pipeline.store.schema import digest
from pipeline.store.store import Store
from pipeline.types import Models


class Task(Protocol):
    """One kind of job."""

    kind: ClassVar[str]

    @property
    def title(self) -> str:
        """Return what it does, in a few words."""
        ...

    @property
    def result(self) -> str:
        """Return where what comes of it will be found; "" while that is unknown."""
        ...

    def run(self, hold: Hold, models: Models, store: Store, inversions: Inversions) -> Iterator[None]:
        """Do what is not finished yet; yield after everything that it finishes."""
        ...


def job_of(task: Task, profile: Profile, analyst: str = "") -> tuple[Job, str]:
    """Return the task as a job to be added, and its parameters as JSON; its id is a hash of all that determines it."""
    parameters = json.dumps(asdict(task), sort_keys=True)  # type: ignore[call-overload]
    id_ = digest(task.kind, parameters, sources(profile), profile.image_size)
    job = Job(id=id_, kind=task.kind, title=task.title, profile=profile.name, analyst=analyst, result=task.result)
    return job, parameters
