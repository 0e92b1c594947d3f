"""What stands where on the Explore page: the rail, words, edits and the inspector. Draws, and wires nothing."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import gradio as gr

from explorer import components
from explorer.components.asking import label_question
from explorer.components.caption_card import caption_card
from explorer.components.compare import compare_viewer
from explorer.components.looks import looks_card
from explorer.components.markup import Html, tag
from explorer.components.masthead import section
from explorer.components.provenance import provenance_card
from explorer.components.shelf import examples_markup, shelf
from explorer.components.tau_strip import tau_strip
from explorer.components.variations import variation_list
from explorer.desk import Desk
from explorer.pages.explore import classifiers, photo
from pipeline.captions.factors import FACTORS
from pipeline.editing.inversion import METHODS
from pipeline.settings import Settings
from pipeline.types import Axis

PROTECTED = "Every edit must keep showing this; nothing is protected until somebody says what the picture shows."
UPLOADING = Path(components.__file__).with_name("uploading.js").read_text(encoding="utf-8")


class Rail(NamedTuple):
    """The left column."""

    examples: gr.HTML
    upload: gr.File
    arrived: gr.HTML
    differing: gr.State  # photos that came with another label than they are known by
    take: gr.Button
    label: gr.Dropdown
    label_seen: gr.Textbox  # sent with the choice: a state would be read later, when it may have been told another
    classifier: gr.Dropdown
    own: classifiers.Adding
    history: gr.HTML
    every: gr.Button
    every_status: gr.HTML


class Words(NamedTuple):
    """Caption and variations."""

    question: gr.HTML
    banner: gr.HTML
    caption: gr.Textbox
    seen: gr.Textbox
    ask: gr.Button
    card: gr.HTML
    factors: gr.CheckboxGroup
    suggest: gr.Button
    status: gr.HTML
    variations: gr.HTML
    own: gr.Textbox
    add: gr.Button


class Making(NamedTuple):
    """The run and its frames."""

    inversion: gr.Radio
    taus: gr.CheckboxGroup
    steps: gr.Slider
    run: gr.Button
    cancel: gr.Button
    job: gr.Button
    status: gr.HTML
    strip: gr.HTML


class Inspector(NamedTuple):
    """The right column, in the order of `edits.Inspection`."""

    headline: gr.HTML
    compare: gr.HTML
    verdict: gr.HTML
    keep: gr.Button
    reject: gr.Button
    undo: gr.Button
    seen: gr.State
    shift: gr.Plot
    curve: gr.Plot
    looks: gr.HTML
    facts: gr.HTML
    provenance: gr.HTML


def draw_rail(desk: Desk) -> Rail:
    """Draw the left column: examples, uploads, the question and the history."""
    names = list(desk.models.profile.classifiers)
    with gr.Column(elem_classes="box", min_width=150):
        section("", "Photo")
        examples = shelf("examples", examples_markup(photo.examples(desk)))
        upload = gr.File(
            label="Upload pictures, or a zip of them",
            show_label=False,
            file_count="multiple",
            height=56,
            elem_id="upload",
        )
        arrived, differing = area(js_on_load=UPLOADING), gr.State(())
        take = gr.Button("Take the labels that came", visible=False, elem_id="take-labels")
    with gr.Column(elem_classes="box", min_width=150):
        section("", "Question")
        label = gr.Dropdown([], label="Label to protect", info=PROTECTED, elem_id="label")
        seen = gr.Textbox("", visible="hidden", elem_id="label-seen")
        classifier = gr.Dropdown(names, value=names[0], label="Classifier under study", elem_id="classifier")
        own = classifiers.form()
    with gr.Column(elem_classes="box", min_width=150):
        section("", "History")
        history = shelf("history", tag("p", "…", class_="empty"))
        every = gr.Button("Study all photos", elem_id="every-photo")
        every_status = area()
    return Rail(examples, upload, arrived, differing, take, label, seen, classifier, own, history, every, every_status)


def draw_words(settings: Settings) -> Words:
    """Draw caption and variations."""
    question, banner = label_question(), area()
    section("1", "Caption", "What the captioner sees. Correct it freely: variations start from these words.")
    with gr.Row(elem_classes="joined"):
        caption = gr.Textbox(show_label=False, label="Caption", lines=2, elem_id="caption", scale=5, max_length=600)
        seen = gr.Textbox(visible=False)
        ask = gr.Button("Other captions", elem_id="ask", scale=0, min_width=150)
    card = caption_card()
    section("2", "Variations", "One factor at a time, the label untouched. Tick what to try.")
    with gr.Row(elem_classes="joined middle"):
        factors = gr.CheckboxGroup(
            [*FACTORS], value=list(settings.factors), show_label=False, label="Factors", elem_id="factors", scale=4
        )
        suggest = gr.Button("Suggest variations", variant="primary", elem_id="suggest", scale=0, min_width=170)
    status = area()
    variations = variation_list()
    with gr.Row(elem_classes="joined"):
        own = gr.Textbox(
            show_label=False,
            label="Your own variation",
            placeholder="Write a variation by hand: the caption with your change",
            elem_id="own",
            scale=5,
            max_length=600,
        )
        add = gr.Button("Add", elem_id="add", scale=0, min_width=90)
    return Words(question, banner, caption, seen, ask, card, factors, suggest, status, variations, own, add)


def draw_making(settings: Settings, axis: Axis) -> Making:
    """Draw the settings of a run, its buttons and its frames."""
    section(
        "3",
        "Edits",
        f"A small {axis.name} edits boldly, a large one stays close to the photo. Hatched frames missed a gate.",
    )
    with gr.Accordion(f"Inversion, {axis.name} and steps", open=False, elem_classes="quiet"):
        inversions = [(f"{method.name}: {method.help}", name) for name, method in METHODS.items()]
        inversion = gr.Radio(inversions, value=settings.inversion, label="Inversion", elem_id="inversion")
        choices = sorted({*(n / 10 for n in range(1, 10)), *settings.taus})
        taus = gr.CheckboxGroup(
            [(f"{axis.value(tau):.2f}", tau) for tau in choices],
            value=list(settings.taus),
            elem_id="taus",
            label=f"{axis.name}: {axis.help}",
        )
        steps = gr.Slider(4, 100, value=settings.num_inference_steps, step=1, label="Denoising steps", elem_id="steps")
    with gr.Row(elem_classes="actions"):
        run = gr.Button("Make the edits", variant="primary", elem_id="run", scale=0, min_width=170)
        cancel = gr.Button("Cancel", elem_id="cancel", scale=0, min_width=100)
        job = gr.Button("All factors, as a job", elem_id="study-job", scale=0, min_width=170)
    return Making(inversion, taus, steps, run, cancel, job, area(), tau_strip())


def draw_inspector() -> Inspector:
    """Draw the right column."""
    section("4", "Outcome", "What the classifier makes of it.")
    headline, compare = area(), compare_viewer()
    with gr.Row(elem_classes="actions middle"):
        keep = gr.Button("Keep", variant="primary", elem_id="keep", min_width=80, visible=False)
        reject = gr.Button("Reject", elem_id="reject", min_width=80, visible=False)
        undo = gr.Button("Undo", elem_id="undo", min_width=80, visible=False)
        verdict = area()
    seen = gr.State(0)
    shift = gr.Plot(show_label=False, label="Top-5 before and after", elem_id="shift", visible=False)
    curve = gr.Plot(show_label=False, label="Across tau", elem_id="curve", visible=False)
    cards = (looks_card(), area(), provenance_card())
    return Inspector(headline, compare, verdict, keep, reject, undo, seen, shift, curve, *cards)


def area(value: Html | None = None, js_on_load: str | None = None) -> gr.HTML:
    """Draw a place that handlers fill."""
    return gr.HTML(value=value or Html(), apply_default_css=False, js_on_load=js_on_load, elem_classes="component")
