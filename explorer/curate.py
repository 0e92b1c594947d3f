"""Page: all counterfactuals as pairs, kept or rejected one by one, frozen as numbered sets and exported."""

from __future__ import annotations

import shutil
import time
from functools import lru_cache
from pathlib import Path

import gradio as gr

from explorer import views
from explorer.components.deck import deck, deck_markup
from explorer.components.markup import Html, tag
from explorer.components.masthead import masthead, section
from explorer.components.status import said
from explorer.jobs import Desk
from explorer.wiring import reads
from pipeline.curation import chosen, export_set
from pipeline.errors import DataError
from pipeline.store import Store, StudySummary
from pipeline.types import CounterfactualSet, Decision, Study

SHOWN = ("All", "To decide", "Kept", "Rejected")
PAGE = 24  # pairs shown at once
EMPTY = {
    "To decide": "Nothing waits for a decision. Edit a photo on the Explore page: each variation's best comes here.",
    "Kept": "Nothing is kept yet. Keep a pair here, or a frame on the Explore page.",
    "Rejected": "Nothing was rejected.",
    "All": "There are no counterfactuals yet. Edit a photo on the Explore page.",
}


def build(demo: gr.Blocks, desk: Desk) -> None:
    """Draws the page into the current Blocks and wires it."""
    masthead("Curate", desk.models.profile.name)
    with gr.Row(elem_classes="bench", equal_height=False):
        with gr.Column(elem_classes="work", min_width=300):
            section("", "Counterfactuals", "Keys on a focused pair: J next, K previous, A keep, R reject, U undo.")
            with gr.Row(elem_classes="actions"):
                which = gr.Radio(list(SHOWN), value="All", show_label=False, label="Show", elem_id="which")
                limit = gr.Number(PAGE, visible=False)
            cards = deck()
            more = gr.Button("Show more", elem_id="more", visible=False)
        with gr.Column(elem_classes="inspector", min_width=280):
            section("", "Sets", "A set is frozen and numbered: what was learnt from it can be told apart later.")
            name = gr.Textbox(label="Name of the set", value="counterfactuals", elem_id="set-name", max_length=80)
            freeze_button = gr.Button("Freeze all kept ones", variant="primary", elem_id="freeze")
            status = gr.HTML(apply_default_css=False, js_on_load=None, elem_classes="component")
            sets = gr.HTML(apply_default_css=False, js_on_load=None, elem_classes="component")
            section("", "Export")
            version = gr.Dropdown([], label="Set", elem_id="export-set")
            export_button = gr.Button("Export as ImageFolder", elem_id="export")
            download = gr.DownloadButton("Download", visible=False, elem_id="download")
    shown = (cards, which, more)
    reads(demo.load, desk, show, (which, limit), (*shown, sets, version))
    reads(which.input, desk, show, (which, limit), (*shown, sets, version))
    reads(more.click, desk, show_more, (which, limit), (limit, *shown, sets, version))
    reads(cards.act, desk, act, (which, limit), (*shown, sets, version))
    reads(freeze_button.click, desk, freeze, (name,), (status, sets, version))
    reads(export_button.click, desk, export, (version,), (status, download))


def show(desk: Desk, which: str, limit: float) -> tuple[object, ...]:
    """The pairs of one kind, the sets beside them."""
    cards = _cards(desk)
    kinds = {kind: [card for card in cards if _belongs(card, kind)] for kind in SHOWN}
    choices = [(f"{kind} ({len(found)})", kind) for kind, found in kinds.items()]
    found = kinds[which]
    markup = deck_markup(found[: int(limit)], EMPTY[which])
    more = gr.update(visible=len(found) > limit, value=f"Show more of {len(found)}")
    return markup, gr.update(choices=choices, value=which), more, *_sets(desk)


def show_more(desk: Desk, which: str, limit: float) -> tuple[object, ...]:
    """The same with another page of pairs."""
    return int(limit) + PAGE, *show(desk, which, int(limit) + PAGE)


def act(desk: Desk, which: str, limit: float, event: gr.EventData) -> tuple[object, ...]:
    """A verdict on one pair, saved before it is shown."""
    verdict = {"keep": "keep", "reject": "reject", "undo": ""}[str(event._data["do"])]
    key, number = str(event._data["key"]), str(event._data["id"])[:64]
    desk.store.decide(Decision(id=number, counterfactual=key, verdict=verdict, time=time.time()))
    return show(desk, which, limit)


def _cards(desk: Desk) -> tuple[views.Card, ...]:
    """Every counterfactual that is chosen or decided upon, newest photo first."""
    verdicts = {key: decision.verdict for key, decision in desk.store.decisions().items()}
    cards: list[views.Card] = []
    for summary in desk.store.studies():
        if summary.counterfactuals:
            study = _study(desk.store, summary)
            cards += views.cards(study, {item.key for item in chosen(study)}, verdicts, desk.models.axis)
    seen = {card.item.key for card in cards}
    others = ((photo, item) for photo, item in desk.store.kept() if item.key not in seen)
    return (*cards, *(views.card(photo, item, None, "keep", desk.models.axis) for photo, item in others))


@lru_cache(maxsize=256)
def _study(store: Store, summary: StudySummary) -> Study:
    """The study as of this summary; summaries change with what they sum up, so nothing stale is served."""
    study = store.load_study(summary.key, summary.classifier)
    if study is None:
        raise DataError(f"The study {summary.key[:12]} is no longer in the data folder; reload the page.")
    return study


def _belongs(card: views.Card, kind: str) -> bool:
    wanted = {"Kept": "keep", "Rejected": "reject", "To decide": ""}
    return kind == "All" or card.frame.verdict == wanted[kind]


def _title(one: CounterfactualSet) -> str:
    return f"{one.name} v{one.version}"


def _sets(desk: Desk) -> tuple[object, object]:
    """The list of sets, and the same as choices for the export."""
    found = desk.store.sets()
    choices = [_title(one) for one in found]
    return sets_markup(found), gr.update(choices=choices, value=choices[0] if choices else None)


def sets_markup(found: tuple[CounterfactualSet, ...]) -> Html:
    """Name, version and size of each set."""
    if not found:
        return tag("p", "No set yet. Keep some counterfactuals, then freeze them under a name.", class_="empty")
    rows = (
        tag("tr", tag("td", one.name), tag("td", f"v{one.version}"), tag("td", f"{len(one.items)} pairs"))
        for one in found
    )
    return tag("div", tag("table", tag("tbody", *rows)), class_="facts")


def freeze(desk: Desk, name: str) -> tuple[object, ...]:
    """All kept ones as the next version of the set."""
    made = desk.store.freeze(name)
    text = f"Frozen: {_title(made)} with {len(made.items)} counterfactuals."
    return said(text), *_sets(desk)


def export(desk: Desk, title: str | None) -> tuple[object, ...]:
    """Writes the set below the data folder and offers it as one file."""
    one = next((one for one in desk.store.sets() if _title(one) == title), None)
    if one is None:
        raise DataError("Choose a set to export; freeze one first if there is none.")
    plain = "".join(char if char.isalnum() or char in "-_" else "-" for char in one.name)
    folder = desk.store.root / "sets" / f"{plain}-v{one.version:03d}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        export_set(desk.store, one, folder)
    archive = Path(shutil.make_archive(str(folder), "zip", folder))
    button = gr.update(value=str(archive), label=f"Download {archive.name}", visible=True)
    return said(f"Exported to sets/{folder.name} in the data folder."), button
