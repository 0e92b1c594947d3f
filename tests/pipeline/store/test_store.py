"""The store: what goes in comes out, and twice is once."""

import resource
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest
import sqlalchemy as sql

from pipeline import workflow
from pipeline.curation.catalogue import Catalogue
from pipeline.errors import ConflictError, DataError, StoreError
from pipeline.images import encode, key_of
from pipeline.store import schema
from pipeline.store.jobs import Job
from pipeline.store.store import Store
from pipeline.types import Check, Decision, Photo, Prediction, Standing, Study
from tests.seams import SETTINGS, SeamModels, picture, settings
from tests.stores import contents, keep, save, study_of, told


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty data folder, its records in a file and on a server in turn."""
    address = request.getfixturevalue("postgres").database() if request.param == "postgresql" else ""
    opened = Store(tmp_path / "data", address)
    yield opened
    opened.close()


def test_a_study_comes_back_equal(store: Store) -> None:
    for study in (study_of(), replace(study_of(1), counterfactuals=(), control=None, reconstruction=None)):
        save(store, study)
        assert contents(store.load_study(study.photo.key)) == contents(study)
    assert store.load_study("none") is None


def test_records_tell_the_same_without_opening_a_picture(store: Store) -> None:
    studies = [study_of(), study_of(1, caption="a photo of something red"), study_of(2)]
    for study in (study_of(1, classifier="other"), *studies):
        save(store, study)
    shutil.rmtree(store.root / "media")
    found = {one.photo.key: one for one in store.records(studies[0].photo.classifier)}
    assert found.keys() == {study.photo.key for study in studies}
    for study in studies:
        assert told(found[study.photo.key]) == told(study)
    assert store.records("nobody") == ()


def test_records_keep_no_vectors_of_edits_but_where_the_label_is_unknown(store: Store) -> None:
    known, unknown = study_of(), study_of(1)
    unknown = replace(unknown, photo=replace(unknown.photo, label="zebra"))
    for study in (known, unknown):
        save(store, study)
    found = {one.photo.label: {type(edit.prediction) for edit in one.counterfactuals} for one in store.records()}
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
    assert [one.photo.key for one in store.records()] == [second.photo.key]
    other.put_away([second.photo.key])  # in another process, between two looks
    other.bring_back([first.photo.key])
    catalogue.refresh()
    assert [one.photo.key for one in store.records()] == [first.photo.key]
    assert {one.photo for one in store.entries()} == {one.photo for one in catalogue.shown()} == {first.photo.key}
    other.close()


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


def test_saving_twice_changes_nothing(store: Store) -> None:
    study = study_of()
    for _ in range(2):
        save(store, study)
    assert contents(store.load_study(study.photo.key)) == contents(study)
    (summary,) = store.studies()
    assert (summary.perturbations, summary.counterfactuals) == (3, 9)
    assert len(list((store.root / "media").rglob("*.png"))) == 11


def test_a_study_is_saved_as_it_grows(store: Store) -> None:
    whole = study_of()
    for end in (0, 1, 4, 9):
        save(store, replace(whole, counterfactuals=whole.counterfactuals[:end]))
    assert contents(store.load_study(whole.photo.key)) == contents(whole)


def test_other_settings_add_counterfactuals(store: Store) -> None:
    study, models = study_of(), SeamModels()
    save(store, study)
    short = replace(study, counterfactuals=())
    other = list(workflow.edit(models, short, short.perturbations, settings(num_inference_steps=5)))[-1]
    save(store, other)
    loaded = store.load_study(study.photo.key)
    assert loaded is not None
    assert len(loaded.counterfactuals) == 18


def test_a_new_judgement_replaces_the_old_one(store: Store) -> None:
    study = study_of()
    save(store, study)
    judged = tuple(replace(one, missed=("a gate",)) for one in study.counterfactuals)
    store.set_scores(judged)
    loaded = store.load_study(study.photo.key)
    assert loaded is not None
    assert {one.missed for one in loaded.counterfactuals} == {("a gate",)}


def test_the_latest_caption_is_the_photos_study(store: Store) -> None:
    first, second = study_of(), study_of(caption="a red wall on white")
    save(store, first)
    save(store, second)
    assert contents(store.load_study(first.photo.key)) == contents(second)
    save(store, Study(photo=first.photo))
    assert contents(store.load_study(first.photo.key)) == contents(second)
    assert [one.caption for one in store.studies()] == ["a red wall on white"]


def test_two_classifiers_judge_the_same_pictures(store: Store) -> None:
    first, second = study_of(), study_of(classifier="other")
    save(store, first)
    assert store.load_study(first.photo.key, "other") is None
    store.add_judgements(second.photo.judge, {first.photo.key: second.photo.prediction})
    loaded = store.load_study(first.photo.key, "other")
    assert loaded is not None
    assert (loaded.control, loaded.counterfactuals) == (None, ())  # what it has not judged is left out
    assert set(store.unjudged(first.photo.key, second.photo.judge)) == {
        key_of(image) for image in (first.reconstruction, *(one.image for one in first.counterfactuals)) if image
    }
    save(store, second)
    assert contents(store.load_study(first.photo.key)) == contents(second)
    assert contents(store.load_study(first.photo.key, "colour")) == contents(first)
    assert store.load_study(first.photo.key, "third") is None
    assert store.unjudged(first.photo.key, second.photo.judge) == ()


def test_studies_are_listed_newest_first(store: Store) -> None:
    for seed in range(3):
        save(store, study_of(seed))
    assert [one.name for one in store.studies()] == ["2.png", "1.png", "0.png"]
    save(store, study_of(0))
    assert [one.name for one in store.studies()] == ["0.png", "2.png", "1.png"]


def test_labels_are_stored_once(store: Store) -> None:
    for seed in range(2):
        save(store, study_of(seed))
    with store.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM vocabularies").scalar() == 1


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
    assert [one.key for one in store.studies()] == [second.photo.key]
    assert {one.photo for one in store.entries()} == {one.photo for one in catalogue.shown()} == {second.photo.key}
    assert [one.counterfactual for one in store.log()] == [second.counterfactuals[0].key]
    assert [one.counterfactual for one in catalogue.log] == [second.counterfactuals[0].key]
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


def test_hostile_words_come_back_word_for_word(store: Store) -> None:
    words = "'; DROP TABLE studies; -- <b>\u202e{{x}}\u200b 🎈"
    photo = replace(study_of().photo, name=words, label=words)
    save(store, Study(photo=photo, caption=words))
    loaded = store.load_study(photo.key)
    assert loaded is not None
    assert (loaded.photo.name, loaded.photo.label, loaded.caption) == (words, words, words)
    with pytest.raises(StoreError, match="UTF-8"):
        save(store, Study(photo=photo, caption="\ud800"))


def test_file_is_the_picture(store: Store) -> None:
    study = study_of()
    save(store, study)
    one = study.counterfactuals[4]
    assert store.file(one.key).read_bytes() == encode(one.image)
    assert store.file(study.photo.key).read_bytes() == encode(study.photo.image)
    with pytest.raises(DataError):
        store.file("../../etc/passwd")


def test_a_damaged_picture_is_told(store: Store) -> None:
    study = study_of()
    save(store, study)
    store.file(study.counterfactuals[0].key).write_bytes(b"")
    with pytest.raises(StoreError, match="missing"):
        store.load_study(study.photo.key)


def test_the_last_decision_holds_and_nothing_is_forgotten(store: Store) -> None:
    study = study_of()
    save(store, study)
    a, b, c = (one.key for one in study.counterfactuals[:3])
    for number, (key, verdict) in enumerate([(a, "keep"), (b, "keep"), (c, "unsure"), (a, "reject"), (b, "")]):
        assert keep(store, key, number, verdict).time > 0
    assert {key: one.verdict for key, one in store.decisions().items()} == {a: "reject", c: "unsure"}
    assert [one.verdict for one in store.log()] == ["keep", "keep", "unsure", "reject", ""]
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
    key, other = (one.key for one in study.counterfactuals[:2])
    first = Decision(id="a", counterfactual=key, verdict="keep", analyst="Ada")
    seen = store.decide(first, expected=0).number
    late = replace(first, id="b", verdict="reject")
    with pytest.raises(ConflictError, match="Ada decided 'keep'"):
        store.decide_all([replace(late, id="c", counterfactual=other), late], {key: 0, other: 0})
    assert [one.id for one in store.log()] == ["a"]
    assert store.decide(first, expected=0).number == seen  # the same one again is no conflict
    assert store.decide(late, expected=seen).verdict == "reject"
    assert store.decide(replace(first, id="d", analyst="Bo"), expected=0).verdict == "keep"  # another analyst's own


def test_what_was_undone_and_redone_is_the_same_after_a_reload(store: Store) -> None:
    study = study_of()
    save(store, study)
    a, b, c = (one.key for one in study.counterfactuals[:3])
    keep(store, a, 0)
    bulk = [Decision(id=f"bulk-{key}", counterfactual=key, verdict="reject", act="bulk") for key in (a, b, c)]
    store.decide_all(bulk)
    again = Store(store.root, store.address)
    assert len(again.undo("", "u1")) == 3
    assert again.undo("", "u1") == again.log()[-3:]  # sent twice
    assert {key: one.verdict for key, one in store.decisions().items()} == {a: "keep"}
    store.undo("", "u2")
    assert store.decisions() == {}
    assert store.undo("", "u3") == ()
    again.redo("", "r1")
    again.redo("", "r2")
    assert {one.verdict for one in store.decisions().values()} == {"reject"}
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
    keys = [one.key for one in study.counterfactuals]
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
    assert [one.key for _, one in store.items(first)] == [keys[1], keys[5]]
    ((photo, one),) = store.kept()
    assert (photo.key, photo.label, one.key, encode(one.image)) == (
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
    assert [(one.name, one.message) for one in store.failures()] == [("a.png", "second"), ("b.png", "other")]
    for _ in range(2):
        store.finish("job", "key", "a.png")
    assert [one.name for one in store.failures()] == ["b.png"]
    assert store.finished("job") == {"key"}
    assert store.finished("other") == frozenset()


def test_a_distribution_of_a_thousand_labels_is_exact(store: Store) -> None:
    import numpy as np

    raw = np.random.default_rng(0).dirichlet(np.full(1000, 0.05)).astype(np.float32)
    labels = tuple(f"label {n}" for n in range(1000))
    prediction = Prediction(labels=labels, probabilities=raw)
    photo = Photo(key="k", image=picture("red"), label="label 0", prediction=prediction)
    save(store, Study(photo=photo))
    loaded = store.load_study("k")
    assert loaded is not None
    assert loaded.photo.prediction == prediction


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


def test_checks_are_kept_with_their_perturbation(store: Store) -> None:
    checks = (
        Check(gate="label", passed=True, says="kept", figure=0.25, bound=0.5),
        Check(gate="factor", passed=False, says="no"),
    )
    study = study_of()
    judged = replace(study, perturbations=tuple(replace(one, checks=checks) for one in study.perturbations))
    save(store, judged)
    loaded = store.load_study(study.photo.key)
    assert loaded is not None
    assert loaded.perturbations
    assert all(one.checks == checks for one in loaded.perturbations)


def test_who_wrote_which_caption_is_kept(store: Store) -> None:
    photos = [study_of(seed).photo for seed in range(2)]
    for photo in photos:
        store.add_photo(photo)
    key = photos[0].key
    store.set_caption(key, "a photo of a dog")  # the captioner's
    assert store.caption_of(key) == ("a photo of a dog", False)
    store.set_caption(key, "a dog", analyst="Ada", expected="a photo of a dog")
    store.set_caption(key, "a brown dog", analyst="Grace")
    store.set_caption(photos[1].key, "a cat", analyst="")
    told = [(one.before, one.caption, one.analyst) for one in store.rewordings(key)]
    assert told == [("a photo of a dog", "a dog", "Ada"), ("a dog", "a brown dog", "Grace")]
    assert store.caption_of(key) == ("a brown dog", True)
    with pytest.raises(ConflictError, match="a brown dog"):
        store.set_caption(key, "a red dog", analyst="Ada", expected="a dog")
    assert store.caption_of(key) == ("a brown dog", True)


def test_a_score_that_an_older_folder_lacks_is_unknown_until_it_is_scored_again(store: Store) -> None:
    study = study_of()
    save(store, study)
    with store.database.write() as connection:
        for row in connection.execute(sql.select(schema.counterfactuals)).all():
            kept = {name: value for name, value in row.scores.items() if name != "prefers_edit"} | {"gone": 1.0}
            chosen = schema.counterfactuals.c.key == row.key
            connection.execute(sql.update(schema.counterfactuals).where(chosen).values(scores=kept))
    again = store.load_study(study.photo.key)
    assert again is not None
    assert all(isnan(one.scores.prefers_edit) for one in again.counterfactuals)
    assert not any(one.scores.complete for one in again.counterfactuals)
    assert store.entries()
    models = SeamModels()
    rescored = list(workflow.edit(models, again, again.perturbations, SETTINGS))[-1]
    assert [one.scores for one in rescored.counterfactuals] == [one.scores for one in study.counterfactuals]


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
