"""Page: one photo, from its caption over variations to edits across tau and what the classifier makes of them.

Only wiring; what stands where is in `layout.py`, the handlers in `photo.py`, `captions.py`, `proposals.py` (up to the
run), `edits.py` (from the run on) and `explorer/pages/jobs/jobs.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import gradio as gr
from gradio.components import Component

from explorer import collections
from explorer.components.welcome import welcome_markup
from explorer.desk import Desk
from explorer.pages.explore import captions, classifiers, edits, photo, proposals, uploads
from explorer.pages.explore.layout import (
    Inspector,
    Making,
    Rail,
    Words,
    area,
    draw_inspector,
    draw_making,
    draw_rail,
    draw_words,
)
from explorer.pages.jobs import jobs
from explorer.wiring import use_models, use_records

TITLE, ROUTE = "Explore", "/"
# A text is saved upon the caption that the page showed, which the caption's card remembers.
SEEN = """(...sent) => [...sent.slice(0, -1),
  document.querySelector('#caption-card [data-seen]')?.dataset.seen ?? '']"""
# On a phone the work stands below the shelves.
TO_THE_WORK = """() => matchMedia('(max-width: 900px)').matches
  && document.querySelector('.stages')?.scrollIntoView({behavior: 'smooth'})"""

CHOSEN_NAME = "() => JSON.parse(localStorage.getItem('explorer.analyst') ?? '\"\"')"


class Keys(NamedTuple):
    """What a session remembers of where it is."""

    place: gr.State
    frame: gr.State
    analyst: gr.Textbox  # the name that was chosen on the Curate page; counts where nobody signs in


def build(demo: gr.Blocks, desk: Desk) -> None:
    """Draw the page into the current Blocks and wire it."""
    collections.notice(demo, desk)
    keys = Keys(gr.State(""), gr.State(""), gr.Textbox("", visible="hidden", elem_id="analyst"))
    with gr.Row(elem_classes="bench", equal_height=False):
        with gr.Column(elem_classes="rail", min_width=180):
            rail = draw_rail(desk)
        with gr.Column(elem_classes="work", min_width=300):
            welcome = area(welcome_markup(()))
            with gr.Column(visible=False, elem_classes="stages") as stages:
                words = draw_words(desk.models.profile.settings)
                making = draw_making(desk.models.profile.settings, desk.models.axis)
        with gr.Column(elem_classes="inspector", elem_id="inspector", min_width=280, visible=False) as side:
            inspector = draw_inspector()
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
    use_records(demo.load, desk, photo.restore, (), page)
    demo.load(None, None, [keys.analyst], js=CHOSEN_NAME, api_visibility="private", show_progress="hidden")


def _wire_photo(desk: Desk, rail: Rail, words: Words, page: list[Component | gr.Column], keys: Keys) -> None:
    captioned = (words.caption, words.card, words.variations, words.status)
    asked = (rail.arrived, rail.differing, rail.take)
    opened = (
        use_models(rail.examples.act, desk, photo.open_example, (), page),
        use_models(rail.upload.upload, desk, uploads.receive, (rail.upload,), [rail.upload, *asked, *page]),
        use_records(rail.history.act, desk, photo.open_known, (), page),
    )
    for event in opened:
        use_models(event.success, desk, captions.caption, (keys.place,), captioned)
        event.success(None, None, None, js=TO_THE_WORK, api_visibility="private", show_progress="hidden")
    use_models(words.ask.click, desk, captions.others, (keys.place,), captioned)
    use_models(words.card.act, desk, captions.act, (keys.place,), captioned)
    use_records(
        rail.label.input, desk, photo.relabel, (keys.place, keys.frame, rail.label, rail.label_seen, keys.analyst), page
    )
    use_records(words.question.act, desk, photo.answer, (keys.place, keys.frame, rail.label_seen, keys.analyst), page)
    answer = (rail.differing, keys.place, keys.frame, keys.analyst)
    use_records(rail.take.click, desk, uploads.take_labels, answer, [*asked, *page])
    use_models(rail.classifier.input, desk, photo.reclassify, (keys.place, rail.classifier), page)


def _wire_words(desk: Desk, words: Words, keys: Keys) -> None:
    shown = (words.variations, words.status)
    for saved in (words.caption.blur, words.caption.submit):
        rewritten = (words.caption, words.card, *shown)
        use_records(saved, desk, captions.rewrite, (keys.place, words.caption, words.seen), rewritten, js=SEEN)
    asked = (keys.place, words.caption, words.factors, words.seen)
    use_models(words.suggest.click, desk, proposals.suggest, asked, shown, js=SEEN)
    use_records(words.variations.act, desk, proposals.act, (keys.place,), shown)
    for added in (words.add.click, words.own.submit):
        use_models(added, desk, proposals.write_own, (keys.place, words.own), (*shown, words.own))


def _wire_edits(desk: Desk, making: Making, inspector: Inspector, rail: Rail, keys: Keys) -> None:
    frame = (keys.frame, *inspector, rail.history)
    settings = (making.inversion, making.taus, making.steps)
    use_models(making.run.click, desk, edits.run, (keys.place, *settings), (making.status, making.strip, *frame))
    use_records(making.job.click, desk, jobs.study, (keys.place, *settings), (making.status,))
    use_records(rail.every.click, desk, jobs.photos, (), (rail.every_status,))
    use_records(making.cancel.click, desk, edits.cancel, (keys.place,), (making.status,))
    use_records(making.strip.act, desk, edits.pick, (keys.place,), frame)
    use_models(inspector.looks.act, desk, edits.look, (keys.place, keys.frame), (inspector.looks,))
    decided = (inspector.verdict, inspector.keep, inspector.undo, inspector.seen, making.strip)
    for button, handler in (
        (inspector.keep, edits.keep),
        (inspector.reject, edits.reject),
        (inspector.undo, edits.take_back),
    ):
        use_records(button.click, desk, handler, (keys.place, keys.frame, inspector.seen, keys.analyst), decided)
