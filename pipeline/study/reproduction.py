"""The paper's two tables: what counterfactuals cost a classifier, and what learning from them gains.

Table 1 is the change of Acc@1 and Acc@5 by class, on the edits and, where the true counterfactuals are known, on those
too. Table 2 is the accuracy of every recipe on T, OOD and both together (Hybrid), over several seeds, each of which
splits the photos anew; no test picture is ever learnt from or chosen by. All recipes have the same settings to choose
from (learning rate, epochs, alpha) and choose by the same validation pictures. Intervals resample the photos with
everything that follows from them (`reinforcement/refits.py`), and the test pictures. Asks no model but the classifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import linear

from pipeline.analysis.weakness import ALL, Weakness, weakness, weakness_by_tau
from pipeline.curation.selection import chosen
from pipeline.reinforcement.features import Features
from pipeline.reinforcement.heads import METHODS, Recipe
from pipeline.reinforcement.refits import ALPHAS, Bank, Draw, Fits, among, draws, refit, refitted, right
from pipeline.reinforcement.training_data import Item, Pictures, augment
from pipeline.statistics.intervals import Change, Mean, adjusted, wilson
from pipeline.types import Prediction, Proportion, Study

FRACTIONS = (0.75, 0.25)  # of the photos: training and validation; the test pictures are others
SHARES = (0.25, 0.5, 1.0)  # of the training photos, for the gain over their number
RATES = (1e-3, 3e-3, 1e-2)  # learning rates that every recipe has to choose from
ASIDE = 8  # draws of the photos, at most, behind the gains over their number and by factor
HYBRID = "Hybrid"
CHOSEN = "chosen"  # alpha, on validation
RIVALS = ("standard", "text-to-image", "reconstruction")
KINDS = {"standard": "standard", "reconstruction": "reconstruction", "text-to-image": "text-to-image"}


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
    accuracy: Mean  # Acc@1
    gain: Change  # over the classifier as it was
    over: dict[str, Change]  # rival -> over it with the same rule for alpha
    accuracy5: Mean  # Acc@5
    gain5: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a curve: the gain in Acc@1 of the counterfactual recipe over the classifier as it was."""

    at: str  # alpha, a share of the training photos, or a factor
    test: str
    gain: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """Table 2 of one classifier, and what explains it."""

    baseline: dict[str, Proportion]  # test -> Acc@1 as it was
    baseline5: dict[str, Proportion]  # Acc@5
    scores: tuple[Score, ...]
    alphas: tuple[float, ...]  # chosen on validation, one per seed
    curve: tuple[Point, ...]  # over alpha
    by_number: tuple[Point, ...]
    by_factor: tuple[Point, ...]
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
    table_1: dict[tuple[float, str], Weaknesses]  # (strength, classifier) ->
    table_2: dict[tuple[float, str], Repair]


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


def items_of(studies: Sequence[Study], samples: Mapping[str, Sequence[Image]]) -> tuple[Item, ...]:
    """Return every chosen counterfactual with what rival recipes take in its place; `samples` by counterfactual."""
    return tuple(
        Item(
            label=study.photo.label,
            photo=study.photo.image,
            counterfactual=one.image,
            photo_key=study.photo.key,
            factor=one.perturbation.factor,
            reconstruction=study.reconstruction,
            samples=tuple(samples.get(one.key, ())),
            key=one.key,
        )
        for study in studies
        for one in chosen(study)
    )


def views_of(classifiers: Mapping[str, Features], items: Sequence[Item], depth: int, folder: Path) -> None:
    """Draw `depth` plain augmentations of the photo for every item and keep their features under every classifier.

    A view is drawn once for all classifiers; what the folder holds already is not made again.
    """
    for photo in dict.fromkeys(item.photo_key for item in items):
        missing = [name for name in classifiers if not _views_file(folder, name, photo).is_file()]
        mine = [item for item in items if item.photo_key == photo]
        if not missing:
            continue
        drawn = [
            (augment(item.photo, f"{photo}:{place}:{epoch}"), item.label)
            for place, item in enumerate(mine)
            for epoch in range(depth)
        ]
        for name in missing:
            seen = classifiers[name].part(drawn, keep=False).features
            file = _views_file(folder, name, photo)
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file({"views": seen.view(len(mine), depth, -1).half()}, file.with_suffix(".part"))
            file.with_suffix(".part").replace(file)


