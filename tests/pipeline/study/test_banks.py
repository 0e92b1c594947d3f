"""What the recipes of a reproduction learn from."""

from __future__ import annotations

from pathlib import Path

from pipeline.reinforcement.features import Features
from pipeline.reinforcement.training_data import Example
from pipeline.study.banks import bank_of, views_of
from tests.seams import ColourClassifier


def test_every_view_of_a_photo_is_another_one(items: tuple[Example, ...], tmp_path: Path) -> None:
    """Plain augmentation is drawn anew for every item and epoch."""
    features = Features(ColourClassifier.plain())
    views_of({"colour": features}, items, 4, tmp_path)
    views = bank_of(features, items, tmp_path, "colour").kinds["standard"]
    assert views.shape[:2] == (48, 4)
    assert len({row.numpy().tobytes() for row in views.flatten(0, 1)}) == 48 * 4
