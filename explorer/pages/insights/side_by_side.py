"""The comparison on Insights: a second classifier judges the stored pictures, and both are shown side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import gradio as gr

from explorer.components.markup import Html, join, tag
from explorer.components.pairs import PairCard, explore_link, pairs_markup
from explorer.components.status import status_line
from explorer.desk import Desk, Progress
from explorer.pages.insights.findings import PAIRS
from explorer.pages.insights.sheets import CellValue, Sheet, sheet_markup
from explorer.views import percent, points, sample_size
from explorer.wiring import keep_in_address, use_models
from pipeline.analysis.comparison import ClassifierComparison, Pair, compare, disagreements, pair_up
from pipeline.analysis.weakness import MIN_PHOTOS
from pipeline.curation.selection import countable
from pipeline.errors import InputError
from pipeline.store.store import Store
from pipeline.tasks import studio
from pipeline.types import Models, Step

TITLE = "Side by side"
HINT = (
    "The same pictures, judged by both: nothing is drawn again. A classifier that was trained on edits of these photos "
    "looks better here than it is on others."
)
NONE = ("none", "")


def choice(names: Sequence[str]) -> gr.Dropdown:
    """Draw the choice of the second classifier."""
    return gr.Dropdown(
        [NONE, *((name, name) for name in names)], value="", label="Compare with", elem_id="compare-with"
    )


def outcome() -> gr.HTML:
    """Draw the place of the comparison, which is empty until a second classifier is chosen."""
    return gr.HTML(apply_default_css=False, js_on_load=None, elem_classes="component", elem_id="comparison")


def wire(demo: gr.Blocks, desk: Desk, classifier: gr.Dropdown, second: gr.Dropdown, told: gr.HTML) -> None:
    """Compare whenever one of the two is chosen; the address keeps the second one."""
    keep_in_address(second, "compare")
    use_models(demo.load, desk, restore, (), (second, told))
    for chosen in (second, classifier):
        use_models(chosen.input, desk, compare_classifiers, (classifier, second), (told,))


def restore(desk: Desk, request: gr.Request) -> Iterator[tuple[object, Html]]:
    """Compare what the address asks for: `?classifier=NAME&compare=NAME`; an unknown name is left out."""
    known = list(desk.models.profile.classifiers)
    asked = {name: str(request.query_params.get(name, "")) for name in ("classifier", "compare")}
    choices = [NONE, *((name, name) for name in known)]
    second = asked["compare"] if asked["compare"] in known else ""
    yield gr.update(choices=choices, value=second), Html()
    if second and asked["classifier"]:
        for outcome in compare_classifiers(desk, asked["classifier"], second):
            yield gr.skip(), outcome


def compare_classifiers(desk: Desk, classifier: str, second: str) -> Iterator[Html]:
    """Have the second classifier judge what it has not judged, then tell both beside one another."""
    if not second:
        yield Html()
        return
    known = desk.models.profile.classifiers
    if second not in known or classifier not in (*known, *desk.store.judges()):
        raise InputError("There is no classifier of this name here; choose one from the list.")
    if second == classifier:
        yield tag("p", f"This page is about '{second}' already; choose another one to compare it with.", class_="empty")
        return

    def work(models: Models, step: Step) -> Iterator[None]:
        for name in (classifier, second):
            if name in known:
                studio.judge_stored(models, desk.store, name, step=step)
        yield

    for item in desk.stream(f"compare {classifier} {second}", work):
        if isinstance(item, Progress):
            yield status_line(_progress(item, second))
    own, others = (countable(desk.store.records(name))[0] for name in (classifier, second))
    yield comparison_markup(desk.store, pair_up(own, others), classifier, second)


def _progress(progress: Progress, second: str) -> str:
    if progress.waiting:
        return "Waiting for the models, which are busy."
    if not progress.total:
        return f"'{second}' is being opened."
    return f"'{second}' judges the stored pictures: {progress.done:,} of {progress.total:,}."


def comparison_markup(store: Store, pairs: Sequence[Pair], first: str, second: str) -> Html:
    """Return the sentence, the table by class and factor, and the pictures on which the two disagree."""
    rows = compare(pairs)
    if not rows:
        return tag("p", f"There is no edit that both '{first}' and '{second}' can judge.", class_="empty")
    split = disagreements(pairs)
    cards = [_card(store, pair, first, second) for pair in split[:PAIRS]]
    shown = f" The {len(cards)} clearest of {len(split)} are shown." if len(split) > len(cards) else ""
    right = sum(pair[1].ranks[2] == 1 for pair in split)
    counts = (
        f"On {len(split)} of {sample_size(rows[0].n, rows[0].photos).removeprefix('n ')} exactly one of them is right: "
    )
    counts += f"{first} on {len(split) - right}, {second} on {right}.{shown}"
    return join(
        tag("h2", TITLE, tag("small", HINT), class_="section"),
        tag("p", sentence(rows[0], first, second), class_="finding"),
        sheet_markup(comparison_sheet(rows, first, second), opened=True),
        tag("p", counts, class_="hint"),
        pairs_markup(cards),
    )


def sentence(row: ClassifierComparison, first: str, second: str) -> str:
    """Return what the overall row says of the two, with its interval and what it rests on."""
    change = row.delta_acc1
    ranges = f"{points(change.low)} to {points(change.high)}; {sample_size(row.n, row.photos).removeprefix('n ')}"
    if row.too_few:
        return f"Edits of fewer than {MIN_PHOTOS} photos do not tell {first} and {second} apart ({ranges})."
    if not change.reliable:
        return f"No reliable difference between {first} and {second} on the edits ({points(change.value)}, {ranges})."
    better, worse = (second, first) if change.value > 0 else (first, second)
    more = points(abs(change.value)).removeprefix("+")
    if change.value < 0:
        ranges = f"{points(-change.high)} to {points(-change.low)}; {sample_size(row.n, row.photos).removeprefix('n ')}"
    return f"{better} is right about the edits more often than {worse}, by {more} ({ranges})."


def comparison_sheet(rows: Sequence[ClassifierComparison], first: str, second: str) -> Sheet:
    """Return every class and factor with both classifiers' figures and their differences."""
    columns = (
        *("class", "factor", "n", "photos", f"Acc@1 control, {first}", f"Acc@1 control, {second}"),
        *(f"Acc@1 edits, {first}", f"Acc@1 edits, {second}", "difference", "low", "high", "adjusted p (Holm)"),
        *(f"flip rate, {first}", f"flip rate, {second}", "difference", "low", "high", "adjusted p (Holm)"),
    )
    return Sheet(name=f"{first}-and-{second}", columns=columns, rows=tuple(map(_row, rows)))


