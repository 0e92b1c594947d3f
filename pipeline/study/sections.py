"""What the report of a reproduction says, section by section: sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.analysis.weakness import ALL, Weakness
from pipeline.reinforcement.recipes import METHODS
from pipeline.statistics.intervals import Change, Mean, adjusted
from pipeline.study.figures import agreement_figure, curve_figure, strength_figure
from pipeline.study.repair import RATES
from pipeline.study.results import (
    CHOSEN,
    HYBRID,
    RIVALS,
    Condition,
    Curve,
    Repair,
    Results,
    best,
    by_point,
    by_recipe,
    title_of,
)
from pipeline.types import Proportion

if TYPE_CHECKING:
    import plotly.graph_objects as go


TESTS = ("T", "OOD", HYBRID)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Section:
    """One part of the report."""

    title: str
    text: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    figure: go.Figure | None = None


def sections(results: Results) -> Iterator[Section]:
    """Yield the report in its order."""
    yield Section(title="What was done", text=_account(results))
    yield Section(title="In short", text="\n".join(_verdicts(results)))
    yield _strengths(results)
    yield _by_class(results)
    yield _by_factor(results)
    yield _by_tau(results)
    yield _recipes(results, "Acc@1")
    yield _recipes(results, "Acc@5")
    yield _curve(results, "alpha", "The blend: gain in Acc@1 over alpha", lambda found: found.curve)
    yield _curve(
        results, "photos", "Gain in Acc@1 over the share of the training photos", lambda found: found.by_number
    )
    yield _curve(results, "factor", "Gain in Acc@1 from counterfactuals of one factor", lambda found: found.by_factor)
    yield _classes(results)


def points(estimate: Change | Mean) -> str:
    """Return percentage points: "-11.0 (-14.7 to -8.0)"."""
    return f"{100 * estimate.value:+.1f} ({100 * estimate.low:+.1f} to {100 * estimate.high:+.1f})"


def percent(estimate: Mean | Proportion) -> str:
    """Return per cent: "67.2 (64.1 to 70.3)"."""
    return f"{100 * estimate.value:.1f} ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"


def p_value(p: float) -> str:
    """Return "0.012", or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _account(results: Results) -> str:
    first = next(iter(results.table_2.values()))
    strengths = ", ".join(f"{strength:g}" for strength in sorted({strength for strength, _ in results.table_2}))
    rates = ", ".join(f"{rate:g}" for rate in RATES)
    photos = (
        f"Made by `{results.command}`. {results.photos} photos of the world's own bias were captioned, varied by "
        f"factor, inverted and edited: {results.edits} edits, of which {results.counterfactuals} "
        "were chosen by their scores."
    )
    classifiers = (
        "Classifiers were trained on scenes in which the background follows the label with a strength of "
        f"{strengths}, every one for {results.training} steps; the strength stands behind a classifier's name."
    )
    recipes = (
        f"Each of {results.seeds} seeds splits the photos into training and validation ({first.photos} photos with "
        f"{first.counterfactuals} counterfactuals to learn from) and trains every recipe for at most {results.epochs} "
        f"epochs. All recipes choose the learning rate (of {rates}), the epoch and alpha by the same pictures: photos "
        "and counterfactuals of validation. Plain augmentations are drawn anew every epoch; of pictures made from a "
        f"caption alone there are {results.samples} for every counterfactual, which the epochs take in turn."
    )
    tests = (
        f"Tested on {results.tests} other drawn pictures with the bias of the classifier's own training (T), "
        f"{results.tests} without any (OOD), and both (Hybrid); neither is used in making or choosing anything."
    )
    intervals = (
        "Brackets hold 95 % intervals. Those of weaknesses have photos as the unit. Those of the repair know that "
        "photos, splits and test pictures are draws: the photos were drawn "
        f"{results.replicates} times with replacement, and every recipe was trained anew on each draw with every seed. "
        "The training of the classifiers is not among what is resampled: each is one training. p-values are adjusted "
        "by Holm's method over all that stand in one list or table. T' is compared with the reconstruction, not with "
        "the photo."
    )
    return "\n\n".join((photos, classifiers, recipes, tests, intervals))


