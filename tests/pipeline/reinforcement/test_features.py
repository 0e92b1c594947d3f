"""Cached features: asked for once, found again in a later process, never taken from another network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL.Image import Image

from pipeline.errors import LabelError, StoreError
from pipeline.reinforcement.features import Features
from tests.seams import LABELS, ColourClassifier, picture

PICTURES = [(picture(label, seed), label) for seed in range(4) for label in LABELS]


class Counting(ColourClassifier):
    """Counts the pictures whose features it computes."""

    asked = 0

    def features(self, images: list[Image]) -> torch.Tensor:  # type: ignore[override]
        self.asked += len(images)
        return super().features(images)


def counting(scale: float = 2.0) -> Counting:
    return Counting(np.tile(np.eye(3), 4) * scale, (0, 0, 0))


def test_a_picture_is_computed_once_whatever_asks_for_it() -> None:
    features = Features(counting())
    first = features.part(PICTURES)
    again = features.part([(image.copy(), label) for image, label in reversed(PICTURES)])
    assert features.classifier.asked == len(PICTURES)  # type: ignore[attr-defined]
    assert torch.equal(first.features, again.features.flip(0))
    assert first.targets.tolist() == [0, 1, 2] * 4
    torch.testing.assert_close(first.features, ColourClassifier.plain().features([image for image, _ in PICTURES]))


def test_a_later_run_finds_them_on_the_disk(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "colour"
    kept = Features(counting(), folder).part(PICTURES)
    later = counting()
    found = Features(later, folder)
    assert torch.equal(found.part(PICTURES).features, kept.features)
    assert later.asked == 0
    (whole,) = folder.rglob("*.safetensors")
    written = whole.stat().st_mtime_ns
    found.part([*PICTURES, (picture("red", 99), "red")])
    assert whole.stat().st_mtime_ns == written, "what is known is not written again"
    assert len(Features(counting(), folder)._known) == len(PICTURES) + 1


def test_two_processes_lose_nothing_of_one_another(tmp_path: Path) -> None:
    first, other = Features(counting(), tmp_path), Features(counting(), tmp_path)
    first.part(PICTURES[:5])
    other.part(PICTURES[5:])
    assert len(Features(counting(), tmp_path)._known) == len(PICTURES)


def test_what_another_network_made_or_what_is_damaged_is_not_taken(tmp_path: Path) -> None:
    Features(counting(), tmp_path).part(PICTURES)
    assert Features(counting(), tmp_path)._known
    assert not Features(counting(2.001), tmp_path)._known
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-9])
    assert not Features(counting(), tmp_path)._known
    Features(counting(), tmp_path).part(PICTURES)
    assert Features(counting(), tmp_path)._known


def test_an_unknown_label_and_a_full_disk_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="'sled'"):
        Features(counting()).part([(picture("red"), "sled")])
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be kept"):
        Features(counting(), tmp_path / "file" / "x").part(PICTURES)
