"""Originals and edits on one map: the two directions in which a classifier's features of them differ most (PCA).

Knows no model: features come from whoever has them. A map of 2 of many dimensions hides the rest, so it says how much
of the variance it shows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError


class Landscape(NamedTuple):
    """Where each row lies, and the share of the variance along both axes, 0..1."""

    points: NDArray[np.floating]  # (n, 2)
    explained: tuple[float, float]


def landscape(features: NDArray[np.floating]) -> Landscape:
    """Return the map of features (n, width); the same features give the same map.

    Raises `DataError` for fewer than 3 rows, and when all are equal.
    """
    if len(features) < 3:
        raise DataError(f"A map of {len(features)} pictures shows nothing; edit some photos first.")
    if np.ptp(features, axis=0).max() == 0:
        raise DataError(f"All {len(features)} pictures look the same to the classifier; edit other photos.")
    from sklearn.decomposition import PCA

    found = PCA(2, svd_solver="full").fit(features)
    first, second = (float(share) for share in found.explained_variance_ratio_)
    return Landscape(points=found.transform(features), explained=(first, second))
