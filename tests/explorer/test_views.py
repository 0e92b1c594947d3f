"""What is shown: word diffs, frames, figures; and that text from people and models stays text."""

from __future__ import annotations

import re
from dataclasses import replace
from math import nan

import numpy as np
import pytest
from PIL import Image

from explorer import views
from explorer.components import tau_strip
from explorer.components.compare import compare_markup
from explorer.components.facts import facts_markup
from explorer.components.looks import looks_markup, overlay
from explorer.components.markup import Html, join, picture_url, tag
from explorer.components.tau_strip import diff_markup, strip_markup
from explorer.components.variations import variations_markup
from explorer.pages.explore.shifts import shift_figure, tau_figure
from explorer.pages.insights import charts
from pipeline.editing.axes import IMAGE_GUIDANCE
from pipeline.scores import SCORES, Scores
from pipeline.settings import Settings
from pipeline.types import Counterfactual, Perturbation, Photo, Prediction, Proportion, Study

LABELS = ("sled", "ball", "kite", "drum", "tent", "boat")
CAPTION, EDITED = "a photo of a brown dog with a sled", "a photo of a brown cat with a sled"
HOSTILE = """<img src=x onerror="alert(1)"> ${alert(2)} {{value}} `x` & '"""


def prediction(*first: float) -> Prediction:
    """The probabilities given, the rest spread evenly."""
    rest = (1 - sum(first)) / (len(LABELS) - len(first))
    return Prediction(labels=LABELS, probabilities=(*first, *[rest] * (len(LABELS) - len(first))))


def perturbation(edited: str = EDITED, **changes: object) -> Perturbation:
    made = Perturbation(caption=CAPTION, edited_caption=edited, factor="subject", original="dog", edit="cat")
    return replace(made, **changes)


def counterfactual(tau: float, seen: Prediction, missed: tuple[str, ...] = (), edited: str = EDITED) -> Counterfactual:
    scores = Scores(
        image_similarity=0.9, source_alignment=0.3, edited_alignment=0.3, directional_similarity=0.25, prefers_edit=0.1
    )
    return Counterfactual(
        key=f"{edited}@{tau}",
        perturbation=perturbation(edited),
        tau=tau,
        image=Image.new("RGB", (96, 96), (int(tau * 255), 0, 0)),
        scores=scores,
        prediction=seen,
        missed=missed,
    )


def study(*items: Counterfactual) -> Study:
    picture = Image.new("RGB", (96, 96), "navy")
    photo = Photo(key="k", image=picture, label="sled", prediction=prediction(0.9), name="p.png", classifier="c")
    return Study(
        photo=photo, caption=CAPTION, reconstruction=picture, control=prediction(0.8), counterfactuals=tuple(items)
    )


def test_a_word_diff_keeps_the_reading_order() -> None:
    pieces = [(piece.sign, piece.text) for piece in views.diff(CAPTION, EDITED)]
    assert pieces == [("", "a photo of a brown"), ("-", "dog"), ("+", "cat"), ("", "with a sled")]
    assert [piece.sign for piece in views.diff("a dog", "a brown dog")] == ["", "+", ""]
    assert [piece.sign for piece in views.diff("a brown dog", "a dog")] == ["", "-", ""]


def test_a_word_diff_has_signs_beside_colours() -> None:
    assert "−</span>dog" in diff_markup(views.diff(CAPTION, EDITED))
    assert "+</span>cat" in diff_markup(views.diff(CAPTION, EDITED))


def test_a_frame_is_told_against_the_control() -> None:
    frame = views.frame(counterfactual(0.4, prediction(0.2, 0.7)), "sled", prediction(0.8))
    assert frame.change == pytest.approx(-0.6)
    assert frame.flip == "ball"
    assert views.frame(counterfactual(0.4, prediction(0.7)), "sled", prediction(0.8)).flip == ""


@pytest.mark.parametrize(
    ("sentence_", "shown"),
    [
        ("directional similarity 0.19 is below 0.20", "direction 0.19<0.20"),
        ("image similarity 0.61 is below 0.70", "image 0.61<0.70"),
        ("original caption match 0.15 is below 0.20", "source 0.15<0.20"),
        ("edited caption match 0.15 is below 0.20", "caption 0.15<0.20"),
        ("preference for new words -0.004 is not above 0", "preference -0.004"),
        ("source alignment 0.15 is below 0.20", "source 0.15<0.20"),  # as earlier versions wrote them
        ("edited alignment 0.15 is below 0.20", "caption 0.15<0.20"),
        ("preference for the edited caption -0.004 is not above 0", "preference -0.004"),
    ],
)
def test_a_missed_gate_is_named_with_its_figure(sentence_: str, shown: str) -> None:
    assert views.gate_name(sentence_) == shown


