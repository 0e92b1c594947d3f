"""What the Insights page tells of a classifier's studies: figures by class, factor and tau, and the sheets behind them.

Knows no Gradio. Rests on what the store tells without its pictures, and is computed once per state of the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from explorer.components.pairs import PairCard, explore_link
from explorer.pages.insights.sheets import CellValue, Sheet
from explorer.views import points
from pipeline.analysis.clusters import EmbedTexts, Insight, insights
from pipeline.analysis.thresholds import Separation
from pipeline.analysis.weakness import ALL, Effect, Weakness, effects, overall_by_tau, weakness
from pipeline.classifiers.shifts import is_prediction_flip
from pipeline.curation.selection import LeftOut, chosen, countable
from pipeline.scores import SCORES
from pipeline.statistics.intervals import Change, Mean
from pipeline.store.store import Store
from pipeline.types import Proportion, StudyRecord

PAIRS = 24  # shown behind a cell
P = ("p by photo", "adjusted p (Holm)")
HELD = 2  # states of the store, so that two classifiers can be looked at in turn; each holds its records in memory
MAPPED = 1000  # pictures on the map, at most: each is decoded, and goes through the classifier once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Findings:
    """Everything that needs no model; one object per state of the store."""

    studies: tuple[StudyRecord, ...]  # of one classifier, with a control and at least one edit
    effects: tuple[Effect, ...]  # of their chosen edits
    rows: tuple[Weakness, ...]
    by_tau: tuple[Weakness, ...]
    left_out: LeftOut  # photos with edits that count nowhere here

    @property
    def by_factor(self) -> tuple[Weakness, ...]:
        """Return one row per factor over all classes."""
        return tuple(row for row in self.rows if row.label == ALL and row.factor != ALL and row.n)

    @property
    def cells(self) -> frozenset[tuple[str, str]]:
        """Return the cells that have an edit behind them."""
        return frozenset((row.label, row.factor) for row in self.rows if row.n)


@lru_cache(maxsize=HELD)
def findings(records: tuple[StudyRecord, ...]) -> Findings:
    """Return what a classifier's records say; the store gives them anew after every change, so nothing is stale."""
    edited = (record for record in records if record.control is not None and record.counterfactuals)
    studies, left_out = countable(edited)
    return Findings(
        studies=studies,
        effects=effects(studies),
        rows=weakness(studies),
        by_tau=overall_by_tau(studies),
        left_out=left_out,
    )


@lru_cache(maxsize=HELD)
def alike_edits(studies: tuple[StudyRecord, ...], embed: EmbedTexts) -> tuple[Insight, ...]:
    """Return groups of alike edits, for which the sentence encoder is asked."""
    return insights(studies, embed)


