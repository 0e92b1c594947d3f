"""Where a classifier is weak: what counterfactuals cost it, by class, factor and tau, with the uncertainty of it all.

A pair is one chosen counterfactual (`selection.chosen`) beside the control, the reconstruction of its photo: so what
inversion alone changed is not blamed on the edit. Intervals and tests are those of `intervals.py`, with photos as the
unit; p-values are adjusted over both accuracies of all rows that come together.

Accuracy at k and its change follow Li et al. (2024) and LANCE (Prabhu et al., 2023); their sensitivity is absolute and
measured against the original, this one is signed and measured against the control. Knows no model and no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np

from pipeline.classifiers.shifts import is_prediction_flip
from pipeline.curation.selection import chosen
from pipeline.statistics.intervals import Change, Clusters, Mean, adjusted, share
from pipeline.types import CounterfactualRecord, Prediction, Proportion, Standing, StudyRecord

ALL = "all"
MIN_PHOTOS = 6  # behind a row; with fewer no change can be told from chance: the least p of 5 photos is 2 / 2**5
FLOOR = 1e-9  # below it a probability's logarithm says nothing
WIDEST = -log(FLOOR)

StudyEdits = tuple[StudyRecord, Sequence[CounterfactualRecord]]
"""A study and those of its edits that count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakness:
    """One row: a class (or "all") under one factor (or "all"), at the chosen tau or at one tau for every edit."""

    label: str
    factor: str
    tau: float | None  # None: each edit at its chosen tau
    n: int  # pairs: counterfactuals beside their control
    photos: int  # source photos behind them
    unpaired: int  # edited captions that passed the gates at no tau, or not at this one
    original_acc1: Proportion  # on the photos themselves, one per pair
    control_acc1: Proportion
    counterfactual_acc1: Proportion
    delta_acc1: Change
    original_acc5: Proportion
    control_acc5: Proportion
    counterfactual_acc5: Proportion
    delta_acc5: Change
    flips: Proportion  # the most probable label is another one than on the control
    sensitivity: Mean  # signed change of p(label) against the control, -1..1
    margin: Mean  # signed change of the logit margin: log p(label) - log p(best other label)

    @property
    def too_few(self) -> bool:
        """Return whether the row rests on fewer than `MIN_PHOTOS` photos and says hardly anything."""
        return self.photos < MIN_PHOTOS


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePoint:
    """How far one edited caption can be held to its source and still flip the prediction."""

    photo: str
    label: str
    factor: str
    edited_caption: str
    tau: float | None  # the largest, most conservative one whose edit passes the gates and flips; None: none does


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effect:
    """What one edit did to the prediction, against the control."""

    study: StudyRecord
    edit: CounterfactualRecord
    ranks: tuple[int, int, int]  # of the label: on the photo, on the control, on the counterfactual
    flip: bool  # the most probable label is another one
    sensitivity: float  # signed change of p(label)
    margin: float  # signed change of the logit margin
    tau: float | None  # of the rows that it counts in; None where the edit stands at its chosen tau

    @property
    def photo(self) -> str:
        """Return the key of the photo that it comes from."""
        return self.study.photo.key

    @property
    def label(self) -> str:
        """Return what the photo shows."""
        return self.study.photo.label

    @property
    def factor(self) -> str:
        """Return what was changed."""
        return self.edit.perturbation.factor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unpaired:
    label: str
    factor: str
    tau: float | None


_Row = tuple[str, str, float | None]  # label, factor, tau


def effects(studies: Iterable[StudyRecord]) -> tuple[Effect, ...]:
    """Return what each chosen edit did; studies without a control are passed over."""
    found, _ = _gather([(study, chosen(study)) for study in studies], None)
    return tuple(found)


def weakness(studies: Iterable[StudyRecord]) -> tuple[Weakness, ...]:
    """Return rows for every class and factor that occurs and for "all" of either; studies need a control to count.

    The overall row comes first; the others follow by how certain their loss of Acc@1 is: the row whose interval ends
    lowest first, rows of fewer than `MIN_PHOTOS` photos last.
    """
    return _sorted(_rows(*_gather([(study, chosen(study)) for study in studies], None)))


