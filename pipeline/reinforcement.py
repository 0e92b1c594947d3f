"""Fine-tune a classifier's head on counterfactuals, and blend it with the head it came from.

Every layer but the head is frozen, so features are computed once and training, the curve over alpha and every figure
come from matrix products. theta_1 starts from theta_0 and is trained by Adam with early stopping (Li et al., 2024);
theta(alpha) = (1 - alpha) theta_0 + alpha theta_1 follows WiSE-FT (Wortsman et al., 2022). Photos are split by source,
never by edit: training, validation (early stopping, alpha when it is not given) and held-out test share no photo.
Knows no file but those that `save` writes, and no page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol, Self, runtime_checkable

import torch
from PIL.Image import Image
from torch.nn.functional import cross_entropy, linear

from pipeline.cards import card, metrics
from pipeline.curation import refuse_used, split_by_photo
from pipeline.errors import DataError, LabelError, ModelError, SettingsError, StoreError
from pipeline.intervals import mcnemar, wilson
from pipeline.types import Classifier, Proportion, Reinforcement

ALPHAS = tuple(step / 10 for step in range(11))
FRACTIONS = (0.6, 0.2, 0.2)  # of the photos: training, validation, held-out
HELD_OUT = ("held-out originals", "held-out counterfactuals")
BATCH = 32

Head = tuple[torch.Tensor, torch.Tensor]
Progress = Callable[[int, int, float], None]
"""Called as `progress(epoch, max_epochs, validation_loss)`; raising `Cancelled` from it stops the training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train; the defaults are Li et al.'s."""

    learning_rate: float = 1e-4  # of Adam
    batch_size: int = 8
    max_epochs: int = 50
    min_delta: float = 0.005  # an epoch counts as better when the validation loss falls by more than this
    patience: int = 5  # epochs without a better one before training stops
    alpha: float | None = 0.3  # None: chosen on validation
    seed: int = 0  # of the split and of the order of batches
    originals: bool = True  # train on the source photos too, so that they are not forgotten

    def __post_init__(self) -> None:
        """Refuses values outside their range with `SettingsError`."""
        if self.alpha is not None and not 0.0 <= self.alpha <= 1.0:
            raise SettingsError(f"alpha is {self.alpha}, but it blends two heads; give 0 to 1, or auto.")
        if not (self.learning_rate > 0 and self.batch_size > 0 and self.max_epochs > 0 and self.patience > 0):
            raise SettingsError("Learning rate, batch size, epochs and patience must be above 0; the defaults are.")


class Item(NamedTuple):
    """A counterfactual to learn from, beside the photo it was made of."""

    label: str
    photo: Image
    counterfactual: Image
    photo_key: str


@runtime_checkable
class Reheadable(Classifier, Protocol):
    """A classifier that can take another head and be saved."""

    def with_head(self, weight: torch.Tensor, bias: torch.Tensor) -> Self:
        """The same classifier with another head."""
        ...

    def save(self, folder: Path, card: str) -> None:
        """Writes a folder that the same loader opens."""
        ...


Pictures = Sequence[tuple[Image, str]]


class _Part(NamedTuple):
    features: torch.Tensor  # (n, features)
    targets: torch.Tensor  # (n,) rows of the head


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Logits:
    """What both heads say of one part. Blending heads is blending their logits, so one product serves every alpha."""

    theta_0: torch.Tensor  # (n, classes)
    theta_1: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def of(cls, theta_0: Head, theta_1: Head, part: _Part) -> Self:
        return cls(
            theta_0=linear(part.features, *theta_0), theta_1=linear(part.features, *theta_1), targets=part.targets
        )

    def at(self, alpha: float) -> torch.Tensor:
        return (1 - alpha) * self.theta_0 + alpha * self.theta_1

    def right(self, alpha: float) -> list[bool]:
        return [bool(hit) for hit in self.at(alpha).argmax(-1) == self.targets]


def train_head(
    features: torch.Tensor,
    targets: torch.Tensor,
    val_features: torch.Tensor,
    val_targets: torch.Tensor,
    theta_0: Head,
    *,
    recipe: Recipe,
    progress: Progress | None = None,
) -> tuple[Head, tuple[float, ...]]:
    """theta_1, trained from theta_0, and the validation losses: theta_0's own first, then one per epoch.

    features (n, features), targets (n,) as rows of the head. The head with the lowest validation loss is returned,
    which is theta_0 itself when no epoch improves on it.
    """
    weight, bias = (part.detach().clone().requires_grad_() for part in theta_0)
    optimizer = torch.optim.Adam([weight, bias], lr=recipe.learning_rate)
    generator = torch.Generator().manual_seed(recipe.seed)
    losses = [_loss(theta_0, val_features, val_targets)]
    best, reference, waited = theta_0, losses[0], 0
    for epoch in range(1, recipe.max_epochs + 1):
        for batch in torch.split(torch.randperm(len(targets), generator=generator), recipe.batch_size):
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(linear(features[batch], weight, bias), targets[batch]))
            optimizer.step()
        theta = (weight.detach().clone(), bias.detach().clone())
        losses.append(_loss(theta, val_features, val_targets))
        if losses[-1] == min(losses) and losses[-1] < losses[0]:
            best = theta
        if progress is not None:
            progress(epoch, recipe.max_epochs, losses[-1])
        reference, waited = (losses[-1], 0) if losses[-1] < reference - recipe.min_delta else (reference, waited + 1)
        if waited >= recipe.patience:
            break
    return best, tuple(losses)


