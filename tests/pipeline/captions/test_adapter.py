"""Training an adapter: what is trained and what is not, resuming, figures; and where it lands on a 7 B."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from pipeline.captions import adapter
from pipeline.captions.adapter import (
    CHECKPOINTS,
    CURVE,
    IGNORED,
    AdapterRecipe,
    Texts,
    attach,
    count_weights,
    evaluate,
    train,
)
from pipeline.captions.examples import WrittenVariation
from pipeline.captions.perturbation import Writer
from pipeline.errors import DataError, ModelError, SettingsError
from pipeline.settings import Settings
from pipeline.tiny.language import variations
from pipeline.types import Factor

pytestmark = pytest.mark.slow

BASE = Path(__file__).resolve().parents[3] / "assets" / "models" / "tiny" / "perturber"
BRIEF = AdapterRecipe(learning_rate=3e-3, steps=6, batch=4, max_tokens=96, save_every=3, attention="eager")


@pytest.fixture(scope="module")
def taught() -> tuple[WrittenVariation, ...]:
    return (*variations(24, 0, "train"), *variations(2, 1, "test"))


@pytest.fixture(scope="module")
def trained(taught: tuple[WrittenVariation, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapter")
    train(str(BASE), taught, out, BRIEF, "Trained in a test.")
    return out


def test_on_a_7b_the_adapter_lands_on_query_and_value_of_every_layer() -> None:
    with torch.device("meta"):
        model = attach(LlamaForCausalLM(LlamaConfig()), AdapterRecipe())
    found = {
        name.partition(".lora_A")[0].rpartition("layers.")[2]
        for name, _ in model.named_parameters()
        if "lora_A" in name
    }
    assert found == {f"{layer}.self_attn.{part}" for layer in range(32) for part in ("q_proj", "v_proj")}
    trainable, frozen = count_weights(model)
    assert trainable == 32 * 2 * 2 * 8 * 4096 == 4_194_304
    assert frozen == 6_738_415_616
    assert all(("lora_" in name) == weight.requires_grad for name, weight in model.named_parameters())


def test_a_base_without_such_layers_is_refused() -> None:
    with pytest.raises(ModelError, match="no layers query"):
        attach(torch.nn.Sequential(torch.nn.Linear(2, 2)), AdapterRecipe(targets=("query",)))


def test_only_the_answer_is_learned(taught: tuple[WrittenVariation, ...]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    row = Texts(taught, tokenizer, 96)[0]
    learned = [token for token in row["labels"] if token != IGNORED]
    assert tokenizer.decode(learned, skip_special_tokens=True) == taught[0].edited_caption
    assert learned[-1] == tokenizer.eos_token_id
    assert taught[0].caption in tokenizer.decode(row["input_ids"], skip_special_tokens=True)
    assert len(Texts(taught, tokenizer, 5)[0]["labels"]) == 5


def test_the_base_stays_frozen_and_everything_is_written(trained: Path, taught: tuple[WrittenVariation, ...]) -> None:
    saved = load_file(trained / "adapter_model.safetensors")
    assert all("lora_" in name for name in saved)
    assert any(weight.abs().sum() > 0 for name, weight in saved.items() if "lora_B" in name), "nothing was learned"
    config = json.loads((trained / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (8, 16, 0.05)
    assert set(config["target_modules"]) == {"q_proj", "v_proj"}
    card = (trained / "README.md").read_text()
    assert "32,768 weights were trained, 2,675,456 were not" in card
    assert "Trained in a test." in card
    assert "| all of it |" in card


def test_training_changes_no_weight_of_the_base(
    taught: tuple[WrittenVariation, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[torch.nn.Module] = []
    really = adapter._open_base
    monkeypatch.setattr(adapter, "_open_base", lambda base, recipe: opened.append(really(base, recipe)) or opened[0])
    train(str(BASE), taught, tmp_path, replace(BRIEF, steps=2), "")
    before = LlamaForCausalLM.from_pretrained(BASE, dtype=torch.float32).state_dict()
    after = {
        name.replace(".base_layer", ""): value for name, value in opened[0].state_dict().items() if "lora_" not in name
    }
    assert set(after) == set(before)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)


def test_a_training_goes_on_where_it_stopped(
    trained: Path, taught: tuple[WrittenVariation, ...], tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    (tmp_path / "adapter_model.safetensors").unlink()
    (checkpoint,) = (tmp_path / CHECKPOINTS).iterdir()
    assert checkpoint.name == "checkpoint-6"
    longer = replace(BRIEF, steps=8)
    heard: list[tuple[int, int]] = []
    resumed = train(str(BASE), taught, tmp_path, longer, "", lambda done, total: heard.append((done, total)))
    assert heard == [(7, 8), (8, 8)]
    assert resumed.trainable == 32_768
    assert json.loads((checkpoint.parent / "checkpoint-8" / "trainer_state.json").read_text())["global_step"] == 8
    again = train(str(BASE), taught, tmp_path, longer, "")  # nothing is left to do
    assert again.held_out == resumed.held_out
    assert (tmp_path / CURVE).is_file()


def test_answers_are_measured_word_by_word() -> None:
    caption = "a photo of a brown dog with a sled"
    held_out = [WrittenVariation(caption=caption, label="sled", factor="subject", edited_caption="", split="test")]

    class Said(Writer):
        def __init__(self, *answers: str) -> None:
            self._said = answers

        def answers(self, caption: str, factor: Factor, settings: Settings) -> Iterator[str]:
            yield from self._said

    cat, kite, both = (caption.replace(a, b) for a, b in (("dog", "cat"), ("sled", "kite"), ("brown dog", "pink cat")))
    figures = evaluate(Said(cat, cat, kite, both, "", caption), held_out, proposals=6)
    assert {name: share.value * 6 for name, share in figures.items()} == pytest.approx(
        {"valid": 5, "single factor": 2, "label kept": 4, "distinct": 3, "all of it": 1}
    )
    assert {(share.n, share.photos) for share in figures.values()} == {(6, 1)}


@pytest.mark.parametrize("change", [{"rank": 0}, {"dropout": 1.0}, {"dtype": "float8"}, {"targets": ()}, {"steps": -1}])
def test_a_recipe_that_cannot_be_trained_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        AdapterRecipe(**change)  # type: ignore[arg-type]


def test_without_cuda_there_is_no_4_bit_base_and_without_data_no_training(
    tmp_path: Path, taught: tuple[WrittenVariation, ...]
) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match="CUDA"):
            train(str(BASE), taught, tmp_path, replace(BRIEF, dtype="4-bit"), "")
    with pytest.raises(DataError, match="split 'train'"):
        train(str(BASE), taught[-1:], tmp_path, BRIEF, "")
