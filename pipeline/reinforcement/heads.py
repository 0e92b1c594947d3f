"""Training a classifier's last layer on cached features, by the paper's recipe and its rivals. Tensors only.

What is trained are tensors and a function that makes logits of them and of cached inputs: the head on features unless
said otherwise, a block and the head on the block's inputs (`pipeline/classifiers/last_block.py`) by the same training.

theta_1 starts from theta_0 and is trained by Adam with early stopping (Li et al., 2024); theta(alpha) = (1 - alpha)
theta_0 + alpha theta_1 follows WiSE-FT (Wortsman et al., 2022). AFR (Qiu et al., 2023) weighs what theta_0 gets wrong
and pulls towards theta_0; DFR (Kirichenko et al., 2023) is a logistic regression on as many pictures of each group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy, linear

from pipeline.errors import Cancelled, SettingsError
from pipeline.reinforcement.checkpoints import Progressed, fingerprint, resume, write

if TYPE_CHECKING:
    from pipeline.reinforcement.recipes import Recipe, Weigh

DFR_DRAWS = 10  # balanced draws whose heads are averaged
DFR_STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # inverse regularisation, chosen on validation

Head = tuple[torch.Tensor, torch.Tensor]
"""Weight (classes, features) and bias (classes,)."""
Theta = tuple[torch.Tensor, ...]
"""All that is trained: a `Head`, or every parameter of a block and the head."""
Network = Callable[[Theta, torch.Tensor], torch.Tensor]
"""theta, inputs (n, ...) -> logits (n, classes)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """Where the training is; losses are mean cross-entropies."""

    number: int  # from 1
    of: int  # at most
    training_loss: float  # of what is descended: with AFR weighted, and with its pull
    loss: float  # on validation
    accuracy: float  # Acc@1 on validation, 0..1


EpochReport = Callable[[Epoch], None]
"""Called after each epoch; raising `Cancelled` from it ends the training with the best head so far."""


class Part(NamedTuple):
    """What a head learns from or is measured on."""

    features: torch.Tensor  # (n, features); of a block its inputs, (n, ...)
    targets: torch.Tensor  # (n,) rows of the head


class Training(NamedTuple):
    """What came of it."""

    theta: Theta  # the one with the lowest validation loss; theta_0 when no epoch improves on it
    losses: tuple[float, ...]  # on validation: theta_0's own first, then one per epoch
    accuracies: tuple[float, ...]  # Acc@1 on validation, in the same order
    stopped: bool = False  # somebody cancelled, and this is the best until then


def head_logits(theta: Theta, features: torch.Tensor) -> torch.Tensor:
    """Return the logits (n, classes) of a head on features (n, features)."""
    weight, bias = theta
    return linear(features, weight, bias)


