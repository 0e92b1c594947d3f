"""Both tables on colours, where the weakness, its truth and its repair are known by construction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL.Image import Image

from pipeline.analysis.weakness import ALL
from pipeline.reinforcement.features import Features
from pipeline.reinforcement.heads import METHODS, Recipe
from pipeline.reinforcement.training_data import Item
from pipeline.study.report import as_json, html, markdown
from pipeline.study.reproduction import (
    CHOSEN,
    HYBRID,
    Repair,
    Results,
    Weaknesses,
    bank_of,
    items_of,
    repair,
    views_of,
    weaknesses,
)
from pipeline.types import Counterfactual, Perturbation, Photo, Scores, Study
from tests.seams import LABELS, ColourClassifier, picture

SEEDS, REPLICATES = 2, 3
RECIPE = Recipe(max_epochs=15)
RATES = (0.01, 0.05)


def mixed(label: str, seed: int, share: float) -> Image:
    """The label's colour with this share of the next one, which the plain head mistakes it for above a half."""
    other = LABELS[(LABELS.index(label) + 1) % 3]
    return PIL.Image.blend(picture(label, seed), picture(other, seed + 1000), share)


def study(label: str, number: int) -> Study:
    """A photo with two edits: its background goes to the next colour by 0.6, its object by 0.1."""
    seed = 100 * LABELS.index(label) + number
    classifier = ColourClassifier.plain()
    image = picture(label, seed)
    scores = Scores(
        image_similarity=1, source_alignment=1, edited_alignment=1, directional_similarity=0.5, prefers_edit=1
    )

    def made(factor: str, share: float) -> Counterfactual:
        edited = mixed(label, seed, share)
        words = Perturbation(caption="c", edited_caption=f"{factor} {seed}", factor=factor, original="a", edit="b")
        return Counterfactual(
            key=f"{factor}-{seed}",
            perturbation=words,
            tau=0.5,
            image=edited,
            scores=scores,
            prediction=classifier.predict([edited])[0],
            missed=(),
        )

    before = classifier.predict([image])[0]
    photo = Photo(key=f"{seed}", image=image, label=label, prediction=before, classifier="colour")
    edits = (made("background", 0.6), made("object", 0.1))
    return Study(photo=photo, caption="c", reconstruction=image, control=before, counterfactuals=edits)


STUDIES = [study(label, number) for label in LABELS for number in range(8)]
TRUTH = {
    one.key: mixed(item.photo.label, 7000 + place, 0.55 if one.perturbation.factor == "background" else 0.05)
    for place, item in enumerate(STUDIES)
    for one in item.counterfactuals
}
TESTS = {
    "T": [(picture(label, 3000 + n), label) for n in range(8) for label in LABELS],
    "OOD": [(mixed(label, 4000 + n, 0.55), label) for n in range(8) for label in LABELS],
}


@pytest.fixture(scope="module")
def items() -> tuple[Item, ...]:
    return items_of(STUDIES, {one.key: (one.image, one.image) for s in STUDIES for one in s.counterfactuals})


@pytest.fixture(scope="module")
def table_1() -> Weaknesses:
    return weaknesses(Features(ColourClassifier.plain()), STUDIES, TRUTH)


def repaired(items: Sequence[Item], folder: Path, recipe: Recipe = RECIPE) -> tuple[list[int], Repair]:
    """What `repair` counts, and its table."""
    features = Features(ColourClassifier.plain())
    views_of({"colour": features}, items, recipe.max_epochs, folder / "views")
    bank = bank_of(features, items, folder / "views", "colour")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.study.reproduction.RATES", RATES)
        *counted, table = repair(
            features, bank, TESTS, recipe, seeds=SEEDS, replicates=REPLICATES, folder=folder / "refits"
        )
    assert isinstance(table, Repair)
    return [one for one in counted if isinstance(one, int)], table


