"""Page: a classifier learns from kept counterfactuals; what it gained and lost, over alpha, with intervals.

The training is a job: it goes on when the page is closed. What came of it lies in the data folder as runs
(`explorer/outcomes.py`). Recipe and evaluation are the pipeline's (Li et al., 2024; alpha as in WiSE-FT, Wortsman et
al., 2022).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import gradio as gr
from PIL.Image import Image

from explorer import charts, classifiers, outcomes
from explorer.components.markup import Html
from explorer.components.masthead import masthead, section
from explorer.components.outcome import comparison_markup, outcome_markup, recipe_markup
from explorer.components.status import progress_markup, said
from explorer.jobs import Desk, Job
from explorer.wiring import reads, works
from pipeline.curation import load_folder, selection, source_of
from pipeline.errors import DataError
from pipeline.features import Features, features_file
from pipeline.images import fit, open_image
from pipeline.reinforcement import Epoch, Item, Recipe, checkpoint_file, save
from pipeline.reinforcement import reinforce as train
from pipeline.types import Models

ALL = "Everything kept"
OPTIONS = {
    "originals": "Train on the original photos too, so that they are not forgotten",
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


class Order(NamedTuple):
    """What is to be learnt, by whom and how: one run per recipe."""

    classifier: str
    items: tuple[Item, ...]
    recipes: tuple[Recipe, ...]
    source: str


@dataclass(slots=True, kw_only=True, eq=False)
class Course(Job):
    """A job that trains, with what its live curves show."""

    epochs: list[Epoch] = field(default_factory=list)  # of the recipe under way
    method: str = ""
    runs: list[str] = field(default_factory=list)  # made so far


def build(demo: gr.Blocks, desk: Desk) -> None:
    """Draws the page into the current Blocks and wires it."""
    masthead("Reinforce", desk.models.profile.name)
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
                    value=["originals"] if standard.originals else [],
                    show_label=False,
                    label="Options",
                    elem_id="options",
                )
            with gr.Row(elem_classes="actions"):
                start_button = gr.Button("Reinforce", variant="primary", elem_id="start")
                cancel_button = gr.Button("Cancel", elem_id="stop")
            status = _plain()
            _plain(recipe_markup(standard))
        with gr.Column(elem_classes="work", min_width=320):
            section("3", "Before and after", "Accuracy with 95 % intervals, regressions first; n counts pictures.")
            losses = gr.Plot(show_label=False, label="Training", visible=False, elem_id="losses")
            run = gr.Dropdown([], label="Run", visible=False, elem_id="shown-run")
            outcome = _plain(outcome_markup(None))
            alpha = gr.Slider(0, 1, value=0.3, step=0.1, label="alpha", visible=False, elem_id="alpha")
            curve = gr.Plot(show_label=False, label="Accuracy over alpha", visible=False, elem_id="alpha-curve")
            kind = gr.Radio([], show_label=False, label="Pictures", visible=False, elem_id="kind")
            pictures = _plain()
            with gr.Column(visible=False, elem_classes="box") as actions:
                section("4", "Use it", "A run is a folder that opens as a classifier.")
                with gr.Row(elem_classes="actions"):
                    keep_button = gr.Button("Save with this alpha", elem_id="save-alpha")
                    export_button = gr.Button("Export", elem_id="export-run")
                    download = gr.DownloadButton("Download", visible=False, elem_id="download-run")
                with gr.Row(elem_classes="joined middle"):
                    wished = gr.Textbox(label="Name for everywhere", max_length=60, elem_id="promote-name")
                    promote_button = gr.Button("Promote", elem_id="promote")
                saved = _plain()
            section("5", "Compare runs")
            chosen = gr.Dropdown([], multiselect=True, label="Runs", show_label=False, elem_id="compared")
            compared = _plain(comparison_markup({}))
    shown = (current, timer, status, losses, run, chosen)
    result = (outcome, curve, kind, pictures)
    reads(demo.load, desk, restore, (), (*shown, source, classifier))
    reads(start_button.click, desk, start, (source, classifier, methods, seeds, epochs, options), shown)
    reads(cancel_button.click, desk, cancel, (current,), (status,))
    reads(timer.tick, desk, poll, (current,), shown)
    reads(run.change, desk, outcomes.show, (run,), (alpha, *result, actions, wished, download))
    reads(alpha.input, desk, outcomes.slide, (run, alpha, kind), result)
    reads(kind.input, desk, outcomes.look, (run, alpha, kind), (pictures,))
    works(keep_button.click, desk, outcomes.keep_alpha, (run, alpha), (saved, run))
    reads(export_button.click, desk, outcomes.export, (run,), (saved, download))
    reads(promote_button.click, desk, outcomes.promote_run, (run, wished), (saved, classifier))
    reads(chosen.change, desk, outcomes.compare, (chosen,), (compared,))


def _plain(value: Html | None = None) -> gr.HTML:
    return gr.HTML(value=value or Html(), apply_default_css=False, js_on_load=None, elem_classes="component")


def restore(desk: Desk) -> tuple[object, ...]:
    """The latest job when it runs, the latest run, what can be learnt from, and who can learn."""
    sources = [ALL, *dict.fromkeys(one.name for one in desk.store.sets())]
    name = next(reversed(desk.jobs), "")
    return *poll(desk, name), gr.update(choices=sources), classifiers.choices(desk)


def start(
    desk: Desk,
    source: str,
    classifier: str,
    methods: Sequence[str],
    seeds: float,
    epochs: float,
    options: Sequence[str],
) -> tuple[object, ...]:
    """Starts the job and shows it."""
    if not methods:
        raise DataError("Choose at least one recipe under 'Change the recipe'.")
    standard = Recipe(
        learning_rate=desk.models.profile.settings.learning_rate,
        max_epochs=int(epochs),
        originals="originals" in options,
        alpha=None if "automatic" in options else Recipe().alpha,
    )
    recipes = [replace(standard, method=method, seed=seed) for seed in range(int(seeds)) for method in methods]
    return poll(desk, begin(desk, "" if source == ALL else source, classifier, *recipes).name)


def begin(desk: Desk, set_name: str, classifier: str, *recipes: Recipe) -> Job:
    """Starts a job; one at a time. Raises `DataError` when there is nothing to learn from."""
    running = next((job for job in desk.jobs.values() if job.state == "running"), None)
    if running is not None:
        return running
    pairs = selection(desk.store, set_name)
    if not pairs:
        raise DataError("There is nothing to learn from yet; keep some counterfactuals on the Explore page first.")
    name = classifier or next(iter(desk.models.profile.classifiers))
    items = _items(desk, set_name, any(recipe.method == "reconstruction" for recipe in recipes))
    what = f" by {len(recipes)} recipes" if len(recipes) > 1 else ""
    title = f"Reinforcing {name} with {len(items)} pairs{what}"
    job = Course(name=f"{Path(name).name}-{time.strftime('%Y%m%d-%H%M%S')}", title=title)
    order = Order(name, items, recipes, source_of(desk.store, set_name))
    desk.start(job, lambda models, _: _train(desk, models, job, order))
    return job


def _items(desk: Desk, set_name: str, controls: bool) -> tuple[Item, ...]:
    """What is learnt from; with the reconstructions only where a recipe takes them, for they are read one by one."""
    items = []
    for photo, one in selection(desk.store, set_name):
        study = desk.store.load_study(photo.key, photo.classifier) if controls else None
        control = study.reconstruction if study else None
        items.append(
            Item(photo.label, photo.image, one.image, photo.key, one.perturbation.factor, control, key=one.key)
        )
    return tuple(items)


def _train(desk: Desk, models: Models, job: Course, order: Order) -> None:
    """The job's work: features once, then a training, its evaluation and a folder per recipe."""
    classifier = models.classifier(order.classifier)
    features = Features(classifier, features_file(desk.store.root, order.classifier))
    splits = evaluation(models)
    for number, recipe in enumerate(order.recipes):
        job.epochs, job.method, before = [], recipe.method, number * recipe.max_epochs

        def progress(epoch: Epoch, before: int = before) -> None:
            job.epochs.append(epoch)
            job.losses.append(epoch.loss)
            job.step(before + epoch.number, len(order.recipes) * epoch.of)

        unfinished = checkpoint_file(desk.store.root, order.classifier, recipe)
        made = train(classifier, order.items, splits, recipe, progress, features, unfinished)
        single = len(order.recipes) == 1
        folder = desk.store.root / outcomes.FOLDER / (job.name + ("" if single else f"-{recipe.method}-{recipe.seed}"))
        save(replace(made, source=order.source), classifier, folder)
        job.runs.append(folder.name)
        job.note, job.result = f"{outcomes.FOLDER}/{folder.name}", made
        if made.stopped:
            return


