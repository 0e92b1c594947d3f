"""How a counterfactual was made, so that it can be made again: its parameters, as Python and as a command line.

A counterfactual's key is the hash of everything that determined it. So the settings need no record of their own: those
whose key is the counterfactual's are the ones that made it, and where none fits that is said instead of guessed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.settings import INVERSIONS, Settings
from pipeline.types import Counterfactual, Models, Study
from pipeline.workflow import edit_key

STEPS = range(1, 101)  # what the page offers, and shorter
SHOWN = (
    "inversion",
    "num_inference_steps",
    "guidance_scale",
    "cross_attention",
    "cross_replace_steps",
    "cross_replace_words",
    "word_weight",
    "local_blend",
    "local_blend_start",
    "null_text_learning_rate",
    "null_text_min_gain",
)  # of Settings: what an edit's key is made of

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


def provenance(models: Models, study: Study, item: Counterfactual, picture: str) -> Provenance | None:
    """What makes this counterfactual again, or None when the present profile cannot have made it.

    `picture` is the photo's file, from the data folder on.
    """
    settings = settings_behind(models, study, item)
    if settings is None:
        return None
    return Provenance(
        parameters=tuple(_parameters(models, study, item, settings)),
        python=_python(models, study, item, settings, picture),
        command=_command(models, study, item, settings, picture),
    )


def settings_behind(models: Models, study: Study, item: Counterfactual) -> Settings | None:
    """The profile's settings with the inversion and the steps that this counterfactual's key tells of, or None."""
    base = models.profile.settings
    likely = dict.fromkeys([base.num_inference_steps, *STEPS])
    for steps in likely:
        for inversion in dict.fromkeys([base.inversion, *INVERSIONS]):
            settings = replace(base, inversion=inversion, num_inference_steps=steps, taus=(item.tau,))
            if edit_key(models, study, item.perturbation, item.tau, settings) == item.key:
                return settings
    return None


def _parameters(models: Models, study: Study, item: Counterfactual, settings: Settings) -> Iterator[tuple[str, str]]:
    profile, axis = models.profile, models.axis
    yield "photo", study.photo.key[:16]
    yield "caption", study.caption
    yield "edited caption", item.perturbation.edited_caption
    yield "label", study.photo.label
    yield axis.name, f"{axis.value(item.tau):.2f}"
    for name in SHOWN:
        value = getattr(settings, name)
        yield name.replace("_", " "), ", ".join(value) or "none" if isinstance(value, tuple) else f"{value}"
    yield "profile", profile.name
    yield "classifier", study.photo.classifier
    yield "size", f"{profile.image_size} pixels, {profile.dtype}"
    yield "key", item.key[:16]


def _python(models: Models, study: Study, item: Counterfactual, settings: Settings, picture: str) -> str:
    return PYTHON.format(
        profile=models.profile.name,
        tau=item.tau,
        settings="\n".join(f"    {name}={getattr(settings, name)!r}," for name in SHOWN),
        picture=picture,
        label=study.photo.label,
        classifier=study.photo.classifier,
        caption=study.caption,
        edited_caption=item.perturbation.edited_caption,
        factor=item.perturbation.factor,
        original=item.perturbation.original,
        edit=item.perturbation.edit,
    )


def _command(models: Models, study: Study, item: Counterfactual, settings: Settings, picture: str) -> str:
    """Options that the command lacks are the profile's, as `settings_behind` found them."""
    options = {
        "caption": study.caption,
        "edited-caption": item.perturbation.edited_caption,
        "label": study.photo.label,
        "classifier": study.photo.classifier,
        "tau": repr(item.tau),
        "inversion": settings.inversion,
        "steps": str(settings.num_inference_steps),
        "profile": models.profile.name,
        "out": "edited",
    }
    words = " ".join(shlex.quote(f"--{name}={value}") for name, value in options.items())
    return f'python -m pipeline edit "${{EXPLORER_DATA:-data}}"/{shlex.quote(picture)} {words}'
