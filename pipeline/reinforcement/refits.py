"""Heads refitted to many draws of the photos at once, and intervals that know the photos were drawn by chance.

A recipe's gain depends on the photos that happened to be there, on how they were split, and on the test pictures. The
photos are resampled with replacement, each draw is split anew, and a head is trained on each: by the very training of
`heads.train_head`, only that all heads are one stack of tensors and take every step together. Tensors only; knows no
picture and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from pipeline.curation.selection import split_by_photo
from pipeline.reinforcement.heads import Head, Part
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.training_data import EDITS

if TYPE_CHECKING:
    from pipeline.reinforcement.recipes import Fit, Weigh

ALPHAS = tuple(step / 10 for step in range(11))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bank:
    """Features of all that the recipes may learn from, under one classifier; N items of P photos, d features.

    Rows 0 to N are the items in one of the `kinds`, rows N to N + P the photos themselves.
    """

    photo_keys: tuple[str, ...]  # P
    labels: dict[str, str]  # photo key -> label
    photo: NDArray[np.intp]  # (N,) place of each item's photo
    factors: tuple[str, ...]  # N
    photos: torch.Tensor  # (P, d)
    kinds: dict[str, torch.Tensor]  # method -> (N, depth, d): epoch e learns from [:, e % depth]
    targets: torch.Tensor  # (N + P,) rows of the head

    def table(self, kind: str, epoch: int = 0) -> torch.Tensor:
        """Return the features (N + P, d) of one epoch."""
        pictures = self.kinds[kind]
        return torch.cat([pictures[:, epoch % pictures.shape[1]], self.photos])

    def rows(self, photos: Sequence[int], items: NDArray[np.bool_] | None = None) -> torch.Tensor:
        """Return the rows of these photos and of their items (that `items` takes), as often as each photo is given."""
        of = [np.flatnonzero((self.photo == photo) & (True if items is None else items)) for photo in photos]
        return torch.from_numpy(np.concatenate([*of, len(self.photo) + np.asarray(photos, np.intp)]))


class Draw(NamedTuple):
    """One draw of the photos and its split: places of photos, as often as they were drawn."""

    taught: tuple[int, ...]
    checked: tuple[int, ...]


class DrawnRows(NamedTuple):
    """The rows of a bank's table from which each draw's head learns, and on which it is checked."""

    bank: Bank
    kind: str  # of the items that are learnt from
    taught: Sequence[torch.Tensor]  # one a draw: (n,) int64
    checked: Sequence[torch.Tensor]


class Fits(NamedTuple):
    """A stack of heads, one per draw and in their order."""

    weight: torch.Tensor  # (draws, classes, d)
    bias: torch.Tensor  # (draws, classes)
    loss: torch.Tensor  # (draws,) the best on validation
    alpha: torch.Tensor  # (draws,) chosen on validation


def draws(bank: Bank, fractions: Sequence[float], replicates: int, seeds: int) -> list[Draw]:
    """Return `seeds` splits of the photos as they are, then as many of each of `replicates` draws with replacement.

    A photo that was drawn twice lies twice in the same part.
    """
    chance, every = np.random.default_rng(0), np.arange(len(bank.photo_keys))
    drawn = [every, *(chance.choice(every, len(every)) for _ in range(replicates))]
    return [_split(bank, photos, fractions, seed) for photos in drawn for seed in range(seeds)]


def _split(bank: Bank, photos: NDArray[np.intp], fractions: Sequence[float], seed: int) -> Draw:
    of: dict[str, list[int]] = {}
    for photo in photos.tolist():
        of.setdefault(bank.photo_keys[photo], []).append(photo)
    parts = split_by_photo(list(of), fractions, seed, {key: bank.labels[key] for key in of})
    taught, checked = (tuple(photo for key in part for photo in of[key]) for part in parts)
    return Draw(taught, checked)


def refit(drawn: DrawnRows, theta_0: Head, recipe: Recipe, rates: Sequence[float]) -> Fits:
    """Train one head per draw on its rows at every learning rate; keep of each the one with the lowest loss.

    Validation is the same for every recipe, whatever it learns from: photos and counterfactuals of the checked photos.
    """
    if recipe.how.fit:
        return _fit(drawn, theta_0, recipe.how.fit, recipe.seed)
    of = [_train(drawn, theta_0, replace(recipe, learning_rate=rate)) for rate in rates]
    best = torch.stack([fits.loss for fits in of]).argmin(0)
    every = torch.arange(len(best))
    return Fits(*(torch.stack(parts)[best, every] for parts in zip(*of, strict=True)))


def _train(drawn: DrawnRows, theta_0: Head, recipe: Recipe) -> Fits:
    """Train a stack of heads as `heads.train_head` does one; an epoch has the same number of steps for all.

    A draw that has fewer rows than the largest begins another order of its rows to fill its last steps.
    """
    bank, kind, taught, checked = drawn
    heads = len(taught)
    weight, bias = (part.detach().repeat(heads, *(1 for _ in part.shape)).requires_grad_() for part in theta_0)
    parameters = (weight, bias)
    optimizer = torch.optim.Adam(parameters, lr=recipe.learning_rate, fused=True)
    chance = [torch.Generator().manual_seed(recipe.seed + number) for number in range(heads)]
    length = ceil(max(map(len, taught)) / recipe.batch_size) * recipe.batch_size
    weigh, pull = recipe.how.weigh, recipe.how.pull
    weights = _weights(drawn, theta_0, weigh) if weigh else None
    check = _Check(bank, checked)
    best, reference = (weight.detach().clone(), bias.detach().clone()), check.loss(weight, bias)
    least, waited = reference.clone(), torch.zeros(heads)
    stack = torch.arange(heads)[:, None]
    for epoch in range(recipe.max_epochs):
        table = bank.table(kind, epoch)
        order = torch.stack([_order(rows, length, generator) for rows, generator in zip(taught, chance, strict=True)])
        for rows in torch.split(order, recipe.batch_size, dim=1):
            logits = _logits(weight, bias, table.index_select(0, rows.flatten()).view(*rows.shape, -1))
            losses = cross_entropy(logits.flatten(0, 1), bank.targets[rows].flatten(), reduction="none").view_as(rows)
            if weights is not None:
                losses = losses * weights[stack, rows]
            loss = losses.mean(1).sum()
            if pull:
                moved = zip(parameters, theta_0, strict=True)
                loss = loss + pull * sum((new - old).square().sum() for new, old in moved)
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.grad = gradient.contiguous()  # as its parameter lies: the fused step takes that for granted
            optimizer.step()
        found = check.loss(weight, bias)
        going = waited < recipe.patience
        better = going & (found < least)
        least = torch.where(better, found, least)
        for kept, parameter in zip(best, parameters, strict=True):
            kept[better] = parameter.detach()[better]
        gained = found < reference - recipe.min_delta
        reference = torch.where(going & gained, found, reference)
        waited = torch.where(going, torch.where(gained, 0, waited + 1), waited)
        if not (waited < recipe.patience).any():
            break
    return Fits(best[0], best[1], least, check.alpha(theta_0, *best))


def _order(rows: torch.Tensor, length: int, chance: torch.Generator) -> torch.Tensor:
    """Return the rows in a new order, begun again in another one up to this length."""
    orders = [rows[torch.randperm(len(rows), generator=chance)] for _ in range(ceil(length / len(rows)))]
    return torch.cat(orders)[:length]


def _logits(weight: torch.Tensor, bias: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Return (heads, n, classes) of a stack of heads on features (heads, n, d)."""
    return torch.baddbmm(bias[:, None], features, weight.transpose(1, 2))


