"""Where a classifier is weak: what counterfactuals cost it, by class and factor, with the uncertainty of every figure.

A pair is one chosen counterfactual (`curation.chosen`) beside the control, the reconstruction of its photo: so what
inversion alone changed is not blamed on the edit. Single proportions carry Wilson's score interval. Differences carry
Newcombe's square-and-add interval for paired proportions (Statistics in Medicine 17, 1998, method 10), computed at the
effective number of pairs: pairs of one photo are alike, so n is divided by the design effect of clustering by photo
(never below 1). Beside them stands the exact McNemar test on the discordant pairs, which knows nothing of clustering.
The mean sensitivity carries a percentile interval of 1,000 bootstrap samples of photos. All intervals are 95 %.

Accuracy at k and its change follow Li et al. (2024) and LANCE (Prabhu et al., 2023); their sensitivity is absolute and
measured against the original, this one is signed and measured against the control. Knows no model and no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb, sqrt

import numpy as np

from pipeline.classification import is_prediction_flip, sensitivity
from pipeline.curation import chosen
from pipeline.types import Proportion, Study

ALL = "all"
MIN_N = 5
Z = 1.959963984540054  # the normal distribution's 97.5 % point
RESAMPLES = 1000
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A paired difference, counterfactual - control, in -1..1."""

    value: float
    low: float  # 95 % interval
    high: float
    p: float  # exact McNemar, two-sided


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakness:
    """One row: a class (or "all") under one factor (or "all")."""

    label: str
    factor: str
    n: int  # pairs: chosen counterfactuals beside their control
    photos: int  # source photos behind them
    unpaired: int  # edited captions of which no tau passed the gates
    control_acc1: Proportion
    counterfactual_acc1: Proportion
    delta_acc1: Change
    control_acc5: Proportion
    counterfactual_acc5: Proportion
    delta_acc5: Change
    flips: Proportion  # the most probable label is another one than on the control
    sensitivity: float  # mean signed change of p(label) against the control, -1..1
    sensitivity_low: float
    sensitivity_high: float

    @property
    def too_few(self) -> bool:
        """True when the row rests on fewer than `MIN_N` pairs and says hardly anything."""
        return self.n < MIN_N


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    photo: str
    label: str
    factor: str
    rank_before: int  # of the label, on the control
    rank_after: int
    flip: bool
    sensitivity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unpaired:
    label: str
    factor: str


def weakness(studies: Iterable[Study]) -> tuple[Weakness, ...]:
    """Rows for every class and factor that occurs and for "all" of either; studies without a control are passed over.

    The overall row comes first; the others follow by how certain their loss of Acc@1 is: the row whose interval ends
    lowest first, rows with fewer than `MIN_N` pairs last.
    """
    pairs: list[_Pair] = []
    unpaired: list[_Unpaired] = []
    for study in studies:
        found, lost = _observe(study)
        pairs.extend(found)
        unpaired.extend(lost)
    seen: list[_Pair | _Unpaired] = [*pairs, *unpaired]
    labels = [ALL, *sorted({one.label for one in seen})]
    factors = [ALL, *sorted({one.factor for one in seen})]
    rows = [_row(label, factor, pairs, unpaired) for label in labels for factor in factors]
    rows = [row for row in rows if row.n or row.unpaired]
    rows.sort(key=lambda row: (not row.label == row.factor == ALL, row.too_few, row.delta_acc1.high))
    return tuple(rows)


def wilson(k: int, n: int) -> Proportion:
    """k of n with Wilson's interval; of n = 0 nothing is known: the value is 0 and the interval 0 to 1."""
    if n == 0:
        return Proportion(n=0, value=0.0, low=0.0, high=1.0)
    low, high = _wilson(k / n, n)
    return Proportion(n=n, value=k / n, low=low, high=high)


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p that pairs change for the worse and for the better equally often."""
    n = lost + gained
    tail = sum(comb(n, k) for k in range(min(lost, gained) + 1))
    return float(min(1.0, 2 * tail / 2**n))


def change(before: Sequence[bool], after: Sequence[bool], photos: Sequence[str]) -> Change:
    """Share of `after` minus share of `before`, with Newcombe's paired interval at the effective number of pairs."""
    n = len(before)
    if n == 0:
        return Change(value=0.0, low=-1.0, high=1.0, p=1.0)
    both = sum(b and a for b, a in zip(before, after, strict=True))
    lost, gained = sum(before) - both, sum(after) - both
    differences = [int(a) - int(b) for b, a in zip(before, after, strict=True)]
    effective = n / _design_effect(differences, photos)
    low, high = _newcombe(both / n, gained / n, lost / n, effective)
    return Change(value=(gained - lost) / n, low=low, high=high, p=mcnemar(lost, gained))


