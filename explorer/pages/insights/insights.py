"""Page: where a classifier is weak, by class, factor, tau and words; every figure leads to the edits behind it.

Changes are told against the reconstruction (the control). Knows no statistics: they are the pipeline's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr
import numpy as np
from PIL.Image import Image

from explorer import collections
from explorer.components.asking import left_out_markup
from explorer.components.heat_map import K, heat_map, heat_markup
from explorer.components.markup import REPORT_CLICKS, Html, join, tag
from explorer.components.masthead import section
from explorer.components.pairs import pairs_markup
from explorer.desk import Desk
from explorer.pages.insights import charts, side_by_side
from explorer.pages.insights.findings import (
    MAPPED,
    Findings,
    alike_edits,
    cells_sheet,
    factor_sheet,
    findings,
    landmarks,
    pairs_behind_cell,
    tau_sheet,
    thresholds_sheet,
    values_sheet,
    words_sheet,
)
from explorer.pages.insights.sheets import Sheet, sheet_markup, sheet_on_demand
from explorer.views import sample_size
from explorer.wiring import use_models, use_records
from pipeline.analysis.clusters import LEAST
from pipeline.analysis.thresholds import MIN_N, Separation, separations
from pipeline.analysis.weakness import ALL
from pipeline.images import open_image
from pipeline.reinforcement.features import Features, features_folder
from pipeline.scores import SCORES
from pipeline.statistics.projection import landscape
from pipeline.types import Models

TITLE, ROUTE = "Insights", "/insights"
NOTHING = (
    "No edit of this classifier is here yet. Make some on the Explore page, or study a folder of pictures at once: "
    "python -m pipeline stress FOLDER --out DATA."
)
WORDS_HINT = (
    "Alike edits together, the most certain harm first. One half of the photos gives the order, the other half the "
    "figures: on the photos that ranked it, whatever comes first looks worse than it is."
)
FEW_WORDS = (
    f"No group of alike edits has {LEAST} photos in either half yet; edit more photos to see the words that hurt."
)
SCORES_HINT = (
    "What you kept and rejected, and the threshold that parts them best. What passes and what fails is told for photos "
    "that had no part in choosing the threshold."
)
NO_THRESHOLD = (
    f"A threshold is suggested once edits of {MIN_N} photos are kept and of {MIN_N} rejected; decide on some in Curate."
)
NO_HELP = (
    "No threshold of this score is shown to part them better than chance on photos that had no part in choosing it."
)
# The edits of a chosen cell lie below the fold of most screens.
TO_ITEMS = "() => document.querySelector('#behind').scrollIntoView({block: 'nearest', behavior: 'smooth'})"
MAP_HINT = "Original photos and chosen edits by the classifier's own features, on their two main directions (PCA)."


def build(demo: gr.Blocks, desk: Desk) -> None:
    """Draw the page into the current Blocks and wire it."""
    collections.notice(demo, desk)
    with gr.Column(elem_classes="work report"):
        with gr.Row(elem_classes="actions top"):
            names = _classifiers(desk)
            classifier = gr.Dropdown(names, value=names[0], label="Classifier", elem_id="judge")
            second = side_by_side.choice(list(desk.models.profile.classifiers))
            measure = gr.Radio(list(K), value="Acc@1", label="Measure", elem_id="measure")
        section("1", "By class and factor", "Choose a cell to see the edits behind it.")
        selected = gr.State((ALL, ALL))
        heat, cells_table, items = heat_map(), _table_on_demand("cells"), _html("behind")
        comparison = side_by_side.outcome()
        with gr.Row(elem_classes="halves"):
            with gr.Column(min_width=300):
                section(
                    "2",
                    "Flip rate",
                    "Share of edits that change the prediction. All intervals on this page are 95 %, over photos.",
                )
                flips, flips_table = _plot("flips"), _html()
            with gr.Column(min_width=300):
                section("3", "Change of p(label) by factor", "Signed, at each edit's chosen strength.")
                change, change_table = _plot("change"), _html()
        section("4", "Words that hurt most", WORDS_HINT)
        words = _html()
        section("5", "Scores by verdict", SCORES_HINT)
        scores = [(score.name, field) for field, score in SCORES.items()]
        score = gr.Dropdown(scores, value=next(iter(SCORES)), label="Score", elem_id="score")
        histogram, thresholds, values_table = _plot("histogram"), _html(), _table_on_demand("values")
        section("6", "Map of originals and edits", MAP_HINT)
        with gr.Row(elem_classes="actions"):
            map_button = gr.Button("Draw the map", elem_id="draw-map")
        picture, picture_table = _plot("landscape"), _html()
    scored = (histogram, thresholds, values_table)
    charted = (cells_table, flips, flips_table, change, change_table, *scored)
    mapped = (selected, heat, items)
    # One after the other: the map first, which the page is for, then the charts, and the words, which need the models.
    for opened in (
        use_records(demo.load, desk, restore, (), (classifier, *mapped)),
        use_records(classifier.input, desk, show, (classifier, measure), mapped),
    ):
        charts_there = use_records(opened.then, desk, draw, (classifier, score), charted)
        use_models(charts_there.then, desk, tell_words, (classifier,), (words,))
    use_records(measure.input, desk, redraw, (classifier, measure, selected), (heat,))
    opened_cell = use_records(heat.act, desk, open_cell, (classifier, measure), mapped)
    opened_cell.success(None, None, None, js=TO_ITEMS, api_visibility="private")
    use_records(score.input, desk, tell_scores, (classifier, score), scored)
    use_records(cells_table.act, desk, tell_cells, (classifier,), (cells_table,))
    use_records(values_table.act, desk, tell_values, (classifier, score), (values_table,))
    use_models(map_button.click, desk, tell_map, (classifier,), (picture, picture_table))
    side_by_side.wire(demo, desk, classifier, second, comparison)


def _html(name: str | None = None) -> gr.HTML:
    return gr.HTML(apply_default_css=False, js_on_load=None, elem_classes="component", elem_id=name)


def _table_on_demand(name: str) -> gr.HTML:
    """Return a table that comes when it is opened; listen with `.act(...)`."""
    return gr.HTML(apply_default_css=False, js_on_load=REPORT_CLICKS, elem_classes="component", elem_id=name)


def _plot(name: str) -> gr.Plot:
    return gr.Plot(show_label=False, visible=False, elem_id=name)


def _classifiers(desk: Desk) -> list[str]:
    """Return the classifiers that something was studied under, then the profile's others."""
    studied = [study.classifier for study in desk.store.studies() if study.counterfactuals]
    return list(dict.fromkeys([*studied, *desk.models.profile.classifiers]))


