"""The demo project: written, brought into a data folder, put away and brought back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.models.loader import LoadedModels
from pipeline.reinforcement.runs import read_run, runs
from pipeline.store.store import Store
from pipeline.tasks import demo
from pipeline.tasks.provenance import provenance
from tests.stores import contents, keep, save, study_of


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A demo of two photos, one edit kept and frozen."""
    made, folder = Store(tmp_path / "made"), tmp_path / "demo"
    for seed in range(2):
        save(made, study_of(seed))
    keep(made, study_of(1).counterfactuals[4].key, 0)
    made.freeze("demo")
    assert demo.write(made, folder) == 2
    made.close()
    return folder


@pytest.fixture
def shipped(models: LoadedModels) -> Path:
    return Path(models.profile.demo)


def test_it_arrives_as_it_was_made(store: Store, written: Path) -> None:
    assert not demo.is_shown(store)
    for _ in range(2):
        demo.bring(store, written)
    assert demo.is_shown(store)
    for seed in range(2):
        assert contents(store.load_study(study_of(seed).photo.key)) == contents(study_of(seed))
    (decision,) = store.log()
    assert (decision.id, decision.verdict) == ("id-0", "keep")
    assert [(frozen.name, frozen.version, frozen.items) for frozen in store.sets()] == [
        ("demo", 1, (decision.counterfactual,))
    ]


def test_a_demo_that_was_cut_off_is_completed(store: Store, written: Path) -> None:
    save(store, study_of(0))
    demo.bring(store, written)
    assert len(store.studies()) == 2
    assert len(store.sets()) == 1


def test_starting_empty_leaves_ones_own_work_and_can_be_taken_back(store: Store, written: Path) -> None:
    demo.bring(store, written)
    save(store, study_of(7))
    keep(store, study_of(0).counterfactuals[0].key, 1, "reject")
    demo.put_away(store, store.root / "reinforced")
    assert not demo.is_shown(store)
    assert [study.key for study in store.studies()] == [study_of(7).photo.key]
    assert (store.log(), store.sets()) == ((), ())
    demo.bring(store, written)
    assert len(store.studies()) == 3
    assert [decision.verdict for decision in store.log()] == ["keep", "reject"]


def test_only_a_folder_that_holds_nothing_is_new(tmp_path: Path) -> None:
    assert demo.is_new(tmp_path / "data")
    assert demo.is_new(tmp_path)
    Store(tmp_path / "data").close()
    assert not demo.is_new(tmp_path / "data")
    assert not demo.is_new(tmp_path)


def test_a_damaged_or_missing_demo_is_told(store: Store, written: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no demo"):
        demo.bring(store, tmp_path / "none")
    first, second = sorted((written / demo.PICTURES).glob("*.png"))[:2]
    for file in (written / demo.PICTURES).glob("*.png"):
        if file != first:
            shutil.copy(first, file)
    with pytest.raises(DataError, match=r"damaged at .*fetch it again, or start with --empty"):
        demo.bring(store, written)
    with pytest.raises(DataError, match="not empty"):
        demo.write(store, written)
    assert second.is_file()


def test_the_shipped_demo_fills_every_page(store: Store, models: LoadedModels, shipped: Path) -> None:
    demo.bring(store, shipped)
    demo.bring_run(models, store.root / "reinforced", shipped)
    entries, verdicts = store.entries(), [decision.verdict for decision in store.log()]
    assert len(store.studies()) >= 24
    assert {entry.factor for entry in entries} == {"background", "subject", "adjective", "object", "domain"}
    assert any(entry.flip and entry.passes for entry in entries)
    assert min(verdicts.count("keep"), verdicts.count("reject")) >= 5
    decided = {decision.counterfactual for decision in store.log()}
    assert {entry.photo for entry in entries if entry.key not in decided} - {
        entry.photo for entry in entries if entry.key in decided
    }, "nothing waits for a decision"
    (folder,) = runs(store.root / "reinforced")
    run = read_run(folder)
    assert (run.alpha, run.looks, run.earlier) == (run.chosen, (), False), "its test sets wait to be shown"
    assert all(answers.ranks and answers.photos for answers in (*run.answers.values(), *run.validation.values()))
    assert models.classifier(models.admit(str(folder))).labels == models.classifier().labels
    demo.put_away(store, store.root / "reinforced")
    assert runs(store.root / "reinforced") == ()
    demo.bring_run(models, store.root / "reinforced", shipped)
    assert runs(store.root / "reinforced") == (folder,)
    study = store.load_study(entries[0].photo)
    assert study is not None
    assert provenance(models.axis, study, study.counterfactuals[0], "picture.png") is not None
    files = [path for path in shipped.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_000_000
