"""Where a classifier is weak: what counterfactuals cost it, by class, factor and tau, with the uncertainty of it all.

A pair is one chosen counterfactual (`curation.chosen`) beside the control, the reconstruction of its photo: so what
inversion alone changed is not blamed on the edit. Intervals and tests are those of `pipeline/intervals.py`.

Accuracy at k and its change follow Li et al. (2024) and LANCE (Prabhu et al., 2023); their sensitivity is absolute and
measured against the original, this one is signed and measured against the control. Knows no model and no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log

from pipeline.classification import is_prediction_flip, sensitivity
from pipeline.curation import chosen
from pipeline.intervals import Change, Mean, bootstrap_mean, change, wilson
from pipeline.types import CounterfactualRecord, Prediction, Proportion, StudyRecord

ALL = "all"
MIN_N = 5
FLOOR = 1e-9  # below it a probability's logarithm says nothing
WIDEST = -log(FLOOR)

Edited = tuple[StudyRecord, Sequence[CounterfactualRecord]]
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
        """True when the row rests on fewer than `MIN_N` pairs and says hardly anything."""
        return self.n < MIN_N


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePoint:
    """How far one edited caption can be held to its source and still flip the prediction."""

    photo: str
    label: str
    factor: str
    edited_caption: str
    tau: float | None  # the largest, most conservative one whose edit passes the gates and flips; None: none does


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    photo: str
    label: str
    factor: str
    ranks: tuple[int, int, int]  # of the label: on the photo, on the control, on the counterfactual
    flip: bool
    sensitivity: float
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unpaired:
    label: str
    factor: str


def weakness(studies: Iterable[StudyRecord]) -> tuple[Weakness, ...]:
    """Rows for every class and factor that occurs and for "all" of either; studies without a control are passed over.

    The overall row comes first; the others follow by how certain their loss of Acc@1 is: the row whose interval ends
    lowest first, rows with fewer than `MIN_N` pairs last.
    """
    return _rows([(study, chosen(study)) for study in studies], None)


def weakness_by_tau(studies: Iterable[StudyRecord]) -> tuple[Weakness, ...]:
    """The same rows once per tau: every edit that passes the gates at this tau, chosen or not."""
    known = list(studies)
    taus = sorted({one.tau for study in known for one in study.counterfactuals})
    found = {tau: [(study, _passing(study, tau)) for study in known] for tau in taus}
    return tuple(row for tau in taus for row in _rows(found[tau], tau))


def overall_by_tau(studies: Iterable[StudyRecord]) -> tuple[Weakness, ...]:
    """One row per tau over all classes and factors: every edit that passes the gates at this tau, chosen or not."""
    known = list(studies)
    taus = sorted({one.tau for study in known for one in study.counterfactuals})
    gathered = ((tau, _gather([(study, _passing(study, tau)) for study in known])) for tau in taus)
    return tuple(_row(ALL, ALL, tau, pairs, unpaired) for tau, (pairs, unpaired) in gathered)


def failure_points(studies: Iterable[StudyRecord]) -> tuple[FailurePoint, ...]:
    """One per edited caption that was made, in the order of the studies; studies without a control are passed over."""
    return tuple(
        FailurePoint(
            photo=study.photo.key,
            label=study.photo.label,
            factor=factor,
            edited_caption=words,
            tau=max((one.tau for one in _flips(study) if one.perturbation.edited_caption == words), default=None),
        )
        for study in studies
        if study.control is not None
        for words, factor in _edits(study).items()
    )


def confirmation(studies: Iterable[StudyRecord], others: Iterable[StudyRecord]) -> Proportion:
    """Of the flips under one classifier, the share that a second one confirms (non-adversarial flip rate, NAFR).

    `others` are the same studies in the same order as the second classifier sees them (`workflow.judged_by`).
    """
    confirmed = []
    for one, other in zip(studies, others, strict=True):
        if one.control is None or other.control is None:
            continue
        again = {item.key: is_prediction_flip(other.control, item.prediction) for item in other.counterfactuals}
        confirmed += [again[item.key] for item in chosen(one) if is_prediction_flip(one.control, item.prediction)]
    return wilson(sum(confirmed), len(confirmed))


def margin(label: str, prediction: Prediction) -> float:
    """log p(label) - log p(best other label): the difference of their logits, above 0 when the label is first."""
    others = (p for name, p in zip(prediction.labels, prediction.probabilities, strict=True) if name != label)
    return log(max(FLOOR, prediction.probability(label))) - log(max(FLOOR, *others, 0.0))


def _edits(study: StudyRecord) -> dict[str, str]:
    """Edited caption -> factor."""
    return {one.perturbation.edited_caption: one.perturbation.factor for one in study.counterfactuals}


def _passing(study: StudyRecord, tau: float) -> tuple[CounterfactualRecord, ...]:
    return tuple(one for one in study.counterfactuals if one.tau == tau and not one.missed)


def _flips(study: StudyRecord) -> list[CounterfactualRecord]:
    control = study.control
    passing = (one for one in study.counterfactuals if not one.missed)
    return [one for one in passing if control is not None and is_prediction_flip(control, one.prediction)]


def _rows(studies: Sequence[Edited], tau: float | None) -> tuple[Weakness, ...]:
    pairs, unpaired = _gather(studies)
    seen: list[_Pair | _Unpaired] = [*pairs, *unpaired]
    labels = [ALL, *sorted({one.label for one in seen})]
    factors = [ALL, *sorted({one.factor for one in seen})]
    rows = [_row(label, factor, tau, pairs, unpaired) for label in labels for factor in factors]
    rows = [row for row in rows if row.n or row.unpaired]
    rows.sort(key=lambda row: (not row.label == row.factor == ALL, row.too_few, row.delta_acc1.high))
    return tuple(rows)


def _gather(studies: Sequence[Edited]) -> tuple[list[_Pair], list[_Unpaired]]:
    """Edits beside their controls, and edited captions that have none; studies without a control are passed over."""
    pairs: list[_Pair] = []
    unpaired: list[_Unpaired] = []
    for study, best in studies:
        if study.control is None:
            continue
        pairs += [_pair(study, study.control, one) for one in best]
        passed = {one.perturbation.edited_caption for one in best}
        lost = [factor for words, factor in _edits(study).items() if words not in passed]
        unpaired += [_Unpaired(label=study.photo.label, factor=factor) for factor in lost]
    return pairs, unpaired


def _pair(study: StudyRecord, control: Prediction, one: CounterfactualRecord) -> _Pair:
    label = study.photo.label
    return _Pair(
        photo=study.photo.key,
        label=label,
        factor=one.perturbation.factor,
        ranks=(study.photo.prediction.rank(label), control.rank(label), one.prediction.rank(label)),
        flip=is_prediction_flip(control, one.prediction),
        sensitivity=sensitivity(label, control, one.prediction),
        margin=margin(label, one.prediction) - margin(label, control),
    )


def _row(label: str, factor: str, tau: float | None, pairs: Sequence[_Pair], unpaired: Sequence[_Unpaired]) -> Weakness:
    def belongs(one: _Pair | _Unpaired) -> bool:
        return label in (ALL, one.label) and factor in (ALL, one.factor)

    mine = [pair for pair in pairs if belongs(pair)]
    photos = [pair.photo for pair in mine]
    hits = {
        k: [[rank <= k for rank in ranks] for ranks in zip(*(pair.ranks for pair in mine), strict=True)] for k in (1, 5)
    }
    (first, before, after), (first5, before5, after5) = (hits[k] or ([], [], []) for k in (1, 5))
    return Weakness(
        label=label,
        factor=factor,
        tau=tau,
        n=len(mine),
        photos=len(set(photos)),
        unpaired=sum(map(belongs, unpaired)),
        original_acc1=wilson(sum(first), len(mine)),
        control_acc1=wilson(sum(before), len(mine)),
        counterfactual_acc1=wilson(sum(after), len(mine)),
        delta_acc1=change(before, after, photos),
        original_acc5=wilson(sum(first5), len(mine)),
        control_acc5=wilson(sum(before5), len(mine)),
        counterfactual_acc5=wilson(sum(after5), len(mine)),
        delta_acc5=change(before5, after5, photos),
        flips=wilson(sum(pair.flip for pair in mine), len(mine)),
        sensitivity=bootstrap_mean([pair.sensitivity for pair in mine], photos),
        margin=bootstrap_mean([pair.margin for pair in mine], photos, WIDEST),
    )
