"""The paper's two tables: what counterfactuals cost a classifier, and what learning from them gains.

Table 1 is the change of Acc@1 and Acc@5 by class, on the edits and, where the true counterfactuals are known, on those
too. Table 2 is the accuracy of every recipe on T, OOD and both together (Hybrid), over several seeds, each of which
splits the photos anew; no test picture is ever learnt from. Means over seeds carry bootstrap intervals that resample
seeds and pictures at once. Asks no model but the classifier, and that once per picture (`pipeline/features.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch.nn.functional import linear

from pipeline.curation import chosen, split_by_photo
from pipeline.features import Features
from pipeline.heads import METHODS, Recipe
from pipeline.intervals import Change, Mean, crossed_mean
from pipeline.lessons import Item, Pictures
from pipeline.reinforcement import ALPHAS, Logits, refuse_leaks, split_items, train
from pipeline.types import Prediction, Study
from pipeline.weakness import ALL, Weakness, weakness, weakness_by_tau

FRACTIONS = (0.75, 0.25)  # of the photos: training and validation; the test pictures are others
SHARES = (0.25, 0.5, 1.0)  # of the training photos, for the gain over their number
HYBRID = "Hybrid"
CHOSEN = "chosen"  # alpha, on validation


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
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
    cells: tuple[Cell, ...]  # of at least `MIN_PHOTOS` photos
    correlation: Mean | None  # Pearson's r of edits and truth over the cells, with Fisher's interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One recipe on one test set."""

    recipe: str  # one of `METHODS`
    alpha: str  # "0.3", "1" or `CHOSEN`
    test: str
    n: int
    accuracy: Mean  # Acc@1 over seeds
    gain: Mean  # over the classifier as it was
    over_standard: Mean  # over plain augmentation with the same rule for alpha
    accuracy5: Mean  # Acc@5
    gain5: Mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a curve: the gain in Acc@1 of the counterfactual recipe over the classifier as it was."""

    at: str  # alpha, a share of the training photos, or a factor
    test: str
    gain: Mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """Table 2 of one classifier, and what explains it."""

    baseline: dict[str, Mean]  # test -> Acc@1 as it was
    scores: tuple[Score, ...]
    alphas: tuple[float, ...]  # chosen on validation, one per seed
    curve: tuple[Point, ...]  # over alpha
    by_number: tuple[Point, ...]
    by_factor: tuple[Point, ...]
    photos: int  # to train on, of the first seed
    counterfactuals: int  # made of them
    by_class: dict[str, Mean]  # label -> gain over all tests: what was forgotten shows here


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Both tables of every classifier, and what they rest on."""

    command: str
    photos: int
    tests: int  # pictures of T and of OOD each
    seeds: int
    learning_rate: float
    edits: int  # made over all tau
    counterfactuals: int  # chosen, that is passed every gate
    table_1: dict[str, Weaknesses]  # classifier ->
    table_2: dict[str, Repair]


Hits = NDArray[np.floating]
"""(seeds, pictures), 1 where a picture is named right."""


def weaknesses(features: Features, studies: Sequence[Study], truth: Mapping[str, Image]) -> Weaknesses:
    """Table 1: `truth` holds the true picture of some counterfactuals by their key."""
    seen = [_seen_by(features, study) for study in studies]
    known = [_only(study, truth) for study in seen]
    true = [_true(features, study, truth) for study in known]
    pairs = zip(_by_cell(weakness(known)).items(), _by_cell(weakness(true)).values(), strict=True)
    cells = tuple(
        Cell(label=label, factor=factor, n=row.n, edits=row.delta_acc1, truth=other.delta_acc1)
        for ((label, factor), row), other in pairs
        if not row.too_few
    )
    return Weaknesses(
        rows=weakness(seen),
        by_tau=weakness_by_tau(seen),
        truth=weakness(true),
        cells=cells,
        correlation=_correlation(cells),
    )


def items_of(studies: Sequence[Study], samples: Mapping[str, Image]) -> tuple[Item, ...]:
    """Every chosen counterfactual with what the rival recipes take in its place; `samples` by edited caption."""
    return tuple(
        Item(
            label=study.photo.label,
            photo=study.photo.image,
            counterfactual=one.image,
            photo_key=study.photo.key,
            factor=one.perturbation.factor,
            reconstruction=study.reconstruction,
            sample=samples.get(one.perturbation.edited_caption),
        )
        for study in studies
        for one in chosen(study)
    )


