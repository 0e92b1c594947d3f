"""Words of captions: what changed, and where a name stands."""

from __future__ import annotations

import pytest

from pipeline.captions.wording import find_name_ends, key, label_names, places, word_diff, words

CAPTION = "a photo of a brown dog with a sled"


@pytest.mark.parametrize(
    ("edited", "diff"),
    [
        ("a photo of a brown cat with a sled", ("dog", "cat")),
        ("a photo of an old brown dog with a sled", ("", "old")),
        ("a photo of a dog with a sled", ("brown", "")),
        ("a photo of an orange cat with a sled", ("brown dog", "orange cat")),
        ("A sketch of a brown dog, with a sled.", ("photo", "sketch")),
        ("a photo of a brown dog with a sled", ("", "")),
        ("a sketch of a brown cat with a sled", ("photo, dog", "sketch, cat")),
        ("a photo of the brown dog with a sled", ("a", "the")),
        ("a photo of a brown dog with a sled on a beach", ("", "on a beach")),
    ],
)
def test_word_diff(edited: str, diff: tuple[str, str]) -> None:
    assert word_diff(CAPTION, edited) == diff


def test_an_article_between_two_changes_does_not_part_them_and_pronouns_follow() -> None:
    assert word_diff("a dog in a snowy field", "a dog on a sandy beach") == ("in a snowy field", "on a sandy beach")
    assert word_diff("a man with his dog", "a woman with her dog") == ("man", "woman")
    assert word_diff("he runs", "she runs") == ("he", "she")


def test_a_place_knows_what_stands_around_it() -> None:
    (place,) = places(CAPTION, "A photo of an orange cat with a sled")
    assert (place.went, place.came) == (("brown", "dog"), ("orange", "cat"))
    assert place.before == ("a", "photo", "of", "a")
    assert place.after == ("with", "a", "sled")


def test_label_names() -> None:
    assert label_names("Dogsled, dog_sled") == ("dogsled", "dog sled")
    assert label_names("crane (n03126707)") == ("crane",)
    assert label_names("") == ()


def test_a_name_ends_once_where_several_names_of_a_label_end() -> None:
    text = words("Two balance beams and a beam.")
    assert find_name_ends(text, ("balance beam", "beam")) == (2, 5)
    assert find_name_ends(words("strawberries, boxes, women"), ("strawberry", "box", "woman")) == (0, 1, 2)


def test_keys_ignore_case_and_punctuation() -> None:
    assert key("A dog, with a sled.") == key("a dog  with a sled")
