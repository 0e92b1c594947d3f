"""Handlers of the Explore page for variations: asking for them, ticking, rewriting, writing one's own.

Each takes the desk first, saves what it changes, and answers with the list of variations and the status.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import gradio as gr

from explorer import alerts
from explorer.address import place_of, require_study
from explorer.components.status import progress_markup, status_line
from explorer.desk import Desk, Progress
from explorer.pages.explore.captions import REPLACED, save_caption, variations
from pipeline import workflow
from pipeline.captions.grammar import guess_factor
from pipeline.errors import Cancelled, DataError, PerturbationError, PipelineError
from pipeline.settings import Settings
from pipeline.types import Models, Perturbation, Step, Study

REJECTED = ("You rejected it.",)
OWN = "own words"  # the factor of what agrees with none


def suggest(
    desk: Desk, key: str, text: str, factors: Sequence[str], request: gr.Request, seen: str | None = None
) -> Iterator[tuple[object, ...]]:
    """Ask for variations, one factor after the other; yield (variations, words status); `seen` as in `rewrite`."""
    study = save_caption(desk, require_study(desk, key), text, request, seen)
    yield from _stream_proposals(desk, key, study, replace(desk.models.profile.settings, factors=tuple(factors)))


def _stream_proposals(desk: Desk, key: str, study: Study, settings: Settings) -> Iterator[tuple[object, ...]]:
    what, ended = "Asking for variations", "Tick what you want to try; the words that change are marked − and +."
    yield variations(study), progress_markup(what, Progress(total=len(settings.factors)))
    try:
        for item in desk.stream(key, lambda models, step: _propose(models, step, study, settings)):
            if isinstance(item, Progress):
                yield gr.skip(), progress_markup(what, item, unit="factor")
            else:
                desk.store.add_proposals(study.photo.key, study.caption, item)
                yield variations(require_study(desk, key)), gr.skip()
    except Cancelled as stopped:
        ended = str(stopped)
    except PipelineError as error:
        yield gr.skip(), status_line(str(error), "failed")
        raise
    yield gr.skip(), status_line(ended)


def _propose(models: Models, step: Step, study: Study, settings: Settings) -> Iterator[tuple[Perturbation, ...]]:
    """Yield the proposals of one factor at a time, so that each is seen at once and one bad answer loses nothing."""
    for done, factor in enumerate(settings.factors):
        step(done, len(settings.factors))
        try:
            words = (study.caption, study.photo.protected, replace(settings, factors=(factor,)))
            yield tuple(workflow.proposals(models, *words))
        except PerturbationError as error:
            alerts.warn(error)


def act(desk: Desk, key: str, event: gr.EventData) -> Iterator[tuple[object, ...]]:
    """Do to a variation what was clicked; yield (variations, words status)."""
    study = require_study(desk, key)
    data = event._data
    if data["do"] in ("tick", "leave"):
        yield variations(_set_tick(desk, study, str(data["caption"]), ticked=data["do"] == "tick")), gr.skip()
    elif data["do"] == "all":
        yield variations(_tick_passing(desk, study)), gr.skip()
    elif data["do"] == "clear":
        yield variations(_untick_all(desk, study)), gr.skip()
    elif data["do"] == "rewrite":
        old = _find_variation(study, str(data["caption"]))
        desk.store.tick(study.photo.key, study.caption, {old.edited_caption: REPLACED})
        yield variations(_add_own_words(desk, study, str(data["text"]))), gr.skip()
    elif data["do"] == "more":
        known = sum(p.factor == data["factor"] for p in study.perturbations)
        settings = replace(desk.models.profile.settings, factors=(str(data["factor"]),), proposals=min(50, known + 1))
        yield from _stream_proposals(desk, key, study, settings)


def write_own(desk: Desk, key: str, text: str) -> tuple[object, ...]:
    """Add a variation written by hand; return (variations, words status, emptied box)."""
    return variations(_add_own_words(desk, require_study(desk, key), text)), status_line(""), ""


def _find_variation(study: Study, edited_caption: str) -> Perturbation:
    for variation in study.perturbations:
        if variation.edited_caption == edited_caption and variation.rejected_by != REPLACED:
            return variation
    raise DataError("This variation is no longer there; the page shows the present ones after a reload.")


def _set_tick(desk: Desk, study: Study, edited_caption: str, *, ticked: bool) -> Study:
    """Tick or untick a variation, whatever was done in another window; one that is so already stays as it is."""
    variation = _find_variation(study, edited_caption)
    if variation.accepted == ticked:
        return study
    decided, expected = () if ticked else REJECTED, variation.rejected_by
    return _save_ticks(desk, study, {edited_caption: decided}, {edited_caption: expected})


def _tick_passing(desk: Desk, study: Study) -> Study:
    """Tick whatever no gate objects to, also what the analyst had unticked."""
    unticked = [variation for variation in study.perturbations if variation.rejected_by == REJECTED]
    passing = [variation for variation in unticked if all(check.passed for check in variation.checks)]
    return _save_ticks(desk, study, {variation.edited_caption: () for variation in passing})


def _untick_all(desk: Desk, study: Study) -> Study:
    """Untick everything; what a gate or the analyst objected to keeps its reason."""
    accepted = [variation for variation in study.perturbations if variation.accepted]
    return _save_ticks(desk, study, {variation.edited_caption: REJECTED for variation in accepted})


def _save_ticks(
    desk: Desk,
    study: Study,
    decided: Mapping[str, tuple[str, ...] | None],
    expected: Mapping[str, tuple[str, ...]] | None = None,
) -> Study:
    desk.store.tick(study.photo.key, study.caption, decided, expected)
    return require_study(desk, place_of(study))


def _add_own_words(desk: Desk, study: Study, text: str) -> Study:
    """Add a variation in the analyst's own words, which the gates judge; a known one is judged anew.

    Who writes it wants it, so an earlier word against it no longer counts.
    """
    words = (study.caption, text.strip(), guess_factor(study.caption, text) or OWN, study.photo.protected)
    variation = desk.ask(lambda models: models.perturber.judge(*words, models.profile.settings))
    if variation.rejected_by:
        alerts.note("Added, but a gate objects; tick it to use it all the same.")
    desk.store.add_proposals(study.photo.key, study.caption, [variation])
    return _save_ticks(desk, study, {variation.edited_caption: None})
