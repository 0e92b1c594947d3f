"""Handlers of the Explore page for captions: the captioner's words, others to choose from, the analyst's own.

Each takes the desk first, saves what it changes, and answers with caption, card, variations and status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import gradio as gr

from explorer.address import place_of, require_study
from explorer.components.caption_card import caption_markup
from explorer.components.markup import Html
from explorer.components.status import progress_markup, status_line
from explorer.components.variations import variations_markup
from explorer.components.word_maps import word_maps_markup
from explorer.desk import Desk, Progress
from pipeline import workflow
from pipeline.captions.captioning import caption_notes
from pipeline.errors import Cancelled, ConflictError, PipelineError
from pipeline.types import Models, Step, Study, WordMap

REPLACED = ("You replaced it by other words.",)
CANDIDATES = 5
Item = TypeVar("Item")


def variations(study: Study) -> Html:
    """Return the variations of the present caption, without those the analyst rewrote."""
    shown = [p for p in study.perturbations if p.caption == study.caption and p.rejected_by != REPLACED]
    return variations_markup(shown)


def card(desk: Desk, study: Study, candidates: Sequence[str] = (), maps: Sequence[WordMap] | None = None) -> Html:
    """Return what is known of the study's caption."""
    notes = caption_notes(study.caption, study.photo.protected) if study.caption else ()
    written = [rewording for rewording in desk.store.rewordings(study.photo.key) if rewording.caption == study.caption]
    looks = None if maps is None else word_maps_markup(study.photo.image, maps)
    return caption_markup(study.caption, notes, written[-1] if written else None, candidates, looks)


def caption(desk: Desk, key: str) -> Iterator[tuple[object, ...]]:
    """Caption a photo that has no caption yet."""
    if key and not require_study(desk, key).caption:
        yield from _caption_photo(desk, key, several=False)
    else:
        yield gr.skip(), gr.skip(), gr.skip(), gr.skip()  # a generator that yields nothing empties its outputs


def others(desk: Desk, key: str) -> Iterator[tuple[object, ...]]:
    """Offer several captions to choose from; the present one stays until another is chosen."""
    yield from _caption_photo(desk, key, several=True)


def _caption_photo(desk: Desk, key: str, *, several: bool) -> Iterator[tuple[object, ...]]:
    study, settings = require_study(desk, key), desk.models.profile.settings

    def work(models: Models, step: Step) -> Iterator[tuple[Study, tuple[str, ...]]]:
        step(0, 0)
        found = models.captioner.candidates(study.photo.image, settings, CANDIDATES) if several else ()
        yield study if study.caption else workflow.describe(models, study, settings), found

    for status, made in _stream_with_status(desk, key, "Reading the picture", work):
        if made is None:
            yield gr.skip(), gr.skip(), gr.skip(), status
        else:
            told, found = made
            if not study.caption:
                desk.store.set_caption(told.photo.key, told.caption, expected="")
            yield told.caption, card(desk, told, found), variations(told), status


def act(desk: Desk, key: str, request: gr.Request, event: gr.EventData) -> Iterator[tuple[object, ...]]:
    """Take the caption that was chosen, or show where each of its words looks."""
    if event._data["do"] == "caption":
        yield rewrite(desk, key, str(event._data["text"]), request, str(event._data["seen"]))
    else:
        yield from _show_word_maps(desk, key)


def _show_word_maps(desk: Desk, key: str) -> Iterator[tuple[object, ...]]:
    study, settings = require_study(desk, key), desk.models.profile.settings

    def work(models: Models, step: Step) -> Iterator[tuple[WordMap, ...]]:
        inversion = desk.inversions.get(models, study, settings, step)
        yield models.editor.word_maps(inversion, step)

    for status, maps in _stream_with_status(desk, key, "Looking at the words", work):
        shown = gr.skip() if maps is None else card(desk, study, maps=maps)
        yield gr.skip(), shown, gr.skip(), status


def _stream_with_status(
    desk: Desk, key: str, what: str, work: Callable[[Models, Step], Iterator[Item]]
) -> Iterator[tuple[Html, Item | None]]:
    """Yield the status of the work as it goes, and what it made once it is there."""
    try:
        for item in desk.stream(key, work):
            if isinstance(item, Progress):
                yield progress_markup(what, item), None
            else:
                yield status_line(""), item
    except Cancelled as stopped:
        yield status_line(str(stopped)), None
    except PipelineError as error:
        yield status_line(str(error), "failed"), None
        raise


def rewrite(desk: Desk, key: str, text: str, request: gr.Request, seen: str | None = None) -> tuple[object, ...]:
    """Save the analyst's own caption; variations of the old one are put aside.

    `seen` is the caption that the page showed. Where it became another one meanwhile nothing is changed: the page then
    tells of that one and leaves the analyst's words where they stand, so that they can be saved once more or not.
    """
    study = require_study(desk, key)
    if text.strip() == study.caption:
        return gr.skip(), gr.skip(), gr.skip(), gr.skip()
    if not text.strip():
        refused = status_line("A caption cannot be empty; this is the one before.", "failed")
        return study.caption, gr.skip(), gr.skip(), refused
    try:
        study = save_caption(desk, study, text, request, seen)
    except ConflictError as error:
        return gr.skip(), card(desk, study), variations(study), status_line(str(error), "failed")
    put_aside = status_line("Caption saved. Variations of the old caption are put aside.")
    return study.caption, card(desk, study), variations(study), put_aside


def save_caption(desk: Desk, study: Study, text: str, request: gr.Request, seen: str | None = None) -> Study:
    """Save the analyst's own words, and who wrote them where visitors sign in; return the study under them.

    Blank ones leave the caption as it is; where there is none yet, the captioner's are taken. Raises `ConflictError`
    when the caption is not the one that was `seen` (None: the study's).
    """
    if study.caption and text.strip() in ("", study.caption):
        return study
    settings = desk.models.profile.settings
    if text:  # somebody's words need no model, and wait for none
        told = workflow.describe(desk.models, study, settings, caption=text)
    else:
        told = desk.ask(lambda models: workflow.describe(models, study, settings))
    analyst = (request.username or "") if text.strip() else None
    desk.store.set_caption(
        study.photo.key, told.caption, analyst=analyst, expected=study.caption if seen is None else seen
    )
    return require_study(desk, place_of(study))
