"""The tau strip: per variation the original, the control and one frame per tau, each with what was measured on it.

A frame that missed a gate is hatched and names the gate; the one that `choose_tau` picks says so. Reports a click as
`act` with `do="pick"` and the counterfactual's key. Arrow keys move between frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from explorer.components.markup import REPORT_CLICKS, Html, join, picture_url, tag
from explorer.views import Frame, Segment, VariationRow, percent, points
from pipeline.types import Counterfactual, Study

LEGEND = (
    "control: the photo rebuilt without an edit; every change of p(label) is told against it. dir: how well the edit "
    "follows its words (CLIP). auto: the best that passes every gate. fails here: the most careful edit that changes "
    "the prediction."
)
SIDE = 288  # pixels: twice the size on the page, for sharp screens
THUMBNAILS = 1024  # kept, of about 10 kB each
_thumbnails: dict[str, str] = {}  # key of the counterfactual -> data URL

BEHAVIOUR = (
    REPORT_CLICKS
    + """
element.addEventListener('click', (event) => {
  const picked = event.target.closest('.frame[data-do]');
  if (!picked) return;
  for (const frame of element.querySelectorAll('.frame[data-do]')) {
    frame.classList.toggle('selected', frame === picked);
    frame.setAttribute('aria-pressed', frame === picked);
  }
  if (window.innerWidth < 900) {
    document.querySelector('#inspector')?.scrollIntoView({behavior: 'smooth', block: 'start'});
  }
});
element.addEventListener('keydown', (event) => {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  const frames = [...element.querySelectorAll('.frame[data-do]')];
  const here = frames.indexOf(document.activeElement);
  if (!step || here < 0) return;
  event.preventDefault();
  const next = frames[here + step];
  if (next) { next.focus(); next.click(); }
});
"""
)


def tau_strip() -> gr.HTML:
    """Return an empty strip; `strip_markup` gives its values. Listen with `.act(...)`."""
    return gr.HTML(
        value=empty(), js_on_load=BEHAVIOUR, apply_default_css=False, elem_id="strip", elem_classes="component"
    )


def strip_markup(study: Study, rows: Sequence[VariationRow], selected: str = "") -> Html:
    """Return the whole strip of one study; `selected` is the key of the frame in the inspector."""
    if not rows:
        return empty()
    source = _source(study)
    return tag("div", tag("p", LEGEND, class_="hint"), *(_row(row, source, selected) for row in rows), class_="strip")


def empty() -> Html:
    """Return what to do when there are no frames yet."""
    return tag(
        "p",
        "No edits yet. Accept at least one variation and press “Make the edits”: a frame appears here for every "
        "strength, from the boldest edit to the most careful one.",
        class_="empty",
    )


def diff_markup(segments: Sequence[Segment]) -> Html:
    """Return a caption with its changes; signs as well as colour, so that it reads without colour too."""
    return join(*(_segment(segment) for segment in segments))


def _segment(segment: Segment) -> Html:
    if not segment.sign:
        return join(segment.text + " ")
    sign, name = ("−", "del") if segment.sign == "-" else ("+", "ins")
    return join(tag(name, tag("span", sign, class_="sign"), segment.text), " ")


def _source(study: Study) -> Html:
    """Return original and control: what every frame of the study is compared with."""
    label = study.photo.label
    control = _reference("control", study, study.reconstruction is not None)
    return tag(
        "div",
        tag(
            "figure",
            tag("img", src=picture_url(study.photo.image, SIDE), alt=f"Original photo of a {label}"),
            tag("figcaption", tag("b", "original"), tag("span", percent(study.photo.prediction.probability(label)))),
        ),
        control,
        class_="source",
    )


def _reference(name: str, study: Study, ready: bool) -> Html:
    if not ready or study.reconstruction is None or study.control is None:
        return tag("figure", tag("div", class_="ghost"), tag("figcaption", tag("b", name), tag("span", "…")))
    return tag(
        "figure",
        tag(
            "img",
            src=picture_url(study.reconstruction, SIDE),
            alt="Control: the picture rebuilt without any edit",
            title="The picture after inversion and denoising without an edit: what the method alone changes",
        ),
        tag("figcaption", tag("b", name), tag("span", percent(study.control.probability(study.photo.label)))),
    )


def _row(row: VariationRow, source: Html, selected: str) -> Html:
    frames = (_frame(frame, selected) for frame in row.frames)
    return tag(
        "section",
        tag("header", tag("span", row.perturbation.factor, class_="factor"), tag("p", diff_markup(row.words))),
        tag("div", source, tag("div", *frames, class_="frames", role="list"), class_="track"),
        class_="variation",
        aria_label=f"Edits: {row.perturbation.edited_caption}",
    )


def _frame(frame: Frame, selected: str) -> Html:
    item = frame.item
    if item is None:
        return tag(
            "div",
            tag("div", class_="ghost"),
            tag("span", tag("b", frame.strength), class_="tau"),
            class_="frame pending",
            role="listitem",
            aria_label=frame.title,
        )
    picture = tag("span", tag("img", src=_picture(item), alt=frame.title), *_marks(frame), class_="picture")
    return tag(
        "button",
        picture,
        *_figures(frame, item),
        class_=_classes(frame, item.key == selected),
        type="button",
        title=" ".join(frame.reasons) or None,
        data_do="pick",
        data_key=item.key,
        aria_pressed="true" if item.key == selected else "false",
    )


def _classes(frame: Frame, selected: bool) -> str:
    flags = {
        "missed": bool(frame.reasons),
        "chosen": frame.chosen,
        "flipped": bool(frame.flip),
        "selected": selected,
        frame.verdict: bool(frame.verdict),
    }
    return " ".join(["frame", *(name for name, on in flags.items() if on)])


def _marks(frame: Frame) -> tuple[Html, ...]:
    marks = []
    if frame.chosen:
        marks.append(tag("span", "auto τ", class_="mark chosen", title="Best direction of those that pass all gates"))
    if frame.fails:
        marks.append(tag("span", "fails here", class_="mark fails", title="The most careful edit that still flips"))
    if frame.verdict in ("keep", "reject"):
        marks.append(tag("span", {"keep": "✓ kept", "reject": "✕ rejected"}[frame.verdict], class_="mark verdict"))
    return tuple(marks)


def _figures(frame: Frame, item: Counterfactual) -> tuple[Html, ...]:
    """Return what is under the picture: tau and direction, p(label) with its change, the flip, the missed gates."""
    lines = [
        tag(
            "span",
            tag("b", frame.strength),
            tag("span", f"dir {item.scores.directional_similarity:.2f}", title="CLIP directional similarity"),
            class_="tau",
        ),
        tag(
            "span",
            tag("span", percent(frame.label_probability)),
            tag(
                "span",
                points(frame.change),
                class_="fall" if frame.change <= -0.005 else "rise" if frame.change >= 0.005 else "",
            ),
            class_="probability",
            title="Probability of the label to protect, and its change against the control",
        ),
    ]
    if frame.flip:
        lines.append(tag("span", "⇄ ", frame.flip, class_="chip flip", title="The prediction flips to this label"))
    lines += [tag("span", name, class_="chip gate", title=" ".join(frame.reasons)) for name in frame.gates]
    return tuple(lines)


def _picture(item: Counterfactual) -> str:
    """Return the frame's thumbnail; remembered by key, since every request loads its pictures anew."""
    url = _thumbnails.get(item.key)
    if url is None:
        if len(_thumbnails) >= THUMBNAILS:
            _thumbnails.clear()
        url = _thumbnails[item.key] = picture_url(item.image, SIDE)
    return url