def repair(
    features: Features, items: Sequence[Item], tests: Mapping[str, Pictures], recipe: Recipe, seeds: int
) -> Iterator[int | Repair]:
    """Table 2: yields the number of trainings done, at last the table; raises as `split_items` and `refuse_leaks`."""
    refuse_leaks(items, tests)
    bench = _Bench(features, tests)
    methods = [name for name in METHODS if name != "text-to-image" or all(item.sample for item in items)]
    runs: dict[str, list[_Run]] = {name: [] for name in methods}
    shares: dict[str, list[_Run]] = {}
    factors: dict[str, list[_Run]] = {}
    done = 0
    for seed in range(seeds):
        taught, checked = split_items(features.classifier, items, FRACTIONS, seed)
        plan = [(runs, name, name, taught, checked) for name in methods]
        plan += [(shares, name, "counterfactual", part, checked) for name, part in _parts(taught, seed)]
        plan += [
            (factors, factor, "counterfactual", _of(factor, taught), _of(factor, checked))
            for factor in sorted({item.factor for item in items})
        ]  # fmt: skip
        for place, key, method, part, check in plan:
            if not part or not check:
                continue
            place.setdefault(key, []).append(bench.run(part, check, replace(recipe, method=method, seed=seed)))
            done += 1
            yield done
    taught = split_items(features.classifier, items, FRACTIONS, 0)[0]
    table = _table(bench, runs, shares, factors, recipe)
    yield replace(table, photos=len({item.photo_key for item in taught}), counterfactuals=len(taught))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """One training: what theta(alpha) makes of the test pictures."""

    logits: Logits
    blend: float  # the recipe's own alpha
    chosen: float  # on validation


class _Bench:
    """The test pictures under one classifier."""

    def __init__(self, features: Features, tests: Mapping[str, Pictures]) -> None:
        self.features = features
        pictures = [one for part in tests.values() for one in part]
        self.labels = [label for _, label in pictures]
        self.part = features.part(pictures)
        names = np.repeat(list(tests), [len(part) for part in tests.values()])
        self.masks = {name: names == name for name in tests} | {HYBRID: np.ones(len(names), bool)}

    def run(self, taught: Sequence[Item], checked: Sequence[Item], recipe: Recipe) -> _Run:
        training, best = train(self.features, taught, checked, replace(recipe, alpha=None))
        theta_0 = self.features.classifier.head()
        blend = recipe.blend if recipe.blend is not None else best
        return _Run(logits=Logits.of(theta_0, training.theta, self.part), blend=blend, chosen=best)

    def before(self, k: int = 1) -> Hits:
        """(1, pictures) under the classifier as it was."""
        return _hits(linear(self.part.features, *self.features.classifier.head()), self.part.targets, k)[None]


def _table(
    bench: _Bench,
    runs: Mapping[str, Sequence[_Run]],
    shares: Mapping[str, Sequence[_Run]],
    factors: Mapping[str, Sequence[_Run]],
    recipe: Recipe,
) -> Repair:
    main, before = runs["counterfactual"], bench.before()

    def points(groups: Mapping[str, Hits]) -> tuple[Point, ...]:
        return tuple(
            Point(at=at, test=test, gain=crossed_mean((after - before)[:, mask]))
            for at, after in groups.items()
            for test, mask in bench.masks.items()
        )

    gained = _after(main, None) - before
    return Repair(
        baseline={test: crossed_mean(before[:, mask]) for test, mask in bench.masks.items()},
        scores=tuple(_scores(bench, runs, recipe)),
        alphas=tuple(run.chosen for run in main),
        photos=0,
        counterfactuals=0,
        curve=points({f"{alpha:g}": _after(main, alpha) for alpha in ALPHAS}),
        by_number=points({number: _after(group, None) for number, group in shares.items()}),
        by_factor=points({factor: _after(group, None) for factor, group in factors.items()}),
        by_class={
            label: crossed_mean(gained[:, np.asarray(bench.labels) == label]) for label in sorted(set(bench.labels))
        },
    )


