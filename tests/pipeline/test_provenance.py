"""A frame can be made again from what is told of it: by the Python and by the command line, pixel for pixel."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import workflow
from pipeline.provenance import provenance
from pipeline.store import Store
from pipeline.tiny.world import Scene, draw, redraw
from pipeline.types import Models, Perturbation, Study
from tests.stores import save

ROOT = Path(__file__).resolve().parents[2]
STEPS = 6


def furthest(one: Path, other: Image.Image) -> int:
    """The greatest difference of any value of any pixel, 0..255."""
    with Image.open(one) as made:
        return int(np.abs(np.asarray(made, int) - np.asarray(other, int)).max())


@pytest.fixture
def study(models: Models, store: Store, scenes: tuple[Scene, ...]) -> Study:
    """Two variations at two tau in one trajectory, not with the profile's own settings; the caption needs quoting."""
    scene = scenes[2]
    settings = replace(models.profile.settings, inversion="ddim", num_inference_steps=STEPS, taus=(0.3, 0.7))
    opened = workflow.describe(models, workflow.open_photo(models, draw(scene), scene.label), settings, scene.caption())
    others = [name for name in ("desert", "forest", "sandy beach") if name != scene.background][:2]
    wishes = [
        Perturbation(
            caption=opened.caption,
            edited_caption=f'{redraw(scene, "background", name).caption()}, it\'s "$HOME"',
            factor="background",
            original=scene.background,
            edit=name,
        )
        for name in others
    ]
    *_, made = workflow.edit(models, opened, wishes, settings)
    save(store, made)
    return made


def test_python_and_command_line_make_the_frame_again(
    models: Models, store: Store, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = next(one for one in study.counterfactuals if one.tau == 0.7)
    told = provenance(models.axis, study, item, str(store.file(study.photo.key).relative_to(store.root)))
    assert told is not None
    assert {"inversion": "ddim", "num inference steps": f"{STEPS}"}.items() <= dict(told.parameters).items()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXPLORER_DATA", str(store.root))
    exec(compile(told.python, "copied", "exec"), {})
    assert furthest(tmp_path / "edit.png", item.image) <= 1

    places = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    subprocess.run(["bash", "-c", told.command], cwd=tmp_path, env=os.environ | places, check=True, capture_output=True)
    assert furthest(tmp_path / "edited" / "tau-0.7.png", item.image) <= 1
    other = next(one for one in study.counterfactuals if one.tau == 0.3)
    assert furthest(tmp_path / "edit.png", other.image) > 1


def test_what_an_earlier_version_made_is_not_claimed(models: Models, study: Study) -> None:
    item = replace(study.counterfactuals[0], settings=None)
    assert provenance(models.axis, study, item, "x.png") is None
