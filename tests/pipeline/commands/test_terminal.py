"""What can be mended is told in one sentence with exit status 2."""

from pathlib import Path

import pytest

from pipeline.store.store import Store
from tests.commands import call, refusal
from tests.seams import SeamModels


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["caption", "BAD"], "not a PNG"),
        (["classify", "CUT"], "cut short"),
        (["classify", "none.png"], "no file"),
        (["classify", "RED", "--classifier", "none"], "no classifier"),
        (["perturb", "   "], "caption is empty"),
        (["perturb", "a wall", "--factor", "smell"], "'smell'"),
        (["perturb", "a wall", "--label", "sled"], "'sled'"),
        (["perturb", "a wall", "-n", "0"], "proposals is 0; give a whole number from 1 to 50"),
        (["edit", "RED", "--edited-caption", "", "--out", "OUT"], "caption is empty"),
        (["edit", "RED", "--edited-caption", "a wall", "--caption", "", "--out", "OUT"], "caption is empty"),
        (["edit", "RED", "--edited-caption", "a wall", "--caption", "a wall", "--out", "OUT"], "at least one word"),
        (["edit", "RED", "--edited-caption", "a wall", "--tau", "1.5", "--out", "OUT"], "tau is 1.5"),
        (
            ["edit", "RED", "--edited-caption", "a wall", "--cross-replace", "a lion=0.4", "--out", "OUT"],
            "names 'a lion'",
        ),
        (["edit", "RED", "--edited-caption", "a wall", "--tau", "nan", "--out", "OUT"], "tau is nan"),
        (["edit", "RED", "--edited-caption", "a wall", "--steps", "0", "--out", "OUT"], "num_inference_steps is 0"),
        (["edit", "RED", "--edited-caption", "a wall", "--inversion", "magic", "--out", "OUT"], "'magic'"),
        (["edit", "RED", "--edited-caption", "a wall", "--label", "sled", "--out", "OUT"], "'sled'"),
        (["edit", "RED", "--edited-caption", "a wall", "--out", "RED/under"], "cannot be written"),
        (["stress", "none", "--out", "OUT"], "no folder"),
        (["weakness", "none"], "no run"),
        (["weakness", "EMPTY"], "No study"),
        (["weakness", "EMPTY", "--by", "mood"], "--by is 'mood'"),
        (["reinforce", "none", "--out", "OUT"], "no run"),
        (["reinforce", "EMPTY", "--out", "OUT"], "no counterfactual"),
        (["reinforce", "EMPTY", "--out", "OUT", "--alpha", "much"], "alpha is 'much'"),
        (["reinforce", "EMPTY", "--out", "OUT", "--alpha", "2"], "alpha is 2"),
        (["reinforce", "EMPTY", "--out", "OUT", "--evaluate", "ood"], "ROLE:NAME=PATH"),
        (["reinforce", "EMPTY", "--out", "EMPTY"], "not empty"),
    ],
)
def test_what_can_be_mended_gets_one_sentence(
    models: SeamModels, red: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "bad.png").write_text("this is text")
    (tmp_path / "cut.jpg").write_bytes(red.read_bytes()[:-20])
    Store(tmp_path / "empty").close()
    places = {"BAD": "bad.png", "CUT": "cut.jpg", "RED": "red.png", "OUT": "out", "EMPTY": "empty", "none": "none"}
    given = [str(tmp_path / places[word]) if word in places else word for word in arguments]
    given = [word.replace("RED", str(red)) for word in given]
    assert words in refusal(*given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["classify", "HERE"], "none.png"),
        (["classify", "RED", "--classifier", "HERE"], "none"),
        (["stress", "HERE", "--out", "OUT"], "none"),
        (["weakness", "HERE"], "none"),
        (["reinforce", "HERE", "--out", "OUT"], "none"),
        (["export", "HERE", "--set", "all", "--out", "OUT"], "none"),
    ],
)
def test_the_whole_path_stands_behind_the_message(
    models: SeamModels, red: Path, tmp_path: Path, arguments: list[str], name: str
) -> None:
    places = {"HERE": tmp_path / name, "RED": red, "OUT": tmp_path / "out"}
    told = refusal(*(places.get(word, word) for word in arguments))
    assert told.count(str(tmp_path)) == 1
    assert told.endswith(f" ({tmp_path / name})\n")
    assert name in told.removesuffix(f" ({tmp_path / name})\n")


def test_usage_errors_are_status_2() -> None:
    for arguments in (["edit"], ["classify"], ["none"], ["caption", "--none", "x"], ["perturb", "x", "-n", "many"]):
        assert call(*arguments).exit_code == 2


def test_a_missing_profile_is_told(red: Path) -> None:
    assert "none" in refusal("classify", red, "--profile", "none")
    file = red.with_name("none.toml")
    told = refusal("classify", red, "--profile", file)
    assert told.startswith("There is no profile 'none.toml'; ")
    assert told.endswith(f" ({file})\n")
