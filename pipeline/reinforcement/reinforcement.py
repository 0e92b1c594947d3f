"""Reinforce a classifier: fine-tune its head on counterfactuals, blend it with the old one, say what came of it.

Every layer but the head is frozen, so features are computed once and training, the curve over alpha and every figure
come from matrix products (`heads.py`). A recipe may unfreeze the last block too (`classifiers/blocks.py`): then its
inputs are computed once. Photos are split by source, never by edit: training, validation (early stopping, alpha)
and held-out test share no photo. What every alpha says is kept of validation and test pictures alike, but alpha is
chosen on the former: whoever sees the latter is noted (`look_at`). Knows no file but those of a run and of `Features`,
and no page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol, Self, runtime_checkable

import torch

from pipeline.classifiers.last_block import Unfreezable
from pipeline.curation.selection import split_by_photo
from pipeline.errors import DataError, ModelError, SettingsError, StoreError
from pipeline.reinforcement.blending import Logits
from pipeline.reinforcement.cards import card, metrics
from pipeline.reinforcement.features import BlockInputs, Features, pixels, refuse_unknown
from pipeline.reinforcement.heads import (
    METHODS,
    Epoch,
    Part,
    Progress,
    Recipe,
    Theta,
    Training,
    balanced_regression,
    interpolate,
    train_head,
)
from pipeline.reinforcement.runs import add_look, read_run, write_run
from pipeline.reinforcement.training_data import ANEW, Item, Pictures, lesson
from pipeline.runtime.staging import new_folder
from pipeline.store.media import write_whole
from pipeline.types import Answers, Classifier, Look, Reinforcement

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
    "look_at",
    "looked",
    "reinforce",
    "save",
    "train",
    "train_head",
]

ALPHAS = tuple(step / 10 for step in range(11))
FRACTIONS = (0.6, 0.2, 0.2)  # of the photos: training, validation, held-out
INSTEAD = {"standard": "augmentations", "reconstruction": "reconstructions", "text-to-image": "samples"}  # of edits
HELD_OUT = ("held-out originals", "held-out counterfactuals")
BROKEN, FAILING, FIXED = KINDS = ("newly broken", "still failing", "fixed")


class Answer(NamedTuple):
    """One picture that a classifier names wrong before or after."""

    split: str
    name: str  # as in `Answers`
    photo: str  # as in `Answers`; where it was not kept, the name
    kind: str  # one of `KINDS`
    label: str
    before: str
    after: str


class _Split(NamedTuple):
    """Pictures with what `Answers` calls them and the photo of each."""

    pictures: Pictures
    names: Sequence[str]
    photos: Sequence[str]


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
    """Train the head on the items, choose alpha on validation and note what theta(alpha) says of every split.

    The originals and the counterfactuals of held-out source photos are two more splits beside `evaluation`. `features`
    spares those that are known; with `checkpoint` a training that was cut off goes on where it was. Raises `DataError`
    for no items, a single class, too few photos to split, and an evaluation picture that is trained on; `LabelError`
    for labels that the classifier does not know.
    """
    parts = split_items(classifier, items, FRACTIONS, recipe.seed)
    tests = _tests(classifier, evaluation, [*parts[0], *parts[1]], parts[2])
    known = BlockInputs(classifier) if recipe.unfreeze == "last-block" else features or Features(classifier)
    theta_0 = known.theta_0()
    known.refuse_foreign_head(theta_0, items[0].photo)
    training = train(known, parts[0], parts[1], recipe, progress, checkpoint)
    alphas = tuple(sorted({*ALPHAS, *(() if recipe.blend is None else (recipe.blend,))}))
    answers, validation = (
        _answers(known, training.theta, splits, alphas) for splits in (tests, _checks(parts[1], recipe))
    )
    chosen = _best_alpha(list(validation.values()), alphas)
    return Reinforcement(
        classifier=classifier.name,
        labels=classifier.labels,
        theta_0=theta_0,
        theta_1=training.theta,
        alphas=alphas,
        alpha=chosen if recipe.blend is None else recipe.blend,
        chosen=chosen,
        given=recipe.blend,
        answers=answers,
        validation=validation,
        losses=training.losses,
        accuracies=training.accuracies,
        method=recipe.method,
        seed=recipe.seed,
        stopped=training.stopped,
        block=known.block,
        parameters=known.names,
    )


def train(
    features: Features,
    items: Sequence[Item],
    validation: Sequence[Item],
    recipe: Recipe,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Training:
    """Return theta_1, from the items of two sets of photos; no other picture is looked at."""
    theta_0 = features.theta_0()
    taught, checked = lesson(items, recipe), lesson(validation, recipe)
    lasting = recipe.method != "standard"
    part, check = (features.part(one.pictures, keep=lasting) for one in (taught, checked))

    def of(epoch: int) -> Part:
        return features.part(lesson(items, recipe, epoch).pictures, keep=lasting)

    if recipe.method == "dfr":
        return balanced_regression(part, taught.groups, check, theta_0, recipe.seed)
    return train_head(
        of if recipe.method in ANEW else part,
        check,
        theta_0,
        recipe=recipe,
        progress=progress,
        checkpoint=checkpoint,
        network=features.logits,
    )


def _answers(
    features: Features, theta_1: Theta, splits: Mapping[str, _Split], alphas: Sequence[float]
) -> dict[str, Answers]:
    theta_0 = features.theta_0()
    return {
        name: features.blend(theta_0, theta_1, one.pictures).answers(alphas, one.names, one.photos)
        for name, one in splits.items()
    }


def checkpoint_file(root: Path, classifier: str, recipe: Recipe) -> Path:
    """Where in a data folder the training of this recipe is kept until it ends."""
    plain = "".join(char if char.isalnum() or char in "-_" else "-" for char in classifier)[-60:]
    what = "" if recipe.unfreeze == "head" else f"-{recipe.unfreeze}"
    return root / ".training" / f"{plain}-{recipe.method}{what}-{recipe.seed}.safetensors"


def at_alpha(reinforcement: Reinforcement, alpha: float) -> Reinforcement:
    """Return the same training blended at another alpha of the curve; nothing is trained.

    Raises `SettingsError` for an alpha that is not on the curve.
    """
    for step in reinforcement.alphas:
        if abs(step - alpha) < 1e-9:
            return replace(reinforcement, alpha=step)
    raise SettingsError(
        f"alpha {alpha} was not measured; use one of {', '.join(f'{one:g}' for one in reinforcement.alphas)}."
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


def changes(reinforcement: Reinforcement, answers: Mapping[str, Answers]) -> tuple[Answer, ...]:
    """Return what theta_0 or theta(alpha) names wrong, one entry per picture, in the order of the splits.

    `answers` are the run's own `answers` or `validation`.
    """
    place = reinforcement.alphas.index(reinforcement.alpha)
    found = []
    for split, one in answers.items():
        rows = zip(one.names, one.photos or one.names, one.targets, one.predicted[0], one.predicted[place], strict=True)
        for name, photo, target, before, after in rows:
            if before == after == target:
                continue
            kind = FIXED if after == target else BROKEN if before == target else FAILING
            labels = (reinforcement.labels[row] for row in (target, before, after))
            found.append(Answer(split, name, photo, kind, *labels))
    return tuple(found)


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
        raise StoreError(f"The card of {folder.name} cannot be written: {error.strerror}; free some space.") from error


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


def _tests(
    classifier: Classifier, evaluation: Mapping[str, Pictures], seen: Sequence[Item], held_out: Sequence[Item]
) -> dict[str, _Split]:
    """Everything to measure on, by name: nothing of it has been seen in training or validation."""
    for pictures in evaluation.values():
        refuse_unknown(classifier, {label for _, label in pictures})
    refuse_leaks(seen, evaluation)
    given = {name: _own(pictures) for name, pictures in evaluation.items()}
    made = [(item.counterfactual, item.shown) for item in held_out]
    own = (_originals(held_out), _Split(made, [item.key for item in held_out], [item.photo_key for item in held_out]))
    found = {name: one for name, one in (*given.items(), *zip(HELD_OUT, own, strict=True)) if one.pictures}
    if not found:
        raise DataError("No picture is left to evaluate on; study more photos, or give an evaluation folder.")
    return found


def _checks(items: Sequence[Item], recipe: Recipe) -> dict[str, _Split]:
    """The validation pictures by name: what the recipe learns from, and the originals where it learns from them."""
    made = lesson(items, replace(recipe, originals=False)).pictures
    what = INSTEAD.get(recipe.method, "counterfactuals")
    names = ["" if recipe.method in INSTEAD else item.key for item in items]
    found = {f"validation {what}": _Split(made, names, [item.photo_key for item in items])}
    return ({"validation originals": _originals(items)} if recipe.originals else {}) | found


def _originals(items: Sequence[Item]) -> _Split:
    """The photos of the items, each once."""
    photos = {item.photo_key: (item.photo, item.label) for item in items}
    return _Split(list(photos.values()), list(photos), list(photos))


def _own(pictures: Pictures) -> _Split:
    """A test set, each of whose pictures is a photo of its own; it is called by its place."""
    names = list(map(str, range(len(pictures))))
    return _Split(pictures, names, names)


def _best_alpha(checks: Sequence[Answers], alphas: Sequence[float]) -> float:
    """The alpha with the best Acc@1 over all validation pictures; among equals the one with the lowest loss."""

    def merit(place: int) -> tuple[int, float]:
        right = sum(sum(one.hits(place)) for one in checks)
        return right, -sum(one.losses[place] * len(one.targets) for one in checks)

    return alphas[max((place for place, one in enumerate(alphas) if one in ALPHAS), key=merit)]
