"""Table 2 of the paper: what learning from counterfactuals gains, by recipe and test set.

The accuracy of every recipe on T, OOD and both together (Hybrid), over several seeds, each of which splits the photos
anew; no test picture is ever learnt from or chosen by. All recipes have the same settings to choose from (learning
rate, epochs, alpha) and choose by the same validation pictures. Intervals resample the photos with everything that
follows from them (`reinforcement/refits.py`), and the test pictures. Asks no model but the classifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch.nn.functional import linear

from pipeline.reinforcement.features import Features
from pipeline.reinforcement.recipes import METHODS, Recipe
from pipeline.reinforcement.refits import ALPHAS, Bank, Draw, DrawnRows, Fits, among, draws, refit, refitted, right
from pipeline.reinforcement.training_data import Pictures
from pipeline.statistics.intervals import Change, Mean, adjusted, wilson
from pipeline.study.results import CHOSEN, HYBRID, RIVALS, CurvePoint, RecipeScore, Repair
from pipeline.types import Proportion

FRACTIONS = (0.75, 0.25)  # of the photos: training and validation; the test pictures are others
SHARES = (0.25, 0.5, 1.0)  # of the training photos, for the gain over their number
RATES = (1e-3, 3e-3, 1e-2)  # learning rates that every recipe has to choose from
ASIDE = 8  # draws of the photos, at most, behind the gains over their number and by factor


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
    """Make table 2: yield the number of refits done, at last the table; refits in `folder` are not made again."""
    bench = _Bench(features, tests, bank, recipe, draws(bank, FRACTIONS, replicates, seeds), seeds, folder)
    everything = np.ones(len(bank.factors), bool)
    known = [name for name, method in METHODS.items() if method.kind.name in bank.kinds and name != "fine-tuning"]
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
        pictures = [picture for part in tests.values() for picture in part]
        self.labels = np.asarray([label for _, label in pictures])
        self.part = features.part(pictures)
        names = np.repeat(list(tests), [len(part) for part in tests.values()])
        self.masks = {name: names == name for name in tests} | {HYBRID: np.ones(len(names), bool)}

    def fit(self, name: str, method: str, items: NDArray[np.bool_], share: float, drawn: Sequence[Draw]) -> Fits:
        """Return a head per draw, from these items of this share of its training photos."""
        file = self.folder / f"{name}.safetensors"
        if file.is_file():
            return Fits(**load_file(file))
        taught = [self.bank.rows(_first(draw.taught, share, self.bank), items) for draw in drawn]
        checked = [self.bank.rows(draw.checked) for draw in drawn]
        recipe = replace(self.recipe, method=method)
        drawn_rows = DrawnRows(self.bank, recipe.how.kind.name, taught, checked)
        fits = refit(drawn_rows, self.theta_0, recipe, RATES)
        self.folder.mkdir(parents=True, exist_ok=True)
        save_file({key: heads.contiguous() for key, heads in fits._asdict().items()}, file.with_suffix(".part"))
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

    def points(groups: Mapping[str, tuple[Fits, float | None]]) -> tuple[CurvePoint, ...]:
        after = {at: bench.after(fits, alpha) - before for at, (fits, alpha) in groups.items()}
        return tuple(
            CurvePoint(at=at, test=test, gain=bench.change(gained[:, mask]))
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
        by_number=points(
            {share: (fits, None) for share, fits in sorted(shares.items(), key=lambda group: len(group[0]))}
        ),
        by_factor=points({factor: (fits, None) for factor, fits in factors.items()}),
        by_class=dict(zip(labels, by_class, strict=True)),
    )


def _share(hits: NDArray[np.floating]) -> Proportion:
    return wilson(int(hits.sum()), len(hits))


def _scores(bench: _Bench, recipes: Mapping[str, Fits]) -> Iterator[RecipeScore]:
    """Yield every recipe at its own alpha and, where it blends, at the one chosen on validation."""
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
                yield RecipeScore(
                    recipe=name,
                    alpha=rule,
                    test=test,
                    accuracy=bench.mean(after[:, mask]),
                    gain=bench.change((after - before)[:, mask]),
                    over={rival: bench.change((after - other)[:, mask]) for rival, other in rivals.items()},
                    accuracy5=bench.mean(after5[:, mask]),
                    gain5=bench.change((after5 - before5)[:, mask]),
                )
