"""What a new data folder starts with: the profile's demo project.

What the demo is and how it enters a data folder is `pipeline/tasks/demo.py`'s; `explorer/collections.py` tells of it.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from pathlib import Path

from explorer.desk import Desk
from pipeline.errors import PipelineError
from pipeline.tasks import demo, studio
from pipeline.tasks.training import FOLDER
from pipeline.types import Models

log = logging.getLogger(__name__)


def bring_demo(desk: Desk) -> Future[None]:
    """Bring the demo, if the profile has one, into a data folder that nothing was kept in; its run when it can."""
    folder = desk.models.profile.demo
    if not folder or desk.store.studies():
        return desk.worker.submit(lambda: None)
    demo.bring(desk.store, Path(folder))
    return desk.worker.submit(lambda: judge_demo(desk, desk.models))


def claim_demo(desk: Desk) -> None:
    """Part the demo's photos from all others in a data folder that an earlier version wrote."""
    if folder := desk.models.profile.demo:
        try:
            demo.claim(desk.store, Path(folder))
        except PipelineError as error:
            log.warning("the demo stays among the other photos: %s", error.in_full())


def judge_demo(desk: Desk, models: Models) -> None:
    """Have the classifiers that are here judge what was brought, and bring the demo's run.

    Without its run the demo is a little smaller; that stops nobody.
    """
    studio.refresh_classifiers(models, desk.store)
    try:
        demo.bring_run(models, desk.store.root / FOLDER, Path(models.profile.demo))
    except PipelineError as error:
        log.warning("the demo's run is left out: %s", error.in_full())
