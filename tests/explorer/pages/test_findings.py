"""What the Insights page tells, on a store of the seams' studies."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from explorer.components.asking import left_out_markup
from explorer.components.heat_map import SHOWN, heat_markup
from explorer.pages.insights import charts
from explorer.pages.insights import findings as told
from explorer.pages.insights.findings import (
    cells_sheet,
    findings,
    landmarks,
    pairs_behind_cell,
    tau_sheet,
    thresholds_sheet,
    values_sheet,
)
from explorer.pages.insights.sheets import to_csv
from pipeline.__main__ import app
from pipeline.analysis.thresholds import separations
from pipeline.analysis.weakness import ALL, MIN_PHOTOS
from pipeline.curation.selection import LeftOut, chosen
from pipeline.editing.axes import TAU
from pipeline.scores import SCORES
from pipeline.statistics.intervals import Change
from pipeline.store.store import Store
from tests.stores import save, study_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    kept = Store(tmp_path)
    for seed in range(3):
        save(kept, study_of(seed))
    return kept


def test_every_cell_opens_exactly_its_edits(store: Store) -> None:
    name = store.studies()[0].classifier
    found = findings(store.records(name))
    assert len(found.studies) == 3
    for row in found.rows:
        pairs, count = pairs_behind_cell(store, found.effects, row.label, row.factor)
        assert count == row.n
        assert all("photo=" in pair.link and pair.edit.is_file() for pair in pairs)
    assert pairs_behind_cell(store, found.effects, ALL, ALL)[1] == sum(len(chosen(study)) for study in found.studies)


def test_a_study_that_comes_later_is_told(store: Store) -> None:
    name = store.studies()[0].classifier
    before = findings(store.records(name))
    save(store, study_of(7))
    after = findings(store.records(name))
    assert len(after.studies) == len(before.studies) + 1


def test_a_label_that_the_classifier_does_not_have_counts_nowhere_and_is_told(store: Store) -> None:
    first = store.records()[0]
    store.set_label(first.photo.key, "<boat>", analyst="ada")
    found = findings(store.records(first.photo.classifier))
    assert len(found.studies) == 2
    assert found.left_out == LeftOut(foreign=("<boat>",))
    assert "1 photo counts nowhere here" in left_out_markup(found.left_out)
    assert "&#39;&lt;boat&gt;&#39;" in left_out_markup(found.left_out)
    for command in ("weakness", "quality"):
        told_of = CliRunner().invoke(app, [command, str(store.root), "--json"])
        assert "1 photo is left out, which shows what this classifier has no label for: '<boat>'." in told_of.stderr
        if command == "weakness":
            assert json.loads(told_of.stdout.splitlines()[0])["photos"] == 2
    for study in store.records()[1:]:
        store.set_label(study.photo.key, "ship", analyst="ada")
    told_of = CliRunner().invoke(app, ["weakness", str(store.root)])
    assert told_of.exit_code == 2
    assert "3 photos are left out, which show what this classifier has no label for" in told_of.output


def test_the_heat_map_is_a_table_of_buttons_that_say_their_figures(store: Store) -> None:
    found = findings(store.records(store.studies()[0].classifier))
    strange = tuple(replace(row, label="<b>") if row.label != ALL else row for row in found.rows)
    shown = heat_markup(strange, "Acc@1", (ALL, ALL), "one & two")
    assert shown.count('data-do="cell"') == len(found.cells)
    assert shown.count('aria-pressed="true"') == 1
    assert '<th scope="row">&lt;b&gt;</th>' in shown
    assert "?classifier=one+%26+two&amp;label=all&amp;factor=all" in shown
    assert "edits of 3 photos" in shown


def test_the_heat_map_shows_the_worst_classes_and_the_selected_one(store: Store) -> None:
    row = findings(store.records(store.studies()[0].classifier)).rows[0]
    losses = [replace(row.delta_acc1, value=-number / 100) for number in range(SHOWN + 2)]
    rows = [replace(row, label=f"class {n}", photos=MIN_PHOTOS, delta_acc1=loss) for n, loss in enumerate(losses)]
    shown = heat_markup(rows, "Acc@1", ("class 0", ALL), "resnet")
    told_of = re.findall(r'<th scope="row">([^<]*)</th>', shown)
    assert told_of == [*(f"class {n}" for n in range(SHOWN + 1, 1, -1)), "class 0", ALL]
    assert f"The {SHOWN} classes with the greatest loss of {SHOWN + 2}" in shown
    assert "with the greatest loss" not in heat_markup(rows[:SHOWN], "Acc@1", (ALL, ALL), "resnet")


def test_only_a_reliable_change_of_enough_photos_is_bold(store: Store) -> None:
    row = findings(store.records(store.studies()[0].classifier)).rows[0]
    for photos, adjusted, bold in ((MIN_PHOTOS - 1, 0.01, 0), (MIN_PHOTOS, 0.01, 1), (MIN_PHOTOS, 0.06, 0)):
        change = Change(n=99, photos=photos, value=-0.9, low=-1.0, high=-0.5, p=0.01, p_adjusted=adjusted)
        shown = heat_markup([replace(row, photos=photos, delta_acc1=change)], "Acc@1", (ALL, ALL), "resnet")
        assert shown.count("<b>") == bold
        assert shown.count('class="loss few"') == (photos < MIN_PHOTOS)


def test_every_score_has_the_same_name_in_charts_and_sheets() -> None:
    found = separations(())
    assert {row[0] for row in thresholds_sheet(found).rows} == {score.name for score in SCORES.values()}
    for chart in found:
        assert charts.score_figure(chart).layout.xaxis.title.text == SCORES[chart.score].name
        assert values_sheet(chart).columns[1] == SCORES[chart.score].name


def test_charts_and_sheets_hold_the_same_figures(store: Store) -> None:
    found = findings(store.records(store.studies()[0].classifier))
    figure = charts.flips_figure(found.by_tau, TAU)
    assert list(figure.data[0].y) == [row.flips.value for row in found.by_tau if row.n]
    assert len(to_csv(tau_sheet(found.by_tau)).splitlines()) == 1 + len(found.by_tau)
    assert len(cells_sheet(found.rows).rows) == len(found.rows)
    assert {len(row) for row in cells_sheet(found.rows).rows} == {len(cells_sheet(found.rows).columns)}


def test_the_map_shows_every_photo_before_its_edits_or_a_sample(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    studies = store.records()
    whole = landmarks(studies)
    assert {mark.key for mark in whole if mark.kind == "original"} == {study.photo.key for study in studies}
    edits = {item.key for study in studies for item in chosen(study)}
    assert {mark.key for mark in whole if mark.kind != "original"} == edits
    assert whole[0].kind == "original"
    assert all(store.file(mark.key).is_file() for mark in whole)
    monkeypatch.setattr(told, "MAPPED", 3)
    assert landmarks(studies) == whole[:3]
