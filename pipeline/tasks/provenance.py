"""How a counterfactual was made, so that it can be made again: its parameters, as Python and as a command line.

All of it is printed from what was kept with the picture when it was drawn. What an earlier version of this program drew
has no such record, and that is said instead of guessed.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.settings import DRAWING
from pipeline.types import Axis, Counterfactual, Study

PYTHON = """\
import os
from dataclasses import replace
from pathlib import Path

from pipeline import Perturbation, load, load_profile, workflow
from pipeline.images import open_image

models = load(load_profile({profile!r}))
settings = replace(
    models.profile.settings,
    taus=({tau!r},),
{settings}
)
picture = open_image(Path(os.environ.get("EXPLORER_DATA", "data"), {picture!r}))
study = workflow.open_photo(models, picture, {label!r}, {classifier!r})
study = workflow.describe(models, study, settings, {caption!r})
wish = Perturbation(
    caption=study.caption,
    edited_caption={edited_caption!r},
    factor={factor!r},
    original={original!r},
    edit={edit!r},
)
*_, study = workflow.edit(models, study, [wish], settings)
(made,) = study.counterfactuals
made.image.save("edit.png")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How one counterfactual was made."""

    parameters: tuple[tuple[str, str], ...]  # name, value
    python: str  # writes edit.png
    command: str  # one line for a POSIX shell; writes into the folder edited


def provenance(axis: Axis, study: Study, item: Counterfactual, picture: str) -> Provenance | None:
    """Return what makes this counterfactual again, or None when nobody noted its settings.

    `picture` is the photo's file, from the data folder on.
    """
    if item.settings is None:
        return None
    return Provenance(
        parameters=tuple(_parameters(axis, study, item, item.settings)),
        python=_python(study, item, item.settings, picture),
        command=_command(study, item, item.settings, picture),
    )


def _parameters(
    axis: Axis, study: Study, item: Counterfactual, settings: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    yield "photo", study.photo.key[:16]
    yield "caption", study.caption
    yield "edited caption", item.perturbation.edited_caption
    yield "label", study.photo.label
    yield axis.name, f"{axis.value(item.tau):.2f}"
    for name in DRAWING:
        value = settings[name]
        yield name.replace("_", " "), ", ".join(value) or "none" if isinstance(value, list) else f"{value}"
    yield "profile", settings["profile"]
    yield "classifier", study.photo.classifier
    yield "size", f"{settings['image_size']} pixels, {settings['dtype']}"
    yield "key", item.key[:16]


def _python(study: Study, item: Counterfactual, settings: Mapping[str, Any], picture: str) -> str:
    drawn = {name: tuple(value) if isinstance(value := settings[name], list) else value for name in DRAWING}
    return PYTHON.format(
        profile=settings["profile"],
        tau=item.tau,
        settings="\n".join(f"    {name}={value!r}," for name, value in drawn.items()),
        picture=picture,
        label=study.photo.label,
        classifier=study.photo.classifier,
        caption=study.caption,
        edited_caption=item.perturbation.edited_caption,
        factor=item.perturbation.factor,
        original=item.perturbation.original,
        edit=item.perturbation.edit,
    )


def _command(study: Study, item: Counterfactual, settings: Mapping[str, Any], picture: str) -> str:
    options = {
        "caption": study.caption,
        "edited-caption": item.perturbation.edited_caption,
        "label": study.photo.label,
        "classifier": study.photo.classifier,
        "tau": repr(item.tau),
        "profile": settings["profile"],
        "out": "edited",
    }
    drawn = [f"--setting={name}={json.dumps(settings[name])}" for name in DRAWING]
    words = " ".join(map(shlex.quote, (*(f"--{name}={value}" for name, value in options.items()), *drawn)))
    return f'python -m pipeline edit "${{EXPLORER_DATA:-data}}"/{shlex.quote(picture)} {words}'
