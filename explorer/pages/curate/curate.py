"""Page: pairs decided upon with keys, one by one or in bulk, by several analysts; sets by rule, frozen and exported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import gradio as gr

from explorer import collections
from explorer.components.asking import guesses_markup
from explorer.components.deck import deck
from explorer.components.markup import Html, join, tag
from explorer.components.masthead import section
from explorer.components.status import status_line
from explorer.desk import Desk
from explorer.middleware import offer_download
from explorer.pages.curate.triage import Triage
from explorer.wiring import keep_in_address, use_records
from pipeline.curation.exporting import archive
from pipeline.curation.quotas import Kept, Rule, Selection, leaks, select
from pipeline.curation.selection import labelled
from pipeline.errors import DataError
from pipeline.store import decisions
from pipeline.types import CounterfactualSet

TITLE, ROUTE = "Curate", "/curate"


def build(demo: gr.Blocks, desk: Desk) -> None:
    """Draw the page into the current Blocks and wire it."""
    collections.notice(demo, desk)
    with gr.Row(elem_classes="bench", equal_height=False):
        with gr.Column(elem_classes="work", min_width=300):
            cards = deck(Triage(desk).functions())
        with gr.Column(elem_classes="inspector", min_width=280):
            section("", "Set", "Kept pairs, frozen and numbered.")
            labels = gr.Dropdown([], label="Classes (none: every one)", multiselect=True, elem_id="rule-classes")
            factors = gr.Dropdown([], label="Factors (none: every one)", multiselect=True, elem_id="rule-factors")
            tags = gr.Dropdown([], label="Tags (none: any)", multiselect=True, elem_id="rule-tags")
            quota = gr.Number(0, label="At most per class and factor (0: all)", minimum=0, precision=0, elem_id="quota")
            name = gr.Textbox(label="Name of the set", value="counterfactuals", elem_id="set-name", max_length=80)
            counts = gr.HTML(apply_default_css=False, js_on_load=None, elem_classes="component", elem_id="counts")
            freeze_button = gr.Button("Freeze the set", variant="primary", elem_id="freeze")
            status = gr.HTML(apply_default_css=False, js_on_load=None, elem_classes="component")
            sets = gr.HTML(apply_default_css=False, js_on_load=None, elem_classes="component")
            section("", "Export")
            version = gr.Dropdown([], label="Set", elem_id="export-set")
            export_button = gr.Button("Export as ImageFolder", elem_id="export")
            download = gr.DownloadButton("Download", visible=False, elem_id="download")
            section("", "Agreement")
            agreement = gr.HTML(apply_default_css=False, js_on_load=None, elem_classes="component", elem_id="agreement")
    rule = (labels, factors, tags, quota, name)
    use_records(demo.load, desk, show, rule, (labels, factors, tags, counts, agreement, sets, version))
    for event in (labels.input, factors.input, tags.input, quota.input, name.change):
        use_records(event, desk, preview, rule, (counts, agreement))
    use_records(cards.decided, desk, renewed, rule, (labels, factors, tags, counts, agreement))
    keep_in_address(version, "set")
    use_records(freeze_button.click, desk, freeze, rule, (status, sets, version))
    use_records(export_button.click, desk, export, (version,), (status, download))


def show(
    desk: Desk,
    labels: list[str],
    factors: list[str],
    tags: list[str],
    quota: float | None,
    name: str,
    request: gr.Request,
) -> tuple[object, ...]:
    """Return what a rule can choose from and takes, and the sets there are; that of the address is chosen."""
    return *renewed(desk, labels, factors, tags, quota, name), *_sets(desk, str(request.query_params.get("set", "")))


def renewed(
    desk: Desk, labels: list[str], factors: list[str], tags: list[str], quota: float | None, name: str
) -> tuple[object, ...]:
    """Return what a rule can choose from now, what it takes, and how far the analysts agree."""
    taken = preview(desk, labels, factors, tags, quota, name)
    kept = _kept_pairs(desk)
    classes = sorted({*desk.catalogue.classes(), *(pair.label for pair in kept)})
    choices = (classes, desk.catalogue.factors(), sorted({name for pair in kept for name in pair.tags}))
    return *(gr.update(choices=list(of)) for of in choices), *taken


def preview(
    desk: Desk, labels: list[str], factors: list[str], tags: list[str], quota: float | None, name: str
) -> tuple[Html, Html]:
    """Return what the rule takes now, and how far the analysts agree."""
    desk.catalogue.refresh()
    taken = select(_kept_pairs(desk), _rule(labels, factors, tags, quota))
    photos = {entry.key: entry.photo for entry in desk.catalogue.shown()}
    others = {_title(frozen): frozen.items for frozen in desk.store.sets() if frozen.name != name.strip()}
    pairs = decisions.agreements(desk.catalogue.log, photos)
    counts = counts_markup(taken, leaks(taken.keys, others, photos))
    return join(guesses_markup(_count_unlabelled_photos(desk)), counts), agreement_markup(pairs)


def _rule(labels: Sequence[str], factors: Sequence[str], tags: Sequence[str], quota: float | None) -> Rule:
    most = max(0, int(quota or 0))
    return Rule(labels=tuple(labels or ()), factors=tuple(factors or ()), tags=tuple(tags or ()), quota=most)


def _kept_pairs(desk: Desk) -> list[Kept]:
    """Return the kept pairs, each with the corrected label that holds and all tags."""
    settled = ((entry, desk.catalogue.settled(entry.key)) for entry in desk.catalogue.shown())
    return [
        Kept(entry=entry, label=decision.label or entry.label, tags=decision.tags)
        for entry, decision in settled
        if decision is not None and decision.verdict == "keep" and entry.confirmed
    ]


def _count_unlabelled_photos(desk: Desk) -> int:
    """Return of how many photos with kept edits nobody has said what they show: they are in no set."""
    shown = desk.catalogue.shown()
    return len({entry.photo for entry in shown if not entry.confirmed and desk.catalogue.holds(entry.key) == "keep"})


def counts_markup(taken: Selection, leaking: Mapping[str, int]) -> Html:
    """Return how many pairs of each class and factor are taken, and what to know before freezing."""
    if not taken.cells:
        return tag("p", "Nothing kept fits. Keep some pairs, or choose other classes and factors.", class_="empty")
    factors = sorted({factor for _, factor in taken.cells})
    head = tag("tr", tag("th", "class"), *(tag("th", factor) for factor in factors))
    rows = (
        tag("tr", tag("td", label), *(_cell(taken, label, factor) for factor in factors))
        for label in sorted({label for label, _ in taken.cells})
    )
    shared = (
        tag("p", f"{count} source photos are in {name}, too: do not test on one what learnt from the other.",
            class_="reason")
        for name, count in leaking.items()
    )  # fmt: skip
    total = tag(
        "p", tag("b", str(len(taken.keys))), " pair now" if len(taken.keys) == 1 else " pairs now", class_="said"
    )
    return tag("div", total, tag("table", tag("thead", head), tag("tbody", *rows)), *shared, class_="facts")


def _cell(taken: Selection, label: str, factor: str) -> Html:
    count, there = taken.cells.get((label, factor), (0, 0))
    return tag("td", str(count) if count == there else f"{count} of {there}")


def agreement_markup(pairs: Sequence[decisions.Agreement]) -> Html:
    """Return how far every two analysts agree on what both judged."""
    if not pairs:
        text = "When two analysts, each under their own name, judge the same pairs, it shows here how far they agree."
        return tag("p", text, class_="empty")
    head = tag("tr", *(tag("th", text) for text in ("analysts", "edits", "photos", "agree", "kappa")))
    rows = (
        tag(
            "tr",
            tag("td", " and ".join(name or "nobody named" for name in agreement.analysts)),
            tag("td", str(agreement.n)),
            tag("td", str(agreement.photos)),
            tag("td", f"{agreement.agree / agreement.n:.0%}"),
            tag("td", _kappa(agreement)),
        )
        for agreement in pairs
    )
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    hint = tag(
        "p",
        "kappa: Cohen's, 1 when they always agree, 0 when only by chance; 95 % interval over photos.",
        class_="hint",
    )
    return tag("div", table, hint, class_="facts")


def _kappa(agreement: decisions.Agreement) -> str:
    if math.isnan(agreement.kappa):
        return "–"
    return f"{agreement.kappa:.2f} [{agreement.low:.2f}, {agreement.high:.2f}]"


def _title(frozen: CounterfactualSet) -> str:
    return f"{frozen.name} v{frozen.version}"


def _sets(desk: Desk, wanted: str = "") -> tuple[object, object]:
    """Return the list of sets, and the same as choices for the export: the wanted one, or the newest."""
    found = desk.store.sets()
    choices = [_title(frozen) for frozen in found]
    value = wanted if wanted in choices else next(iter(choices), None)
    return sets_markup(found), gr.update(choices=choices, value=value)


def sets_markup(found: tuple[CounterfactualSet, ...]) -> Html:
    """Return name, version and size of each set."""
    if not found:
        return tag("p", "No set yet. Keep some counterfactuals, then freeze them under a name.", class_="empty")
    rows = (
        tag("tr", tag("td", frozen.name), tag("td", f"v{frozen.version}"), tag("td", f"{len(frozen.items)} pairs"))
        for frozen in found
    )
    return tag("div", tag("table", tag("tbody", *rows)), class_="facts")


def freeze(
    desk: Desk, labels: list[str], factors: list[str], tags: list[str], quota: float | None, name: str
) -> tuple[object, ...]:
    """Freeze what the rule takes as the next version of the set. Raises `DataError` when it takes nothing."""
    desk.catalogue.refresh()
    taken = select(_kept_pairs(desk), _rule(labels, factors, tags, quota))
    made = desk.store.freeze(name, frozenset(taken.keys))
    text = f"Frozen: {_title(made)} with {len(made.items)} counterfactuals."
    return join(status_line(text), guesses_markup(_count_unlabelled_photos(desk))), *_sets(desk)


def export(desk: Desk, title: str | None) -> tuple[object, ...]:
    """Write the set below the data folder and offer it as one file. Raises `DataError` while none is chosen."""
    chosen = next((frozen for frozen in desk.store.sets() if _title(frozen) == title), None)
    if chosen is None:
        raise DataError("Choose a set to export; freeze one first if there is none.")
    file, material = archive(desk.store, chosen), labelled(desk.store, chosen.items)
    button = gr.update(value=offer_download(file)["path"], label=f"Download {file.name}", visible=True)
    told = " ".join((f"Exported to sets/{file.stem} in the data folder.", *material.left_out))
    return status_line(told), button
