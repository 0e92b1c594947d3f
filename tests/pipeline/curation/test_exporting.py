"""Sets on their way out, read again by the programs they are meant for."""

import csv
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import PIL.Image
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import workflow
from pipeline.curation.exporting import FORMS, archive, cell, export, find_set, title_of
from pipeline.curation.pairs import pairs
from pipeline.errors import DataError, SettingsError, StoreError
from pipeline.images import encode, open_image
from pipeline.importing.archives import open_source
from pipeline.importing.folders import load_folder
from pipeline.importing.texts import tidy
from pipeline.store.store import Store
from pipeline.tasks import studio
from pipeline.types import FOLDER, CounterfactualSet, Decision
from tests.seams import PROFILE, SETTINGS, SeamModels, folder_of, picture
from tests.stores import save


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Store]:
    """Three photos, two kept edits each, one of them judged by two analysts."""
    store = Store(tmp_path / "run")
    for study in studio.stress(SeamModels(), folder_of(tmp_path / "pictures", each=1), store, SETTINGS):
        for item in study.counterfactuals[:2]:
            store.decide(Decision(id=item.key, counterfactual=item.key, verdict="keep", analyst="ada", reason="=1+1"))
    store.decide(Decision(id="second", counterfactual=item.key, verdict="keep", analyst="bob"))
    yield store
    store.close()


@pytest.fixture
def frozen(run: Store) -> CounterfactualSet:
    return run.freeze("on the beach")


def test_datasets_loads_an_export_with_every_column(
    run: Store, frozen: CounterfactualSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    folder = export(run, frozen, tmp_path / "out")
    assert folder.name == "on-the-beach-8986b101-v001"
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))["train"]
    held = list(pairs(run, frozen))
    assert loaded.num_rows == len(held) == 6
    names = {"file_name": "image", "original_file_name": "original"}
    assert set(loaded.column_names) == {names.get(name, name) for name in held[0].row}
    rows = {row["key"]: row for row in loaded}
    for pair in held:
        row = rows[str(pair.row["key"])]
        assert encode(row["image"]) == pair.edit
        assert encode(row["original"]) == pair.original
        for name in ("label", "caption", "edited_caption", "factor", "tau", "scores", "verdict", "analysts", "tags"):
            assert row[name] == pair.row[name], name
        assert row["prediction_after"] == pair.row["prediction_after"]
        assert (row["seed"], row["models"]) == (SETTINGS.seed, pair.row["models"])
        assert {"role": "diffusion", "model": PROFILE.diffusion} in row["models"]
    assert [row for row in rows.values() if len(row["analysts"]) == 2]


def test_an_export_holds_what_the_edits_show(run: Store, frozen: CounterfactualSet, tmp_path: Path) -> None:
    first, second, third, *_ = (item for _, item in run.items(frozen))
    photos = {entry.key: entry.label for entry in run.entries()}
    before = archive(run, frozen).read_bytes()

    def say(key: str, analyst: str, **more: object) -> None:
        said = Decision(id=f"{key}-{analyst}-again", counterfactual=key, verdict="keep", analyst=analyst, **more)  # type: ignore[arg-type]
        run.decide(said)

    say(first.key, "ada", label="kite", tags=("night",))
    say(second.key, "ada", label="kite")
    say(second.key, "bob", label="boat")
    rows = {str(pair.row["key"]): pair.row for pair in pairs(run, frozen)}
    assert set(rows) == set(frozen.items) - {second.key}
    row = rows[first.key]
    assert (row["label"], row["corrected_label"], row["photo_label"]) == ("kite", "kite", photos[first.key])
    assert (row["tags"], row["file_name"]) == (["night"], f"kite/{first.key[:32]}.png")
    assert row["analysts"] == [{"analyst": "ada", "verdict": "keep", "label": "kite", "tags": ["night"]}]
    assert (rows[third.key]["label"], rows[third.key]["corrected_label"]) == (photos[third.key], "")

    folder = export(run, frozen, tmp_path / "out")
    assert [picture.label for picture in load_folder(folder).pictures].count("kite") == 1
    assert "1 pair is left out: analysts disagree" in (folder / "README.md").read_text()
    assert archive(run, frozen).read_bytes() != before, "the zip in the data folder is of what is said now"
    say(second.key, "cy", kind="resolve")
    assert {str(pair.row["key"]) for pair in pairs(run, frozen)} == set(frozen.items)