def _verdicts(results: Results) -> Iterator[str]:
    for key, weak in results.table_1.items():
        row, like = weak.rows[0], weak.correlation
        cost = f"{points(row.delta_acc1)} points of Acc@1 and {points(row.delta_acc5)} of Acc@5"
        text = f"- {title_of(key)}: T' costs {cost} (n = {row.n} edits of {row.photos} photos)"
        worst = next((row for row in weak.rows if row.label == ALL and row.factor != ALL and not row.too_few), None)
        if worst is not None:
            text += f", most by the {worst.factor}: {points(worst.delta_acc1)}"
        if weak.truth:
            text += f"; the true counterfactuals cost {points(weak.truth[0].delta_acc1)}"
        if like is not None:
            text += f"; over {like.n} cells r = {like.value:.2f} ({like.low:.2f} to {like.high:.2f})"
        yield f"{text}."
    gains = {(key, what): gain for key, found in results.table_2.items() for what, gain in _headline(found).items()}
    told = dict(zip(gains, adjusted(list(gains.values())), strict=True))
    for key in results.table_2:
        mine = {what: gain for (other, what), gain in told.items() if other == key}
        over = ", ".join(f"over {rival} {_change_and_p(mine[rival])}" for rival in RIVALS if rival in mine)
        yield (
            f"- {title_of(key)}: counterfactuals change Acc@1 on OOD by {_change_and_p(mine['OOD'])}, on T by "
            f"{_change_and_p(mine['T'])}; on OOD {over} (alpha chosen on validation)."
        )


def _headline(found: Repair) -> dict[str, Change]:
    """Return what counterfactuals gain on OOD and T, and on OOD over each rival."""
    scores = by_recipe(found.scores)["counterfactual", CHOSEN]
    return {"OOD": scores["OOD"].gain, "T": scores["T"].gain} | scores["OOD"].over


def _change_and_p(change: Change) -> str:
    """Return "+4.1 (+2.0 to +6.2), p = 0.003"."""
    p = p_value(change.p_adjusted)
    return f"{points(change)}, p {p if p.startswith('<') else f'= {p}'}"


def _strengths(results: Results) -> Section:
    rows = []
    for (strength, name), found in sorted(results.table_2.items(), key=lambda entry: (entry[0][1], entry[0][0])):
        before = (percent(found.baseline["T"]), percent(found.baseline["OOD"]))
        cost = points(results.table_1[strength, name].rows[0].delta_acc1)
        gains = {recipe: scores["OOD"].gain for (recipe, alpha), scores in best(found).items()}
        rows.append(
            (
                name,
                f"{strength:g}",
                *before,
                cost,
                *(points(gains[recipe]) if recipe in gains else "" for recipe in METHODS),
            )
        )
    return Section(
        title="Over the strength of the bias: what T' costs, and each recipe's gain on OOD",
        text="Acc@1; every recipe with alpha chosen on validation where it blends.",
        columns=("classifier", "strength", "T as it was", "OOD as it was", "T' costs", *METHODS),
        rows=tuple(rows),
        figure=strength_figure(results),
    )


def _by_class(results: Results) -> Section:
    rows = [
        (label, title_of(key), f"{row.n} of {row.photos}" + (" (few)" if row.too_few else ""), points(row.delta_acc1),
         p_value(row.delta_acc1.p_adjusted), points(row.delta_acc5), points(truth.delta_acc1) if truth else "")
        for label, factor, key, row, truth in _cells(results)
        if factor == ALL
    ]  # fmt: skip
    return Section(
        title="Table 1: what counterfactuals cost, by class",
        text="Change in points from the reconstruction to T'; p flips the sign of each photo's change, adjusted over "
        "all cells of a classifier.",
        columns=("class", "classifier", "edits of photos", "delta Acc@1", "p", "delta Acc@5",
                 "delta Acc@1, true counterfactuals"),
        rows=tuple(sorted(rows, key=lambda row: (row[0] != ALL, row[0]))),
    )  # fmt: skip


