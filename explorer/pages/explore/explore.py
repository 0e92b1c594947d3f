"""Page: one photo, from its caption over variations to edits across tau and what the classifier makes of them.

Only layout and wiring; the handlers stand in `photo.py`, `captions.py`, `proposals.py` (up to
the run), `edits.py` (from the run on) and `jobs_page.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import gradio as gr
from gradio.components import Component

from explorer import components
from explorer.components.asking import label_question
from explorer.components.caption_card import caption_card
from explorer.components.compare import compare_viewer
from explorer.components.looks import looks_card
from explorer.components.markup import Html, tag
from explorer.components.masthead import masthead, section
from explorer.components.provenance import provenance_card
from explorer.components.shelf import examples_markup, shelf
from explorer.components.tau_strip import tau_strip
from explorer.components.variations import variation_list
from explorer.components.welcome import welcome_markup
from explorer.desk import Desk
from explorer.pages.explore import captions, classifiers, edits, photo, proposals, starting, uploads
from explorer.pages.jobs import jobs
from explorer.wiring import reads, works
from pipeline.captions.factors import FACTORS
from pipeline.settings import Settings
from pipeline.types import Axis

INVERSIONS = [
    ("PnP: exact, fast", "pnp"),
    ("Null-text: the most faithful, slow", "null-text"),
    ("Negative prompt: cheapest", "negative-prompt"),
    ("DDIM: the control, nothing mended", "ddim"),
]
PROTECTED = "Every edit must keep showing this; nothing is protected until somebody says what the picture shows."
# A text is saved upon the caption that the page showed, which the caption's card remembers.
SEEN = """(...sent) => [...sent.slice(0, -1),
  document.querySelector('#caption-card [data-seen]')?.dataset.seen ?? '']"""
UPLOADING = Path(components.__file__).with_name("uploading.js").read_text(encoding="utf-8")
# On a phone the work stands below the shelves.
TO_THE_WORK = """() => matchMedia('(max-width: 900px)').matches
  && document.querySelector('.stages')?.scrollIntoView({behavior: 'smooth'})"""

CHOSEN_NAME = "() => JSON.parse(localStorage.getItem('explorer.analyst') ?? '\"\"')"


class Rail(NamedTuple):
    """The left column."""

    examples: gr.HTML
    upload: gr.File
    arrived: gr.HTML
    differing: gr.State  # photos that came with another label than they are known by
    take: gr.Button
    label: gr.Dropdown
    label_seen: gr.State
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


class Keys(NamedTuple):
    """What a session remembers of where it is."""

    place: gr.State
    frame: gr.State
    analyst: gr.Textbox  # the name that was chosen on the Curate page; counts where nobody signs in


def build(demo: gr.Blocks, desk: Desk) -> None:
    """Draws the page into the current Blocks and wires it."""
    masthead("Explore", desk.models.profile.name)
    starting.notice(demo, desk)
    keys = Keys(gr.State(""), gr.State(""), gr.Textbox("", visible="hidden", elem_id="analyst"))
    with gr.Row(elem_classes="bench", equal_height=False):
        with gr.Column(elem_classes="rail", min_width=180):
            rail = _rail(desk)
        with gr.Column(elem_classes="work", min_width=300):
            welcome = _plain(welcome_markup(()))
            with gr.Column(visible=False, elem_classes="stages") as stages:
                words = _words(desk.models.profile.settings)
                making = _making(desk.models.profile.settings, desk.models.axis)
        with gr.Column(elem_classes="inspector", elem_id="inspector", min_width=280, visible=False) as side:
            inspector = _inspector()
    page: list[Component | gr.Column] = [
        keys.place,
        keys.frame,
        welcome,
        stages,
        side,
        rail.label,
        rail.classifier,
        words.question,
        words.banner,
        words.caption,
        words.card,
        words.status,
        words.variations,
        making.status,
        making.strip,
        rail.label_seen,
        *inspector,
        rail.history,
    ]
    _wire_photo(desk, rail, words, page, keys)
    classifiers.wire(demo, desk, rail.own, rail.classifier)
    _wire_words(desk, words, keys)
    _wire_edits(desk, making, inspector, rail, keys)
    reads(demo.load, desk, photo.restore, (), page)
    demo.load(None, None, [keys.analyst], js=CHOSEN_NAME, api_visibility="private", show_progress="hidden")


def _rail(desk: Desk) -> Rail:
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
        arrived, differing = _plain(js_on_load=UPLOADING), gr.State(())
        take = gr.Button("Take the labels that came", visible=False, elem_id="take-labels")
    with gr.Column(elem_classes="box", min_width=150):
        section("", "Question")
        label = gr.Dropdown([], label="Label to protect", info=PROTECTED, elem_id="label")
        classifier = gr.Dropdown(names, value=names[0], label="Classifier under study", elem_id="classifier")
        own = classifiers.form()
    with gr.Column(elem_classes="box", min_width=150):
        section("", "History")
        history = shelf("history", tag("p", "…", class_="empty"))
        every = gr.Button("Study all photos", elem_id="every-photo")
        every_status = _plain()
    return Rail(
        examples, upload, arrived, differing, take, label, gr.State(""), classifier, own, history, every, every_status
    )


def _words(settings: Settings) -> Words:
    question, banner = label_question(), _plain()
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
    status = _plain()
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


def _making(settings: Settings, axis: Axis) -> Making:
    section(
        "3",
        "Edits",
        f"A small {axis.name} edits boldly, a large one stays close to the photo. Hatched frames missed a gate.",
    )
    with gr.Accordion(f"Inversion, {axis.name} and steps", open=False, elem_classes="quiet"):
        inversion = gr.Radio(INVERSIONS, value=settings.inversion, label="Inversion", elem_id="inversion")
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
    return Making(inversion, taus, steps, run, cancel, job, _plain(), tau_strip())


def _inspector() -> Inspector:
    section("4", "Outcome", "What the classifier makes of it.")
    headline, compare = _plain(), compare_viewer()
    with gr.Row(elem_classes="actions middle"):
        keep = gr.Button("Keep", variant="primary", elem_id="keep", min_width=80, visible=False)
        reject = gr.Button("Reject", elem_id="reject", min_width=80, visible=False)
        undo = gr.Button("Undo", elem_id="undo", min_width=80, visible=False)
        verdict = _plain()
    seen = gr.State(0)
    shift = gr.Plot(show_label=False, label="Top-5 before and after", elem_id="shift", visible=False)
    curve = gr.Plot(show_label=False, label="Across tau", elem_id="curve", visible=False)
    cards = (looks_card(), _plain(), provenance_card())
    return Inspector(headline, compare, verdict, keep, reject, undo, seen, shift, curve, *cards)


def _plain(value: Html | None = None, js_on_load: str | None = None) -> gr.HTML:
    return gr.HTML(value=value or Html(), apply_default_css=False, js_on_load=js_on_load, elem_classes="component")


def _wire_photo(desk: Desk, rail: Rail, words: Words, page: list[Component | gr.Column], keys: Keys) -> None:
    captioned = (words.caption, words.card, words.variations, words.status)
    asked = (rail.arrived, rail.differing, rail.take)
    opened = (
        works(rail.examples.act, desk, photo.open_example, (), page),
        works(rail.upload.upload, desk, uploads.receive, (rail.upload,), [rail.upload, *asked, *page]),
        reads(rail.history.act, desk, photo.open_known, (), page),
    )
    for event in opened:
        works(event.success, desk, captions.caption, (keys.place,), captioned)
        event.success(None, None, None, js=TO_THE_WORK, api_visibility="private", show_progress="hidden")
    works(words.ask.click, desk, captions.others, (keys.place,), captioned)
    works(words.card.act, desk, captions.act, (keys.place,), captioned)
    reads(
        rail.label.input, desk, photo.relabel, (keys.place, keys.frame, rail.label, rail.label_seen, keys.analyst), page
    )
    reads(words.question.act, desk, photo.answer, (keys.place, keys.frame, rail.label_seen, keys.analyst), page)
    answer = (rail.differing, keys.place, keys.frame, keys.analyst)
    reads(rail.take.click, desk, uploads.take_labels, answer, [*asked, *page])
    works(rail.classifier.input, desk, photo.reclassify, (keys.place, rail.classifier), page)


def _wire_words(desk: Desk, words: Words, keys: Keys) -> None:
    shown = (words.variations, words.status)
    for saved in (words.caption.blur, words.caption.submit):
        rewritten = (words.caption, words.card, *shown)
        reads(saved, desk, captions.rewrite, (keys.place, words.caption, words.seen), rewritten, js=SEEN)
    asked = (keys.place, words.caption, words.factors, words.seen)
    works(words.suggest.click, desk, proposals.suggest, asked, shown, js=SEEN)
    reads(words.variations.act, desk, proposals.act, (keys.place,), shown)
    for added in (words.add.click, words.own.submit):
        works(added, desk, proposals.write_own, (keys.place, words.own), (*shown, words.own))


def _wire_edits(desk: Desk, making: Making, inspector: Inspector, rail: Rail, keys: Keys) -> None:
    frame = (keys.frame, *inspector, rail.history)
    settings = (making.inversion, making.taus, making.steps)
    works(making.run.click, desk, edits.run, (keys.place, *settings), (making.status, making.strip, *frame))
    reads(making.job.click, desk, jobs.study, (keys.place, *settings), (making.status,))
    reads(rail.every.click, desk, jobs.photos, (), (rail.every_status,))
    reads(making.cancel.click, desk, edits.cancel, (keys.place,), (making.status,))
    reads(making.strip.act, desk, edits.pick, (keys.place,), frame)
    works(inspector.looks.act, desk, edits.look, (keys.place, keys.frame), (inspector.looks,))
    decided = (inspector.verdict, inspector.keep, inspector.undo, inspector.seen, making.strip)
    for button, handler in (
        (inspector.keep, edits.keep),
        (inspector.reject, edits.reject),
        (inspector.undo, edits.take_back),
    ):
        reads(button.click, desk, handler, (keys.place, keys.frame, inspector.seen, keys.analyst), decided)
