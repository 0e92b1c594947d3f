"""The public, named endpoints for programs: the same stages as the page, plain values in and out.

`/gradio_api/info` documents them; photos are named by the key that `classify` answers with.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import MethodType
from typing import TypedDict

import gradio as gr

from explorer import address, identity
from explorer.alerts import guard_handler
from explorer.desk import Desk
from explorer.middleware import offer_download, uploaded_file
from explorer.pages.explore import classifiers
from explorer.pages.reinforce import reinforce
from pipeline import workflow
from pipeline.classifiers.labels import find_label
from pipeline.curation.exporting import archive, find_set
from pipeline.curation.selection import labelled
from pipeline.errors import ConflictError, InputError
from pipeline.images import open_image
from pipeline.reinforcement.recipes import Recipe
from pipeline.store import decisions
from pipeline.tasks import studio
from pipeline.types import Models, Perturbation, Study


class Edited(TypedDict):
    """One edit as the API tells it."""

    key: str
    tau: float
    label_probability: float
    top: str
    directional_similarity: float
    missed: list[str]


class Exported(TypedDict):
    """A set on its way out as the API tells it."""

    folder: str  # from the data folder on
    pairs: int
    archive: dict[str, object]  # the same as one zip; `gradio_client` downloads it and puts its path here


class Proposal(TypedDict):
    """One proposed variation as the API tells it."""

    factor: str
    edited_caption: str
    rejected_by: list[str]


def build(desk: Desk) -> None:
    """Add the endpoints to the current Blocks."""
    model: tuple[Callable[..., object], ...] = (classify, caption, perturb, edit)
    for handler in model:
        gr.api(_bound(desk, handler), api_name=handler.__name__, concurrency_id="models", concurrency_limit=1)
    for handler in (decide, freeze, export, reinforce_set):
        name = "reinforce" if handler is reinforce_set else handler.__name__
        gr.api(_bound(desk, handler), api_name=name, concurrency_limit=None)


def _bound(desk: Desk, handler: Callable[..., object]) -> Callable[..., object]:
    return MethodType(guard_handler(handler), desk)


def classify(desk: Desk, image: gr.FileData, classifier: str = "", label: str = "") -> tuple[str, dict[str, float]]:
    """Open a picture; return its key and its five most probable labels.

    `label` is what it shows. Without one the classifier's guess stands in, which no gate protects and which counts in
    no figure, set, training or export until somebody confirms it. Another label that somebody gave before stays, and
    the answer says so.
    """
    opened = open_image(uploaded_file(image))
    name = classifiers.require_choice(desk, classifier)
    study = desk.ask(lambda models: studio.take_in(models, desk.store, opened, label, name or _first(models)))
    known = study.photo
    if label and known.label != find_label(label, known.prediction.labels):
        raise InputError(
            f"The picture is here already, and somebody said that it shows '{known.label}', which stays. "
            "Classify it without a label, or give the new label to /perturb."
        )
    return address.place_of(study), dict(study.photo.prediction.top())


def _first(models: Models) -> str:
    return next(iter(models.profile.classifiers))


def caption(desk: Desk, photo: str, request: gr.Request, text: str = "") -> str:
    """Caption an opened photo, or set its caption when `text` is given."""
    study = address.require_study(desk, photo)
    described = desk.ask(lambda models: workflow.describe(models, study, models.profile.settings, text))
    analyst = identity.analyst(request) if text else None
    desk.store.set_caption(study.photo.key, described.caption, analyst=analyst, expected=study.caption)
    return described.caption


def perturb(desk: Desk, photo: str, factors: list[str], request: gr.Request, label: str = "") -> list[Proposal]:
    """Ask for variations of an opened photo's caption, one per factor; `label` says what the photo shows."""
    study = address.require_study(desk, photo)
    settings = replace(desk.models.profile.settings, factors=tuple(factors))
    if label:
        key, shown, who = study.photo.key, study.photo.protected, identity.analyst(request)
        desk.ask(lambda models: studio.say_label(models, desk.store, key, label, settings, analyst=who, expected=shown))
        study = address.require_study(desk, photo)
    words = (study.caption, study.photo.protected)
    proposed = desk.ask(lambda models: tuple(workflow.proposals(models, *words, settings)))
    desk.store.add_proposals(study.photo.key, study.caption, proposed)
    return [
        Proposal(factor=p.factor, edited_caption=p.edited_caption, rejected_by=list(p.rejected_by))
        for p in address.require_study(desk, photo).perturbations
    ]


