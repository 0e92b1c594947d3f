"""Page: a classifier learns from kept counterfactuals; alpha is chosen on validation, then the test sets are shown.

The training is a job: it goes on when the page is closed. What came of it lies in the data folder as runs
(`outcomes.py`). Recipe and evaluation are the pipeline's (Li et al., 2024; alpha as in WiSE-FT, Wortsman et al., 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import gradio as gr

from explorer import alerts
from explorer.components.markup import Html
from explorer.components.masthead import masthead, section
from explorer.components.outcome import comparison_markup, recipe_markup, validation_markup
from explorer.components.status import job_line, said
from explorer.desk import Desk
from explorer.pages.explore import classifiers, starting
from explorer.pages.insights import charts
from explorer.pages.reinforce import outcomes
from explorer.wiring import addressed, reads, works
from pipeline.curation.selection import selection
from pipeline.errors import DataError
from pipeline.reinforcement.heads import Recipe
from pipeline.store.jobs import DONE, FAILED, Job
from pipeline.tasks.training import FOLDER, Course, TrainingTask, course_of

ALL = "Everything kept"
OPTIONS = {
    "originals": "Train on the original photos too, so that they are not forgotten",
    "last-block": "Train the classifier's last block too, not the head alone: slower, for AFR and DFR impossible",
    "automatic": "Choose alpha on validation pictures instead of fixing it",
}
RECIPES = {
    "counterfactual": "Counterfactual, the paper's",
    "standard": "Standard: plain augmentation",
    "reconstruction": "Reconstructions: the editor without an edit",
    "fine-tuning": "Counterfactual, not blended",
    "afr": "AFR",
    "dfr": "DFR",
}


def build(demo: gr.Blocks, desk: Desk) -> None:
    """Draws the page into the current Blocks and wires it."""
    masthead("Reinforce", desk.models.profile.name)
    starting.notice(demo, desk)
    standard = Recipe(learning_rate=desk.models.profile.settings.learning_rate)
    current, timer = gr.State(""), gr.Timer(1.0, active=False)
    with gr.Row(elem_classes="bench", equal_height=False):
        with gr.Column(elem_classes="inspector", min_width=300):
            section("1", "What to learn from")
            source = gr.Dropdown(
                [ALL],
                value=ALL,
                label="Counterfactuals",
                elem_id="source",
                info="While nothing is kept: every chosen edit that was not rejected.",
            )
            names = list(desk.models.profile.classifiers)
            classifier = gr.Dropdown(names, value=names[0], label="Classifier", elem_id="student")
            section("2", "Recipe")
            with gr.Accordion("Change the recipe", open=False, elem_classes="quiet"):
                methods = gr.CheckboxGroup(
                    [(text, name) for name, text in RECIPES.items()],
                    value=["counterfactual"],
                    label="Recipes, each a run of its own",
                    elem_id="methods",
                )
                seeds = gr.Slider(1, 5, value=1, step=1, label="Seeds: splits and trainings", elem_id="seeds")
                epochs = gr.Slider(1, 200, value=standard.max_epochs, step=1, label="Epochs at most", elem_id="epochs")
                options = gr.CheckboxGroup(
                    [(text, name) for name, text in OPTIONS.items()],
                    value=["originals", "automatic"],
                    show_label=False,
                    label="Options",
                    elem_id="options",
                )
            with gr.Row(elem_classes="actions"):
                start_button = gr.Button("Reinforce", variant="primary", elem_id="start")
                cancel_button = gr.Button("Cancel", elem_id="stop", visible=False)
            status = _plain()
            _plain(recipe_markup(standard))
        with gr.Column(elem_classes="work", min_width=320):
            section("3", "Before and after", "On validation pictures, where alpha is chosen; with 95 % intervals.")
            losses = gr.Plot(show_label=False, label="Training", visible=False, elem_id="losses")
            run = gr.Dropdown([], label="Run", visible=False, elem_id="shown-run")
            validation = _plain(validation_markup(None))
            alpha = gr.Slider(0, 1, value=0.3, step=0.1, label="alpha", visible=False, elem_id="alpha")
            curve = gr.Plot(show_label=False, label="Accuracy over alpha", visible=False, elem_id="alpha-curve")
            with gr.Row(elem_classes="actions middle"):
                reveal_button = gr.Button(outcomes.FIRST, visible=False, elem_id="show-tests")
                step = _plain()
            kind = gr.Radio([], show_label=False, label="Validation pictures", visible=False, elem_id="kind")
            pictures = _plain()
            with gr.Column(visible=False, elem_classes="box", elem_id="tests") as tests:
                section("4", "Test sets", "Regressions first; hover over a change for its interval.")
                tested = _plain()
                test_kind = gr.Radio([], show_label=False, label="Test pictures", visible=False, elem_id="test-kind")
                test_pictures = _plain()
                section("5", "Use it", "At the alpha of the test sets above; it opens as a classifier.")
                with gr.Row(elem_classes="actions"):
                    export_button = gr.Button("Export", elem_id="export-run")
                    download = gr.DownloadButton("Download", visible=False, elem_id="download-run")
                with gr.Row(elem_classes="joined foot"):
                    wished = gr.Textbox(label="Name among the classifiers", max_length=60, elem_id="promote-name")
                    promote_button = gr.Button("Promote", elem_id="promote")
                saved = _plain()
            section("", "Compare runs")
            chosen = gr.Dropdown([], multiselect=True, label="Runs", show_label=False, elem_id="compared")
            with gr.Row(elem_classes="actions"):
                compare_button = gr.Button("Show the test sets of these runs", visible=False, elem_id="compare-tests")
            compared = _plain(comparison_markup({}))
    shown = (current, timer, status, cancel_button, losses, run, chosen)
    checked = (validation, curve, kind, pictures, step, reveal_button)
    result = (tests, tested, test_kind, test_pictures)
    reads(demo.load, desk, restore, (), (*shown, source, classifier))
    addressed(source, "set", ALL)
    reads(start_button.click, desk, start, (source, classifier, methods, seeds, epochs, options), shown)
    reads(cancel_button.click, desk, cancel, (current,), (status,))
    reads(timer.tick, desk, poll, (current,), shown)
    reads(run.change, desk, outcomes.show, (run,), (alpha, *checked, *result, wished, download))
    reads(alpha.input, desk, outcomes.slide, (run, alpha, kind), checked)
    reads(kind.input, desk, outcomes.look, (run, alpha, kind), (pictures,))
    reads(reveal_button.click, desk, outcomes.reveal, (run, alpha), (step, reveal_button, *result))
    reads(test_kind.input, desk, outcomes.look_tests, (run, test_kind), (test_pictures,))
    works(export_button.click, desk, outcomes.export, (run,), (saved, download))
    works(promote_button.click, desk, outcomes.promote_run, (run, wished), (saved, classifier))
    reads(chosen.change, desk, outcomes.compare, (chosen,), (compare_button, compared))
    reads(compare_button.click, desk, outcomes.reveal_compared, (chosen,), (compare_button, compared))


def _plain(value: Html | None = None) -> gr.HTML:
    return gr.HTML(value=value or Html(), apply_default_css=False, js_on_load=None, elem_classes="component")


def restore(desk: Desk, request: gr.Request) -> tuple[object, ...]:
    """The latest job, the run of `?run=` or the latest, what can be learnt from (with `?set=`), and who can learn."""
    sources = [ALL, *dict.fromkeys(one.name for one in desk.store.sets())]
    latest = next(iter(desk.store.jobs.all(TrainingTask.kind)), None)
    found, asked = outcomes.names(desk), str(request.query_params.get("run", ""))
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
    """Starts the job and shows it."""
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
    task = task_for(desk, "" if source == ALL else source, classifiers.need(desk, classifier), *recipes)
    return poll(desk, desk.runner.add(task, request.username or "").id)


def task_for(desk: Desk, set_name: str, classifier: str, *recipes: Recipe) -> TrainingTask:
    """What the job does. Raises `DataError` when there is nothing to learn from."""
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
    """A job as it is now: (current, timer, status, cancel, live curves, run, runs to compare)."""
    job = desk.store.jobs.get(name) if name else None
    running = job is not None and job.active
    course = course_of(job) if job else Course()
    timer, stop, drawn = gr.Timer(active=running), gr.update(visible=running), gr.update(visible=False)
    if course.epochs:
        drawn = gr.update(value=charts.training_figure(course.epochs), visible=True)
    if running:
        return name, timer, status_markup(job), stop, drawn, gr.skip(), gr.skip()
    found = outcomes.names(desk)
    run = gr.update(choices=found, value=found[0] if found else None, visible=bool(found))
    together = [one for one in course.runs if one in found] if len(course.runs) > 1 else []
    return name, timer, status_markup(job), stop, drawn, run, gr.update(choices=found, value=together)


def status_markup(job: Job | None) -> Html:
    """One line on the job."""
    if job is None:
        return Html()
    if job.active:
        epochs = course_of(job).epochs
        loss = f" (validation loss {epochs[-1].loss:.3f})" if epochs else ""
        return job_line(job, f"{job.title}{loss}", "epoch")
    if job.state == DONE:
        return said(f"Done: {job.title}. Saved as {FOLDER}/{job.result} in the data folder.")
    return said(f"{job.title}: {job.error}", "failed" if job.state == FAILED else "")


def cancel(desk: Desk, name: str) -> object:
    """Stops the job at its next epoch, keeping the best head until then; the poll says so."""
    job = desk.store.jobs.get(name) if name else None
    if job is None or not job.active:
        return said("Nothing is running.")
    desk.runner.cancel(name)
    return gr.skip()
