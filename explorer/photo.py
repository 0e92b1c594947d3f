"""Handlers of the Explore page: opening a photo, its caption, its question.

Each takes the desk first and answers with values for components, in the order of `Page`. The store is the truth: what a
handler changes it saves first and then shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from explorer import edits
from explorer.components.markup import Html, tag
from explorer.components.status import progress_markup, said
from explorer.components.variations import variations_markup
from explorer.jobs import Desk, Progress
from explorer.place import find, history, need, place_of
from pipeline import workflow
from pipeline.curation import LabelledImage, load_folder
from pipeline.errors import DataError, PipelineError
from pipeline.images import open_image
from pipeline.types import Models, Rewording, Step, Study

REPLACED = ("You replaced it by other words.",)


class Page(NamedTuple):
    """Everything that changes when another photo is opened."""

    photo: object
    frame: object
    welcome: object
    stages: object
    side: object
    label: object
    classifier: object
    banner: object
    caption: object
    words_status: object
    variations: object
    status: object
    strip: object
    inspector: edits.Inspection

    def flat(self) -> tuple[object, ...]:
        """The values in the order of the components, the history last."""
        return (*self[:-1], *self.inspector)


def examples(desk: Desk) -> tuple[LabelledImage, ...]:
    """The pictures the profile offers to click first."""
    folder = desk.models.profile.examples
    return load_folder(Path(folder)) if folder else ()


def restore(desk: Desk, request: gr.Request) -> tuple[object, ...]:
    """What the address asks for: `?photo=KEY&frame=KEY`; an unknown photo gives the empty page."""
    asked = {name: str(request.query_params.get(name, "")) for name in ("photo", "classifier", "frame")}
    return page(desk, desk.store.load_study(asked["photo"], asked["classifier"]), asked["frame"])


def open_example(desk: Desk, event: gr.EventData) -> tuple[object, ...]:
    """An example was clicked."""
    chosen = examples(desk)[int(event._data["example"])]
    return page(desk, _open(desk, chosen.path, chosen.label))


def open_upload(desk: Desk, path: str | None) -> tuple[object, ...]:
    """A picture was uploaded; it passes the one decode gate before anything else sees it."""
    if path is None:
        raise DataError("No picture arrived; choose a PNG, JPEG or WebP of at most 20 MB.")
    return (None, *page(desk, _open(desk, Path(path), "")))


def open_known(desk: Desk, event: gr.EventData) -> tuple[object, ...]:
    """A photo of the history was clicked."""
    return page(desk, need(desk, str(event._data["photo"])))


def _open(desk: Desk, path: Path, label: str) -> Study:
    image = open_image(path)
    study = desk.ask(lambda models: workflow.open_photo(models, image, label=label, name=path.name))
    known = desk.store.load_study(study.photo.key)
    if known is not None:
        return known
    desk.store.save_study(study)
    return study


def page(desk: Desk, study: Study | None, frame_key: str = "") -> tuple[object, ...]:
    """The whole page of a study, or the empty page."""
    if study is None:
        return (*_empty().flat(), history(desk, None))
    found = find(study, frame_key) or edits.best(study)
    key = found.key if found else ""
    full = Page(
        photo=place_of(study),
        frame=key,
        welcome=gr.update(visible=False),
        stages=gr.update(visible=True),
        side=gr.update(visible=True),
        label=gr.update(choices=list(study.photo.prediction.labels), value=study.photo.label, interactive=True),
        classifier=study.photo.classifier,
        banner=banner(desk, study),
        caption=study.caption,
        words_status="",
        variations=variations(study),
        status="",
        strip=edits.strip(desk, study, key),
        inspector=edits.inspect(desk, study, found),
    )
    return (*full.flat(), history(desk, study, key))


def _empty() -> Page:
    """No photo: only the welcome is seen."""
    return Page(
        photo="",
        frame="",
        welcome=gr.update(visible=True),
        stages=gr.update(visible=False),
        side=gr.update(visible=False),
        label=gr.skip(),
        classifier=gr.skip(),
        banner="",
        caption="",
        words_status="",
        variations=gr.skip(),
        status="",
        strip=gr.skip(),
        inspector=edits.nothing(),
    )


def banner(desk: Desk, study: Study) -> Html:
    """A plain warning when the picture lies outside what the models know; empty otherwise."""
    profile = desk.models.profile
    if profile.min_round_trip <= 0:
        return Html()
    measured = desk.ask(lambda models: models.editor.round_trip(study.photo.image))
    if measured >= profile.min_round_trip:
        return Html()
    figures = f"Rebuilding it reaches {measured:.1f} dB, where {profile.min_round_trip:.1f} dB is the least. "
    return tag(
        "div",
        tag("b", "This picture lies outside what these models know. "),
        figures,
        profile.outside_hint,
        class_="banner",
        role="alert",
    )


def variations(study: Study) -> Html:
    """The variations of the present caption, without those the analyst rewrote."""
    shown = [p for p in study.perturbations if p.caption == study.caption and p.rejected_by != REPLACED]
    return variations_markup(shown)


def caption(desk: Desk, key: str) -> Iterator[tuple[object, ...]]:
    """Captions a photo that has no caption yet; answers (caption, variations, words status)."""
    if key and not need(desk, key).caption:
        yield from ask_again(desk, key)


def ask_again(desk: Desk, key: str) -> Iterator[tuple[object, ...]]:
    """The captioner's words for the photo."""
    study = need(desk, key)
    settings = desk.models.profile.settings

    def work(models: Models, step: Step) -> Iterator[Study]:
        step(0, 0)
        yield workflow.describe(models, study, settings)

    try:
        for item in desk.stream(key, work):
            if isinstance(item, Progress):
                yield gr.skip(), gr.skip(), progress_markup("Reading the picture", item)
            else:
                desk.store.save_study(item)
                yield item.caption, variations(item), said("")
    except PipelineError as error:
        yield gr.skip(), gr.skip(), said(str(error), "failed")
        raise


