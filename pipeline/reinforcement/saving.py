"""A finished reinforcement on its way to the disk, and the looks that people take at its test sets."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import torch

from pipeline.classifiers.last_block import Unfreezable
from pipeline.errors import ModelError, SettingsError, StoreError
from pipeline.reinforcement.cards import card, metrics
from pipeline.reinforcement.heads import interpolate
from pipeline.reinforcement.runs import add_look, read_run, write_run
from pipeline.runtime.staging import new_folder
from pipeline.store.media import write_whole
from pipeline.types import Classifier, Look, Reinforcement


@runtime_checkable
class Reheadable(Classifier, Protocol):
    """A classifier that can take another head and be saved."""

    def with_head(self, weight: torch.Tensor, bias: torch.Tensor) -> Self:
        """Return the same classifier with another head."""
        ...

    def save(self, folder: Path, card: str) -> None:
        """Write a folder that the same loader opens."""
        ...


def at_alpha(reinforcement: Reinforcement, alpha: float) -> Reinforcement:
    """Return the same training blended at another alpha of the curve; nothing is trained.

    Raises `SettingsError` for an alpha that is not on the curve.
    """
    for step in reinforcement.alphas:
        if abs(step - alpha) < 1e-9:
            return replace(reinforcement, alpha=step)
    raise SettingsError(
        f"alpha {alpha} was not measured; use one of {', '.join(f'{alpha:g}' for alpha in reinforcement.alphas)}."
    )


def looked(made: Reinforcement, look: Look) -> Reinforcement:
    """Return the run at the look's alpha, with the look noted unless the test sets were last seen there.

    Raises `SettingsError` for an alpha that is not on the curve.
    """
    at = at_alpha(made, look.alpha)
    last = at.looks[-1].alpha if at.looks else None
    return at if last == at.alpha else replace(at, looks=(*at.looks, replace(look, alpha=at.alpha)))


def look_at(folder: Path, look: Look) -> Reinforcement:
    """Note in a run's folder, and on its card, that its test sets are about to be seen; return the run at that alpha.

    Raises `SettingsError` for an alpha that is not on the curve, and `StoreError` when it cannot be noted; then nobody
    may see them.
    """
    known = read_run(folder)
    noted = looked(known, look)
    if noted.looks != known.looks:
        add_look(folder, noted.looks[-1])
        _describe(read_run(folder), folder)
    return at_alpha(read_run(folder), noted.alpha)


def save(
    reinforcement: Reinforcement,
    classifier: Classifier,
    folder: Path,
    moment: AbstractContextManager[None] | None = None,
) -> None:
    """Write a folder that `models.classifier(folder)` opens: weights, labels, README.md, metrics.jsonl and the run.

    The folder appears whole or not at all, within `moment` (see `new_folder`). Raises `DataError` when it holds
    something already, `ModelError` for a classifier that cannot be saved and `StoreError` when the folder cannot be
    written.
    """
    blended = _blended(reinforcement, classifier)
    with new_folder(folder, moment) as partial:
        blended.save(partial, card(reinforcement))
        write_run(reinforcement, partial)
        _describe(reinforcement, partial)


def _describe(made: Reinforcement, folder: Path) -> None:
    """Write README.md and metrics.jsonl, which tell of the test sets no more than has been seen."""
    lines = "".join(json.dumps(row) + "\n" for row in metrics(made))
    try:
        for name, text in (("metrics.jsonl", lines), ("README.md", card(made))):
            write_whole(folder / name, text.encode())
            (folder / name).chmod(0o644)
    except OSError as error:
        message = f"The card of '{folder.name}' cannot be written: {error.strerror}; free some space."
        raise StoreError(message, path=folder) from error


def _blended(reinforcement: Reinforcement, classifier: Classifier) -> Reheadable | Unfreezable:
    """Return the classifier with theta(alpha)."""
    theta = interpolate(reinforcement.theta_0, reinforcement.theta_1, reinforcement.alpha)
    if reinforcement.block and isinstance(classifier, Unfreezable):
        return classifier.with_parameters(dict(zip(reinforcement.parameters, theta, strict=True)))
    if reinforcement.block or not isinstance(classifier, Reheadable):
        what = f"other weights in its block '{reinforcement.block}'" if reinforcement.block else "another head"
        raise ModelError(f"The classifier '{classifier.name}' cannot take {what}; use a timm model.")
    weight, bias = theta
    return classifier.with_head(weight, bias)
