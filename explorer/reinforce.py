"""Page: a classifier learns from kept counterfactuals; what it gained and lost, over alpha, with intervals.

The training is a job: it goes on when the page is closed and is found again when it is opened. Recipe and evaluation
are the pipeline's (Li et al., 2024; alpha as in WiSE-FT, Wortsman et al., 2022).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import gradio as gr
from PIL.Image import Image

from explorer import views
from explorer.components.markup import Html
from explorer.components.masthead import masthead, section
from explorer.components.outcome import outcome_markup, recipe_markup
from explorer.components.status import progress_markup, said
from explorer.jobs import Desk, Job
from explorer.wiring import reads
from pipeline.curation import load_folder, selection
from pipeline.errors import DataError
from pipeline.images import fit, open_image
from pipeline.reinforcement import Epoch, Item, Recipe, at_alpha, save
from pipeline.reinforcement import reinforce as train
from pipeline.types import Models

ALL = "Everything kept"
OPTIONS = {
    "originals": "Train on the original photos too, so that they are not forgotten",
    "automatic": "Choose alpha on validation pictures instead of fixing it",
}


class Order(NamedTuple):
    """What is to be learnt, by whom and how."""

    classifier: str
    items: tuple[Item, ...]
    recipe: Recipe


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
            _plain(recipe_markup(standard))
            with gr.Accordion("Change the recipe", open=False, elem_classes="quiet"):
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
        with gr.Column(elem_classes="work", min_width=320):
            section("3", "Before and after", "Accuracy with 95 % intervals; n is the number of pictures.")
            outcome = _plain(outcome_markup(None, 0.0))
            alpha = gr.Slider(0, 1, value=0.3, step=0.1, label="alpha", visible=False, elem_id="alpha")
            curve = gr.Plot(show_label=False, label="Accuracy over alpha", visible=False, elem_id="alpha-curve")
            with gr.Row(elem_classes="actions"):
                keep_button = gr.Button("Save the model with this alpha", visible=False, elem_id="save-alpha")
            saved = _plain()
            losses = gr.Plot(show_label=False, label="Validation loss", visible=False, elem_id="losses")
    shown = (current, timer, status, outcome, alpha, curve, keep_button, losses)
    reads(demo.load, desk, restore, (), (*shown, source))
    reads(start_button.click, desk, start, (source, classifier, epochs, options), shown)
    reads(cancel_button.click, desk, cancel, (current,), (status,))
    reads(timer.tick, desk, poll, (current,), shown)
    reads(alpha.change, desk, slide, (current, alpha), (outcome, curve))
    reads(keep_button.click, desk, keep_alpha, (current, alpha), (saved,))


def _plain(value: Html | None = None) -> gr.HTML:
    return gr.HTML(value=value or Html(), apply_default_css=False, js_on_load=None, elem_classes="component")


def restore(desk: Desk) -> tuple[object, ...]:
    """The latest job, running or done, and what can be learnt from."""
    choices = [ALL, *dict.fromkeys(one.name for one in desk.store.sets())]
    name = next(reversed(desk.jobs), "")
    return *poll(desk, name), gr.update(choices=choices)


def start(desk: Desk, source: str, classifier: str, epochs: int, options: Sequence[str]) -> tuple[object, ...]:
    """Starts the job and shows it."""
    alpha = None if "automatic" in options else Recipe().alpha
    rate = desk.models.profile.settings.learning_rate
    recipe = Recipe(learning_rate=rate, max_epochs=int(epochs), originals="originals" in options, alpha=alpha)
    return poll(desk, begin(desk, "" if source == ALL else source, classifier, recipe).name)


def begin(desk: Desk, set_name: str, classifier: str, recipe: Recipe) -> Job:
    """Starts a job; one at a time. Raises `DataError` when there is nothing to learn from."""
    running = next((job for job in desk.jobs.values() if job.state == "running"), None)
    if running is not None:
        return running
    pairs = selection(desk.store, set_name)
    if not pairs:
        raise DataError("There is nothing to learn from yet; keep some counterfactuals on the Explore page first.")
    items = tuple(Item(photo.label, photo.image, item.image, photo.key) for photo, item in pairs)
    name = classifier or next(iter(desk.models.profile.classifiers))
    job = Job(name=f"{name}-{time.strftime('%Y%m%d-%H%M%S')}", title=f"Reinforcing {name} with {len(items)} pairs")
    order = Order(name, items, recipe)
    desk.start(job, lambda models, job: _train(desk, models, job, order))
    return job


def _train(desk: Desk, models: Models, job: Job, order: Order) -> None:
    """The job's work: features, training, evaluation, and the model on the disk."""

    def progress(epoch: Epoch) -> None:
        job.losses.append(epoch.loss)
        job.step(epoch.number, epoch.of)

    classifier = models.classifier(order.classifier)
    result = train(classifier, order.items, evaluation(models), order.recipe, progress)
    folder = desk.store.root / "reinforced" / job.name
    save(result, classifier, folder)
    job.note = f"reinforced/{folder.name}"
    job.result = result