def train_head(
    train: Part | Callable[[int], Part],
    validation: Part,
    theta_0: Theta,
    *,
    recipe: Recipe,
    progress: EpochReport | None = None,
    checkpoint: Path | None = None,
    network: Network = head_logits,
) -> Training:
    """Train theta_1 from theta_0 by Adam, every epoch in a new order; the best epoch on validation is kept.

    `train` may be a function of the epoch, from 0: then every epoch has pictures of its own, equally many.
    Raises `Cancelled` when `progress` does and no epoch has improved on theta_0 yet: then there is nothing to keep.
    With `checkpoint` a training that was cut off goes on where it was, with the same result; one that ends removes it.
    """
    part = train(0) if callable(train) else train
    weigh, pull = recipe.how.weigh, recipe.how.pull
    weights = _weights(part, theta_0, weigh) if weigh else torch.ones(len(part.targets))
    parameters = tuple(part.detach().clone().requires_grad_() for part in theta_0)
    optimizer = torch.optim.Adam(parameters, lr=recipe.learning_rate, fused=True)
    generator = torch.Generator().manual_seed(recipe.seed)
    mark = fingerprint([*part, *validation, *theta_0], repr(replace(recipe, max_epochs=1, alpha=None)))
    at = checkpoint and resume(checkpoint, mark, parameters, optimizer, generator)
    if not at:
        first, right = judged(theta_0, validation, network)
        at = Progressed(best=theta_0, losses=[first], accuracies=[right], reference=first)

    def training_loss(features: torch.Tensor, targets: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        logits = network(parameters, features)
        if not (weigh or pull):
            return cross_entropy(logits, targets)
        losses = cross_entropy(logits, targets, reduction="none")
        moved = sum((new - old).square().sum() for new, old in zip(parameters, theta_0, strict=True))
        return (losses * counts).mean() + pull * moved

    while at.waited < recipe.patience and at.epoch < recipe.max_epochs:
        if callable(train):
            part = train(at.epoch)
        order = torch.randperm(len(part.targets), generator=generator)
        shuffled = (torch.split(rows[order], recipe.batch_size) for rows in (*part, weights))
        total = _descend(zip(*shuffled, strict=True), training_loss, parameters, optimizer)
        _note(at, tuple(parameter.detach().clone() for parameter in parameters), validation, recipe, network)
        if checkpoint:
            write(checkpoint, mark, parameters, optimizer, generator, at)
        if progress is not None:
            try:
                progress(Epoch(number=at.epoch, of=recipe.max_epochs, training_loss=total / len(part.targets),
                               loss=at.losses[-1], accuracy=at.accuracies[-1]))  # fmt: skip
            except Cancelled:
                if min(at.losses) == at.losses[0]:
                    raise
                return _training(at, stopped=True)
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return _training(at)


def _descend(
    batches: Iterable[tuple[torch.Tensor, ...]],
    training_loss: Callable[..., torch.Tensor],
    parameters: Theta,
    optimizer: torch.optim.Optimizer,
) -> float:
    """Take one step down the loss for each batch; return the sum of the pictures' losses before the steps."""
    total = 0.0
    for batch in batches:
        loss = training_loss(*batch)
        # A block may hold parameters that take no part in its logits.
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            # The fused step takes for granted that a gradient lies in memory as its parameter does.
            parameter.grad = None if gradient is None else torch.empty_like(parameter).copy_(gradient)
        optimizer.step()
        total += float(loss.detach()) * len(batch[0])
    return total


def _note(at: Progressed, theta: Theta, validation: Part, recipe: Recipe, network: Network) -> None:
    """Measure theta after an epoch, and keep it when it is the best."""
    loss, right = judged(theta, validation, network)
    if loss < min(at.losses):
        at.best = theta
    at.losses.append(loss)
    at.accuracies.append(right)
    at.reference, at.waited = (loss, 0) if loss < at.reference - recipe.min_delta else (at.reference, at.waited + 1)


def _training(at: Progressed, stopped: bool = False) -> Training:
    return Training(at.best, tuple(at.losses), tuple(at.accuracies), stopped)


def balanced_regression(train: Part, groups: Sequence[str], validation: Part, theta_0: Theta, seed: int) -> Training:
    """Fit DFR: the mean of `DFR_DRAWS` logistic regressions, each on equally many pictures of every group.

    groups (n,) names each picture's group. The penalty is L2 where the authors take L1. Classes that the pictures do
    not show keep the row of theta_0. Raises nothing of its own.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train.features.numpy())
    x, y, draw = scaler.transform(train.features.numpy()), train.targets.numpy(), np.random.default_rng(seed)
    members = [np.flatnonzero(np.asarray(groups) == group) for group in sorted(set(groups))]
    least = min(map(len, members))
    draws = [
        np.concatenate([draw.choice(member, least, replace=False) for member in members]) for _ in range(DFR_DRAWS)
    ]
    heads = []
    for strength in DFR_STRENGTHS:
        fits = [LogisticRegression(C=strength, max_iter=500).fit(x[rows], y[rows]) for rows in draws]
        heads.append(
            _raw_head([fit.coef_ for fit in fits], [fit.intercept_ for fit in fits], fits[0].classes_, scaler, theta_0)
        )
    best = min(heads, key=lambda theta: judged(theta, validation)[0])
    losses, accuracies = zip(*(judged(theta, validation) for theta in (theta_0, best)), strict=True)
    return Training(best, losses, accuracies)


def interpolate(theta_0: Theta, theta_1: Theta, alpha: float) -> Theta:
    """Return (1 - alpha) theta_0 + alpha theta_1, tensor by tensor: exactly theta_0 at 0 and theta_1 at 1.

    Raises `SettingsError` for an alpha outside that.
    """
    if not 0.0 <= alpha <= 1.0:
        raise SettingsError(f"alpha is {alpha}, but it blends two heads; give 0 to 1.")
    return tuple((1 - alpha) * old + alpha * new for old, new in zip(theta_0, theta_1, strict=True))


def judged(theta: Theta, part: Part, network: Network = head_logits) -> tuple[float, float]:
    """Return (mean cross-entropy, Acc@1 in 0..1) of a head, or of what else `network` makes of theta, by one pass."""
    logits = network(theta, part.features)
    right = (logits.argmax(-1) == part.targets).float().mean()
    return float(cross_entropy(logits, part.targets)), float(right)


def _weights(train: Part, theta_0: Theta, weigh: Weigh) -> torch.Tensor:
    """Return (n,) by p(label) under theta_0 and the size of the class; their mean is 1."""
    p = head_logits(theta_0, train.features).softmax(-1).gather(1, train.targets[:, None])[:, 0]
    often = torch.bincount(train.targets).float()[train.targets]
    weights = weigh(p, often)
    return weights / weights.mean()


def _raw_head(coefficients: Sequence[np.ndarray], intercepts: Sequence[np.ndarray], classes: np.ndarray,
              scaler: object, theta_0: Theta) -> Head:  # fmt: skip
    """Return the mean regression on features as they are; two classes' one row of coefficients is made two."""
    weight, bias = np.mean(coefficients, axis=0), np.mean(intercepts, axis=0)
    if len(classes) == 2 and len(weight) == 1:
        weight, bias = np.vstack([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    raw = weight / scaler.scale_  # type: ignore[attr-defined]
    theta = tuple(part.detach().clone() for part in theta_0)
    theta[0][classes] = torch.from_numpy(raw).float()
    theta[1][classes] = torch.from_numpy(bias - raw @ scaler.mean_).float()  # type: ignore[attr-defined]
    return theta[0], theta[1]