def restore(desk: Desk, request: gr.Request) -> tuple[object, ...]:
    """Show what the address asks for: `?classifier=NAME&label=CLASS&factor=FACTOR`; what is unknown is left out."""
    names, asked = _classifiers(desk), str(request.query_params.get("classifier", ""))
    classifier = asked if asked in names else names[0]
    cell = (str(request.query_params.get("label", ALL)), str(request.query_params.get("factor", ALL)))
    return gr.update(choices=names, value=classifier), *show(desk, classifier, "Acc@1", cell)


def show(desk: Desk, classifier: str, measure: str, cell: tuple[str, str] = (ALL, ALL)) -> tuple[object, ...]:
    """Return (selected, heat map, items)."""
    found = _findings(desk, classifier)
    if not found.studies:
        note = left_out_markup(found.left_out)
        empty = note or tag("p", NOTHING, " ", tag("a", "Go to Explore", href="./"), class_="empty tall")
        return (ALL, ALL), empty, Html()
    return _cell(desk, found, classifier, measure, cell)


def draw(desk: Desk, classifier: str, score: str) -> tuple[object, ...]:
    """Return the table of all cells, and the charts with their tables: flip rate, change, scores."""
    found = _findings(desk, classifier)
    if not found.studies:
        return Html(), *(gr.update(visible=False), Html()) * 3, Html()
    return (
        sheet_on_demand(cells_sheet(found.rows)),
        _visible(charts.flips_figure(found.by_tau, desk.models.axis)),
        sheet_markup(tau_sheet(found.by_tau)),
        _visible(charts.change_figure(found.by_factor)),
        sheet_markup(factor_sheet(found.by_factor)),
        *tell_scores(desk, classifier, score),
    )


def redraw(desk: Desk, classifier: str, measure: str, selected: Sequence[str]) -> Html:
    """Return the heat map with another measure."""
    return _heat(_findings(desk, classifier), classifier, measure, (selected[0], selected[1]))


def open_cell(desk: Desk, classifier: str, measure: str, event: gr.EventData) -> tuple[object, ...]:
    """Open the cell that was chosen; return (selected, heat map, items)."""
    cell = (str(event._data["label"]), str(event._data["factor"]))
    return _cell(desk, _findings(desk, classifier), classifier, measure, cell)


