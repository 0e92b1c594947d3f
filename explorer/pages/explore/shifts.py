"""What one edit changes, drawn: the ranks of both top-5, and p(label) with the direction against tau; all pure."""

from __future__ import annotations

import plotly.graph_objects as go

from explorer.views import ACCENT, BEFORE, FALL, TOP, VariationRow, percent, plotly_text, style_plainly
from pipeline.classifiers.shifts import Shift, shift
from pipeline.editing.axes import TAU
from pipeline.types import Axis, Prediction

LONGEST = 15  # characters of a label beside the chart; the whole one is read on hover


def shift_figure(before: Prediction, after: Prediction, label: str) -> go.Figure:
    """Return the ranks of both top-5 and of the label as paired slopes: the control left, the edit right.

    The label is bold and in colour; what overtook it is in the colour of a fall, all others are grey.
    """
    everything = shift(before, after, len(after.labels))
    shown = [change for change in everything if label == change.label or min(_ranks(change)) <= TOP]
    left = sorted(shown, key=lambda change: (change.rank_before, change.label))
    right = sorted(shown, key=lambda change: (change.rank_after, change.label))
    mine = next(change for change in shown if change.label == label)
    figure = go.Figure()
    for change in sorted(shown, key=lambda change: change.label == label):
        ends = [-left.index(change), -right.index(change)]
        overtook = change.rank_before > mine.rank_before and change.rank_after < mine.rank_after
        colour = ACCENT if change is mine else FALL if overtook else BEFORE
        figure.add_scatter(
            x=[0, 1],
            y=ends,
            mode="lines+markers",
            name=plotly_text(change.label),
            line={"color": colour, "width": 3 if change is mine else 1.5},
            marker={"size": 8 if change is mine else 5},
            showlegend=False,
            hovertemplate=f"{plotly_text(change.label)}: {percent(change.p_before)} → {percent(change.p_after)}, "
            f"rank {rank_change(change)}<extra></extra>",
        )
        values = (change.rank_before, change.p_before), (change.rank_after, change.p_after)
        for side, (rank, value) in enumerate(values):
            figure.add_annotation(
                x=side,
                y=ends[side],
                text=_end(change.label, rank, value, bold=change is mine),
                showarrow=False,
                xanchor="left" if side else "right",
                xshift=10 if side else -10,
                font={"size": 12},
            )
    for side, title in enumerate(("control", "edit")):
        figure.add_annotation(x=side, y=0.85, text=title, showarrow=False, font={"size": 12, "color": BEFORE})
    style_plainly(figure, height=40 + 28 * len(shown))
    figure.update_layout(margin={"l": 8, "r": 8, "t": 6, "b": 6})
    figure.update_xaxes(range=[-1.55, 2.55], visible=False)
    figure.update_yaxes(range=[0.6 - len(shown), 1.3], visible=False)
    return figure


def _end(label: str, rank: int, value: float, *, bold: bool) -> str:
    short = label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"
    words = f"#{rank} {plotly_text(short)} {percent(value)}"
    return f"<b>{words}</b>" if bold else words


def _ranks(change: Shift) -> tuple[int, int]:
    return change.rank_before, change.rank_after


def rank_change(change: Shift) -> str:
    """Return the rank such as "3 → 1"; one number when it stayed."""
    same = change.rank_before == change.rank_after
    return f"{change.rank_after}" if same else f"{change.rank_before} → {change.rank_after}"


def tau_figure(
    row: VariationRow, label: str, control: Prediction | None, selected: float | None, axis: Axis = TAU
) -> go.Figure:
    """Return p(label) and direction of one variation against the editor's axis; the selected tau is marked."""
    done = [f for f in row.frames if f.item is not None]
    values = [axis.value(f.tau) for f in done]
    figure = go.Figure()
    figure.add_scatter(
        x=values,
        y=[f.label_probability for f in done],
        name=f"p({plotly_text(label)})",
        mode="lines+markers",
        line={"color": ACCENT, "width": 2},
        marker={"size": [11 if f.tau == selected else 6 for f in done]},
    )
    figure.add_scatter(
        x=values,
        y=[f.item.scores.directional_similarity for f in done if f.item is not None],
        name="direction",
        mode="lines+markers",
        line={"color": FALL, "width": 2, "dash": "dot"},
        marker={"size": 5},
    )
    if control is not None:
        level = control.probability(label)
        figure.add_scatter(
            x=values,
            y=[level] * len(done),
            name="control",
            mode="lines",
            line={"color": BEFORE, "width": 1, "dash": "dash"},
        )
    style_plainly(figure, height=210)
    figure.update_xaxes(title={"text": axis.name, "font": {"size": 12}}, tickvals=values, showgrid=False)
    figure.update_yaxes(range=[min(0.0, *(f.item.scores.directional_similarity for f in done if f.item)) - 0.05, 1.05])
    return figure
