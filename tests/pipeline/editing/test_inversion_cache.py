"""The cache of inversions: by content, in memory and on the disk, within its limits."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import workflow
from pipeline.editing.inversion_cache import Inversions
from pipeline.settings import Settings
from pipeline.types import Inversion, Step, Study
from tests.seams import SETTINGS, BlendEditor, SeamModels, picture, settings


class NullTextEditor(BlendEditor):
    """Gives embeddings along, as null-text inversion does."""

    def invert(self, image, caption: str, settings: Settings, step: Step | None = None) -> Inversion:  # type: ignore[no-untyped-def]
        made = super().invert(image, caption, settings, step)
        return replace(made, uncond_embeddings=torch.rand(3, 1, 4, 2).expand(3, 1, 4, 2))


@pytest.fixture
def models() -> SeamModels:
    return SeamModels()


def opened(models: SeamModels, seed: int = 0) -> Study:
    study = workflow.open_photo(models, picture("red", seed=seed))
    return workflow.describe(models, study, SETTINGS, "a square on white")


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_found_by_content_and_bounded_in_memory(models: SeamModels) -> None:
    inversions = Inversions(limit=2)
    first, second, third = (opened(models, seed) for seed in range(3))
    found = inversions.get(models, first, SETTINGS)
    renamed = replace(first, photo=replace(first.photo, name="another name"))
    assert inversions.get(models, renamed, settings(taus=(0.1,))) is found
    assert inversions.get(models, first, settings(num_inference_steps=4)) is not found
    assert models.editor.inversions == 2
    inversions.get(models, second, SETTINGS)
    inversions.get(models, third, SETTINGS)
    assert inversions.get(models, third, SETTINGS) is not found
    assert models.editor.inversions == 4
    assert inversions.get(models, first, SETTINGS) is not found
    assert models.editor.inversions == 5


@pytest.mark.parametrize(
    "change", [{"inversion": "ddim"}, {"num_inference_steps": 4}, {"guidance_scale": 3.0}, "caption", "model"], ids=str
)
def test_everything_that_determines_an_inversion_counts(models: SeamModels, change: object, tmp_path: Path) -> None:
    """A file name does not; other weights, a scheduler or a caption do."""
    study, wanted = opened(models), SETTINGS
    Inversions(tmp_path).get(models, study, wanted)
    if change == "caption":
        study = replace(study, caption="another caption")
    elif change == "model":
        models.editor.fingerprint = "trained anew"
    else:
        wanted = settings(**change)  # type: ignore[arg-type]
    Inversions(tmp_path).get(models, study, wanted)
    assert models.editor.inversions == 2
    assert len(files(tmp_path)) == 2


def test_the_disk_gives_back_what_it_was_given(tmp_path: Path) -> None:
    models = SeamModels(editor=NullTextEditor())
    made = Inversions(tmp_path).get(models, opened(models), SETTINGS)
    found = Inversions(tmp_path).get(models, opened(models), SETTINGS)
    assert models.editor.inversions == 1
    assert (found.caption, found.method, found.num_inference_steps, found.guidance_scale) == (
        made.caption,
        made.method,
        made.num_inference_steps,
        made.guidance_scale,
    )
    assert torch.equal(found.trajectory, made.trajectory)
    assert found.uncond_embeddings is not None
    assert made.uncond_embeddings is not None
    assert torch.equal(found.uncond_embeddings, made.uncond_embeddings)
    assert np.array_equal(np.asarray(found.reconstruction), np.asarray(made.reconstruction))


def test_the_disk_stays_within_its_limit_and_forgets_what_was_used_longest_ago(
    models: SeamModels, tmp_path: Path
) -> None:
    studies = [opened(models, seed) for seed in range(3)]
    Inversions(tmp_path).get(models, studies[0], SETTINGS)
    size = files(tmp_path)[0].stat().st_size
    inversions = Inversions(tmp_path, limit=1, disk_limit=2 * size)
    inversions.get(models, studies[1], SETTINGS)
    for age, path in enumerate(files(tmp_path)):
        os.utime(path, (age, age))
    Inversions(tmp_path).get(models, studies[0], SETTINGS)  # used again, so now the youngest
    inversions.get(models, studies[2], SETTINGS)
    assert len(files(tmp_path)) == 2
    assert models.editor.inversions == 3
    Inversions(tmp_path).get(models, studies[0], SETTINGS)
    assert models.editor.inversions == 3
    Inversions(tmp_path).get(models, studies[1], SETTINGS)
    assert models.editor.inversions == 4


def test_a_damaged_file_is_made_again(models: SeamModels, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Inversions(tmp_path).get(models, opened(models), SETTINGS)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        Inversions(tmp_path).get(models, opened(models), SETTINGS)
    assert "made again" in caplog.text
    assert models.editor.inversions == 2
    assert path.read_bytes() == whole


def test_a_disk_that_cannot_be_written_costs_nothing_but_time(
    models: SeamModels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    inversions = Inversions(blocked / "inversions")
    with caplog.at_level(logging.WARNING):
        found = inversions.get(models, opened(models), SETTINGS)
    assert "cannot be kept" in caplog.text
    assert inversions.get(models, opened(models), SETTINGS) is found
