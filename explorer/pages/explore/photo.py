"""Handlers of the Explore page: opening a photo, and its question.

Each takes the desk first and answers with values for components, in the order of `Page`. The store is the truth: what a
handler changes it saves first and then shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import gradio as gr

from explorer import alerts, identity
from explorer.address import find_counterfactual, history, place_of, require_study
from explorer.components.asking import question_markup
from explorer.components.markup import Html, tag
from explorer.components.pairs import PairCard, explore_link
from explorer.components.welcome import welcome_markup
from explorer.desk import Desk
from explorer.pages.explore import classifiers, edits
from explorer.pages.explore.captions import card, variations
from pipeline import workflow
from pipeline.errors import ConflictError
from pipeline.images import open_image
from pipeline.importing.folders import LabelledImage, load_folder
from pipeline.store.queue import Entry
from pipeline.tasks import studio
from pipeline.types import Study

FLIPS = 6  # finished edits on the empty page


class Page(NamedTuple):
    """Everything that changes when another photo is opened."""

    photo: object
    frame: object
    welcome: object
    stages: object
    side: object
    label: object
    classifier: object
    question: object
    banner: object
    caption: object
    card: object
    words_status: object
    variations: object
    status: object
    strip: object
    label_seen: object
    inspector: edits.Inspection

    def flat(self) -> tuple[object, ...]:
        """Return the values in the order of the components, the history last."""
        return (*self[:-1], *self.inspector)


def examples(desk: Desk) -> tuple[LabelledImage, ...]:
    """Return the pictures that the profile offers to click first."""
    folder = desk.models.profile.examples
    return load_folder(Path(folder)).pictures if folder else ()


def restore(desk: Desk, request: gr.Request) -> tuple[object, ...]:
    """Show what the address asks for: `?photo=KEY&frame=KEY`; an unknown photo gives the empty page."""
    asked = {name: str(request.query_params.get(name, "")) for name in ("photo", "classifier", "frame")}
    return page(desk, desk.store.load_study(asked["photo"], asked["classifier"]), asked["frame"])


def open_example(desk: Desk, event: gr.EventData) -> tuple[object, ...]:
    """Open the example that was clicked."""
    chosen = examples(desk)[int(event._data["example"])]
    return page(desk, _open(desk, chosen.path, chosen.label))


def open_known(desk: Desk, event: gr.EventData) -> tuple[object, ...]:
    """Open the photo of the history that was clicked, or of the address that the back button leads to."""
    asked = {name: str(event._data.get(name, "")) for name in ("photo", "classifier", "frame")}
    return page(desk, require_study(desk, f"{asked['photo']}@{asked['classifier']}"), asked["frame"])


def _open(desk: Desk, path: Path, label: str) -> Study:
    image = open_image(path)
    return desk.ask(lambda models: studio.take_in(models, desk.store, image, label, name=path.name))


def page(desk: Desk, study: Study | None, frame_key: str = "") -> tuple[object, ...]:
    """Return the whole page of a study, or the empty page."""
    if study is None:
        return (*_empty(desk).flat(), history(desk, None))
    found = find_counterfactual(study, frame_key) or edits.costliest(study)
    key = found.key if found else ""
    full = Page(
        photo=place_of(study),
        frame=key,
        welcome=gr.update(visible=False),
        stages=gr.update(visible=True),
        side=gr.update(visible=True),
        label=gr.update(
            choices=list(study.photo.prediction.labels), value=study.photo.protected or None, interactive=True
        ),
        classifier=classifiers.choices(desk, study.photo.classifier),
        question=question_markup(study.photo),
        banner=banner(desk, study),
        caption=study.caption,
        card=card(desk, study),
        words_status="",
        variations=variations(study),
        status=edits.missing_edits_note(study),
        strip=edits.strip(desk, study, key),
        label_seen=study.photo.protected,
        inspector=edits.inspect(desk, study, found),
    )
    return (*full.flat(), history(desk, study, key))


def _empty(desk: Desk) -> Page:
    """Return the page while no photo is asked for.

    Nothing but the welcome is touched: whoever was quick has a photo open before this answer comes.
    """
    inspector = edits.Inspection._make(gr.skip() for _ in edits.Inspection._fields)
    untouched = Page._make((*(gr.skip() for _ in Page._fields[:-1]), inspector))
    welcome = gr.update(value=welcome_markup(greatest_flips(desk)))
    return untouched._replace(welcome=welcome, classifier=classifiers.choices(desk))


def greatest_flips(desk: Desk) -> tuple[PairCard, ...]:
    """Return the greatest changes of mind that nobody has rejected, each of another photo."""
    desk.catalogue.refresh()
    found: dict[str, Entry] = {}
    for entry in desk.catalogue.ordered("shift"):
        if entry.flip and entry.passes and entry.confirmed and desk.catalogue.holds(entry.key) != "reject":
            found.setdefault(entry.photo, entry)
        if len(found) == FLIPS:
            break
    return tuple(
        PairCard(
            photo=desk.store.file(entry.photo),
            edit=desk.store.file(entry.key),
            title=entry.edited_caption,
            said=f"{entry.was[0]} ⇄ {entry.now[0]}",
            link=explore_link(entry.photo, entry.classifier, entry.key),
        )
        for entry in found.values()
    )


def banner(desk: Desk, study: Study) -> Html:
    """Return a plain warning when the picture lies outside what the models know; empty otherwise."""
    profile = desk.models.profile
    reached = desk.ask(lambda models: workflow.short_round_trip(models, study)) if profile.min_round_trip > 0 else None
    if reached is None:
        return Html()
    figures = f"Rebuilding it reaches {reached:.1f} dB, where {profile.min_round_trip:.1f} dB is the least. "
    return tag(
        "div",
        tag("b", "This picture lies outside what these models know. "),
        figures,
        profile.outside_hint,
        class_="banner",
        role="alert",
    )


def answer(
    desk: Desk, key: str, frame_key: str, seen: str, name: str, request: gr.Request, event: gr.EventData
) -> tuple[object, ...]:
    """Save the answer to what the picture shows."""
    return relabel(desk, key, frame_key, str(event._data["label"]), seen, name, request)


def relabel(
    desk: Desk, key: str, frame_key: str, label: str, seen: str, name: str, request: gr.Request
) -> tuple[object, ...]:
    """Save what the analyst says that the picture shows; every figure on the page follows it, and so do the gates.

    `seen` is the label that the page showed, "" for a guess. What somebody said meanwhile is told and shown.
    """
    photo = require_study(desk, key).photo
    who, settings = identity.analyst(request, name), desk.models.profile.settings
    try:
        lost = desk.ask(
            lambda models: studio.say_label(models, desk.store, photo.key, label, settings, analyst=who, expected=seen)
        )
    except ConflictError as error:
        alerts.warn(error)
    else:
        if lost:
            several = "1 variation is" if len(lost) == 1 else f"{len(lost)} variations are"
            alerts.note(f"{several} no longer ticked: the words do not keep '{label}'; each says why.")
    return page(desk, require_study(desk, key), frame_key)


def reclassify(desk: Desk, key: str, name: str) -> tuple[object, ...]:
    """Have another classifier judge what there is of the photo; everything else stays."""
    photo = require_study(desk, key).photo
    study = desk.ask(lambda models: studio.judge_photo(models, desk.store, photo.key, name))
    desk.store.set_classifier(photo.key, study.photo.judge)
    return page(desk, study)
