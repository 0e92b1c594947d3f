"""One line that says what is going on: how far, how long still, or what to do next."""

from __future__ import annotations

from explorer.components.markup import Html, tag
from explorer.desk import Progress
from explorer.views import duration
from pipeline.store.jobs import WAITING, Job


def progress_markup(what: str, progress: Progress, unit: str = "step") -> Html:
    """Return a bar with steps and the time that is left; without a total only that work is under way."""
    if progress.stopping:
        return _line(f"{what}: stopping at the next {unit}…", None)
    if progress.waiting:
        return _line(f"{what}: waiting for the models, which are at work for somebody else…", None)
    if not progress.total:
        return _line(f"{what}…", None)
    left = f", about {duration(progress.remaining)} left" if progress.done else ""
    return _line(f"{what}: {unit} {progress.done} of {progress.total}{left}", progress.done / progress.total)


def job_line(job: Job, what: str, unit: str) -> Html:
    """Return the same bar for a job that waits or runs."""
    if job.stop:
        return _line(f"{what}: stopping at the next {unit}…", None)
    if job.state == WAITING:
        return _line(f"{what}: waiting for the jobs before it…", None)
    if not job.total:
        return _line(f"{what}: {job.note or 'beginning'}…", None)
    left = f", about {duration(job.remaining)} left" if job.remaining else ""
    return _line(f"{what}: {unit} {job.done} of {job.total}{left}", job.done / job.total)


def _line(text: str, share: float | None) -> Html:
    bar = tag("span", style=f"width:{100 * share:.0f}%") if share is not None else tag("span", class_="sweep")
    return tag("div", tag("p", text, role="status"), tag("div", bar, class_="bar"), class_="status working")


def status_line(text: str, kind: str = "") -> Html:
    """Return a plain sentence for the status line."""
    return tag("div", tag("p", text, role="status"), class_=f"status {kind}") if text else Html()
