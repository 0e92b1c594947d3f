"""Scenes for training and measuring, drawn once and kept as one array on disk.

Seeds are kept apart: training scenes come from `TRAIN_SEED`, everything measured comes from `HELD_OUT_SEED` and later.
Knows no model.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.tiny.world import SIZE, Scene, draw, sample

TRAIN_SEED = 1
BIASED_SEED = 2
HELD_OUT_SEED = 900_001

Pixels = NDArray[np.uint8]  # (n, SIZE, SIZE, 3)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scenes:
    """Scenes with their pictures, in the same order."""

    scenes: tuple[Scene, ...]
    pixels: Pixels


def _pixels(scene: Scene) -> Pixels:
    return np.asarray(draw(scene), np.uint8)


def scenes(n: int, seed: int, folder: Path, *, bias: float = 0.0) -> Scenes:
    """Return `n` drawn scenes; the pictures are read from `folder` when they were drawn before."""
    drawn = sample(n, seed, bias)
    path = folder / f"scenes-{seed}-{n}{f'-bias-{bias:g}' if bias else ''}.npy"
    if path.exists():
        return Scenes(scenes=drawn, pixels=np.load(path, mmap_mode="r"))
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.empty((n, SIZE, SIZE, 3), np.uint8)
    with ProcessPoolExecutor(2) as pool:
        for index, picture in enumerate(pool.map(_pixels, drawn, chunksize=200)):
            pixels[index] = picture
    unfinished = path.with_suffix(".part.npy")
    np.save(unfinished, pixels)
    unfinished.rename(path)
    return Scenes(scenes=drawn, pixels=np.load(path, mmap_mode="r"))
