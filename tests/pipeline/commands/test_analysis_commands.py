"""The commands on a stress test, on the seams."""

import json
from pathlib import Path

import pytest

from pipeline.store.store import Store
from tests.commands import call, refusal, rows
from tests.seams import SeamModels, picture


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


def test_weakness_sets_a_second_classifier_beside_the_first(run: Path) -> None:
    found = rows("weakness", run, "--compare", "other")
    first = found[0]
    assert (first["first"], first["second"], first["label"], first["factor"]) == ("colour", "other", "all", "all")
    assert first["photos"] == 15
    assert set(first["delta_acc1"]) == {"n", "photos", "value", "low", "high", "p", "p_adjusted"}  # type: ignore[call-overload]
    before, after = (share["value"] for share in first["edited_acc1"])  # type: ignore[attr-defined]
    assert first["delta_acc1"]["value"] == pytest.approx(after - before)  # type: ignore[index]
    assert "difference" in call("weakness", run, "--compare", "other").stdout
    assert {row["delta_acc1"]["value"] for row in rows("weakness", run, "--compare", "colour")} == {0}  # type: ignore[index]


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
