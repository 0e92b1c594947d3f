"""How good counterfactual pictures are by themselves: proximity, sparsity, diversity, COUT, realism.

Pure arithmetic on pixels and on embeddings that somebody else computed; a figure on embeddings is to be named after
their model. SSIM, PSNR and the Fréchet distance are torchmetrics'; its KID wants as many of one as of the other, so
the one for unequal numbers is here. COUT follows Khorram & Fuxin (CVPR 2022), KID Binkowski et al. (ICLR 2018).
Distances on networks of others are in `pipeline/scoring/perceptual.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.Image import Image

from pipeline.errors import InputError

if TYPE_CHECKING:
    import torch

COUT_STEPS = 50
FID_LEAST = 2_000  # pictures of each kind, below which the Fréchet distance is biased and KID is to be used
CHANGED = 0.1  # of the full range, the greatest channel difference from which on a pixel counts as changed

Mask = NDArray[np.bool_]  # (h, w), True where the edit may change things
Confidence = Callable[[Sequence[Image]], tuple[NDArray[np.floating], NDArray[np.floating]]]
"""Pictures -> p(the old label), p(the new label), each (n,)."""


def changed_pixels(source: Image, edited: Image) -> Mask:
    """Return where the edit changed a pixel visibly."""
    return np.abs(_pixels(edited) - _pixels(source)).max(axis=2) > CHANGED


def sparsity(source: Image, edited: Image) -> float:
    """Return the share of the picture that was left as it was, 0..1."""
    return float(1 - changed_pixels(source, edited).mean())


def ssim(source: Image, edited: Image, mask: Mask | None = None) -> float:
    """Return the structural similarity (Wang et al., 2004) outside the mask, -1..1; 1 is the same picture."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    pair = _tensor(edited), _tensor(source)
    _, each = structural_similarity_index_measure(*pair, data_range=1.0, return_full_image=True)
    return float(each[0].mean(dim=0)[_outside(each.shape[2:], mask)].mean())


def psnr(source: Image, edited: Image, mask: Mask | None = None) -> float:
    """Return the peak signal-to-noise ratio outside the mask, in dB; infinite where nothing changed."""
    from torchmetrics.functional.image import peak_signal_noise_ratio

    after, before = _tensor(edited)[0], _tensor(source)[0]
    kept = _outside(after.shape[1:], mask)
    return float(peak_signal_noise_ratio(after[:, kept], before[:, kept], data_range=1.0))


def diversity(embeddings: NDArray[np.floating]) -> float:
    """Return the mean cosine distance of every two of (n, width), 0..2; of fewer than two it is 0."""
    if len(embeddings) < 2:
        return 0.0
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    above = np.triu_indices(len(unit), 1)
    return float((1 - unit @ unit.T)[above].mean())


def cout(source: Image, edited: Image, confidence: Confidence, steps: int = COUT_STEPS) -> float:
    """Return AUC of p(new) minus AUC of p(old) while pixels are pasted, the most changed first.

    -1..1; 1 is a sparse cause.
    """
    before, after = _pixels(source), _pixels(edited)
    order = np.argsort(-np.abs(after - before).sum(axis=2), axis=None, kind="stable")
    frames = []
    for count in np.linspace(0, order.size, steps + 1).round().astype(int):
        frame = before.reshape(-1, 3).copy()
        frame[order[:count]] = after.reshape(-1, 3)[order[:count]]
        frames.append(PIL.Image.fromarray((frame.reshape(before.shape) * 255).round().astype(np.uint8)))
    old, new = confidence(frames)
    return _area(new) - _area(old)


def kid(real: NDArray[np.floating], made: NDArray[np.floating]) -> float:
    """Return the kernel distance of two sets of embeddings (n, width), unbiased, by the kernel (x.y / width + 1) ** 3.

    About 0 for one distribution, and slightly below it by chance. Raises `InputError` for fewer than two of either.
    """
    if min(len(real), len(made)) < 2:
        raise InputError(f"A distance of {len(real)} and {len(made)} pictures says nothing; give two or more of each.")

    def kernel(left: NDArray[np.floating], right: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.asarray((left @ right.T / left.shape[1] + 1) ** 3)

    def within(features: NDArray[np.floating]) -> float:
        values = kernel(features, features)
        return float((values.sum() - np.trace(values)) / (len(features) * (len(features) - 1)))

    return within(real) + within(made) - 2 * float(kernel(real, made).mean())


def frechet(real: NDArray[np.floating], made: NDArray[np.floating]) -> float:
    """Return the Fréchet distance of two sets of embeddings (n, width), each as a Gaussian; FID on other features.

    Raises `InputError` for fewer than two of either.
    """
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    if min(len(real), len(made)) < 2:
        raise InputError(f"A distance of {len(real)} and {len(made)} pictures says nothing; give two or more of each.")
    given = torch.nn.Identity()  # they are features already
    given.num_features = real.shape[1]
    metric = FrechetInceptionDistance(given).set_dtype(torch.float64)
    metric.update(torch.from_numpy(np.asarray(real, np.float64)), real=True)
    metric.update(torch.from_numpy(np.asarray(made, np.float64)), real=False)
    return float(metric.compute())


def _outside(shape: Sequence[int], mask: Mask | None) -> Mask:
    """Return where to compare. Raises `InputError` when the mask leaves nothing or does not fit."""
    if mask is None:
        return np.ones(tuple(shape), bool)
    if mask.shape != tuple(shape) or mask.all():
        raise InputError(f"A mask of {mask.shape} leaves nothing of a picture of {tuple(shape)} to compare.")
    return ~mask


def _tensor(image: Image) -> torch.Tensor:
    """Return (1, 3, h, w), 0..1."""
    import torch

    return torch.from_numpy(_pixels(image)).permute(2, 0, 1).unsqueeze(0)


def _area(curve: NDArray[np.floating]) -> float:
    """Return the area under points at equal distances over 0..1, by trapezia."""
    return float(np.mean([(left + right) / 2 for left, right in pairwise(curve)]))


def _pixels(image: Image) -> NDArray[np.floating]:
    return np.asarray(image.convert("RGB"), dtype=np.float64) / 255