def _scores(bench: _Bench, runs: Mapping[str, Sequence[_Run]], recipe: Recipe) -> Iterator[Score]:
    """Every recipe at its own alpha and, where it blends, at the one chosen on validation."""
    for name, group in runs.items():
        blend = replace(recipe, method=name).blend
        rules: dict[str, float | None] = {CHOSEN: None} if blend is None else {f"{blend:g}": blend}
        if blend != 1.0:
            rules[CHOSEN] = None
        for rule, alpha in rules.items():
            after, after5 = _after(group, alpha), _after(group, alpha, k=5)
            standard = _after(runs["standard"], recipe.alpha if rule != CHOSEN else None)
            for test, mask in bench.masks.items():
                yield Score(
                    recipe=name,
                    alpha=rule,
                    test=test,
                    n=int(mask.sum()),
                    accuracy=crossed_mean(after[:, mask]),
                    gain=crossed_mean((after - bench.before())[:, mask]),
                    over_standard=crossed_mean((after - standard)[:, mask]),
                    accuracy5=crossed_mean(after5[:, mask]),
                    gain5=crossed_mean((after5 - bench.before(5))[:, mask]),
                )


def _after(group: Sequence[_Run], alpha: float | None, k: int = 1) -> Hits:
    """(seeds, pictures) at this alpha; None: each at the one chosen on validation."""
    at = [run.logits.at(run.chosen if alpha is None else alpha) for run in group]
    return np.stack([_hits(logits, run.logits.targets, k) for logits, run in zip(at, group, strict=True)])


def _hits(logits: torch.Tensor, targets: torch.Tensor, k: int) -> Hits:
    """(pictures,) 1.0 where the target is among the k best."""
    best = logits.topk(min(k, logits.shape[1])).indices
    return (best == targets[:, None]).any(1).double().numpy()


def _parts(taught: Sequence[Item], seed: int) -> Iterator[tuple[str, list[Item]]]:
    """The first quarter, half and all of the training photos, every class in each."""
    labels = {item.photo_key: item.label for item in taught}
    for share in SHARES:
        keys = set(split_by_photo(list(labels), (share, 1 - share), seed, labels)[0])
        yield f"{share:.0%}", [item for item in taught if item.photo_key in keys]


def _of(factor: str, items: Sequence[Item]) -> list[Item]:
    return [item for item in items if item.factor == factor]


def _seen_by(features: Features, study: Study) -> Study:
    """The study with this classifier's predictions."""
    images = [study.photo.image, *(one.image for one in study.counterfactuals)]
    control = [study.reconstruction] if study.reconstruction is not None else []
    found = _predict(features, [*images, *control], study.photo.label)
    return replace(
        study,
        photo=replace(study.photo, prediction=found[0], classifier=features.classifier.name),
        control=found[-1] if control else None,
        counterfactuals=tuple(
            replace(one, prediction=found[place]) for place, one in enumerate(study.counterfactuals, start=1)
        ),
    )


def _only(study: Study, truth: Mapping[str, Image]) -> Study:
    """The chosen counterfactuals whose truth is known."""
    return replace(study, counterfactuals=tuple(one for one in chosen(study) if one.key in truth))


def _true(features: Features, study: Study, truth: Mapping[str, Image]) -> Study:
    """The same with the true pictures, which no inversion went through: their control is the photo."""
    found = _predict(features, [truth[one.key] for one in study.counterfactuals], study.photo.label)
    made = zip(study.counterfactuals, found, strict=True)
    counterfactuals = tuple(replace(one, image=truth[one.key], prediction=prediction) for one, prediction in made)
    return replace(study, control=study.photo.prediction, counterfactuals=counterfactuals)


def _predict(features: Features, images: Sequence[Image], label: str) -> list[Prediction]:
    if not images:
        return []
    logits = linear(features.part([(image, label) for image in images]).features, *features.classifier.head())
    labels = features.classifier.labels
    return [Prediction(labels=labels, probabilities=tuple(row)) for row in logits.double().softmax(-1).tolist()]


def _by_cell(rows: Sequence[Weakness]) -> dict[tuple[str, str], Weakness]:
    inner = (row for row in rows if ALL not in (row.label, row.factor))
    return {(row.label, row.factor): row for row in sorted(inner, key=lambda row: (row.label, row.factor))}


def _correlation(cells: Sequence[Cell]) -> Mean | None:
    """Pearson's r with Fisher's interval; None of fewer than 4 cells or when one side never changes."""
    if len(cells) < 4:
        return None
    edits, truth = np.array([cell.edits.value for cell in cells]), np.array([cell.truth.value for cell in cells])
    if np.ptp(edits) == 0 or np.ptp(truth) == 0:
        return None
    r = float(np.clip(np.corrcoef(edits, truth)[0, 1], -1 + 1e-9, 1 - 1e-9))
    reach = 1.959963984540054 / np.sqrt(len(cells) - 3)
    low, high = np.tanh(np.arctanh(r) - reach), np.tanh(np.arctanh(r) + reach)
    return Mean(n=len(cells), value=r, low=float(low), high=float(high))
