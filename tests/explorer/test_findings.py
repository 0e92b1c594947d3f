"""What the Insights page tells, on a store of the seams' studies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from explorer import charts
from explorer import findings as told
from explorer.components.heat_map import heat_markup
from explorer.findings import behind, cells_sheet, findings, landmarks, tau_sheet, thresholds_sheet, values_sheet
from explorer.sheets import to_csv
from explorer.views import SCORES
from pipeline.curation import chosen
from pipeline.editing.axes import TAU
from pipeline.intervals import Change
from pipeline.store import Store
from pipeline.thresholds import NAMES, separations
from pipeline.weakness import ALL, MIN_PHOTOS
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
        pairs, count = behind(store, found.effects, row.label, row.factor)
        assert count == row.n
        assert all("photo=" in pair.link and pair.edit.is_file() for pair in pairs)
    assert behind(store, found.effects, ALL, ALL)[1] == sum(len(chosen(study)) for study in found.studies)


def test_a_study_that_comes_later_is_told(store: Store) -> None:
    name = store.studies()[0].classifier
    before = findings(store.records(name))
    save(store, study_of(7))
    after = findings(store.records(name))
    assert len(after.studies) == len(before.studies) + 1


def test_the_heat_map_is_a_table_of_buttons_that_say_their_figures(store: Store) -> None:
    found = findings(store.records(store.studies()[0].classifier))
    strange = tuple(replace(row, label="<b>") if row.label != ALL else row for row in found.rows)
    shown = heat_markup(strange, "Acc@1", (ALL, ALL), "one & two")
    assert shown.count('data-do="cell"') == len(found.cells)
    assert shown.count('aria-pressed="true"') == 1
    assert '<th scope="row">&lt;b&gt;</th>' in shown
    assert "?classifier=one+%26+two&amp;label=all&amp;factor=all" in shown
    assert "edits of 3 photos" in shown


def test_only_a_reliable_change_of_enough_photos_is_bold(store: Store) -> None:
    row = findings(store.records(store.studies()[0].classifier)).rows[0]
    for photos, adjusted, bold in ((MIN_PHOTOS - 1, 0.01, 0), (MIN_PHOTOS, 0.01, 1), (MIN_PHOTOS, 0.06, 0)):
        change = Change(n=99, photos=photos, value=-0.9, low=-1.0, high=-0.5, p=0.01, p_adjusted=adjusted)
        shown = heat_markup([replace(row, photos=photos, delta_acc1=change)], "Acc@1", (ALL, ALL), "resnet")
        assert shown.count("<b>") == bold
        assert shown.count('class="loss few"') == (photos < MIN_PHOTOS)


def test_every_score_has_the_same_name_in_charts_and_sheets() -> None:
    assert set(SCORES) == set(NAMES)
    found = separations(())
    assert {row[0] for row in thresholds_sheet(found).rows} == set(SCORES.values())
    for one in found:
        assert charts.score_figure(one).layout.xaxis.title.text == SCORES[one.score]
        assert values_sheet(one).columns[1] == SCORES[one.score]


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
    edits = {one.key for study in studies for one in chosen(study)}
    assert {mark.key for mark in whole if mark.kind != "original"} == edits
    assert whole[0].kind == "original"
    assert all(store.file(mark.key).is_file() for mark in whole)
    monkeypatch.setattr(told, "MAPPED", 3)
    assert landmarks(studies) == whole[:3]
