"""The report of a reproduction: the same sections as Markdown, to be kept, and as one HTML page with Plotly figures.

Figures are percentage points with 95 % intervals wherever something was measured. Measures nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from pipeline.heads import METHODS
from pipeline.intervals import Change, Mean
from pipeline.reproduction import CHOSEN, HYBRID, Point, Repair, Results, Score
from pipeline.weakness import ALL, Weakness

if TYPE_CHECKING:
    import plotly.graph_objects as go

TITLE = "Weakness and repair, reproduced in miniature"
STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "td,th{padding:.2rem .8rem;text-align:left}"
)
TESTS = ("T", "OOD", HYBRID)

Curve = Callable[[Repair], Sequence[Point]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Section:
    """One part of the report."""

    title: str
    text: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    figure: go.Figure | None = None


def markdown(results: Results) -> str:
    """The report without its figures; every number of them stands in a table."""
    parts = [f"# {TITLE}"]
    for section in sections(results):
        parts += [f"## {section.title}", section.text] if section.text else [f"## {section.title}"]
        if section.rows:
            lines = [section.columns, tuple("---" for _ in section.columns), *section.rows]
            parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    return "\n\n".join(parts) + "\n"


def html(results: Results) -> str:
    """One page that needs nothing else: Plotly is inside."""
    body, first = [f"<h1>{TITLE}</h1>"], True
    for section in sections(results):
        body.append(f"<h2>{escape(section.title)}</h2>")
        body += [f"<p>{escape(line)}</p>" for line in section.text.splitlines() if line]
        if section.figure is not None:
            body.append(section.figure.to_html(full_html=False, include_plotlyjs=first))
            first = False
        if section.rows:
            head = "".join(f"<th>{escape(name)}</th>" for name in section.columns)
            rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in section.rows)
            body.append(f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>")
    title = f'<meta charset="utf-8"><title>{TITLE}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en">{title}{"".join(body)}</html>\n'


def sections(results: Results) -> Iterator[Section]:
    """The report in its order."""
    yield Section(title="What was done", text=_account(results))
    yield Section(title="In short", text="\n".join(_verdicts(results)))
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


def points(one: Change | Mean) -> str:
    """In percentage points: "-11.0 (-14.7 to -8.0)"."""
    return f"{100 * one.value:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def percent(one: Mean) -> str:
    """ "67.2 (64.1 to 70.3)"."""
    return f"{100 * one.value:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"


def _account(results: Results) -> str:
    first = next(iter(results.table_2.values()))
    return (
        f"Made by `{results.command}`. {results.photos} biased photos were captioned, varied by factor, inverted and "
        f"edited: {results.edits} edits, of which {results.counterfactuals} were chosen by their scores. Each of "
        f"{results.seeds} seeds splits the photos anew into training and validation ({first.photos} photos with "
        f"{first.counterfactuals} counterfactuals to learn from) and trains every recipe at a learning rate of "
        f"{results.learning_rate:g}. Tested on {results.tests} other drawn pictures with the bias of the training (T), "
        f"{results.tests} without it (OOD), and both (Hybrid); OOD is never used in making or choosing anything. "
        "Brackets hold 95 % intervals; those of the repair resample seeds and test pictures at once. "
        "T' is compared with the reconstruction, not with the photo."
    )


def _verdicts(results: Results) -> Iterator[str]:
    for name, weak in results.table_1.items():
        row, like = weak.rows[0], weak.correlation
        text = f"- {name}: T' costs {points(row.delta_acc1)} points of Acc@1 (n = {row.n})"
        worst = next((one for one in weak.rows if one.label == ALL and one.factor != ALL and not one.too_few), None)
        if worst is not None:
            text += f", most by the {worst.factor}: {points(worst.delta_acc1)} (n = {worst.n})"
        if weak.truth:
            text += f"; on the true counterfactuals {points(weak.truth[0].delta_acc1)}"
        if like is not None:
            text += f"; over {like.n} cells r = {like.value:.2f} ({like.low:.2f} to {like.high:.2f})"
        yield f"{text}."
    for name, found in results.table_2.items():
        scores = {
            score.test: score for score in found.scores if (score.recipe, score.alpha) == ("counterfactual", CHOSEN)
        }
        ood = scores["OOD"]
        yield (
            f"- {name}: counterfactuals change OOD by {points(ood.gain)}, against plain augmentation by "
            f"{points(ood.over_standard)}, and T by {points(scores['T'].gain)} (alpha chosen on validation)."
        )


def _by_class(results: Results) -> Section:
    rows = [
        (label, name, str(row.n) + (" (few)" if row.too_few else ""), points(row.delta_acc1), f"{row.delta_acc1.p:.2g}",
         points(row.delta_acc5), points(truth.delta_acc1) if truth else "")
        for label, factor, name, row, truth in _cells(results)
        if factor == ALL
    ]  # fmt: skip
    return Section(
        title="Table 1: what counterfactuals cost, by class",
        text="Change in points from the reconstruction to T'; p is McNemar's exact test.",
        columns=("class", "classifier", "n", "delta Acc@1", "p", "delta Acc@5", "delta Acc@1, true counterfactuals"),
        rows=tuple(sorted(rows, key=lambda row: (row[0] != ALL, row[0]))),
    )


def _by_factor(results: Results) -> Section:
    rows = [
        (factor, name, str(row.n), points(row.delta_acc1), points(truth.delta_acc1) if truth else "",
         f"{100 * row.flips.value:.0f} %", f"{row.sensitivity.value:+.3f}", f"{row.margin.value:+.2f}")
        for label, factor, name, row, truth in _cells(results)
        if label == ALL and factor != ALL
    ]  # fmt: skip
    return Section(
        title="What counterfactuals cost, by factor",
        columns=(
            "factor", "classifier", "n", "delta Acc@1", "true counterfactuals", "flips", "change of p(label)",
            "of the margin",
        ),
        rows=tuple(sorted(rows)),
        figure=_agreement(results),
    )  # fmt: skip


def _by_tau(results: Results) -> Section:
    rows = [
        (f"{row.tau:g}", row.factor, name, str(row.n), points(row.delta_acc1))
        for name, found in results.table_1.items()
        for row in found.by_tau
        if row.label == ALL
    ]
    return Section(
        title="What counterfactuals cost, by tau",
        text="Every edit that passes the gates at this tau, chosen or not.",
        columns=("tau", "factor", "classifier", "n", "delta Acc@1"),
        rows=tuple(sorted(rows)),
    )


def _recipes(results: Results, metric: str) -> Section:
    rows = []
    for name, found in results.table_2.items():
        if metric == "Acc@1":
            cells = (percent(found.baseline[test]) for test in TESTS)
            rows.append((name, "as it was", "", *(text for cell in cells for text in (cell, ""))))
        for (recipe, alpha), scores in _by_recipe(found.scores).items():
            if metric == "Acc@1":
                pairs = [(percent(scores[test].accuracy), points(scores[test].gain)) for test in TESTS]
                pairs[1] = (pairs[1][0], f"{pairs[1][1]}; over standard {points(scores['OOD'].over_standard)}")
            else:
                pairs = [(percent(scores[test].accuracy5), points(scores[test].gain5)) for test in TESTS]
            rows.append((name, recipe, alpha, *(text for pair in pairs for text in pair)))
    n = {score.test: score.n for found in results.table_2.values() for score in found.scores}
    return Section(
        title=f"Table 2: {metric} by recipe",
        text="\n".join(f"- {recipe}: {words}." for recipe, words in METHODS.items()) if metric == "Acc@1" else "",
        columns=(
            "classifier",
            "recipe",
            "alpha",
            *(text for test in TESTS for text in (f"{test} (n = {n[test]})", "gain")),
        ),
        rows=tuple(rows),
        figure=_gains(results) if metric == "Acc@1" else None,
    )


def _curve(results: Results, axis: str, title: str, of: Curve) -> Section:
    rows = [
        (name, at, *(points(gains[test]) for test in TESTS))
        for name, found in results.table_2.items()
        for at, gains in _by_point(of(found)).items()
    ]
    return Section(
        title=title, columns=("classifier", axis, *TESTS), rows=tuple(rows), figure=_lines(results, axis, of)
    )


def _classes(results: Results) -> Section:
    rows = [
        (label, *(points(found.by_class[label]) for found in results.table_2.values()))
        for label in next(iter(results.table_2.values())).by_class
    ]
    return Section(
        title="What was forgotten: gain in Acc@1 by class",
        text="Over all test pictures, alpha chosen on validation.",
        columns=("class", *results.table_2),
        rows=tuple(rows),
    )


def _cells(results: Results) -> Iterator[tuple[str, str, str, Weakness, Weakness | None]]:
    """(class, factor, classifier, row, the true counterfactuals' row)."""
    for name, found in results.table_1.items():
        truth = {(row.label, row.factor): row for row in found.truth}
        for row in found.rows:
            yield row.label, row.factor, name, row, truth.get((row.label, row.factor))


def _by_recipe(scores: Sequence[Score]) -> dict[tuple[str, str], dict[str, Score]]:
    found: dict[tuple[str, str], dict[str, Score]] = {}
    for score in scores:
        found.setdefault((score.recipe, score.alpha), {})[score.test] = score
    return found


def _by_point(curve: Sequence[Point]) -> dict[str, dict[str, Mean]]:
    found: dict[str, dict[str, Mean]] = {}
    for point in curve:
        found.setdefault(point.at, {})[point.test] = point.gain
    return found


def _agreement(results: Results) -> go.Figure:
    """Every cell: what the edits cost against what the truth costs."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, found in results.table_1.items():
        figure.add_scatter(
            x=[100 * cell.truth.value for cell in found.cells], y=[100 * cell.edits.value for cell in found.cells],
            text=[f"{cell.label}, {cell.factor}, n = {cell.n}" for cell in found.cells], mode="markers", name=name,
        )  # fmt: skip
    figure.add_shape(type="line", x0=-100, y0=-100, x1=20, y1=20, line={"dash": "dot"})
    return figure.update_layout(xaxis_title="true counterfactuals, points of Acc@1", yaxis_title="edits")


def _gains(results: Results) -> go.Figure:
    """Every recipe's gain on OOD at the alpha it is best judged by."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, found in results.table_2.items():
        ood = [score for score in found.scores if score.test == "OOD" and score.alpha in (CHOSEN, "1")]
        figure.add_bar(x=[score.recipe for score in ood], y=[100 * score.gain.value for score in ood],
                       error_y=_reach([score.gain for score in ood]), name=name)  # fmt: skip
    return figure.update_layout(yaxis_title="gain on OOD, points of Acc@1", barmode="group")


def _lines(results: Results, axis: str, of: Curve) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, found in results.table_2.items():
        for test in ("T", "OOD"):
            mine = [point for point in of(found) if point.test == test]
            figure.add_scatter(x=[point.at for point in mine], y=[100 * point.gain.value for point in mine],
                               error_y=_reach([point.gain for point in mine]), name=f"{name}, {test}")  # fmt: skip
    return figure.update_layout(xaxis_title=axis, yaxis_title="gain, points of Acc@1")


def _reach(gains: Sequence[Mean]) -> dict[str, object]:
    """Plotly's error bars of these intervals."""
    above, below = ([100 * (g.high - g.value) for g in gains], [100 * (g.value - g.low) for g in gains])
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
