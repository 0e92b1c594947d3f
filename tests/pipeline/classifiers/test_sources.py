"""Classifiers of one's own: each kind by a profile of a few lines, through stress, weakness and reinforce; refusals."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
import torch
from huggingface_hub import constants
from torchvision.transforms.functional import to_pil_image

from explorer.desk import Desk
from explorer.pages.explore import photo
from explorer.pages.reinforce import reinforce as reinforce_page
from pipeline.analysis.weakness import weakness
from pipeline.classifiers.sources import family_of
from pipeline.errors import ModelError, PipelineError
from pipeline.models.loader import LoadedModels, load
from pipeline.profiles import load_profile
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.reinforcement import reinforce
from pipeline.reinforcement.saving import save
from pipeline.reinforcement.training_data import Example
from pipeline.store.store import Store
from pipeline.tasks.studio import stress
from pipeline.tiny.world import LABELS, Scene, draw
from tests.own_classifiers import MAKERS, cached, transformers_folder
from tests.seams import SeamModels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, scenes: tuple[Scene, ...]) -> Path:
    """Four labelled scenes, one folder a label."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, scene in enumerate(scenes[:4]):
        (folder / scene.label).mkdir(exist_ok=True)
        draw(scene).save(folder / scene.label / f"{number}.png")
    return folder


