"""Loading a profile: lazily, once, with every fault told in one sentence."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from timm.models import save_for_hf

from pipeline.classifiers.families import TimmClassifier
from pipeline.errors import InputError, ModelError, ProfileError
from pipeline.models.loader import CLASSIFIERS, ROLES, LoadedModels, load
from pipeline.profiles import load_profile
from pipeline.settings import Profile


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    model = timm.create_model("resnet18", num_classes=2, channels=(8, 8, 8, 8))
    save_for_hf(model, str(folder), model_config={"label_names": ["sled", "kite"]}, safe_serialization=True)
    return folder


@pytest.fixture
def profile(saved: Path, tmp_path: Path) -> Profile:
    return Profile(
        name="test",
        description="",
        captioner=str(tmp_path / "captioner"),
        perturber="owner/hub-id",
        perturber_adapter="",
        sentences=str(tmp_path / "sentences"),
        diffusion="owner/hub-id",
        clip="ViT-B-32:openai",
        classifiers={"first": str(saved), "second": str(tmp_path / "second")},
        image_size=32,
        dtype="float16",
    )


def test_all_missing_folders_are_told_at_once_and_hub_ids_are_not(profile: Profile) -> None:
    with pytest.raises(ModelError, match="'test' lacks 3 of its model folders") as caught:
        load(profile, "cpu").check()
    assert "captioner, sentences, classifier second" in str(caught.value)
    message = caught.value.in_full()
    assert all(part in message for part in (profile.captioner, profile.sentences, profile.classifiers["second"]))
    assert "hub-id" not in message
    assert profile.classifiers["first"] not in message
    for name in (profile.captioner, profile.sentences, profile.classifiers["second"]):
        Path(name).mkdir()
    load(profile, "cpu").check()


def test_a_classifier_is_opened_by_name_by_default_and_by_folder(profile: Profile, saved: Path, tmp_path: Path) -> None:
    models = load(profile, "cpu")
    first = models.classifier()
    assert (first.name, first.labels) == ("first", ("sled", "kite"))
    assert models.classifier("first") is first
    assert isinstance(first, TimmClassifier)
    first.save(tmp_path / "reinforced", "card")
    again = models.classifier(models.admit(str(tmp_path / "reinforced")))
    assert (again.name, again.labels) == (str(tmp_path / "reinforced"), first.labels)
    with pytest.raises(InputError, match="choose one of first, second"):
        models.classifier("third")


def test_a_part_that_cannot_be_opened_is_one_sentence(profile: Profile) -> None:
    Path(profile.captioner).mkdir()
    for model in (profile, replace(profile, clip="no-such-model:openai")):
        models = load(model, "cpu")
        with pytest.raises(ModelError, match=r"The captioner .* of the profile 'test' could not be opened"):
            assert models.captioner
    with pytest.raises(ModelError, match="The scorer 'no-such-model:openai'"):
        assert models.scorer
    with pytest.raises(ModelError, match=r"no folder .*second.* correct the classifier's path"):
        models.classifier("second")


def test_weights_that_were_cut_off_are_a_model_error(profile: Profile, saved: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "config.json").write_bytes((saved / "config.json").read_bytes())
    (cut / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes()[:1000])
    models = load(profile, "cpu")
    name = models.admit(str(cut))
    with pytest.raises(ModelError, match="could not be opened"):
        models.classifier(name)


def test_two_threads_open_a_part_once(profile: Profile) -> None:
    models = load(profile, "cpu")
    found: list[object] = []
    start = threading.Barrier(4)

    def ask() -> None:
        start.wait()
        found.append(models.classifier())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(part is found[0] for part in found)


@pytest.mark.slow
def test_parts_give_way_when_memory_is_short(
    profile: Profile, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(saved, tmp_path / "second")
    models = load(profile, "cpu")
    first = models.classifier("first")
    assert models.classifier("first") is first
    models.classifier("second")
    assert models.classifier("first") is first, "there was room for both"
    monkeypatch.setattr("pipeline.models.loader.free_memory", lambda device: 1)
    shutil.copytree(saved, tmp_path / "third")
    other = models.classifier(models.admit(str(tmp_path / "third")))
    assert models.classifier(str(tmp_path / "third")) is other
    assert models.classifier("first") is not first


def test_half_precision_is_kept_for_the_gpu(profile: Profile) -> None:
    assert load(profile, "cpu").dtype == "float32"
    assert load(profile).device == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device"):
            load(profile, "cuda")


def test_a_family_is_chosen_by_the_profile(profile: Profile) -> None:
    models = load(replace(profile, families={"captioner": "blip"}), "cpu")
    with pytest.raises(ModelError, match="captioner"):
        assert models.captioner
    with pytest.raises(ProfileError, match="captioner = 'gpt'"):
        load(replace(profile, families={"captioner": "gpt"}))
    with pytest.raises(ProfileError, match="painter"):
        load(replace(profile, families={"painter": "blip"}))
    assert load(load_profile("light"), "cpu").profile.families == {"captioner": "blip"}


def test_a_profile_names_a_known_inversion(profile: Profile) -> None:
    with pytest.raises(ProfileError, match=r"'test'.* inversion 'magic' is unknown; use pnp"):
        load(replace(profile, settings=replace(profile.settings, inversion="magic")), "cpu")


@pytest.mark.parametrize("entry", [entry for families in (*ROLES.values(), CLASSIFIERS) for entry in families.values()])
def test_every_entry_of_a_registry_names_a_class_with_from_pretrained(entry: str) -> None:
    module, _, name = entry.partition(":")
    assert callable(getattr(__import__(module, fromlist=[name]), name).from_pretrained)


def test_the_package_opens_no_model_library() -> None:
    program = (
        "import sys, pipeline, pipeline.captions.captioning, pipeline.captions.perturbation; "
        "import pipeline.scoring.clip, pipeline.classifiers.base; "
        "print([name for name in ('torch', 'transformers', 'diffusers', 'timm', 'open_clip') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_public_names_are_sorted_and_there() -> None:
    import pipeline

    assert pipeline.__all__[0] == "FACTORS"
    names = [name for name in pipeline.__all__ if not name.isupper()]
    assert names == sorted(names, key=lambda name: (name[0].islower(), name))
    assert all(hasattr(pipeline, name) for name in pipeline.__all__)


def test_warming_opens_every_part_and_tells_faults_only_in_the_log(tmp_path: Path, models: LoadedModels) -> None:
    models.warm()
    captioner = models.captioner
    assert models.captioner is captioner
    broken = load(replace(models.profile, captioner=str(tmp_path / "nowhere")))
    broken.warm()
    with pytest.raises(ModelError):
        _ = broken.captioner


def test_a_folder_that_was_trained_anew_is_opened_anew(profile: Profile, saved: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "mine"))
    models = load(replace(profile, classifiers={"mine": str(folder)}), "cpu")
    before = models.classifier()
    assert models.classifier() is before
    weight, bias = before.head()
    before.with_head(weight + 1, bias).save(folder, "trained anew")  # type: ignore[attr-defined]
    after = models.classifier()
    assert after.name == before.name == "mine"
    assert torch.equal(after.head()[0], weight + 1)
    assert after.fingerprint != before.fingerprint
    assert len(models._parts) == 1
