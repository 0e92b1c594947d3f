"""Intervals and tests with photos as the unit: against published values, against scipy, and under simulation.

The simulations draw many tables of photos x edits and count how often an interval holds the truth and how often a test
fires where nothing is to be found. Edits of a photo are drawn independent, somewhat alike (a beta distribution with
that intraclass correlation) or all alike. Every simulated table is one row, so each case is one pass over arrays.
"""

import random
from collections.abc import Sequence
from dataclasses import astuple
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, permutation_test

from pipeline.statistics.intervals import Change, Clusters, Mean, adjusted, change, holm, mean, share, sign_flip, wilson
from pipeline.types import Proportion

SIZES = ((10, 5), (20, 5), (100, 5), (10, 20))  # photos, edits of each
ALIKE = (0.0, 0.3, 0.6, 1.0)  # intraclass correlation: independent, in between, all alike
REPEATS = 2000
SHARES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
CHANGES = (  # share right before, of these lost, of the others gained
    (0.5, 0.5, 0.5),  # nothing changes in all
    (0.7, 0.3, 0.7),
    (0.9, 0.05, 0.45),
    (0.9, 0.111, 0.0),  # -0.1
    (0.98, 0.1, 0.0),
    (0.6, 0.3, 0.0),  # -0.18
    (0.9, 0.3, 0.3),  # -0.24
    (0.3, 0.1, 0.5),  # +0.32
    (0.5, 0.1, 0.9),  # +0.4
    (0.9, 0.6, 0.0),  # -0.54
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


def mcnemar(lost: int, gained: int) -> float:
    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


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
    """Exact, which is the binomial test on the pairs that changed."""
    assert sign_flip([1] * gained + [-1] * lost + [0, 0]) == pytest.approx(p)
    assert sign_flip([1] * lost + [-1] * gained) == sign_flip([1] * gained + [-1] * lost)
    assert mcnemar(lost, gained) == pytest.approx(p)


def test_thousands_of_pairs_are_tested_at_once() -> None:
    assert sign_flip([1] * 4300 + [-1] * 4000) == pytest.approx(mcnemar(4000, 4300))


def test_flipping_signs_counts_every_way() -> None:
    """By hand: of the 2 ** 5 sums, those as far from 0 as the one that came."""
    sums = [3, -1, 2, 2, 5]
    ways = [
        abs(sum(sign * interval for sign, interval in zip(signs, sums, strict=True)))
        for signs in product((1, -1), repeat=5)
    ]
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
    interval = change(before, after, ["x"] * 20)
    assert apart.high - apart.low < together.high - together.low < interval.high - interval.low
    assert apart.p < 0.002 < together.p == 0.5 < interval.p == 1.0


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
    interval = change([True] * 8, [False] * 8, range(8))
    assert interval.reliable
    assert not any(each.reliable for each in adjusted([interval] * 8))


# What holds for any data.

AT_LEISURE = settings(deadline=None)

Edits = list[tuple[int, bool, bool]]
EDITS = st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.booleans()), max_size=30)  # photo, before, after


def change_of(edits: Edits) -> Change:
    photos, before, after = (list(column) for column in zip(*edits, strict=True)) if edits else ([], [], [])
    return change(before, after, photos)


@AT_LEISURE
@given(EDITS, st.randoms(use_true_random=False))
def test_intervals_hold_their_figure_and_know_no_order(edits: Edits, chance: random.Random) -> None:
    found = change_of(edits)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert 0 < found.p <= 1
    after = share([edit for _, _, edit in edits], [photo for photo, _, _ in edits])
    assert 0 <= after.low <= after.value <= after.high <= 1
    apart = wilson(round(after.value * after.n), after.n)
    assert after.high - after.low >= apart.high - apart.low - 1e-9
    shuffled = chance.sample(edits, len(edits))
    assert astuple(change_of(shuffled)) == pytest.approx(astuple(found))
    back = change_of([(photo, new, old) for photo, old, new in edits])
    assert (-back.high, -back.low, back.p) == pytest.approx((found.low, found.high, found.p))


@AT_LEISURE
@given(EDITS)
def test_the_test_is_the_permutation_test(edits: Edits) -> None:
    """Of scipy, over all signs of the photos' totals."""
    totals = np.bincount([photo for photo, _, _ in edits], [new - old for _, old, new in edits], 8)
    every = (totals[:, None],)
    scipys = permutation_test(
        every, lambda x, axis: x.sum(axis), permutation_type="samples", n_resamples=np.inf, axis=0
    )
    assert change_of(edits).p == pytest.approx(float(scipys.pvalue[0]))