def tell_words(desk: Desk, classifier: str) -> Html:
    """Return the groups of words, for which the sentence encoder is asked."""
    found = _findings(desk, classifier)
    if not found.studies:
        return Html()
    groups = desk.ask(lambda models: alike_edits(found.studies, models.perturber.embed))
    return sheet_markup(words_sheet(groups), opened=True) if groups else tag("p", FEW_WORDS, class_="empty")


def tell_cells(desk: Desk, classifier: str) -> Html:
    """Return the table of all cells, opened."""
    return sheet_markup(cells_sheet(_findings(desk, classifier).rows), opened=True)


def tell_scores(desk: Desk, classifier: str, score: str) -> tuple[object, Html, Html]:
    """Return the histogram of one score, all suggested thresholds, and the table of the score's values."""
    found = _separations(desk, classifier)
    separation = _separation_of(score, found)
    why = NO_THRESHOLD if separation.threshold is None else NO_HELP
    hint = Html() if separation.helps else tag("p", why, class_="hint")
    thresholds = join(hint, sheet_markup(thresholds_sheet(found), opened=True))
    return _visible(charts.score_figure(separation)), thresholds, sheet_on_demand(values_sheet(separation))


def tell_values(desk: Desk, classifier: str, score: str) -> Html:
    """Return the table of one score's values, opened."""
    return sheet_markup(values_sheet(_separation_of(score, _separations(desk, classifier))), opened=True)


def _separation_of(score: str, found: Sequence[Separation]) -> Separation:
    return next(separation for separation in found if separation.score == score)


def tell_map(desk: Desk, classifier: str) -> tuple[object, Html]:
    """Return the map, for which the classifier's features are computed where they are not known yet."""
    found = _findings(desk, classifier)
    if not found.studies:
        return gr.update(visible=False), tag("p", NOTHING, class_="empty")
    marks = landmarks(found.studies)
    pictures = [(open_image(desk.store.file(mark.key)), mark.label) for mark in marks]
    features = desk.ask(lambda models: _features(desk.store.root, models, classifier, pictures))
    drawn = landscape(features)
    places = [(float(x), float(y)) for x, y in drawn.points]
    figure = charts.landscape_figure([m.kind for m in marks], places, [m.says for m in marks], drawn.explained)
    rows = tuple((mark.kind, mark.says, x, y) for mark, (x, y) in zip(marks, places, strict=True))
    sheet = Sheet(name="map", columns=("kind", "picture", "direction 1", "direction 2"), rows=rows)
    most = tag("p", f"{len(marks)} pictures, a sample of all.", class_="hint") if len(marks) == MAPPED else Html()
    return _visible(figure), join(most, sheet_markup(sheet))


def _features(
    root: Path, models: Models, classifier: str, pictures: Sequence[tuple[Image, str]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    known = Features(models.classifier(classifier), features_folder(root, classifier))
    return known.part(pictures).features.numpy()


def _findings(desk: Desk, classifier: str) -> Findings:
    return findings(desk.store.records(classifier))


def _separations(desk: Desk, classifier: str) -> tuple[Separation, ...]:
    studies = _findings(desk, classifier).studies
    desk.catalogue.refresh()
    verdicts = desk.catalogue.verdicts(edit.key for study in studies for edit in study.counterfactuals)
    return separations(
        (study.photo.key, edit, verdicts.get(edit.key, "")) for study in studies for edit in study.counterfactuals
    )


def _cell(desk: Desk, found: Findings, classifier: str, measure: str, cell: tuple[str, str]) -> tuple[object, ...]:
    """Return (selected, heat map, items) of one cell; of a cell without edits the overall one."""
    cell = cell if cell in found.cells else (ALL, ALL)
    pairs, count = pairs_behind_cell(desk.store, found.effects, *cell)
    photos = next(row.photos for row in found.rows if (row.label, row.factor) == cell)
    what = "all edits" if cell == (ALL, ALL) else " under ".join(part for part in cell if part != ALL)
    more = f" The {len(pairs)} greatest losses of {count} are shown." if count > len(pairs) else ""
    head = tag(
        "p", tag("b", what), f": {sample_size(count, photos)}, each at its chosen strength.{more}", class_="hint"
    )
    return cell, _heat(found, classifier, measure, cell), join(head, pairs_markup(pairs))


def _heat(found: Findings, classifier: str, measure: str, cell: tuple[str, str]) -> Html:
    return join(left_out_markup(found.left_out), heat_markup(found.rows, measure, cell, classifier))


def _visible(figure: object) -> object:
    return gr.update(value=figure, visible=True)
