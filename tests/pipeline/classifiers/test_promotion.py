"""A reinforced classifier becomes one among the others: on the command line, in the application, in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.classifiers.promotion import promote, with_promoted
from pipeline.errors import DataError, InputError
from pipeline.models.loader import LoadedModels
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.reinforcement import reinforce
from pipeline.reinforcement.saving import save
from pipeline.reinforcement.training_data import Example
from pipeline.tiny.world import BIAS, LABELS, draw, sample, twins

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import json, sys
from pathlib import Path
from pipeline.models.loader import load
from pipeline.profiles import load_profile
from pipeline.classifiers.promotion import with_promoted
from pipeline.tiny.world import draw, sample
classifier = load(with_promoted(load_profile("tiny"), Path(sys.argv[1])), "cpu").classifier("mended")
scenes = sample(24, 970_002)
found = classifier.predict([draw(scene) for scene in scenes])
print(json.dumps([one.top(1)[0][0] == scene.label for one, scene in zip(found, scenes)]))
"""


@pytest.fixture(scope="module")
def saved(models: LoadedModels, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A reinforced classifier and how many of 24 test pictures it names right by its own report."""
    folder = tmp_path_factory.mktemp("reinforced") / "new"
    scenes = [scene for scene in sample(60, 970_001, BIAS) if scene.label in LABELS[:3]]
    items = [
        Example(scene.label, draw(scene), draw(twins(scene)[12][2]), str(number)) for number, scene in enumerate(scenes)
    ]
    tests = [(draw(scene), scene.label) for scene in sample(24, 970_002)]
    classifier = models.classifier("repvgg")
    made = reinforce(classifier, items, {"ood": tests}, Recipe(learning_rate=0.01, max_epochs=3, alpha=1.0))
    save(made, classifier, folder)
    return folder, sum(made.answers["ood"].hits(made.alphas.index(made.alpha)))


def test_a_promoted_classifier_gives_the_reported_figures_in_a_fresh_process(
    models: LoadedModels, saved: tuple[Path, int], tmp_path: Path
) -> None:
    folder, hits = saved
    place = promote(folder, tmp_path, "mended", models.profile)
    assert sorted(path.name for path in place.iterdir()) == sorted(path.name for path in folder.iterdir())
    assert list(with_promoted(models.profile, tmp_path).classifiers) == [*models.profile.classifiers, "mended"]
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert sum(json.loads(printed)) == hits


def test_nothing_is_overwritten(models: LoadedModels, saved: tuple[Path, int], tmp_path: Path) -> None:
    promote(saved[0], tmp_path, "mended", models.profile)
    for name in ("mended", "repvgg"):
        with pytest.raises(DataError, match="already"):
            promote(saved[0], tmp_path, name, models.profile)
    for name in ("", "../x", "a/b", ".hidden"):
        with pytest.raises(InputError, match="cannot name"):
            promote(saved[0], tmp_path, name, models.profile)
    with pytest.raises(DataError, match="holds no classifier"):
        promote(tmp_path, tmp_path, "other", models.profile)
    assert [path.name for path in (tmp_path / "classifiers").iterdir()] == ["mended"]
    assert with_promoted(models.profile, tmp_path / "none") == models.profile


def test_running_models_take_promoted_ones_in(models: LoadedModels, saved: tuple[Path, int], tmp_path: Path) -> None:
    from pipeline.models.loader import load

    running = load(models.profile, "cpu")
    promote(saved[0], tmp_path, "mended", running.profile)
    running.adopt(tmp_path)
    assert "mended" in running.profile.classifiers
    assert running.classifier("mended").name == "mended"
