"""The list of jobs: state, bar, time left, what went wrong, and the buttons that stop one or have it go on.

Reports `act` with `do` = "cancel" or "retry", the job's id as `job`, and the revision that the analyst saw; with `do` =
"more" for the button below them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import gradio as gr

from explorer.components.markup import REPORT_CLICKS, Html, join, tag
from explorer.components.pairs import explore_link
from explorer.views import duration
from pipeline.store.jobs import CANCELLED, DONE, FAILED, INTERRUPTED, RUNNING, WAITING, Job

NOTHING = (
    "No job yet. Whatever takes longer than a preview is done here, and goes on when the page is closed: all photos "
    "or a folder, started above; one photo under all factors, started on the Explore page; a classifier, on Reinforce."
)
AGAIN = {FAILED: "Retry", CANCELLED: "Resume", INTERRUPTED: "Resume", DONE: "Retry"}
LINKS = {"photos": "Judge its edits", "folder": "Judge its edits"}

# The list is drawn anew every time it is asked for: the focus goes back to the button it was on.
KEEP_FOCUS = """
let last = null;
element.addEventListener('focusin', (event) => { last = {...event.target.dataset}; });
element.addEventListener('focusout', (event) => { if (event.relatedTarget) last = null; });
watch('value', () => {
  if (!last || !last.job || document.activeElement !== document.body) return;
  const same = [...element.querySelectorAll('[data-job]')].filter((button) => button.dataset.job === last.job);
  (same.find((button) => button.dataset.do === last.do) || same[0])?.focus({preventScroll: true});
});
"""
ANNOUNCE = "element.setAttribute('role', 'status');"


def job_list() -> gr.HTML:
    """Return an empty list; `jobs_markup` gives its values. Listen with `.act(...)`."""
    return gr.HTML(
        js_on_load=REPORT_CLICKS + KEEP_FOCUS, apply_default_css=False, elem_id="jobs", elem_classes="component"
    )


def announcer() -> gr.HTML:
    """Return what is read aloud when its value changes, and not seen; `news` gives its values."""
    return gr.HTML(js_on_load=ANNOUNCE, apply_default_css=False, elem_id="jobs-news", elem_classes="component")


def jobs_markup(jobs: Sequence[Job], profile: str, older: int = 0) -> Html:
    """Return the jobs as a server of this profile sees them, and a button for the `older` ones.

    Where there is none, what to do.
    """
    if not jobs:
        return tag("p", NOTHING, class_="empty tall")
    listed = tag("ol", *(_job(job, profile) for job in jobs), class_="jobs")
    if not older:
        return listed
    more = tag("button", f"Show older jobs ({older})", type="button", data_do="more")
    return join(listed, tag("div", more, class_="jobs older"))


def news(jobs: Sequence[Job]) -> Html:
    """Return the latest change of any job's state, in words."""
    if not jobs:
        return Html()
    latest = max(jobs, key=lambda job: job.ended or job.started or job.created)
    return tag("p", f"{latest.title}: {latest.state}", class_="live")


def _job(job: Job, profile: str) -> Html:
    chip = tag("span", _state(job), class_=f"chip state {job.state}")
    head = tag("div", tag("b", job.title), chip, class_="head")
    error = tag("p", job.error, class_="reason") if job.error else None
    buttons = [control for control in (_button(job), _link(job)) if control is not None]
    parts = [head, _bar(job), tag("p", _describe(job, profile), class_="said"), error]
    body = tag("div", *(part for part in parts if part is not None))
    return tag("li", body, tag("div", *buttons, class_="buttons"), data_state=job.state)


def _state(job: Job) -> str:
    return "stopping" if job.active and job.stop else job.state


def _bar(job: Job) -> Html | None:
    """Return how far the job is, or was when it ended before its end."""
    if job.state in (WAITING, DONE) or (job.state != RUNNING and not job.total):
        return None
    if not job.total:
        return tag("div", tag("span", class_="sweep"), class_="bar")
    share = f"{100 * job.done / job.total:.0f}"
    inner = tag("span", style=f"width:{share}%")
    return tag(
        "div",
        inner,
        class_="bar",
        role="progressbar",
        aria_label=job.title,
        aria_valuenow=share,
        aria_valuemin=0,
        aria_valuemax=100,
    )


def _describe(job: Job, profile: str) -> str:
    """Say what the job is at and how long still, or when and how long it was at work; and who started it."""
    who = f", started by {job.analyst}" if job.analyst else ""
    if job.state == WAITING and job.profile != profile:
        return f"Waits for a server with --profile {job.profile}{who}."
    if job.state == WAITING:
        return f"Waits for the jobs before it{who}."
    if job.state == RUNNING:
        counted = f"{job.done} of {job.total}" if job.total else ""
        left = f"about {duration(job.remaining)} left" if job.remaining else ""
        return (", ".join(part for part in (job.note, counted, left) if part) or "beginning") + who
    counted = f"{job.done} of {job.total}, " if job.total and job.done < job.total else ""
    when = time.strftime("%d %b, %H:%M", time.localtime(job.ended))
    took = f", {duration(job.ended - job.started)} of work" if job.started else ""
    return f"{counted}{when}{took}{who}"


def _button(job: Job) -> Html | None:
    """Return what can be done about the job; nothing about one that ended well."""
    if job.active:
        what, do = ("Stopping…" if job.stop else "Cancel"), "cancel"
    elif job.state != DONE or job.error:
        what, do = AGAIN[job.state], "retry"
    else:
        return None
    return tag(
        "button",
        what,
        type="button",
        disabled=job.active and job.stop,
        aria_label=f"{what}: {job.title}",
        data_do=do,
        data_job=job.id,
        data_revision=job.revision,
    )


def _link(job: Job) -> Html | None:
    """Return the link to what came of the job."""
    if job.kind == "study" and job.started:
        photo, _, classifier = job.result.partition("@")
        return tag("a", "Open the photo", href=explore_link(photo, classifier))
    if job.kind == "reinforcement" and job.result:
        return tag("a", "Before and after", href=f"./reinforce?run={job.result}")
    return tag("a", LINKS[job.kind], href="./curate") if job.kind in LINKS and job.started else None
