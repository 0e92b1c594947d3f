"""The commands about models themselves."""

import json
from dataclasses import asdict
from pathlib import Path

from pipeline.tiny.language import variations
from tests.commands import call, rows


def test_train_perturber(tmp_path: Path) -> None:
    base = Path(__file__).resolve().parents[3] / "assets" / "models" / "tiny" / "perturber"
    made = [*variations(4, 0, "train"), *variations(1, 1, "test")]
    (tmp_path / "v.jsonl").write_text("".join(json.dumps(asdict(variation)) + "\n" for variation in made))
    wish = ["--data", tmp_path / "v.jsonl", "--out", tmp_path / "out", "--steps", 1, "--batch", 2, "--rank", 4]
    first, *shares = rows("train-perturber", "--base", base, *wish)
    assert (first["kind"], first["trainable"], first["frozen"]) == ("adapter", 16_384, 2_675_456)
    assert [row["name"] for row in shares] == ["valid", "single factor", "label kept", "distinct", "all of it"]
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    refused = call("train-perturber", "--base", base, "--data", tmp_path / "none", "--out", tmp_path)
    assert refused.exit_code == 2
