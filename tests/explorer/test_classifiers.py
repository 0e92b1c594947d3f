"""A classifier of one's own is added on the page, is there after a restart, and works; refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from gradio.utils import get_upload_folder
from huggingface_hub import constants

from explorer import classifiers, photo, reinforce
from explorer.jobs import Desk
from pipeline import workflow
from pipeline.errors import DataError, InputError, ModelError, PipelineError
from pipeline.models import LoadedModels, load
from pipeline.profiles import load_profile
from pipeline.promotion import with_promoted
from pipeline.store import Store
from pipeline.tiny.world import LABELS, Scene, draw
from tests.own_classifiers import MAKERS, timm_folder, transformers_folder
from tests.stores import save


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store(tmp_path / "data")
    yield Desk(models=load(load_profile("tiny"), "cpu"), store=store)
    store.close()


def restarted(desk: Desk) -> LoadedModels:
    """The models as a fresh start of the application finds them."""
    models = load(load_profile("tiny"), "cpu")
    models.adopt(desk.store.root)
    return models


@pytest.mark.parametrize("kind", MAKERS)
def test_each_kind_is_added_and_stays(
    kind: str, desk: Desk, scenes: tuple[Scene, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    text = MAKERS[kind](tmp_path / "own")
    *_, (told, choices) = classifiers.add_own(desk, text, "mine")
    assert f"with {len(LABELS)} labels can be chosen now" in str(told)
    assert "mine" in dict(choices)["choices"]
    monkeypatch.chdir("/")
    again = restarted(desk)
    new = Desk(models=again, store=desk.store)
    asked = reinforce.restore(new, gr.Request(query_params={}))
    for offered in (photo.page(new, None)[6], asked[-1]):  # by both pages
        assert offered["choices"] == ["resnet", "densenet", "repvgg", "mine"]
    study = workflow.open_photo(again, draw(scenes[0]), classifier="mine")
    assert study.photo.classifier == "mine"
    assert study.photo.prediction.labels == LABELS
    save(desk.store, study)
    assert photo.page(desk, study)[6]["value"] == "mine"


def test_a_name_is_found_and_is_used_once(desk: Desk, tmp_path: Path) -> None:
    timm_folder(tmp_path / "my model")
    *_, (told, _) = classifiers.add_own(desk, str(tmp_path / "my model"), "")
    assert "my-model" in str(told)
    assert next(iter(desk.models.profile.classifiers)) == "resnet"
    with pytest.raises(DataError, match="There is a classifier 'my-model' already"):
        classifiers.keep(desk, str(tmp_path / "my model"), "my-model")
    assert "my-model" in desk.models.profile.classifiers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "No classifier was named"),
        ("{here}/pickled", "may be pickles, which run code when they are opened"),
        ("resnet18 + {here}/pickled/model.pth + {here}/labels.txt", "may be pickles"),
        ("{here}/coded", "asks in its config.json .auto_map. for code of its own"),
        ("{here}/empty", "holds no .safetensors weights"),
        ("{uploads}/model", "Uploaded files are no classifiers"),
        ("resnet18 + {uploads}/w.safetensors + {here}/labels.txt", "Uploaded files are no classifiers"),
        ("{here}/nowhere", "There is no folder"),
        ("no_such_model", "timm lists no weights 'no_such_model' on the hub"),
        ("torchvision:no_such_model", "timm lists no weights"),
        ("hf-hub:nobody/nothing", "HF_HUB_OFFLINE forbids to fetch it"),
        ("../../no-such-folder", "There is no folder"),
    ],
)
def test_what_cannot_be_used_is_told_and_not_kept(text: str, words: str, desk: Desk, tmp_path: Path) -> None:
    for name in ("pickled", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "pickled" / "model.pth").write_bytes(b"x")
    (tmp_path / "labels.txt").write_text("sled\nkite")
    transformers_folder(tmp_path / "coded")
    config = json.loads((tmp_path / "coded" / "config.json").read_text())
    (tmp_path / "coded" / "config.json").write_text(json.dumps({**config, "auto_map": {"x": "evil.Model"}}))
    given = text.replace("{here}", str(tmp_path)).replace("{uploads}", get_upload_folder())
    with pytest.raises(PipelineError, match=words) as caught:
        deque_of(classifiers.add_own(desk, given, "mine"))
    assert len(str(caught.value).splitlines()) == 1
    assert "mine" not in desk.models.profile.classifiers
    assert "mine" not in with_promoted(load_profile("tiny"), desk.store.root).classifiers


def deque_of(stream: Iterator[object]) -> None:
    """Runs it to its end."""
    for _ in stream:
        pass


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "a" * 61, "resnet"])
def test_names_are_those_of_folders(name: str, desk: Desk, tmp_path: Path) -> None:
    timm_folder(tmp_path / "own")
    with pytest.raises((InputError, DataError)):
        classifiers.keep(desk, str(tmp_path / "own"), name)
    assert not (desk.store.root / "x").exists()


def test_programs_choose_among_what_is_there(desk: Desk, tmp_path: Path) -> None:
    timm_folder(tmp_path / "own")
    assert classifiers.need(desk, "repvgg") == "repvgg"
    assert classifiers.need(desk, "") == ""
    with pytest.raises(InputError, match="choose one of resnet, densenet, repvgg"):
        classifiers.need(desk, str(tmp_path / "own"))


def test_a_broken_folder_is_not_kept(desk: Desk, tmp_path: Path) -> None:
    timm_folder(tmp_path / "own")
    (tmp_path / "own" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="could not be opened"):
        classifiers.keep(desk, str(tmp_path / "own"), "mine")
    assert dict(classifiers.choices(desk)) == dict(gr.update(choices=["resnet", "densenet", "repvgg"]))
