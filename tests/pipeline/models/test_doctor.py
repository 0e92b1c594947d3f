"""The report on a profile: what is here, what is to be fetched, what will not work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.errors import InputError
from pipeline.models import doctor
from pipeline.models.doctor import Diagnosis, examine, hub_models
from pipeline.profiles import load_profile
from pipeline.runtime.devices import place, weight_bytes
from tests import architectures


def report(name: str, **changes: str) -> dict[str, Diagnosis]:
    profile = replace(load_profile(name), **changes)  # type: ignore[arg-type]
    return {diagnosis.what: diagnosis for diagnosis in examine(profile, "cpu")}


@pytest.fixture(autouse=True)
def _plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "free_memory", lambda device: 10**11)
    monkeypatch.setattr(doctor, "free_bytes", lambda folder: 10**11)


def test_tiny_is_complete_and_paper_is_to_be_fetched() -> None:
    tiny = report("tiny")
    assert not any(diagnosis.hinders for diagnosis in tiny.values())
    assert tiny["diffusion"].state == "here"
    assert tiny["precision"].detail == "float32: half precision is slow and partly missing on a CPU"
    with pytest.raises(InputError, match="needs nothing from a hub"):
        hub_models(load_profile("tiny"))
    paper = report("paper")
    assert paper["perturber"].state == "to fetch"
    assert "13.48 GB" in paper["perturber"].detail
    assert "no commit is pinned" in paper["classifier resnet50"].detail
    assert "no commit" not in paper["perturber"].detail
    assert "35.2 GB to fetch" in paper["disk"].detail
    assert len(hub_models(load_profile("paper"))) == 8


def test_what_will_not_work_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = report("tiny", captioner=str(tmp_path / "nowhere"))["captioner"]
    assert (missing.state, missing.hinders) == ("missing", True)
    own = {"mine": f"resnet18 + {tmp_path}/weights.safetensors + {tmp_path}/labels.txt"}
    assert (
        "no file"
        in {diagnosis.what: diagnosis for diagnosis in examine(replace(load_profile("tiny"), classifiers=own))}[
            "classifier mine"
        ].detail
    )
    monkeypatch.setattr(doctor, "free_memory", lambda device: 35 * 10**9)
    tight = report("paper")["memory"]
    assert not tight.hinders
    assert "stages give way to one another" in tight.detail
    monkeypatch.setattr(doctor, "free_memory", lambda device: 20 * 10**9)
    assert "the largest alone 33.7 GB" in report("paper")["memory"].detail
    assert report("paper")["memory"].hinders
    monkeypatch.setattr(doctor, "free_bytes", lambda folder: 10**9)
    assert report("paper")["disk"].hinders


def test_memory_is_read_from_the_files_own_headers() -> None:
    folder = load_profile("tiny").classifiers["resnet"]
    from pipeline.classifiers.families import TimmClassifier

    network = TimmClassifier.from_pretrained(folder, name="resnet", device="cpu")._model
    numbers = sum(tensor.numel() for tensor in network.state_dict().values())  # type: ignore[attr-defined]
    assert weight_bytes(folder, "float32") == 4 * numbers
    assert weight_bytes(folder, "bfloat16") == 2 * numbers
    assert weight_bytes("/nowhere", "float32") == 0


@pytest.mark.parametrize(
    ("name", "role", "make"),
    [
        ("paper", "captioner", (architectures.blip2,)),
        ("paper", "perturber", (architectures.llama_7b,)),
        (
            "paper",
            "diffusion",
            (architectures.sd1_unet, architectures.sd1_vae, architectures.sd1_text_encoder),
        ),
        ("paper", "clip", (lambda: architectures.clip("ViT-L-14-quickgelu"),)),
        ("light", "captioner", (architectures.blip_large,)),
        ("light", "perturber", (architectures.smollm2,)),
        ("light", "sentences", (architectures.minilm,)),
        (
            "light",
            "diffusion",
            (
                lambda: architectures.sd1_unet(**architectures.BK_SDM_SMALL),
                architectures.sd1_vae,
                architectures.sd1_text_encoder,
            ),
        ),
        ("light", "clip", (lambda: architectures.clip("ViT-B-32"),)),
    ],
)
def test_profiles_tell_the_parameters_of_their_architectures(name: str, role: str, make: tuple[object, ...]) -> None:
    with torch.device("meta"):
        counted = sum(p.numel() for diagnosis in make for p in diagnosis().parameters())  # type: ignore[operator]
    slack = 0.06 if make == (architectures.blip_large,) else 0.02  # BLIP's file holds its output layer twice
    assert load_profile(name).parameters[role] == pytest.approx(counted / 1e9, rel=slack)


def test_a_device_that_is_not_here_is_refused() -> None:
    assert place("cpu", "float16").dtype == "float32"
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device"):
            place("cuda", "float16")
    if not torch.backends.mps.is_available():
        with pytest.raises(InputError, match="no Apple GPU"):
            place("mps", "float16")


def test_half_precision_follows_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert place("", "float16").device == "cuda"
    assert (place("cuda:1", "bfloat16").dtype, place("cuda", "float32").dtype) == ("float16", "float32")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert place("cuda", "bfloat16").dtype == "bfloat16"
