"""What is known of the selected frame: the sentence, the verdict, the scores against their gates, how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from explorer.components.markup import Html, join, tag
from explorer.components.tau_strip import diff_markup
from explorer.views import Frame, diff, percent, points
from pipeline.scores import SCORES, Score
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
    rows = (_score(score, getattr(item.scores, field), settings) for field, score in SCORES.items())
    body = tag("tbody", *rows)
    head = tag("thead", tag("tr", tag("th", "score"), tag("th", "value"), tag("th", "gate")))
    missed = (tag("p", sentence, class_="reason") for sentence in item.missed)
    return tag("div", tag("table", head, body), *missed, class_="facts")


def _score(score: Score, value: float, settings: Settings) -> Html:
    known = not isnan(value)  # a version that knew no such score kept none
    gate: list[Html | str] = []
    if score.gate is not None:
        passed = score.gate.passes(value, settings)
        light = tag("span", "✓" if passed else "✕", class_="light pass" if passed else "light miss")
        gate = [*([light, " "] if known else []), score.gate.wish(settings)]
    figure = f"{value:.2f}" if known else "–"
    return tag("tr", tag("td", score.name, title=score.help), tag("td", figure), tag("td", *gate))


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