def evaluation(models: Models) -> dict[str, list[tuple[Image, str]]]:
    """The profile's own test pictures by split."""
    profile = models.profile
    return {
        split: [(fit(open_image(one.path), profile.image_size), one.label) for one in load_folder(Path(folder))]
        for split, folder in profile.evaluation.items()
    }


def poll(desk: Desk, name: str) -> tuple[object, ...]:
    """A job as it is now: (current, timer, status, live curves, run, runs to compare)."""
    job = desk.jobs.get(name)
    timer = gr.Timer(active=job is not None and job.state == "running")
    live = job.epochs if isinstance(job, Course) else []
    drawn = gr.update(value=charts.training_figure(live), visible=True) if live else gr.update(visible=False)
    if job is not None and job.state == "running":
        return name, timer, status_markup(job), drawn, gr.skip(), gr.skip()
    found = outcomes.names(desk)
    run = gr.update(choices=found, value=found[0] if found else None, visible=bool(found))
    together = job.runs if isinstance(job, Course) and len(job.runs) > 1 else []
    return name, timer, status_markup(job), drawn, run, gr.update(choices=found, value=together)


def status_markup(job: Job | None) -> Html:
    """One line on the job."""
    if job is None:
        return Html()
    if job.state == "running":
        which = f", {job.method}" if isinstance(job, Course) and job.method else ""
        loss = f"{which} (validation loss {job.losses[-1]:.3f})" if job.losses else ""
        progress = replace(job.progress, stopping=job.stop.is_set())
        return progress_markup(f"{job.title}{loss}", progress, unit="epoch")
    if job.state == "done":
        stopped = (
            "; stopped with the best head until then, press Reinforce to go on from there"
            if job.result and job.result.stopped
            else ""
        )
        return said(f"Done: {job.title}{stopped}. Saved as {job.note} in the data folder.")
    return said(job.error, "failed" if job.state == "failed" else "")


def cancel(desk: Desk, name: str) -> object:
    """Stops the job at its next epoch, keeping the best head until then; the poll says so."""
    job = desk.jobs.get(name)
    if job is None or job.state != "running":
        return said("Nothing is running.")
    job.stop.set()
    return gr.skip()
