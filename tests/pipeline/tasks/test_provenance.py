"""A frame can be made again from what is told of it: by the Python and by the command line, pixel for pixel."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import workflow
from pipeline.editing.inversion import METHODS
from pipeline.models.loader import load
from pipeline.profiles import load_profile
from pipeline.settings import Settings
from pipeline.store.store import Store
from pipeline.tasks.provenance import Provenance, provenance
from pipeline.tiny.world import Scene, draw, redraw
from pipeline.types import Axis, Models, Perturbation, Study
from tests import twins
from tests.commands import call
from tests.stores import save

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
STEPS = 6


def furthest(path: Path, other: Image.Image) -> int:
    """The greatest difference of any value of any pixel, 0..255."""
    with Image.open(path) as made:
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
    item = next(item for item in study.counterfactuals if item.tau == 0.7)
    told = provenance(models.axis, study, item, str(store.file(study.photo.key).relative_to(store.root)))
    assert told is not None
    assert {"inversion": "ddim", "num inference steps": f"{STEPS}"}.items() <= dict(told.parameters).items()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXPLORER_DATA", str(store.root))
    exec(compile(told.python, "copied", "exec"), {})
    assert furthest(tmp_path / "edit.png", item.image) <= 1

    run_command(told.command, tmp_path)
    assert furthest(tmp_path / "edited" / "tau-0.7.png", item.image) <= 1
    other = next(item for item in study.counterfactuals if item.tau == 0.3)
    assert furthest(tmp_path / "edit.png", other.image) > 1


CHANGES: dict[str, dict[str, object]] = {
    "pnp": {"guidance_scale": 3.0, "word_weight": 1.3, "cross_attention": "auto", "cross_replace_steps": 0.5},
    "null-text": {"null_text_learning_rate": 0.02, "null_text_min_gain": 0.2},
    "negative-prompt": {"local_blend": 0.3, "local_blend_start": 0.4},
    "ddim": {"cross_replace_words": ("a=0.3",), "seed": 4},
}


def alone(models: Models, scene: Scene, settings: Settings) -> Study:
    """One edit of one variation, alone in its trajectory."""
    opened = workflow.describe(models, workflow.open_photo(models, draw(scene), scene.label), settings, scene.caption())
    name = "desert" if scene.background != "desert" else "forest"
    wish = Perturbation(
        caption=opened.caption,
        edited_caption=redraw(scene, "background", name).caption(),
        factor="background",
        original=scene.background,
        edit=name,
    )
    *_, made = workflow.edit(models, opened, [wish], settings)
    return made


def run_again(store: Store, axis: Axis, study: Study, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Provenance:
    """What is told of the study's edit, once its Python was run in the folder."""
    save(store, study)
    kept = store.load_study(study.photo.key)
    assert kept is not None
    told = provenance(axis, kept, kept.counterfactuals[0], str(store.file(study.photo.key).relative_to(store.root)))
    assert told is not None
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EXPLORER_DATA", str(store.root))
    exec(compile(told.python, "copied", "exec"), {})
    return told


@pytest.mark.parametrize("inversion", METHODS)
def test_the_recipe_of_every_inversion_gives_the_same_pixels(
    models: Models,
    store: Store,
    scenes: tuple[Scene, ...],
    inversion: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = {"inversion": inversion, "num_inference_steps": STEPS, "taus": (0.4,), **CHANGES.get(inversion, {})}
    study = alone(models, scenes[1], replace(models.profile.settings, **changes))  # type: ignore[arg-type]
    told = run_again(store, models.axis, study, tmp_path, monkeypatch)
    assert furthest(tmp_path / "edit.png", study.counterfactuals[0].image) == 0
    assert dict(told.parameters)["seed"] == str(changes.get("seed", 0))
    run_words(told.command)
    assert furthest(tmp_path / "edited" / "tau-0.4.png", study.counterfactuals[0].image) == 0
    plain = alone(models, scenes[1], replace(models.profile.settings, taus=(0.4,), num_inference_steps=STEPS - 1))
    assert furthest(tmp_path / "edit.png", plain.counterfactuals[0].image) > 0


def test_the_recipe_of_an_edit_by_instruction_gives_the_same_pixels(
    store: Store, scenes: tuple[Scene, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = twins.instruct_pix2pix(tmp_path / "model")
    (tmp_path / "mine.toml").write_text(
        f'base = "tiny"\ndiffusion = "{folder}"\n[families]\neditor = "instruct-pix2pix"\n'
    )
    models = load(load_profile(str(tmp_path / "mine.toml")), "cpu")
    settings = replace(models.profile.settings, num_inference_steps=3, taus=(0.2,), seed=7, guidance_scale=2.5)
    study = alone(models, scenes[0], settings)
    told = run_again(store, models.axis, study, tmp_path, monkeypatch)
    assert furthest(tmp_path / "edit.png", study.counterfactuals[0].image) == 0
    run_words(told.command)
    assert furthest(tmp_path / "edited" / "tau-0.2.png", study.counterfactuals[0].image) == 0
    other = alone(models, scenes[0], replace(settings, seed=8))
    assert furthest(tmp_path / "edit.png", other.counterfactuals[0].image) > 0
    assert other.counterfactuals[0].key != study.counterfactuals[0].key


def run_command(command: str, folder: Path) -> None:
    """The command line, as a shell runs it in this folder."""
    places = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    subprocess.run(["bash", "-c", command], cwd=folder, env=os.environ | places, check=True, capture_output=True)


def run_words(command: str) -> None:
    """The same without a shell, in this process."""
    python, *words = shlex.split(command.replace("${EXPLORER_DATA:-data}", os.environ["EXPLORER_DATA"]))
    assert [python, *words[:2]] == ["python", "-m", "pipeline"]
    told = call(*words[2:])
    assert told.exit_code == 0, told.output


def test_what_an_earlier_version_made_is_not_claimed(models: Models, study: Study) -> None:
    item = replace(study.counterfactuals[0], settings=None)
    assert provenance(models.axis, study, item, "x.png") is None