def weakness_by_tau(studies: Iterable[StudyRecord]) -> tuple[Weakness, ...]:
    """Return the same rows once per tau: every edit that passes the gates at this tau, chosen or not."""
    return _sorted(_rows(*_gather_by_tau(studies)))


def overall_by_tau(studies: Iterable[StudyRecord]) -> tuple[Weakness, ...]:
    """Return one row per tau over all classes and factors: all edits that pass the gates at this tau, chosen or not."""
    return _sorted(_rows(*_gather_by_tau(studies), overall=True))


def failure_points(studies: Iterable[StudyRecord]) -> tuple[FailurePoint, ...]:
    """Return one per edited caption that was made, in the order of the studies that have a control."""
    return tuple(
        FailurePoint(
            photo=study.photo.key,
            label=study.photo.label,
            factor=factor,
            edited_caption=words,
            tau=max((item.tau for item in _flips(study) if item.perturbation.edited_caption == words), default=None),
        )
        for study in studies
        if study.control is not None
        for words, factor in _edits(study).items()
    )


def confirmation(studies: Iterable[StudyRecord], others: Iterable[StudyRecord]) -> Proportion:
    """Return the share of a classifier's flips that a second one confirms (non-adversarial flip rate, NAFR).

    `others` are the same studies in the same order as the second classifier sees them (`workflow.judged_by`).
    """
    confirmed: list[bool] = []
    photos: list[str] = []
    for study, other in zip(studies, others, strict=True):
        if study.control is None or other.control is None:
            continue
        again = {item.key: is_prediction_flip(other.control, item.prediction) for item in other.counterfactuals}
        flips = [again[item.key] for item in chosen(study) if is_prediction_flip(study.control, item.prediction)]
        confirmed += flips
        photos += [study.photo.key] * len(flips)
    return share(confirmed, photos)


def margin(label: str, prediction: Prediction) -> float:
    """Return log p(label) - log p(best other label), their logits' difference; above 0 when the label is first."""
    return _margin(prediction.standing(label))


def _edits(study: StudyRecord) -> dict[str, str]:
    """Return the factor of each edited caption."""
    return {item.perturbation.edited_caption: item.perturbation.factor for item in study.counterfactuals}


def _passing(study: StudyRecord, tau: float) -> tuple[CounterfactualRecord, ...]:
    return tuple(item for item in study.counterfactuals if item.tau == tau and not item.missed)


def _flips(study: StudyRecord) -> list[CounterfactualRecord]:
    control = study.control
    passing = (item for item in study.counterfactuals if not item.missed)
    return [item for item in passing if control is not None and is_prediction_flip(control, item.prediction)]


def _margin(standing: Standing) -> float:
    return log(max(FLOOR, standing.probability)) - log(max(FLOOR, standing.rival))


def _gather(studies: Sequence[StudyEdits], tau: float | None) -> tuple[list[Effect], list[_Unpaired]]:
    """Return edits beside their controls, and edited captions without one, of the studies that have a control."""
    pairs: list[Effect] = []
    unpaired: list[_Unpaired] = []
    for study, best in studies:
        if study.control is None:
            continue
        photo, control = (
            prediction.standing(study.photo.label) for prediction in (study.photo.prediction, study.control)
        )
        for item in best:
            after = item.prediction.standing(study.photo.label)
            pairs.append(
                Effect(
                    study=study,
                    edit=item,
                    ranks=(photo.rank, control.rank, after.rank),
                    flip=control.first != after.first,
                    sensitivity=after.probability - control.probability,
                    margin=_margin(after) - _margin(control),
                    tau=tau,
                )
            )
        passed = {item.perturbation.edited_caption for item in best}
        lost = [factor for words, factor in _edits(study).items() if words not in passed]
        unpaired += [_Unpaired(label=study.photo.label, factor=factor, tau=tau) for factor in lost]
    return pairs, unpaired


