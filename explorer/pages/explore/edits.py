"""Handlers of the Explore page from the run on: frames as they come, the selected one, and what is decided about it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import time
from typing import NamedTuple

import gradio as gr

from explorer import alerts, identity, views
from explorer.address import find_counterfactual, history, require_study
from explorer.components.compare import compare_markup, photo_alone
from explorer.components.facts import facts_markup, headline_markup, verdict_markup
from explorer.components.looks import ask_markup, looks_markup
from explorer.components.markup import Html
from explorer.components.prediction import photo_markup
from explorer.components.provenance import provenance_markup
from explorer.components.status import progress_markup, status_line
from explorer.components.tau_strip import strip_markup
from explorer.desk import Desk, Progress
from explorer.pages.explore.shifts import shift_figure, tau_figure
from pipeline import workflow
from pipeline.classifiers.shifts import is_prediction_flip
from pipeline.errors import Cancelled, ConflictError, DataError, InputError, PipelineError
from pipeline.settings import Settings
from pipeline.store import decisions
from pipeline.tasks import studio
from pipeline.tasks.provenance import Provenance, provenance
from pipeline.types import Counterfactual, Models, Perturbation, Step, Study


class Inspection(NamedTuple):
    """The right column's values, in the order of its components."""

    headline: object
    compare: object
    verdict: object
    keep: object
    reject: object
    undo: object
    seen: object  # number of the newest decision on the frame when it was shown
    shift: object
    curve: object
    looks: object
    facts: object
    provenance: object


class Order(NamedTuple):
    """What is to be edited."""

    study: Study
    wanted: tuple[Perturbation, ...]
    settings: Settings


def inspect_photo(study: Study) -> Inspection:
    """Return the photo itself and what the classifier makes of it: no frame is selected."""
    hidden = gr.update(visible=False)
    plots = gr.update(value=None, visible=False)
    shown, picture, cards = photo_markup(study.photo), photo_alone(study.photo.image), (Html(), Html(), Html())
    return Inspection(shown, picture, Html(), hidden, hidden, hidden, 0, plots, plots, *cards)


def missing_edits_note(study: Study) -> Html:
    """Say how many ticked variations have no edit: a page that is left stops what was being made."""
    edited = {item.perturbation.edited_caption for item in study.counterfactuals}
    ticked = [p for p in study.perturbations if p.accepted and p.caption == study.caption]
    count = sum(p.edited_caption not in edited for p in ticked)
    left = f"{count} of {len(ticked)} ticked variations have no edits yet: press “Make the edits”."
    note = f"{left} It stops when the page is left and keeps what is ready; a job goes on."
    return status_line(note) if count else Html()


def costliest(study: Study) -> Counterfactual | None:
    """Return of the chosen edits the one that costs the label most; of all edits, where none is chosen."""
    candidates = workflow.chosen(study) or study.counterfactuals
    return min(candidates, key=lambda item: item.prediction.probability(study.photo.label), default=None)


def strip(
    desk: Desk, study: Study, selected: str, waiting: Sequence[Perturbation] = (), taus: Sequence[float] = ()
) -> Html:
    """Return the strip of the present caption's variations."""
    return strip_markup(study, rows(desk, study, waiting, taus), selected)


def rows(
    desk: Desk, study: Study, waiting: Sequence[Perturbation] = (), taus: Sequence[float] = ()
) -> tuple[views.VariationRow, ...]:
    """Return the strip's rows with what was chosen and decided."""
    desk.catalogue.refresh()
    verdicts = desk.catalogue.verdicts(item.key for item in study.counterfactuals)
    chosen = frozenset(item.key for item in workflow.chosen(study))
    return views.rows(study, taus, chosen, verdicts, waiting, desk.models.axis)


