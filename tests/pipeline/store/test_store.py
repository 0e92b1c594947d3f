"""The store: what goes in comes out, and twice is once."""

import resource
from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.errors import ConflictError, DataError
from pipeline.images import encode
from pipeline.store import schema
from pipeline.store.jobs import Job
from pipeline.store.store import Store
from pipeline.types import Decision
from tests.stores import ON_BOTH, contents, keep, save, study_of

pytestmark = ON_BOTH


def test_every_write_is_counted_on_what_it_is_about_and_nothing_else_is(store: Store) -> None:
    study = study_of()
    save(store, study)
    key, photo = study.counterfactuals[0].key, study.photo

    def counts() -> tuple[int, ...]:
        with store.database.read() as connection:
            return tuple(schema.number_of(connection, topic) for topic in (schema.RECORDS, schema.DECISIONS))

    records: list[Callable[[], object]] = [
        lambda: store.add_photo(photo),
        lambda: store.set_label(photo.key, "blue"),
        lambda: store.set_caption(photo.key, "a red wall"),
        lambda: store.set_classifier(photo.key, photo.judge),
        lambda: store.add_proposals(photo.key, "a red wall", study.perturbations),
        lambda: store.tick(photo.key, study.caption, {study.perturbations[0].edited_caption: ()}),
        lambda: store.set_reconstruction(photo.key, study.caption, photo.image),
        lambda: store.add_counterfactuals(photo.key, study.caption, study.counterfactuals, photo.judge),
        lambda: store.add_judgements(photo.judge, {}),
        lambda: store.set_scores(study.counterfactuals),
        lambda: store.put_away([photo.key]),
        lambda: store.bring_back([photo.key]),
    ]
    for write in records:
        before = counts()
        write()
        assert counts()[0] == before[0] + 1
    before = counts()
    keep(store, key, 0)
    assert counts() == (before[0], before[1] + 1)
    before = counts()
    store.jobs.add(Job(id="j", kind="study", title="", profile="seams"), "{}")
    held = store.jobs.take("seams")
    assert held is not None
    held.beat()
    store.finish("j", photo.key, "a.png")
    store.fail("j", "b.png", "no")
    with pytest.raises(ConflictError):
        store.set_label(photo.key, "green", expected="red")
    assert counts() == before


def test_it_comes_back_from_another_process_life(store: Store) -> None:
    study = study_of()
    save(store, study)
    store.close()
    again = Store(store.root, store.address)
    assert contents(again.load_study(study.photo.key)) == contents(study)
    again.close()


def test_the_last_decision_holds_and_nothing_is_forgotten(store: Store) -> None:
    study = study_of()
    save(store, study)
    a, b, c = (item.key for item in study.counterfactuals[:3])
    for number, (key, verdict) in enumerate([(a, "keep"), (b, "keep"), (c, "unsure"), (a, "reject"), (b, "")]):
        assert keep(store, key, number, verdict).time > 0
    assert {key: decision.verdict for key, decision in store.decisions().items()} == {a: "reject", c: "unsure"}
    assert [decision.verdict for decision in store.log()] == ["keep", "keep", "unsure", "reject", ""]
    assert store.kept() == ()


def test_the_same_decision_twice_counts_once(store: Store) -> None:
    study = study_of()
    save(store, study)
    first = Decision(id="x", counterfactual=study.counterfactuals[0].key, verdict="keep", reason="good", time=5.0)
    stored = replace(first, act="x", number=1)
    assert store.decide(first) == stored
    assert store.decide(replace(first, verdict="reject", time=6.0)) == stored
    assert store.log() == (stored,)


def test_who_decides_upon_what_is_no_longer_there_is_told_and_loses_nothing(store: Store) -> None:
    study = study_of()
    save(store, study)
    key, other = (item.key for item in study.counterfactuals[:2])
    first = Decision(id="a", counterfactual=key, verdict="keep", analyst="Ada")
    seen = store.decide(first, expected=0).number
    late = replace(first, id="b", verdict="reject")
    with pytest.raises(ConflictError, match="Ada decided 'keep'"):
        store.decide_all([replace(late, id="c", counterfactual=other), late], {key: 0, other: 0})
    assert [decision.id for decision in store.log()] == ["a"]
    assert store.decide(first, expected=0).number == seen  # the same one again is no conflict
    assert store.decide(late, expected=seen).verdict == "reject"
    assert store.decide(replace(first, id="d", analyst="Bo"), expected=0).verdict == "keep"  # another analyst's own