def test_the_facts_hold_every_score_against_its_gate_and_leave_open_what_is_not_known() -> None:
    made = counterfactual(0.6, prediction(0.3))
    scores = replace(made.scores, image_similarity=nan, edited_alignment=0.1, prefers_edit=0.0)
    markup = facts_markup(replace(made, scores=scores), Settings())
    shown = re.findall(r"<td title=[^>]*>([^<]*)</td><td>([^<]*)</td><td>(.*?)</td>", markup)
    assert [name for name, _, _ in shown] == [score.name for score in SCORES.values()]
    rows = {name: (value, re.sub("<[^>]*>", "", gate)) for name, value, gate in shown}
    assert rows["directional similarity"] == ("0.25", "✓ ≥ 0.20")
    assert rows["edited caption match"] == ("0.10", "✕ ≥ 0.20")
    assert rows["image similarity"] == ("–", "≥ 0.70")
    assert rows["preference for new words"] == ("0.00", "✕ &gt; 0.00")


def test_rows_hold_finished_and_awaited_frames_in_the_order_of_tau() -> None:
    done = counterfactual(0.6, prediction(0.3))
    (row,) = views.rows(study(done), (0.4, 0.6), frozenset({done.key}), {done.key: "keep"}, (perturbation(),))
    assert [(frame.tau, frame.item is None) for frame in row.frames] == [(0.4, True), (0.6, False)]
    assert row.frames[1].chosen
    assert row.frames[1].verdict == "keep"


def test_the_strip_hatches_what_missed_a_gate_and_marks_what_was_chosen() -> None:
    poor = counterfactual(0.4, prediction(0.3), ("directional similarity 0.19 is below 0.20",))
    good = counterfactual(0.6, prediction(0.2, 0.7))
    shown = study(poor, good)
    markup = strip_markup(shown, views.rows(shown, (), frozenset({good.key})), good.key)
    first, second = markup.split('data-key="')[1:]
    assert 'class="frame missed"' in markup
    assert "direction 0.19&lt;0.20" in first
    assert "chip gate" not in second
    assert "mark chosen" in markup
    assert markup.count('aria-pressed="true"') == 1
    assert "⇄ " in second
    assert "⇄ " not in first


def test_a_thumbnail_is_encoded_once_and_keeps_no_picture_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    monkeypatch.setattr(tau_strip, "_thumbnails", {})
    monkeypatch.setattr(tau_strip, "picture_url", lambda image, side: encoded.append(image.size) or "data:,")
    for _ in range(3):  # as three requests do, each of which loads its pictures anew
        items = (counterfactual(0.4, prediction(0.2, 0.8)), counterfactual(0.8, prediction(0.3, 0.7)))
        strip_markup(study(*items), views.rows(study(*items), (0.4, 0.8)))
    references = 3 * 2  # the photo and its reconstruction, in every request
    assert len(encoded) == 2 + references
    assert all(isinstance(kept, str) for kept in tau_strip._thumbnails.values())


def test_hostile_words_stay_words() -> None:
    item = counterfactual(0.4, prediction(0.3), (HOSTILE,), edited=HOSTILE)
    entry = study(item)
    shown = [
        strip_markup(entry, views.rows(entry, ())),
        variations_markup([perturbation(HOSTILE, factor=HOSTILE, rejected_by=(HOSTILE,))]),
        compare_markup(item.image, item.image, HOSTILE, HOSTILE),
        tag("a", HOSTILE, href=HOSTILE),
    ]
    for markup in shown:
        assert "<img src=x" not in markup
        assert 'onerror="' not in markup


def test_only_markup_passes_unescaped() -> None:
    assert join("<b>", Html("<i>")) == "&lt;b&gt;<i>"
    assert tag("p", "a & b", class_="x", hidden=True, title=None) == '<p class="x" hidden>a &amp; b</p>'


def test_small_pictures_are_lossless_and_frames_are_reduced() -> None:
    picture = Image.effect_noise((512, 512), 60).convert("RGB")
    assert len(picture_url(picture, 128)) < len(picture_url(picture)) / 8
    assert picture_url(picture).startswith("data:image/webp;base64,")


