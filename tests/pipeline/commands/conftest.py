"""What the commands are tried on: the seams for models, a picture and a run."""

from pathlib import Path

import pytest

from pipeline.models import loader as loading
from tests.commands import rows
from tests.seams import SeamModels, folder_of, picture


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> SeamModels:
    """What every command gets instead of the profile's models."""
    models = SeamModels()
    monkeypatch.setattr(loading, "load", lambda profile, device: models)
    monkeypatch.setattr("pipeline.profiles.load_profile", lambda name: models.profile)
    return models


@pytest.fixture
def red(tmp_path: Path) -> Path:
    picture("red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


@pytest.fixture
def run(models: SeamModels, tmp_path: Path) -> Path:
    folder_of(tmp_path / "pictures", each=5)
    assert len(rows("stress", tmp_path / "pictures", "--out", tmp_path / "run")) == 15
    return tmp_path / "run"
