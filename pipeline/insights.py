"""Which words hurt a classifier most: edits grouped by meaning, ranked by how certain their harm is.

Edits of one factor are clustered (k-means) on sentence embeddings of what went and what came. A group is as bad as the
end of its interval that is nearest to no harm: two lucky pictures rank below fifty middling ones. LANCE (Prabhu et al.,
2023) clusters the difference of CLIP captions and shows means alone. Knows no model: embeddings come from a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.classification import is_prediction_flip, sensitivity
from pipeline.curation import chosen
from pipeline.intervals import Mean, mean, share
from pipeline.types import Proportion, StudyRecord
from pipeline.weakness import MIN_PHOTOS

CLUSTERS = 10  # of one factor, at most; LANCE's number
EXAMPLES = 5

Embed = Callable[[Sequence[str]], NDArray[np.floating]]
"""Texts -> (n, width) unit vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """A group of alike edits and what they cost."""

    factor: str
    edits: tuple[str, ...]  # "old -> new" as often as it came, the commonest first; at most `EXAMPLES`
    n: int  # pairs
    photos: int
    sensitivity: Mean  # signed change of p(label) against the control, -1..1
    flips: Proportion


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    photo: str
    factor: str
    words: str
    sensitivity: float
    flip: bool


def insights(studies: Iterable[StudyRecord], embed: Embed, clusters: int = CLUSTERS) -> tuple[Insight, ...]:
    """Groups of at least `MIN_PHOTOS` photos, the most certain harm first; () when no group has as many."""
    edits = [edit for study in studies for edit in _edits(study)]
    found = []
    for factor in sorted({edit.factor for edit in edits}):
        mine = [edit for edit in edits if edit.factor == factor]
        places = _cluster([edit.words for edit in mine], embed, clusters)
        groups = [[edit for edit, at in zip(mine, places, strict=True) if at == place] for place in sorted(set(places))]
        found += [_insight(group) for group in groups if len({edit.photo for edit in group}) >= MIN_PHOTOS]
    return tuple(sorted(found, key=lambda one: one.sensitivity.high))


def _edits(study: StudyRecord) -> Iterable[_Edit]:
    for one in chosen(study) if study.control is not None else ():
        yield _Edit(
            photo=study.photo.key,
            factor=one.perturbation.factor,
            words=f"{one.perturbation.original or 'nothing'} -> {one.perturbation.edit or 'nothing'}",
            sensitivity=sensitivity(study.photo.label, study.control, one.prediction),  # type: ignore[arg-type]
            flip=is_prediction_flip(study.control, one.prediction),  # type: ignore[arg-type]
        )


def _cluster(words: Sequence[str], embed: Embed, clusters: int) -> list[int]:
    """Where each edit belongs: by what came, with what went beside it at half the weight."""
    from sklearn.cluster import KMeans

    pairs = [text.partition(" -> ") for text in words]
    vectors = np.hstack([0.5 * embed([old for old, _, _ in pairs]), embed([new for _, _, new in pairs])])
    k = min(clusters, len(np.unique(vectors.round(5), axis=0)))
    if k < 2:
        return [0] * len(words)
    return [int(place) for place in KMeans(k, n_init=4, random_state=0).fit_predict(vectors)]


def _insight(group: Sequence[_Edit]) -> Insight:
    photos, words = [edit.photo for edit in group], [edit.words for edit in group]
    ranked = sorted(set(words), key=lambda text: (-words.count(text), text))
    return Insight(
        factor=group[0].factor,
        edits=tuple(ranked[:EXAMPLES]),
        n=len(group),
        photos=len(set(photos)),
        sensitivity=mean([edit.sensitivity for edit in group], photos),
        flips=share([edit.flip for edit in group], photos),
    )