def inspect(desk: Desk, study: Study, item: Counterfactual | None) -> Inspection:
    """Return everything about one frame."""
    if item is None:
        return inspect_photo(study)
    control, label = study.control or study.photo.prediction, study.photo.label
    row = next(r for r in rows(desk, study) if r.perturbation.edited_caption == item.perturbation.edited_caption)
    frame = views.frame(item, label, study.control, desk.models.axis)
    return Inspection(
        headline=headline_markup(study, frame, item),
        compare=compare_markup(study.photo.image, item.image, "original", f"edit, {frame.strength}"),
        **verdict_values(desk, item.key),
        reject=gr.update(visible=True),
        shift=gr.update(value=shift_figure(control, item.prediction, label), visible=True),
        curve=gr.update(
            value=tau_figure(row, label, study.control, item.tau, desk.models.axis), visible=len(row.frames) > 1
        ),
        looks=ask_markup(),
        facts=facts_markup(item, desk.models.profile.settings),
        provenance=provenance_markup(_provenance(desk, study, item)),
    )


def verdict_values(desk: Desk, key: str) -> dict[str, object]:
    """Return what holds of a frame now, the buttons that go with it, and how far its decisions were seen."""
    desk.catalogue.refresh()
    settled, opinions = desk.catalogue.settled(key), desk.catalogue.said(key)
    is_kept = settled is not None and settled.verdict == "keep"
    return {
        "verdict": verdict_markup(settled, opinions),
        "keep": gr.update(visible=True, variant="secondary" if is_kept else "primary"),
        "undo": gr.update(visible=any(decision.verdict for decision in opinions)),
        "seen": desk.catalogue.newest(key),
    }


def _provenance(desk: Desk, study: Study, item: Counterfactual) -> Provenance | None:
    picture = desk.store.file(study.photo.key).relative_to(desk.store.root)
    return provenance(desk.models.axis, study, item, picture.as_posix())


def look(desk: Desk, key: str, frame_key: str) -> Html:
    """Show where the classifier looks for the label, before and after the selected edit."""
    study = require_study(desk, key)
    item = find_counterfactual(study, frame_key)
    if item is None:
        raise DataError("Select a frame first; where the classifier looks is told for one frame.")
    label, pictures = study.photo.label, (study.photo.image, item.image)
    maps = desk.ask(lambda models: models.classifier(study.photo.classifier).grad_cam(pictures, label))
    return looks_markup(pictures, maps, label)


def pick(desk: Desk, key: str, event: gr.EventData) -> tuple[object, ...]:
    """Show the frame that was clicked; return (frame, inspector, history)."""
    study = require_study(desk, key)
    item = find_counterfactual(study, str(event._data["key"]))
    if item is None:
        raise DataError("This frame is no longer there; the page shows the present ones after a reload.")
    return item.key, *inspect(desk, study, item), history(desk, study, item.key)


def run(desk: Desk, key: str, inversion: str, taus: Sequence[float], steps: int) -> Iterator[tuple[object, ...]]:
    """Edit all ticked variations; yield (status, strip, frame, inspector, history) again and again."""
    study, settings = require_study(desk, key), settings_of(desk, inversion, taus, steps)
    wanted = _variations_to_edit(study, settings)
    order = Order(study, wanted, settings)
    quiet = tuple(gr.skip() for _ in range(2 + len(Inspection._fields)))
    yield progress_markup("Starting", Progress()), strip(desk, study, "", wanted, settings.taus), *quiet
    ended = ""
    try:
        for item in desk.stream(key, lambda models, step: _edit(desk, models, step, order)):
            if isinstance(item, Progress):
                yield progress_markup("Inverting and editing", item), gr.skip(), *quiet
            else:
                study = item
                yield gr.skip(), strip(desk, study, "", wanted, settings.taus), *quiet
    except Cancelled as stopped:
        ended = f"{stopped} "
    except PipelineError as error:
        yield status_line(str(error), "failed"), strip(desk, study, ""), *quiet
        raise
    study = require_study(desk, key)  # with what was done to it meanwhile
    found = costliest(study)
    chosen = found.key if found else ""
    shown = strip(desk, study, chosen)
    said_now = status_line(ended + _summary(study))
    yield said_now, shown, chosen, *inspect(desk, study, found), history(desk, study, chosen)