def evaluation(models: Models) -> dict[str, list[tuple[Image, str]]]:
    """The profile's own test pictures by split."""
    profile = models.profile
    return {
        split: [(fit(open_image(one.path), profile.image_size), one.label) for one in load_folder(Path(folder))]
        for split, folder in profile.evaluation.items()
    }


def poll(desk: Desk, name: str) -> tuple[object, ...]:
    """A job as it is now: (current, timer, status, outcome, alpha, curve, save button, losses)."""
    job = desk.jobs.get(name)
    timer, hidden = gr.Timer(active=job is not None and job.state == "running"), gr.update(visible=False)
    drawn = gr.update(value=views.loss_figure(job.losses), visible=True) if job and job.losses else hidden
    if job is None or job.result is None:
        return name, timer, status_markup(job), gr.skip(), hidden, hidden, hidden, drawn
    alpha = job.result.alpha
    figure = gr.update(value=views.alpha_figure(job.result.curve, alpha), visible=True)
    slider, button = gr.update(value=alpha, visible=True), gr.update(visible=True)
    return name, timer, status_markup(job), outcome_markup(job.result, alpha), slider, figure, button, drawn


def status_markup(job: Job | None) -> Html:
    """One line on the job."""
    if job is None:
        return Html()
    if job.state == "running":
        loss = f" (validation loss {job.losses[-1]:.3f})" if job.losses else ""
        progress = replace(job.progress, stopping=job.stop.is_set())
        return progress_markup(f"{job.title}{loss}", progress, unit="epoch")
    if job.state == "done":
        return said(f"Done: {job.title}. Saved as {job.note} in the data folder.")
    return said(job.error, "failed" if job.state == "failed" else "")


def cancel(desk: Desk, name: str) -> object:
    """Stops the job at its next epoch, keeping the best head until then; the poll says so."""
    job = desk.jobs.get(name)
    if job is None or job.state != "running":
        return said("Nothing is running.")
    job.stop.set()
    return gr.skip()


def slide(desk: Desk, name: str, alpha: float) -> tuple[object, ...]:
    """Another alpha is looked at; answers (outcome, curve)."""
    job = desk.jobs.get(name)
    if job is None or job.result is None:
        return gr.skip(), gr.skip()
    moved = at_alpha(job.result, round(alpha, 1))
    return outcome_markup(moved, moved.alpha), views.alpha_figure(moved.curve, moved.alpha)


def keep_alpha(desk: Desk, name: str, alpha: float) -> Html:
    """Saves the model once more, with the alpha that the slider shows."""
    job = desk.jobs.get(name)
    if job is None or job.result is None:
        raise DataError("This run is no longer in memory; reinforce again to save another alpha.")
    moved = at_alpha(job.result, round(alpha, 1))
    folder = desk.store.root / "reinforced" / f"{name}-alpha{moved.alpha:.1f}"
    if not folder.exists():
        desk.ask(lambda models: save(moved, models.classifier(moved.classifier), folder))
    return said(f"Saved as reinforced/{folder.name} in the data folder.")
