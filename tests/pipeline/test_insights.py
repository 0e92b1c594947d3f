"""Edits grouped by meaning: what belongs together, what is passed over, and in which order."""

from __future__ import annotations

from dataclasses import replace

from pipeline.insights import insights
from pipeline.types import Study
from tests.pipeline.test_weakness import study_of
from tests.seams import WordPerturber

EMBED = WordPerturber().embed


def edited(name: str, old: str, new: str, rank: int, factor: str = "background") -> Study:
    """A study with one edit that puts the label at this rank."""
    study = study_of(name, "a", 1, (factor, rank, ()))
    one = study.counterfactuals[0]
    words = replace(one.perturbation, original=old, edit=new)
    return replace(study, counterfactuals=(replace(one, perturbation=words),))


def test_alike_words_are_one_group_and_the_certain_harm_comes_first() -> None:
    beach = [edited(f"b{n}", "snowy field", "sandy beach" if n % 2 else "beach", 6 + n % 2) for n in range(8)]
    desert = [edited(f"d{n}", "snowy field", "hot desert", 1 + n % 2) for n in range(8)]
    found = insights([*desert, *beach], EMBED, clusters=2)
    assert [one.n for one in found] == [8, 8]
    assert set(found[0].edits) == {"snowy field -> beach", "snowy field -> sandy beach"}
    assert found[0].flips.value == 1.0
    assert found[0].sensitivity.high < found[1].sensitivity.high


def test_a_large_harm_on_few_pictures_ranks_below_a_smaller_one_on_many() -> None:
    few = [edited(f"f{n}", "dog", "zebra", 7 if n < 3 else 1) for n in range(6)]
    many = [edited(f"m{n}", "dog", "cat", 3 + n % 2) for n in range(20)]
    first, second = insights([*few, *many], EMBED, clusters=2)
    assert second.sensitivity.value < first.sensitivity.value < 0
    assert first.edits == ("dog -> cat",)


def test_groups_below_the_least_number_and_studies_without_control_are_passed_over() -> None:
    five = [edited(f"f{n}", "dog", "zebra", 7) for n in range(5)]
    assert insights(five, EMBED) == ()
    assert insights([], EMBED) == ()
    without = [replace(edited(f"w{n}", "dog", "zebra", 7), control=None) for n in range(9)]
    assert insights(without, EMBED) == ()


def test_factors_are_never_mixed_and_nothing_is_a_word() -> None:
    inserted = [edited(f"i{n}", "", "old", 2, "adjective") for n in range(6)]
    moved = [edited(f"m{n}", "", "old", 2) for n in range(6)]
    found = insights([*inserted, *moved], EMBED)
    assert {(one.factor, one.edits, one.n, one.photos) for one in found} == {
        ("adjective", ("nothing -> old",), 6, 6),
        ("background", ("nothing -> old",), 6, 6),
    }
