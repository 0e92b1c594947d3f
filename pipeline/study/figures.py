"""The Plotly figures of a reproduction's report."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from pipeline.reinforcement.recipes import METHODS
from pipeline.statistics.intervals import Change
from pipeline.study.results import Curve, Results, best, title_of

if TYPE_CHECKING:
    import plotly.graph_objects as go


COLOURS = ("#0f766e", "#c2410c", "#6d28d9", "#1d4ed8", "#a16207", "#be185d", "#475569")  # of the recipes


def agreement_figure(results: Results) -> go.Figure:
    """Draw every cell: what the edits cost against what the truth costs."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for key, found in results.table_1.items():
        figure.add_scatter(
            x=[100 * cell.truth.value for cell in found.cells],
            y=[100 * cell.edits.value for cell in found.cells],
            text=[f"{cell.label}, {cell.factor}, n = {cell.n}" for cell in found.cells],
            mode="markers",
            name=title_of(key),
        )
    figure.add_shape(type="line", x0=-100, y0=-100, x1=20, y1=20, line={"dash": "dot"})
    return figure.update_layout(xaxis_title="true counterfactuals, points of Acc@1", yaxis_title="edits")


def strength_figure(results: Results) -> go.Figure:
    """Draw every recipe's gain on OOD over the strength of the bias, a panel per classifier."""
    from plotly.subplots import make_subplots

    names = list(dict.fromkeys(name for _, name in results.table_2))
    figure = make_subplots(cols=len(names), subplot_titles=names, shared_yaxes=True, x_title="strength of the bias")
    for column, name in enumerate(names, 1):
        mine = sorted((strength, best(found)) for (strength, other), found in results.table_2.items() if other == name)
        for colour, recipe in zip(cycle(COLOURS), METHODS, strict=False):
            gains = [
                (strength, scores["OOD"].gain)
                for strength, recipes in mine
                for (other, _), scores in recipes.items()
                if other == recipe
            ]
            figure.add_scatter(
                x=[strength for strength, _ in gains],
                y=[100 * gain.value for _, gain in gains],
                error_y=_reach([gain for _, gain in gains]) | {"thickness": 1, "width": 2},
                name=recipe,
                legendgroup=recipe,
                showlegend=column == 1,
                line={"color": colour},
                row=1,
                col=column,
            )
    figure.update_xaxes(tickvals=sorted({strength for strength, _ in results.table_2}))
    figure.update_yaxes(title_text="gain on OOD, points of Acc@1", col=1)
    return figure.update_layout(
        template="plotly_white", width=1100, height=420, margin={"l": 60, "r": 20, "t": 40, "b": 60}
    )


def curve_figure(results: Results, axis: str, of: Curve) -> go.Figure:
    """Draw a curve of gains on T and on OOD, a line per classifier and test."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for key, found in results.table_2.items():
        for test in ("T", "OOD"):
            mine = [point for point in of(found) if point.test == test]
            gains = [point.gain for point in mine]
            figure.add_scatter(
                x=[point.at for point in mine],
                y=[100 * gain.value for gain in gains],
                error_y=_reach(gains),
                name=f"{title_of(key)}, {test}",
            )
    return figure.update_layout(xaxis_title=axis, yaxis_title="gain, points of Acc@1")


def _reach(gains: Sequence[Change]) -> dict[str, object]:
    """Return Plotly's error bars of these intervals."""
    above, below = ([100 * (g.high - g.value) for g in gains], [100 * (g.value - g.low) for g in gains])
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