def settings_of(desk: Desk, inversion: str, taus: Sequence[float], steps: int) -> Settings:
    """Return the profile's settings with what the page asks for."""
    return replace(
        desk.models.profile.settings,
        inversion=inversion,
        taus=tuple(sorted(float(t) for t in taus)),
        num_inference_steps=int(steps),
    )


def _variations_to_edit(study: Study, settings: Settings) -> tuple[Perturbation, ...]:
    """Return the ticked variations that lack a frame at some tau; all ticked ones when none lacks any."""
    ticked = [p for p in study.perturbations if p.accepted and p.caption == study.caption]
    if not ticked:
        raise InputError("No variation is ticked. Suggest or write some, tick what you want to try, then run again.")
    done = {(item.perturbation.edited_caption, item.tau) for item in study.counterfactuals}
    lacking = [p for p in ticked if any((p.edited_caption, tau) not in done for tau in settings.taus)]
    return tuple(lacking or ticked)


def _edit(desk: Desk, models: Models, step: Step, order: Order) -> Iterator[Study]:
    """Save before anything is shown, in the worker's thread, so that a closed tab loses nothing."""
    study, wanted, settings = order
    photo, caption = study.photo, study.caption
    yield from studio.edit(
        models, desk.store, photo.key, wanted, settings, photo.classifier,
        caption=caption, step=step, inversions=desk.inversions,
    )  # fmt: skip


def _summary(study: Study) -> str:
    control = study.control or study.photo.prediction
    flips = sum(is_prediction_flip(control, item.prediction) for item in study.counterfactuals)
    passed = sum(not item.missed for item in study.counterfactuals)
    total = len(study.counterfactuals)
    return f"{total} edits: {passed} passed every gate, {flips} flip the prediction. Select a frame to look closer."


def cancel(desk: Desk, key: str) -> object:
    """Stop the work on this photo at its next step; what runs says so itself, lest this answer come after its last."""
    return gr.skip() if desk.cancel(key) else status_line("Nothing is running.")


def keep(desk: Desk, key: str, frame_key: str, seen: int, name: str, request: gr.Request) -> tuple[object, ...]:
    """Keep the selected frame."""
    return decide(desk, key, frame_key, seen, identity.analyst(request, name), "keep")


def reject(desk: Desk, key: str, frame_key: str, seen: int, name: str, request: gr.Request) -> tuple[object, ...]:
    """Reject the selected frame."""
    return decide(desk, key, frame_key, seen, identity.analyst(request, name), "reject")


def take_back(desk: Desk, key: str, frame_key: str, seen: int, name: str, request: gr.Request) -> tuple[object, ...]:
    """Take the analyst's verdict on the selected frame back."""
    return decide(desk, key, frame_key, seen, identity.analyst(request, name), "")


def decide(desk: Desk, key: str, frame_key: str, seen: int, analyst: str, verdict: str) -> tuple[object, ...]:
    """Save a verdict and show it, or what was decided meanwhile; return (verdict, keep, undo, seen, strip).

    A verdict on what has changed since it was shown is refused and told; in a dispute it settles it for everybody.
    """
    study = require_study(desk, key)
    if find_counterfactual(study, frame_key) is None:
        raise DataError("Select a frame first; a verdict is about one frame.")
    desk.catalogue.refresh()
    views = desk.catalogue.views(frame_key)
    own = views.get(analyst)
    if not verdict and not (own and own.verdict):
        raise DataError("This verdict is not yours, so you cannot take it back; keep or reject the edit yourself.")
    made = decisions.following(views, frame_key, analyst, settle=bool(verdict))
    made = replace(made, id=uuid.uuid4().hex, verdict=verdict, reason="", time=time())
    try:
        desk.store.decide(made, expected=seen)
    except ConflictError as error:
        alerts.warn(error)
    now = verdict_values(desk, frame_key)
    return now["verdict"], now["keep"], now["undo"], now["seen"], strip(desk, study, frame_key)
