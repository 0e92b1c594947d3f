"""One rule for labels, and the doors that follow it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gradio as gr
import pytest
from gradio.processing_utils import save_pil_to_cache
from gradio.utils import get_upload_folder
from timm.data.imagenet_info import ImageNetInfo

from explorer import api
from explorer.address import place_of
from explorer.desk import Desk
from pipeline import workflow
from pipeline.classifiers.families import _labels
from pipeline.classifiers.labels import distinct_labels, find_label, match_labels, refuse_merged
from pipeline.errors import DataError, InputError, LabelError
from pipeline.importing.folders import LabelledImage
from pipeline.importing.testsets import load_test_set
from pipeline.store.store import Store
from pipeline.tasks import studio
from tests.seams import SETTINGS, SeamModels, picture

INFO = ImageNetInfo("imagenet-1k")
SYNSETS = tuple(INFO.label_names())
LEMMAS = tuple(INFO.label_name_to_description(key) for key in SYNSETS)
IMAGENETS = {
    "timm": _labels({}, 1000, "x"),
    "synsets": SYNSETS,
    "first lemma": distinct_labels([text.partition(",")[0] for text in LEMMAS]),
}


@pytest.mark.parametrize(
    ("text", "label"),
    [("sled", "sled"), ("Sled", "sled"), (" SLED ", "sled"), ("hot dog", "hot-dog"), ("Hot_Dog", "hot-dog"),
     ("dog sled", "dogsled, dog sled, dog sleigh"), ("cafe\u0301", "caf\u00e9"), ("STRASSE", "stra\u00dfe")],
)  # fmt: skip
def test_a_text_finds_the_classifiers_own_name(text: str, label: str) -> None:
    labels = ("sled", "hot-dog", "dogsled, dog sled, dog sleigh", "caf\u00e9", "stra\u00dfe")
    assert find_label(text, labels) == label


def test_none_and_several_are_refused_by_name() -> None:
    with pytest.raises(
        LabelError, match=r"'boat' fits no class of the classifier, such as ski, crane \(1\), crane \(2\)"
    ):
        find_label("boat", distinct_labels(["ski", "crane", "crane"]))
    with pytest.raises(LabelError, match=r"fits 2 classes of the classifier, 'crane \(1\)', 'crane \(2\)'; use one"):
        find_label("crane", distinct_labels(["ski", "crane", "crane"]))
    with pytest.raises(DataError, match="'Sled' and 'sled' are both the classifier's 'sled'; call them alike"):
        refuse_merged(["sled", "", "Sled", "boat"], ("sled", "ski"))


@pytest.mark.parametrize("kind", IMAGENETS)
def test_classifiers_of_imagenet_answer_to_synsets_and_lemmas(kind: str) -> None:
    labels = IMAGENETS[kind]
    assert len(set(labels)) == 1000
    for place, (key, lemmas) in enumerate(zip(SYNSETS, LEMMAS, strict=True)):
        assert find_label(key, labels) == labels[place]
        for lemma in lemmas.split(","):
            several = sum(
                lemma.strip().lower() in [part.strip().lower() for part in text.split(",")] for text in LEMMAS
            )
            if several == 1:
                assert find_label(lemma, labels) == labels[place], lemma
    assert find_label("n04228054", labels) == labels[SYNSETS.index("n04228054")]
    with pytest.raises(LabelError, match="fits 2 classes"):
        find_label("crane", labels)


def test_synsets_are_known_to_a_classifier_of_some_of_imagenets_classes_alone() -> None:
    assert find_label("n04228054", ("ski", "patio")) == "ski"
    assert find_label("n02109961", ("Eskimo dog", "ski")) == "Eskimo dog"
    thousand = tuple(f"class {place}" for place in range(1000))
    with pytest.raises(LabelError, match="fits no class"):
        find_label("n04228054", thousand)


@pytest.mark.parametrize(
    ("labels", "keys", "right"),
    [
        (["a", "crane", "crane"], (), ("a", "crane (1)", "crane (2)")),
        (["a", "crane", "crane"], ("n1", "n2", "n3"), ("a", "crane (n2)", "crane (n3)")),
        (["a", "crane", "crane"], ("a", "crane", "crane"), ("a", "crane (1)", "crane (2)")),
    ],
)
def test_labels_that_occur_twice_are_numbered(labels: list[str], keys: tuple[str, ...], right: tuple[str, ...]) -> None:
    assert distinct_labels(labels, keys) == right


def _stress(folder: Path, store: Store, label: str) -> str:
    (folder / label).mkdir()
    picture("red", 1).save(folder / label / "1.png")
    failures: list[object] = []
    found = [
        study.photo.label for study in studio.stress(SeamModels(), folder, store, SETTINGS, failed=failures.append)
    ]
    return found[0] if found else str(failures)


def _taken_in(folder: Path, store: Store, label: str) -> str:
    return studio.take_in(SeamModels(), store, picture("red", 1), label).photo.label


def _said(folder: Path, store: Store, label: str) -> str:
    study = studio.take_in(SeamModels(), store, picture("red", 1))
    studio.say_label(SeamModels(), store, study.photo.key, label, SETTINGS, analyst="ada")
    return studio.require_study(store, study.photo.key).photo.label


def _edited(folder: Path, store: Store, label: str) -> str:
    return workflow.open_photo(SeamModels(), picture("red", 1), label).photo.label


def _classified(folder: Path, store: Store, label: str) -> str:
    upload = {"path": save_pil_to_cache(picture("red", 1), get_upload_folder())}
    desk = Desk(models=SeamModels(), store=store)
    api.classify(desk, upload, label=label)  # type: ignore[arg-type]
    (known,) = store.studies()
    with pytest.raises(InputError, match="somebody said that it shows 'red', which stays"):
        api.classify(desk, upload, label="blue")  # type: ignore[arg-type]
    assert [study.label for study in store.studies()] == [known.label]
    api.classify(desk, upload)  # type: ignore[arg-type]
    return known.label


def _perturbed(folder: Path, store: Store, label: str) -> str:
    desk, study = Desk(models=SeamModels(), store=store), studio.take_in(SeamModels(), store, picture("red", 1))
    store.set_caption(study.photo.key, "a wall on white")
    api.perturb(desk, place_of(study), ["object"], gr.Request(username="ada"), label=label)
    return studio.require_study(store, study.photo.key).photo.label


def _evaluated(folder: Path, store: Store, label: str) -> str:
    picture("red", 1).save(folder / "1.png")
    (folder / "set.csv").write_text(f"file,label\n1.png,{label}\n")
    return match_labels(load_test_set(f"ood={folder / 'set.csv'}").pictures, SeamModels().classifier().labels)[0].label


@pytest.mark.parametrize("label", ["red", "Red", " RED ", "r_e-d"])
@pytest.mark.parametrize("door", [_stress, _taken_in, _said, _edited, _classified, _perturbed, _evaluated])
def test_every_door_follows_the_rule(
    door: Callable[[Path, Store, str], str], label: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = Store(tmp_path / "data")
    (tmp_path / "in").mkdir()
    assert door(tmp_path / "in", store, label) == "red"
    store.close()


def test_folders_that_are_one_class_are_refused_before_anything_is_studied(tmp_path: Path) -> None:
    for seed, name in enumerate(("red", "Red")):
        (tmp_path / "in" / name).mkdir(parents=True)
        picture("red", seed).save(tmp_path / "in" / name / "1.png")
    with pytest.raises(DataError, match="'Red' and 'red' are both the classifier's 'red'"):
        list(studio.stress(SeamModels(), tmp_path / "in", Store(tmp_path / "data"), SETTINGS))
    pictures = [LabelledImage(path=Path("a"), label="red"), LabelledImage(path=Path("b"), label="Red")]
    with pytest.raises(DataError, match="call them alike"):
        match_labels(pictures, ("red", "blue"))


def test_what_a_person_said_counts_in_a_studied_folder_and_the_difference_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, folder = Store(tmp_path / "data"), tmp_path / "in"
    (folder / "red").mkdir(parents=True)
    picture("red", 1).save(folder / "red" / "1.png")
    opened = workflow.open_photo(SeamModels(), picture("red", 1))
    store.add_photo(opened.photo)
    store.set_label(opened.photo.key, "blue", analyst="ada")
    (study,) = studio.stress(SeamModels(), folder, store, SETTINGS)
    assert study.photo.label == "blue"
    assert "red/1.png is 'red' in its folder; 'blue' counts, which was said before" in caplog.text
    store.close()
