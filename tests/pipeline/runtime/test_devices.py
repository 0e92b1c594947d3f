"""Weights in 8 and 4 bits: refused with the reason where they are not possible, told by doctor, and really opened.

bitsandbytes also computes on a CPU, which is how it is tried here; the product asks for CUDA, where it is fast.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from pipeline.captions.captioning import Blip2Captioner
from pipeline.captions.factors import FACTORS
from pipeline.captions.perturbation import LlamaPerturber
from pipeline.errors import InputError, ProfileError
from pipeline.models.doctor import examine
from pipeline.models.loader import load
from pipeline.profiles import load_profile
from pipeline.runtime.devices import Place, place, weight_bytes, weights_in

TINY = load_profile("tiny")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


def test_few_bits_need_cuda_and_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place("cpu", "float16").obstacle == ""
    with pytest.raises(InputError, match="quantization = '4-bit', but weights in 4-bit need CUDA, and this is cpu"):
        load(replace(TINY, quantization="4-bit"), "cpu")
    found = {diagnosis.what: diagnosis for diagnosis in examine(replace(TINY, quantization="8-bit"), "cpu")}[
        "quantization"
    ]
    assert found.hinders
    assert "need CUDA" in found.detail
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    for spec, reason in ((None, "need the package bitsandbytes, which is not installed"), (object(), "")):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, spec=spec: spec)
        assert reason in (told := place("", "float16", "4-bit").obstacle)
        assert bool(told) == bool(reason)


def test_zero_gpu_is_refused_with_what_to_choose_unless_a_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")  # as `spaces` reads it
    with pytest.raises(InputError, match="choose CPU basic for the tiny profile"):
        load(TINY)
    assert load(TINY, "cpu").device == "cpu"
    monkeypatch.setenv("SPACES_ZERO_GPU", "false")
    assert load(TINY).device in ("cpu", "cuda")


def test_what_is_quantised_takes_less_memory() -> None:
    where = Place(device="cuda", dtype="float16", reason="", quantization="4-bit")
    assert [where.precision(role) for role in ("captioner", "perturber", "diffusion", "clip")] == [
        "4-bit", "4-bit", "float16", "float32",
    ]  # fmt: skip
    assert replace(where, quantization="").precision("perturber") == "float16"
    numbers = weight_bytes(TINY.perturber, "float32") // 4
    assert (weight_bytes(TINY.perturber, "8-bit"), weight_bytes(TINY.perturber, "4-bit")) == (numbers, numbers // 2)
    assert weights_in("cuda", "float16", "") == {"dtype": "float16"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('quantization = "2-bit"', "quantization = '2-bit'; give 8-bit, 4-bit or \"\" for neither"),
        ("quantization = 4", 'quantization = 4; give 8-bit, 4-bit or "" for neither'),
        ('compiled = "yes"', "compiled = 'yes'; give a valid boolean"),
        ("image_size = true", "image_size = True; give 8 pixels or more, such as 512"),
    ],
)
def test_the_keys_are_checked(line: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f'base = "tiny"\n{line}\n')
    with pytest.raises(ProfileError, match=re.escape(words)):
        load_profile(str(tmp_path / "mine.toml"))
    (tmp_path / "mine.toml").write_text('base = "tiny"\nquantization = "8-bit"\ncompiled = true\n')
    mine = load_profile(str(tmp_path / "mine.toml"))
    assert (mine.quantization, mine.compiled) == ("8-bit", True)


@needs_bitsandbytes
@pytest.mark.filterwarnings("ignore:MatMul8bitLt")
@pytest.mark.parametrize("bits", ["8-bit", "4-bit"])
def test_the_tiny_models_work_in_few_bits(bits: str) -> None:
    to = {"device": "cpu", "dtype": "float32"}
    scene = Image.open(next(Path(TINY.examples).rglob("*.png"))).convert("RGB")
    whole, small = (Blip2Captioner.from_pretrained(TINY.captioner, quantization=width, **to) for width in ("", bits))
    assert small._model.get_memory_footprint() < 0.6 * whole._model.get_memory_footprint()
    assert small.caption(scene, TINY.settings).startswith("a ")
    if bits == "8-bit":
        assert small.caption(scene, TINY.settings) == whole.caption(scene, TINY.settings)
    models = (TINY.perturber, TINY.perturber_adapter, TINY.sentences)
    perturber = LlamaPerturber.from_pretrained(*models, quantization=bits, **to)
    caption = "a photo of a brown dog with a sled next to a tree in a snowy field"
    proposed = perturber.perturb(caption, FACTORS["background"], "sled", TINY.settings)
    assert proposed
    assert all(variation.edited_caption != caption for variation in proposed)
