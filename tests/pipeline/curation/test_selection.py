"""Folders of pictures, splits and sets."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import workflow
from pipeline.curation.exporting import export_set
from pipeline.curation.selection import selection, split_by_photo
from pipeline.errors import DataError, StoreError
from pipeline.images import encode, open_image
from pipeline.importing.folders import load_folder
from pipeline.runtime.staging import new_folder
from pipeline.store.store import Store
from pipeline.tasks import studio
from pipeline.types import Decision
from tests.seams import LABELS, SETTINGS, SeamModels, folder_of, picture
from tests.stores import save


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Store]:
    """Three studied photos."""
    store = Store(tmp_path / "run")
    list(studio.stress(SeamModels(), folder_of(tmp_path / "pictures", each=1), store, SETTINGS))
    yield store
    store.close()


def verdict(store: Store, key: str, said: str) -> None:
    store.decide(Decision(id=f"{key}-{said}", counterfactual=key, verdict=said))


def test_every_key_is_in_exactly_one_part() -> None:
    keys = [f"photo {n % 50}" for n in range(200)]
    parts = split_by_photo(keys, (0.6, 0.2, 0.2), seed=0)
    assert [len(part) for part in parts] == [30, 10, 10]
    assert Counter(key for part in parts for key in part) == Counter(set(keys))


def test_the_split_hangs_on_the_seed_and_not_on_the_order() -> None:
    keys = [f"photo {n}" for n in range(50)]
    first = split_by_photo(keys, (0.5, 0.5), seed=0)
    assert split_by_photo(keys[::-1], (0.5, 0.5), seed=0) == first
    assert split_by_photo(keys, (0.5, 0.5), seed=1) != first


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_spread_over_the_parts(seed: int) -> None:
    labels = {f"photo {n}": f"label {n % 4}" for n in range(40)}
    parts = split_by_photo(list(labels), (0.6, 0.2, 0.2), seed, labels)
    for part, each in zip(parts, (6, 2, 2), strict=True):
        assert Counter(labels[key] for key in part) == {f"label {n}": each for n in range(4)}


@pytest.mark.parametrize("fractions", [(), (0.5,), (0.5, 0.6), (1.5, -0.5)])
def test_fractions_sum_to_one(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DataError):
        split_by_photo(["a"], fractions, 0)


def test_a_single_photo_goes_to_the_first_part() -> None:
    assert split_by_photo(["a"], (0.6, 0.2, 0.2), 0) == (("a",), (), ())


def test_selection_is_the_set_or_the_kept_or_the_undecided(run: Store) -> None:
    studies = [run.load_study(summary.key) for summary in run.studies()]
    best = [item.key for study in studies if study for item in workflow.chosen(study)]
    assert list(selection(run).labels) == best
    assert len(best) > 3
    verdict(run, best[0], "reject")
    verdict(run, best[1], "unsure")
    assert list(selection(run).labels) == best[1:]
    verdict(run, best[2], "keep")
    assert list(selection(run).labels) == [best[2]]
    run.freeze("set")
    verdict(run, best[3], "keep")
    assert list(selection(run, "set").labels) == [best[2]]
    assert len(selection(run).labels) == 2
    run.freeze("set")
    assert len(selection(run, "set").labels) == 2
    with pytest.raises(DataError, match="'none'"):
        selection(run, "none")


def test_what_is_learnt_is_what_the_edit_shows(run: Store) -> None:
    keys = list(selection(run).labels)
    first, second, third = keys[:3]
    photos = {entry.key: entry.label for entry in run.entries()}
    wrong = {key: next(label for label in LABELS if label != photos[key]) for key in keys}

    def say(key: str, analyst: str, said: str, **more: object) -> None:
        id_ = f"{key}-{analyst}-{said}-{len(run.log())}"
        run.decide(Decision(id=id_, counterfactual=key, verdict=said, analyst=analyst, **more))  # type: ignore[arg-type]

    say(first, "ada", "keep", label=wrong[first])
    say(second, "ada", "keep")
    say(third, "ada", "keep", label="unicorn")
    assert selection(run).labels == {first: wrong[first], second: photos[second], third: "unicorn"}
    run.freeze("set")
    known = selection(run, "set").known_to("colour", LABELS)
    assert known.labels == {first: wrong[first], second: photos[second]}
    assert known.left_out == ("1 pair is left out: the classifier colour does not know 'unicorn'.",)
    assert known.told == (
        "the set 'set', version 1, of 3 counterfactuals (1 pair is left out: the classifier colour does not know "
        "'unicorn')"
    )

    say(first, "bo", "keep")  # who sees in it what the photo shows
    for material in (selection(run), selection(run, "set")):
        assert set(material.labels) == {second, third}
        told = "1 pair is left out: analysts disagree; settle it under Conflicts on the Curate page."
        assert material.left_out == (told,)
    say(first, "cy", "keep", label=wrong[first], kind="resolve")
    assert selection(run).labels[first] == wrong[first]
    with pytest.raises(DataError, match=r"no counterfactual to learn from.*3 pairs are left out"):
        selection(run, "set").known_to("other", ("cat",))


def test_an_exported_set_reads_back(run: Store, tmp_path: Path) -> None:
    pairs = run.pairs(list(selection(run).labels))
    for _, edit in pairs:
        verdict(run, edit.key, "keep")
    folder = export_set(run, run.freeze("set"), tmp_path / "out")
    found = load_folder(folder).pictures
    assert Counter(picture.label for picture in found) == Counter(photo.label for photo, _ in pairs)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    kept = {edit.key[:32]: (photo, edit) for photo, edit in pairs}
    assert len(lines) == len(kept)
    for line in lines:
        photo, edit = kept[Path(line["file_name"]).stem]
        assert encode(open_image(folder / line["file_name"])) == encode(edit.image)
        assert (line["label"], line["photo"], line["tau"]) == (photo.label, photo.key, edit.tau)
        assert (line["edited_caption"], line["verdict"]) == (edit.perturbation.edited_caption, "keep")
    sums = json.loads((folder / "MANIFEST.json").read_text())
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert set(sums) == set(files) - {"MANIFEST.json"}
    assert "README.md" in sums
    assert all(hashlib.sha256(files[name].read_bytes()).hexdigest() == value for name, value in sums.items())
    assert not list(tmp_path.glob(".out*"))


def test_labels_that_are_no_folder_names_survive_the_export(tmp_path: Path) -> None:
    from dataclasses import replace

    store, models = Store(tmp_path / "run"), SeamModels()
    names = ["../../etc", "a/b", ".", "sled, dog", "CON|*?"]
    for seed, name in enumerate(names):
        study = list(workflow.explore(models, picture("red", seed), "red", SETTINGS))[-1]
        said = replace(study.photo.prediction, labels=(name, "green", "blue"))
        photo = replace(study.photo, label=name, prediction=said, classifier=f"judge {seed}")
        save(store, replace(study, photo=photo, control=said))
        verdict(store, study.counterfactuals[0].key, "keep")
    folder = export_set(store, store.freeze("set"), tmp_path / "deep" / "out")
    assert sorted(picture.label for picture in load_folder(folder).pictures) == sorted(names)
    assert all(picture.path.parent.parent == folder for picture in load_folder(folder).pictures)
    store.close()


def test_an_export_overwrites_nothing(run: Store, tmp_path: Path) -> None:
    verdict(run, next(iter(selection(run).labels)), "keep")
    frozen = run.freeze("set")
    (tmp_path / "out").mkdir()
    export_set(run, frozen, tmp_path / "out")
    with pytest.raises(DataError, match="not empty"):
        export_set(run, frozen, tmp_path / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="not empty"):
        export_set(run, frozen, tmp_path / "file")
    with pytest.raises(StoreError, match="cannot be written"):
        export_set(run, frozen, tmp_path / "file" / "out")


def test_a_folder_that_fails_half_way_is_absent(tmp_path: Path) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "out") as partial:
            (partial / "a").write_text("x")
            raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left"):
        fail()
    assert list(tmp_path.iterdir()) == []
