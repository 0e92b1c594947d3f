"""One factor at a time: changes that agree with their factor, and those that do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.captions.grammar import guess_factor, objection
from pipeline.tiny.world import VALUES, redraw, sample

ROOT = Path(__file__).resolve().parents[3]
CAPTION = "a photo of a brown rabbit next to a tree in a snowy field"


@pytest.mark.parametrize(
    ("factor", "edited"),
    [
        ("subject", "a photo of a brown robot next to a tree in a snowy field"),
        ("object", "a photo of a brown rabbit next to a house in a snowy field"),
        ("background", "a photo of a brown rabbit next to a tree on a city street at night"),
        ("background", "a photo of a brown rabbit next to a tree in a snowy field behind a farm"),
        ("adjective", "a photo of an old brown rabbit next to a tree in a snowy field"),
        ("adjective", "a photo of a white rabbit next to a tree in a snowy field"),
        ("domain", "a pencil sketch of a brown rabbit next to a tree in a snowy field"),
        ("weather", "a photo of a brown rabbit next to a tree in a snowy field in the rain"),
        ("own words", "a photo of a brown tractor next to a tree in a snowy field"),
    ],
)
def test_a_single_change_of_its_factor(factor: str, edited: str) -> None:
    assert objection(CAPTION, edited, factor) == ""


@pytest.mark.parametrize("factor", ["subject", "object", "background", "adjective", "domain", "weather"])
@pytest.mark.parametrize(
    "edited",
    [
        "a photo of a brown robot on a city street",
        "a photo of a brown robot next to a tree on a city street",
        "a sketch of a white rabbit next to a tree in a snowy field",
        "a sketch of a cat",
        "a photo of a white robot next to a tree in a snowy field",
    ],
)
def test_two_changes_are_no_factor_even_side_by_side(factor: str, edited: str) -> None:
    assert objection(CAPTION, edited, factor)


def test_the_hole_that_was_there() -> None:
    told = objection("a rabbit in a snowy field", "a robot on a city street", "background")
    assert told == "'rabbit in a snowy field' to 'robot on a city street' also changes who acts ('rabbit')"


@pytest.mark.parametrize(
    ("claimed", "edited", "reason"),
    [
        ("object", "a photo of a brown robot next to a tree in a snowy field", "replaces who acts"),
        ("adjective", "a photo of a brown robot next to a tree in a snowy field", "more than an attribute"),
        ("subject", "a photo of a brown rabbit next to a house in a snowy field", "beside the subject ('rabbit')"),
        ("subject", "a photo of a white rabbit next to a tree in a snowy field", "what something is like"),
        ("domain", "a photo of a white rabbit next to a tree in a snowy field", "no kind of picture"),
        ("object", "a sketch of a brown rabbit next to a tree in a snowy field", "kind of picture, not the object"),
        ("background", "a photo of a white rabbit next to a tree in a snowy field", "changes no place"),
        ("weather", "a photo of a white rabbit next to a tree in a snowy field", "names no weather"),
    ],
)
def test_a_change_of_another_factor_says_what_it_is(claimed: str, edited: str, reason: str) -> None:
    assert reason in objection(CAPTION, edited, claimed)


def test_names_of_several_words_and_captions_without_a_lead() -> None:
    old = "a girl eats an apple beside a stone lion in a park"
    assert objection(old, "a girl eats a hot dog beside a stone lion in a park", "object") == ""
    assert objection(old, "a girl eats a red pear beside a stone lion in a park", "object")
    assert objection(old, "a watercolor of a girl eats an apple beside a stone lion in a park", "domain") == ""
    assert objection(old, "a girl eats an apple beside a stone lion in a park, in the style of a comic", "domain") == ""
    assert objection(old, old, "subject") == ""


@pytest.mark.parametrize("factor", VALUES)
def test_the_factor_of_own_words_is_guessed(factor: str) -> None:
    for scene in sample(40, 5):
        other = next(value for value in VALUES[factor] if value != getattr(scene, factor))
        assert guess_factor(scene.caption(), redraw(scene, factor, other).caption()) == factor


def test_the_factor_of_written_variations_is_mostly_guessed() -> None:
    lines = (ROOT / "assets" / "perturbations.jsonl").read_text(encoding="utf-8").splitlines()
    written = [json.loads(line) for line in lines]
    right = [guess_factor(caption["caption"], caption["edited_caption"]) == caption["factor"] for caption in written]
    assert sum(right) / len(right) > 0.85


def test_two_changes_are_guessed_to_be_no_factor() -> None:
    assert guess_factor(CAPTION, "a sketch of a white rabbit next to a tree in a snowy field") == ""