def rewrite_caption(desk: Desk, key: str, text: str, request: gr.Request) -> tuple[object, ...]:
    """The analyst's own caption; variations of the old one are put aside."""
    study = need(desk, key)
    if text.strip() == study.caption:
        return gr.skip(), gr.skip(), gr.skip()
    study = described(desk, study, text, request)
    return study.caption, variations(study), said("Caption saved. Variations of the old caption are put aside.")


def described(desk: Desk, study: Study, text: str, request: gr.Request) -> Study:
    """The study under the analyst's own words, which are noted with who wrote them, where visitors sign in."""
    if text.strip() == study.caption and study.caption:
        return study
    told = desk.ask(lambda models: workflow.describe(models, study, models.profile.settings, caption=text))
    desk.store.save_study(told)
    written = Rewording(
        photo=study.photo.key, before=study.caption, caption=told.caption, analyst=request.username or ""
    )
    desk.store.reword(written)
    return told


def relabel(desk: Desk, key: str, frame_key: str, label: str) -> tuple[object, ...]:
    """Another label is to be protected; every figure on the page follows it."""
    study = need(desk, key)
    study.photo.prediction.probability(label)
    study = replace(study, photo=replace(study.photo, label=label))
    desk.store.save_study(study)
    return page(desk, study, frame_key)


def reclassify(desk: Desk, key: str, name: str) -> tuple[object, ...]:
    """Another classifier is under study: caption and variations stay, its own edits are shown, if there are any."""
    old = need(desk, key)
    study = desk.store.load_study(old.photo.key, name)
    if study is None or study.caption != old.caption:
        photo = (old.photo.image, old.photo.label, name, old.photo.name)
        study = desk.ask(lambda models: workflow.open_photo(models, *photo))
        study = replace(study, caption=old.caption, perturbations=old.perturbations)
        desk.store.save_study(study)
    return page(desk, study)