@pytest.mark.parametrize("kind", MAKERS)
def test_a_profile_of_five_lines_takes_a_classifier_to_reinforce(
    kind: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    own = MAKERS[kind](tmp_path / "own")
    text = f'base = "tiny"\ndescription = "my own"\n\n[classifiers]\nmine = "{own}"\n'
    assert len(text.splitlines()) == 5
    (tmp_path / "mine.toml").write_text(text)
    mine = load(load_profile(str(tmp_path / "mine.toml")), "cpu")
    others, profile = SeamModels(), mine.profile  # the classifier is what this is about
    mine._parts["captioner", profile.captioner, ""] = others.captioner
    mine._parts["perturber", profile.perturber, ""] = others.perturber
    mine._parts["editor", profile.diffusion, ""] = others.editor
    mine._parts["scorer", profile.clip, ""] = others.scorer
    desk = Desk(models=mine, store=Store(tmp_path / "app"))
    asked = reinforce_page.restore(desk, gr.Request(query_params={}))
    for offered in (photo.page(desk, None)[6], asked[-1]):  # by both pages
        assert offered["choices"] == ["mine", "resnet", "densenet", "repvgg"]  # type: ignore[index]
    settings = replace(mine.profile.settings, factors=("background",), proposals=1, taus=(0.6,), num_inference_steps=2)
    store = Store(tmp_path / "run")
    studies = list(stress(mine, pictures, store, settings))
    assert [study.photo.classifier for study in studies] == ["mine"] * 4
    row = weakness(studies)[0]
    assert (row.label, row.n + row.unpaired) == ("all", 4)
    judge = mine.classifier()
    items = [
        Example(study.photo.label, study.photo.image, study.counterfactuals[0].image, study.photo.key)
        for study in studies
    ]
    made = reinforce(judge, items, {}, Recipe(max_epochs=2, learning_rate=1e-2))
    save(made, judge, tmp_path / "new")
    after = mine.classifier(mine.admit(str(tmp_path / "new")))
    assert judge.labels == after.labels == LABELS
    assert judge.predict([studies[0].photo.image]) == (studies[0].photo.prediction,)
    for blended, theta_0, theta_1 in zip(after.head(), made.theta_0, made.theta_1, strict=True):
        torch.testing.assert_close(blended, 0.7 * theta_0 + 0.3 * theta_1)


@pytest.fixture(scope="module")
def tiny() -> LoadedModels:
    return load(load_profile("tiny"), "cpu")


@pytest.mark.parametrize("kind", ["transformers", "torchvision", "bare timm"])
def test_what_is_saved_is_of_the_same_family_and_opens_again(kind: str, tiny: LoadedModels, tmp_path: Path) -> None:
    torch.manual_seed(2)
    photo = to_pil_image(torch.rand(3, 80, 100))
    text = MAKERS[kind](tmp_path / "own").replace("./", f"{tmp_path}/")
    classifier = tiny.classifier(tiny.admit(text))
    features, (weight, bias) = classifier.features([photo]), classifier.head()
    predicted = torch.tensor([classifier.predict([photo])[0].probabilities.tolist()])
    torch.testing.assert_close(predicted, (features @ weight.T + bias).softmax(-1), atol=1e-5, rtol=1e-4)
    changed = classifier.with_head(weight + 1, bias - torch.arange(len(bias)))
    changed.save(tmp_path / "saved", "card")
    again = tiny.classifier(tiny.admit(str(tmp_path / "saved")))
    assert type(again) is type(classifier)
    assert family_of(str(tmp_path / "saved")) == family_of(text) == kind.split()[-1]
    assert again.predict([photo]) == changed.predict([photo])
    assert again.predict([photo]) != classifier.predict([photo])
    assert again.labels == LABELS


def test_names_come_from_timm_in_safetensors_only(
    tiny: LoadedModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision's own weights too, as timm publishes them; by itself timm would take a pickle where there is one."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("resnet18.tv_in1k", "resnet10t.c3_in1k"):
        cached(tmp_path / "own", name)
    for text in ("torchvision:resnet18", "resnet10t.c3_in1k", "resnet10t"):
        assert tiny.classifier(tiny.admit(text)).labels == LABELS
    for text, words in (
        ("resnet50.tv_in1k", "'timm/resnet50.tv_in1k' is not on this computer, and HF_HUB_OFFLINE forbids"),
        ("torchvision:no_such_model", "timm lists no weights 'no_such_model.tv_in1k'"),
    ):
        with pytest.raises(PipelineError, match=words):
            tiny.classifier(tiny.admit(text))


@pytest.mark.parametrize("name", ["model.pth", "pytorch_model.bin", "model.ckpt"])
def test_pickles_are_refused_unopened(tiny: LoadedModels, tmp_path: Path, name: str) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / name).write_bytes(pickle.dumps(Trap()))
    (tmp_path / "own" / "config.json").write_text('{"architecture": "resnet18", "num_classes": 2}')
    (tmp_path / "labels.txt").write_text("sled\nkite")
    weights = tmp_path / "own" / name
    labelled = f"resnet18 + {weights} + {tmp_path / 'labels.txt'}"

    def opened(text: str) -> object:
        return tiny.classifier(tiny.admit(text))

    for refused, text in (
        (opened, str(weights.parent)),
        (family_of, str(weights)),
        (opened, labelled),
    ):
        with pytest.raises(ModelError, match="may be pickles, which run code when they are opened"):
            refused(text)
    assert not (tmp_path / "sprung").exists()


def test_foreign_code_is_refused(tiny: LoadedModels, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    transformers_folder(folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForImageClassification": "modeling.Mine"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="code of its own to be run, which is refused"):
        tiny.classifier(tiny.admit(str(folder)))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("sled\nkite", "do not fit a mobilenetv3_small_050 with these labels"),
        ("sled\nsled\nkite", "do not fit"),
        ("", "write two or more"),
    ],
)
def test_labels_that_do_not_fit_are_told(tiny: LoadedModels, tmp_path: Path, labels: str, words: str) -> None:
    text = MAKERS["bare timm"](tmp_path / "own").replace("./", f"{tmp_path}/")
    (tmp_path / "own" / "labels.txt").write_text(labels)
    with pytest.raises(ModelError, match=words):
        tiny.classifier(tiny.admit(text))
    (tmp_path / "own" / "labels.txt").unlink()
    with pytest.raises(ModelError, match="which is not there; correct its path"):
        tiny.classifier(tiny.admit(text))
    with pytest.raises(ModelError, match="has 2 parts; write 'architecture"):
        tiny.classifier(tiny.admit("resnet18 + weights.safetensors"))
