"""The uncertainty of a figure when photos are the unit: intervals for shares, paired differences and means, and tests.

Edits of one photo are alike, so what is drawn by chance is the photo, and nothing here counts edits as independent.
All intervals are 95 %.

- Shares carry Wilson's score interval, and paired differences Newcombe's square-and-add interval (Statistics in
  Medicine 17, 1998, method 10), both at the effective number of edits: their number over the design effect, which the
  delete-one-photo jackknife estimates, times the correction of Korn & Graubard (Survey Methodology 24, 1998) for the
  few photos that the design effect was estimated from. It lies between Kish's effective number of photos, which holds
  when edits of a photo always agree, and the number of edits, which holds when they are independent. Where all edits
  say the same, nothing is known of how alike they are, and each photo counts once.
- p-values of differences flip the sign of each photo's total at random (a permutation test, Fisher 1935), exactly and
  without simulation. Where every photo has one pair this is McNemar's exact test. Like any figure of few photos it
  knows nothing of a rare kind of photo that is not among them.
- Means carry Student's interval with the delete-one-photo jackknife's standard error.
- p-values that are told together are adjusted by Holm's method (1979).

Pure arithmetic on arrays. `Clusters` computes all rows of a table at once; the functions are tables of one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from pipeline.types import Proportion

LEVEL = 0.05  # adjusted p below which a change is called reliable
TAIL = 1 - LEVEL / 2
Z = 1.959963984540054  # the normal distribution's 97.5 % point

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A paired difference of shares, after - before, in -1..1."""

    n: int  # pairs
    photos: int  # behind them
    value: float
    low: float  # 95 % interval
    high: float
    p: float  # two-sided, by flipping signs of photos
    p_adjusted: float  # by Holm over everything that is told together; `p` where it is told alone

    @property
    def reliable(self) -> bool:
        """Return whether chance alone explains it badly, also in view of everything that is told beside it."""
        return self.p_adjusted < LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean with its 95 % interval."""

    n: int  # values
    value: float
    low: float
    high: float
    photos: int = 0  # behind them; 0 where it is not a mean over photos


def wilson(k: int, n: int) -> Proportion:
    """Return k of n with Wilson's interval, where each of the n is a photo of its own; of n = 0 nothing is known."""
    if n == 0:
        return _UNKNOWN
    low, high = _wilson(np.float64(k / n), np.float64(n))
    return Proportion(n=n, photos=n, value=k / n, low=float(low), high=float(high))


def share(hits: Sequence[bool], photos: Sequence[object]) -> Proportion:
    """Return the share of hits with its interval; `photos` names the photo behind each."""
    return Clusters(photos).shares(hits)[0]


def change(before: Sequence[bool], after: Sequence[bool], photos: Sequence[object]) -> Change:
    """Return the share of `after` minus that of `before`, pair by pair, with interval and p-value."""
    return Clusters(photos).changes(before, after)[0]


def mean(values: Sequence[float], photos: Sequence[object], bounds: tuple[float, float] = (-1.0, 1.0)) -> Mean:
    """Return the mean over edits with its interval; `bounds` are the least and the greatest value there can be."""
    return Clusters(photos).means(values, bounds)[0]


