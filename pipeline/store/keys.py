"""Keys: what determines a picture, a run and a job, as a hash.

A picture's key holds all that draws it and nothing that judges it: classifier and CLIP look at pictures that are there.
Models are told by their fingerprints, never by their names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.captions.factors import FACTORS
from pipeline.profiles import models_of
from pipeline.runtime.fingerprints import of_source
from pipeline.settings import DRAWING, Profile, Settings
from pipeline.store.schema import digest
from pipeline.types import Judge, Models, Perturbation, Study


def edit_key(models: Models, study: Study, perturbation: Perturbation, tau: float, settings: Settings) -> str:
    """Return the hash of all that draws a counterfactual; the editor's fingerprint is of its family and weights."""
    drawn = [(name, getattr(settings, name)) for name in DRAWING]
    words = (study.caption, perturbation.edited_caption)
    return digest(study.photo.key, *words, tau, drawn, models.profile.image_size, models.editor.fingerprint)


def earlier_keys(models: Models, study: Study, perturbation: Perturbation, tau: float, settings: Settings) -> set[str]:
    """Return the keys that version 5's tables gave to the same picture, one for each classifier."""
    import hashlib

    parts = (
        study.photo.key, study.caption, perturbation.edited_caption, tau, settings.inversion,
        (settings.null_text_learning_rate, settings.null_text_min_gain), settings.num_inference_steps,
        settings.guidance_scale, settings.cross_replace_steps, settings.cross_replace_words, settings.cross_attention,
        settings.word_weight, (settings.local_blend, settings.local_blend_start), model_name(models.profile.diffusion),
    )  # fmt: skip
    whole = ("\0".join(map(repr, (*parts, name))) for name in {study.photo.classifier, *models.profile.classifiers})
    return {hashlib.sha256(text.encode()).hexdigest() for text in whole}


def drawing_of(profile: Profile, settings: Settings) -> dict[str, Any]:
    """Return what draws a picture beside photo, words and tau, to be kept with it as JSON."""
    drawn = {name: getattr(settings, name) for name in DRAWING}
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in drawn.items()}
    return {
        "profile": profile.source or profile.name,
        "image_size": profile.image_size,
        "dtype": profile.dtype,
        **listed,
    }


def run_key(models: Models, settings: Settings, judge: Judge) -> str:
    """Return the hash of everything that determines what a run makes of a picture."""
    instructions = [FACTORS[name].instruction for name in settings.factors if name in FACTORS]
    judged = (judge.name, judge.fingerprint)
    return digest(*sources(models.profile), models.profile.image_size, *judged, settings, instructions)


def sources(profile: Profile) -> tuple[tuple[str, str], ...]:
    """Return (role, fingerprint of the files) of every model of the profile but its classifiers."""
    return tuple((role, of_source(path)) for role, _, path in models_of(profile) if role != "classifier")


def models_used(profile: Profile) -> dict[str, str]:
    """Return for each role the name, for people, of what has a part in a counterfactual; its classifier is left out."""
    return {role: model_name(path) for role, _, path in models_of(profile) if role != "classifier"}


def model_name(path: str) -> str:
    """Return a hub id, or the last two parts of a folder's path; for people, two folders may share it."""
    return "/".join(Path(path).parts[-2:])
