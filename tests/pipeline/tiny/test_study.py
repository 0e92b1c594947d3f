"""The study of the editor's settings: paired differences, honest n, and a run that goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.editing import inversion
from pipeline.settings import Settings
from pipeline.tiny import study
from pipeline.tiny.__main__ import MODELS
from pipeline.tiny.study import DEFAULT, FIGURES, EditOutcome, SceneRow, difference, mean, plan, report
from pipeline.tiny.world import VALUES


def outcome(factor: str = "object", tau: float = 0.6, *, chosen: bool = True, arrived: bool = True) -> EditOutcome:
    return EditOutcome(
        factor=factor, tau=tau, chosen=chosen, passes=True, arrived=arrived, stayed=1.0, label_kept=True, psnr=20.0,
        directional_similarity=0.9,
    )  # fmt: skip


def row(scene: int, variant: str, *edits: EditOutcome) -> SceneRow:
    return SceneRow(scene=scene, variant=variant, seconds=1.0, reconstruction=26.0, edits=list(edits))


def test_every_scene_has_the_default_and_the_changes_take_turns() -> None:
    pairs = list(plan(26, 1))
    assert pairs.count((5, DEFAULT)) == 1
    changed = [variant for _, variant in pairs if variant != DEFAULT]
    others = set(study.VARIANTS) - {DEFAULT, study.PUBLISHED}
    assert {changed.count(name) for name in others} == {2}
    assert [scene for scene, variant in plan(50, 1) if variant == study.PUBLISHED] == list(range(40))
    assert set(pairs) < set(plan(26, 2))


def test_null_text_as_published_is_the_published_one() -> None:
    """The settings without a profile are the published ones."""
    published, known = study.VARIANTS[study.PUBLISHED], Settings()
    assert published["inversion"] == "null-text"
    assert published["null_text_learning_rate"] == known.null_text_learning_rate == 0.01
    assert published["null_text_min_gain"] == known.null_text_min_gain == 0.0
    assert inversion.INNER_STEPS == 10
    assert study.VARIANTS["inversion: null-text, quick"]["null_text_learning_rate"] == 0.1


def test_a_difference_compares_the_same_scenes_and_factors_only() -> None:
    rows = [
        row(0, DEFAULT, outcome(arrived=True), outcome(tau=0.8, chosen=False, arrived=False)),
        row(1, DEFAULT, outcome(arrived=True)),
        row(2, DEFAULT, outcome(arrived=False)),  # has no partner
        row(0, "guidance 1", outcome(arrived=False)),
        row(1, "guidance 1", outcome(arrived=True)),
    ]
    found = difference(rows, "guidance 1", FIGURES["arrives, %"])
    assert (found.n, found.value) == (2, -50.0)
    assert mean(rows[:3], FIGURES["arrives, %"], lambda item: item["tau"] == 0.6).value == pytest.approx(200 / 3)


def test_the_report_tells_n_and_leaves_what_was_not_run_empty() -> None:
    rows = [
        row(number, DEFAULT, *(outcome(factor, arrived=number > 0) for factor in VALUES)) for number in range(4)
    ] + [row(0, "guidance 2", *(outcome(factor) for factor in VALUES))]
    text = report(rows, "a command")
    assert "4 scenes" in text
    assert "| chosen by the scores | 20 | 75 (" in text
    assert "| guidance 2 | 5 | +100.00 (" in text
    assert "| guidance 5 | 0 |  |" in text
    assert [line.y for line in study.figure(rows).data][:3] == [(75.0,), (100.0,), (20.0,)]


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick: dict[str, object] = {"num_inference_steps": 4, "taus": (0.4, 0.8)}
    few: dict[str, object] = {"num_inference_steps": 4, "guidance_scale": 1.0}
    monkeypatch.setattr(study, "VARIANTS", {DEFAULT: quick, "guidance 1": few})
    first = study.run(MODELS, tmp_path, 1, 1, (DEFAULT,))
    assert [(item["scene"], item["variant"]) for item in first] == [(0, DEFAULT)]
    both = study.run(MODELS, tmp_path, 1, 1, ())
    assert both[0] == first[0]
    assert [(item["scene"], item["variant"]) for item in both] == [(0, DEFAULT), (0, "guidance 1")]
    for item, taus in zip(both, ((0.4, 0.8), (study.TAU,)), strict=True):
        assert [(edit["factor"], edit["tau"]) for edit in item["edits"]] == [(f, t) for f in VALUES for t in taus]
        for factor in VALUES:
            assert sum(edit["chosen"] for edit in item["edits"] if edit["factor"] == factor) == 1