def bank_of(features: Features, items: Sequence[Item], views: Path, name: str) -> Bank:
    """Return the features of everything the recipes learn from; those of `views_of` come from its folder."""
    photos = {item.photo_key: (item.photo, item.label) for item in items}
    keys, targets = tuple(photos), [(item.counterfactual, item.label) for item in items]
    counterfactuals, plain = features.part(targets), features.part(list(photos.values()))
    kinds = {"counterfactual": counterfactuals.features[:, None]}
    if all(item.reconstruction for item in items):
        kinds["reconstruction"] = features.part(
            [(item.reconstruction, item.label) for item in items if item.reconstruction]
        ).features[:, None]
    if least := min(len(item.samples) for item in items):
        drawn = features.part([(image, item.label) for item in items for image in item.samples[:least]])
        kinds["text-to-image"] = drawn.features.view(len(items), least, -1)
    place = np.array([keys.index(item.photo_key) for item in items])
    standard = {key: load_file(_views_file(views, name, key))["views"].float() for key in keys}
    order = [int((place[:number] == photo).sum()) for number, photo in enumerate(place)]
    kinds["standard"] = torch.stack([standard[keys[photo]][row] for photo, row in zip(place, order, strict=True)])
    return Bank(
        photo_keys=keys,
        labels={key: label for key, (_, label) in photos.items()},
        photo=place,
        factors=tuple(item.factor for item in items),
        photos=plain.features,
        kinds=kinds,
        targets=torch.cat([counterfactuals.targets, plain.targets]),
    )


def _views_file(folder: Path, name: str, photo: str) -> Path:
    return folder / name / f"{photo[:32]}.safetensors"


def repair(
    features: Features,
    bank: Bank,
    tests: Mapping[str, Pictures],
    recipe: Recipe,
    *,
    seeds: int,
    replicates: int,
    folder: Path,
) -> Iterator[int | Repair]:
    """Table 2: yields the number of refits done, at last the table; refits that `folder` holds are not made again."""
    bench = _Bench(features, tests, bank, recipe, draws(bank, FRACTIONS, replicates, seeds), seeds, folder)
    everything = np.ones(len(bank.factors), bool)
    known = [name for name in METHODS if KINDS.get(name, "counterfactual") in bank.kinds and name != "fine-tuning"]
    plan = [("recipes", name, name, everything, 1.0) for name in known]
    plan += [("shares", f"{share:.0%}", "counterfactual", everything, share) for share in SHARES if share < 1]
    plan += [
        ("factors", factor, "counterfactual", np.array(bank.factors) == factor, 1.0)
        for factor in sorted(set(bank.factors))
    ]
    fits: dict[str, dict[str, Fits]] = {"recipes": {}, "shares": {}, "factors": {}}
    for done, (place, key, method, some, share) in enumerate(plan, start=1):
        count = len(bench.draws) if place == "recipes" else seeds * (1 + min(ASIDE, replicates))
        fits[place][key] = bench.fit(f"{place}-{key}", method, some, share, bench.draws[:count])
        yield done
    fits["recipes"]["fine-tuning"] = fits["shares"][f"{1:.0%}"] = fits["recipes"]["counterfactual"]
    yield _table(bench, fits["recipes"], fits["shares"], fits["factors"])


class _Bench:
    """The draws of the photos and the test pictures under one classifier."""

    def __init__(
        self,
        features: Features,
        tests: Mapping[str, Pictures],
        bank: Bank,
        recipe: Recipe,
        drawn: Sequence[Draw],
        seeds: int,
        folder: Path,
    ) -> None:
        self.bank, self.recipe, self.draws, self.seeds, self.folder = bank, recipe, drawn, seeds, folder
        self.theta_0 = features.classifier.head()
        pictures = [one for part in tests.values() for one in part]
        self.labels = np.asarray([label for _, label in pictures])
        self.part = features.part(pictures)
        names = np.repeat(list(tests), [len(part) for part in tests.values()])
        self.masks = {name: names == name for name in tests} | {HYBRID: np.ones(len(names), bool)}

    def fit(self, name: str, method: str, items: NDArray[np.bool_], share: float, drawn: Sequence[Draw]) -> Fits:
        """Return a head per draw, from these items of this share of its training photos."""
        file = self.folder / f"{name}.safetensors"
        if file.is_file():
            return Fits(**load_file(file))
        taught = [self.bank.rows(_first(one.taught, share, self.bank), items) for one in drawn]
        checked = [self.bank.rows(one.checked) for one in drawn]
        recipe = replace(self.recipe, method=method)
        fits = refit(self.bank, KINDS.get(method, "counterfactual"), taught, checked, self.theta_0, recipe, RATES)
        self.folder.mkdir(parents=True, exist_ok=True)
        save_file({key: one.contiguous() for key, one in fits._asdict().items()}, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)
        return fits

    def before(self, k: int = 1) -> NDArray[np.floating]:
        """Return (pictures,) under the classifier as it was."""
        return among(linear(self.part.features, *self.theta_0), self.part.targets, k).astype(float)

    def after(self, fits: Fits, alpha: float | None, k: int = 1) -> NDArray[np.floating]:
        """Return (1 + replicates, pictures): the share of seeds that name each right, at the chosen alpha for None."""
        found = right(self.theta_0, fits, alpha, self.part, k)
        return np.asarray(found.reshape(-1, self.seeds, found.shape[1]).mean(axis=1))

    def change(self, values: NDArray[np.floating]) -> Change:
        """Return the change that (1 + replicates, pictures) of differences show."""
        value, low, high, p = refitted(values)
        photos = len(self.bank.photo_keys)
        return Change(n=values.shape[1], photos=photos, value=value, low=low, high=high, p=p, p_adjusted=p)

    def mean(self, values: NDArray[np.floating]) -> Mean:
        """Return the accuracy that (1 + replicates, pictures) show."""
        value, low, high, _ = refitted(values, (0.0, 1.0))
        return Mean(n=values.shape[1], photos=len(self.bank.photo_keys), value=value, low=low, high=high)


