"""What is shown of the pipeline's types: plain values for the components, figures for plotly. All of it is pure.

Knows no Gradio and no HTML. Changes of the classifier's mind are told against the reconstruction (the control), never
against the original, so that what inversion alone did is not blamed on the edit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

import plotly.graph_objects as go

from pipeline.classifiers.shifts import is_prediction_flip, sensitivity
from pipeline.editing.axes import TAU
from pipeline.scores import SCORES
from pipeline.types import Axis, Counterfactual, Perturbation, Prediction, Proportion, Study

# Middle tones that read on white and on near-black; style.css recolours the text of the figures by theme.
ACCENT, BEFORE, FALL, QUIET = "rgb(28,138,134)", "rgb(138,148,160)", "rgb(196,85,63)", "rgba(138,148,160,0.2)"
SPLITS = (ACCENT, FALL, "rgb(122,107,176)", BEFORE)
TOP = 5
THIN = "\u202f"  # the narrow space between a figure and its unit; no line breaks there


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of a caption: `sign` is "" for words that stayed, "-" for gone, "+" for new ones."""

    text: str
    sign: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One frame of the strip with everything written under it; `item` is None while it is still being made."""

    tau: float
    strength: str  # tau as the editor's axis names it
    item: Counterfactual | None
    title: str  # read aloud by screen readers
    label_probability: float = 0.0
    change: float = 0.0  # of p(label) against the control, signed
    flip: str = ""  # the label that took over, "" when the prediction stayed
    fails: bool = False  # the most careful edit of its variation that passes the gates and still flips
    gates: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    chosen: bool = False
    verdict: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VariationRow:
    """One variation with its frames in order of tau."""

    perturbation: Perturbation
    words: tuple[Segment, ...]
    frames: tuple[Frame, ...]


def diff(before: str, after: str) -> tuple[Segment, ...]:
    """Return both captions as one line: words that stayed, went and came, in reading order."""
    old, new = before.split(), after.split()
    segments: list[Segment] = []
    for kind, i, j, k, m in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if kind == "equal":
            segments.append(Segment(text=" ".join(old[i:j])))
            continue
        if j > i:
            segments.append(Segment(text=" ".join(old[i:j]), sign="-"))
        if m > k:
            segments.append(Segment(text=" ".join(new[k:m]), sign="+"))
    return tuple(segments)


def gate_name(sentence: str) -> str:
    """Return a gate's short name with its figures, from the sentence that says by how much it was missed."""
    # Earlier versions called some scores by their fields.
    starts = {
        start: score.short
        for field, score in SCORES.items()
        for start in (score.name, field.replace("_", " "), score.short)
    }
    name = max((start for start in starts if sentence.startswith(start)), key=len, default="")
    figures = re.findall(r"[-+−]?\d+\.\d+", sentence)[:2]
    return f"{starts.get(name, 'gate')} {'<'.join(figures)}".strip()


def frame(
    item: Counterfactual,
    label: str,
    control: Prediction | None,
    axis: Axis = TAU,
    *,
    chosen: bool = False,
    verdict: str = "",
) -> Frame:
    """Return the frame of one finished edit; without a control there is nothing to compare with."""
    probability = item.prediction.probability(label)
    flip = item.prediction.first if control and is_prediction_flip(control, item.prediction) else ""
    return Frame(
        tau=item.tau,
        strength=axis.short(item.tau),
        item=item,
        title=_title(item, label, axis, probability, flip),
        label_probability=probability,
        change=sensitivity(label, control, item.prediction) if control else 0.0,
        flip=flip,
        gates=tuple(dict.fromkeys(gate_name(sentence) for sentence in item.missed)),
        reasons=item.missed,
        chosen=chosen,
        verdict=verdict,
    )


def _title(item: Counterfactual, label: str, axis: Axis, probability: float, flip: str) -> str:
    words = f"Edit at {axis.label(item.tau)}: p({label}) {percent(probability)}"
    words += f", the prediction flips to {flip}" if flip else ""
    return words + (f". Missed: {' '.join(item.missed)}" if item.missed else ", all gates passed")


