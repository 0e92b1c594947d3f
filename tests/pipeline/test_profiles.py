"""Profiles: what is read, how paths are resolved, and what a malformed file is told."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path

import pytest

from pipeline.errors import ProfileError, SettingsError
from pipeline.profiles import PROFILES, known_profiles, load_profile, models_of
from pipeline.settings import Settings

COMPLETE = """
description = "a test"
captioner = "./captioner"
perturber = "owner/perturber"
perturber_adapter = ""
sentences = "/models/sentences"
diffusion = "../diffusion"
clip = "ViT-B-32:openai"
image_size = 64

[classifiers]
first = "./classifiers/first"
second = "resnet18.tv_in1k"

[evaluation]
ood = "../ood"

[families]
captioner = "blip"

[settings]
guidance_scale = 3
taus = [0.2, 1]
factors = ["subject"]
"""


def written(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_shipped_profiles_can_be_read() -> None:
    assert known_profiles() == ("light", "paper", "tiny")
    for name in known_profiles():
        profile = load_profile(name)
        assert (profile.name, bool(profile.licence), bool(profile.description)) == (name, True, True)


def test_tiny_is_complete_on_this_computer_and_paper_uses_the_published_settings() -> None:
    tiny, paper = load_profile("tiny"), load_profile("paper")
    models = PROFILES.parent / "models" / "tiny"
    assert tiny.captioner == str(models / "captioner")
    assert next(iter(tiny.classifiers.values())) == str(models / "classifiers" / "resnet")
    assert tiny.evaluation["ood"] == str(PROFILES.parent / "evaluation" / "ood")
    assert (paper.settings.guidance_scale, paper.settings.num_inference_steps) == (7.5, 50)
    assert paper.settings.taus == (0.4, 0.5, 0.6, 0.7, 0.8)


def test_paths_are_resolved_against_the_file_and_hub_ids_left_alone(tmp_path: Path) -> None:
    profile = load_profile(written(tmp_path, COMPLETE))
    assert profile.name == "mine"
    assert profile.captioner == str(tmp_path / "captioner")
    assert profile.diffusion == str(tmp_path.parent / "diffusion")
    assert profile.evaluation == {"ood": str(tmp_path.parent / "ood")}
    assert (profile.perturber, profile.sentences, profile.clip) == (
        "owner/perturber",
        "/models/sentences",
        "ViT-B-32:openai",
    )
    assert profile.classifiers == {"first": str(tmp_path / "classifiers" / "first"), "second": "resnet18.tv_in1k"}
    assert profile.perturber_adapter == ""
    assert profile.families == {"captioner": "blip"}


def test_settings_become_tuples_and_keep_the_other_defaults(tmp_path: Path) -> None:
    settings = load_profile(written(tmp_path, COMPLETE)).settings
    assert (settings.taus, settings.factors, settings.guidance_scale) == ((0.2, 1), ("subject",), 3)
    assert settings.num_inference_steps == 50


def test_a_relative_path_and_a_name_in_toml_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, 'name = "other"\n' + COMPLETE)
    monkeypatch.chdir(tmp_path)
    profile = load_profile("mine.toml")
    assert (profile.name, profile.captioner) == ("other", str(tmp_path / "captioner"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clip = [", "not valid TOML"),
        (COMPLETE.replace('clip = "ViT-B-32:openai"', ""), "lacks clip"),
        (COMPLETE.replace("image_size = 64", 'image_size = "64"'), "image_size = '64'"),
        (COMPLETE.replace("image_size = 64", "image_size = true"), "image_size = True"),
        (COMPLETE.replace("image_size = 64", "image_size = 0"), "image_size = 0"),
        (COMPLETE.replace("image_size = 64", "image_size = 64\ncolour = 1"), "unknown key 'colour'"),
        (COMPLETE.replace("image_size = 64", 'image_size = 64\ndtype = "int8"'), "dtype = 'int8'"),
        (COMPLETE.replace("taus = [0.2, 1]", "taus = [2.0]"), "tau is 2.0"),
        (COMPLETE.replace("taus = [0.2, 1]", 'taus = ["a"]'), "taus = ['a']"),
        (COMPLETE.replace("taus = [0.2, 1]", "taus = [true]"), "taus = [True]; give a valid number"),
        (COMPLETE.replace("taus = [0.2, 1]", "taus = 0.5"), "taus = 0.5; give a valid list"),
        (COMPLETE.replace("taus = [0.2, 1]", "tau = 0.5"), "unknown key 'tau'"),
        (COMPLETE.replace("taus = [0.2, 1]", 'seed = "3"'), "seed = '3'; give a valid integer"),
        (COMPLETE.replace("taus = [0.2, 1]", "seed = 2.0"), "seed = 2.0; give a valid integer"),
        (COMPLETE.replace("taus = [0.2, 1]", "temperature = true"), "give a number above 0, such as 0.7"),
        (COMPLETE.replace("taus = [0.2, 1]", "temperature = nan"), "give a number above 0, such as 0.7"),
        (COMPLETE.replace("image_size = 64", "image_size = 64\ncompiled = 1"), "compiled = 1; give a valid boolean"),
        (
            COMPLETE.replace("image_size = 64", 'image_size = 64\nquantization = "2-bit"'),
            '8-bit, 4-bit or "" for neither',
        ),
        (COMPLETE.replace("image_size = 64", "image_size = 64\nmin_round_trip = nan"), "give a finite number"),
        (COMPLETE.replace("image_size = 64", "image_size = 64\nsizes = {clip = true}"), "a valid number for 'clip'"),
        (
            COMPLETE.partition("[settings]")[0].replace("image_size", "settings = 5\nimage_size"),
            "write a table [settings]",
        ),
        (COMPLETE.replace('second = "resnet18.tv_in1k"', "second = 5"), "classifiers"),
        (COMPLETE.replace('first = "./classifiers/first"\nsecond = "resnet18.tv_in1k"', ""), "no classifier"),
        ("settings = 5\n" + COMPLETE.replace("[settings]", "[evaluation2]"), "evaluation2"),
    ],
)
def test_a_malformed_profile_says_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile(written(tmp_path, text))
    assert words in str(caught.value)
    assert "mine.toml" in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "./nowhere.toml", "../nowhere", ""])
def test_a_missing_profile_lists_those_there_are(name: str) -> None:
    with pytest.raises(ProfileError, match="light, paper, tiny"):
        load_profile(name)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="could not be read"):
        load_profile(str(tmp_path / "mine.toml"))


def test_a_profile_may_build_on_another_and_its_own_classifiers_come_first(tmp_path: Path) -> None:
    text = 'base = "tiny"\n[classifiers]\nmine = "local-dir:./mine"\nown = "resnet18 + ./w.safetensors + labels.txt"\n'
    mine, tiny = load_profile(written(tmp_path, text + "[settings]\ntaus = [0.5]\n")), load_profile("tiny")
    assert mine.name == "mine"
    assert mine.captioner == tiny.captioner
    assert list(mine.classifiers) == ["mine", "own", *tiny.classifiers]
    assert mine.classifiers["mine"] == str(tmp_path / "mine")
    assert mine.classifiers["own"] == f"resnet18 + {tmp_path / 'w.safetensors'} + labels.txt"
    assert (mine.settings.taus, mine.settings.guidance_scale) == ((0.5,), tiny.settings.guidance_scale)
    measures = '[measures]\nlpips = "./lpips"\ndino = "timm/vit_base_patch8_224.dino"\n'
    named = models_of(load_profile(written(tmp_path, f'base = "tiny"\n{measures}')))[-2:]
    assert [role for role, _, _ in named] == ["lpips", "dino"]
    assert [text for _, _, text in named] == [str(tmp_path / "lpips"), "timm/vit_base_patch8_224.dino"]
    with pytest.raises(ProfileError, match="its own base"):
        load_profile(written(tmp_path, 'base = "./mine.toml"\n'))
    with pytest.raises(ProfileError, match="no profile 'nowhere'"):
        load_profile(written(tmp_path, 'base = "nowhere"\n'))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cross_attention": "swap"}, "use refine, replace, auto"),
        ({"cross_replace_words": ("beach",)}, "such as beach=0.4"),
        ({"cross_replace_words": ("beach=1.4",)}, "from 0 to 1"),
        ({"cross_replace_words": ("=0.4",)}, "give the word"),
        ({"local_blend": 1.0}, "below 1, such as 0.3"),
        ({"local_blend_start": -0.1}, "fraction from 0 to 1"),
        ({"captions_at_once": -1}, "0 for all"),
        ({"captions_at_once": 1.0}, "whole number"),
        ({"num_inference_steps": 1001}, "a whole number from 1 to 1000, such as 50"),
        ({"num_inference_steps": "3"}, "num_inference_steps is '3'"),
        ({"guidance_scale": float("inf")}, "1 \\(no guidance\\) or more"),
        ({"guidance_scale": True}, "guidance_scale is True"),
        ({"taus": (float("nan"),)}, "tau is nan"),
        ({"taus": ("0.4",)}, "a valid number"),
        ({"proposals": 51}, "from 1 to 50"),
        ({"seed": None}, "a valid integer"),
        ({"word_weight": float("nan")}, "word_weight is nan; give a finite number"),
    ],
)
def test_settings_of_the_editor_outside_their_range(change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(**change)  # type: ignore[arg-type]


def test_settings_stay_as_they_are_given_and_can_be_compared_hashed_and_sent() -> None:
    """Keys of pictures are made of their text, so 3 must not become 3.0."""
    settings = Settings(guidance_scale=3, taus=(0.2, 1))
    assert (repr(settings.guidance_scale), repr(settings.taus)) == ("3", "(0.2, 1)")
    assert settings == pickle.loads(pickle.dumps(settings)) == Settings(**asdict(settings))
    assert hash(settings) == hash(Settings(guidance_scale=3.0, taus=(0.2, 1.0)))
    with pytest.raises(FrozenInstanceError):
        settings.seed = 1  # type: ignore[misc]


def test_fractions_of_words_are_read() -> None:
    assert Settings(cross_replace_words=("sandy beach=0.4", "dog = 1")).word_fractions == (
        ("sandy beach", 0.4),
        ("dog", 1.0),
    )
