"""Handlers of the Explore page for variations: asking for them, ticking, rewriting, writing one's own.

Each takes the desk first, saves what it changes, and answers with the list of variations and the status.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import gradio as gr

from explorer import alerts
from explorer.address import need, place_of
from explorer.components.status import progress_markup, said
from explorer.desk import Desk, Progress
from explorer.pages.explore.captions import REPLACED, described, variations
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
    """Asks for variations, one factor after the other; answers (variations, words status); `seen` as in `rewrite`."""
    study = described(desk, need(desk, key), text, request, seen)
    yield from _suggested(desk, key, study, replace(desk.models.profile.settings, factors=tuple(factors)))


def _suggested(desk: Desk, key: str, study: Study, settings: Settings) -> Iterator[tuple[object, ...]]:
    what, ended = "Asking for variations", "Tick what you want to try; the words that change are marked − and +."
    yield variations(study), progress_markup(what, Progress(total=len(settings.factors)))
    try:
        for item in desk.stream(key, lambda models, step: _propose(models, step, study, settings)):
            if isinstance(item, Progress):
                yield gr.skip(), progress_markup(what, item, unit="factor")
            else:
                desk.store.add_proposals(study.photo.key, study.caption, item)
                yield variations(need(desk, key)), gr.skip()
    except Cancelled as stopped:
        ended = str(stopped)
    except PipelineError as error:
        yield gr.skip(), said(str(error), "failed")
        raise
    yield gr.skip(), said(ended)


def _propose(models: Models, step: Step, study: Study, settings: Settings) -> Iterator[tuple[Perturbation, ...]]:
    """One factor at a time, so that each is seen as soon as it is there and one bad answer loses nothing."""
    for done, factor in enumerate(settings.factors):
        step(done, len(settings.factors))
        try:
            words = (study.caption, study.photo.protected, replace(settings, factors=(factor,)))
            yield tuple(workflow.proposals(models, *words))
        except PerturbationError as error:
            alerts.warn(error)


def act(desk: Desk, key: str, event: gr.EventData) -> Iterator[tuple[object, ...]]:
    """Something was done to a variation; answers (variations, words status)."""
    study = need(desk, key)
    data = event._data
    if data["do"] in ("tick", "leave"):
        yield variations(_chosen(desk, study, str(data["caption"]), ticked=data["do"] == "tick")), gr.skip()
    elif data["do"] == "all":
        yield variations(_all_that_pass(desk, study)), gr.skip()
    elif data["do"] == "clear":
        yield variations(_none(desk, study)), gr.skip()
    elif data["do"] == "rewrite":
        old = _named(study, str(data["caption"]))
        desk.store.tick(study.photo.key, study.caption, {old.edited_caption: REPLACED})
        yield variations(_judged(desk, study, str(data["text"]))), gr.skip()
    elif data["do"] == "more":
        known = sum(p.factor == data["factor"] for p in study.perturbations)
        settings = replace(desk.models.profile.settings, factors=(str(data["factor"]),), proposals=min(50, known + 1))
        yield from _suggested(desk, key, study, settings)


def write_own(desk: Desk, key: str, text: str) -> tuple[object, ...]:
    """A variation written by hand; answers (variations, words status, emptied box)."""
    return variations(_judged(desk, need(desk, key), text)), said(""), ""


def _named(study: Study, edited_caption: str) -> Perturbation:
    for one in study.perturbations:
        if one.edited_caption == edited_caption and one.rejected_by != REPLACED:
            return one
    raise DataError("This variation is no longer there; the page shows the present ones after a reload.")


def _chosen(desk: Desk, study: Study, edited_caption: str, *, ticked: bool) -> Study:
    """What the page asked for holds, whatever was done in another window; who wants what is so changes nothing."""
    one = _named(study, edited_caption)
    if one.accepted == ticked:
        return study
    return _ticked(desk, study, {edited_caption: () if ticked else REJECTED}, {edited_caption: one.rejected_by})


def _all_that_pass(desk: Desk, study: Study) -> Study:
    """Ticks whatever no gate objects to, also what the analyst had unticked."""
    unticked = [one for one in study.perturbations if one.rejected_by == REJECTED]
    passing = [one for one in unticked if all(check.passed for check in one.checks)]
    return _ticked(desk, study, {one.edited_caption: () for one in passing})


def _none(desk: Desk, study: Study) -> Study:
    """Unticks everything; what a gate or the analyst objected to keeps its reason."""
    return _ticked(desk, study, {one.edited_caption: REJECTED for one in study.perturbations if one.accepted})


def _ticked(
    desk: Desk,
    study: Study,
    decided: Mapping[str, tuple[str, ...] | None],
    expected: Mapping[str, tuple[str, ...]] | None = None,
) -> Study:
    desk.store.tick(study.photo.key, study.caption, decided, expected)
    return need(desk, place_of(study))


def _judged(desk: Desk, study: Study, text: str) -> Study:
    """The study with a variation in the analyst's own words, which the gates judge; one that is there is judged anew.

    Who writes it wants it, so an earlier word against it no longer counts.
    """
    words = (study.caption, text.strip(), guess_factor(study.caption, text) or OWN, study.photo.protected)
    one = desk.ask(lambda models: models.perturber.judge(*words, models.profile.settings))
    if one.rejected_by:
        alerts.note("Added, but a gate objects; tick it to use it all the same.")
    desk.store.add_proposals(study.photo.key, study.caption, [one])
    return _ticked(desk, study, {one.edited_caption: None})