def sign_flip(sums: ArrayLike) -> float:
    """Return the exact two-sided p that each photo is as likely to have changed this far for the better as the worse.

    `sums` holds a whole number per photo: pairs gained minus pairs lost.
    """
    known = np.asarray(sums, dtype=np.int64)
    sizes = np.abs(known[known != 0])
    return _flipped(tuple(np.sort(sizes).tolist()), int(sizes.sum() - abs(int(known.sum()))) // 2)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values adjusted by Holm's method, in their order; all of them belong to what is told together."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors))
    found = np.empty(len(order))
    found[order] = adjusted
    return tuple(found.tolist())


def adjusted(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return the changes of one table or page with `p_adjusted` set by Holm's method."""
    found = holm([change.p for change in changes])
    return tuple(replace(change, p_adjusted=p) for change, p in zip(changes, found, strict=True))


class Clusters:
    """Where each value of a table belongs: the photo behind it and the row it stands in."""

    def __init__(self, photos: Sequence[object] | NDArray[np.generic], rows: ArrayLike | None = None, count: int = 1):
        """Take the photo of each value and its row in 0..count - 1; without `rows` all of them stand in one."""
        place = np.zeros(len(photos), np.int64) if rows is None else np.asarray(rows, np.int64)
        names, photo = np.unique(np.asarray(photos), return_inverse=True)
        cells, self._cell = np.unique(place * len(names) + photo, return_inverse=True)  # a photo in a row is a cell
        self._row = cells // max(1, len(names))
        self._count = count
        self._size = np.bincount(self._cell, minlength=len(cells)).astype(float)
        self.n = np.bincount(place, minlength=count)
        self.photos = np.bincount(self._row, minlength=count)

    def shares(self, hits: ArrayLike) -> list[Proportion]:
        """Return the share of hits of each row; of a row without values nothing is known: 0, and 0 to 1."""
        values = np.asarray(hits, dtype=float)
        found = self._means(values)
        lows, highs = _wilson(found, self._effective(values))
        return [
            Proportion(n=n, photos=photos, value=value, low=low, high=high) if n else _UNKNOWN
            for n, photos, value, low, high in zip(*self._lists(found, lows, highs), strict=True)
        ]

    def changes(self, before: ArrayLike, after: ArrayLike) -> list[Change]:
        """Return share of `after` minus share of `before` of each row, each alone (`adjusted` takes them together)."""
        old, new = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
        gained, lost, both = self._means((1 - old) * new), self._means(old * (1 - new)), self._means(old * new)
        lows, highs = _newcombe(both, gained, lost, self._effective(new - old))
        lows, highs = np.where(self.n > 0, lows, -1.0), np.where(self.n > 0, highs, 1.0)
        sums, ends = self._sums(new - old), np.cumsum(self.photos)
        chances = [sign_flip(sums[end - photos : end]) for end, photos in zip(ends, self.photos, strict=True)]
        return [
            Change(n=n, photos=photos, value=value, low=low, high=high, p=p, p_adjusted=p)
            for n, photos, value, low, high, p in zip(*self._lists(gained - lost, lows, highs), chances, strict=True)
        ]

    def means(self, values: ArrayLike, bounds: tuple[float, float] = (-1.0, 1.0)) -> list[Mean]:
        """Return the mean of each row; of one photo the interval is `bounds`, of no value the mean is 0 besides.

        Where all photos agree there is no spread to judge by: as many photos as Wilson's limit for what never came may
        then lie at either bound.
        """
        known = np.asarray(values, dtype=float)
        found = self._means(known)
        several = self.photos > 1
        error = np.sqrt(self._variance(known))
        alike = error <= 1e-9 * (bounds[1] - bounds[0])
        unseen = Z * Z / (self.photos + Z * Z)
        reach = stdtrit(np.maximum(1, self.photos - 1), TAIL) * error
        below, above = (np.where(alike, unseen * np.abs(bound - found), reach) for bound in bounds)
        lows = np.where(several, np.maximum(bounds[0], found - below), bounds[0])
        highs = np.where(several, np.minimum(bounds[1], found + above), bounds[1])
        return [
            Mean(n=n, photos=photos, value=value, low=low, high=high)
            for n, photos, value, low, high in zip(*self._lists(found, lows, highs), strict=True)
        ]

    def _lists(self, *figures: Array) -> list[list[float]]:
        return [column.tolist() for column in (self.n, self.photos, *figures)]

    def _sums(self, values: Array) -> Array:
        """Return the sums of the values, per cell."""
        return np.bincount(self._cell, weights=values, minlength=len(self._row)).astype(float)

    def _totals(self, cells: Array) -> Array:
        """Return the sums of the cells' figures, per row."""
        return np.bincount(self._row, weights=cells, minlength=self._count).astype(float)

    def _means(self, values: Array) -> Array:
        return self._totals(self._sums(values)) / np.maximum(1, self.n)

    def _variance(self, values: Array) -> Array:
        """Return the variance of each row's mean, by leaving out one photo at a time; 0 for fewer than two photos."""
        residuals = self._sums(values) - self._means(values)[self._row] * self._size
        rest = np.maximum(1, self.n[self._row] - self._size)
        return (1 - 1 / np.maximum(1, self.photos)) * self._totals((residuals / rest) ** 2)

    def _effective(self, values: Array) -> Array:
        """Return how many independent edits the edits of each row are worth; values are -1, 0 or 1."""
        n = np.maximum(1, self.n)
        sums, squares = self._sums(values), self._sums(values**2)
        means = self._totals(sums) / n
        alone = np.maximum(0.0, self._totals(squares) - n * means**2) / (n * np.maximum(1, n - 1))
        agreeing = [
            self._totals((sums == sign * self._size) & (squares == sign**2 * self._size)) for sign in (-1, 0, 1)
        ]
        telling = self.photos - np.max(agreeing, axis=0)  # photos that do not just say what most say
        kish = n**2 / np.maximum(1.0, self._totals(self._size**2))
        # Of a rare answer only the photos that give it tell how alike edits are. Hence these degrees of freedom, which
        # simulation finds neither too few nor too many (tests/pipeline/statistics/test_intervals.py).
        freedom = np.maximum(1, np.minimum(2 * telling - 1, self.photos - 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            worth = n * alone / self._variance(values) * (Z / stdtrit(freedom, TAIL)) ** 2
        return np.clip(np.where((telling > 0) & (self.photos > 1), worth, kish), kish, n)


_UNKNOWN = Proportion(n=0, photos=0, value=0.0, low=0.0, high=1.0)


@lru_cache(maxsize=4096)
def _flipped(sizes: tuple[int, ...], most: int) -> float:
    """Return twice the chance that the sizes that fall to one side, each by a fair coin, sum to at most `most`."""
    chances = np.zeros(most + 1)
    chances[0] = 1.0
    for size in sizes:
        chances /= 2
        if size <= most:
            chances[size:] += chances[: most + 1 - size].copy()
    return min(1.0, 2 * float(chances.sum()))


def _wilson(shares: Array | np.float64, n: Array | np.float64) -> tuple[Array, Array]:
    """Return the limits at n, which need not be whole."""
    centre = shares + Z * Z / (2 * n)
    reach = Z * np.sqrt(np.maximum(0.0, shares * (1 - shares)) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    # Rounding alone could put an end on the wrong side of the share.
    return np.clip((centre - reach) / scale, 0.0, shares), np.clip((centre + reach) / scale, shares, 1.0)


def _newcombe(both: Array, gained: Array, lost: Array, n: Array) -> tuple[Array, Array]:
    """Return square-and-add limits of (both + gained) - (both + lost); a row's shares and the neither sum to 1."""
    after, before = both + gained, both + lost
    spread = np.maximum(0.0, after * (1 - after) * before * (1 - before))
    agreement = both * (1 - both - gained - lost) - gained * lost
    agreement = np.minimum(agreement, np.maximum(0.0, agreement - 1 / (2 * n)))  # method 10's continuity correction
    phi = np.where(spread > 1e-12, agreement / np.sqrt(np.maximum(spread, 1e-12)), 0.0)
    (after_low, after_high), (before_low, before_high) = _wilson(after, n), _wilson(before, n)

    def reach(here: Array, there: Array) -> Array:
        return np.sqrt(np.maximum(0.0, here * here - 2 * phi * here * there + there * there))

    change = gained - lost
    low = change - reach(after - after_low, before_high - before)
    high = change + reach(after_high - after, before - before_low)
    return np.clip(low, -1.0, change), np.clip(high, change, 1.0)