def rows(
    study: Study,
    taus: Sequence[float],
    chosen: frozenset[str] = frozenset(),
    verdicts: Mapping[str, str] | None = None,
    waiting: Sequence[Perturbation] = (),
    axis: Axis = TAU,
) -> tuple[VariationRow, ...]:
    """Return a row for every variation that has frames or waits for them; missing tau become empty frames."""
    by_caption: dict[str, dict[float, Counterfactual]] = {}
    first: dict[str, Perturbation] = {}
    for item in study.counterfactuals:
        first.setdefault(item.perturbation.edited_caption, item.perturbation)
        by_caption.setdefault(item.perturbation.edited_caption, {})[item.tau] = item
    expected = {p.edited_caption for p in waiting}
    for perturbation in waiting:
        first.setdefault(perturbation.edited_caption, perturbation)
    result = []
    for caption, perturbation in first.items():
        done = by_caption.get(caption, {})
        shown = sorted({*done, *(taus if caption in expected else ())})
        frames = tuple(_frame_at(tau, done.get(tau), study, chosen, verdicts or {}, axis) for tau in shown)
        words = diff(perturbation.caption, perturbation.edited_caption)
        result.append(VariationRow(perturbation=perturbation, words=words, frames=_mark_failure_point(frames)))
    return tuple(result)


def _mark_failure_point(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """Mark the failure point among the frames: `weakness.failure_points` of one variation."""
    last = max((f.tau for f in frames if f.flip and not f.reasons), default=None)
    return tuple(replace(f, fails=f.tau == last and bool(f.flip) and not f.reasons) for f in frames)


def _frame_at(
    tau: float,
    item: Counterfactual | None,
    study: Study,
    chosen: frozenset[str],
    verdicts: Mapping[str, str],
    axis: Axis,
) -> Frame:
    if item is None:
        title = f"The edit at {axis.label(tau)} is being made"
        return Frame(tau=tau, strength=axis.short(tau), item=None, title=title)
    verdict = verdicts.get(item.key, "")
    return frame(item, study.photo.label, study.control, axis, chosen=item.key in chosen, verdict=verdict)


def style_plainly(figure: go.Figure, height: int) -> None:
    """Make a figure transparent, without a title or tool bar, on one quiet grid; `height` is in pixels."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "IBM Plex Sans, system-ui, sans-serif", "size": 13, "color": "#6d7782"},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        dragmode=False,
    )
    figure.update_xaxes(gridcolor=QUIET, zeroline=False, automargin=True, fixedrange=True)
    figure.update_yaxes(gridcolor=QUIET, zeroline=False, automargin=True, fixedrange=True)


def plotly_text(text: str) -> str:
    """Return text for plotly, which reads a few HTML tags in labels."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def percent(value: float) -> str:
    """Return a probability in percent, such as "92 %"; small ones keep a decimal, none is rounded to 0 or 100 %."""
    if 0 < value < 0.001:
        return f"<0.1{THIN}%"
    if 0.999 < value < 1:
        return f">99.9{THIN}%"
    decimals = 1 if value < 0.1 or value > 0.995 else 0
    return f"{value * 100:.{decimals}f}{THIN}%"


def points(change: float) -> str:
    """Return a signed change of a probability in percentage points: 0.123 -> "+12 pt"."""
    size = f"{abs(change) * 100:.0f}"
    return f"{'±' if size == '0' else '−' if change < 0 else '+'}{size}{THIN}pt"


def sample_size(n: int, photos: int) -> str:
    """Return what a figure rests on, such as "n 100 edits of 5 photos"."""
    return f"n {n} edit{'s' * (n != 1)} of {photos} photo{'s' * (photos != 1)}"


def interval(proportion: Proportion) -> str:
    """Return a proportion in percent with its bounds, such as "83 % [76, 88]"; it breaks before the bracket only."""
    return f"{proportion.value * 100:.0f}{THIN}% [{proportion.low * 100:.0f},{THIN}{proportion.high * 100:.0f}]"


def duration(seconds: float) -> str:
    """Return a time such as "8 s" or "2 min 5 s"."""
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"