@AT_LEISURE
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-1, 1)), min_size=1, max_size=30))
def test_means_lie_in_their_interval_and_that_within_bounds(values: list[tuple[int, float]]) -> None:
    found = mean([value for _, value in values], [photo for photo, _ in values])
    assert -1 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    assert found.high > found.low


@AT_LEISURE
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_value_nor_swaps_two(p_values: list[float]) -> None:
    found = holm(p_values)
    assert all(p <= adjusted <= 1 for p, adjusted in zip(p_values, found, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(found)[order]) == sorted(found)


# Simulations. Counting 2,000 tables errs by up to 1.3 points at 92 % and 0.7 at 98 % (2.5 standard errors).

LEAST, MOST = 0.92 - 0.013, 0.98 + 0.007


def drawn(draw: np.random.Generator, photos: int, edits: int, p: float, alike: float) -> Bits:
    """(repeats, photos, edits) hits whose share is p, with this intraclass correlation within a photo."""
    shape = (REPEATS, photos)
    if alike in (0.0, 1.0) or p in (0.0, 1.0):
        each = np.full(shape, p) if alike == 0.0 else (draw.random(shape) < p).astype(float)
    else:
        scale = 1 / alike - 1
        each = draw.beta(p * scale, (1 - p) * scale, shape)
    return draw.random((*shape, edits)) < each[:, :, None]


def changed(
    draw: np.random.Generator, photos: int, edits: int, rates: tuple[float, float, float], alike: float
) -> tuple[Bits, Bits]:
    """Hits before and after: this share right before, of which a share is lost, and of the rest a share is gained."""
    right, loses, gains = rates
    before = drawn(draw, photos, edits, right, alike)
    lost, gained = drawn(draw, photos, edits, loses, alike), drawn(draw, photos, edits, gains, alike)
    return before.ravel(), ((before & ~lost) | (~before & gained)).ravel()


def table_of(photos: int, edits: int) -> Clusters:
    """One row per repeat."""
    number = np.arange(REPEATS * photos * edits)
    return Clusters(number // edits, number // (photos * edits), REPEATS)


def coverage(found: Sequence[Change | Mean | Proportion], truth: float) -> float:
    """Share of intervals that hold the truth."""
    return float(np.mean([interval.low <= truth + 1e-12 and truth - 1e-12 <= interval.high for interval in found]))


@pytest.mark.parametrize(("photos", "edits"), SIZES)
@pytest.mark.parametrize("alike", ALIKE)
def test_intervals_of_shares_hold_the_truth(photos: int, edits: int, alike: float) -> None:
    """Between 92 and 98 % of the time, near 0 and 1 as well; more often only where nothing narrower can be given.

    With fewer than two photos that say the rarer thing most tables hold none of it, and what is to be said of them has
    to hold for all shares that often show nothing.
    """
    draw = np.random.default_rng(photos + edits)
    table = table_of(photos, edits)
    for p in SHARES:
        held = coverage(table.shares(drawn(draw, photos, edits, p, alike).ravel()), p)
        rare = photos * min(p, 1 - p) < 2
        assert held >= LEAST, (p, held)
        assert held <= (0.995 if rare else MOST), (p, held)


@pytest.mark.parametrize(("photos", "edits"), SIZES)
@pytest.mark.parametrize("alike", ALIKE)
@pytest.mark.slow
def test_intervals_of_changes_hold_the_truth_and_nulls_stand(photos: int, edits: int, alike: float) -> None:
    """Intervals hold the truth between 92 and 98 % of the time, and tests at 5 % fire in at most 7 % of nulls.

    Where fewer than five photos are to change, intervals can only hold it more often: of ten photos, one of which is to
    change, none does in a third of the tables. What is then said, as much as ten photos that do not change allow, holds
    any truth that is as small; so do all that show a change.
    """
    draw = np.random.default_rng(photos + edits)
    table = table_of(photos, edits)
    for rates in CHANGES:
        right, loses, gains = rates
        truth, often = (1 - right) * gains - right * loses, (1 - right) * gains + right * loses
        found = table.changes(*changed(draw, photos, edits, rates, alike))
        held = coverage(found, truth)
        assert held >= LEAST, (rates, held)
        assert held <= MOST or photos * often < 5, (rates, held)
        if abs(truth) < 1e-9:
            fired = np.mean([interval.p <= 0.05 for interval in found])
            assert fired <= 0.07, (rates, fired)


def test_photos_that_lose_or_gain_as_a_whole_are_no_finding() -> None:
    """As many lose nine tenths of their edits as gain them; McNemar's test on edits fires in a third and more."""
    draw = np.random.default_rng(0)
    for photos, edits in ((20, 5), (24, 15), (30, 5)):
        kind, hit = draw.random((REPEATS, photos, 1)), draw.random((REPEATS, photos, edits)) < 0.9
        lost, gained = (kind < 0.15) & hit, (kind >= 0.15) & (kind < 0.3) & hit
        before = (draw.random((REPEATS, photos, 1)) < 0.5) & ~gained | lost
        found = table_of(photos, edits).changes(before.ravel(), (before & ~lost | gained).ravel())
        assert np.mean([interval.p <= 0.05 for interval in found]) <= 0.05
        edit = [mcnemar(int(a.sum()), int(b.sum())) for a, b in zip(lost[:300], gained[:300], strict=True)]
        assert np.mean(np.array(edit) <= 0.05) > 0.25


@pytest.mark.parametrize("alike", [0.0, 0.3, 1.0])
def test_a_table_without_a_change_calls_one_reliable_in_five_of_a_hundred(alike: float) -> None:
    """Families of twelve rows, all of them nulls, and of twelve of which four change: no null among them is told."""
    draw = np.random.default_rng(1)
    for photos, edits in ((20, 5), (10, 20)):
        nulls = table_of(photos, edits).changes(*changed(draw, photos, edits, (0.5, 0.4, 0.4), alike))
        losses = table_of(photos, edits).changes(*changed(draw, photos, edits, (0.9, 0.6, 0.0), alike))
        families = [adjusted(nulls[first : first + 12]) for first in range(0, REPEATS - 12, 12)]
        mixed = [adjusted((*nulls[at : at + 8], *losses[at : at + 4])) for at in range(0, REPEATS - 8, 8)]
        assert np.mean([any(change.reliable for change in family) for family in families]) <= 0.07
        assert np.mean([any(change.reliable for change in family[:8]) for family in mixed]) <= 0.07
        alone = [nulls[first : first + 12] for first in range(0, REPEATS - 12, 12)]
        if alike < 1:
            assert np.mean([any(label.p < 0.05 for label in family) for family in alone]) > 0.15


def test_what_no_photo_shows_cannot_be_told() -> None:
    """The limit of any method: one photo in ten loses every edit, all others gain some, and in all nothing changes.

    A third of the tables of ten photos hold none that loses. With a hundred photos nothing is amiss.
    """
    draw = np.random.default_rng(2)
    fired = {}
    for photos, edits in ((10, 20), (100, 5)):
        lost = np.broadcast_to(draw.random((REPEATS, photos, 1)) < 0.1, (REPEATS, photos, edits))
        gained = ~lost & (draw.random((REPEATS, photos, edits)) < 1 / 9)
        before = lost | ~gained & (draw.random((REPEATS, photos, edits)) < 0.5)
        found = table_of(photos, edits).changes(before.ravel(), (before & ~lost | gained).ravel())
        fired[photos] = np.mean([interval.p <= 0.05 for interval in found])
    assert fired[100] <= 0.07
    assert 0.25 < fired[10] < 0.45


@pytest.mark.parametrize("alike", ALIKE)
@pytest.mark.parametrize("photos", [10, 20, 100])
def test_photos_with_unequal_numbers_of_edits_are_covered_too(photos: int, alike: float) -> None:
    """From 1 to 15 edits of a photo."""
    draw = np.random.default_rng(photos)
    there = np.arange(15) < draw.integers(1, 16, (REPEATS, photos))[:, :, None]
    number = np.arange(there.size)[there.ravel()]
    table = Clusters(number // 15, number // (15 * photos), REPEATS)
    for p in (0.1, 0.3, 0.5, 0.9):
        held = coverage(table.shares(drawn(draw, photos, 15, p, alike)[there]), p)
        assert LEAST <= held <= MOST, (p, held)


@pytest.mark.parametrize(("photos", "edits"), SIZES)
@pytest.mark.parametrize("alike", ALIKE)
def test_intervals_of_means_hold_the_truth(photos: int, edits: int, alike: float) -> None:
    """Changes of a probability around -0.1, part of their spread the photo's and the rest the edit's."""
    draw = np.random.default_rng(photos)
    photo, edit = draw.normal(0, 1, (REPEATS, photos, 1)), draw.normal(0, 1, (REPEATS, photos, edits))
    values = -0.1 + 0.15 * (np.sqrt(alike) * photo + np.sqrt(1 - alike) * edit)
    held = coverage(table_of(photos, edits).means(values.ravel()), -0.1)
    assert LEAST <= held <= MOST
