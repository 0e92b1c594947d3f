"""A data folder with as many counterfactuals as one asks for: small drawn pictures, seeded figures, saved by the store.

For tests and benchmarks of what thousands of pairs cost; nothing here comes from a model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

from pipeline.scores import Scores
from pipeline.store.store import Store
from pipeline.types import FOLDER, Counterfactual, Judge, Judged, Perturbation, Photo, Prediction, Study
from tests.stores import save

LABELS = ("sled", "ball", "kite", "drum", "tent", "boat", "lamp", "door")
FACTORS = ("background", "subject", "weather", "adjective")
PLACES = ("a desert", "a forest", "a street", "a beach", "the snow", "a kitchen")
SKIES = ("at dawn", "at night", "in fog", "in rain", "at noon")
TAUS = (0.2, 0.5, 0.8)
SIDE = 64
CROWD = Judged(name="crowd", labels=LABELS)


def fill(
    store: Store,
    variations: int,
    *,
    per_photo: int = 10,
    taus: Sequence[float] = (0.5,),
    seed: int = 0,
    judge: Judge = CROWD,
) -> None:
    """Save studies until there are so many variations, each with an edit per tau, of photos of all the classes."""
    rng = random.Random(seed)
    for first in range(0, variations, per_photo):
        save(store, _study(rng, judge, first, min(per_photo, variations - first), taus))


def _study(rng: random.Random, judge: Judge, first: int, count: int, taus: Sequence[float]) -> Study:
    labels = judge.labels
    label = rng.choice(labels)
    caption = f"a photo of a {label} on a lawn"
    photo = Photo(
        key=f"photo-{first}", image=_picture(rng), label=label, prediction=_prediction(rng, labels, label, 6.0),
        name=f"{first}.png", classifier=judge.name, fingerprint=judge.fingerprint, label_source=FOLDER,
    )  # fmt: skip
    made = [_edit(rng, labels, label, caption, first + n, tau) for n in range(count) for tau in taus]
    return Study(
        photo=photo,
        caption=caption,
        reconstruction=photo.image,
        control=_prediction(rng, labels, label, 5.0),
        perturbations=tuple(dict.fromkeys(item.perturbation for item in made)),
        counterfactuals=tuple(made),
    )


def _edit(
    rng: random.Random, labels: Sequence[str], label: str, caption: str, number: int, tau: float
) -> Counterfactual:
    place = f"{PLACES[number % len(PLACES)]} {SKIES[number // len(PLACES) % len(SKIES)]}"
    factor = FACTORS[number % len(FACTORS)]
    words = Perturbation(
        caption=caption, edited_caption=f"a photo of a {label} in {place}", factor=factor, original="a lawn", edit=place
    )
    scores = Scores(
        image_similarity=rng.uniform(0.7, 1.0),
        source_alignment=0.3,
        edited_alignment=0.3,
        directional_similarity=rng.uniform(0.1, 0.6),
        prefers_edit=0.1,
    )
    return Counterfactual(
        key=f"edit-{number}-{tau}", perturbation=words, tau=tau, image=_picture(rng), scores=scores,
        prediction=_prediction(rng, labels, label, 2.0), missed=(),
    )  # fmt: skip


def _prediction(rng: random.Random, labels: Sequence[str], label: str, favour: float) -> Prediction:
    weights = [rng.random() + favour * rng.random() * (name == label) for name in labels]
    total = sum(weights)
    return Prediction(labels=tuple(labels), probabilities=tuple(weight / total for weight in weights))


def _picture(rng: random.Random) -> Image.Image:
    """A disc on a ground, both of any colour."""
    image = Image.new("RGB", (SIDE, SIDE), tuple(rng.randrange(256) for _ in range(3)))
    left, top = rng.randrange(SIDE // 2), rng.randrange(SIDE // 2)
    colour = tuple(rng.randrange(256) for _ in range(3))
    ImageDraw.Draw(image).ellipse((left, top, left + SIDE // 2, top + SIDE // 2), fill=colour)
    return image
