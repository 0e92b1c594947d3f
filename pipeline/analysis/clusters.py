"""Which words hurt a classifier most: edits grouped by meaning, ranked on one half of the photos and told on the other.

Edits of one factor are clustered (k-means) on sentence embeddings of what went and what came; outcomes have no part in
it. Whichever group does worst looks worse than it is on the photos that made it the worst (the winner's curse), so the
photos are split: one half ranks the groups, by the end of the interval that is nearest to no harm, so that two lucky
pictures rank below fifty middling ones; the figures are the other half's. LANCE (Prabhu et al., 2023) clusters the
difference of CLIP captions and shows means alone. Knows no model: embeddings come from a function.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.analysis.weakness import MIN_PHOTOS, Effect, effects
from pipeline.curation.selection import split_by_photo
from pipeline.statistics.intervals import Mean, mean, share
from pipeline.types import Proportion, StudyRecord

CLUSTERS = 10  # of one factor, at most; LANCE's number
EXAMPLES = 5
LEAST = MIN_PHOTOS // 2  # photos of a group in either half
SEED = 0

EmbedTexts = Callable[[Sequence[str]], NDArray[np.floating]]
"""Texts -> (n, width) unit vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """A group of alike edits and what they cost."""

    factor: str
    edits: tuple[str, ...]  # "old -> new" as often as it came, the commonest first; at most `EXAMPLES`
    n: int  # edits that the figures rest on
    photos: int  # behind those
    sensitivity: Mean  # signed change of p(label) against the control, -1..1
    flips: Proportion
    ranked: Mean  # the change on the other photos, which gave the group its place


def insights(studies: Iterable[StudyRecord], embed: EmbedTexts, clusters: int = CLUSTERS) -> tuple[Insight, ...]:
    """Return groups of at least `LEAST` photos in either half, the most certain harm on the ranking half first."""
    found = effects(studies)
    labels = {effect.photo: effect.label for effect in found}
    ranking = frozenset(split_by_photo(list(labels), (0.5, 0.5), SEED, labels)[0])
    groups: list[Insight] = []
    for factor in sorted({effect.factor for effect in found}):
        mine = [effect for effect in found if effect.factor == factor]
        places = _cluster([_words(effect) for effect in mine], embed, clusters)
        for place in sorted(set(places)):
            group = [effect for effect, at in zip(mine, places, strict=True) if at == place]
            first, second = (
                [effect for effect in group if (effect.photo in ranking) == side] for side in (True, False)
            )
            if min(len({effect.photo for effect in half}) for half in (first, second)) >= LEAST:
                groups.append(_insight(first, second))
    return tuple(sorted(groups, key=lambda group: group.ranked.high))


def _words(effect: Effect) -> str:
    return f"{effect.edit.perturbation.original or 'nothing'} -> {effect.edit.perturbation.edit or 'nothing'}"


def _cluster(words: Sequence[str], embed: EmbedTexts, clusters: int) -> list[int]:
    """Return where each edit belongs: by what came, with what went beside it at half the weight."""
    from sklearn.cluster import KMeans

    often = Counter(words)  # the same words come from many photos: each is embedded and placed once, with its weight
    pairs = [text.partition(" -> ") for text in often]
    vectors = np.hstack([0.5 * embed([old for old, _, _ in pairs]), embed([new for _, _, new in pairs])])
    k = min(clusters, len(np.unique(vectors.round(5), axis=0)))
    if k < 2:
        return [0] * len(words)
    found = KMeans(k, n_init=4, random_state=0).fit_predict(vectors, sample_weight=list(often.values()))
    places = dict(zip(often, map(int, found), strict=True))
    return [places[text] for text in words]


def _insight(ranking: Sequence[Effect], told: Sequence[Effect]) -> Insight:
    often = Counter(_words(effect) for effect in (*ranking, *told))
    photos = [effect.photo for effect in told]
    return Insight(
        factor=told[0].factor,
        edits=tuple(sorted(often, key=lambda text: (-often[text], text))[:EXAMPLES]),
        n=len(told),
        photos=len(set(photos)),
        sensitivity=mean([effect.sensitivity for effect in told], photos),
        flips=share([effect.flip for effect in told], photos),
        ranked=mean([effect.sensitivity for effect in ranking], [effect.photo for effect in ranking]),
    )
