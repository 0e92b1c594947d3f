"""Each measure against a case that was computed by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import PIL.Image
import pytest
from PIL.Image import Image

from pipeline.errors import InputError
from pipeline.quality import changed, cout, distance_outside, diversity, kid, sparsity


def grey(*rows: Sequence[int]) -> Image:
    return PIL.Image.fromarray(np.array(rows, np.uint8)).convert("RGB")


SOURCE, EDITED = grey([0, 0], [0, 0]), grey([255, 51], [0, 10])


def test_changed_pixels_and_what_is_left() -> None:
    assert changed(SOURCE, EDITED).tolist() == [[True, True], [False, False]]
    assert sparsity(SOURCE, EDITED) == 0.5
    assert sparsity(SOURCE, SOURCE) == 1.0


def test_distance_outside_the_mask() -> None:
    mask = np.array([[True, False], [False, False]])
    assert distance_outside(SOURCE, EDITED, mask) == pytest.approx((51 + 0 + 10) / 255 / 3)
    for bad in (np.ones((2, 2), bool), np.zeros((3, 2), bool)):
        with pytest.raises(InputError, match="mask"):
            distance_outside(SOURCE, EDITED, bad)


def test_diversity_is_the_mean_cosine_distance() -> None:
    assert diversity(np.array([[1.0, 0], [0, 2.0], [-3.0, 0]])) == pytest.approx((1 + 2 + 1) / 3)
    assert diversity(np.array([[1.0, 0]])) == 0.0


def test_cout_by_hand() -> None:
    """p(new) is the mean brightness of the edit that has arrived: after the brightest pixel it is 255 of 316."""

    def confidence(frames: Sequence[Image]) -> tuple[np.ndarray, np.ndarray]:
        new = np.array([np.asarray(frame.convert("L"), float).sum() / (255 + 51 + 10) for frame in frames])
        return 1 - new, new

    arrived = np.array([0, 255, 306, 316, 316]) / 316
    area = (arrived[:-1] + arrived[1:]).sum() / 2 / 4
    assert cout(SOURCE, EDITED, confidence, steps=4) == pytest.approx(area - (1 - area))
    assert cout(SOURCE, EDITED, lambda frames: confidence(frames)[::-1], steps=4) == pytest.approx((1 - area) - area)


def test_kid_by_hand() -> None:
    """Width 1: k(x, y) = (x y + 1) ** 3; k(0, 1) = 1, k(1, 2) = 27, k(0, 2) = 1, k(1, 1) = 8."""
    real, made = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    assert kid(real, made) == pytest.approx(1 + 27 - 2 * (1 + 1 + 8 + 27) / 4)
    draw = np.random.default_rng(0)
    near, alike, far = draw.normal(size=(200, 8)), draw.normal(size=(200, 8)), draw.normal(1, 1, (200, 8))
    assert abs(kid(near, alike)) < 0.1 * kid(near, far)
    with pytest.raises(InputError, match="1 and 200"):
        kid(near[:1], far)
