"""The shipped profiles over twins of their models: the whole loop, from the hub's cache and from folders, offline."""

from __future__ import annotations

import shutil
from collections import deque
from dataclasses import replace
from pathlib import Path

import open_clip.factory
import pytest
from huggingface_hub import constants
from PIL import Image

from pipeline import workflow
from pipeline.errors import ModelError
from pipeline.models.loader import LoadedModels, load
from pipeline.profiles import load_profile, models_of
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.reinforcement import reinforce
from pipeline.reinforcement.saving import save
from pipeline.reinforcement.training_data import Example
from pipeline.runtime.hub import located
from pipeline.settings import Profile
from pipeline.types import Study
from tests import twins

pytestmark = pytest.mark.slow

QUICK = {
    "factors": ("background",),
    "caption_prefix": "a photo of",
    "caption_min_tokens": 3,
    "caption_max_tokens": 8,
    "num_inference_steps": 2,
    "taus": (0.5, 1.0),
    "max_label_similarity": 1.1,
    "min_caption_similarity": -1.1,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    for name in ("light", "paper"):
        twins.write_cache(folder, load_profile(name))
    return folder


@pytest.fixture(autouse=True)
def _here(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's cache is the twins', and open_clip's names mean their twins."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    for name in ("ViT-L-14-quickgelu", "ViT-B-32"):
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, twins.CLIP)


def quick(profile: Profile) -> Profile:
    return replace(profile, settings=replace(profile.settings, **QUICK), image_size=64)


def studied(models: LoadedModels, colour: str) -> Study:
    """One picture through every stage; the proposals as an analyst takes them who minds no gate."""
    settings = models.profile.settings
    study = workflow.open_photo(models, Image.new("RGB", (80, 60), colour))
    study = workflow.propose(models, workflow.describe(models, study, settings), settings)
    wanted = [replace(variation, rejected_by=()) for variation in study.perturbations]
    return deque(workflow.edit(models, study, wanted, settings), maxlen=1).pop()


def loop(models: LoadedModels, folder: Path) -> None:
    """Photos to repaired classifier."""
    items = []
    for colour in ("navy", "olive", "salmon", "teal", "gold"):
        study = studied(models, colour)
        assert study.caption.startswith("a photo of ")
        assert [item.tau for item in study.counterfactuals] == [0.5, 1.0]
        assert len(study.counterfactuals[0].prediction.labels) == 1000
        photo = study.photo
        items += [Example(photo.label, photo.image, item.image, photo.key) for item in study.counterfactuals]
    for name in models.profile.classifiers:
        judge = models.classifier(name)
        assert len(judge.predict([items[0].photo])[0].probabilities) == 1000
    judge = models.classifier()
    save(reinforce(judge, items, {}, Recipe(max_epochs=1)), judge, folder / "reinforced")
    assert models.classifier(models.admit(str(folder / "reinforced"))).labels == judge.labels


@pytest.mark.parametrize("name", ["light", "paper"])
def test_the_whole_loop_from_the_cache(name: str, tmp_path: Path) -> None:
    loop(load(quick(load_profile(name)), "cpu"), tmp_path)


def test_the_whole_loop_from_folders_with_an_adapter(tmp_path: Path) -> None:
    """As somebody does who trained the adapter and copied the models."""
    paper = load_profile("paper")
    here = {role: located(role, text) for role, _, text in models_of(paper) if role != "classifier"}
    adapter = twins.lora(tmp_path / "adapter", Path(here["perturber"]))
    judge = located("classifier", paper.classifiers["vgg16"])
    lines = [f'{role} = "{path}"' for role, path in (here | {"perturber_adapter": str(adapter)}).items()]
    mine = tmp_path / "mine.toml"
    mine.write_text("\n".join(['base = "paper"', *lines, "[classifiers]", f'mine = "{judge}"']))
    models = load(quick(load_profile(str(mine))), "cpu")
    assert next(iter(models.profile.classifiers)) == "mine"
    plain = studied(load(quick(paper), "cpu"), "navy")
    adapted = studied(models, "navy")
    assert adapted.caption == plain.caption
    assert [variation.edited_caption for variation in adapted.perturbations] != [
        variation.edited_caption for variation in plain.perturbations
    ]
    assert len(adapted.counterfactuals) == 2


@pytest.mark.parametrize("role", ["captioner", "perturber", "sentences", "diffusion", "clip"])
def test_a_missing_file_is_one_sentence(
    role: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = quick(load_profile("paper"))
    text = str(getattr(paper, role))
    copy = tmp_path / role
    found = located(role, text).removeprefix("ViT-L-14-quickgelu:")
    shutil.copytree(Path(found).parent if Path(found).is_file() else found, copy)
    next(copy.rglob("*.safetensors")).unlink()
    broken = load(replace(paper, **{role: str(copy)}), "cpu")  # type: ignore[arg-type]
    part = {"diffusion": "editor", "clip": "scorer", "sentences": "perturber"}.get(role, role)
    with pytest.raises(ModelError) as caught:
        getattr(broken, part)
    assert len(str(caught.value).splitlines()) == 1
