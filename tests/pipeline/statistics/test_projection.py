"""The map of features, on features whose directions are known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.statistics.projection import landscape


def test_the_map_shows_the_directions_of_greatest_difference() -> None:
    along = np.linspace(-3, 3, 20)
    features = np.zeros((40, 6))
    features[:20, 2] = 4 * along
    features[20:, 5] = along
    found = landscape(features)
    assert np.allclose(np.abs(found.points[:20, 0]), np.abs(4 * along))
    assert np.allclose(np.abs(found.points[20:, 1]), np.abs(along))
    assert found.explained == pytest.approx((16 / 17, 1 / 17))


def test_two_pictures_make_no_map() -> None:
    with pytest.raises(DataError, match="A map of 2 pictures shows nothing"):
        landscape(np.eye(2))


def test_equal_features_make_no_map() -> None:
    with pytest.raises(DataError, match="look the same"):
        landscape(np.ones((4, 3)))