def _gather_by_tau(studies: Iterable[StudyRecord]) -> tuple[list[Effect], list[_Unpaired]]:
    """Return the same of every edit that passes the gates, once per tau."""
    known = list(studies)
    taus = sorted({item.tau for study in known for item in study.counterfactuals})
    found = [_gather([(study, _passing(study, tau)) for study in known], tau) for tau in taus]
    return [pair for pairs, _ in found for pair in pairs], [lost for _, unpaired in found for lost in unpaired]


def _rows_of(pair: Effect | _Unpaired, overall: bool) -> tuple[_Row, ...]:
    """Return the rows that it counts in."""
    labels, factors = ((ALL,), (ALL,)) if overall else ((pair.label, ALL), (pair.factor, ALL))
    return tuple((label, factor, pair.tau) for label in labels for factor in factors)


def _rows(pairs: Sequence[Effect], unpaired: Sequence[_Unpaired], overall: bool = False) -> list[Weakness]:
    """Return a row for all that the pairs and the edited captions without one count in, in no order."""
    lost = Counter(row for pair in unpaired for row in _rows_of(pair, overall))
    places: dict[_Row, int] = {}
    inside = [places.setdefault(row, len(places)) for pair in pairs for row in _rows_of(pair, overall)]
    for row in lost:
        places.setdefault(row, len(places))
    owner = np.repeat(np.arange(len(pairs)), 1 if overall else 4)
    clusters = Clusters(np.array([pair.photo for pair in pairs])[owner], inside, len(places))
    ranks = np.array([pair.ranks for pair in pairs]).reshape(-1, 3)[owner].T
    (first, before, after), (first5, before5, after5) = ranks <= 1, ranks <= 5
    original, control, edited = (clusters.shares(hits) for hits in (first, before, after))
    original5, control5, edited5 = (clusters.shares(hits) for hits in (first5, before5, after5))
    delta, delta5 = clusters.changes(before, after), clusters.changes(before5, after5)
    flips = clusters.shares(np.array([pair.flip for pair in pairs], bool)[owner])
    sensitivities = clusters.means(np.array([pair.sensitivity for pair in pairs])[owner])
    margins = clusters.means(np.array([pair.margin for pair in pairs])[owner], (-2 * WIDEST, 2 * WIDEST))
    return _adjusted(
        [
            Weakness(
                label=label,
                factor=factor,
                tau=tau,
                n=delta[at].n,
                photos=delta[at].photos,
                unpaired=lost[label, factor, tau],
                original_acc1=original[at],
                control_acc1=control[at],
                counterfactual_acc1=edited[at],
                delta_acc1=delta[at],
                original_acc5=original5[at],
                control_acc5=control5[at],
                counterfactual_acc5=edited5[at],
                delta_acc5=delta5[at],
                flips=flips[at],
                sensitivity=sensitivities[at],
                margin=margins[at],
            )
            for (label, factor, tau), at in places.items()
        ]
    )


def _adjusted(rows: Sequence[Weakness]) -> list[Weakness]:
    """Return the rows with p-values adjusted over both accuracies of all rows of enough photos."""
    told = [row for row in rows if not row.too_few]
    changes = iter(adjusted([change for row in told for change in (row.delta_acc1, row.delta_acc5)]))
    return [row if row.too_few else replace(row, delta_acc1=next(changes), delta_acc5=next(changes)) for row in rows]


def _sorted(rows: Iterable[Weakness]) -> tuple[Weakness, ...]:
    """Return the sort key: by tau, the overall row first, then by how certain the loss is, rows of few photos last."""

    def place(row: Weakness) -> tuple[object, ...]:
        overall = row.label == row.factor == ALL
        return row.tau or 0.0, not overall, row.too_few, row.delta_acc1.high, row.label, row.factor

    return tuple(sorted(rows, key=place))
