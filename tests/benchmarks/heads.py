"""Training a head and its alpha curve the plain way, a whole pass at every epoch and alpha, against cached features.

`python -m tests.benchmarks.heads` prints both times and their ratio for every classifier of the tiny profile.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
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


def main() -> None:
    """Prints one line per classifier: seconds of both ways, the ratio with and without computing the features."""
    from pipeline.models.loader import load
    from pipeline.profiles import load_profile
    from pipeline.tiny.world import draw, sample

    models = load(load_profile("tiny"), "cpu")
    pictures = [(draw(scene), scene.label) for scene in sample(48, 960_001)]
    train, check, test = pictures[:24], pictures[24:32], pictures[32:]
    recipe = replace(Recipe(learning_rate=1e-3), patience=50, min_delta=-1.0)  # all 50 epochs
    for name in models.profile.classifiers:
        classifier = models.classifier(name)
        classifier.features([pictures[0][0]])
        start = time.process_time()
        features = Features(classifier)
        first = cached(classifier, train, check, test, recipe, features)
        with_features = time.process_time() - start
        start = time.process_time()
        cached(classifier, train, check, test, recipe, features)
        without = time.process_time() - start
        start = time.process_time()
        slow = plain(classifier, train, check, test, recipe)
        took = time.process_time() - start
        apart = float((slow[2] - first[2]).abs().max())
        print(  # noqa: T201
            f"{name}: plain {took:.2f} s, cached {with_features:.3f} s (1/{took / with_features:.0f}), "
            f"{without:.3f} s when features are known (1/{took / without:.0f}); logits differ by {apart:.1e}"
        )


if __name__ == "__main__":
    main()
