"""A finished reinforcement at another alpha, on the disk and read again."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from pipeline.errors import DataError
from pipeline.reinforcement.heads import interpolate
from pipeline.reinforcement.reinforcement import ALPHAS, reinforce
from pipeline.reinforcement.runs import read_run, runs
from pipeline.reinforcement.saving import at_alpha, save
from pipeline.types import Reinforcement
from tests.colour_items import RECIPE, evaluation, figures_of, items_of
from tests.seams import ColourClassifier


def test_what_is_saved_opens_and_predicts_as_theta_alpha(made: Reinforcement, tmp_path: Path) -> None:
    save(made, ColourClassifier.plain(), tmp_path / "out")
    opened = ColourClassifier.from_folder(tmp_path / "out")
    weight, bias = interpolate(made.theta_0, made.theta_1, made.alpha)
    assert torch.allclose(opened.head()[0], weight)
    assert torch.allclose(opened.head()[1], bias)
    text = (tmp_path / "out" / "README.md").read_text()
    assert "alpha = 0.5 came with the recipe, before anything was seen" in text
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir() if path.name != "config.json"} == {
        0o644
    }
    with pytest.raises(DataError, match="not empty"):
        save(made, ColourClassifier.plain(), tmp_path / "out")


@pytest.mark.parametrize("part", ["write_run", "metrics"])
def test_a_save_that_is_cut_off_leaves_no_folder_in_the_way(
    part: str, made: Reinforcement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"pipeline.reinforcement.saving.{part}", killed)
        with pytest.raises(KeyboardInterrupt):
            save(made, ColourClassifier.plain(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    save(made, ColourClassifier.plain(), tmp_path / "out")
    assert read_run(tmp_path / "out").alpha == made.alpha


def test_another_alpha_has_all_its_figures_without_new_features(made: Reinforcement) -> None:
    other = reinforce(ColourClassifier.plain(), items_of(), evaluation(), replace(RECIPE, alpha=0.9))
    assert figures_of(at_alpha(made, 0.9)) == figures_of(other) != figures_of(at_alpha(made, 0.0))


def test_an_alpha_between_the_steps_is_on_the_curve() -> None:
    made = reinforce(ColourClassifier.plain(), items_of(), evaluation(), replace(RECIPE, alpha=0.25))
    assert made.alphas == tuple(sorted({*ALPHAS, 0.25}))
    assert at_alpha(made, 0.25).alpha == made.alpha == 0.25
    assert made.chosen in ALPHAS


def test_a_run_is_read_as_it_was_written(made: Reinforcement, tmp_path: Path) -> None:
    save(made, ColourClassifier.plain(), tmp_path / "one")
    save(at_alpha(made, 0.8), ColourClassifier.plain(), tmp_path / "two")
    assert set(runs(tmp_path)) == {tmp_path / "one", tmp_path / "two"}
    again = read_run(tmp_path / "one")
    tensors = ("theta_0", "theta_1")
    for name in (field.name for field in fields(made) if field.name not in tensors):
        assert getattr(again, name) == getattr(made, name), name
    assert all(map(torch.equal, (*again.theta_0, *again.theta_1), (*made.theta_0, *made.theta_1)))
    assert figures_of(at_alpha(again, 0.8)) == figures_of(read_run(tmp_path / "two"))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"labels": 3}'])
def test_a_damaged_run_is_told(text: str, made: Reinforcement, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no run"):
        read_run(tmp_path)
    save(made, ColourClassifier.plain(), tmp_path / "one")
    (tmp_path / "one" / "run.json").write_text(text)
    with pytest.raises(DataError, match="damaged or of another version"):
        read_run(tmp_path / "one")
