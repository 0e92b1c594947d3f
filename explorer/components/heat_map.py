"""A heat map of classes and factors whose cells can be reached by keyboard and open the edits behind them.

A real table: every cell is a button that says its figure, its interval and its n to screen readers. Reports `act` with
`do="cell"`, `label` and `factor`.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import gradio as gr

from explorer.components.markup import REPORT_CLICKS, Html, tag
from explorer.components.shelf import FOLLOW
from explorer.views import points, sample_size
from pipeline.analysis.weakness import ALL, MIN_PHOTOS, Weakness
from pipeline.statistics.intervals import Change

K = {"Acc@1": 1, "Acc@5": 5}
SHOWN = 60  # classes at most: what a person reads, and what a browser lays out at once


def heat_map() -> gr.HTML:
    """Return an empty map; `heat_markup` gives its values. Listen with `.act(...)`."""
    return gr.HTML(
        value=Html(),
        js_on_load=REPORT_CLICKS + FOLLOW,
        apply_default_css=False,
        elem_id="heat",
        elem_classes="component",
    )


def heat_markup(rows: Sequence[Weakness], measure: str, selected: tuple[str, str], classifier: str) -> Html:
    """Return classes down (the greatest loss first), factors across; the address follows the selected cell.

    The first `SHOWN` classes are told, and the selected one.
    """
    place = "?" + urlencode({"classifier": classifier, "label": selected[0], "factor": selected[1]})
    cells = {(row.label, row.factor): row for row in rows}
    overall = {row.label: row for row in rows if row.factor == ALL}
    labels = sorted({label for label, _ in cells} - {ALL}, key=lambda label: _worst(overall.get(label), measure))
    shown = [label for place, label in enumerate(labels) if place < SHOWN or label == selected[0]]
    factors = sorted({factor for _, factor in cells} - {ALL})
    head = tag("tr", tag("td"), *(tag("th", factor, scope="col") for factor in (*factors, ALL)))
    lines = (
        tag(
            "tr",
            tag("th", label, scope="row"),
            *(_cell(cells.get((label, factor)), measure, selected) for factor in (*factors, ALL)),
            class_="total" if label == ALL else None,
        )
        for label in (*shown, ALL)
    )
    table = tag("table", tag("thead", head), tag("tbody", *lines), class_="heat")
    more = f"The {SHOWN} classes with the greatest loss of {len(labels)}; all are in the table below."
    note = tag("p", more, class_="hint") if len(shown) < len(labels) else Html()
    return tag("div", note, tag("div", table, class_="scroll"), _legend(measure), data_place=place, data_keep="compare")


def accuracy_change(row: Weakness, measure: str) -> Change:
    """Return the row's change of Acc@1 or Acc@5, a share of its edits."""
    return row.delta_acc1 if K[measure] == 1 else row.delta_acc5


def _worst(row: Weakness | None, measure: str) -> tuple[bool, float, str]:
    return (row is None or row.too_few, accuracy_change(row, measure).value if row else 0.0, row.label if row else "")


def _cell(row: Weakness | None, measure: str, selected: tuple[str, str]) -> Html:
    if row is None:
        return tag("td", tag("span", "–", aria_label="no edit"), class_="none")
    if not row.n:
        return tag(
            "td", tag("span", "0", title=f"{row.unpaired} edits were made, none passed the gates"), class_="none"
        )
    change = accuracy_change(row, measure)
    said = f"{measure} {points(change.value)} (95 % {points(change.low)} to {points(change.high)}), "
    said += f"{sample_size(row.n, row.photos)}, adjusted p {change.p_adjusted:.3f}" + (
        f"; fewer than {MIN_PHOTOS} photos say hardly anything" if row.too_few else ""
    )
    kind = "loss" if change.value < 0 else "gain"
    clear = change.reliable and not row.too_few
    button = tag(
        "button",
        tag("b" if clear else "span", points(change.value)),
        tag("small", f"n {row.n} of {row.photos}"),
        type="button",
        data_do="cell",
        data_label=row.label,
        data_factor=row.factor,
        aria_label=f"{row.label}, {row.factor}: {said}",
        aria_pressed="true" if (row.label, row.factor) == selected else "false",
        title=said,
    )
    strength = f"--heat:{min(100, round(abs(change.value) * 100))}%"
    return tag("td", button, class_=f"{kind}{' few' if row.too_few else ''}", style=strength)


def _legend(measure: str) -> Html:
    swatches = (tag("i", class_="loss", style=f"--heat:{share}%", aria_hidden="true") for share in (100, 60, 30, 0))
    gains = (tag("i", class_="gain", style=f"--heat:{share}%", aria_hidden="true") for share in (30, 60))
    text = (
        f" change of {measure} on the edits against their reconstructions, in points, with n edits of so many photos; "
        "bold where it is reliable: p < 0.05 in a test by photo, adjusted over the table (Holm). Faint, "
        f"and never bold, with fewer than {MIN_PHOTOS} photos."
    )
    return tag("p", tag("span", *swatches, *gains, class_="swatches"), text, class_="legend")
