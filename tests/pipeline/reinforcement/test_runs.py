"""Runs on the disk: versions, looks at the test sets, and what the card and the metrics tell of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import DataError, SettingsError, StoreError
from pipeline.reinforcement.cards import card, choice, metrics
from pipeline.reinforcement.figures import figures
from pipeline.reinforcement.runs import add_look, read_run, write_run
from pipeline.reinforcement.saving import look_at, looked
from pipeline.types import Look, Reinforcement
from tests.runs import EDITS, run_of, split_of

FIRST = Path(__file__).resolve().parents[2] / "data" / "runs" / "v1"  # written by the code before version 2
ANSWERS = {"ood": split_of(photos=12, wrong={0, 1}), EDITS: split_of(photos=8, edits=3, wrong={2})}
ADA, BOB = Look(alpha=1.0, analyst="ada", time=86400.0), Look(alpha=0.0, analyst="bob", time=2 * 86400.0)


@pytest.fixture
def made() -> Reinforcement:
    return run_of(ANSWERS, {"validation counterfactuals": split_of(photos=6, wrong={1})})


@pytest.fixture
def folder(made: Reinforcement, tmp_path: Path) -> Path:
    """A run as a job leaves it."""
    write_run(made, tmp_path)
    (tmp_path / "README.md").write_text(card(made))
    return tmp_path


def test_a_run_of_the_first_version_opens_without_what_it_did_not_keep(tmp_path: Path) -> None:
    made = read_run(FIRST)
    assert (made.alpha, made.earlier, made.chosen, made.validation) == (0.3, True, None, {})
    found = {(figure.split, figure.k): figure for figure in figures(made, made.answers) if not figure.label}
    assert {split for split, _ in found} == {"original", "held-out originals", EDITS}
    assert {k for _, k in found} == {1}
    assert (found["original", 1].n, found["original", 1].photos) == (18, 18)
    assert (found[EDITS, 1].n, found[EDITS, 1].photos, found[EDITS, 1].tested) == (6, 0, False)
    stored = json.loads((FIRST / "run.json").read_text())
    assert {split: values.after.value for (split, _), values in found.items()} == {
        name: values["value"] for name, values in stored["after"].items()
    }
    assert "showed the test sets at every alpha" in card(made)
    write_run(made, tmp_path)
    again = read_run(tmp_path)
    assert (again.answers, again.earlier) == (made.answers, True)


def test_a_run_of_a_later_version_is_refused(folder: Path) -> None:
    row = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**row, "version": 3}))
    with pytest.raises(DataError, match="of another version"):
        read_run(folder)


def test_the_first_look_fixes_alpha_and_a_later_one_is_a_change(made: Reinforcement) -> None:
    fixed = looked(made, ADA)
    assert (fixed.alpha, fixed.looks) == (1.0, (ADA,))
    assert looked(fixed, replace(ADA, analyst="bob")).looks == (ADA,), "the same alpha again is no change"
    moved = looked(fixed, BOB)
    assert (moved.alpha, moved.looks) == (0.0, (ADA, BOB))
    assert looked(moved, ADA).looks == (ADA, BOB, ADA), "going back is a change as well"
    with pytest.raises(SettingsError):
        looked(made, replace(ADA, alpha=0.5))


def test_looks_are_in_the_folder_and_on_the_card_whoever_opens_it(folder: Path) -> None:
    assert "The test sets have not been shown" in (folder / "README.md").read_text()
    assert look_at(folder, ADA).looks == (ADA,)
    text = (folder / "README.md").read_text()
    assert "- The test sets were first shown at alpha 1, by ada on 1970-01-02." in text
    assert "| ood | Acc@1 | 12 | 12 |" in text
    assert look_at(folder, BOB).alpha == 0.0
    assert read_run(folder).looks == (ADA, BOB)
    text = (folder / "README.md").read_text()
    assert "alpha was changed from 1 to 0 after the test figures were seen, by bob on 1970-01-03" in text
    (folder / "promoted").mkdir()
    write_run(read_run(folder), folder / "promoted")  # what is made of it keeps them
    assert read_run(folder / "promoted").looks == (ADA, BOB)


def test_a_look_that_cannot_be_noted_shows_nothing(folder: Path) -> None:
    (folder / "looks.jsonl").mkdir()
    with pytest.raises(StoreError, match="cannot be noted"):
        look_at(folder, ADA)


def test_a_folder_that_takes_no_file_is_an_error_of_the_disk(made: Reinforcement, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="such file"):
        write_run(made, tmp_path / "gone")


def test_half_a_line_hides_no_look(folder: Path) -> None:
    """A full disk cut the line off, so nobody saw anything then; the next look is whole."""
    (folder / "looks.jsonl").write_text('\n{"alpha": 1.0, "ana')
    assert read_run(folder).looks == ()
    add_look(folder, ADA)
    assert read_run(folder).looks == (ADA,)


def test_the_card_tells_where_alpha_comes_from(made: Reinforcement) -> None:
    assert "alpha = 1 was chosen on validation" in choice(made)[0]
    assert "came with the recipe" in choice(replace(made, given=0.0, alpha=0.0))[0]
    assert "on validation 1 is best" in choice(replace(made, given=0.0, alpha=0.0))[0]


def test_card_and_metrics_tell_of_test_sets_what_was_seen_and_no_more(made: Reinforcement) -> None:
    assert {row["split"] for row in metrics(made)} == {"validation counterfactuals"}
    assert "| ood |" not in card(made)
    seen = looked(made, ADA)
    rows = [row for row in metrics(seen) if row["split"] == "ood"]
    assert {(row["metric"], row["alpha"]) for row in rows} == {
        ("acc@1", 0.0), ("acc@1", 1.0), ("acc@5", 0.0), ("acc@5", 1.0),
    }  # fmt: skip
    assert "| ood | Acc@5 |" in card(seen)
    assert "| ood | tent | Acc@1 | 6 | 6 |" in card(seen), "classes are told split by split"


def test_the_card_counts_photos_and_corrects_for_all_that_it_tells(made: Reinforcement) -> None:
    text = card(looked(made, ADA))
    assert f"| {EDITS} | Acc@1 | 24 | 8 |" in text
    assert "after Holm's correction over all 6 changes" in text  # two splits, Acc@1 and Acc@5, and two classes of ood
