"""The command that reinforces a classifier, on the seams."""

from pathlib import Path

from tests.commands import rows
from tests.seams import picture


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
