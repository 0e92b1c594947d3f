"""Classes of words, and the names that ImageNet's classes have in timm."""

from __future__ import annotations

from pipeline.captions.lexicon import definitions, is_actor, is_attribute, is_medium, is_thing, is_weather, synonyms


def test_classes_of_words() -> None:
    assert all(map(is_actor, ("dog", "women", "zookeepers", "puppies")))
    assert all(map(is_attribute, ("red", "striped", "old")))
    assert all(map(is_medium, ("photo", "sketches")))
    assert all(map(is_weather, ("rain", "foggy")))
    assert all(map(is_thing, ("teapot", "apples")))
    assert not is_thing("robot"), "an artifact to WordNet, but one that acts"
    assert not is_thing("kite"), "also a bird"
    assert not any(judge("flurb") for judge in (is_actor, is_attribute, is_medium, is_thing, is_weather))


def test_names_of_a_label() -> None:
    assert set(synonyms("dogsled")) == {"dogsled", "dog sled", "dog sleigh"}
    assert synonyms("Dogsled, dog_sled")[:2] == ("dogsled", "dog sled")
    assert synonyms("flurb, blib") == ("flurb", "blib")
    assert synonyms("") == ()
    assert "breathing" in " ".join(definitions("snorkel"))
    assert definitions("flurb") == ()