def test_nothing_is_exported_of_which_nobody_can_say_what_it_shows(run: Store, tmp_path: Path) -> None:
    frozen = run.freeze("one", [next(iter(run.decisions()))])
    run.decide(Decision(id="other", counterfactual=frozen.items[0], verdict="keep", analyst="cy", label="boat"))
    with pytest.raises(DataError, match=r"Nothing of this set.*analysts disagree"):
        export(run, frozen, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_datasets_loads_the_parquet_file_with_pictures(run: Store, frozen: CounterfactualSet, tmp_path: Path) -> None:
    import datasets

    file = export(run, frozen, tmp_path / "out", "parquet")
    loaded = datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "cache"))
    loaded = loaded.cast_column("image", datasets.Image()).cast_column("original", datasets.Image())
    held = list(pairs(run, frozen))
    assert [encode(row["image"]) for row in loaded] == [pair.edit for pair in held]
    assert [row["tau"] for row in loaded] == [pair.row["tau"] for pair in held]


def test_a_webdataset_holds_samples_one_after_the_other(run: Store, frozen: CounterfactualSet, tmp_path: Path) -> None:
    held = list(pairs(run, frozen))
    with tarfile.open(export(run, frozen, tmp_path / "out", "webdataset")) as tar:
        names = tar.getnames()
        assert [name.partition(".")[2] for name in names] == ["png", "original.png", "json"] * len(held)
        for number, pair in enumerate(held):
            edit, original, words = (tar.extractfile(name) for name in names[3 * number : 3 * number + 3])
            assert edit
            assert original
            assert words
            assert (edit.read(), original.read()) == (pair.edit, pair.original)
            assert json.load(words) == pair.row


def test_a_csv_runs_no_formula(run: Store, frozen: CounterfactualSet, tmp_path: Path) -> None:
    text = export(run, frozen, tmp_path / "out", "csv").read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["reason"] for row in rows} >= {"'=1+1"}
    assert [float(row["tau"]) for row in rows] == [pair.row["tau"] for pair in pairs(run, frozen)]


@pytest.mark.parametrize("text", ["=1", " \u2003@x", "\u200b-1", "＝1", "\t1", "\r1", "|calc", "+1", "\ufeff=1"])
def test_cells_that_would_be_run_are_quoted(text: str) -> None:
    assert cell(text) == f"'{text}"


def test_plain_cells_and_numbers_stay() -> None:
    assert (cell("a sled - red"), cell(-0.5), cell([1]), cell("")) == ("a sled - red", "-0.5", "[1]", "")


def test_the_zip_holds_what_the_manifest_says(run: Store, frozen: CounterfactualSet, tmp_path: Path) -> None:
    file = archive(run, frozen)
    with zipfile.ZipFile(file) as zipped:
        zipped.extractall(tmp_path / "zip")
    folder = tmp_path / "zip" / title_of(frozen)
    sums = json.loads((folder / "MANIFEST.json").read_text())
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == set(sums) | {"MANIFEST.json"}
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == value for name, value in sums.items())
    assert len(load_folder(folder).pictures) == len(frozen.items)
    assert archive(run, frozen) == file


def test_no_two_sets_have_one_file() -> None:
    names = ("a b", "a-b", "a/b", "a_b", "../a-b", "a" * 100, "a" * 101, "..", "/", "é", "e\u0301")
    titles = [title_of(CounterfactualSet(name=name, version=1, items=())) for name in names]
    assert len(set(titles)) == len(names)
    assert titles[1] == "a-b-v001"
    for title in titles:
        assert Path(title).name == title
        assert not title.startswith(".")


