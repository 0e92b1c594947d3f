"""What a reproduction finds: the paper's two tables of every classifier with their intervals. Computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.analysis.weakness import Weakness
from pipeline.statistics.intervals import Change, Mean
from pipeline.types import Proportion

HYBRID = "Hybrid"
CHOSEN = "chosen"  # alpha, on validation
RIVALS = ("standard", "text-to-image", "reconstruction")

Condition = tuple[float, str]
"""Strength of the bias and classifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostCell:
    """One class under one factor: what the edits cost, and what the true counterfactuals of the same captions cost."""

    label: str
    factor: str
    n: int
    edits: Change  # of Acc@1, against the reconstruction
    truth: Change  # of Acc@1, against the photo


@dataclass(frozen=True, slots=True, kw_only=True)
class Weaknesses:
    """Table 1 of one classifier."""

    rows: tuple[Weakness, ...]
    by_tau: tuple[Weakness, ...]
    truth: tuple[Weakness, ...]  # () where no true counterfactual is known
    cells: tuple[CostCell, ...]  # of at least `MIN_PHOTOS` photos
    correlation: Mean | None  # Pearson's r of edits and truth over the cells, with Fisher's interval


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeScore:
    """One recipe on one test set."""

    recipe: str  # one of `METHODS`
    alpha: str  # "0.3", "1" or `CHOSEN`
    test: str
    accuracy: Mean  # Acc@1
    gain: Change  # over the classifier as it was
    over: dict[str, Change]  # rival -> over it with the same rule for alpha
    accuracy5: Mean  # Acc@5
    gain5: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One point of a curve: the gain in Acc@1 of the counterfactual recipe over the classifier as it was."""

    at: str  # alpha, a share of the training photos, or a factor
    test: str
    gain: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """Table 2 of one classifier, and what explains it."""

    baseline: dict[str, Proportion]  # test -> Acc@1 as it was
    baseline5: dict[str, Proportion]  # Acc@5
    scores: tuple[RecipeScore, ...]
    alphas: tuple[float, ...]  # chosen on validation, one per seed
    curve: tuple[CurvePoint, ...]  # over alpha
    by_number: tuple[CurvePoint, ...]
    by_factor: tuple[CurvePoint, ...]
    photos: int  # to train on, of the first seed
    counterfactuals: int  # made of them
    by_class: dict[str, Change]  # label -> gain over all tests: what was forgotten shows here


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Both tables of every classifier, and what they rest on; classifiers are told by strength of bias and name."""

    command: str
    photos: int
    tests: int  # pictures of T and of OOD each
    seeds: int
    replicates: int  # draws of the photos
    samples: int  # text-to-image pictures a counterfactual
    epochs: int  # at most
    training: int  # steps that the classifiers were trained for
    edits: int  # made over all tau
    counterfactuals: int  # chosen, that is passed every gate
    table_1: dict[Condition, Weaknesses]
    table_2: dict[Condition, Repair]


Curve = Callable[[Repair], Sequence[CurvePoint]]


def title_of(key: Condition) -> str:
    """Return "resnet, 0.95": the classifier, and the strength of the bias that it was trained with."""
    return f"{key[1]}, {key[0]:g}"


def best(found: Repair) -> dict[tuple[str, str], dict[str, RecipeScore]]:
    """Return every recipe at the alpha that validation chose, or at 1 where it does not blend."""
    known = by_recipe(found.scores)
    return {
        (name, alpha): scores
        for (name, alpha), scores in known.items()
        if alpha == CHOSEN or (name, CHOSEN) not in known
    }


def by_recipe(scores: Sequence[RecipeScore]) -> dict[tuple[str, str], dict[str, RecipeScore]]:
    """Return (recipe, alpha) -> test -> score."""
    found: dict[tuple[str, str], dict[str, RecipeScore]] = {}
    for score in scores:
        found.setdefault((score.recipe, score.alpha), {})[score.test] = score
    return found


def by_point(curve: Sequence[CurvePoint]) -> dict[str, dict[str, Change]]:
    """Return place on the curve -> test -> gain."""
    found: dict[str, dict[str, Change]] = {}
    for point in curve:
        found.setdefault(point.at, {})[point.test] = point.gain
    return found
