"""Figures of the Insights and Reinforce pages, for plotly: weakness, scores, the map of features, training. All pure.

Knows no Gradio and no HTML. Every figure's numbers are in a sheet beside it, for those who cannot see it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from explorer.views import (
    ACCENT,
    BEFORE,
    FALL,
    SPLITS,
    percent,
    plotly_text,
    points,
    sample_size,
    style_plainly,
)
from pipeline.analysis.thresholds import Separation
from pipeline.analysis.weakness import Weakness
from pipeline.reinforcement.heads import Epoch
from pipeline.scores import SCORES
from pipeline.statistics.intervals import Mean
from pipeline.types import Axis, Proportion

BINS = 24
KEPT, REJECTED, OPEN = ACCENT, FALL, "rgba(138,148,160,0.55)"


def flips_figure(rows: Sequence[Weakness], axis: Axis) -> go.Figure:
    """Return the flip rate against tau with 95 % intervals; one row per tau."""
    figure = go.Figure()
    shown = [row for row in rows if row.n and row.tau is not None]
    figure.add_scatter(
        x=[axis.value(row.tau or 0.0) for row in shown],
        y=[row.flips.value for row in shown],
        error_y=_error_bars([row.flips for row in shown]),
        mode="lines+markers",
        line={"color": ACCENT, "width": 2},
        marker={"size": 8},
        customdata=[sample_size(row.n, row.photos) for row in shown],
        hovertemplate=plotly_text(axis.symbol) + " %{x:.2f}: %{y:.0%}, %{customdata}<extra></extra>",
        showlegend=False,
    )
    style_plainly(figure, height=300)
    figure.update_xaxes(title={"text": plotly_text(axis.name), "font": {"size": 12}}, showgrid=False)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02], title=_upright_title("flip rate"))
    return figure


def change_figure(rows: Sequence[Weakness]) -> go.Figure:
    """Return the signed change of p(label) by factor with 95 % intervals, the greatest loss on top."""
    shown = sorted(rows, key=lambda row: -row.sensitivity.value)
    means = [row.sensitivity for row in shown]
    figure = go.Figure()
    figure.add_scatter(
        x=[mean.value for mean in means],
        y=[f"{plotly_text(row.factor)}  <br>{sample_size(row.n, row.photos)}" for row in shown],
        error_x=_error_bars(means),
        mode="markers",
        marker={"size": 11, "color": [FALL if mean.value < 0 else ACCENT for mean in means]},
        text=[points(mean.value) for mean in means],
        hovertemplate="%{y}: %{text}<extra></extra>",
        showlegend=False,
    )
    figure.add_vline(x=0, line={"color": BEFORE, "width": 1})
    style_plainly(figure, height=120 + 44 * len(shown))
    figure.update_xaxes(tickformat=".0%", title={"text": "change of p(label)", "font": {"size": 12}})
    figure.update_yaxes(showgrid=False, ticksuffix="  ")
    return figure


def score_figure(separation: Separation) -> go.Figure:
    """Return histograms of one score by verdict, stacked, with the suggested threshold where there is one."""
    figure = go.Figure()
    kept, rejected, undecided = separation.kept, separation.rejected, separation.undecided
    values = [*kept, *rejected, *undecided]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    ends = np.linspace(low, low + max(high - low, 0.02), BINS + 1)
    series = (("kept", KEPT, kept), ("rejected", REJECTED, rejected), ("undecided", OPEN, undecided))
    for name, colour, found in series:
        if found:
            figure.add_bar(
                x=(ends[:-1] + ends[1:]) / 2,
                y=np.histogram(found, ends)[0],
                width=ends[1] - ends[0],
                name=f"{name} (n {len(found)})",
                marker={"color": colour, "line": {"width": 0}},
                hovertemplate="%{x}: %{y}<extra>" + name + "</extra>",
            )
    threshold = separation.threshold
    if threshold is not None and separation.helps:
        figure.add_vline(x=threshold, line={"color": BEFORE, "width": 1.5, "dash": "dash"})
        figure.add_annotation(
            x=threshold, y=1, yref="paper", text=f"≥ {threshold:.2f}", showarrow=False, xanchor="left", xshift=5
        )
    style_plainly(figure, height=300)
    figure.update_layout(barmode="stack", bargap=0.06, showlegend=True)
    figure.update_xaxes(title={"text": SCORES[separation.score].name, "font": {"size": 12}}, showgrid=False)
    figure.update_yaxes(title=_upright_title("edits"))
    return figure


def landscape_figure(
    kinds: Sequence[str], points_at: Sequence[tuple[float, float]], hints: Sequence[str], explained: tuple[float, float]
) -> go.Figure:
    """Return originals and edits on the map; `kinds` gives the sign, `hints` the hover.

    A kind is "original", "stays" or "flips".
    """
    signs = {"original": (BEFORE, "circle"), "stays": (ACCENT, "diamond"), "flips": (FALL, "x")}
    names = {"original": "originals", "stays": "edits, same answer", "flips": "edits that flip it"}
    figure = go.Figure()
    for sign, (colour, symbol) in signs.items():
        here = [place for place, kind in enumerate(kinds) if kind == sign]
        if here:
            figure.add_scatter(
                x=[points_at[place][0] for place in here],
                y=[points_at[place][1] for place in here],
                mode="markers",
                name=f"{names[sign]} (n {len(here)})",
                marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.8},
                text=[plotly_text(hints[place]) for place in here],
                hovertemplate="%{text}<extra></extra>",
            )
    style_plainly(figure, height=420)
    figure.update_layout(showlegend=True)
    for axis, number, share in ((figure.update_xaxes, 1, explained[0]), (figure.update_yaxes, 2, explained[1])):
        title = f"direction {number} ({percent(share)} of the variance)"
        axis(title={"text": title, "font": {"size": 12}}, showticklabels=False)
    return figure


def _upright_title(text: str) -> dict[str, object]:
    """Return the title of an upright axis, clear of its figures."""
    return {"text": text, "font": {"size": 12}, "standoff": 12}


def _error_bars(found: Sequence[Mean] | Sequence[Proportion]) -> dict[str, object]:
    """Return error bars from intervals."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [estimate.high - estimate.value for estimate in found],
        "arrayminus": [estimate.value - estimate.low for estimate in found],
        "color": BEFORE,
        "thickness": 1.5,
        "width": 4,
    }


