"""The command line, on the seams: rows out, one sentence for what can be mended."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipeline.__main__ import app
from pipeline.commands.rows import _cell
from pipeline.editing.axes import IMAGE_GUIDANCE
from pipeline.images import encode, open_image
from pipeline.models import loader as loading
from pipeline.store.store import Store
from pipeline.tiny.language import variations
from tests.seams import SeamModels, folder_of, picture


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> SeamModels:
    """What every command gets instead of the profile's models."""
    models = SeamModels()
    monkeypatch.setattr(loading, "load", lambda profile, device: models)
    monkeypatch.setattr("pipeline.profiles.load_profile", lambda name: models.profile)
    return models


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def rows(*arguments: object, status: int = 0) -> list[dict[str, object]]:
    result = call(*arguments, "--json")
    assert result.exit_code == status, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def refusal(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    return result.stderr


@pytest.fixture
def red(tmp_path: Path) -> Path:
    picture("red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


@pytest.fixture
def run(models: SeamModels, tmp_path: Path) -> Path:
    folder_of(tmp_path / "pictures", each=5)
    assert len(rows("stress", tmp_path / "pictures", "--out", tmp_path / "run")) == 15
    return tmp_path / "run"


def test_caption(models: SeamModels, red: Path) -> None:
    told = {"image": str(red), "caption": "a photo of a red plane on white", "notes": []}
    assert rows("caption", red, red) == [told] * 2
    first, second = rows("caption", red, "-n", 2)
    assert first == told
    assert second["caption"] == "a wall on white"
    assert "4 words" in str(second["notes"])


def test_perturb(models: SeamModels) -> None:
    models.perturber.rejected = ("object",)
    found = rows(
        "perturb", "a wall on white", "--factor", "object", "--factor", "background", "--label", "RED ", "-n", 1
    )
    assert [(row["factor"], row["accepted"], row["edited_caption"]) for row in found] == [
        ("object", False, "a wall beside green"),
        ("background", True, "a wall on yellow"),
    ]
    assert found[0]["rejected_by"]
    assert set(found[0]) == {
        "factor",
        "caption",
        "edited_caption",
        "original",
        "edit",
        "accepted",
        "rejected_by",
        "checks",
    }
    assert "checks" not in call("perturb", "a wall on white", "--factor", "object").stdout


def test_train_perturber(tmp_path: Path) -> None:
    base = Path(__file__).resolve().parents[2] / "assets" / "models" / "tiny" / "perturber"
    made = [*variations(4, 0, "train"), *variations(1, 1, "test")]
    (tmp_path / "v.jsonl").write_text("".join(json.dumps(asdict(one)) + "\n" for one in made))
    wish = ["--data", tmp_path / "v.jsonl", "--out", tmp_path / "out", "--steps", 1, "--batch", 2, "--rank", 4]
    first, *shares = rows("train-perturber", "--base", base, *wish)
    assert (first["kind"], first["trainable"], first["frozen"]) == ("adapter", 16_384, 2_675_456)
    assert [row["name"] for row in shares] == ["valid", "single factor", "label kept", "distinct", "all of it"]
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    refused = call("train-perturber", "--base", base, "--data", tmp_path / "none", "--out", tmp_path)
    assert refused.exit_code == 2


def test_classify(models: SeamModels, red: Path) -> None:
    (row,) = rows("classify", red)
    assert row["image"] == str(red)
    assert [one["label"] for one in row["top5"]] == ["red", "green", "blue"]  # type: ignore[index, union-attr, attr-defined]


def test_edit(models: SeamModels, red: Path, tmp_path: Path) -> None:
    wish = ["--edited-caption", "a red plane on yellow", "--tau", 0.2, "--tau", 0.8, "--steps", 4, "--label", "RED "]
    first, *found = rows("edit", red, *wish, "--out", tmp_path / "out")
    assert first["kind"] == "reconstruction"
    assert first["tau"] is None
    assert first["flip"] is False
    assert [row["tau"] for row in found] == [0.2, 0.8]
    for row in (first, *found):
        assert open_image(Path(str(row["file"]))).size == (16, 16)
    assert set(found[0]) == {"tau", "file", "kind", "scores", "top5", "flip", "missed", "chosen"}
    assert sum(bool(row["chosen"]) for row in found) == 1
    reconstruction = open_image(tmp_path / "out" / "reconstruction.png")
    assert encode(reconstruction) == encode(picture("red").point(lambda value: value * 31 // 32))


def test_edit_tells_the_strength_by_the_name_of_the_editors_axis(models: SeamModels, red: Path, tmp_path: Path) -> None:
    models.axis = IMAGE_GUIDANCE
    wish = ["--edited-caption", "a red plane on yellow", "--tau", 0.4]
    _, row = rows("edit", red, *wish, "--out", tmp_path / "out")
    assert row["image guidance"] == pytest.approx(1.4)
    assert "tau" not in row


def test_stress_goes_on_and_reports_what_was_left_out(models: SeamModels, run: Path, tmp_path: Path) -> None:
    assert rows("stress", tmp_path / "pictures", "--out", run) == []
    (tmp_path / "pictures" / "red" / "bad.png").write_text("x")
    picture("red", 77).save(tmp_path / "pictures" / "red" / "new.png")
    result = call("stress", tmp_path / "pictures", "--out", run, "--json")
    assert result.exit_code == 1
    (row,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert (row["image"], row["label"], row["perturbations"], row["counterfactuals"]) == ("red/new.png", "red", 3, 9)
    assert "red/bad.png was left out" in result.stderr


def test_weakness(run: Path) -> None:
    found = rows("weakness", run)
    first = found[0]
    assert (first["label"], first["factor"], first["photos"]) == ("all", "all", 15)
    figures = {"n", "photos", "value", "low", "high"}
    for k in (1, 5):
        assert set(first[f"delta_acc{k}"]) == figures | {"p", "p_adjusted"}  # type: ignore[call-overload]
        assert set(first[f"counterfactual_acc{k}"]) == figures  # type: ignore[call-overload]
    assert {row["label"] for row in found} == {"all", "red", "green", "blue"}


def test_weakness_by_tau_words_and_item_and_confirmed(run: Path) -> None:
    assert {row["tau"] for row in rows("weakness", run, "--by", "tau")} == {0.2, 0.5, 0.8}
    items = rows("weakness", run, "--by", "item")
    assert len(items) == 15 * 3
    assert {row["tau"] for row in items} <= {None, 0.2, 0.5, 0.8}
    words = rows("weakness", run, "--by", "words")
    assert words
    assert all(row["edits"] and row["photos"] >= 3 for row in words)  # type: ignore[operator]
    (row,) = rows("weakness", run, "--confirm", "other")
    assert row["confirmed by"] == "other"
    assert 0 < row["flips"] == row["share"]["n"]  # type: ignore[index, operator]


def test_reinforce_writes_a_classifier_that_classify_opens(run: Path, red: Path, tmp_path: Path) -> None:
    for number, label in enumerate(("red", "green", "blue")):
        (tmp_path / "ood" / label).mkdir(parents=True)
        picture(label, 900 + number).save(tmp_path / "ood" / label / "a.png")
    found = rows(
        "reinforce", run, "--out", tmp_path / "new", "--evaluate", f"ood={tmp_path / 'ood'}", "--alpha", "auto"
    )
    splits = {row["name"]: row["n"] for row in found if row["kind"] == "split"}
    assert splits["ood"] == 3
    assert set(splits) == {"ood", "held-out originals", "held-out counterfactuals"}
    assert found[0]["kind"] == "classifier"
    assert found[0]["alpha"] == found[0]["best on validation"]
    assert {row["split"] for row in found if row["kind"] == "class"} == set(splits)
    kinds = ("validation", "split", "class")
    assert all(
        {"before", "after", "change"} <= set(row[metric])  # type: ignore[call-overload]
        for row in found
        for metric in ("acc@1", "acc@5")
        if row["kind"] in kinds
    )
    assert "The test sets were first shown at alpha" in (tmp_path / "new" / "README.md").read_text()
    assert (tmp_path / "new" / "metrics.jsonl").is_file()
    (row,) = rows("classify", red, "--classifier", tmp_path / "new")
    assert row["top5"]


def test_tables_are_for_people(run: Path, red: Path, tmp_path: Path) -> None:
    for arguments in (
        ["caption", red],
        ["classify", red],
        ["perturb", "a wall on white [bold]x"],
        ["edit", red, "--edited-caption", "a red plane on yellow", "--out", tmp_path / "out"],
        ["weakness", run],
        ["reinforce", run, "--out", tmp_path / "new"],
    ):
        result = call(*arguments)
        assert result.exit_code == 0, result.output
        assert result.stdout.count("\n") > 3
        assert "{" not in result.stdout
    assert "[bold]x" in "".join(call("perturb", "[bold]x").stdout.split())


def test_nothing_in_a_cell_steers_the_terminal() -> None:
    assert _cell("a\x1b[31mb\u202e\n") == "a?[31mb??"
    assert (_cell(None), _cell(True), _cell(0.12345), _cell([])) == ("", "yes", "0.123", "")


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


def test_usage_errors_are_status_2() -> None:
    for arguments in (["edit"], ["classify"], ["none"], ["caption", "--none", "x"], ["perturb", "x", "-n", "many"]):
        assert call(*arguments).exit_code == 2


def test_a_missing_profile_is_told(red: Path) -> None:
    assert "none" in refusal("classify", red, "--profile", "none")


def test_help_answers_without_the_model_libraries() -> None:
    code = (
        "import sys, pipeline.__main__, pipeline.workflow, pipeline.analysis.weakness; "
        "import pipeline.store.store, pipeline.curation.selection; "
        "heavy = {'torch', 'diffusers', 'transformers', 'open_clip', 'timm', 'sentence_transformers', 'gradio'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert result.stdout.strip() == "[]"


def test_export_writes_the_latest_set_in_every_form_that_is_asked_for(tmp_path: Path) -> None:
    from tests.stores import keep, save, study_of

    store, study = Store(tmp_path / "run"), study_of()
    save(store, study)
    keep(store, study.counterfactuals[0].key, 1)
    store.freeze("beach")
    store.close()
    asked = ("export", tmp_path / "run", "--set", "beach", "--out", tmp_path / "out")
    found = rows(*asked, "--format", "imagefolder", "--format", "csv")
    assert [(row["format"], row["pairs"]) for row in found] == [("imagefolder", 1), ("csv", 1)]
    assert [Path(str(row["path"])).name for row in found] == ["beach-v001", "beach-v001.csv"]
    assert all(Path(str(row["path"])).exists() for row in found)
    assert "exists already" in refusal(*asked)