def _first(photos: Sequence[int], share: float, bank: Bank) -> list[int]:
    """Return this share of the photos, every class in it: each class's first ones in the order of the split."""
    if share == 1:
        return list(photos)
    of: dict[str, list[int]] = {}
    for photo in photos:
        of.setdefault(bank.labels[bank.photo_keys[photo]], []).append(photo)
    return [photo for group in of.values() for photo in group[: max(1, round(share * len(group)))]]


def _table(
    bench: _Bench, recipes: Mapping[str, Fits], shares: Mapping[str, Fits], factors: Mapping[str, Fits]
) -> Repair:
    main, before, before5 = recipes["counterfactual"], bench.before(), bench.before(5)

    def points(groups: Mapping[str, tuple[Fits, float | None]]) -> tuple[Point, ...]:
        after = {at: bench.after(fits, alpha) - before for at, (fits, alpha) in groups.items()}
        return tuple(
            Point(at=at, test=test, gain=bench.change(gained[:, mask]))
            for at, gained in after.items()
            for test, mask in bench.masks.items()
        )

    gained = bench.after(main, None) - before
    labels = sorted(set(bench.labels))
    by_class = adjusted([bench.change(gained[:, bench.labels == label]) for label in labels])
    taught = bench.draws[0].taught
    return Repair(
        baseline={test: _share(before[mask]) for test, mask in bench.masks.items()},
        baseline5={test: _share(before5[mask]) for test, mask in bench.masks.items()},
        scores=tuple(_scores(bench, recipes)),
        alphas=tuple(round(float(alpha), 1) for alpha in main.alpha[: bench.seeds]),
        photos=len(taught),
        counterfactuals=len(bench.bank.rows(taught)) - len(taught),
        curve=points({f"{alpha:g}": (main, alpha) for alpha in ALPHAS[1:]}),
        by_number=points({share: (fits, None) for share, fits in sorted(shares.items(), key=lambda one: len(one[0]))}),
        by_factor=points({factor: (fits, None) for factor, fits in factors.items()}),
        by_class=dict(zip(labels, by_class, strict=True)),
    )


def _share(hits: NDArray[np.floating]) -> Proportion:
    return wilson(int(hits.sum()), len(hits))


def _scores(bench: _Bench, recipes: Mapping[str, Fits]) -> Iterator[Score]:
    """Every recipe at its own alpha and, where it blends, at the one chosen on validation."""
    recipe, before, before5 = bench.recipe, bench.before(), bench.before(5)
    for name, fits in recipes.items():
        blend = replace(recipe, method=name).blend
        rules: dict[str, float | None] = {CHOSEN: None} if blend is None else {f"{blend:g}": blend}
        if blend != 1.0:
            rules[CHOSEN] = None
        for rule, alpha in rules.items():
            after, after5 = bench.after(fits, alpha), bench.after(fits, alpha, k=5)
            same = recipe.alpha if rule == f"{recipe.alpha}" else None
            rivals = {rival: bench.after(recipes[rival], same) for rival in RIVALS if rival in recipes}
            for test, mask in bench.masks.items():
                yield Score(
                    recipe=name,
                    alpha=rule,
                    test=test,
                    accuracy=bench.mean(after[:, mask]),
                    gain=bench.change((after - before)[:, mask]),
                    over={rival: bench.change((after - other)[:, mask]) for rival, other in rivals.items()},
                    accuracy5=bench.mean(after5[:, mask]),
                    gain5=bench.change((after5 - before5)[:, mask]),
                )


def _seen_by(features: Features, study: Study) -> Study:
    """The study with this classifier's predictions."""
    images = [study.photo.image, *(one.image for one in study.counterfactuals)]
    control = [study.reconstruction] if study.reconstruction is not None else []
    found = _predict(features, [*images, *control], study.photo.label)
    return replace(
        study,
        photo=replace(
            study.photo,
            prediction=found[0],
            classifier=features.classifier.name,
            fingerprint=features.classifier.fingerprint,
        ),
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
    return [Prediction(labels=labels, probabilities=row) for row in logits.double().softmax(-1).float().numpy()]


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
