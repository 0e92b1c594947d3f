"""A classifier is added by a published name or from the list on the server, and stays; nothing else leads to a file."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.utils import get_upload_folder
from huggingface_hub import constants
from safetensors.torch import save_file

from explorer.desk import Desk
from explorer.pages.explore import classifiers, photo
from explorer.pages.reinforce import reinforce
from pipeline import workflow
from pipeline.classifiers.families import TorchvisionConfig
from pipeline.classifiers.promotion import FOLDER, NAMED, add, unavailable_names, with_promoted
from pipeline.errors import DataError, InputError, ModelError, PipelineError
from pipeline.models.loader import LoadedModels, load
from pipeline.profiles import load_profile
from pipeline.store.store import Store
from pipeline.tiny.world import LABELS, Scene, draw
from tests.own_classifiers import MAKERS, timm_folder, transformers_folder

PUBLISHED = ("hub", "timm name", "torchvision name")
NOBODY, ADA = (SimpleNamespace(username=name) for name in (None, "ada"))


def torchvision_folder(folder: Path) -> None:
    """As this tool saves one."""
    import torchvision

    network = torchvision.models.mobilenet_v3_small(num_classes=len(LABELS))
    folder.mkdir(parents=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    config = TorchvisionConfig.published("mobilenet_v3_small", LABELS)
    (folder / "config.json").write_text(json.dumps({name: getattr(config, name) for name in config.__slots__}))


FOLDERS = {"timm": timm_folder, "transformers": transformers_folder, "torchvision": torchvision_folder}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store(tmp_path / "data")
    yield Desk(models=load(load_profile("tiny"), "cpu"), store=store)
    store.close()


def added(desk: Desk, text: str, folder: str, name: str, request: object = NOBODY) -> tuple[object, ...]:
    """What the page shows at the end."""
    return deque(classifiers.add_own(desk, text, folder, name, request), maxlen=1).pop()  # type: ignore[arg-type]


def restarted(desk: Desk) -> LoadedModels:
    """The models as a fresh start of the application finds them."""
    models = load(load_profile("tiny"), "cpu")
    models.adopt(desk.store.root)
    return models


def stays(desk: Desk, told: tuple[object, ...], scene: Scene) -> None:
    """It can be chosen on both pages after a restart, and classifies."""
    assert "mine&#39; can be chosen now" in str(told[0])
    assert "mine" in dict(told[1])["choices"]  # type: ignore[call-overload]
    again = restarted(desk)
    new = Desk(models=again, store=desk.store)
    asked = reinforce.restore(new, gr.Request(query_params={}))
    for offered in (photo.page(new, None)[6], asked[-1]):
        assert offered["choices"] == ["resnet", "densenet", "repvgg", "mine"]  # type: ignore[index]
    study = workflow.open_photo(again, draw(scene), classifier="mine")
    assert (study.photo.classifier, study.photo.prediction.labels) == ("mine", LABELS)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_what_is_published_and_here_is_added_and_stays(
    kind: str, desk: Desk, scenes: tuple[Scene, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    text = MAKERS[kind](tmp_path / "own")
    stays(desk, added(desk, text, "", "mine"), scenes[0])
    noted = (desk.store.root / FOLDER / "mine" / NAMED).read_text()
    assert noted.startswith("hf-hub:")
    assert len(noted.strip().partition("@")[2]) == 40, "of what a name leads to the commit is kept"


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_of_the_list_is_added_and_stays(kind: str, desk: Desk, scenes: tuple[Scene, ...]) -> None:
    FOLDERS[kind](desk.store.root / "models" / "ours" / kind)
    listed = dict(classifiers.offers(desk))  # type: ignore[call-overload]
    assert ([value for _, value in listed["choices"]], listed["visible"]) == (["", f"ours/{kind}"], True)
    stays(desk, added(desk, "", f"ours/{kind}", "mine"), scenes[0])


def test_another_folder_may_be_named_when_the_server_starts(desk: Desk, tmp_path: Path) -> None:
    timm_folder(tmp_path / "elsewhere" / "one")
    models = load(load_profile("tiny"), "cpu", tmp_path / "elsewhere")
    told = added(Desk(models=models, store=desk.store, model_folder=tmp_path / "elsewhere"), "", "one", "")
    assert "one&#39; can be chosen now" in str(told[0])


def test_what_leads_out_of_the_folder_is_not_listed(desk: Desk, tmp_path: Path) -> None:
    root = desk.store.root / "models"
    timm_folder(tmp_path / "outside")
    timm_folder(root / "inside")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "linked file").mkdir()
    for name in ("config.json", "model.safetensors"):
        (root / "linked file" / name).symlink_to(tmp_path / "outside" / name)
    (root / "again").symlink_to(root / "inside")
    (root / "circle").symlink_to(root)
    listed = dict(classifiers.offers(desk))  # type: ignore[call-overload]
    assert [value for _, value in listed["choices"]] == ["", "inside"]
    outward = "../../outside"
    for name in ("link", "linked file", outward, str(tmp_path / "outside"), "inside/../../../outside", "inside/", "."):
        with pytest.raises(InputError, match="not in the list of classifiers"):
            added(desk, "", name, "mine")
    assert "mine" not in desk.models.profile.classifiers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "No classifier was named"),
        ("{here}/own", "does not name a published classifier"),
        ("local-dir:{here}/own", "does not name a published classifier"),
        ("file://{here}/own", "does not name a published classifier"),
        ("resnet18 + {here}/own/model.safetensors + {here}/labels.txt", "does not name a published classifier"),
        ("resnet18 + {uploads}/x/../y/w.safetensors + {here}/labels.txt", "does not name a published classifier"),
        ("../own", "does not name a published classifier"),
        ("own/", "does not name a published classifier"),
        ("hf-hub:../own", "does not name a published classifier"),
        ("hf-hub:a/b@../../../labels.txt", "does not name a published classifier"),
        ("hf-hub:a/b@{here}/labels.txt", "does not name a published classifier"),
        ("models:own", "does not name a published classifier"),
        ("no_such_model", "timm lists no weights 'no_such_model' on the hub"),
        ("own", "timm lists no weights"),  # though there is such a folder where the server was started
        ("torchvision:no_such_model", "timm lists no weights"),
        ("hf-hub:nobody/nothing", "HF_HUB_OFFLINE forbids to fetch it"),
        ("explorer/components", "HF_HUB_OFFLINE forbids to fetch it"),  # a hub's, and no folder of this program
    ],
)
def test_what_a_visitor_writes_is_never_a_path(
    text: str, words: str, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm_folder(tmp_path / "own")
    (tmp_path / "explorer" / "components").mkdir(parents=True)
    (tmp_path / "labels.txt").write_text("sled\nkite")
    monkeypatch.chdir(tmp_path)
    given = text.replace("{here}", str(tmp_path)).replace("{uploads}", get_upload_folder())
    with pytest.raises(PipelineError, match=words) as caught:
        added(desk, given, "", "mine")
    assert len(str(caught.value).splitlines()) == 1
    assert str(tmp_path) not in str(caught.value)
    assert "mine" not in desk.models.profile.classifiers
    assert "mine" not in with_promoted(load_profile("tiny"), desk.store.root).classifiers


def test_a_revision_is_no_path_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library joins a revision to its cache's folder and reads the file that is there."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    timm_folder(tmp_path / "models--a--b" / "snapshots" / ("d" * 40))
    (tmp_path / "commit").write_text("d" * 40)
    from pipeline.runtime.hub import hub_model

    for revision in ("../../commit", str(tmp_path / "commit"), "..", "./x", "a/../../../commit", "-x"):
        assert hub_model("classifier", f"hf-hub:a/b@{revision}") is None
    for repo in ("../b", "a/..", ".a/b", "a/.b", "-a/b", "a/b/c"):
        assert hub_model("classifier", f"hf-hub:{repo}") is None


def test_what_an_earlier_version_noted_by_its_path_is_not_followed(desk: Desk, tmp_path: Path) -> None:
    timm_folder(tmp_path / "own")
    (tmp_path / "secret.txt").write_text("a\nb")
    noted = {
        "folder": str(tmp_path / "own"),
        "labels": f"resnet18 + {tmp_path}/own/model.safetensors + {tmp_path}/secret.txt",
        "gone": "models:gone",
        "kept": "resnet10t.c3_in1k",
    }
    for name, text in noted.items():
        (desk.store.root / FOLDER / name).mkdir(parents=True)
        (desk.store.root / FOLDER / name / NAMED).write_text(text)
    assert list(restarted(desk).profile.classifiers) == ["resnet", "densenet", "repvgg", "kept"]
    assert unavailable_names(desk.store.root) == ("folder", "gone", "labels")
    with pytest.raises(InputError, match="by a published name or from the list"):
        add(str(tmp_path / "own"), desk.store.root, "more", desk.models.profile)


def test_no_name_opens_what_is_not_among_the_choices(desk: Desk, tmp_path: Path) -> None:
    timm_folder(tmp_path / "own")
    for name in (str(tmp_path / "own"), f"local-dir:{tmp_path}/own", "resnet10t", "hf-hub:a/b", "a + b + c", "../own"):
        with pytest.raises(InputError, match="choose one of resnet, densenet, repvgg"):
            desk.models.classifier(name)
        with pytest.raises(InputError, match="choose one of resnet, densenet, repvgg"):
            classifiers.require_choice(desk, name)
    assert classifiers.require_choice(desk, "repvgg") == "repvgg"
    assert classifiers.require_choice(desk, "") == ""


def test_where_others_come_only_who_has_signed_in_adds(desk: Desk) -> None:
    timm_folder(desk.store.root / "models" / "one")
    shared = replace(desk, shared=True)
    with pytest.raises(InputError, match="visitors who have signed in"):
        added(shared, "", "one", "mine")
    with pytest.raises(InputError, match="visitors who have signed in"):
        classifiers.fetch_own(shared, "hf-hub:a/b", "mine", NOBODY)  # type: ignore[arg-type]
    assert "mine&#39; can be chosen now" in str(added(shared, "", "one", "mine", ADA)[0])


def test_a_name_is_found_and_is_used_once(desk: Desk) -> None:
    timm_folder(desk.store.root / "models" / "my model")
    assert "my-model&#39;" in str(added(desk, "", "my model", "")[0])
    assert next(iter(desk.models.profile.classifiers)) == "resnet"
    with pytest.raises(DataError, match="There is a classifier 'my-model' already"):
        added(desk, "", "my model", "my-model")
    assert "my-model" in desk.models.profile.classifiers


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "a" * 61, "a\0b", "/x", "..", "resnet"])
def test_names_are_those_of_folders(name: str, desk: Desk) -> None:
    timm_folder(desk.store.root / "models" / "own")
    with pytest.raises((InputError, DataError)):
        added(desk, "", "own", name)
    assert not (desk.store.root / "x").exists()


def test_what_does_not_open_is_not_kept(desk: Desk) -> None:
    for name, file, content in (
        ("broken", "model.safetensors", b"broken"),
        ("coded", "config.json", b'{"auto_map": {"x": "evil.Model"}}'),
        ("tv", "config.json", b'{"architecture": "resnet18", "label_names": ["a"], "arguments": {"weights": "x"}}'),
    ):
        timm_folder(desk.store.root / "models" / name)
        (desk.store.root / "models" / name / file).write_bytes(content)
        with pytest.raises(ModelError, match=r"could not be opened|code of its own|other weights than its own"):
            added(desk, "", name, "mine")
    assert dict(classifiers.choices(desk)) == dict(gr.update(choices=["resnet", "densenet", "repvgg"]))  # type: ignore[call-overload]


def test_one_whose_files_went_is_told_and_not_fetched_while_everybody_waits(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    add(f"hf-hub:a/b@{'d' * 40}", desk.store.root, "mine", desk.models.profile)
    monkeypatch.setattr("pipeline.runtime.hub.fetch", lambda model: pytest.fail("it was fetched"))
    with pytest.raises(ModelError, match="'mine' is no longer on this computer"):
        restarted(desk).classifier("mine")
