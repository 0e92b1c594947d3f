"""What stands where on the Reinforce page: what to learn from, what came of it, runs side by side. Wires nothing."""

from __future__ import annotations

from typing import NamedTuple

import gradio as gr

from explorer.components.comparison import comparison_markup
from explorer.components.markup import Html
from explorer.components.masthead import section
from explorer.components.outcome import recipe_markup, validation_markup
from explorer.desk import Desk
from explorer.pages.reinforce import outcomes
from pipeline.reinforcement.recipes import OFFERED, Recipe

ALL = "Everything kept"
OPTIONS = {
    "originals": "Train on the original photos too, so that they are not forgotten",
    "last-block": "Train the classifier's last block too, not the head alone: slower, for AFR and DFR impossible",
    "automatic": "Choose alpha on validation pictures instead of fixing it",
}


class RecipeForm(NamedTuple):
    """The left column: what a classifier learns, and how."""

    source: gr.Dropdown
    classifier: gr.Dropdown
    methods: gr.CheckboxGroup
    seeds: gr.Slider
    epochs: gr.Slider
    options: gr.CheckboxGroup
    start: gr.Button
    cancel: gr.Button
    status: gr.HTML


class Outcome(NamedTuple):
    """One run: its training, and figures on validation."""

    losses: gr.Plot
    run: gr.Dropdown
    validation: gr.HTML
    alpha: gr.Slider
    curve: gr.Plot
    reveal: gr.Button
    step: gr.HTML
    kind: gr.Radio
    pictures: gr.HTML


class Tests(NamedTuple):
    """The run on its test sets, and on its way out."""

    box: gr.Column
    figures: gr.HTML
    kind: gr.Radio
    pictures: gr.HTML
    export: gr.Button
    download: gr.DownloadButton
    wished: gr.Textbox
    promote: gr.Button
    saved: gr.HTML


class Comparison(NamedTuple):
    """Several runs side by side."""

    chosen: gr.Dropdown
    reveal: gr.Button
    figures: gr.HTML


def draw_recipe_form(desk: Desk, standard: Recipe) -> RecipeForm:
    """Draw the left column, with the standard recipe's own values."""
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
            [(method.name, name) for name, method in OFFERED.items()],
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
        start = gr.Button("Reinforce", variant="primary", elem_id="start")
        cancel = gr.Button("Cancel", elem_id="stop", visible=False)
    status = area()
    area(recipe_markup(standard))
    return RecipeForm(source, classifier, methods, seeds, epochs, options, start, cancel, status)


def draw_outcome() -> Outcome:
    """Draw before and after on validation."""
    section("3", "Before and after", "On validation pictures, where alpha is chosen; with 95 % intervals.")
    losses = gr.Plot(show_label=False, label="Training", visible=False, elem_id="losses")
    run = gr.Dropdown([], label="Run", visible=False, elem_id="shown-run")
    validation = area(validation_markup(None))
    alpha = gr.Slider(0, 1, value=0.3, step=0.1, label="alpha", visible=False, elem_id="alpha")
    curve = gr.Plot(show_label=False, label="Accuracy over alpha", visible=False, elem_id="alpha-curve")
    with gr.Row(elem_classes="actions middle"):
        reveal = gr.Button(outcomes.FIRST, visible=False, elem_id="show-tests")
        step = area()
    kind = gr.Radio([], show_label=False, label="Validation pictures", visible=False, elem_id="kind")
    pictures = area()
    return Outcome(losses, run, validation, alpha, curve, reveal, step, kind, pictures)


def draw_tests() -> Tests:
    """Draw the test sets, which are hidden until somebody asks for them."""
    with gr.Column(visible=False, elem_classes="box", elem_id="tests") as box:
        section("4", "Test sets", "Regressions first; hover over a change for its interval.")
        figures = area()
        kind = gr.Radio([], show_label=False, label="Test pictures", visible=False, elem_id="test-kind")
        pictures = area()
        section("5", "Use it", "At the alpha of the test sets above; it opens as a classifier.")
        with gr.Row(elem_classes="actions"):
            export = gr.Button("Export", elem_id="export-run")
            download = gr.DownloadButton("Download", visible=False, elem_id="download-run")
        with gr.Row(elem_classes="joined foot"):
            wished = gr.Textbox(label="Name among the classifiers", max_length=60, elem_id="promote-name")
            promote = gr.Button("Promote", elem_id="promote")
        saved = area()
    return Tests(box, figures, kind, pictures, export, download, wished, promote, saved)


def draw_comparison() -> Comparison:
    """Draw the choice of runs, and the runs side by side."""
    section("", "Compare runs")
    chosen = gr.Dropdown([], multiselect=True, label="Runs", show_label=False, elem_id="compared")
    with gr.Row(elem_classes="actions"):
        reveal = gr.Button("Show the test sets of these runs", visible=False, elem_id="compare-tests")
    figures = area(comparison_markup({}))
    return Comparison(chosen, reveal, figures)


def area(value: Html | None = None) -> gr.HTML:
    """Draw a place that handlers fill."""
    return gr.HTML(value=value or Html(), apply_default_css=False, js_on_load=None, elem_classes="component")
