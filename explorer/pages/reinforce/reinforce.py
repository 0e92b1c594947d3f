"""Page: a classifier learns from kept counterfactuals; alpha is chosen on validation, then the test sets are shown.

The training is a job: it goes on when the page is closed. What came of it lies in the data folder as runs
(`outcomes.py`). Recipe and evaluation are the pipeline's (Li et al., 2024; alpha as in WiSE-FT, Wortsman et al., 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import gradio as gr

from explorer import alerts, collections
from explorer.components.markup import Html
from explorer.components.status import job_line, status_line
from explorer.desk import Desk
from explorer.pages.explore import classifiers
from explorer.pages.insights import charts
from explorer.pages.reinforce import outcomes
from explorer.pages.reinforce.layout import (
    ALL,
    Outcome,
    Tests,
    draw_comparison,
    draw_outcome,
    draw_recipe_form,
    draw_tests,
)
from explorer.wiring import keep_in_address, use_models, use_records
from pipeline.curation.selection import selection
from pipeline.errors import DataError
from pipeline.reinforcement.recipes import Recipe
from pipeline.store.jobs import DONE, FAILED, Job
from pipeline.tasks.training import FOLDER, Course, TrainingTask, course_of

TITLE, ROUTE = "Reinforce", "/reinforce"


def build(demo: gr.Blocks, desk: Desk) -> None:
    """Draw the page into the current Blocks and wire it."""
    collections.notice(demo, desk)
    standard = Recipe(learning_rate=desk.models.profile.settings.learning_rate)
    current, timer = gr.State(""), gr.Timer(1.0, active=False)
    with gr.Row(elem_classes="bench", equal_height=False):
        with gr.Column(elem_classes="inspector", min_width=300):
            form = draw_recipe_form(desk, standard)
        with gr.Column(elem_classes="work", min_width=320):
            outcome, tests, comparison = draw_outcome(), draw_tests(), draw_comparison()
    shown = (current, timer, form.status, form.cancel, outcome.losses, outcome.run, comparison.chosen)
    use_records(demo.load, desk, restore, (), (*shown, form.source, form.classifier))
    keep_in_address(form.source, "set", ALL)
    use_records(form.start.click, desk, start, form[:6], shown)
    use_records(form.cancel.click, desk, cancel, (current,), (form.status,))
    use_records(timer.tick, desk, poll, (current,), shown)
    _wire_run(desk, outcome, tests, form.classifier)
    compared = (comparison.reveal, comparison.figures)
    use_records(comparison.chosen.change, desk, outcomes.compare, (comparison.chosen,), compared)
    use_records(comparison.reveal.click, desk, outcomes.reveal_compared, (comparison.chosen,), compared)


def _wire_run(desk: Desk, outcome: Outcome, tests: Tests, classifier: gr.Dropdown) -> None:
    """Wire one run: validation first, then its test sets, then out of the house."""
    checked = (outcome.validation, outcome.curve, outcome.kind, outcome.pictures, outcome.step, outcome.reveal)
    result, at = tests[:4], (outcome.run, outcome.alpha, outcome.kind)
    known = (outcome.alpha, *checked, *result, tests.wished, tests.download)
    use_records(outcome.run.change, desk, outcomes.show, (outcome.run,), known)
    use_records(outcome.alpha.input, desk, outcomes.slide, at, checked)
    use_records(outcome.kind.input, desk, outcomes.look, at, (outcome.pictures,))
    use_records(outcome.reveal.click, desk, outcomes.reveal, at[:2], (outcome.step, outcome.reveal, *result))
    use_records(tests.kind.input, desk, outcomes.look_tests, (outcome.run, tests.kind), (tests.pictures,))
    use_models(tests.export.click, desk, outcomes.export, (outcome.run,), (tests.saved, tests.download))
    use_models(tests.promote.click, desk, outcomes.promote_run, (outcome.run, tests.wished), (tests.saved, classifier))


def restore(desk: Desk, request: gr.Request) -> tuple[object, ...]:
    """Return the latest job, the run of `?run=` or the latest, what can be learnt from (`?set=`), who can learn."""
    sources = [ALL, *dict.fromkeys(frozen.name for frozen in desk.store.sets())]
    latest = next(iter(desk.store.jobs.all(TrainingTask.kind)), None)
    found, asked = outcomes.run_names(desk), str(request.query_params.get("run", ""))
    shown = list(poll(desk, latest.id if latest else ""))
    shown[5] = gr.update(
        choices=found, value=asked if asked in found else found[0] if found else None, visible=bool(found)
    )
    wished = str(request.query_params.get("set", ""))
    chosen = gr.update(choices=sources, value=wished if wished in sources else ALL)
    return *shown, chosen, classifiers.choices(desk)


def start(
    desk: Desk,
    source: str,
    classifier: str,
    methods: Sequence[str],
    seeds: float,
    epochs: float,
    options: Sequence[str],
    request: gr.Request,
) -> tuple[object, ...]:
    """Start the job and show it. Raises `DataError` while no recipe is chosen."""
    if not methods:
        raise DataError("Choose at least one recipe under 'Change the recipe'.")
    standard = Recipe(
        learning_rate=desk.models.profile.settings.learning_rate,
        max_epochs=int(epochs),
        originals="originals" in options,
        unfreeze="last-block" if "last-block" in options else "head",
        alpha=None if "automatic" in options else Recipe().alpha,
    )
    recipes = [replace(standard, method=method, seed=seed) for seed in range(int(seeds)) for method in methods]
    task = task_for(desk, "" if source == ALL else source, classifiers.require_choice(desk, classifier), *recipes)
    return poll(desk, desk.runner.add(task, request.username or "").id)


def task_for(desk: Desk, set_name: str, classifier: str, *recipes: Recipe) -> TrainingTask:
    """Return what the job does. Raises `DataError` when there is nothing to learn from."""
    material = selection(desk.store, set_name)
    if not material.labels:
        nothing = "There is nothing to learn from yet; keep some counterfactuals on the Explore page first."
        raise DataError(" ".join((nothing, *material.left_out)))
    if material.left_out:
        alerts.note(" ".join(material.left_out))
    return TrainingTask(
        classifier=classifier or next(iter(desk.models.profile.classifiers)),
        items=tuple(material.labels.items()),
        recipes=recipes,
        source=material.told,
    )


def poll(desk: Desk, name: str) -> tuple[object, ...]:
    """Return a job as it is now: (current, timer, status, cancel, live curves, run, runs to compare)."""
    job = desk.store.jobs.get(name) if name else None
    running = job is not None and job.active
    course = course_of(job) if job else Course()
    timer, stop, drawn = gr.Timer(active=running), gr.update(visible=running), gr.update(visible=False)
    if course.epochs:
        drawn = gr.update(value=charts.training_figure(course.epochs), visible=True)
    if running:
        return name, timer, status_markup(job), stop, drawn, gr.skip(), gr.skip()
    found = outcomes.run_names(desk)
    run = gr.update(choices=found, value=found[0] if found else None, visible=bool(found))
    together = [run for run in course.runs if run in found] if len(course.runs) > 1 else []
    return name, timer, status_markup(job), stop, drawn, run, gr.update(choices=found, value=together)


def status_markup(job: Job | None) -> Html:
    """Return one line on the job."""
    if job is None:
        return Html()
    if job.active:
        epochs = course_of(job).epochs
        loss = f" (validation loss {epochs[-1].loss:.3f})" if epochs else ""
        return job_line(job, f"{job.title}{loss}", "epoch")
    if job.state == DONE:
        return status_line(f"Done: {job.title}. Saved as {FOLDER}/{job.result} in the data folder.")
    return status_line(f"{job.title}: {job.error}", "failed" if job.state == FAILED else "")


def cancel(desk: Desk, name: str) -> object:
    """Stop the job at its next epoch, keeping the best head until then; the poll says so."""
    job = desk.store.jobs.get(name) if name else None
    if job is None or not job.active:
        return status_line("Nothing is running.")
    desk.runner.cancel(name)
    return gr.skip()
