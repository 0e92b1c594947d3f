"""What a store tells of photos: whole, without pictures, and only what is not put away."""

import shutil
from dataclasses import replace

import pytest

from pipeline.curation.catalogue import Catalogue
from pipeline.errors import DataError, StoreError
from pipeline.images import encode, key_of
from pipeline.store.store import Store
from pipeline.types import Prediction, Standing
from tests.stores import ON_BOTH, contents, keep, save, study_of, told

pytestmark = ON_BOTH


def test_records_tell_the_same_without_opening_a_picture(store: Store) -> None:
    studies = [study_of(), study_of(1, caption="a photo of something red"), study_of(2)]
    for study in (study_of(1, classifier="other"), *studies):
        save(store, study)
    shutil.rmtree(store.root / "media")
    found = {study.photo.key: study for study in store.records(studies[0].photo.classifier)}
    assert found.keys() == {study.photo.key for study in studies}
    for study in studies:
        assert told(found[study.photo.key]) == told(study)
    assert store.records("nobody") == ()


def test_records_keep_no_vectors_of_edits_but_where_the_label_is_unknown(store: Store) -> None:
    known, unknown = study_of(), study_of(1)
    unknown = replace(unknown, photo=replace(unknown.photo, label="zebra"))
    for study in (known, unknown):
        save(store, study)
    found = {study.photo.label: {type(edit.prediction) for edit in study.counterfactuals} for study in store.records()}
    assert found == {known.photo.label: {Standing}, "zebra": {Prediction}}


def test_records_follow_what_is_saved_and_put_away(store: Store) -> None:
    whole = study_of()
    save(store, replace(whole, counterfactuals=whole.counterfactuals[:2]))
    (few,) = store.records()
    assert store.records()[0] is few
    save(store, whole)
    (all_of_them,) = store.records()
    assert (len(few.counterfactuals), len(all_of_them.counterfactuals)) == (2, 9)
    store.put_away([whole.photo.key])
    assert store.records() == ()
    store.bring_back([whole.photo.key])
    assert told(store.records()[0]) == told(whole)


def test_one_photo_put_away_for_another_is_seen_by_every_copy(store: Store) -> None:
    first, second = study_of(0), study_of(1)
    for study in (first, second):
        save(store, study)
    catalogue, other = Catalogue(store), Store(store.root, store.address)
    store.put_away([first.photo.key])
    catalogue.refresh()
    assert [study.photo.key for study in store.records()] == [second.photo.key]
    other.put_away([second.photo.key])  # in another process, between two looks
    other.bring_back([first.photo.key])
    catalogue.refresh()
    assert [study.photo.key for study in store.records()] == [first.photo.key]
    assert (
        {entry.photo for entry in store.entries()} == {entry.photo for entry in catalogue.shown()} == {first.photo.key}
    )
    other.close()


def test_two_classifiers_judge_the_same_pictures(store: Store) -> None:
    first, second = study_of(), study_of(classifier="other")
    save(store, first)
    assert store.load_study(first.photo.key, "other") is None
    store.add_judgements(second.photo.judge, {first.photo.key: second.photo.prediction})
    loaded = store.load_study(first.photo.key, "other")
    assert loaded is not None
    assert (loaded.control, loaded.counterfactuals) == (None, ())  # what it has not judged is left out
    assert set(store.unjudged(first.photo.key, second.photo.judge)) == {
        key_of(image) for image in (first.reconstruction, *(item.image for item in first.counterfactuals)) if image
    }
    save(store, second)
    assert contents(store.load_study(first.photo.key)) == contents(second)
    assert contents(store.load_study(first.photo.key, "colour")) == contents(first)
    assert store.load_study(first.photo.key, "third") is None
    assert store.unjudged(first.photo.key, second.photo.judge) == ()


def test_studies_are_listed_newest_first(store: Store) -> None:
    for seed in range(3):
        save(store, study_of(seed))
    assert [study.name for study in store.studies()] == ["2.png", "1.png", "0.png"]
    save(store, study_of(0))
    assert [study.name for study in store.studies()] == ["0.png", "2.png", "1.png"]


def test_photos_put_away_are_out_of_every_list_until_they_are_back(store: Store) -> None:
    first, second = study_of(0), study_of(1)
    for number, study in enumerate((first, second)):
        save(store, study)
        keep(store, study.counterfactuals[0].key, number)
    mixed = store.freeze("both")
    own = store.freeze("one", {first.counterfactuals[0].key})
    catalogue, whole = Catalogue(store), (store.entries(), store.log(), store.kept(), store.sets())
    catalogue.refresh()
    store.put_away([first.photo.key])
    store.put_away([first.photo.key])
    catalogue.refresh()
    assert [study.key for study in store.studies()] == [second.photo.key]
    assert (
        {entry.photo for entry in store.entries()} == {entry.photo for entry in catalogue.shown()} == {second.photo.key}
    )
    assert [decision.counterfactual for decision in store.log()] == [second.counterfactuals[0].key]
    assert [decision.counterfactual for decision in catalogue.log] == [second.counterfactuals[0].key]
    assert [photo.key for photo, _ in store.kept()] == [second.photo.key]
    assert store.sets() == (mixed,)
    assert len(store.items(own)) == 1  # what leads there directly still does
    assert contents(store.load_study(first.photo.key)) == contents(first)
    store.bring_back([first.photo.key])
    catalogue.refresh()
    assert (store.entries(), store.log(), len(store.kept()), store.sets()) == (*whole[:2], len(whole[2]), whole[3])
    assert tuple(catalogue.log) == whole[1]
    store.put_away([first.photo.key])
    save(store, first)  # somebody works on it
    assert store.put_away_photos() == frozenset()
    assert store.log() == whole[1]


def test_file_is_the_picture(store: Store) -> None:
    study = study_of()
    save(store, study)
    item = study.counterfactuals[4]
    assert store.file(item.key).read_bytes() == encode(item.image)
    assert store.file(study.photo.key).read_bytes() == encode(study.photo.image)
    with pytest.raises(DataError):
        store.file("../../etc/passwd")


def test_a_damaged_picture_is_told(store: Store) -> None:
    study = study_of()
    save(store, study)
    store.file(study.counterfactuals[0].key).write_bytes(b"")
    with pytest.raises(StoreError, match="missing"):
        store.load_study(study.photo.key)