def alpha_figure(curve: Sequence[tuple[float, dict[tuple[str, int], Proportion]]], alpha: float) -> go.Figure:
    """Return Acc@1 of each split against alpha with its 95 % interval, Acc@5 dotted; `alpha` is a vertical line."""
    figure = go.Figure()
    xs = [point for point, _ in curve]
    splits = list(dict.fromkeys(split for split, _ in curve[0][1])) if curve else []
    for split, k in curve[0][1] if curve else ():
        colour = SPLITS[splits.index(split) % len(SPLITS)]
        series = [values[split, k] for _, values in curve]
        if k == 1:
            figure.add_scatter(
                x=[*xs, *reversed(xs)],
                y=[p.high for p in series] + [p.low for p in reversed(series)],
                fill="toself",
                fillcolor=colour.replace("rgb", "rgba").replace(")", ",0.12)"),
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
            )
        figure.add_scatter(
            x=xs,
            y=[p.value for p in series],
            name=f"{plotly_text(split)}, Acc@{k}",
            mode="lines+markers" if k == 1 else "lines",
            line={"color": colour, "width": 2, "dash": "solid" if k == 1 else "dot"},
            hovertemplate="alpha %{x:.1f}: %{y:.1%}<extra>%{fullData.name}</extra>",
        )
    figure.add_vline(x=alpha, line={"color": BEFORE, "width": 1.5, "dash": "dash"})
    style_plainly(figure, height=320)
    title = "alpha (0: as it was, 1: retrained head)"
    figure.update_xaxes(title={"text": title, "font": {"size": 12}})
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02], title=_upright_title("accuracy"))
    return figure


def training_figure(epochs: Sequence[Epoch]) -> go.Figure:
    """Return losses on training and validation pictures, and Acc@1 on the latter, against epoch."""
    figure = go.Figure()
    xs = [epoch.number for epoch in epochs]
    for name, colour, dash, values in (
        ("training loss", BEFORE, "dot", [epoch.training_loss for epoch in epochs]),
        ("validation loss", FALL, "solid", [epoch.loss for epoch in epochs]),
    ):
        figure.add_scatter(
            x=xs, y=values, name=name, mode="lines+markers", line={"color": colour, "width": 2, "dash": dash}
        )
    accuracies = [epoch.accuracy for epoch in epochs]
    figure.add_scatter(
        x=xs, y=accuracies, name="Acc@1", mode="lines+markers", line={"color": ACCENT, "width": 2}, yaxis="y2"
    )
    figure.update_traces(marker={"size": 4})
    style_plainly(figure, height=240)
    figure.update_layout(
        yaxis2={"overlaying": "y", "side": "right", "range": [0, 1.02], "tickformat": ".0%", "showgrid": False,
                "fixedrange": True, "automargin": True, "zeroline": False}
    )  # fmt: skip
    step = max(1, len(xs) // 6)
    figure.update_xaxes(title={"text": "epoch", "font": {"size": 12}}, showgrid=False, dtick=step, tick0=1)
    return figure