def interpolate(theta_0: Head, theta_1: Head, alpha: float) -> Head:
    """(1 - alpha) theta_0 + alpha theta_1, exactly theta_0 at 0 and theta_1 at 1. Outside that: `SettingsError`."""
    if not 0.0 <= alpha <= 1.0:
        raise SettingsError(f"alpha is {alpha}, but it blends two heads; give 0 to 1.")
    weight, bias = ((1 - alpha) * old + alpha * new for old, new in zip(theta_0, theta_1, strict=True))
    return weight, bias


def reinforce(
    classifier: Classifier,
    items: Sequence[Item],
    evaluation: Mapping[str, Pictures],
    recipe: Recipe,
    progress: Progress | None = None,
) -> Reinforcement:
    """Trains the head on the items and measures Acc@1 of theta(alpha) on every split of `evaluation`.

    The originals and the counterfactuals of held-out source photos are two more splits. Raises `DataError` for no
    items, a single class, too few photos to split, and an evaluation picture that is trained on; `LabelError` for
    labels that the classifier does not know.
    """
    train, validation, held_out = _split(classifier, items, recipe)
    splits = _splits(classifier, evaluation, [*train, *validation], held_out)
    theta_0, features = classifier.head(), _Features(classifier)
    features.refuse_foreign_head(theta_0, items[0].photo)
    lesson, check = (features.part(_lesson(part, recipe)) for part in (train, validation))
    theta_1, losses = train_head(*lesson, *check, theta_0, recipe=recipe, progress=progress)
    alpha = _best_alpha(_Logits.of(theta_0, theta_1, check)) if recipe.alpha is None else recipe.alpha
    logits = {name: _Logits.of(theta_0, theta_1, features.part(pictures)) for name, pictures in splits.items()}
    before = {name: one.right(0.0) for name, one in logits.items()}
    after = {name: one.right(alpha) for name, one in logits.items()}
    return Reinforcement(
        classifier=classifier.name,
        labels=classifier.labels,
        theta_0=theta_0,
        theta_1=theta_1,
        alpha=alpha,
        curve=tuple((step, {name: _share(one.right(step)) for name, one in logits.items()}) for step in ALPHAS),
        before={name: _share(right) for name, right in before.items()},
        after={name: _share(right) for name, right in after.items()},
        losses=losses,
        by_class=_by_class(classifier.labels, splits, before, after),
        p_values={name: _p_value(before[name], after[name]) for name in splits},
    )


def at_alpha(reinforcement: Reinforcement, alpha: float) -> Reinforcement:
    """The same training blended at another alpha of the curve, for a page's slider.

    `by_class` and `p_values` are emptied, for they belong to the alpha they were measured at. Raises `SettingsError`
    for an alpha that is not on the curve.
    """
    for step, shares in reinforcement.curve:
        if abs(step - alpha) < 1e-9:
            return replace(reinforcement, alpha=step, after=shares, by_class={}, p_values={})
    raise SettingsError(f"alpha {alpha} was not measured; use one of {', '.join(map(str, ALPHAS))}.")


def save(reinforcement: Reinforcement, classifier: Classifier, folder: Path) -> None:
    """Writes a folder that `models.classifier(folder)` opens: weights, labels, README.md and metrics.jsonl.

    Raises `DataError` when the folder holds something already, `ModelError` for a classifier that cannot be saved and
    `StoreError` when the folder cannot be written.
    """
    if not isinstance(classifier, Reheadable):
        raise ModelError(f"The classifier '{classifier.name}' cannot take another head; use a timm model.")
    refuse_used(folder)
    weight, bias = interpolate(reinforcement.theta_0, reinforcement.theta_1, reinforcement.alpha)
    classifier.with_head(weight, bias).save(folder, card(reinforcement))
    lines = "".join(json.dumps(row) + "\n" for row in metrics(reinforcement))
    try:
        (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"metrics.jsonl cannot be written to {folder}: {error.strerror}; free some space.") from error