def edit(
    desk: Desk, photo: str, edited_caption: str, taus: list[float], steps: int = 0, overrule: bool = False
) -> list[Edited]:
    """Edit an opened photo towards other words at these tau, in so many denoising steps (0: as the profile says).

    Returns one entry per tau. Words to which a gate objects are refused with its reasons, unless `overrule` is true.
    """
    known = address.require_study(desk, photo)
    settings = desk.models.profile.settings
    settings = replace(settings, taus=tuple(taus)) if taus else settings
    settings = replace(settings, num_inference_steps=steps) if steps else settings

    def work(models: Models) -> tuple[Perturbation, Study]:
        variation = models.perturber.judge(known.caption, edited_caption, "own words", known.photo.protected, settings)
        if variation.rejected_by and not overrule:
            reasons = "; ".join(variation.rejected_by)
            raise InputError(f"A gate objects to these words: {reasons}. Change them, or edit with overrule=True.")
        variation = replace(variation, rejected_by=())
        key, caption, name = known.photo.key, known.caption, known.photo.classifier
        desk.store.add_proposals(key, caption, [variation])
        made = studio.edit(
            models, desk.store, key, (variation,), settings, name, caption=caption, inversions=desk.inversions
        )
        return variation, deque(made, maxlen=1).pop()

    variation, study = desk.ask(work)
    return [
        Edited(
            key=item.key,
            tau=item.tau,
            label_probability=item.prediction.probability(study.photo.label),
            top=item.prediction.first,
            directional_similarity=item.scores.directional_similarity,
            missed=list(item.missed),
        )
        for item in study.counterfactuals
        if item.perturbation.edited_caption == variation.edited_caption
    ]


def decide(
    desk: Desk,
    counterfactual: str,
    verdict: str,
    request: gr.Request,
    reason: str = "",
    request_id: str = "",
    expected: str = "",
    analyst: str = "",
) -> str:
    """Save a verdict: keep, reject, unsure, or "" to take one back. The same request_id twice counts once.

    `expected` is the verdict of the same analyst that this one replaces; without it a verdict is changed by nobody
    unawares. The analyst is whoever signed in; `analyst` names one where nobody does.
    """
    desk.catalogue.refresh()
    who, number = identity.analyst(request, analyst), request_id[:64] or uuid.uuid4().hex
    if sent := next((decision for decision in desk.catalogue.log if decision.id == number), None):
        return sent.verdict
    views = desk.catalogue.views(counterfactual)
    own = views.get(who)
    known = own.verdict if own else ""
    if known not in (expected, verdict):
        name = who or "Somebody without a name"
        told = f"{name} decided '{known}'" if known else f"{name} has decided nothing"
        raise ConflictError(f"{told} on this; nothing was changed, give expected='{known}' to do it all the same.")
    made = replace(decisions.following(views, counterfactual, who), id=number, verdict=verdict, reason=reason)
    return desk.store.decide(made, expected=desk.catalogue.newest(counterfactual)).verdict


def freeze(desk: Desk, name: str) -> tuple[str, int, int]:
    """Freeze all kept counterfactuals whose label somebody gave; return name, version and size of the set."""
    kept = [key for key, decision in desk.store.decisions().items() if decision.verdict == "keep"]
    material = labelled(desk.store, kept)
    if kept and not material.labels:
        raise InputError(" ".join(("Nothing that is kept can be frozen.", *material.left_out)))
    made = desk.store.freeze(name, frozenset(material.labels))
    return made.name, made.version, len(made.items)


def export(desk: Desk, name: str, version: int = 0) -> Exported:
    """Export a frozen set as an ImageFolder of pairs, its latest version for 0; return the folder and a zip of it."""
    chosen = find_set(desk.store, name, version)
    file, pairs = archive(desk.store, chosen), len(labelled(desk.store, chosen.items).labels)
    return Exported(folder=f"sets/{file.stem}", pairs=pairs, archive=offer_download(file))


def reinforce_set(desk: Desk, set_name: str = "", classifier: str = "", alpha: float | None = None) -> str:
    """Start the reinforcement of a classifier as a job; return its name, a folder below reinforced/ once done.

    Without `alpha` the best on validation is taken.
    """
    rate = desk.models.profile.settings.learning_rate
    name = classifiers.require_choice(desk, classifier)
    task = reinforce.task_for(desk, set_name, name, Recipe(alpha=alpha, learning_rate=rate))
    return task.run_name(desk.runner.add(task), *task.recipes)
