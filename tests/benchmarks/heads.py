"""Training a head and its alpha curve the plain way, a whole pass at every epoch and alpha, against cached features.

`python -m tests.benchmarks.heads` prints both times and their ratio for every classifier of the tiny profile, with
`--json` as one object a line. Seconds are the processor's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from PIL.Image import Image
from torch.nn.functional import cross_entropy, linear

from pipeline.reinforcement.blending import Logits
from pipeline.reinforcement.features import Features
from pipeline.reinforcement.heads import Theta, interpolate, train_head
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.reinforcement import ALPHAS
from pipeline.reinforcement.training_data import Pictures
from pipeline.types import Classifier

Outcome = tuple[Theta, list[float], torch.Tensor]
"""theta_1, the validation losses, and the logits (alphas, pictures, classes) of the test pictures."""


def plain(classifier: Classifier, train: Pictures, check: Pictures, test: Pictures, recipe: Recipe) -> Outcome:
    """Every epoch and every alpha runs the network anew, as the released repair script does."""
    rows = {label: row for row, label in enumerate(classifier.labels)}
    weight, bias = (part.clone().requires_grad_() for part in classifier.head())
    optimizer = torch.optim.Adam([weight, bias], lr=recipe.learning_rate)
    generator = torch.Generator().manual_seed(recipe.seed)
    best, losses = classifier.head(), [validation_loss(classifier, classifier.head(), check)]
    for _ in range(recipe.max_epochs):
        for batch in torch.split(torch.randperm(len(train), generator=generator), recipe.batch_size):
            pictures, labels = zip(*(train[place] for place in batch), strict=True)
            optimizer.zero_grad()
            logits = linear(classifier.features(pictures), weight, bias)
            torch.autograd.backward(cross_entropy(logits, torch.tensor([rows[label] for label in labels])))
            optimizer.step()
        theta = (weight.detach().clone(), bias.detach().clone())
        losses.append(validation_loss(classifier, theta, check))
        if losses[-1] == min(losses):
            best = theta
    images: Sequence[Image] = [image for image, _ in test]
    curve = [linear(classifier.features(images), *interpolate(classifier.head(), best, alpha)) for alpha in ALPHAS]
    return best, losses, torch.stack(curve)


def validation_loss(classifier: Classifier, theta: Theta, check: Pictures) -> float:
    """With a pass of the whole network."""
    targets = torch.tensor([classifier.labels.index(label) for _, label in check])
    return float(cross_entropy(linear(classifier.features([image for image, _ in check]), *theta), targets))


def cached(
    classifier: Classifier, train: Pictures, check: Pictures, test: Pictures, recipe: Recipe, features: Features
) -> Outcome:
    """The product's way."""
    training = train_head(features.part(train), features.part(check), classifier.head(), recipe=recipe)
    logits = Logits.of(classifier.head(), training.theta, features.part(test))
    return training.theta, list(training.losses), torch.stack([logits.at(alpha) for alpha in ALPHAS])


def measure(name: str, classifier: Classifier, pictures: Pictures) -> dict[str, str | float]:
    """Return the seconds of both ways, the ratio with and without computing the features, and how far logits differ."""
    train, check, test = pictures[:24], pictures[24:32], pictures[32:]
    recipe = replace(Recipe(learning_rate=1e-3), patience=50, min_delta=-1.0)  # all 50 epochs
    classifier.features([pictures[0][0]])
    features = Features(classifier)
    first, with_features = timed(lambda: cached(classifier, train, check, test, recipe, features))
    _, known = timed(lambda: cached(classifier, train, check, test, recipe, features))
    slow, took = timed(lambda: plain(classifier, train, check, test, recipe))
    return {
        "classifier": name,
        "plain_seconds": round(took, 3),
        "cached_seconds": round(with_features, 4),
        "cached_ratio": round(took / with_features, 1),
        "features_known_seconds": round(known, 4),
        "features_known_ratio": round(took / known, 1),
        "logits_differ_by": float((slow[2] - first[2]).abs().max()),
    }


def timed(work: Callable[[], Outcome]) -> tuple[Outcome, float]:
    """Return what the work gives, and the processor's seconds that it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def main() -> None:
    """Print a line for every classifier."""
    from pipeline.models.loader import load
    from pipeline.profiles import load_profile
    from pipeline.tiny.world import draw, sample

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    as_json = parser.parse_args().json
    models = load(load_profile("tiny"), "cpu")
    pictures = [(draw(scene), scene.label) for scene in sample(48, 960_001)]
    for name in models.profile.classifiers:
        row = measure(name, models.classifier(name), pictures)
        told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in row.items())
        sys.stdout.write((json.dumps(row) if as_json else told) + "\n")


if __name__ == "__main__":
    main()
