"""The kinds of jobs, and the way back from a job's parameters to its task."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import DataError
from pipeline.reinforcement.recipes import Recipe
from pipeline.settings import Settings
from pipeline.tasks.adding import AddTask, FetchTask
from pipeline.tasks.studying import FolderTask, PhotosTask, StudyTask
from pipeline.tasks.tasks import Task
from pipeline.tasks.training import TrainingTask

KINDS: Mapping[str, Callable[..., Task]] = {
    task.kind: task for task in (StudyTask, PhotosTask, FolderTask, TrainingTask, FetchTask, AddTask)
}
APART = (FetchTask.kind,)  # need no model, and are carried out beside the others


def task_of(kind: str, parameters: str) -> Task:
    """Return the task behind `job_of`. Raises `DataError` when this program knows no such task."""
    try:
        values = json.loads(parameters)
        if "settings" in values:
            values["settings"] = Settings(**_tuples(values["settings"]))
        if "recipes" in values:
            values["recipes"] = tuple(Recipe(**recipe) for recipe in values["recipes"])
        return KINDS[kind](**_tuples(values))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"This job of the kind '{kind}' is of another version; start it again.") from error


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return lists as tuples, however deep."""

    def as_tuples(value: object) -> object:
        return tuple(map(as_tuples, value)) if isinstance(value, list) else value

    return {name: as_tuples(value) for name, value in values.items()}
