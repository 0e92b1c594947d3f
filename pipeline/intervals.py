"""The uncertainty of a figure: intervals for shares, paired differences and means, and McNemar's test. Pure arithmetic.

Single proportions carry Wilson's score interval. Differences carry Newcombe's square-and-add interval for paired
proportions (Statistics in Medicine 17, 1998, method 10), computed at the effective number of pairs: pairs of one photo
are alike, so n is divided by the design effect of clustering by photo (never below 1). Beside them stands the exact
McNemar test on the discordant pairs, which knows nothing of clustering. Means carry percentile intervals of 1,000
bootstrap samples: of photos, or of seeds and pictures at once. All intervals are 95 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Proportion

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
class Mean:
    """A mean with its bootstrap interval."""

    n: int
    value: float
    low: float
    high: float


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


def bootstrap_mean(values: Sequence[float], photos: Sequence[str], limit: float = 1.0) -> Mean:
    """Mean and interval over resampled photos; of fewer than 2 photos the interval is -limit to limit."""
    if not values:
        return Mean(n=0, value=0.0, low=-limit, high=limit)
    mean = float(np.mean(values))
    _, place = np.unique(np.asarray(photos), return_inverse=True)
    sums, sizes = np.bincount(place, weights=np.asarray(values)), np.bincount(place)
    if len(sums) < 2:
        return Mean(n=len(values), value=mean, low=-limit, high=limit)
    drawn = np.random.default_rng(SEED).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    return Mean(n=len(values), value=mean, low=float(low), high=float(high))


def crossed_mean(values: NDArray[np.floating]) -> Mean:
    """Mean of values (seeds, pictures), with seeds and pictures resampled at once: both are drawn by chance."""
    seeds, pictures = values.shape
    draw = np.random.default_rng(SEED)
    means = np.empty(RESAMPLES)
    for row in range(RESAMPLES):
        often = np.bincount(draw.integers(0, pictures, pictures), minlength=pictures) / pictures
        means[row] = (values[draw.integers(0, seeds, seeds)] @ often).mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return Mean(n=pictures, value=float(values.mean()), low=float(low), high=float(high))


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
