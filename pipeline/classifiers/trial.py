"""A classifier is tried before anybody is offered it: what cannot work is refused when it is opened, with the cause.

It classifies a blank picture and one of noise; its head, which reinforcing trains, must give those very answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

    from pipeline.classifiers.base import LinearHeadClassifier

SIDE = 96  # pixels of the pictures; each classifier resizes them to its own
CLOSE = 1e-3  # greatest difference of a probability between the network and its head
Tried = TypeVar("Tried", bound="LinearHeadClassifier")


def try_out(classifier: Tried) -> Tried:
    """Classify a blank and a noisy picture, and return the classifier. Raises `ModelError` that says what it lacks."""
    from PIL.Image import fromarray

    _refuse_outputs(classifier)
    _refuse_channels(classifier)
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    pictures = [fromarray(np.full_like(noise, 127)), fromarray(noise)]
    try:
        answers = np.array([prediction.probabilities for prediction in classifier.predict(pictures)])
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
        raise ModelError(f"The classifier '{classifier.name}' could not classify a blank picture ({why}).") from error
    if answers.shape != (2, len(classifier.labels)):
        raise ModelError(
            f"The classifier '{classifier.name}' gives {answers.shape[-1]} outputs for {len(classifier.labels)} labels."
        )
    if not np.allclose(_by_head(classifier, pictures), answers, atol=CLOSE):
        raise ModelError(
            f"The answers of the classifier '{classifier.name}' are not those of its last linear layer, which "
            "reinforcing would train; choose a network that ends in one."
        )
    return classifier


def _by_head(classifier: LinearHeadClassifier, pictures: Sequence[Image]) -> NDArray[np.float32]:
    """Return (pictures, labels), the probabilities that the head gives its inputs."""
    weight, bias = (part.numpy() for part in classifier.head())
    logits = classifier.features(pictures).numpy() @ weight.T + bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return cast("NDArray[np.float32]", shares / shares.sum(axis=1, keepdims=True))


def _refuse_outputs(classifier: LinearHeadClassifier) -> None:
    if len(classifier.labels) < 2:
        raise ModelError(
            f"The classifier '{classifier.name}' has one output, which would be certain of every picture; give one "
            "with two classes or more, such as 'defect' and 'none'."
        )


def _refuse_channels(classifier: LinearHeadClassifier) -> None:
    """Raise `ModelError` for a network whose first convolution does not take colour pictures."""
    import torch

    layers = cast("torch.nn.Module", classifier._model).modules()
    first = next((layer for layer in layers if isinstance(layer, torch.nn.Conv2d)), None)
    if first is not None and first.in_channels != 3:
        several = "1 channel" if first.in_channels == 1 else f"{first.in_channels} channels"
        raise ModelError(
            f"The classifier '{classifier.name}' takes pictures of {several}; pictures here have 3 (red, green, blue): "
            "give one that was trained on colour pictures."
        )