class _Features:
    """Features of pictures, computed once per picture."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._rows = {label: row for row, label in enumerate(classifier.labels)}
        self._known: dict[int, tuple[Image, torch.Tensor]] = {}  # the picture is held so that its id stays its own

    def part(self, pictures: Pictures) -> _Part:
        fresh = list({id(image): image for image, _ in pictures if id(image) not in self._known}.values())
        for start in range(0, len(fresh), BATCH):
            batch = fresh[start : start + BATCH]
            rows = self._classifier.features(batch).float().cpu()
            self._known.update((id(image), (image, row)) for image, row in zip(batch, rows, strict=True))
        return _Part(
            features=torch.stack([self._known[id(image)][1] for image, _ in pictures]),
            targets=torch.tensor([self._rows[label] for _, label in pictures]),
        )

    def refuse_foreign_head(self, theta: Head, image: Image) -> None:
        """The head on the features must be the classifier itself, or blending heads would mean nothing."""
        label = self._classifier.labels[0]
        logits = linear(self.part([(image, label)]).features, *theta)
        expected = torch.tensor(self._classifier.predict([image])[0].probabilities)
        if not torch.allclose(logits.softmax(-1)[0], expected, atol=1e-3):
            raise ModelError(f"The head of '{self._classifier.name}' does not give its predictions; use a timm model.")


def _split(classifier: Classifier, items: Sequence[Item], recipe: Recipe) -> tuple[list[Item], ...]:
    """Items for training, validation and held-out test, by source photo and spread over the labels."""
    if not items:
        raise DataError("There is no counterfactual to learn from; keep some, or stress more pictures, first.")
    _refuse_unknown(classifier, {item.label for item in items})
    labels = {item.photo_key: item.label for item in items}
    if len(set(labels.values())) < 2:
        raise DataError(f"All counterfactuals show '{items[0].label}'; two classes or more are needed to learn from.")
    parts = [set(part) for part in split_by_photo(list(labels), FRACTIONS, recipe.seed, labels)]
    found = tuple([item for item in items if item.photo_key in part] for part in parts)
    if len({item.label for item in found[0]}) < 2 or not found[1]:
        raise DataError(f"{len(labels)} source photos are too few to train and validate on; study more of each class.")
    return found


def _splits(
    classifier: Classifier, evaluation: Mapping[str, Pictures], seen: Sequence[Item], held_out: Sequence[Item]
) -> dict[str, Pictures]:
    """Everything to measure on, by name: nothing of it has been seen in training or validation."""
    known = {_pixels(image) for item in seen for image in (item.photo, item.counterfactual)}
    for name, pictures in evaluation.items():
        _refuse_unknown(classifier, {label for _, label in pictures})
        leaks = sum(_pixels(image) in known for image, _ in pictures)
        if leaks:
            raise DataError(
                f"{leaks} of {len(pictures)} pictures of '{name}' are trained on too, so its figures would flatter; "
                "evaluate on others."
            )
    photos = {item.photo_key: (item.photo, item.label) for item in held_out}
    own: tuple[Pictures, ...] = (list(photos.values()), [(item.counterfactual, item.label) for item in held_out])
    found = {name: pictures for name, pictures in (*evaluation.items(), *zip(HELD_OUT, own, strict=True)) if pictures}
    if not found:
        raise DataError("No picture is left to evaluate on; study more photos, or give an evaluation folder.")
    return found


def _refuse_unknown(classifier: Classifier, labels: set[str]) -> None:
    unknown = sorted(labels - set(classifier.labels))
    if unknown:
        shown = ", ".join(f"'{label}'" for label in unknown[:5])
        raise LabelError(f"The classifier '{classifier.name}' does not know {shown}; use the one that was studied.")


def _pixels(image: Image) -> bytes:
    return hashlib.sha256(repr(image.size).encode() + image.convert("RGB").tobytes()).digest()


def _lesson(items: Sequence[Item], recipe: Recipe) -> Pictures:
    """The counterfactuals, and each of their photos once."""
    photos = {item.photo_key: (item.photo, item.label) for item in items} if recipe.originals else {}
    return [*((item.counterfactual, item.label) for item in items), *photos.values()]


def _loss(theta: Head, features: torch.Tensor, targets: torch.Tensor) -> float:
    return float(cross_entropy(linear(features, *theta), targets))


def _best_alpha(check: _Logits) -> float:
    """The alpha with the best Acc@1 on validation; among equals the one with the lowest loss."""

    def merit(alpha: float) -> tuple[int, float]:
        return sum(check.right(alpha)), -float(cross_entropy(check.at(alpha), check.targets))

    return max(ALPHAS, key=merit)


def _share(right: Sequence[bool]) -> Proportion:
    return wilson(sum(right), len(right))


def _p_value(before: Sequence[bool], after: Sequence[bool]) -> float:
    pairs = list(zip(before, after, strict=True))
    return mcnemar(sum(old and not new for old, new in pairs), sum(new and not old for old, new in pairs))


def _by_class(
    labels: Sequence[str],
    splits: Mapping[str, Pictures],
    before: Mapping[str, Sequence[bool]],
    after: Mapping[str, Sequence[bool]],
) -> dict[str, tuple[Proportion, Proportion]]:
    """Label -> Acc@1 before and after over all splits: what was forgotten shows here."""
    found: dict[str, list[tuple[bool, bool]]] = {}
    for name, pictures in splits.items():
        for (_, label), old, new in zip(pictures, before[name], after[name], strict=True):
            found.setdefault(label, []).append((old, new))
    pairs = {label: list(zip(*found[label], strict=True)) for label in labels if label in found}
    return {label: (_share(old), _share(new)) for label, (old, new) in pairs.items()}