def test_what_was_undone_and_redone_is_the_same_after_a_reload(store: Store) -> None:
    study = study_of()
    save(store, study)
    a, b, c = (item.key for item in study.counterfactuals[:3])
    keep(store, a, 0)
    bulk = [Decision(id=f"bulk-{key}", counterfactual=key, verdict="reject", act="bulk") for key in (a, b, c)]
    store.decide_all(bulk)
    again = Store(store.root, store.address)
    assert len(again.undo("", "u1")) == 3
    assert again.undo("", "u1") == again.log()[-3:]  # sent twice
    assert {key: decision.verdict for key, decision in store.decisions().items()} == {a: "keep"}
    store.undo("", "u2")
    assert store.decisions() == {}
    assert store.undo("", "u3") == ()
    again.redo("", "r1")
    again.redo("", "r2")
    assert {decision.verdict for decision in store.decisions().values()} == {"reject"}
    assert store.redo("", "r3") == ()
    again.close()


def test_decisions_are_checked(store: Store) -> None:
    study = study_of()
    save(store, study)
    with pytest.raises(DataError, match="maybe"):
        keep(store, study.counterfactuals[0].key, 0, "maybe")
    with pytest.raises(DataError, match="no counterfactual"):
        keep(store, "unknown", 0)
    assert store.log() == ()


def test_sets_are_frozen_and_numbered(store: Store) -> None:
    study = study_of()
    save(store, study)
    keys = [item.key for item in study.counterfactuals]
    with pytest.raises(DataError, match="keep at least one"):
        store.freeze("set")
    keep(store, keys[5], 0)
    keep(store, keys[1], 1)
    first = store.freeze(" set ")
    assert (first.name, first.version, first.items) == ("set", 1, (keys[1], keys[5]))
    assert store.freeze("set") == first
    keep(store, keys[1], 2, "reject")
    second = store.freeze("set")
    assert (second.version, second.items) == (2, (keys[5],))
    assert store.sets() == (second, first)
    assert [entry.key for _, entry in store.items(first)] == [keys[1], keys[5]]
    ((photo, entry),) = store.kept()
    assert (photo.key, photo.label, entry.key, encode(entry.image)) == (
        study.photo.key,
        "red",
        keys[5],
        encode(study.counterfactuals[5].image),
    )
    with pytest.raises(DataError):
        store.items(replace(first, items=("unknown",)))


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\nb"])
def test_a_set_needs_a_name(store: Store, name: str) -> None:
    with pytest.raises(DataError, match="name"):
        store.freeze(name)


def test_a_run_notes_what_is_finished_and_what_failed(store: Store) -> None:
    store.fail("job", "a.png", "first")
    store.fail("job", "a.png", "second")
    store.fail("job", "b.png", "other")
    assert [(failure.name, failure.message) for failure in store.failures()] == [
        ("a.png", "second"),
        ("b.png", "other"),
    ]
    for _ in range(2):
        store.finish("job", "key", "a.png")
    assert [failure.name for failure in store.failures()] == ["b.png"]
    assert store.finished("job") == {"key"}
    assert store.finished("other") == frozenset()


def test_saving_does_not_hold_more_files_than_needed(store: Store) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    try:
        for seed in range(8):
            study = study_of(seed)
            save(store, study)
            store.load_study(study.photo.key)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(store.studies()) == 8


def test_whoever_did_not_see_a_dispute_settled_again_is_told(store: Store) -> None:
    study = study_of()
    save(store, study)
    key = study.counterfactuals[0].key
    verdict = Decision(id="1", counterfactual=key, verdict="keep", analyst="Ada")
    store.decide_all([verdict, replace(verdict, id="2", verdict="reject", analyst="Grace")])
    store.decide(replace(verdict, id="3", kind="resolve"))
    store.undo("Ada", "back")
    seen = store.log()[-1].number
    store.redo("Ada", "again")
    with pytest.raises(ConflictError, match="Meanwhile Ada decided"):
        store.decide(replace(verdict, id="4", verdict="unsure", analyst="Grace"), expected=seen)
    assert store.decisions()[key].verdict == "keep"
