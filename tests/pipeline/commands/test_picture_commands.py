"""The commands about single pictures and captions, on the seams."""

from pathlib import Path

import pytest

from pipeline.editing.axes import IMAGE_GUIDANCE
from pipeline.images import encode, open_image
from tests.commands import call, refusal, rows
from tests.seams import SeamModels, picture


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


def test_classify(models: SeamModels, red: Path) -> None:
    (row,) = rows("classify", red)
    assert row["image"] == str(red)
    assert [answer["label"] for answer in row["top5"]] == ["red", "green", "blue"]  # type: ignore[index, union-attr, attr-defined]


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


def test_an_unknown_inversion_is_refused_before_any_model_is_asked(
    models: SeamModels, red: Path, tmp_path: Path
) -> None:
    wish = ["--edited-caption", "a red plane on yellow", "--inversion", "magic", "--out", tmp_path / "out"]
    assert "use pnp, null-text" in refusal("edit", red, *wish)
    assert models.editor.inversions == 0
