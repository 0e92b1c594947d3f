"""Page: photos of which nobody has said what they show, answered one by one with number keys, or all at once.

A classifier's guess becomes nobody's truth by itself: until somebody confirms it, it counts nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import gradio as gr

from explorer.components.label_grid import label_grid, nothing_left, photo_card
from explorer.components.markup import picture_url
from explorer.components.masthead import section
from explorer.desk import Desk
from explorer.pages.curate.triage import Message, ServerFunction, server_function, text_of
from pipeline.errors import ConflictError, DataError
from pipeline.images import open_image
from pipeline.tasks import studio
from pipeline.types import Photo, PhotoRecord, StudyRecord

TITLE, ROUTE = "Labels", "/labels"
MOST = 24  # photos at a time
SIDE = 192  # pixels


class LabelItem(TypedDict, total=False):
    """A photo as the browser shows it, or what became of it."""

    key: str
    name: str
    guess: str
    expected: str  # the label that somebody gave before, "" for none
    markup: str
    said: str  # the label that somebody gave, "" for none


class LabelsAnswer(TypedDict, total=False):
    """What goes back; `error` alone, or photos."""

    error: str
    photos: Sequence[LabelItem]
    left: int
    labels: Sequence[str]
    empty: str
    told: str
    analyst: str  # who signed in; "" where nobody does


def build(demo: gr.Blocks, desk: Desk) -> None:
    """Draw the page into the current Blocks."""
    with gr.Column(elem_classes="work report"):
        hint = "The classifier has guessed these labels. They count only once somebody says what the pictures show."
        section("", "What do these pictures show?", hint)
        label_grid(Labels(desk).functions())


@dataclass(slots=True)
class Labels:
    """The server's side of the grid."""

    desk: Desk

    def functions(self) -> list[ServerFunction]:
        """Return what the browser may call."""
        return [server_function(self.waiting), server_function(self.say)]

    def waiting(self, sent: Message) -> LabelsAnswer:
        """Return the next photos whose label nobody has given, oldest first, and every label that can be given."""
        found = self._unconfirmed()
        labels = sorted({label for record in found for label in record.photo.prediction.labels})
        return LabelsAnswer(
            photos=[self._item(record.photo) for record in found[:MOST]],
            left=len(found),
            labels=labels,
            empty=nothing_left(),
            analyst=text_of(sent, "signed_in"),
        )

    def say(self, sent: Message) -> LabelsAnswer:
        """Save what the photos sent show; one whose label became another meanwhile is left, and that is told."""
        analyst, told, now = text_of(sent, "analyst"), dict[str, None](), list[LabelItem]()
        proposed = {study.key for study in self.desk.store.studies() if study.perturbations}
        for key, label, expected in _checked_answers(sent):
            try:
                lost = self._say(key, label, expected, analyst, asks=key in proposed)
            except (ConflictError, DataError) as error:
                told[str(error)] = None
                lost = ()
            if lost:
                told[f"Variations whose words do not keep '{label}' are no longer ticked."] = None
            study = self.desk.store.load_study(key)
            if study is not None:
                now.append(LabelItem(key=key, expected=study.photo.protected, said=study.photo.protected))
        return LabelsAnswer(photos=now, left=len(self._unconfirmed()), told=" ".join(told))

    def _say(self, key: str, label: str, expected: str, analyst: str, *, asks: bool) -> tuple[str, ...]:
        """Save one photo's label; the models are asked only for photos that have variations."""
        store, settings = self.desk.store, self.desk.models.profile.settings
        if not asks:
            models = self.desk.models
            return studio.say_label(models, store, key, label, settings, analyst=analyst, expected=expected)
        return self.desk.ask(
            lambda models: studio.say_label(models, store, key, label, settings, analyst=analyst, expected=expected)
        )

    def _unconfirmed(self) -> list[StudyRecord]:
        return [record for record in reversed(self.desk.store.records()) if not record.photo.confirmed]

    def _item(self, photo: PhotoRecord | Photo) -> LabelItem:
        picture = picture_url(open_image(self.desk.store.file(photo.key)), SIDE)
        name = photo.name or photo.key[:8]
        markup = photo_card(name, picture, photo.prediction.top())
        return LabelItem(key=photo.key, name=name, guess=photo.label, expected="", markup=markup, said="")


def _checked_answers(sent: Message) -> list[tuple[str, str, str]]:
    """Return (photo, label, label that was shown) of each. Raises `DataError` for anything else."""
    photos = sent.get("photos")
    if not isinstance(photos, list) or len(photos) > MOST or not all(isinstance(photo, dict) for photo in photos):
        raise DataError(f"At most {MOST} photos can be answered at once; reload the page.")
    return [(text_of(photo, "key"), text_of(photo, "label"), text_of(photo, "expected")) for photo in photos]
