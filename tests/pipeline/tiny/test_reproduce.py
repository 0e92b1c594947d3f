"""The study in the miniature world, at the smallest size that makes every part of it, on the shipped models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.images import key_of
from pipeline.models.loader import LoadedModels, load
from pipeline.store.store import Store
from pipeline.tiny.reproduce import PHOTOS_SEED, SMALL, Plan, _truth, reproduce
from pipeline.tiny.world import BIAS, HOME, draw, sample

pytestmark = pytest.mark.slow

PLAN = Plan(
    photos=12, tests=12, seeds=1, replicates=2, samples=2, epochs=2, taus=(0.4,), strengths=(0.5, BIAS), scenes=64,
    training=0.003,
)  # fmt: skip


def quiet(done: int, total: int) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def few(models: LoadedModels) -> LoadedModels:
    """One factor, few steps and one classifier: bad pictures, made in no time, which no gate refuses."""
    profile = models.profile
    settings = replace(
        profile.settings, factors=("background",), num_inference_steps=3, min_image_similarity=-1,
        min_source_alignment=-1, min_edited_alignment=-1, min_directional_similarity=-1,
    )  # fmt: skip
    return load(replace(profile, classifiers={"repvgg": profile.classifiers["repvgg"]}, settings=settings), "cpu")


def test_a_study_is_made_and_found_again(few: LoadedModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("study")  # as it is given on the command line
    first = reproduce(few, folder, PLAN, "the command", quiet)
    assert set(first.table_1) == set(first.table_2) == {(0.5, "repvgg"), (BIAS, "repvgg")}
    assert 0 < first.counterfactuals <= first.edits <= 12
    assert {score.recipe for score in first.table_2[BIAS, "repvgg"].scores} >= {
        "counterfactual",
        "text-to-image",
        "dfr",
    }
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png") if "pictures" not in path.parts}
    assert sum("samples" in path.parts for path in files) == 2 * first.counterfactuals
    assert [path.name for path in (folder / "classifiers" / "0.5").iterdir()] == ["repvgg"]
    weights = {
        (folder / "classifiers" / f"{strength:g}" / "repvgg" / "model.safetensors").read_bytes()
        for strength in (0.5, BIAS)
    }
    assert len(weights) == 2
    assert reproduce(few, folder, PLAN, "the command", quiet) == first
    assert {path: path.stat().st_mtime_ns for path in files} == files
    monkeypatch.setattr("pipeline.tiny.reproduce.stress", None)  # nothing is drawn again for another classifier
    profile = few.profile
    others = replace(profile, classifiers={"resnet": f"{Path(profile.classifiers['repvgg']).parent / 'resnet'}"})
    another = reproduce(load(others, "cpu"), folder, replace(PLAN, strengths=(BIAS,)), "the command", quiet)
    assert set(another.table_1) == {(BIAS, "resnet")}
    assert (another.edits, another.counterfactuals) == (first.edits, first.counterfactuals)
    with pytest.raises(DataError, match="another kind"):
        reproduce(few, folder, SMALL, "the command", quiet)
    studies = [Store(folder / "edits").load_study(study.key) for study in Store(folder / "edits").studies()]
    scenes = {key_of(draw(scene)): scene for scene in sample(PLAN.photos, PHOTOS_SEED, BIAS)}
    assert {study.photo.key for study in studies if study} == set(scenes)
    for key, scene in _truth([study for study in studies if study], scenes):
        (study,) = (study for study in studies if study and any(made.key == key for made in study.counterfactuals))
        before = scenes[study.photo.key]
        assert replace(scene, background=before.background) == before
        assert scene.background != HOME[scene.label] or before.background != HOME[scene.label]


def test_a_folder_of_something_else_is_left_alone(few: LoadedModels, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        reproduce(few, tmp_path, PLAN, "the command", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
