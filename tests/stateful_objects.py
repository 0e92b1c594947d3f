"""What the two analysts and the job work on: photos, edits and judgements made of their names alone."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import PIL.Image
from PIL.Image import Image

from pipeline.images import key_of
from pipeline.scores import Scores
from pipeline.types import (
    ANALYST,
    FOLDER,
    GUESS,
    UNKNOWN,
    Counterfactual,
    Judged,
    Perturbation,
    Photo,
    Prediction,
)

LABELS = ("red", "green", "blue")
TAUS = (0.3, 0.6)
GATES = ((), ("The gate of the test objects.",))
SOURCES = (GUESS, UNKNOWN, FOLDER, ANALYST)  # of labels; each outranks those before it
JUDGES = tuple(
    Judged(name=name, labels=LABELS, fingerprint=fingerprint)
    for name, fingerprint in (("colour", "first"), ("colour", "retrained"), ("other", "first"))
)
JOBS = ("job-0", "job-1")
SCORES = Scores(
    image_similarity=0.9, source_alignment=0.3, edited_alignment=0.3, directional_similarity=0.5, prefers_edit=0.1
)


@cache
def picture(*parts: object) -> Image:
    """A picture of its own for everything that has one."""
    pixels = np.frombuffer(hashlib.sha256(repr(parts).encode()).digest() * 6, np.uint8)
    return PIL.Image.fromarray(pixels.reshape(8, 8, 3).copy())


@cache
def key(*parts: object) -> str:
    """Its key."""
    return key_of(picture(*parts))


def photo_of(number: int, label: str, source: str, judge: int) -> Photo:
    """A photo as a classifier sees it."""
    return Photo(
        key=key("photo", number),
        image=picture("photo", number),
        label=label,
        label_source=source,
        prediction=judgement(judge, key("photo", number)),
        name=f"{number}.png",
        classifier=JUDGES[judge].name,
        fingerprint=JUDGES[judge].fingerprint,
    )


@cache
def judgement(judge: int, shown: str) -> Prediction:
    """What a classifier makes of a picture: other numbers for every two."""
    seed = int(hashlib.sha256(f"{JUDGES[judge].fingerprint}{JUDGES[judge].name}{shown}".encode()).hexdigest()[:8], 16)
    weights = np.random.default_rng(seed).random(len(LABELS)).astype(np.float32)
    return Prediction(labels=LABELS, probabilities=weights / weights.sum())


def perturbation(caption: str, words: str, refused: tuple[str, ...] = ()) -> Perturbation:
    """A variation of a caption."""
    return Perturbation(
        caption=caption,
        edited_caption=f"{caption} {words}",
        factor="object",
        original="",
        edit=words,
        rejected_by=refused,
    )


def drawn(photo: int, caption: str, words: str, tau: float, judge: int) -> Counterfactual:
    """An edit of a photo, judged."""
    shown = picture("edit", photo, caption, words, tau)
    return Counterfactual(
        key=f"{photo} {caption} {words} {tau}",
        perturbation=perturbation(caption, words),
        tau=tau,
        image=shown,
        scores=SCORES,
        prediction=judgement(judge, key_of(shown)),
        missed=(),
        settings={},
        scorer="clip",
    )
