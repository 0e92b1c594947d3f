"""The catalogue: what is shown to whom, windows that stay right while decisions are made, and what it costs."""

import sys
import threading
from dataclasses import replace

import pytest
import sqlalchemy as sql

from pipeline.curation.catalogue import CONFLICT, WAITING, Catalogue, View
from pipeline.errors import DataError, SettingsError
from pipeline.store.store import Store
from pipeline.types import Decision, Judged
from tests.crowd import FACTORS, LABELS, TAUS, fill
from tests.seams import LABELS as LABELS_OF_SEAMS
from tests.stores import study_of


def decide(store: Store, key: str, verdict: str, analyst: str = "", **more: str) -> None:
    number = len(store.log())
    store.decide(Decision(id=f"d{number}", counterfactual=key, verdict=verdict, analyst=analyst, **more))


def opened(store: Store) -> Catalogue:
    catalogue = Catalogue(store)
    catalogue.refresh()
    return catalogue


def walk(catalogue: Catalogue, view: View, count: int = 4) -> list[str]:
    """All keys of a view, window by window."""
    window = catalogue.window(view, count)
    keys = [entry.key for entry in window.entries]
    while window.entries:
        window = catalogue.window(view, count, after=keys[-1])
        keys += [entry.key for entry in window.entries]
    return keys


@pytest.mark.parametrize("order", ["uncertain", "shift", "score", "diverse", "random", "newest"])
def test_windows_give_every_item_once_in_its_order(store: Store, order: str) -> None:
    fill(store, 30)
    catalogue, view = opened(store), View(order=order, seed=3)
    keys = walk(catalogue, view)
    assert keys == [entry.key for entry in catalogue.ordered(order, 3)]
    assert len(set(keys)) == 30
    back = catalogue.window(view, 4, before=keys[10])
    assert ([entry.key for entry in back.entries], back.start) == (keys[6:10], 6)
    assert catalogue.window(view, 4, before=keys[0]).entries == ()
    assert [entry.key for entry in catalogue.window(view, 2, at=keys[5]).entries] == keys[5:7]


def test_a_window_goes_on_where_it_was_though_its_last_item_left_the_view(store: Store) -> None:
    fill(store, 12)
    catalogue, view = opened(store), View(state=WAITING)
    keys = walk(catalogue, view)
    for key in keys[:4]:
        decide(store, key, "keep")
    catalogue.refresh()
    window = catalogue.window(view, 4, after=keys[3])
    assert ([entry.key for entry in window.entries], window.start, window.total) == (keys[4:8], 0, 8)


def test_of_a_variation_the_best_is_shown_and_every_strength_is_there(store: Store) -> None:
    fill(store, 6, taus=TAUS)
    catalogue = opened(store)
    assert len(catalogue.shown()) == 6
    entry = catalogue.shown()[0]
    strengths = catalogue.strengths(entry.key)
    assert [other.tau for other in strengths] == list(TAUS)
    assert entry.directional_similarity == max(other.directional_similarity for other in strengths)
    weaker = next(other for other in strengths if other.key != entry.key)
    decide(store, weaker.key, "keep")
    catalogue.refresh()
    assert len(catalogue.shown()) == 7
    with pytest.raises(DataError, match="reload the page"):
        catalogue.entry("nothing")
    with pytest.raises(SettingsError, match="order"):
        catalogue.ordered("sideways")


def test_filters_and_their_counts_agree(store: Store) -> None:
    fill(store, 40)
    catalogue = opened(store)
    shown = catalogue.shown()
    for number, verdict in enumerate(("keep", "reject", "unsure", "keep")):
        decide(store, shown[number].key, verdict)
    catalogue.refresh()
    counts = catalogue.counts(View())
    assert counts == {"waiting": 36, "keep": 2, "reject": 1, "unsure": 1, "conflict": 0, "all": 40}
    for state, count in counts.items():
        assert catalogue.window(View(state=state), 1).total == count
    by_factor = [catalogue.window(View(factor=factor), 1).total for factor in FACTORS]
    assert sum(by_factor) == 40
    assert set(catalogue.classes()) <= set(LABELS)
    assert all("desert" in entry.edited_caption for entry in catalogue.matching(View(text="DESERT")))
    assert catalogue.window(View(text="desert no-such-word"), 1).total == 0


def test_a_blind_reviewer_sees_only_what_is_their_own(store: Store) -> None:
    fill(store, 4)
    catalogue = opened(store)
    key = catalogue.shown()[0].key
    decide(store, key, "keep", "Ada")
    catalogue.refresh()
    assert catalogue.state(key, View(analyst="Bo")) == "keep"
    assert catalogue.state(key, View(analyst="Bo", blind=True)) == WAITING
    decide(store, key, "reject", "Bo")
    catalogue.refresh()
    assert catalogue.state(key, View(analyst="Bo", blind=True)) == "reject"
    assert catalogue.holds(key) == CONFLICT
    decide(store, key, "keep", "Cy", kind="resolve")
    catalogue.refresh()
    assert catalogue.holds(key) == "keep"


