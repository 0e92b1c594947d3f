"""Making, sampling and measuring the tiny models, through the command line a person would use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner, Result

from pipeline.errors import DataError
from pipeline.tiny import autoencoder, captioner, cards, classifiers, clip, language, train
from pipeline.tiny.__main__ import app
from pipeline.tiny.language import instruction_words
from pipeline.tiny.loop import Run, fit
from pipeline.tiny.words import TEXT_WINDOW, clip_tokenizer, vocabulary, word_tokenizer
from pipeline.tiny.world import VALUES, parse, sample

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


def tiny(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_sample_writes_an_image_folder_with_its_truth(tmp_path: Path) -> None:
    assert tiny("sample", "--n", "6", "--seed", "5", "--out", str(tmp_path), "--twins").exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 6
    for row in rows:
        assert {"file_name", "label", "caption", "twins", *VALUES} == set(row)
        assert (tmp_path / row["file_name"]).parent.name == row["label"]
        assert {name: row[name] for name in ("label", *VALUES)} == parse(row["caption"])
        assert len(row["twins"]) == sum(len(values) - 1 for values in VALUES.values())
        for twin in row["twins"]:
            told = parse(twin["caption"])
            assert told is not None
            assert {name for name in told if told[name] != row[name]} == {twin["factor"]}
            assert told[twin["factor"]] == twin["value"]
            with Image.open(tmp_path / twin["file_name"]) as picture:
                assert picture.size == (96, 96)


def test_an_unknown_model_is_refused() -> None:
    finished = tiny("--only", "painter")
    assert finished.exit_code == 2
    assert "painter" in finished.stderr
    assert finished.exception is None or isinstance(finished.exception, SystemExit)


def test_every_model_can_be_made_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As `--smoke` does, with fewer scenes."""
    for module in (autoencoder, captioner, classifiers, clip, language):
        monkeypatch.setattr(module, "BATCH", 4)
    shop = train.Workshop(out=tmp_path / "models", work=tmp_path, uniform=256, biased=128, share=0.002)
    train.make(shop)
    shipped = ROOT / "assets" / "models" / "tiny"
    made = {path.relative_to(tmp_path / "models") for path in (tmp_path / "models").rglob("config.json")}
    assert made == {path.relative_to(shipped) for path in shipped.rglob("config.json")}
    caplog.clear()
    with caplog.at_level("INFO"):
        train.make(shop)
    assert [record.getMessage().endswith("is there already") for record in caplog.records] == [True] * len(train.MAKERS)


def test_the_command_tries_a_model_small(tmp_path: Path) -> None:
    finished = tiny("--smoke", "--only", "sentences", "--work", str(tmp_path))
    assert finished.exit_code == 0, finished.output
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["sentences"]


@pytest.mark.parametrize("tokenizer", [clip_tokenizer(), word_tokenizer(end=True)], ids=["clip", "words"])
def test_every_word_is_one_token_and_every_caption_fits(tokenizer: object) -> None:
    assert callable(tokenizer)
    for word in vocabulary():
        assert len(tokenizer(word)["input_ids"]) == 3, word
    longest = max(len(tokenizer(scene.caption())["input_ids"]) for scene in sample(400, 3))
    assert longest <= TEXT_WINDOW


def test_the_perturber_knows_every_word_of_its_prompts() -> None:
    tokenizer = word_tokenizer(instruction_words(), end=False)
    unknown = tokenizer.unk_token_id
    assert unknown not in tokenizer(" ".join(instruction_words()))["input_ids"]


def test_an_interrupted_training_goes_on_where_it_was(tmp_path: Path) -> None:
    def make(stop: int, name: str) -> nn.Module:
        torch.manual_seed(0)
        model = nn.Linear(4, 1)

        def loss(step: int, generator: torch.Generator) -> torch.Tensor:
            if step == stop:
                raise KeyboardInterrupt
            inputs = torch.randn(8, 4, generator=generator)
            return (model(inputs).float() - inputs.sum(1, keepdim=True)).square().mean()

        run = Run(name=name, folder=tmp_path, steps=40, learning_rate=0.05, average=0.9, checkpoint_every=0.0)
        return fit(model, loss, run)

    whole = make(-1, "whole")
    with pytest.raises(KeyboardInterrupt):
        make(25, "cut")
    resumed = make(-1, "cut")
    assert torch.allclose(whole.weight, resumed.weight)
    assert not torch.allclose(whole.weight, torch.zeros(4))


def test_cards_hold_every_figure_and_the_readme_its_table(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{cards.BEGIN}\nold\n{cards.END}\nafter\n")
    figures = {"clip": {"retrieved": 0.9, "retrieved_low": 0.85, "retrieved_high": 0.94, "retrieved_n": 120}}
    cards.write(tmp_path, figures, readme)
    text = readme.read_text()
    assert "90.0 % (85.0 to 94.0) | 120 | no" in text
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| retrieved | 0.9 |" in (tmp_path / "clip" / "README.md").read_text()
    readme.write_text("no marks")
    with pytest.raises(DataError):
        cards.write(tmp_path, figures, readme)
