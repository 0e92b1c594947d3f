"""Table 1 of the paper: what counterfactuals cost a classifier, by class and factor.

The change of Acc@1 and Acc@5 on the edits and, where the true counterfactuals are known, on those too. Asks no model
but the classifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from PIL.Image import Image
from torch.nn.functional import linear

from pipeline.analysis.weakness import ALL, Weakness, weakness, weakness_by_tau
from pipeline.curation.selection import chosen
from pipeline.reinforcement.features import Features
from pipeline.statistics.intervals import Mean
from pipeline.study.results import CostCell, Weaknesses
from pipeline.types import Prediction, Study


def weaknesses(features: Features, studies: Sequence[Study], truth: Mapping[str, Image]) -> Weaknesses:
    """Make table 1; `truth` holds the true picture of some counterfactuals by their key."""
    seen = [_seen_by(features, study) for study in studies]
    known = [_with_truth(study, truth) for study in seen]
    true = [_with_true_pictures(features, study, truth) for study in known]
    pairs = zip(_by_cell(weakness(known)).items(), _by_cell(weakness(true)).values(), strict=True)
    cells = tuple(
        CostCell(label=label, factor=factor, n=row.n, edits=row.delta_acc1, truth=other.delta_acc1)
        for ((label, factor), row), other in pairs
        if not row.too_few
    )
    return Weaknesses(
        rows=weakness(seen),
        by_tau=weakness_by_tau(seen),
        truth=weakness(true),
        cells=cells,
        correlation=_correlation(cells),
    )


def _seen_by(features: Features, study: Study) -> Study:
    """Return the study with this classifier's predictions."""
    images = [study.photo.image, *(counterfactual.image for counterfactual in study.counterfactuals)]
    control = [study.reconstruction] if study.reconstruction is not None else []
    found = _predict(features, [*images, *control], study.photo.label)
    return replace(
        study,
        photo=replace(
            study.photo,
            prediction=found[0],
            classifier=features.classifier.name,
            fingerprint=features.classifier.fingerprint,
        ),
        control=found[-1] if control else None,
        counterfactuals=tuple(
            replace(counterfactual, prediction=found[place])
            for place, counterfactual in enumerate(study.counterfactuals, start=1)
        ),
    )


def _with_truth(study: Study, truth: Mapping[str, Image]) -> Study:
    """Return the study with the chosen counterfactuals whose truth is known."""
    return replace(
        study, counterfactuals=tuple(counterfactual for counterfactual in chosen(study) if counterfactual.key in truth)
    )


def _with_true_pictures(features: Features, study: Study, truth: Mapping[str, Image]) -> Study:
    """Return the study with the true pictures, which no inversion went through: their control is the photo."""
    images = [truth[counterfactual.key] for counterfactual in study.counterfactuals]
    predictions = _predict(features, images, study.photo.label)
    pairs = zip(study.counterfactuals, images, predictions, strict=True)
    true = tuple(replace(edited, image=image, prediction=prediction) for edited, image, prediction in pairs)
    return replace(study, control=study.photo.prediction, counterfactuals=true)


def _predict(features: Features, images: Sequence[Image], label: str) -> list[Prediction]:
    if not images:
        return []
    logits = linear(features.part([(image, label) for image in images]).features, *features.classifier.head())
    labels = features.classifier.labels
    return [Prediction(labels=labels, probabilities=row) for row in logits.double().softmax(-1).float().numpy()]


def _by_cell(rows: Sequence[Weakness]) -> dict[tuple[str, str], Weakness]:
    inner = (row for row in rows if ALL not in (row.label, row.factor))
    return {(row.label, row.factor): row for row in sorted(inner, key=lambda row: (row.label, row.factor))}


def _correlation(cells: Sequence[CostCell]) -> Mean | None:
    """Return Pearson's r with Fisher's interval; None of fewer than 4 cells or when one side never changes."""
    if len(cells) < 4:
        return None
    edits, truth = np.array([cell.edits.value for cell in cells]), np.array([cell.truth.value for cell in cells])
    if np.ptp(edits) == 0 or np.ptp(truth) == 0:
        return None
    r = float(np.clip(np.corrcoef(edits, truth)[0, 1], -1 + 1e-9, 1 - 1e-9))
    reach = 1.959963984540054 / np.sqrt(len(cells) - 3)
    low, high = np.tanh(np.arctanh(r) - reach), np.tanh(np.arctanh(r) + reach)
    return Mean(n=len(cells), value=r, low=float(low), high=float(high))
