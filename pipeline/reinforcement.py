"""Reinforce a classifier: fine-tune its head on counterfactuals, blend it with the old one, measure what came of it.

Every layer but the head is frozen, so features are computed once and training, the curve over alpha and every figure
come from matrix products (`pipeline/heads.py`). A recipe may unfreeze the last block too (`pipeline/blocks.py`): then
its inputs are computed once. Photos are split by source, never by edit: training, validation (early stopping, alpha
when it is not given) and held-out test share no photo. Knows no file but those that `save` and `Features` write, and no
page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol, Self, runtime_checkable

import torch
from torch.nn.functional import cross_entropy

from pipeline.blending import Blend, Logits
from pipeline.blocks import Unfreezable
from pipeline.cards import card, metrics
from pipeline.curation import new_folder, refuse_used, split_by_photo
from pipeline.errors import DataError, ModelError, SettingsError
from pipeline.features import BlockInputs, Features, pixels, refuse_unknown
from pipeline.heads import (
    METHODS,
    Epoch,
    Part,
    Progress,
    Recipe,
    Training,
    balanced_regression,
    interpolate,
    train_head,
)
from pipeline.intervals import mcnemar, wilson
from pipeline.lessons import ANEW, Item, Pictures, lesson
from pipeline.runs import write_run
from pipeline.types import Classifier, Proportion, Reinforcement

__all__ = [
    "ALPHAS",
    "HELD_OUT",
    "KINDS",
    "METHODS",
    "Answer",
    "Epoch",
    "Features",
    "Item",
    "Logits",
    "Recipe",
    "at_alpha",
    "changes",
    "checkpoint_file",
    "interpolate",
    "reinforce",
    "save",
    "train",
    "train_head",
]

ALPHAS = tuple(step / 10 for step in range(11))
FRACTIONS = (0.6, 0.2, 0.2)  # of the photos: training, validation, held-out
HELD_OUT = ("held-out originals", "held-out counterfactuals")
BROKEN, FAILING, FIXED = KINDS = ("newly broken", "still failing", "fixed")


class Answer(NamedTuple):
    """One picture that a classifier names wrong before or after."""

    split: str
    name: str  # as in `Answers`
    kind: str  # one of `KINDS`
    label: str
    before: str
    after: str


@runtime_checkable
class Reheadable(Classifier, Protocol):
    """A classifier that can take another head and be saved."""

    def with_head(self, weight: torch.Tensor, bias: torch.Tensor) -> Self:
        """The same classifier with another head."""
        ...

    def save(self, folder: Path, card: str) -> None:
        """Writes a folder that the same loader opens."""
        ...


def reinforce(
    classifier: Classifier,
    items: Sequence[Item],
    evaluation: Mapping[str, Pictures],
    recipe: Recipe,
    progress: Progress | None = None,
    features: Features | None = None,
    checkpoint: Path | None = None,
) -> Reinforcement:
    """Trains the head on the items and measures Acc@1 of theta(alpha) on every split of `evaluation`.

    The originals and the counterfactuals of held-out source photos are two more splits. `features` spares those that
    are known; with `checkpoint` a training that was cut off goes on where it was. Raises `DataError` for no items, a
    single class, too few photos to split, and an evaluation picture that is trained on; `LabelError` for labels that
    the classifier does not know.
    """
    parts = split_items(classifier, items, FRACTIONS, recipe.seed)
    splits = _splits(classifier, evaluation, [*parts[0], *parts[1]], parts[2])
    known = BlockInputs(classifier) if recipe.unfreeze == "last-block" else features or Features(classifier)
    theta_0 = known.theta_0()
    known.refuse_foreign_head(theta_0, items[0].photo)
    training, alpha = train(known, parts[0], parts[1], recipe, progress, checkpoint)
    blends = {name: known.blend(theta_0, training.theta, pictures) for name, pictures in splits.items()}
    steps = tuple(sorted({*ALPHAS, alpha}))
    names = _names(splits, parts[2])
    answers = {name: one.answers(steps, names[name]) for name, one in blends.items()}
    curve = tuple(
        (step, {name: _share(one.right(place)) for name, one in answers.items()}) for place, step in enumerate(steps)
    )
    made = Reinforcement(
        classifier=classifier.name,
        labels=classifier.labels,
        theta_0=theta_0,
        theta_1=training.theta,
        alpha=alpha,
        curve=curve,
        before=curve[0][1],
        after=curve[0][1],
        losses=training.losses,
        accuracies=training.accuracies,
        method=recipe.method,
        seed=recipe.seed,
        stopped=training.stopped,
        answers=answers,
        block=known.block,
        parameters=known.names,
    )
    return at_alpha(made, alpha)


def train(
    features: Features,
    items: Sequence[Item],
    validation: Sequence[Item],
    recipe: Recipe,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> tuple[Training, float]:
    """theta_1 and the alpha to use, from the items of two sets of photos; no other picture is looked at."""
    theta_0 = features.theta_0()
    taught, checked = lesson(items, recipe), lesson(validation, recipe)
    lasting = recipe.method != "standard"
    part, check = (features.part(one.pictures, keep=lasting) for one in (taught, checked))

    def of(epoch: int) -> Part:
        return features.part(lesson(items, recipe, epoch).pictures, keep=lasting)

    if recipe.method == "dfr":
        training = balanced_regression(part, taught.groups, check, theta_0, recipe.seed)
    else:
        training = train_head(
            of if recipe.method in ANEW else part,
            check,
            theta_0,
            recipe=recipe,
            progress=progress,
            checkpoint=checkpoint,
            network=features.logits,
        )
    if recipe.blend is not None:
        return training, recipe.blend
    return training, _best_alpha(features.blend(theta_0, training.theta, checked.pictures))


def checkpoint_file(root: Path, classifier: str, recipe: Recipe) -> Path:
    """Where in a data folder the training of this recipe is kept until it ends."""
    plain = "".join(char if char.isalnum() or char in "-_" else "-" for char in classifier)[-60:]
    what = "" if recipe.unfreeze == "head" else f"-{recipe.unfreeze}"
    return root / ".training" / f"{plain}-{recipe.method}{what}-{recipe.seed}.safetensors"


def at_alpha(reinforcement: Reinforcement, alpha: float) -> Reinforcement:
    """The same training blended at another alpha of the curve, with every figure at that alpha; nothing is trained.

    Raises `SettingsError` for an alpha that is not on the curve.
    """
    for place, (step, shares) in enumerate(reinforcement.curve):
        if abs(step - alpha) < 1e-9:
            answers = reinforcement.answers.items()
            return replace(
                reinforcement,
                alpha=step,
                after=shares,
                by_class=_by_class(reinforcement, place),
                p_values={name: _p_value(one.right(0), one.right(place)) for name, one in answers},
            )
    raise SettingsError(f"alpha {alpha} was not measured; use one of {', '.join(map(str, ALPHAS))}.")


def changes(reinforcement: Reinforcement) -> tuple[Answer, ...]:
    """What theta_0 or theta(alpha) names wrong, one entry per picture, in the order of the splits."""
    place = [step for step, _ in reinforcement.curve].index(reinforcement.alpha)
    found = []
    for split, one in reinforcement.answers.items():
        rows = zip(one.names, one.targets, one.predicted[0], one.predicted[place], strict=True)
        for name, target, before, after in rows:
            if before == after == target:
                continue
            kind = FIXED if after == target else BROKEN if before == target else FAILING
            labels = (reinforcement.labels[row] for row in (target, before, after))
            found.append(Answer(split, name, kind, *labels))
    return tuple(found)


def save(reinforcement: Reinforcement, classifier: Classifier, folder: Path) -> None:
    """Writes a folder that `models.classifier(folder)` opens: weights, labels, README.md, metrics.jsonl and the run.

    The folder appears whole or not at all. Raises `DataError` when it holds something already, `ModelError` for a
    classifier that cannot be saved and `StoreError` when the folder cannot be written.
    """
    blended = _blended(reinforcement, classifier)
    refuse_used(folder)
    lines = "".join(json.dumps(row) + "\n" for row in metrics(reinforcement))
    with new_folder(folder) as partial:
        blended.save(partial, card(reinforcement))
        (partial / "metrics.jsonl").write_text(lines, encoding="utf-8")
        write_run(reinforcement, partial)


def _blended(reinforcement: Reinforcement, classifier: Classifier) -> Reheadable | Unfreezable:
    """The classifier with theta(alpha)."""
    theta = interpolate(reinforcement.theta_0, reinforcement.theta_1, reinforcement.alpha)
    if reinforcement.block and isinstance(classifier, Unfreezable):
        return classifier.with_parameters(dict(zip(reinforcement.parameters, theta, strict=True)))
    if reinforcement.block or not isinstance(classifier, Reheadable):
        what = f"other weights in its block '{reinforcement.block}'" if reinforcement.block else "another head"
        raise ModelError(f"The classifier '{classifier.name}' cannot take {what}; use a timm model.")
    weight, bias = theta
    return classifier.with_head(weight, bias)


def split_items(
    classifier: Classifier, items: Sequence[Item], fractions: Sequence[float], seed: int
) -> tuple[list[Item], ...]:
    """Items for training, validation and what else is asked for, by source photo and spread over the labels.

    Raises `DataError` for nothing, for items without a label, for a single class and for too few photos; `LabelError`
    for labels that the classifier does not know.
    """
    if not items:
        raise DataError("There is no counterfactual to learn from; keep some, or stress more pictures, first.")
    unlabelled = sum(not item.label for item in items)
    if unlabelled:
        raise DataError(
            f"{unlabelled} of {len(items)} counterfactuals have no label; say what their photos show first."
        )
    refuse_unknown(classifier, {label for item in items for label in (item.label, item.shown)})
    labels = {item.photo_key: item.label for item in items}
    if len(set(labels.values())) < 2:
        raise DataError(f"All counterfactuals show '{items[0].label}'; two classes or more are needed to learn from.")
    parts = [set(part) for part in split_by_photo(list(labels), fractions, seed, labels)]
    found = tuple([item for item in items if item.photo_key in part] for part in parts)
    if len({item.label for item in found[0]}) < 2 or not found[1]:
        raise DataError(f"{len(labels)} source photos are too few to train and validate on; study more of each class.")
    return found


def refuse_leaks(seen: Sequence[Item], evaluation: Mapping[str, Pictures]) -> None:
    """Raises `DataError` when a picture of the evaluation is one that is learnt from."""
    known = {pixels(image) for item in seen for image in (item.photo, item.counterfactual)}
    for name, pictures in evaluation.items():
        leaks = sum(pixels(image) in known for image, _ in pictures)
        if leaks:
            raise DataError(
                f"{leaks} of {len(pictures)} pictures of '{name}' are trained on too, so its figures would flatter; "
                "evaluate on others."
            )


def _splits(
    classifier: Classifier, evaluation: Mapping[str, Pictures], seen: Sequence[Item], held_out: Sequence[Item]
) -> dict[str, Pictures]:
    """Everything to measure on, by name: nothing of it has been seen in training or validation."""
    for pictures in evaluation.values():
        refuse_unknown(classifier, {label for _, label in pictures})
    refuse_leaks(seen, evaluation)
    photos = {item.photo_key: (item.photo, item.label) for item in held_out}
    own: tuple[Pictures, ...] = (list(photos.values()), [(item.counterfactual, item.shown) for item in held_out])
    found = {name: pictures for name, pictures in (*evaluation.items(), *zip(HELD_OUT, own, strict=True)) if pictures}
    if not found:
        raise DataError("No picture is left to evaluate on; study more photos, or give an evaluation folder.")
    return found


def _best_alpha(check: Blend) -> float:
    """The alpha with the best Acc@1 on validation; among equals the one with the lowest loss."""

    def merit(alpha: float) -> tuple[int, float]:
        logits = check.at(alpha)
        return int((logits.argmax(-1) == check.targets).sum()), -float(cross_entropy(logits, check.targets))

    return max(ALPHAS, key=merit)


def _share(right: Sequence[bool]) -> Proportion:
    return wilson(sum(right), len(right))


def _p_value(before: Sequence[bool], after: Sequence[bool]) -> float:
    pairs = list(zip(before, after, strict=True))
    return mcnemar(sum(old and not new for old, new in pairs), sum(new and not old for old, new in pairs))


def _by_class(reinforcement: Reinforcement, place: int) -> dict[str, tuple[Proportion, Proportion]]:
    """Label -> Acc@1 before and after over all splits: what was forgotten shows here."""
    found: dict[int, list[tuple[bool, bool]]] = {}
    for one in reinforcement.answers.values():
        for target, old, new in zip(one.targets, one.right(0), one.right(place), strict=True):
            found.setdefault(target, []).append((old, new))
    pairs = {row: list(zip(*found[row], strict=True)) for row in sorted(found)}
    return {reinforcement.labels[row]: (_share(old), _share(new)) for row, (old, new) in pairs.items()}


def _names(splits: Mapping[str, Pictures], held_out: Sequence[Item]) -> dict[str, tuple[str, ...]]:
    """What every picture is called: by its key where it is of this store, else by its place in its test set."""
    keys = dict.fromkeys(item.photo_key for item in held_out)
    own = dict(zip(HELD_OUT, (tuple(keys), tuple(item.key for item in held_out)), strict=True))
    return {name: own.get(name) or tuple(map(str, range(len(pictures)))) for name, pictures in splits.items()}
