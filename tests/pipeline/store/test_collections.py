"""Collections keep photos apart: what is put away as a whole, what comes back, and how they are named."""

import pytest

from pipeline.curation.catalogue import Catalogue
from pipeline.errors import ConflictError, DataError
from pipeline.store.schema import DEMO, EARLIER, SINGLE, STUDIED, UPLOAD
from pipeline.store.store import Store
from pipeline.tasks import studio
from pipeline.types import Study
from tests.seams import SeamModels, picture
from tests.stores import ON_BOTH, keep, study_of

pytestmark = ON_BOTH


def three(store: Store) -> tuple[list[Study], int, int]:
    """Three studies: the first two in a first collection, the last two in a second one."""
    studies = [study_of(seed) for seed in range(3)]
    first, second = store.open_collection(UPLOAD, "one.zip"), store.open_collection(STUDIED, "beach")
    studio.save_study(store, studies[0], first)
    studio.save_study(store, studies[1], first)
    store.collect(second, [studies[1].photo.key])
    studio.save_study(store, studies[2], second)
    return studies, first, second


def shown(store: Store) -> set[str]:
    """The photos that every list holds, which have to agree."""
    keys = {summary.key for summary in store.studies()}
    assert keys == {entry.photo for entry in store.entries()} == set(store.photos_in(()))
    assert keys == {record.photo.key for record in store.records()}
    return keys


def test_a_photo_is_shown_as_long_as_one_of_its_collections_is(store: Store) -> None:
    studies, first, second = three(store)
    keys = [study.photo.key for study in studies]
    assert shown(store) == set(keys)
    store.put_collection_away(first)
    assert shown(store) == set(keys[1:])
    store.put_collection_away(second)
    assert shown(store) == set()
    assert store.put_away_photos() == set(keys)
    store.bring_collection_back(first)
    assert shown(store) == set(keys[:2])
    assert store.collections_of(keys[1]) == {first, second}
    assert store.photos_in([second]) == {keys[1]}  # the last one is in no collection that is shown


def test_decisions_and_sets_go_and_come_with_their_collection(store: Store) -> None:
    studies, first, _ = three(store)
    keep(store, studies[0].counterfactuals[0].key, 1)
    frozen, catalogue = store.freeze("kept"), Catalogue(store)
    store.put_collection_away(first)
    catalogue.refresh()
    assert (store.log(), store.kept(), store.sets(), list(catalogue.log)) == ((), (), (), [])
    store.bring_collection_back(first)
    catalogue.refresh()
    assert store.sets() == (frozen,)
    assert [decision.counterfactual for decision in catalogue.log] == [studies[0].counterfactuals[0].key]


def test_what_was_put_away_alone_stays_so_when_its_collection_is_back(store: Store) -> None:
    studies, first, _ = three(store)
    store.put_away([studies[0].photo.key])
    store.put_collection_away(first)
    store.bring_collection_back(first)
    assert studies[0].photo.key not in shown(store)
    assert [collection.photos for collection in store.collections()] == [1, 2]


def test_a_photo_that_comes_again_is_shown_and_only_that_one(store: Store) -> None:
    studies, first, second = three(store)
    for collection in (first, second):
        store.put_collection_away(collection)
    store.add_photo(studies[0].photo)
    assert shown(store) == {studies[0].photo.key}
    (single,) = (collection for collection in store.collections() if collection.kind == SINGLE)
    assert store.collections_of(studies[0].photo.key) == {first, single.number}
    store.add_photo(studies[2].photo, second)  # as a job does that began before the collection was hidden
    assert shown(store) == {studies[0].photo.key}
    assert store.open_collection(STUDIED, "beach") == second
    assert shown(store) == {study.photo.key for study in studies}  # whoever studies it again sees all of it


def test_what_comes_without_a_collection_is_a_single_photo(store: Store) -> None:
    models = SeamModels()
    studio.take_in(models, store, picture("red"), "red")
    (single,) = store.collections()
    assert (single.kind, single.photos, single.away) == (SINGLE, 1, False)
    store.rename_collection(single.number, "Mine")
    studio.take_in(models, store, picture("blue", 4), "blue")
    assert [(collection.name, collection.photos) for collection in store.collections()] == [("Mine", 2)]


def test_the_same_kind_and_name_is_the_same_collection(store: Store) -> None:
    _, first, _ = three(store)
    assert store.open_collection(UPLOAD, "one.zip") == first
    other = store.open_collection(STUDIED, "one.zip")
    store.collect(other, [store.studies()[0].key])
    assert [collection.name for collection in store.collections()] == ["one.zip", "beach", "one.zip (2)"]


def test_a_collection_is_renamed_by_one_at_a_time(store: Store) -> None:
    _, first, second = three(store)
    store.rename_collection(first, "  Penguins \n at sea ", expected="one.zip")
    assert store.collections()[0].name == "Penguins at sea"
    with pytest.raises(ConflictError, match="named 'Penguins at sea'"):
        store.rename_collection(first, "Seals", expected="one.zip")
    store.rename_collection(first, "Penguins at sea", expected="one.zip")  # both meant the same
    with pytest.raises(DataError, match="named 'penguins AT sea' already"):
        store.rename_collection(second, "penguins AT sea")
    for unusable in ("", " ", "x" * 81, "a\x00b"):
        with pytest.raises(DataError, match="1 to 80 printable"):
            store.rename_collection(second, unusable)
    with pytest.raises(DataError, match="not in this data folder"):
        store.rename_collection(99, "Seals")
    assert [collection.name for collection in store.collections()] == ["Penguins at sea", "beach"]


def test_every_change_is_seen_by_whoever_keeps_a_copy(store: Store) -> None:
    _, first, _ = three(store)
    other = Store(store.root, store.address)
    assert len(other.records()) == 3
    store.put_collection_away(first)
    assert len(other.records()) == len(other.studies()) == 2
    other.close()


def test_earlier_photos_are_parted_once_and_stay_away_where_all_of_them_were(store: Store) -> None:
    studies = [study_of(seed) for seed in range(3)]
    earlier = store.open_collection(EARLIER, "Earlier photos")
    for study in studies:
        studio.save_study(store, study, earlier)
    demo = {study.photo.key for study in studies[:2]}
    store.put_away(demo)
    store.part_from_earlier(DEMO, "Demo", {*demo, "unknown"})
    assert [(found.kind, found.photos, found.away) for found in store.collections()] == [
        (EARLIER, 1, False),
        (DEMO, 2, True),
    ]
    store.bring_collection_back(store.collections()[1].number)
    assert shown(store) == {study.photo.key for study in studies}
    before = store.collections()
    store.part_from_earlier(DEMO, "Demo", demo)
    assert store.collections() == before


def test_photos_of_a_folder_without_collections_are_in_one_of_earlier_photos(store: Store) -> None:
    studies, _, _ = three(store)
    with store.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE members")
        connection.exec_driver_sql("DROP TABLE collections")
        version = "PRAGMA user_version=6" if connection.dialect.name == "sqlite" else "UPDATE version SET number = 6"
        connection.exec_driver_sql(version)
    again = Store(store.root, store.address)
    (earlier,) = again.collections()
    assert (earlier.kind, earlier.name, earlier.photos) == (EARLIER, "Earlier photos", len(studies))
    assert shown(again) == {study.photo.key for study in studies}
    again.close()
