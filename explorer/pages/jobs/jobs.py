"""Page: every job of the data folder, how far it is, and what can be done about it.

The page asks for the list while it is open; the work goes on without it. Jobs are carried out in `explorer/desk.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from explorer.address import require_study
from explorer.components.job_list import announcer, job_list, jobs_markup, news
from explorer.components.markup import Html, tag
from explorer.components.masthead import section
from explorer.components.status import status_line
from explorer.desk import Desk
from explorer.pages.explore import classifiers, edits
from explorer.wiring import use_records
from pipeline.errors import DataError
from pipeline.store.jobs import DONE, SHOWN
from pipeline.tasks.studying import FOLDERS, PhotosTask, StudyTask, folder_task, list_folders, unstudied_photos
from pipeline.tasks.tasks import Task

TITLE, ROUTE = "Jobs", "/jobs"
SECONDS = 2.0  # between two looks at the list


def build(demo: gr.Blocks, desk: Desk) -> None:
    """Draw the page into the current Blocks and wire it."""
    timer, count = gr.Timer(SECONDS), gr.State(SHOWN)
    with gr.Row(elem_classes="bench", equal_height=False):
        with gr.Column(elem_classes="work", min_width=300):
            section("", "Jobs", "One at a time, in the order in which they were started. A reload loses nothing.")
            listed, told = job_list(), announcer()
        with gr.Column(elem_classes="inspector", min_width=280):
            section("", "Start", "Every factor of the profile, with its settings.")
            photos = gr.Button("Study all photos without edits", variant="primary", elem_id="start-photos")
            names = list(desk.models.profile.classifiers)
            folder = gr.Dropdown(
                [],
                label="Labelled folder on the server",
                info=f"What lies in '{FOLDERS}' in the data folder: one sub-folder of pictures per label.",
                elem_id="folder",
            )
            classifier = gr.Dropdown(names, value=names[0], label="Classifier", elem_id="folder-classifier")
            start = gr.Button("Study the folder", elem_id="start-folder")
            status = gr.HTML(value=Html(), apply_default_css=False, js_on_load=None, elem_classes="component")
    shown = (listed, told)
    use_records(demo.load, desk, show, (count,), (*shown, folder, classifier))
    use_records(timer.tick, desk, poll, (count,), shown)
    use_records(listed.act, desk, act, (count,), (count, *shown))
    use_records(photos.click, desk, start_photos, (count,), (status, *shown))
    use_records(start.click, desk, start_folder, (folder, classifier, count), (status, *shown))


def show(desk: Desk, count: int) -> tuple[object, ...]:
    """Return the list, and what can be started."""
    found = list_folders(desk.store)
    choices = gr.update(choices=list(found), value=found[0] if found else None)
    return *poll(desk, count), choices, classifiers.choices(desk)


def poll(desk: Desk, count: int) -> tuple[Html, Html]:
    """Return the list as it is now, with the `count` latest jobs, and what is new in it."""
    jobs = desk.store.jobs.all(count=count)
    return jobs_markup(jobs, desk.models.profile.name, desk.store.jobs.number() - len(jobs)), news(jobs)


def act(desk: Desk, count: int, event: gr.EventData) -> tuple[int, Html, Html]:
    """Do what a job's button says, or the one below them; return (jobs to list, list, news)."""
    data = event._data
    if data["do"] == "more":
        count += SHOWN
    elif data["do"] == "cancel":
        desk.runner.cancel(str(data["job"]))
    else:
        desk.runner.retry(str(data["job"]), int(data["revision"]))
    return count, *poll(desk, count)


def start_photos(desk: Desk, count: int, request: gr.Request) -> tuple[Html, ...]:
    """Start the study of all photos without edits; return (status, list, news)."""
    return photos(desk, request), *poll(desk, count)


def start_folder(desk: Desk, name: str | None, classifier: str, count: int, request: gr.Request) -> tuple[Html, ...]:
    """Start the study of a folder on the server; return (status, list, news). Raises `DataError` for none."""
    if not name:
        raise DataError(f"No folder is chosen; put one into '{FOLDERS}' in the data folder and reload the page.")
    task = folder_task(desk.store, name, classifiers.require_choice(desk, classifier), desk.models.profile.settings)
    return _start(desk, task, request), *poll(desk, count)


def photos(desk: Desk, request: gr.Request) -> Html:
    """Start the study of all photos without edits; return the status. Raises `DataError` when there are none."""
    found = unstudied_photos(desk.store)
    if not found:
        raise DataError("Every photo has edits already; open or upload more pictures on the Explore page first.")
    return _start(desk, PhotosTask(photos=found, settings=desk.models.profile.settings), request)


def study(desk: Desk, key: str, inversion: str, taus: Sequence[float], steps: int, request: gr.Request) -> Html:
    """Start the study of the photo that is open, under all factors; return the status."""
    opened, settings = require_study(desk, key), edits.settings_of(desk, inversion, taus, steps)
    task = StudyTask(
        photo=opened.photo.key,
        classifier=opened.photo.classifier,
        caption=opened.caption,
        name=opened.photo.name,
        settings=settings,
    )
    return _start(desk, task, request)


def _start(desk: Desk, task: Task, request: gr.Request) -> Html:
    job = desk.runner.add(task, request.username or "")
    if job.state == DONE:
        return status_line(f"{job.title}: this has been done already, and would come out the same.")
    link = tag("a", "Jobs", href="./jobs")
    text = f"{job.title}: started. It goes on when this page is closed; follow it under "
    return tag("div", tag("p", text, link, ".", role="status"), class_="status")