def _observe(study: Study) -> tuple[list[_Pair], list[_Unpaired]]:
    control, label = study.control, study.photo.label
    if control is None:
        return [], []
    best = chosen(study)
    pairs = [
        _Pair(
            photo=study.photo.key,
            label=label,
            factor=one.perturbation.factor,
            rank_before=control.rank(label),
            rank_after=one.prediction.rank(label),
            flip=is_prediction_flip(control, one.prediction),
            sensitivity=sensitivity(label, control, one.prediction),
        )
        for one in best
    ]
    edited = {one.perturbation.edited_caption: one.perturbation.factor for one in study.counterfactuals}
    passed = {one.perturbation.edited_caption for one in best}
    lost = [_Unpaired(label=label, factor=factor) for words, factor in edited.items() if words not in passed]
    return pairs, lost


def _row(label: str, factor: str, pairs: Sequence[_Pair], unpaired: Sequence[_Unpaired]) -> Weakness:
    def belongs(one: _Pair | _Unpaired) -> bool:
        return label in (ALL, one.label) and factor in (ALL, one.factor)

    mine = [pair for pair in pairs if belongs(pair)]
    photos = [pair.photo for pair in mine]
    before = {k: [pair.rank_before <= k for pair in mine] for k in (1, 5)}
    after = {k: [pair.rank_after <= k for pair in mine] for k in (1, 5)}
    mean, low, high = _bootstrap_mean([pair.sensitivity for pair in mine], photos)
    return Weakness(
        label=label,
        factor=factor,
        n=len(mine),
        photos=len(set(photos)),
        unpaired=sum(map(belongs, unpaired)),
        control_acc1=wilson(sum(before[1]), len(mine)),
        counterfactual_acc1=wilson(sum(after[1]), len(mine)),
        delta_acc1=change(before[1], after[1], photos),
        control_acc5=wilson(sum(before[5]), len(mine)),
        counterfactual_acc5=wilson(sum(after[5]), len(mine)),
        delta_acc5=change(before[5], after[5], photos),
        flips=wilson(sum(pair.flip for pair in mine), len(mine)),
        sensitivity=mean,
        sensitivity_low=low,
        sensitivity_high=high,
    )


def _wilson(share: float, n: float) -> tuple[float, float]:
    centre = share + Z * Z / (2 * n)
    reach = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    return max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale)


def _newcombe(both: float, gained: float, lost: float, n: float) -> tuple[float, float]:
    """Square-and-add interval of (both + gained) - (both + lost); the four shares sum to 1 with the neither."""
    after, before = both + gained, both + lost
    spread = after * (1 - after) * before * (1 - before)
    agreement, half = both * (1 - both - gained - lost) - gained * lost, 1 / (2 * n)
    agreement = min(agreement, max(0.0, agreement - half))  # the continuity correction of method 10
    phi = agreement / sqrt(spread) if spread > 0 else 0.0
    after_low, after_high = _wilson(after, n)
    before_low, before_high = _wilson(before, n)

    def reach(here: float, there: float) -> float:
        return sqrt(max(0.0, here * here - 2 * phi * here * there + there * there))

    difference = after - before
    low = difference - reach(after - after_low, before_high - before)
    high = difference + reach(after_high - after, before - before_low)
    return max(-1.0, low), min(1.0, high)


def _design_effect(values: Sequence[int], photos: Sequence[str]) -> float:
    """How many times the variance of a mean grows because values of one photo are alike; at least 1."""
    n, groups = len(values), len(set(photos))
    if groups < 2:
        return float(n)
    centred = np.asarray(values, dtype=float) - np.mean(values)
    _, place = np.unique(np.asarray(photos), return_inverse=True)
    together = groups / (groups - 1) * float(np.sum(np.bincount(place, weights=centred) ** 2))
    alone = n / (n - 1) * float(np.sum(centred**2))
    return max(1.0, together / alone) if alone > 0 else 1.0


def _bootstrap_mean(values: Sequence[float], photos: Sequence[str]) -> tuple[float, float, float]:
    """Mean and percentile interval over resampled photos; of fewer than 2 photos the interval is -1 to 1."""
    if not values:
        return 0.0, -1.0, 1.0
    mean = float(np.mean(values))
    _, place = np.unique(np.asarray(photos), return_inverse=True)
    sums, sizes = np.bincount(place, weights=np.asarray(values)), np.bincount(place)
    if len(sums) < 2:
        return mean, -1.0, 1.0
    drawn = np.random.default_rng(SEED).integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return mean, float(low), float(high)