@pytest.fixture(scope="module")
def table_2(items: tuple[Item, ...], tmp_path_factory: pytest.TempPathFactory) -> Repair:
    folder = tmp_path_factory.mktemp("study")
    counted, table = repaired(items, folder)
    assert counted == list(range(1, len(METHODS) - 1 + 2 + 2 + 1))
    files = {file: file.stat().st_mtime_ns for file in folder.rglob("*.safetensors")}
    assert repaired(items, folder)[1] == table
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.safetensors")} == files
    return table


def test_table_1_sees_the_weakness_and_its_truth(table_1: Weaknesses) -> None:
    rows = {(row.label, row.factor): row for row in table_1.rows}
    assert rows[ALL, "background"].delta_acc1.value == -1.0
    assert rows[ALL, "background"].delta_acc1.high < 0
    assert rows[ALL, "object"].delta_acc1.value == 0.0
    true = {(row.label, row.factor): row for row in table_1.truth}
    assert true[ALL, "background"].n == 24
    assert true[ALL, "background"].delta_acc1.value < -0.8
    assert len(table_1.cells) == 6
    assert table_1.correlation is not None
    assert table_1.correlation.low > 0.5
    assert {row.tau for row in table_1.by_tau} == {0.5}


def test_every_prediction_is_the_classifiers_own(table_1: Weaknesses) -> None:
    """Whoever made the studies: another classifier gives another table."""
    blind = ColourClassifier(np.tile(np.eye(3), 4), (9, 0, 0), "blind")
    rows = {(row.label, row.factor): row for row in weaknesses(Features(blind), STUDIES, TRUTH).rows}
    assert rows["red", ALL].delta_acc1.value == 0.0
    assert rows["green", ALL].control_acc1.value == 0.0
    assert table_1.rows[0].control_acc1.value == 1.0


def test_without_truth_there_is_nothing_to_compare() -> None:
    found = weaknesses(Features(ColourClassifier.plain()), STUDIES, {})
    assert (found.truth, found.cells, found.correlation) == ((), (), None)
    assert found.rows[0].n == 48


def test_table_2_finds_the_repair_and_that_plain_augmentation_is_none(table_2: Repair) -> None:
    scores = {(one.recipe, one.alpha, one.test): one for one in table_2.scores}
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
    assert {(one.recipe, one.alpha) for one in table_2.scores} == {
        *((name, "0.3") for name in ("counterfactual", "standard", "reconstruction", "text-to-image")),
        *((name, CHOSEN) for name in ("counterfactual", "standard", "reconstruction", "text-to-image")),
        *((name, "1") for name in ("fine-tuning", "afr", "dfr")),
    }


def test_the_curve_rises_and_the_right_factor_mends(table_2: Repair) -> None:
    curve = {(one.at, one.test): one.gain for one in table_2.curve}
    assert curve["1", "OOD"].value > max(0.3, curve["0.1", "OOD"].value)
    factors = {(one.at, one.test): one.gain for one in table_2.by_factor}
    assert factors["background", "OOD"].value > factors["object", "OOD"].value + 0.3
    assert [one.at for one in table_2.by_number if one.test == "T"] == ["25%", "50%", "100%"]
    assert set(table_2.by_class) == set(LABELS)
    assert (table_2.photos, table_2.counterfactuals) == (18, 36)


def test_every_view_of_a_photo_is_another_one(items: tuple[Item, ...], tmp_path: Path) -> None:
    """Plain augmentation is drawn anew for every item and epoch."""
    features = Features(ColourClassifier.plain())
    views_of({"colour": features}, items, 4, tmp_path)
    views = bank_of(features, items, tmp_path, "colour").kinds["standard"]
    assert views.shape[:2] == (48, 4)
    assert len({row.numpy().tobytes() for row in views.flatten(0, 1)}) == 48 * 4


def test_samples_that_are_missing_leave_their_recipe_out(items: tuple[Item, ...], tmp_path: Path) -> None:
    bare = [item._replace(samples=()) for item in items]
    _, table = repaired(bare, tmp_path, replace(RECIPE, max_epochs=1))
    assert "text-to-image" not in {one.recipe for one in table.scores}


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
