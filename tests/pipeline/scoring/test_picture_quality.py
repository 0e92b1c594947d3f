"""Each measure against a case that was computed by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import PIL.Image
import pytest
import torch
from PIL.Image import Image
from torchmetrics.image.kid import KernelInceptionDistance

from pipeline.errors import InputError
from pipeline.scoring.picture_quality import changed_pixels, cout, diversity, frechet, kid, psnr, sparsity, ssim


def grey(*rows: Sequence[int]) -> Image:
    return PIL.Image.fromarray(np.array(rows, np.uint8)).convert("RGB")


SOURCE, EDITED = grey([0, 0], [0, 0]), grey([255, 51], [0, 10])


def test_changed_pixels_and_what_is_left() -> None:
    assert changed_pixels(SOURCE, EDITED).tolist() == [[True, True], [False, False]]
    assert sparsity(SOURCE, EDITED) == 0.5
    assert sparsity(SOURCE, SOURCE) == 1.0


def test_structural_similarity_of_plain_pictures_is_that_of_their_brightness() -> None:
    """(2 a b + c) / (a a + b b + c) with c = 0.01 ** 2; the part on contrast and structure is 1."""
    dark, bright = (PIL.Image.new("RGB", (32, 16), (grey,) * 3) for grey in (51, 102))
    assert ssim(dark, bright) == pytest.approx((2 * 0.08 + 1e-4) / (0.04 + 0.16 + 1e-4), abs=1e-5)
    assert ssim(dark, dark) == pytest.approx(1.0)
    half = dark.copy()
    half.paste(bright.crop((0, 0, 16, 16)), (16, 0))
    mask = np.zeros((16, 32), bool)
    mask[:, 8:] = True  # the window is 11 pixels wide
    assert ssim(dark, half) < 0.95 < ssim(dark, half, mask) == pytest.approx(1.0)
    with pytest.raises(InputError, match="mask"):
        ssim(dark, half, np.ones((16, 32), bool))


def test_signal_to_noise_by_hand() -> None:
    dark, bright = (PIL.Image.new("RGB", (4, 4), (grey,) * 3) for grey in (51, 102))
    assert psnr(dark, bright) == pytest.approx(10 * np.log10(1 / 0.2**2))
    assert psnr(dark, dark) == np.inf
    mask = np.array([[True, True], [False, False]])
    assert psnr(SOURCE, EDITED, mask) == pytest.approx(10 * np.log10(2 / (10 / 255) ** 2))


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


def test_kid_is_the_librarys_where_there_are_as_many_of_both() -> None:
    draw = np.random.default_rng(1)
    real, made = draw.normal(size=(20, 4)), draw.normal(1, 1, size=(20, 4))
    given = torch.nn.Identity()
    with pytest.warns(UserWarning, match="save all extracted features"):
        metric = KernelInceptionDistance(given, subsets=1, subset_size=20)
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(made), real=False)
    assert kid(real, made) == pytest.approx(float(metric.compute()[0]), abs=1e-5)


def test_frechet_by_hand() -> None:
    """Width 1: means 1 and 12, variances 2 and 8."""
    distance = frechet(np.array([[0.0], [2.0]]), np.array([[10.0], [14.0]]))
    assert distance == pytest.approx((12 - 1) ** 2 + 2 + 8 - 2 * np.sqrt(2 * 8))
    with pytest.raises(InputError, match="1 and 2"):
        frechet(np.zeros((1, 1)), np.zeros((2, 1)))
