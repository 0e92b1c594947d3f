"""The whole loop through the command line, on the shipped tiny models.

The floors here are far below what `python -m pipeline.tiny measure` found; they fail when a stage is broken, not when
a picture is unlucky.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipeline.__main__ import app
from pipeline.models.loader import LoadedModels
from pipeline.tiny.measure import psnr
from pipeline.tiny.world import LABELS, VALUES, Scene, draw, parse, redraw

pytestmark = pytest.mark.slow

Row = dict[str, object]


def run(*arguments: str) -> list[Row]:
    """The rows that a command prints with --json."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def write(folder: Path, scenes: tuple[Scene, ...]) -> list[str]:
    """The scenes as an ImageFolder; their paths."""
    paths = []
    for number, scene in enumerate(scenes):
        path = folder / scene.label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(scene).save(path)
        paths.append(str(path))
    return paths


def test_captions_name_what_is_there(scenes: tuple[Scene, ...], tmp_path: Path) -> None:
    rows = run("caption", *write(tmp_path, scenes[:8]))
    told = [parse(str(row["caption"])) for row in rows]
    right = [
        found is not None and found[name] == getattr(scene, name)
        for scene, found in zip(scenes, told, strict=False)
        for name in ("label", *VALUES)
    ]
    assert np.mean(right) > 0.7


@pytest.mark.parametrize("factor", VALUES)
def test_perturbations_change_their_factor_and_keep_the_label(factor: str, scenes: tuple[Scene, ...]) -> None:
    scene = scenes[0]
    rows = run("perturb", scene.caption(), "--factor", factor, "--label", scene.label, "-n", "2")
    assert len(rows) == 2
    assert len({row["edited_caption"] for row in rows}) == 2
    for row in rows:
        told = parse(str(row["edited_caption"]))
        assert row["factor"] == factor
        assert row["accepted"] == (row["rejected_by"] == [])
        if row["accepted"]:
            assert told is not None
            assert told["label"] == scene.label
            assert str(row["original"]) in scene.caption()
            assert str(row["edit"]) in str(row["edited_caption"])


def test_classify_prints_the_five_most_probable(scenes: tuple[Scene, ...], tmp_path: Path) -> None:
    for row in run("classify", *write(tmp_path, scenes[:3]), "--classifier", "densenet"):
        top5 = row["top5"]
        assert isinstance(top5, list)
        assert len(top5) == 5
        probabilities = [answer["probability"] for answer in top5]
        assert probabilities == sorted(probabilities, reverse=True)
        assert {answer["label"] for answer in top5} <= set(LABELS)


def test_an_edit_comes_nearer_to_the_true_counterfactual(scenes: tuple[Scene, ...], tmp_path: Path) -> None:
    scene = next(scene for scene in scenes if scene.domain == "photo" and scene.background != "snowy field")
    twin = redraw(scene, "background", "snowy field")
    (path,) = write(tmp_path, (scene,))
    rows = run(
        "edit", path, "--caption", scene.caption(), "--edited-caption", twin.caption(), "--label", scene.label,
        "--tau", "0.4", "--tau", "0.8", "--steps", "12", "--out", str(tmp_path / "out"),
    )  # fmt: skip
    control, *edits = rows
    assert [row["tau"] for row in edits] == [0.4, 0.8]
    assert control["tau"] is None
    assert sum(bool(row["chosen"]) for row in edits) <= 1
    for row in rows:
        assert Path(str(row["file"])).is_file()
    truth = draw(twin)
    unedited = psnr(draw(scene), truth)
    assert max(psnr(Image.open(str(row["file"])), truth) for row in edits) > unedited + 1


def test_stress_weakness_reinforce(scenes: tuple[Scene, ...], tmp_path: Path) -> None:
    pictures, record, out = tmp_path / "pictures", tmp_path / "run", tmp_path / "reinforced"
    paths = write(pictures, scenes[:6])
    quick = ("--factor", "background", "--factor", "adjective", "--tau", "0.4", "--steps", "6")
    assert len(run("stress", str(pictures), "--out", str(record), *quick)) == 6
    assert run("stress", str(pictures), "--out", str(record), *quick) == []
    weakness = run("weakness", str(record))
    assert {"all", "background", "adjective"} <= {row["factor"] for row in weakness}
    others = tmp_path / "others"
    write(others, scenes[6:12])
    run("reinforce", str(record), "--out", str(out), "--evaluate", f"others={others}")
    figures = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {"others", "held-out originals", "held-out counterfactuals"} <= {row.get("split") for row in figures}
    assert len(run("classify", *paths, "--classifier", str(out))) == len(paths)


def test_the_classifiers_lean_on_backgrounds(models: LoadedModels) -> None:
    from pipeline.tiny.data import HELD_OUT_SEED
    from pipeline.tiny.world import BIAS, sample

    for name in models.profile.classifiers:
        accuracy = []
        for bias in (BIAS, 0.0):
            drawn = sample(120, HELD_OUT_SEED + 8, bias)
            predictions = models.classifier(name).predict([draw(scene) for scene in drawn])
            right = [
                prediction.top(1)[0][0] == scene.label for prediction, scene in zip(predictions, drawn, strict=True)
            ]
            accuracy.append(float(np.mean(right)))
        assert accuracy[0] > 0.85, name
        assert accuracy[0] - accuracy[1] > 0.08, name
