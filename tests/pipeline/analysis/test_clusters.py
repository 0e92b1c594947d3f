"""Edits grouped by meaning: what belongs together, what is passed over, and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis.clusters import insights
from pipeline.types import Study
from tests.pipeline.analysis.test_weakness import study_of
from tests.seams import WordPerturber

EMBED = WordPerturber().embed
WORDS = ("cat", "zebra", "kite", "boat", "tent", "drum", "lamp", "door")


def edited(name: str, old: str, new: str, rank: int, factor: str = "background") -> Study:
    """A study with one edit that puts the label at this rank."""
    study = study_of(name, "a", 1, (factor, rank, ()))
    item = study.counterfactuals[0]
    words = replace(item.perturbation, original=old, edit=new)
    return replace(study, counterfactuals=(replace(item, perturbation=words),))


def test_alike_words_are_one_group_and_the_certain_harm_comes_first() -> None:
    beach = [edited(f"b{n}", "snowy field", "sandy beach" if n % 3 else "beach", 6 + n % 2) for n in range(24)]
    desert = [edited(f"d{n}", "snowy field", "hot desert", 1 + n % 2) for n in range(24)]
    found = insights([*desert, *beach], EMBED, clusters=2)
    assert sum(item.n + item.ranked.n for item in found) == 48
    assert set(found[0].edits) == {"snowy field -> beach", "snowy field -> sandy beach"}
    assert found[0].flips.value == 1.0
    assert found[0].sensitivity.high < found[1].sensitivity.high


def test_a_large_harm_on_few_pictures_ranks_below_a_smaller_one_on_many() -> None:
    few = [edited(f"f{n}", "dog", "zebra", 7 if n % 2 else 1) for n in range(12)]
    many = [edited(f"m{n}", "dog", "cat", 3 + n % 2) for n in range(40)]
    first, second = insights([*few, *many], EMBED, clusters=2)
    assert first.edits == ("dog -> cat",)
    assert first.ranked.high < second.ranked.high
    assert second.ranked.low < first.ranked.low


def test_no_photo_that_ranks_a_group_is_in_its_figures() -> None:
    """Twice over: what one half shows is told of the other, edit by edit of a photo together."""
    studies = [edited(f"p{n}", "dog", "cat", 1 + n % 6) for n in range(40)]
    two = [replace(study, counterfactuals=study.counterfactuals * 2) for study in studies]
    twice = [
        replace(
            study,
            counterfactuals=tuple(
                replace(item, key=f"{item.key}-{n}", perturbation=replace(item.perturbation, edited_caption=f"c {n}"))
                for n, item in enumerate(study.counterfactuals)
            ),
        )
        for study in two
    ]
    (found,) = insights(twice, EMBED)
    assert (found.n, found.photos) == (2 * found.photos, 40 - found.ranked.photos)
    assert found.ranked.n == 2 * found.ranked.photos


def test_the_worst_of_many_equal_groups_is_not_told_worse_than_it_is() -> None:
    """Ten groups of equally harmful words: on the photos that ranked it the first looks worse than it is."""
    draw = np.random.default_rng(0)
    ranked, told = [], []
    for repeat in range(12):
        studies = [
            edited(f"{repeat}-{word}-{n}", "dog", word, int(draw.integers(1, 8))) for word in WORDS for n in range(12)
        ]
        first = insights(studies, EMBED, clusters=len(WORDS))[0]
        ranked.append(first.ranked.value)
        told.append(first.sensitivity.value)
    truth = -np.mean(range(7)) / 28
    assert np.mean(ranked) < truth - 0.02
    assert np.mean(told) == pytest.approx(truth, abs=0.02)


def test_groups_below_the_least_number_and_studies_without_control_are_passed_over() -> None:
    five = [edited(f"f{n}", "dog", "zebra", 7) for n in range(5)]
    assert insights(five, EMBED) == ()
    assert insights([], EMBED) == ()
    without = [replace(edited(f"w{n}", "dog", "zebra", 7), control=None) for n in range(20)]
    assert insights(without, EMBED) == ()


def test_factors_are_never_mixed_and_nothing_is_a_word() -> None:
    inserted = [edited(f"i{n}", "", "old", 2, "adjective") for n in range(20)]
    moved = [edited(f"m{n}", "", "old", 2) for n in range(20)]
    found = insights([*inserted, *moved], EMBED)
    assert {(insight.factor, insight.edits, insight.n + insight.ranked.n) for insight in found} == {
        ("adjective", ("nothing -> old",), 20),
        ("background", ("nothing -> old",), 20),
    }