def test_a_set_is_found_by_name_and_version(run: Store, frozen: CounterfactualSet) -> None:
    run.decide(Decision(id="x", counterfactual=frozen.items[0], verdict="reject", analyst="ada"))
    second = run.freeze("on the beach")
    assert find_set(run, "on the beach") == second
    assert find_set(run, "on the beach", 1) == frozen
    with pytest.raises(DataError, match="on the beach v2, on the beach v1"):
        find_set(run, "on the beach", 3)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_overwritten_and_nothing_half_written_stays(
    run: Store, frozen: CounterfactualSet, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = export(run, frozen, tmp_path / "out", form)
    with pytest.raises(DataError, match="exists already"):
        export(run, frozen, tmp_path / "out", form)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [made.name]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for writer in (Path, "write_bytes"), (tarfile.TarFile, "addfile"), (csv, "writer"):
        monkeypatch.setattr(*writer, full)
    monkeypatch.setattr("pandas.DataFrame.to_parquet", full)
    with pytest.raises(StoreError, match="No space left"):
        export(run, frozen, tmp_path / "other", form)
    assert list((tmp_path / "other").iterdir()) == []


def test_an_unknown_format_is_told(run: Store, frozen: CounterfactualSet, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="imagefolder, parquet, webdataset, csv"):
        export(run, frozen, tmp_path, "xlsx")


def test_a_class_called_originals_is_no_folder_of_originals(tmp_path: Path) -> None:
    from dataclasses import replace

    store = Store(tmp_path / "run")
    picture = PIL.Image.new("RGB", (16, 16), (220, 40, 40))
    study = list(workflow.explore(SeamModels(), picture, "red", SETTINGS))[-1]
    said = replace(study.photo.prediction, labels=("originals", "green", "blue"))
    photo = replace(study.photo, label="originals", prediction=said)
    save(store, replace(study, photo=photo, control=said))
    store.decide(Decision(id="1", counterfactual=study.counterfactuals[0].key, verdict="keep"))
    folder = export(store, store.freeze("set"), tmp_path / "out")
    assert [picture.label for picture in load_folder(folder).pictures] == ["originals"]
    assert not list((folder / "originals").rglob(f"{study.counterfactuals[0].key[:32]}.png"))
    store.close()


TYPED = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
NAMED = TYPED.map(tidy).filter(bool)


@settings(max_examples=25, deadline=None)
@given(label=NAMED, caption=NAMED, words=NAMED, reason=TYPED, note=TYPED)
@example(label="=SUM(A1)", caption="'=x", words="on a sandy \u2028 beach", reason='"a";b', note="\ufeffx")
@example(label="-5", caption="''+1", words="a, b\tc", reason="\\", note="''")
@example(label="a", caption="b", words="c", reason=" ", note=" x ")
@pytest.mark.slow
def test_whatever_is_exported_is_read_back(label: str, caption: str, words: str, reason: str, note: str) -> None:
    with TemporaryDirectory() as place, closing(Store(Path(place) / "run")) as store:
        *_, study = workflow.explore(SeamModels(), picture("red"), "red", SETTINGS)
        said = replace(study.photo.prediction, labels=(label, "green\0", "blue\0"))
        item = study.counterfactuals[0]
        item = replace(
            item,
            prediction=replace(item.prediction, labels=said.labels),
            perturbation=replace(item.perturbation, caption=caption, edited_caption=words),
            settings={"steps": 3, "words": words},
        )
        photo = replace(study.photo, label=label, prediction=said, name=note, label_source=FOLDER)
        save(
            store, replace(study, photo=photo, control=said, caption=caption, perturbations=(), counterfactuals=(item,))
        )
        store.decide(Decision(id="1", counterfactual=item.key, verdict="keep", analyst="ada", reason=reason))
        frozen = store.freeze("set")
        (row,) = (pair.row for pair in pairs(store, frozen))
        for form in FORMS:
            made = export(store, frozen, Path(place) / form, form)
            if form == "csv":  # which names the pictures of the folder and holds none
                made = made.rename(Path(place) / "imagefolder" / title_of(frozen) / made.name)
            (read,) = open_source(made).pictures
            assert encode(open_image(read.path)) == encode(item.image)
            assert read.label == tidy(label)
            for name in ("caption", "edited_caption", "verdict", "reason", "photo_name", "settings", "tau", "scores"):
                told = read.cells[name]
                nested = form == "csv" and not isinstance(row[name], str)
                assert (json.loads(str(told)) if nested else told) == row[name], (form, name)