def test_what_holds_is_what_the_store_says(store: Store) -> None:
    fill(store, 8)
    catalogue = opened(store)
    keys = [entry.key for entry in catalogue.shown()]
    script = [(0, "keep", "Ada"), (0, "reject", "Bo"), (1, "keep", "Ada"), (1, "", "Ada"), (2, "unsure", "Bo")]
    for place, verdict, analyst in script:
        decide(store, keys[place], verdict, analyst)
        catalogue.refresh()
        holding = store.decisions()
        for key in keys:
            expected = holding[key].verdict if key in holding else (WAITING, CONFLICT)
            assert catalogue.holds(key) in expected


def test_a_decision_asks_the_store_as_little_with_many_items_as_with_few(store: Store) -> None:
    def asked() -> int:
        """Rows handed over by the store while one more decision is read."""
        catalogue = opened(store)
        decide(store, catalogue.shown()[0].key, "keep")
        statements: list[str] = []

        def note(_c: object, _k: object, statement: str, *_: object) -> None:
            statements.append(statement)

        sql.event.listen(store.database.engine, "before_cursor_execute", note)
        catalogue.refresh()
        catalogue.window(View(state=WAITING), 6)
        sql.event.remove(store.database.engine, "before_cursor_execute", note)
        return len(statements)

    fill(store, 10)
    few = asked()
    fill(store, 200, seed=1)
    assert asked() == few


def test_only_new_entries_of_the_log_are_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 4)
    catalogue = opened(store)
    lengths: list[int] = []
    log = Store.log

    def noted(self: Store, after: int = 0) -> tuple[Decision, ...]:
        found = log(self, after)
        lengths.append(len(found))
        return found

    for entry in catalogue.shown():
        decide(store, entry.key, "keep")
        monkeypatch.setattr(Store, "log", noted)
        catalogue.refresh()
        monkeypatch.setattr(Store, "log", log)
    assert lengths == [1, 1, 1, 1]


def test_labels_and_tags_are_kept_and_undone_with_the_rest(store: Store) -> None:
    fill(store, 1)
    (entry,) = opened(store).shown()
    first = Decision(id="a", counterfactual=entry.key, verdict="keep", label="boat", tags=("night", "odd"))
    assert store.decide(first).tags == ("night", "odd")
    store.decide(replace(first, id="b", label="tent", tags=()))
    store.undo("", "u1")
    assert (store.log()[-1].label, store.log()[-1].tags) == ("boat", ("night", "odd"))
    store.undo("", "u2")
    assert (store.log()[-1].label, store.log()[-1].tags) == ("", ())


def test_what_is_put_away_takes_its_decisions_along_though_nothing_was_listed(store: Store) -> None:
    study, other = study_of(), Judged(name="other", labels=LABELS_OF_SEAMS, fingerprint="1")
    store.add_photo(study.photo)
    store.add_counterfactuals(
        study.photo.key, study.caption, study.counterfactuals[:1], other
    )  # it never saw the photo
    decide(store, study.counterfactuals[0].key, "keep")
    catalogue = opened(store)
    assert (catalogue.shown(), len(catalogue.log)) == ((), 1)
    store.put_away([study.photo.key])
    catalogue.refresh()
    assert list(catalogue.log) == list(store.log()) == []


@pytest.mark.slow
def test_reading_while_decisions_and_edits_come_in_meets_no_half_made_state(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 6, per_photo=3)
    catalogue = opened(store)
    keys = [entry.key for entry in catalogue.shown()]
    made = [
        Decision(id=f"{name}-{key}", counterfactual=key, verdict="keep", analyst=name)
        for name in map(str, range(40))
        for key in keys
    ]
    store.decide_all(made)
    catalogue.refresh()
    faults: list[str] = []
    stop = threading.Event()
    before = sys.getswitchinterval()

    def read() -> None:
        while not stop.is_set():
            try:
                for state in (WAITING, "keep", "all"):
                    window = catalogue.window(View(state=state, order="newest"), 4, after=keys[2])
                    assert window.start <= window.total
                catalogue.counts(View())
                assert [entry.tau for entry in catalogue.strengths(keys[0])] == [0.5]
            except Exception as error:
                faults.append(f"{type(error).__name__}: {error}")
                return

    def write() -> None:
        for number in range(30):
            decide(store, keys[number % 3], ("keep", "reject")[number % 2], f"new {number}")
            if number % 5 == 0:
                fill(store, 9 + 3 * (number // 5), per_photo=3)
            catalogue.refresh()

    readers = [threading.Thread(target=read) for _ in range(3)]
    sys.setswitchinterval(1e-6)
    try:
        for reader in readers:
            reader.start()
        write()
    finally:
        stop.set()
        for reader in readers:
            reader.join()
        sys.setswitchinterval(before)
    assert faults == []
