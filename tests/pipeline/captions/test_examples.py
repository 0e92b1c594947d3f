"""The written variations keep what they promise."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.captions.examples import WRITTEN, WrittenVariation, examples, faults, group_by_caption, read
from pipeline.captions.wording import key
from pipeline.errors import DataError
from pipeline.settings import Settings

HARD_IMAGENET = {
    "dog sled", "howler monkey", "seat belt", "ski", "sunglasses", "swimming cap", "balance beam", "horizontal bar",
    "patio", "hockey puck", "miniskirt", "space bar", "volleyball", "baseball player", "snorkel",
}  # fmt: skip


@pytest.fixture(scope="module")
def written() -> tuple[WrittenVariation, ...]:
    return read(WRITTEN)


def test_there_are_enough_of_every_factor(written: tuple[WrittenVariation, ...]) -> None:
    captions = group_by_caption(written)
    assert len(captions) >= 120
    assert len(written) >= 1800
    assert all(12 <= len(caption.split()) <= 30 for caption in captions)
    assert sum(caption[0].label in HARD_IMAGENET for caption in captions.values()) >= 40
    assert {caption.label for caption in written} >= HARD_IMAGENET
    for members in captions.values():
        counts = Counter(member.factor for member in members)
        assert set(counts) == set(Settings().factors)
        assert min(counts.values()) >= 3


def test_every_line_is_a_single_change_that_keeps_its_label(written: tuple[WrittenVariation, ...]) -> None:
    assert list(faults(written)) == []
    assert 0.15 < sum(caption.split == "test" for caption in written) / len(written) < 0.25


def test_the_validator_finds_every_kind_of_fault(written: tuple[WrittenVariation, ...]) -> None:
    howler = next(caption for caption in written if caption.label == "howler monkey" and caption.factor == "object")
    lost = replace(
        howler, edited_caption=howler.caption.replace("a howler monkey", "a group of monkeys"), factor="subject"
    )
    assert "is there twice" in next(faults([howler, howler]))
    assert "changes nothing" in next(faults([replace(howler, edited_caption=howler.caption)]))
    assert "names no kind of picture" in next(faults([replace(howler, factor="domain")]))
    assert any("is named 0 times instead of 1" in fault for fault in faults([lost]))


def test_examples_come_from_the_training_split(written: tuple[WrittenVariation, ...]) -> None:
    held_out = {key(caption.caption) for caption in written if caption.split == "test"}
    shown = [pair for factor in Settings().factors for pair in examples(factor, 3)]
    assert len(shown) == 15
    assert not held_out & {key(caption) for caption, _ in shown}
    assert examples("subject", 3) == examples("subject", 3)
    assert examples("weather", 3) == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"factor": "smell"}, "unknown factor"),
        ({"split": "later"}, "unknown factor or split"),
        ({"caption": " "}, "empty caption"),
        ({"label": 3}, "exactly the texts"),
        ({"extra": "x"}, "exactly the texts"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    good = {"caption": "a dog", "label": "", "factor": "subject", "edited_caption": "a cat", "split": "train"}
    (tmp_path / "v.jsonl").write_text(json.dumps(good) + "\n\n" + json.dumps(good | change) + "\n")
    with pytest.raises(DataError, match=rf"v\.jsonl, line 3.*{sentence}"):
        read(tmp_path / "v.jsonl")


def test_a_caption_in_two_splits_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    good = {"caption": "a dog", "label": "", "factor": "subject", "edited_caption": "a cat", "split": "train"}
    (tmp_path / "v.jsonl").write_text(json.dumps(good) + "\n" + json.dumps(good | {"split": "test"}))
    with pytest.raises(DataError, match="two splits"):
        read(tmp_path / "v.jsonl")
    for text, sentence in (("no json", "not a JSON object"), ("", "no variations")):
        (tmp_path / "v.jsonl").write_text(text)
        with pytest.raises(DataError, match=sentence):
            read(tmp_path / "v.jsonl")
    with pytest.raises(DataError, match="could not be read"):
        read(tmp_path / "none.jsonl")
