"""Sets by rule: quotas by class and factor, and photos that leak from one set into another."""

from pipeline.curation.catalogue import Catalogue
from pipeline.curation.quotas import Kept, Rule, leaks, select
from pipeline.store.queue import Entry
from pipeline.store.store import Store
from tests.crowd import fill


def kept(entry: Entry) -> Kept:
    return Kept(entry=entry, label=entry.label)


def test_a_quota_takes_the_best_of_each_class_and_factor(store: Store) -> None:
    fill(store, 80)
    entries = store.entries()
    taken = select(map(kept, entries), Rule(quota=2))
    chosen = {entry.key: entry for entry in entries if entry.key in taken.keys}
    assert len(chosen) == sum(count for count, _ in taken.cells.values())
    for (label, factor), (count, there) in taken.cells.items():
        cell = [entry for entry in entries if (entry.label, entry.factor) == (label, factor)]
        assert (count, there) == (min(2, len(cell)), len(cell))
        best = sorted((item.directional_similarity for item in cell), reverse=True)[:2]
        ours = [
            entry.directional_similarity for entry in chosen.values() if (entry.label, entry.factor) == (label, factor)
        ]
        assert sorted(ours, reverse=True) == best


def test_without_a_quota_everything_asked_for_is_taken(store: Store) -> None:
    fill(store, 40)
    entries = store.entries()
    assert len(select(map(kept, entries), Rule()).keys) == 40
    label = entries[0].label
    some = select(map(kept, entries), Rule(labels=(label,), factors=("subject", "weather")))
    assert {(entry.label, entry.factor) for entry in entries if entry.key in some.keys} == set(some.cells)
    assert {label} == {of for of, _ in some.cells}


def test_a_rule_goes_by_what_the_analysts_say(store: Store) -> None:
    fill(store, 4)
    first, second, *rest = store.entries()
    corrected = Kept(entry=first, label="unicorn", tags=("night", "blurred"))
    tagged = Kept(entry=second, label=second.label, tags=("night",))
    told = [corrected, tagged, *map(kept, rest)]
    assert select(told, Rule(labels=("unicorn",))).keys == (first.key,)
    assert select(told, Rule(labels=("unicorn",))).cells == {("unicorn", first.factor): (1, 1)}
    assert first.key not in select(told, Rule(labels=(first.label,))).keys
    assert set(select(told, Rule(tags=("night",))).keys) == {first.key, second.key}
    assert select(told, Rule(tags=("blurred", "day"))).keys == (first.key,)


def test_leaks_are_counted_by_source_photo(store: Store) -> None:
    fill(store, 6, per_photo=2)
    catalogue = Catalogue(store)
    catalogue.refresh()
    a1, a2, b1, _, c1, _ = (entry.key for entry in catalogue.shown())
    photos = {entry.key: entry.photo for entry in catalogue.shown()}
    sets = {"test v1": (a2, b1), "other v1": (c1,)}
    assert leaks((a1,), sets, photos) == {"test v1": 1}
    assert leaks((a1, a2, c1), sets, photos) == {"test v1": 1, "other v1": 1}
    assert leaks((), sets, photos) == {}
