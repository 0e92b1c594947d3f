"""Reinforce a classifier: fine-tune its head on counterfactuals, and say what the blend with the old one answers.

Every layer but the head is frozen, so features are computed once and training, the curve over alpha and every figure
come from matrix products (`heads.py`). A recipe may unfreeze the last block too (`classifiers/last_block.py`): then its
inputs are computed once. What every alpha says is kept of validation and test pictures (`splits.py`) alike, but alpha
is chosen on the former: whoever sees the latter is noted (`saving.look_at`). Knows no file but checkpoints and those
of `Features`, and no page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.reinforcement.features import BlockInputs, Features
from pipeline.reinforcement.heads import EpochReport, Part, Theta, Training, train_head
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.splits import Split, checks_of, split_items, tests_of
from pipeline.reinforcement.training_data import Example, Pictures, lesson
from pipeline.types import Answers, Classifier, Reinforcement

ALPHAS = tuple(step / 10 for step in range(11))
FRACTIONS = (0.6, 0.2, 0.2)  # of the photos: training, validation, held-out


def reinforce(
    classifier: Classifier,
    items: Sequence[Example],
    evaluation: Mapping[str, Pictures],
    recipe: Recipe,
    progress: EpochReport | None = None,
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
    tests = tests_of(classifier, evaluation, [*parts[0], *parts[1]], parts[2])
    known = BlockInputs(classifier) if recipe.unfreeze == "last-block" else features or Features(classifier)
    theta_0 = known.theta_0()
    known.refuse_foreign_head(theta_0, items[0].photo)
    training = train(known, parts[0], parts[1], recipe, progress, checkpoint)
    alphas = tuple(sorted({*ALPHAS, *(() if recipe.blend is None else (recipe.blend,))}))
    answers, validation = (
        _answers(known, training.theta, splits, alphas) for splits in (tests, checks_of(parts[1], recipe))
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
    items: Sequence[Example],
    validation: Sequence[Example],
    recipe: Recipe,
    progress: EpochReport | None = None,
    checkpoint: Path | None = None,
) -> Training:
    """Return theta_1, from the items of two sets of photos; no other picture is looked at."""
    theta_0 = features.theta_0()
    taught, checked = lesson(items, recipe), lesson(validation, recipe)
    kind, fit = recipe.how.kind, recipe.how.fit
    part, check = (features.part(split.pictures, keep=kind.returns) for split in (taught, checked))

    def of(epoch: int) -> Part:
        return features.part(lesson(items, recipe, epoch).pictures, keep=kind.returns)

    if fit:
        return fit(part, taught.groups, check, theta_0, recipe.seed)
    return train_head(
        of if kind.varies else part,
        check,
        theta_0,
        recipe=recipe,
        progress=progress,
        checkpoint=checkpoint,
        network=features.logits,
    )


def _answers(
    features: Features, theta_1: Theta, splits: Mapping[str, Split], alphas: Sequence[float]
) -> dict[str, Answers]:
    theta_0 = features.theta_0()
    return {
        name: features.blend(theta_0, theta_1, split.pictures).answers(alphas, split.names, split.photos)
        for name, split in splits.items()
    }


def checkpoint_file(root: Path, classifier: str, recipe: Recipe) -> Path:
    """Return where in a data folder the training of this recipe is kept until it ends."""
    plain = "".join(char if char.isalnum() or char in "-_" else "-" for char in classifier)[-60:]
    what = "" if recipe.unfreeze == "head" else f"-{recipe.unfreeze}"
    return root / ".training" / f"{plain}-{recipe.method}{what}-{recipe.seed}.safetensors"


def _best_alpha(checks: Sequence[Answers], alphas: Sequence[float]) -> float:
    """Return the alpha with the best Acc@1 over all validation pictures; among equals the one with the lowest loss."""

    def merit(place: int) -> tuple[int, float]:
        right = sum(sum(answers.hits(place)) for answers in checks)
        return right, -sum(answers.losses[place] * len(answers.targets) for answers in checks)

    return alphas[max((place for place, alpha in enumerate(alphas) if alpha in ALPHAS), key=merit)]