def _by_factor(results: Results) -> Section:
    rows = [
        (factor, title_of(key), str(row.n), points(row.delta_acc1), points(row.delta_acc5),
         points(truth.delta_acc1) if truth else "", f"{100 * row.flips.value:.0f} %",
         f"{row.sensitivity.value:+.3f}", f"{row.margin.value:+.2f}")
        for label, factor, key, row, truth in _cells(results)
        if label == ALL and factor != ALL
    ]  # fmt: skip
    return Section(
        title="What counterfactuals cost, by factor",
        columns=(
            "factor", "classifier", "n", "delta Acc@1", "delta Acc@5", "delta Acc@1, true counterfactuals", "flips",
            "change of p(label)", "of the margin",
        ),
        rows=tuple(sorted(rows)),
        figure=agreement_figure(results),
    )  # fmt: skip


def _by_tau(results: Results) -> Section:
    rows = [
        (f"{row.tau:g}", row.factor, title_of(key), str(row.n), points(row.delta_acc1), points(row.delta_acc5))
        for key, found in results.table_1.items()
        for row in found.by_tau
        if row.label == ALL
    ]
    return Section(
        title="What counterfactuals cost, by tau",
        text="Every edit that passes the gates at this tau, chosen or not.",
        columns=("tau", "factor", "classifier", "n", "delta Acc@1", "delta Acc@5"),
        rows=tuple(sorted(rows)),
    )


def _recipes(results: Results, metric: str) -> Section:
    rows = []
    for key, found in results.table_2.items():
        baseline = found.baseline if metric == "Acc@1" else found.baseline5
        cells = (percent(baseline[test]) for test in TESTS)
        rows.append((title_of(key), "as it was", "", *(text for cell in cells for text in (cell, ""))))
        for (recipe, alpha), scores in by_recipe(found.scores).items():
            if metric == "Acc@1":
                pairs = [(percent(scores[test].accuracy), points(scores[test].gain)) for test in TESTS]
                pairs[1] = (pairs[1][0], f"{pairs[1][1]}; over standard {points(scores['OOD'].over['standard'])}")
            else:
                pairs = [(percent(scores[test].accuracy5), points(scores[test].gain5)) for test in TESTS]
            rows.append((title_of(key), recipe, alpha, *(text for pair in pairs for text in pair)))
    n = {score.test: score.gain.n for found in results.table_2.values() for score in found.scores}
    return Section(
        title=f"Table 2: {metric} by recipe",
        text="\n".join(f"- {recipe}: {method.help}." for recipe, method in METHODS.items())
        if metric == "Acc@1"
        else "",
        columns=(
            "classifier",
            "recipe",
            "alpha",
            *(text for test in TESTS for text in (f"{test} (n = {n[test]})", "gain")),
        ),
        rows=tuple(rows),
    )


def _curve(results: Results, axis: str, title: str, of: Curve) -> Section:
    rows = [
        (title_of(key), at, *(points(gains[test]) for test in TESTS))
        for key, found in results.table_2.items()
        for at, gains in by_point(of(found)).items()
    ]
    return Section(
        title=title, columns=("classifier", axis, *TESTS), rows=tuple(rows), figure=curve_figure(results, axis, of)
    )


def _classes(results: Results) -> Section:
    rows = [
        (label, *(points(found.by_class[label]) for found in results.table_2.values()))
        for label in next(iter(results.table_2.values())).by_class
    ]
    return Section(
        title="What was forgotten: gain in Acc@1 by class",
        text="Over all test pictures, alpha chosen on validation.",
        columns=("class", *map(title_of, results.table_2)),
        rows=tuple(rows),
    )


def _cells(results: Results) -> Iterator[tuple[str, str, Condition, Weakness, Weakness | None]]:
    """Yield (class, factor, classifier, row, the true counterfactuals' row)."""
    for key, found in results.table_1.items():
        truth = {(row.label, row.factor): row for row in found.truth}
        for row in found.rows:
            yield row.label, row.factor, key, row, truth.get((row.label, row.factor))