class _Check:
    """The validation pictures of every draw."""

    def __init__(self, bank: Bank, checked: Sequence[torch.Tensor]) -> None:
        rows = pad_sequence(list(checked), batch_first=True)
        sizes = torch.tensor([len(rows) for rows in checked])
        self.features, self.targets = bank.table(EDITS.name)[rows], bank.targets[rows]
        self.real = torch.arange(rows.shape[1]) < sizes[:, None]

    @torch.no_grad()
    def loss(self, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy (heads,)."""
        return self._loss(_logits(weight, bias, self.features))

    @torch.no_grad()
    def alpha(self, theta_0: Head, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return the alpha (heads,) with the best Acc@1; among equals the one with the lowest loss."""
        old = self.features @ theta_0[0].T + theta_0[1]
        new = _logits(weight, bias, self.features)
        blends = [(1 - alpha) * old + alpha * new for alpha in ALPHAS]
        right = torch.stack([((logits.argmax(-1) == self.targets) & self.real).sum(1) for logits in blends])
        loss = torch.stack([self._loss(logits) for logits in blends])
        loss[right < right.max(0).values] = torch.inf
        return torch.tensor(ALPHAS)[loss.argmin(0)]

    def _loss(self, logits: torch.Tensor) -> torch.Tensor:
        losses = cross_entropy(logits.flatten(0, 1), self.targets.flatten(), reduction="none").view_as(self.targets)
        return (losses * self.real).sum(1) / self.real.sum(1)


def _weights(drawn: DrawnRows, theta_0: Head, weigh: Weigh) -> torch.Tensor:
    """Return (heads, N + P), as `heads.train_head` weighs; means over a draw are 1."""
    bank = drawn.bank
    p = (bank.table(drawn.kind) @ theta_0[0].T + theta_0[1]).softmax(-1).gather(1, bank.targets[:, None])[:, 0]
    found = []
    for rows in drawn.taught:
        often = torch.bincount(bank.targets[rows], minlength=int(bank.targets.max()) + 1).float()[bank.targets]
        weights = weigh(p, often.clamp(min=1))
        found.append(weights / weights[rows].mean())
    return torch.stack(found)


def _fit(drawn: DrawnRows, theta_0: Head, fit: Fit, seed: int) -> Fits:
    bank, _, taught, checked = drawn
    table, items, check = bank.table(EDITS.name), len(bank.photo), _Check(bank, checked)
    heads, losses = [], []
    for number, (rows, held) in enumerate(zip(taught, checked, strict=True)):
        groups = [f"{int(bank.targets[row])}/{row < items}" for row in rows]
        parts = (Part(table[some], bank.targets[some]) for some in (rows, held))
        training = fit(next(parts), groups, next(parts), theta_0, seed + number)
        heads.append(training.theta)
        losses.append(training.losses[-1])
    weight, bias = (torch.stack(parts) for parts in zip(*heads, strict=True))
    return Fits(weight, bias, torch.tensor(losses), check.alpha(theta_0, weight, bias))


def right(theta_0: Head, fits: Fits, alpha: float | None, test: Part, k: int = 1) -> NDArray[np.bool_]:
    """Return (heads, pictures): whether the label is among the k best at alpha; None: at the chosen one."""
    old, found = test.features @ theta_0[0].T + theta_0[1], []
    for weight, bias, chosen in zip(fits.weight, fits.bias, fits.alpha, strict=True):
        blend = chosen if alpha is None else alpha
        found.append(among((1 - blend) * old + blend * (test.features @ weight.T + bias), test.targets, k))
    return np.stack(found)


def among(logits: torch.Tensor, targets: torch.Tensor, k: int) -> NDArray[np.bool_]:
    """Return (n,): whether the target is among the k best."""
    best = logits.topk(min(k, logits.shape[-1])).indices
    return np.asarray((best == targets[:, None]).any(1))


def refitted(
    values: NDArray[np.floating], bounds: tuple[float, float] = (-1.0, 1.0)
) -> tuple[float, float, float, float]:
    """Return the mean of row 0 with its 95 % interval and the two-sided p that it is 0.

    `values` (1 + R, pictures): a figure of each test picture, after learning from the photos as they are and from R
    draws of them. What varies over the draws is what the photos and their splits are worth; that the test pictures are
    a draw too is told by how they differ among themselves, with half a picture more at either bound, so that pictures
    that all say the same do not look certain. Student's interval with R - 1 degrees of freedom.
    """
    first, others = values[0], values[1:].mean(axis=1)
    mean, freedom, n = float(first.mean()), len(others) - 1, len(first) + 1
    spread = np.square(first - mean).sum() + np.square(np.asarray(bounds) - mean).sum() / 2
    error = float(np.sqrt(others.var(ddof=1) + spread / n**2))
    reach = float(student.ppf(0.975, freedom)) * error
    p = float(2 * student.sf(abs(mean) / error, freedom))
    return mean, max(bounds[0], mean - reach), min(bounds[1], mean + reach), p
