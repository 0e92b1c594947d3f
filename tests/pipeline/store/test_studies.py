"""What is kept of photos: what goes in comes out, and twice is once."""

from dataclasses import replace
from math import isnan

import pytest
import sqlalchemy as sql

from pipeline import workflow
from pipeline.errors import ConflictError, StoreError
from pipeline.store import schema
from pipeline.store.store import Store
from pipeline.types import Check, Photo, Prediction, Study
from tests.seams import SETTINGS, SeamModels, picture, settings
from tests.stores import ON_BOTH, contents, save, study_of

pytestmark = ON_BOTH


def test_a_study_comes_back_equal(store: Store) -> None:
    for study in (study_of(), replace(study_of(1), counterfactuals=(), control=None, reconstruction=None)):
        save(store, study)
        assert contents(store.load_study(study.photo.key)) == contents(study)
    assert store.load_study("none") is None


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
    judged = tuple(replace(item, missed=("a gate",)) for item in study.counterfactuals)
    store.set_scores(judged)
    loaded = store.load_study(study.photo.key)
    assert loaded is not None
    assert {item.missed for item in loaded.counterfactuals} == {("a gate",)}


def test_the_latest_caption_is_the_photos_study(store: Store) -> None:
    first, second = study_of(), study_of(caption="a red wall on white")
    save(store, first)
    save(store, second)
    assert contents(store.load_study(first.photo.key)) == contents(second)
    save(store, Study(photo=first.photo))
    assert contents(store.load_study(first.photo.key)) == contents(second)
    assert [study.caption for study in store.studies()] == ["a red wall on white"]


def test_labels_are_stored_once(store: Store) -> None:
    for seed in range(2):
        save(store, study_of(seed))
    with store.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM vocabularies").scalar() == 1


def test_hostile_words_come_back_word_for_word(store: Store) -> None:
    words = "'; DROP TABLE studies; -- <b>\u202e{{x}}\u200b 🎈"
    photo = replace(study_of().photo, name=words, label=words)
    save(store, Study(photo=photo, caption=words))
    loaded = store.load_study(photo.key)
    assert loaded is not None
    assert (loaded.photo.name, loaded.photo.label, loaded.caption) == (words, words, words)
    with pytest.raises(StoreError, match="UTF-8"):
        save(store, Study(photo=photo, caption="\ud800"))


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


def test_checks_are_kept_with_their_perturbation(store: Store) -> None:
    checks = (
        Check(gate="label", passed=True, says="kept", figure=0.25, bound=0.5),
        Check(gate="factor", passed=False, says="no"),
    )
    study = study_of()
    judged = replace(study, perturbations=tuple(replace(variation, checks=checks) for variation in study.perturbations))
    save(store, judged)
    loaded = store.load_study(study.photo.key)
    assert loaded is not None
    assert loaded.perturbations
    assert all(variation.checks == checks for variation in loaded.perturbations)


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
    told = [(rewording.before, rewording.caption, rewording.analyst) for rewording in store.rewordings(key)]
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
    assert all(isnan(item.scores.prefers_edit) for item in again.counterfactuals)
    assert not any(item.scores.complete for item in again.counterfactuals)
    assert all(item.scores.kept["prefers_edit"] is None for item in again.counterfactuals)
    store.set_scores(again.counterfactuals)
    with store.database.read() as connection:
        texts = connection.execute(sql.select(sql.cast(schema.counterfactuals.c.scores, sql.Text))).scalars().all()
    assert not any("NaN" in text for text in texts)  # which is no JSON
    assert store.entries()
    models = SeamModels()
    rescored = list(workflow.edit(models, again, again.perturbations, SETTINGS))[-1]
    assert [item.scores for item in rescored.counterfactuals] == [item.scores for item in study.counterfactuals]
