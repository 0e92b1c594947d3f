"""How good the edits of a run are as pictures, by factor: the measures of `scoring/quality.py` on what was chosen.

Realism and diversity are measured on the profile's own CLIP and say so, for a distance on other embeddings is another
figure. COUT is measured on edits that flip the prediction, from the control's label to the new one. Knows no file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from pipeline.analysis.weakness import ALL
from pipeline.classifiers.shifts import is_prediction_flip
from pipeline.curation.selection import chosen
from pipeline.errors import DataError
from pipeline.images import fit
from pipeline.scoring.perceptual import Distance
from pipeline.scoring.picture_quality import FID_LEAST, Confidence, cout, diversity, frechet, kid, psnr, sparsity, ssim
from pipeline.statistics.intervals import Mean, mean
from pipeline.types import Classifier, Counterfactual, Study

DECIBELS = (0.0, 100.0)  # pictures of 8 bits that differ at all, and by how much
DISTANCE = (0.0, 2.0)  # those of `pipeline/scoring/perceptual.py` hardly pass 1

EmbedImages = Callable[[Sequence[Image]], NDArray[np.floating]]
"""Pictures -> (n, width)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraisal:
    """One factor's edits, or all of them."""

    factor: str
    n: int
    photos: int
    sparsity: Mean  # share of the picture that was left as it was, 0..1
    diversity: Mean  # mean cosine distance of a photo's edits on CLIP, over photos with two or more
    cout: Mean  # -1..1, of the edits that flip
    ssim: Mean  # of edit and photo, -1..1
    psnr: Mean  # of edit and photo in dB, over edits that changed something
    distances: Mapping[str, Mean]  # of edit and photo, on networks that the profile names
    fid: float | None  # CLIP Fréchet distance of edits and their photos; None with fewer than `FID_LEAST` of either
    kid: float | None  # CLIP kernel distance of edits and their photos; None with fewer than two photos


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Edit:
    photo: str
    factor: str
    image: NDArray[np.floating]  # its embedding
    sparsity: float
    cout: float | None  # None: it does not flip
    ssim: float
    psnr: float
    distances: Mapping[str, float]


def appraise(
    studies: Iterable[Study], embed: EmbedImages, judge: Classifier, distances: Mapping[str, Distance] | None = None
) -> tuple[Appraisal, ...]:
    """Return one row for all chosen edits, then one per factor. Raises `DataError` when nothing was chosen."""
    known = [(study, chosen(study)) for study in studies]
    known = [(study, best) for study, best in known if best]
    if not known:
        raise DataError("No edit of this run passed its gates; edit more photos first.")
    photos = [study.photo for study, _ in known]
    originals = dict(zip((photo.key for photo in photos), embed([photo.image for photo in photos]), strict=True))
    edits = [edit for study, best in known for edit in _edits(study, best, embed, judge, distances or {})]
    factors = (ALL, *sorted({edit.factor for edit in edits}))
    return tuple(_row(name, [edit for edit in edits if name in (ALL, edit.factor)], originals) for name in factors)


def _edits(
    study: Study,
    best: Sequence[Counterfactual],
    embed: EmbedImages,
    judge: Classifier,
    distances: Mapping[str, Distance],
) -> Iterable[_Edit]:
    for edit, embedded in zip(best, embed([edit.image for edit in best]), strict=True):
        source = study.photo.image
        if source.size != edit.image.size:  # as the editor saw it
            source = fit(source, edit.image.width)
        yield _Edit(
            photo=study.photo.key,
            factor=edit.perturbation.factor,
            image=embedded,
            sparsity=sparsity(source, edit.image),
            cout=_cout(study, edit, judge),
            ssim=ssim(source, edit.image),
            psnr=psnr(source, edit.image),
            distances={name: distance(source, edit.image) for name, distance in distances.items()},
        )


def _cout(study: Study, edit: Counterfactual, judge: Classifier) -> float | None:
    if study.control is None or not is_prediction_flip(study.control, edit.prediction):
        return None
    old, new = study.control.first, edit.prediction.first
    return cout(study.reconstruction or study.photo.image, edit.image, _confidence(judge, old, new))


def _confidence(judge: Classifier, old: str, new: str) -> Confidence:
    def confidence(images: Sequence[Image]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        found = judge.predict(images)
        return np.array([prediction.probability(old) for prediction in found]), np.array(
            [prediction.probability(new) for prediction in found]
        )

    return confidence


def _row(factor: str, edits: Sequence[_Edit], originals: dict[str, NDArray[np.floating]]) -> Appraisal:
    photos = [edit.photo for edit in edits]
    groups = {key: np.stack([edit.image for edit in edits if edit.photo == key]) for key in dict.fromkeys(photos)}
    several = {key: diversity(group) for key, group in groups.items() if len(group) > 1}
    flips = [(edit.cout, edit.photo) for edit in edits if edit.cout is not None]
    changes = [(edit.psnr, edit.photo) for edit in edits if math.isfinite(edit.psnr)]
    both = np.stack([originals[key] for key in groups]), np.stack([edit.image for edit in edits])
    return Appraisal(
        factor=factor,
        n=len(edits),
        photos=len(groups),
        sparsity=mean([edit.sparsity for edit in edits], photos, (0.0, 1.0)),
        diversity=mean(list(several.values()), list(several), (0.0, 2.0)),
        cout=mean([value for value, _ in flips], [photo for _, photo in flips]),
        ssim=mean([edit.ssim for edit in edits], photos),
        psnr=mean([value for value, _ in changes], [photo for _, photo in changes], DECIBELS),
        distances={
            name: mean([edit.distances[name] for edit in edits], photos, DISTANCE) for name in edits[0].distances
        },
        fid=frechet(*both) if min(map(len, both)) >= FID_LEAST else None,
        kid=kid(*both) if min(map(len, both)) > 1 else None,
    )