def pairs_behind_cell(
    store: Store, found: Sequence[Effect], label: str, factor: str
) -> tuple[tuple[PairCard, ...], int]:
    """Return the pairs of one cell, the greatest loss of p(label) first, and how many there are.

    At most `PAIRS` are made.
    """
    inside = [effect for effect in found if label in (ALL, effect.label) and factor in (ALL, effect.factor)]
    inside.sort(key=lambda effect: effect.sensitivity)
    shown = []
    for effect in inside[:PAIRS]:
        study, edit, change = effect.study, effect.edit, effect.sensitivity
        label_now = edit.prediction.first
        shown.append(
            PairCard(
                photo=store.file(study.photo.key),
                edit=store.file(edit.key),
                title=edit.perturbation.edited_caption,
                said=f"p({study.photo.label}) {points(change)}" + (f" ⇄ {label_now}" if effect.flip else ""),
                mark="fall" if change <= -0.005 else "rise" if change >= 0.005 else "",
                words=f"{edit.perturbation.original or 'nothing'} → {edit.perturbation.edit or 'nothing'}",
                link=explore_link(study.photo.key, study.photo.classifier, edit.key),
            )
        )
    return tuple(shown), len(inside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmark:
    """One picture of the map."""

    key: str  # of the photo or the counterfactual
    label: str
    kind: str  # "original", "flips" or "stays"
    says: str


def landmarks(studies: Sequence[StudyRecord]) -> tuple[Landmark, ...]:
    """Return photos, each followed by its chosen edits: of all studies, or of a random sample that makes `MAPPED`."""
    found: list[Landmark] = []
    for study in Random(0).sample(studies, len(studies)):
        label = study.photo.label
        found.append(Landmark(key=study.photo.key, label=label, kind="original", says=f"{label}: {study.caption}"))
        for edit in chosen(study):
            flipped = study.control is not None and is_prediction_flip(study.control, edit.prediction)
            says = f"{label}: {edit.perturbation.edited_caption}"
            found.append(Landmark(key=edit.key, label=label, kind="flips" if flipped else "stays", says=says))
        if len(found) >= MAPPED:
            break
    return tuple(found[:MAPPED])


def cells_sheet(rows: tuple[Weakness, ...]) -> Sheet:
    """Return every cell of the heat map with everything measured in it."""
    columns = ("class", "factor", "n", "photos", "no edit passed", "Acc@1 control", "Acc@1 edits",
               *_names("change of Acc@1"), *P, "Acc@5 control", "Acc@5 edits", *_names("change of Acc@5"), *P,
               *_names("flip rate"), *_names("change of p(label)"), *_names("change of the margin"))  # fmt: skip
    return Sheet(name="weakness-by-class-and-factor", columns=columns, rows=tuple(map(_cell_row, rows)))


def _cell_row(row: Weakness) -> tuple[CellValue, ...]:
    return (row.label, row.factor, row.n, row.photos, row.unpaired, row.control_acc1.value,
            row.counterfactual_acc1.value, *_range(row.delta_acc1), *_p_values(row.delta_acc1), row.control_acc5.value,
            row.counterfactual_acc5.value, *_range(row.delta_acc5), *_p_values(row.delta_acc5), *_range(row.flips),
            *_range(row.sensitivity), *_range(row.margin))  # fmt: skip


def tau_sheet(rows: tuple[Weakness, ...]) -> Sheet:
    """Return the flip rate and what goes with it, per tau."""
    columns = ("tau", "n", "photos", "no edit passed", *_names("flip rate"), *_names("change of p(label)"),
               *_names("change of Acc@1"), *_names("change of Acc@5"))  # fmt: skip
    found: tuple[tuple[CellValue, ...], ...] = tuple(
        (row.tau, row.n, row.photos, row.unpaired, *_range(row.flips), *_range(row.sensitivity), *_accuracies(row))
        for row in rows
    )
    return Sheet(name="flip-rate-by-tau", columns=columns, rows=found)


def factor_sheet(rows: tuple[Weakness, ...]) -> Sheet:
    """Return the signed change of p(label) per factor."""
    columns = ("factor", "n", "photos", *_names("change of p(label)"), *_names("flip rate"),
               *_names("change of Acc@1"), *_names("change of Acc@5"))  # fmt: skip
    found: tuple[tuple[CellValue, ...], ...] = tuple(
        (row.factor, row.n, row.photos, *_range(row.sensitivity), *_range(row.flips), *_accuracies(row)) for row in rows
    )
    return Sheet(name="change-by-factor", columns=columns, rows=found)


def words_sheet(found: tuple[Insight, ...]) -> Sheet:
    """Return groups of alike edits, the most certain harm on the ranking half of the photos first."""
    columns = ("words", "factor", "n", "photos", *_names("mean change of p(label)"), *_names("flip rate"),
               "photos that ranked it", "their mean change")  # fmt: skip
    rows: tuple[tuple[CellValue, ...], ...] = tuple(
        (
            "; ".join(insight.edits).replace("->", "→"),
            insight.factor,
            insight.n,
            insight.photos,
            *_range(insight.sensitivity),
            *_range(insight.flips),
            insight.ranked.photos,
            insight.ranked.value,
        )
        for insight in found
    )
    return Sheet(name="words-that-hurt", columns=columns, rows=rows)


def thresholds_sheet(found: tuple[Separation, ...]) -> Sheet:
    """Return every score with its suggested threshold and what thresholds of other photos do to verdicts."""
    columns = ("score", "kept", "photos", "rejected", "photos", "undecided", "suggested threshold",
               *_names("kept that pass"), *_names("rejected that fail"), "better than chance")  # fmt: skip
    rows: list[tuple[CellValue, ...]] = []
    for separation in found:
        passing, failing = separation.kept_above, separation.rejected_below
        decided = (len(separation.kept), passing.photos, len(separation.rejected), failing.photos)
        shares: tuple[CellValue, ...] = (None,) * 7
        if separation.threshold is not None:
            shares = (*_range(passing), *_range(failing), "yes" if separation.helps else "not shown")
        suggested = separation.threshold if separation.helps else None
        rows.append((SCORES[separation.score].name, *decided, len(separation.undecided), suggested, *shares))
    return Sheet(name="thresholds", columns=columns, rows=tuple(rows))


def values_sheet(separation: Separation) -> Sheet:
    """Return every value of one score with its verdict."""
    parts = (("kept", separation.kept), ("rejected", separation.rejected), ("undecided", separation.undecided))
    rows = tuple((verdict, value) for verdict, values in parts for value in values)
    return Sheet(name=f"{separation.score}-by-verdict", columns=("verdict", SCORES[separation.score].name), rows=rows)


def _names(what: str) -> tuple[str, str, str]:
    return what, "low", "high"


def _accuracies(row: Weakness) -> tuple[float, ...]:
    return *_range(row.delta_acc1), *_range(row.delta_acc5)


def _p_values(change: Change) -> tuple[float, float]:
    return change.p, change.p_adjusted


def _range(found: Change | Mean | Proportion) -> tuple[float, float, float]:
    return found.value, found.low, found.high