def test_the_slopes_lead_from_rank_to_rank_with_the_label_in_bold() -> None:
    figure = shift_figure(prediction(0.8, 0.1), prediction(0.1, 0.8), "sled")
    lines = {line.name: line for line in figure.data}
    assert (list(lines["sled"].y), list(lines["ball"].y)) == ([0, -1], [-1, 0])
    assert lines["sled"].line.width > lines["ball"].line.width
    assert lines["ball"].line.color == views.FALL
    texts = [note.text.replace(views.THIN, " ") for note in figure.layout.annotations]
    assert {"<b>#1 sled 80 %</b>", "<b>#2 sled 10 %</b>", "#2 ball 10 %", "#1 ball 80 %"} <= set(texts)
    assert "rank 1 → 2" in lines["sled"].hovertemplate


def test_the_label_is_shown_even_when_it_is_in_neither_top_five() -> None:
    seen = Prediction(labels=("sled", *"abcdef"), probabilities=(0.01, 0.4, 0.2, 0.15, 0.12, 0.09, 0.03))
    lines = shift_figure(seen, seen, "sled").data
    assert {line.name for line in lines} == {"sled", *"abcde"}
    assert list(lines[-1].y) == [-5, -5]


def test_the_failure_point_is_the_most_careful_flip_that_passes_the_gates() -> None:
    flips, stays = prediction(0.2, 0.7), prediction(0.8)
    items = [counterfactual(0.4, flips), counterfactual(0.6, flips), counterfactual(0.7, flips, ("image similarity",))]
    shown = study(*items, counterfactual(0.8, stays))
    (row,) = views.rows(shown, ())
    assert [frame.tau for frame in row.frames if frame.fails] == [0.6]
    assert strip_markup(shown, [row]).count("mark fails") == 1


def test_where_a_classifier_looks_is_told_on_one_scale() -> None:
    weak, strong = np.zeros((96, 96), np.float32), np.zeros((96, 96), np.float32)
    weak[10, 10], strong[80, 20] = 1.0, 2.0
    picture = Image.new("RGB", (96, 96), "black")
    lit = np.asarray(overlay(picture, strong / 2))
    assert np.argwhere(lit.sum(axis=2)).tolist() == [[80, 20]]
    markup = looks_markup((picture, picture), (weak, strong), "<sled>")
    assert "original, highest 50%" in markup
    assert "edit, highest 100%" in markup
    assert "<sled>" not in markup
    assert "no convolution" in looks_markup((picture, picture), (), "sled")


def test_the_curve_over_alpha_marks_the_alpha_in_use() -> None:
    share = Proportion(n=10, value=0.5, low=0.2, high=0.8)
    figure = charts.alpha_figure([(alpha / 10, {("held", 1): share, ("held", 5): share}) for alpha in range(11)], 0.3)
    assert figure.layout.shapes[0].x0 == 0.3
    assert [trace.name for trace in figure.data if trace.name] == ["held, Acc@1", "held, Acc@5"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.0 %"), (0.0004, "<0.1 %"), (0.034, "3.4 %"), (0.5, "50 %"), (0.9996, ">99.9 %"), (1.0, "100.0 %")],
)
def test_nothing_is_rounded_to_certainty(value: float, shown: str) -> None:
    assert views.percent(value).replace(views.THIN, " ") == shown


def test_changes_have_signs() -> None:
    shown = [views.points(change).replace(views.THIN, " ") for change in (-0.123, 0.0, 0.004, 0.5)]
    assert shown == ["−12 pt", "±0 pt", "±0 pt", "+50 pt"]


def test_an_editor_names_its_own_axis() -> None:
    item = counterfactual(0.4, prediction(0.2, 0.7))
    frame = views.frame(item, "sled", prediction(0.8), IMAGE_GUIDANCE)
    assert frame.strength == "s_I 1.40"
    assert frame.title.startswith("Edit at image guidance 1.40: ")
    (row,) = views.rows(study(item), (0.4, 0.6), waiting=(perturbation(),), axis=IMAGE_GUIDANCE)
    assert [frame.title for frame in row.frames][1] == "The edit at image guidance 1.60 is being made"
    assert tau_figure(row, "sled", None, 0.4, IMAGE_GUIDANCE).layout.xaxis.title.text == "image guidance"
