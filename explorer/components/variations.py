"""Proposed variations, grouped by factor, each with its word diff, its warnings and what the analyst may do with it.

Reports `act` with `do` = "tick", "leave", "rewrite" (with `text`) or "more" (with `factor`), and the edited caption
that it is about as `caption`; "all" ticks whatever passes its gates, "clear" unticks everything.
"""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from explorer.components.markup import REPORT_CLICKS, Html, join, tag
from explorer.components.tau_strip import diff_markup
from explorer.views import diff
from pipeline.captions.factors import FACTORS
from pipeline.types import Perturbation

BEHAVIOUR = (
    REPORT_CLICKS
    + """
const line = (node) => node.closest('.proposal');
element.addEventListener('click', (event) => {
  if (!event.target.closest('[data-open]')) return;
  const row = line(event.target);
  row.classList.add('editing');
  const box = row.querySelector('textarea');
  box.value = row.dataset.caption;
  box.focus();
});
const send = (row) => {
  const text = row.querySelector('textarea').value.trim();
  row.classList.remove('editing');
  if (text && text !== row.dataset.caption) trigger('act', {do: 'rewrite', caption: row.dataset.caption, text});
};
element.addEventListener('keydown', (event) => {
  if (!event.target.matches('.proposal textarea')) return;
  if (event.key === 'Enter') { event.preventDefault(); send(line(event.target)); }
  if (event.key === 'Escape') line(event.target).classList.remove('editing');
});
element.addEventListener('focusout', (event) => {
  if (event.target.matches('.proposal.editing textarea')) send(line(event.target));
});
"""
)


def variation_list() -> gr.HTML:
    """Return an empty list; `variations_markup` gives its values. Listen with `.act(...)`."""
    return gr.HTML(
        value=empty(), js_on_load=BEHAVIOUR, apply_default_css=False, elem_id="variations", elem_classes="component"
    )


def empty() -> Html:
    """Return what to do when there are no variations yet."""
    return tag("p", "No variations yet. Press “Suggest variations”, or write one by hand below.", class_="empty")


def variations_markup(perturbations: Sequence[Perturbation]) -> Html:
    """Return all variations in the order of the factors; hand-written ones of no factor come last."""
    if not perturbations:
        return empty()
    known = [*FACTORS, *dict.fromkeys(p.factor for p in perturbations if p.factor not in FACTORS)]
    groups = ((name, [p for p in perturbations if p.factor == name]) for name in known)
    ticked = sum(p.accepted for p in perturbations)
    everything = tag("button", "tick all that pass", type="button", class_="link", data_do="all")
    none = tag("button", "untick all", type="button", class_="link", data_do="clear")
    head = tag("p", tag("span", f"{ticked} of {len(perturbations)} ticked"), everything, none, class_="tally")
    return tag("div", head, *(_group(name, members) for name, members in groups if members), class_="proposals")


def _group(factor: str, members: Sequence[Perturbation]) -> Html:
    help_text = FACTORS[factor].help if factor in FACTORS else "Written by hand."
    more = (
        tag(
            "button",
            "another",
            type="button",
            class_="link",
            data_do="more",
            data_factor=factor,
            aria_label=f"Suggest another {factor} variation",
        )
        if factor in FACTORS
        else Html()
    )
    head = tag("h4", factor, tag("small", help_text), more)
    return tag("section", head, *(_proposal(member) for member in members))


def _proposal(item: Perturbation) -> Html:
    words = diff_markup(diff(item.caption, item.edited_caption))
    box = tag("textarea", "", rows=2, aria_label="Edit this variation; Enter saves, Escape leaves it")
    label = f"Edit: {item.edited_caption}"
    actions = tag("button", "edit", type="button", class_="link", data_open="yes", aria_label=label)
    return tag(
        "div",
        _toggle(item),
        tag("div", tag("p", words, class_="words"), box, _reasons(item), _gates(item), class_="body"),
        actions,
        class_=f"proposal {'accepted' if item.accepted else 'refused'}",
        data_caption=item.edited_caption,
    )


def _toggle(item: Perturbation) -> Html:
    state = "true" if item.accepted else "false"
    return tag(
        "button",
        tag("span", "✓" if item.accepted else ""),
        type="button",
        class_="tick",
        role="checkbox",
        aria_checked=state,
        aria_label=f"Use this variation: {item.edited_caption}",
        data_do="leave" if item.accepted else "tick",
        data_caption=item.edited_caption,
    )


def _reasons(item: Perturbation) -> Html:
    return join(*(tag("p", reason, class_="reason") for reason in item.rejected_by))


def _gates(item: Perturbation) -> Html:
    """Return a light for every gate, and behind it what was measured."""
    if not item.checks:
        return Html()
    missed = [check.gate for check in item.checks if not check.passed]
    lights = (tag("i", "", class_="miss" if check.gate in missed else "pass") for check in item.checks)
    told = f"{len(item.checks) - len(missed)} of {len(item.checks)} gates"
    told = f"{told}, not {', '.join(missed)}" if missed else told
    rows = (
        tag("li", tag("b", f"{'✓' if check.passed else '✕'} {check.gate}"), tag("span", check.says))
        for check in item.checks
    )
    return tag("details", tag("summary", *lights, tag("span", told)), tag("ul", *rows), class_="gates")
