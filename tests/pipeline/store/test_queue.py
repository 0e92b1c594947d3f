"""What waits for a verdict: entries without pictures, their orders, filters and quotas."""

from dataclasses import replace

import pytest

from pipeline.curation.selection import chosen
from pipeline.errors import SettingsError
from pipeline.scores import Scores
from pipeline.store.queue import DIVERSE, ORDERS, RANDOM, Entry, found, listed, ordered
from pipeline.store.store import Store
from tests.stores import keep, save, study_of

ONE = Entry(
    number=1, key="k1", photo="p", study="s", label="dog", factor="background", edited_caption="a dog at sea", tau=0.4,
    before=0.9, after=0.2, margin=0.3, flip=True, directional_similarity=0.5, passes=True,
    name="p.png", classifier="c", caption="a dog on a lawn", was=("dog", 0.9), now=("seal", 0.5), missed=(),
    scores=Scores(image_similarity=0.9, source_alignment=0.3, edited_alignment=0.3, directional_similarity=0.5,
                  prefers_edit=0.1),
)  # fmt: skip


def entry(number: int, **changes: object) -> Entry:
    return replace(ONE, number=number, key=f"k{number}", **changes)  # type: ignore[arg-type]


def keys(entries: list[Entry]) -> list[int]:
    return [entry.number for entry in entries]


def test_entries_are_what_the_studies_say(store: Store) -> None:
    studies = [study_of(seed) for seed in range(2)]
    for study in studies:
        save(store, study)
    entries = store.entries()
    assert [entry.key for entry in entries] == [item.key for study in studies for item in study.counterfactuals]
    for study in studies:
        assert study.control is not None
        for entry, item in zip((e for e in entries if e.photo == study.photo.key), study.counterfactuals, strict=True):
            assert (entry.tau, entry.factor, entry.label) == (item.tau, item.perturbation.factor, study.photo.label)
            assert entry.after == pytest.approx(item.prediction.probability(entry.label))
            assert entry.before == pytest.approx(study.control.probability(entry.label))
            first, second = item.prediction.top(2)
            assert entry.margin == pytest.approx(first[1] - second[1])
            assert entry.flip == (first[0] != study.control.top(1)[0][0])
            assert entry.passes == (not item.missed)
            assert entry.now == (first[0], pytest.approx(first[1]))
            assert (entry.scores, entry.missed, entry.caption) == (item.scores, item.missed, item.perturbation.caption)
    best = {item.key for study in studies for item in chosen(study)}
    assert {entry.key for entry in listed(entries, ())} == best


def test_entries_are_read_again_after_a_change_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of()
    save(store, study)
    first = store.entries()
    keep(store, first[0].key, 0)
    assert store.entries() is first
    labels = study.photo.prediction.labels
    store.set_label(study.photo.key, labels[-1])
    assert {entry.label for entry in store.entries()} == {labels[-1]}


def test_the_best_of_a_variation_is_listed_and_whatever_was_decided() -> None:
    weak, best, failed = entry(1, directional_similarity=0.2), entry(2), entry(3, passes=False)
    assert keys(listed([weak, best, failed], ())) == [2]
    assert keys(listed([weak, best, failed], {"k1", "k3"})) == [1, 2, 3]


def test_orders() -> None:
    entries = [
        entry(1, after=0.5, margin=0.1, directional_similarity=0.9),
        entry(2, after=0.1, margin=0.9, directional_similarity=0.4),
        entry(3, after=0.9, margin=0.5, directional_similarity=0.6),
    ]
    expected = {"newest": [3, 2, 1], "uncertain": [1, 3, 2], "shift": [2, 1, 3], "score": [2, 3, 1]}
    assert {name: keys(ordered(entries, name)) for name in ORDERS} == expected
    shuffled = [keys(ordered(entries, RANDOM, seed)) for seed in range(9)]
    assert shuffled[0] == keys(ordered(entries, RANDOM, 0))
    assert len({tuple(item) for item in shuffled}) > 1
    with pytest.raises(SettingsError, match="'best'"):
        ordered(entries, "best")


def test_diverse_shows_every_class_and_factor_before_the_second_of_any() -> None:
    places = [("dog", "background"), ("dog", "background"), ("dog", "domain"), ("cat", "background")]
    entries = [entry(n, label=label, factor=factor) for n, (label, factor) in enumerate(places, 1)]
    assert keys(ordered(entries, DIVERSE)) == [1, 3, 4, 2]


def test_filters() -> None:
    entries = [entry(n, label="dog" if n % 2 else "cat", factor="background" if n < 4 else "domain") for n in range(6)]
    assert keys(found(entries, label="cat")) == [0, 2, 4]
    assert keys(found(entries, factor="domain", words="SEA dog")) == [4, 5]
    assert keys(found(entries, words="cat sea")) == [0, 2, 4]