def _row(row: ClassifierComparison) -> tuple[CellValue, ...]:
    found: list[CellValue] = [row.label, row.factor, row.n, row.photos]
    found += [share.value for share in (*row.control_acc1, *row.edited_acc1)]
    for change, shares in ((row.delta_acc1, ()), (row.delta_flips, row.flips)):
        found += [share.value for share in shares]
        found += [change.value, change.low, change.high, change.p_adjusted]
    return tuple(found)


def _card(store: Store, pair: Pair, first: str, second: str) -> PairCard:
    own, other = pair
    answers = [(name, effect.edit.prediction.first) for name, effect in ((first, own), (second, other))]
    words = own.edit.perturbation
    probabilities = (effect.edit.prediction.standing(own.label).probability for effect in pair)
    p_own, p_other = map(percent, probabilities)
    return PairCard(
        photo=store.file(own.photo),
        edit=store.file(own.edit.key),
        title=f"{own.label}: {words.edited_caption}",
        said="; ".join(f"{name}: {answer}" for name, answer in answers),
        mark="rise" if other.ranks[2] == 1 else "fall",
        words=f"{own.label}: p {p_own} and {p_other}; {words.original or 'nothing'} → {words.edit or 'nothing'}",
        link=explore_link(own.photo, second, own.edit.key),
    )
