"""Handlers of the Explore page for what is uploaded: one picture is opened, many fill the shelf of photos.

Nothing that arrives hides anything else: what could not be used is listed by name with its reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import gradio as gr

from explorer import identity
from explorer.address import require_study
from explorer.components.asking import guesses_markup
from explorer.components.markup import Html, join, tag
from explorer.components.status import status_line
from explorer.desk import Desk
from explorer.pages.explore import edits, photo
from pipeline.classifiers.labels import find_label, refuse_merged
from pipeline.errors import ConflictError, DataError, ImageError, InputError
from pipeline.images import open_image
from pipeline.importing.archives import arrivals
from pipeline.importing.folders import LabelledImage
from pipeline.importing.lists import Refusal
from pipeline.settings import Settings
from pipeline.store.collections import LONGEST
from pipeline.store.schema import UPLOAD
from pipeline.tasks import demo, studio
from pipeline.tasks.training import FOLDER
from pipeline.types import Study

TOLD = 20  # refusals listed by name
DEMO_HIDDEN = "The demo project is hidden now, so that every figure is of your own pictures; nothing of it is lost."


@dataclass(frozen=True, slots=True, kw_only=True)
class Differing:
    """A photo that was known by another label than it came with."""

    key: str
    name: str
    label: str  # of its list or folder
    known: str  # what somebody said before, which counts


def receive(desk: Desk, paths: list[str] | None) -> Iterator[tuple[object, ...]]:
    """Take in everything that was uploaded and tell how far it is; at the end the first photo is shown.

    A label that somebody gave before is not overwritten: what differs is told, and a button takes the labels that came.
    """
    files = [Path(path) for path in paths or ()]
    width = len(photo.Page._fields) + len(edits.Inspection._fields)
    if not files:
        raise DataError(
            "No picture arrived; choose PNG, JPEG or WebP files of at most 20 MB, or a zip of them of at most 500 MB."
        )
    unasked = ((), gr.update(visible=False))
    yield (None, Html(), *unasked, *[gr.skip()] * width)  # an upload that fails must not stay in its box
    taken: dict[str, Study] = {}
    collection: int | None = None
    differing: dict[str, Differing] = {}
    with tempfile.TemporaryDirectory(prefix="explorer-") as folder:
        found = arrivals(files, Path(folder))
        refusals = list(found.faults)
        several = len(found.pictures) + len(refusals) > 1
        known = desk.ask(lambda models: models.classifier().labels)
        refuse_merged((picture.label for picture in found.pictures), known)
        for number, picture in enumerate(found.pictures, start=1):
            if several and collection is None:
                collection = desk.store.open_collection(UPLOAD, _name_of(files))
            study = take_in(desk, picture, collection)
            if isinstance(study, Refusal):
                refusals.append(study)
            else:
                taken.setdefault(study.photo.key, study)
                differing |= {other.key: other for other in _differing_labels(study, picture)}
            if several:
                told = status_line(f"{number} of {len(found.pictures)} files taken in")
                yield (gr.skip(), told, *unasked, *[gr.skip()] * width)
    if refusals and not several:
        raise ImageError(refusals[0].reason)
    first = next(iter(taken.values()), None)
    shown = photo.page(desk, first) if first else [gr.skip()] * width
    guesses = sum(not study.photo.confirmed for study in taken.values())
    others = tuple(differing.values())
    notes = (*found.told, *([DEMO_HIDDEN] if taken and hide_demo(desk) else []))
    told = report(len(taken), refusals, guesses, notes, others) if several or notes or others else Html()
    many = "label" if len(others) == 1 else f"{len(others)} labels"
    yield (None, told, others, gr.update(visible=bool(others), value=f"Take the {many} that came"), *shown)
    if not taken:
        raise DataError("None of the files could be used; the list under the upload says why.")


def hide_demo(desk: Desk) -> bool:
    """Leave the demo out once somebody's own pictures are here; return whether it was shown.

    Not on a server that others use too, for whom it may be all that they look at.
    """
    if desk.shared or not demo.is_shown(desk.store):
        return False
    demo.put_away(desk.store, desk.store.root / FOLDER)
    return True


def take_labels(
    desk: Desk, others: Sequence[Differing], place: str, frame_key: str, name: str, request: gr.Request
) -> tuple[object, ...]:
    """Give the photos the labels that they came with; one labelled otherwise meanwhile is told and left."""
    who, settings = identity.analyst(request, name), desk.models.profile.settings
    told: list[str] = []
    for differing in others:
        try:
            _save_label(desk, differing, settings, who)
        except (InputError, ConflictError) as error:
            told.append(f"{differing.name}: {error}")
    count = len(others) - len(told)
    text = f"{count} label{'s' * (count != 1)} taken. {' '.join(told)}"
    shown = photo.page(desk, require_study(desk, place), frame_key)
    return (status_line(text), (), gr.update(visible=False), *shown)


def _save_label(desk: Desk, differing: Differing, settings: Settings, analyst: str) -> None:
    known = {"analyst": analyst, "expected": differing.known}
    desk.ask(lambda models: studio.say_label(models, desk.store, differing.key, differing.label, settings, **known))


def _name_of(files: Sequence[Path]) -> str:
    """Return what to call the collection of an upload: its only archive's name, or when it came."""
    if len(files) == 1:
        return files[0].name[:LONGEST]
    now = datetime.now()
    return f"{len(files)} files, {now.day} {now:%B %Y %H:%M}"


def take_in(desk: Desk, picture: LabelledImage, collection: int | None = None) -> Study | Refusal:
    """Return the picture classified and saved in the collection, or why not."""
    try:
        image = open_image(picture.path)
        label, name = picture.label, picture.path.name
        return desk.ask(
            lambda models: studio.take_in(models, desk.store, image, label, name=name, collection=collection)
        )
    except InputError as error:
        return Refusal(name=picture.path.name, reason=str(error))


def _differing_labels(study: Study, picture: LabelledImage) -> Iterator[Differing]:
    """Yield the photo when it is known by another label than this file has."""
    label = find_label(picture.label, study.photo.prediction.labels) if picture.label else study.photo.label
    if label != study.photo.label:
        yield Differing(key=study.photo.key, name=picture.path.name, label=label, known=study.photo.label)


def report(
    count: int,
    refusals: Sequence[Refusal],
    guesses: int = 0,
    notes: Sequence[str] = (),
    others: Sequence[Differing] = (),
) -> Html:
    """Say how many photos there are now, how many have only a guess, and what was left out or differs."""
    text = f"{count} photo{'s' * (count != 1)} taken in" + (f", {len(refusals)} left out:" if refusals else ".")
    listed = _list_markup([(refusal.name, refusal.reason) for refusal in refusals])
    passed = [tag("p", note, class_="hint") for note in notes]
    differ = "Known by another label, which still counts:"
    known = [
        (differing.name, f"came as '{differing.label}', is '{differing.known}' by what was said before")
        for differing in others
    ]
    asked = join(tag("p", differ, class_="hint"), _list_markup(known)) if known else Html()
    return join(status_line(text), guesses_markup(guesses), listed, *passed, asked)


def _list_markup(lines: Sequence[tuple[str, str]]) -> Html:
    if not lines:
        return Html()
    items = [tag("li", tag("b", name), " ", text) for name, text in lines[:TOLD]]
    if len(lines) > TOLD:
        items.append(tag("li", f"and {len(lines) - TOLD} more"))
    return tag("ul", *items, class_="refusals")
