"""Intervals and tests with photos as the unit: against published values, against scipy, and under simulation.

The simulations draw many tables of photos x edits and count how often an interval holds the truth and how often a test
fires where nothing is to be found. Edits of a photo are drawn independent, somewhat alike (a beta distribution with
that intraclass correlation) or all alike. Every simulated table is one row, so each case is one pass over arrays.
"""

import time
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from pipeline.intervals import Change, Clusters, adjusted, change, holm, mcnemar, mean, share, sign_flip, wilson
from pipeline.types import Proportion

SIZES = ((10, 5), (20, 5), (100, 5), (10, 20))  # photos, edits of each
ALIKE = (0.0, 0.3, 0.6, 1.0)  # intraclass correlation: independent, in between, all alike
REPEATS = 1000
SHARES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
CHANGES = (
    (0.5, 0.5, 0.5),
    (0.7, 0.3, 0.7),
    (0.9, 0.05, 0.45),
    (0.9, 0.111, 0.0),
    (0.9, 0.3, 0.3),
    (0.9, 0.3, 0.0),
    (0.6, 0.3, 0.0),
    (0.9, 0.6, 0.0),
    (0.5, 0.1, 0.9),
    (0.98, 0.1, 0.0),
)

Bits = NDArray[np.bool_]


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(k: int, n: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3; and the closed form at 0 and n."""
    found = wilson(k, n)
    assert (found.n, found.photos, found.value) == (n, n, k / n)
    assert (found.low, found.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))
    scipys = binomtest(k, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == (pytest.approx(scipys.low), pytest.approx(scipys.high))


def test_wilson_of_nothing_knows_nothing() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)
    assert share([], []) == wilson(0, 0)


def pairs(both: int, gained: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    before = [True] * both + [False] * gained + [True] * lost + [False] * neither
    after = [True] * both + [True] * gained + [False] * lost + [False] * neither
    return before, after


def test_change_gives_the_published_interval() -> None:
    """Airway hyper-responsiveness before and after transplantation (Bentur et al. 2009) as in Fagerland et al. 2014."""
    found = change(*pairs(1, 1, 7, 12), range(21))
    assert (found.n, found.photos, found.value) == (21, 21, pytest.approx(-6 / 21))
    assert (found.low, found.high) == (pytest.approx(-0.507, abs=6e-4), pytest.approx(-0.026, abs=6e-4))
    assert found.p == pytest.approx(0.0703, abs=5e-5)


@pytest.mark.parametrize(
    ("lost", "gained", "p"), [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (8, 1, 0.0390625), (1, 9, 0.021484375)]
)
def test_one_pair_of_each_photo_is_tested_by_mcnemar(lost: int, gained: int, p: float) -> None:
    assert mcnemar(lost, gained) == pytest.approx(p)
    assert mcnemar(gained, lost) == mcnemar(lost, gained)
    assert sign_flip([1] * gained + [-1] * lost + [0, 0]) == pytest.approx(p)


def test_thousands_of_pairs_are_tested_at_once() -> None:
    began = time.perf_counter()
    assert mcnemar(4000, 4300) == pytest.approx(0.00103, abs=1e-5)
    assert sign_flip([1] * 4300 + [-1] * 4000) == pytest.approx(mcnemar(4000, 4300))
    assert time.perf_counter() - began < 2


def test_flipping_signs_counts_every_way() -> None:
    """By hand: of the 2 ** 5 sums, those as far from 0 as the one that came."""
    sums = [3, -1, 2, 2, 5]
    ways = [abs(sum(sign * one for sign, one in zip(signs, sums, strict=True))) for signs in product((1, -1), repeat=5)]
    assert sign_flip(sums) == sum(way >= sum(sums) for way in ways) / 2**5
    assert sign_flip([]) == sign_flip([0, 0]) == 1.0


def test_edits_of_one_photo_do_not_make_it_certain() -> None:
    """One photo of five whose 15 edits all turn right is one photo."""
    photos = [place // 15 for place in range(75)]
    found = change([place >= 15 for place in range(75)], [True] * 75, photos)
    assert (found.n, found.photos, found.value, found.p) == (75, 5, 0.2, 1.0)
    assert not found.reliable
    assert found.low < 0 < found.high


def test_what_always_says_the_same_counts_each_photo_once() -> None:
    photos = [place // 20 for place in range(100)]
    all_right = share([True] * 100, photos)
    assert (all_right.n, all_right.photos) == (100, 5)
    assert (all_right.low, all_right.high) == (wilson(5, 5).low, wilson(5, 5).high)
    still = change([True] * 100, [True] * 100, photos)
    assert still.high - still.low > 0.8
    level = mean([0.2] * 100, photos, (0.0, 1.0))
    assert (level.low, level.high) == (
        pytest.approx(0.2 * (1 - wilson(0, 5).high)),
        pytest.approx(0.2 + 0.8 * wilson(0, 5).high),
    )


def test_a_photo_with_many_edits_counts_as_one_of_few() -> None:
    """96 edits of one photo and one of each of four: hardly more than one photo, by Kish."""
    photos = [0] * 96 + [1, 2, 3, 4]
    found = share([True] * 100, photos)
    assert found.low < wilson(2, 2).low


def test_an_interval_is_never_narrower_because_photos_repeat() -> None:
    before, after = pairs(10, 0, 10, 0)
    apart = change(before, after, range(20))
    together = change(before, after, [n // 5 for n in range(20)])
    one = change(before, after, ["x"] * 20)
    assert apart.high - apart.low < together.high - together.low < one.high - one.low
    assert apart.p < 0.002 < together.p == 0.5 < one.p == 1.0


def test_a_table_is_its_rows_one_by_one() -> None:
    draw = np.random.default_rng(0)
    photos, rows = draw.integers(0, 30, 400), draw.integers(0, 5, 400)
    before, after, values = draw.random(400) < 0.7, draw.random(400) < 0.5, draw.normal(0, 0.2, 400)
    table = Clusters(photos, rows, 6)
    for row in range(5):
        mine = rows == row
        assert table.shares(after)[row] == share(after[mine], photos[mine])
        assert table.changes(before, after)[row] == change(before[mine], after[mine], photos[mine])
        assert table.means(values)[row].low == pytest.approx(mean(values[mine], photos[mine]).low)
    nothing = table.changes(before, after)[5]
    assert (nothing.n, nothing.low, nothing.high, nothing.p) == (0, -1.0, 1.0, 1.0)
    assert (table.shares(after)[5].low, table.shares(after)[5].high) == (0.0, 1.0)
    assert (table.means(values)[5].low, table.means(values)[5].high) == (-1.0, 1.0)


def test_holms_adjustment_is_the_published_one() -> None:
    """Holm 1979: the smallest times their number, the next times one fewer, never falling; in the order given."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.9, 0.5]) == (1.0, 1.0)
    assert holm([]) == ()
    one = change([True] * 8, [False] * 8, range(8))
    assert one.reliable
    assert not any(each.reliable for each in adjusted([one] * 8))


# Simulations.


def drawn(draw: np.random.Generator, photos: int, edits: int, p: float, alike: float) -> Bits:
    """(repeats, photos, edits) hits whose share is p, with this intraclass correlation within a photo."""
    shape = (REPEATS, photos)
    if alike in (0.0, 1.0) or p in (0.0, 1.0):
        each = np.full(shape, p) if alike == 0.0 else (draw.random(shape) < p).astype(float)
    else:
        scale = 1 / alike - 1
        each = draw.beta(p * scale, (1 - p) * scale, shape)
    return draw.random((*shape, edits)) < each[:, :, None]


def table_of(photos: int, edits: int) -> Clusters:
    """One row per repeat."""
    number = np.arange(REPEATS * photos * edits)
    return Clusters(number // edits, number // (photos * edits), REPEATS)


def coverage(found: Sequence[Change | Proportion], truth: float) -> float:
    """Share of intervals that hold the truth."""
    return float(np.mean([one.low <= truth + 1e-12 and truth - 1e-12 <= one.high for one in found]))


@pytest.mark.parametrize(("photos", "edits"), SIZES)
@pytest.mark.parametrize("alike", ALIKE)
def test_intervals_of_shares_hold_the_truth(photos: int, edits: int, alike: float) -> None:
    draw = np.random.default_rng(photos + edits)
    table = table_of(photos, edits)
    found = [coverage(table.shares(drawn(draw, photos, edits, p, alike).ravel()), p) for p in SHARES]
    assert min(found) >= 0.89
    assert 0.92 <= np.mean(found) <= 0.985


@pytest.mark.parametrize(("photos", "edits"), SIZES)
@pytest.mark.parametrize("alike", ALIKE)
def test_changes_hold_the_truth_and_nulls_are_rarely_rejected(photos: int, edits: int, alike: float) -> None:
    draw = np.random.default_rng(photos + edits)
    table = table_of(photos, edits)
    found = []
    for right, loses, gains in CHANGES:
        before = drawn(draw, photos, edits, right, alike)
        lost, gained = drawn(draw, photos, edits, loses, alike), drawn(draw, photos, edits, gains, alike)
        after = (before & ~lost) | (~before & gained)
        changes, truth = table.changes(before.ravel(), after.ravel()), (1 - right) * gains - right * loses
        found.append(coverage(changes, truth))
        if abs(truth) < 1e-9:
            assert np.mean([one.p <= 0.05 for one in changes]) <= 0.07
    assert min(found) >= 0.89
    assert np.mean(found) >= 0.92
