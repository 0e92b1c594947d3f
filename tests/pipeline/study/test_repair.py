"""Table 2 on colours, where the repair is known by construction, and the report on both tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.reinforcement.recipes import METHODS
from pipeline.reinforcement.training_data import Example
from pipeline.study.report import as_json, html, markdown
from pipeline.study.results import CHOSEN, HYBRID, Repair, Results, Weaknesses
from tests.colour_studies import RECIPE, REPLICATES, SEEDS, repaired
from tests.seams import LABELS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table_2(items: tuple[Example, ...], tmp_path_factory: pytest.TempPathFactory) -> Repair:
    folder = tmp_path_factory.mktemp("study")
    counted, table = repaired(items, folder)
    assert counted == list(range(1, len(METHODS) - 1 + 2 + 2 + 1))
    files = {file: file.stat().st_mtime_ns for file in folder.rglob("*.safetensors")}
    assert repaired(items, folder)[1] == table
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.safetensors")} == files
    return table


def test_table_2_finds_the_repair_and_that_plain_augmentation_is_none(table_2: Repair) -> None:
    scores = {(score.recipe, score.alpha, score.test): score for score in table_2.scores}
    assert table_2.baseline["T"].value == 1.0
    assert table_2.baseline["OOD"].value < 0.3
    mended = scores["counterfactual", CHOSEN, "OOD"]
    assert (mended.gain.n, mended.gain.photos) == (24, 24)
    assert mended.gain.value > 0.3
    assert mended.over["standard"].value > 0.3
    assert 0.3 < mended.gain.low < mended.gain.value <= mended.gain.high <= 1.0
    assert mended.gain.p < 0.05
    assert mended.accuracy.value == pytest.approx(table_2.baseline["OOD"].value + mended.gain.value)
    assert scores["counterfactual", CHOSEN, "T"].gain.value == 0.0
    assert scores["standard", CHOSEN, "OOD"].over["standard"].value == 0.0
    assert scores["counterfactual", CHOSEN, HYBRID].gain.n == 48
    assert mended.accuracy5.value == 1.0  # of three classes
    assert {(score.recipe, score.alpha) for score in table_2.scores} == {
        *((name, "0.3") for name in ("counterfactual", "standard", "reconstruction", "text-to-image")),
        *((name, CHOSEN) for name in ("counterfactual", "standard", "reconstruction", "text-to-image")),
        *((name, "1") for name in ("fine-tuning", "afr", "dfr")),
    }


def test_the_curve_rises_and_the_right_factor_mends(table_2: Repair) -> None:
    curve = {(point.at, point.test): point.gain for point in table_2.curve}
    assert curve["1", "OOD"].value > max(0.3, curve["0.1", "OOD"].value)
    factors = {(point.at, point.test): point.gain for point in table_2.by_factor}
    assert factors["background", "OOD"].value > factors["object", "OOD"].value + 0.3
    assert [point.at for point in table_2.by_number if point.test == "T"] == ["25%", "50%", "100%"]
    assert set(table_2.by_class) == set(LABELS)
    assert (table_2.photos, table_2.counterfactuals) == (18, 36)


def test_samples_that_are_missing_leave_their_recipe_out(items: tuple[Example, ...], tmp_path: Path) -> None:
    bare = [item._replace(samples=()) for item in items]
    _, table = repaired(bare, tmp_path, replace(RECIPE, max_epochs=1))
    assert "text-to-image" not in {score.recipe for score in table.scores}


def test_the_report_tells_every_figure(table_1: Weaknesses, table_2: Repair) -> None:
    results = Results(
        command="python -m pipeline reproduce --out <x>",
        photos=24,
        tests=24,
        seeds=SEEDS,
        replicates=REPLICATES,
        samples=2,
        epochs=15,
        training=900,
        edits=48,
        counterfactuals=48,
        table_1={(0.5, "colour"): table_1, (0.95, "colour"): table_1},
        table_2={(0.5, "colour"): table_2, (0.95, "colour"): table_2},
    )
    text, page = markdown(results), html(results)
    assert "colour, 0.95: T' costs -50.0" in text
    for method in METHODS:
        assert f"| colour, 0.5 | {method} |" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") > 2
    assert "&lt;x&gt;" in page
    assert "<x>" not in page.partition("<script")[0]
    assert page.count("Plotly.newPlot") == 5
    assert page.count("<script src=") == 0
    assert json.loads(as_json(results))["table_2"]["colour, 0.5"]["photos"] == 18
