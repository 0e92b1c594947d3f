"""Handlers of the Explore page for what is uploaded: one picture is opened, many fill the shelf of photos.

Nothing that arrives hides anything else: what could not be used is listed by name with its reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import gradio as gr

from explorer import edits, photo
from explorer.components.asking import guesses_markup
from explorer.components.markup import Html, join, tag
from explorer.components.status import said
from explorer.jobs import Desk
from pipeline import studio
from pipeline.errors import DataError, ImageError, InputError
from pipeline.folders import LabelledImage
from pipeline.images import open_image
from pipeline.importing import arrivals
from pipeline.lists import Refusal
from pipeline.testsets import match_labels
from pipeline.types import Study

TOLD = 20  # refusals listed by name


def receive(desk: Desk, paths: list[str] | None) -> Iterator[tuple[object, ...]]:
    """Takes in everything that was uploaded and tells how far it is; at the end the first photo is shown."""
    files = [Path(path) for path in paths or ()]
    width = len(photo.Page._fields) + len(edits.Inspection._fields)
    if not files:
        raise DataError(
            "No picture arrived; choose PNG, JPEG or WebP files of at most 20 MB, or a zip of them of at most 500 MB."
        )
    yield (None, Html(), *[gr.skip()] * width)  # an upload that fails must not stay in its box
    taken: dict[str, Study] = {}
    with tempfile.TemporaryDirectory(prefix="explorer-") as folder:
        found = arrivals(files, Path(folder))
        refusals = list(found.faults)
        several = len(found.pictures) + len(refusals) > 1
        for number, one in enumerate(found.pictures, start=1):
            study = take(desk, one)
            if isinstance(study, Refusal):
                refusals.append(study)
            else:
                taken.setdefault(study.photo.key, study)
            if several:
                yield (gr.skip(), said(f"{number} of {len(found.pictures)} files taken in"), *[gr.skip()] * width)
    if refusals and not several:
        raise ImageError(refusals[0].reason)
    first = next(iter(taken.values()), None)
    shown = photo.page(desk, first) if first else [gr.skip()] * width
    guesses = sum(not study.photo.confirmed for study in taken.values())
    told = report(len(taken), refusals, guesses, found.told) if several or found.told else Html()
    yield (None, told, *shown)
    if not taken:
        raise DataError("None of the files could be used; the list under the upload says why.")


def take(desk: Desk, one: LabelledImage) -> Study | Refusal:
    """The picture classified and saved, or why not; its label may be one of several names of a class."""
    try:
        image = open_image(one.path)
        if one.label:
            (one,) = match_labels([one], desk.ask(lambda models: models.classifier().labels))
    except InputError as error:
        return Refusal(name=one.path.name, reason=str(error))
    label = one.label
    return desk.ask(lambda models: studio.take_in(models, desk.store, image, label, name=one.path.name))


def report(count: int, refusals: Sequence[Refusal], guesses: int = 0, notes: Sequence[str] = ()) -> Html:
    """How many photos there are now, of how many nobody has said what they show, what was left out or passed over."""
    text = f"{count} photo{'s' * (count != 1)} taken in" + (f", {len(refusals)} left out:" if refusals else ".")
    lines = [tag("li", tag("b", one.name), " ", one.reason) for one in refusals[:TOLD]]
    if len(refusals) > TOLD:
        lines.append(tag("li", f"and {len(refusals) - TOLD} more"))
    passed = [tag("p", note, class_="hint") for note in notes]
    listed = tag("ul", *lines, class_="refusals") if lines else Html()
    return join(said(text), guesses_markup(guesses), listed, *passed)
