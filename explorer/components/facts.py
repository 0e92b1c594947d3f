"""What is known of the selected frame: the sentence, the verdict, the scores against their gates, how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from explorer.components.markup import Html, join, tag
from explorer.components.tau_strip import diff_markup
from explorer.views import SCORES, Frame, diff, percent, points
from pipeline.settings import Settings
from pipeline.store.decisions import is_disputed
from pipeline.types import Counterfactual, Decision, Study


def headline_markup(study: Study, frame: Frame, item: Counterfactual) -> Html:
    """Return one sentence that answers the page's question for this frame."""
    label = study.photo.label
    words = tag("p", diff_markup(diff(item.perturbation.caption, item.perturbation.edited_caption)), class_="words")
    if frame.flip:
        said = join("The prediction flips to ", tag("b", frame.flip), f"; p({label}) moves by {points(frame.change)}.")
    else:
        said = join(f"The prediction stays; p({label}) moves by {points(frame.change)} to ")
        said = join(said, tag("b", percent(frame.label_probability)), ".")
    return tag("div", words, tag("p", said, class_="said"), class_="headline")


def facts_markup(item: Counterfactual, settings: Settings) -> Html:
    """Return the scores with their gates, and what was missed in words."""
    gates = {
        "directional_similarity": settings.min_directional_similarity,
        "image_similarity": settings.min_image_similarity,
        "edited_alignment": settings.min_edited_alignment,
        "source_alignment": settings.min_source_alignment,
        "prefers_edit": 0.0,
    }
    rows = (_score(SCORES[field], getattr(item.scores, field), gate) for field, gate in gates.items())
    body = tag("tbody", *rows)
    head = tag("thead", tag("tr", tag("th", "score"), tag("th", "value"), tag("th", "gate")))
    missed = (tag("p", sentence, class_="reason") for sentence in item.missed)
    return tag("div", tag("table", head, body), *missed, class_="facts")


def _score(name: str, value: float, gate: float) -> Html:
    if isnan(value):  # kept by a version that knew no such score
        return tag("tr", tag("td", name), tag("td", "–"), tag("td", f"≥ {gate:.2f}"))
    passed = value >= gate
    light = tag("span", "✓" if passed else "✕", class_="light pass" if passed else "light miss")
    return tag("tr", tag("td", name), tag("td", f"{value:.2f}"), tag("td", light, f" ≥ {gate:.2f}"))


def verdict_markup(settled: Decision | None, opinions: Sequence[Decision] = ()) -> Html:
    """Return the decision that holds, as saved, or who disagrees; nothing asks for one."""
    said = {"keep": "✓ Kept and saved.", "reject": "✕ Rejected and saved.", "unsure": "Unsure, saved."}
    if settled is None and is_disputed({decision.analyst: decision for decision in opinions}):
        told = "; ".join(f"{decision.analyst or 'somebody'} says {_opinion(decision)}" for decision in opinions)
        text = f"⚡ In conflict: {told}. Your verdict settles it for everybody."
        return tag("p", text, class_="verdict conflict", aria_live="polite")
    verdict = settled.verdict if settled else ""
    shows = f" It shows {settled.label}." if settled and settled.label else ""
    return tag("p", said.get(verdict, "") + shows, class_=f"verdict {verdict}", aria_live="polite")


def _opinion(decision: Decision) -> str:
    verdict = decision.verdict or "nothing yet"
    return f"{verdict}, as {decision.label}" if decision.label else verdict
