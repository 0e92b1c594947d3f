"""The stages at work on a store: pictures are drawn once, whoever judges and scores them, and whatever it is called."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import workflow
from pipeline.errors import Cancelled
from pipeline.images import key_of
from pipeline.store.keys import run_key
from pipeline.store.store import Store
from pipeline.tasks import studio
from pipeline.types import ANALYST, FOLDER, GUESS, Perturbation, Study
from tests.seams import PROFILE, SETTINGS, ColourClassifier, ColourScorer, SeamModels, picture, settings
from tests.stores import contents, save, study_of

FOLDERS = Path(__file__).resolve().parents[2] / "data" / "folders"


@pytest.fixture
def models() -> SeamModels:
    return SeamModels()


def worked_on(models: SeamModels, store: Store) -> Study:
    """A photo of the store with nine edits."""
    taken = studio.take_in(models, store, picture("red"), "red", name="a.png")
    told = workflow.propose(models, workflow.describe(models, taken, SETTINGS), SETTINGS)
    store.set_caption(taken.photo.key, told.caption)
    store.add_proposals(taken.photo.key, told.caption, told.perturbations)
    *_, made = studio.edit(models, store, taken.photo.key, told.perturbations, SETTINGS)
    assert contents(store.load_study(taken.photo.key)) == contents(made)
    assert len(made.counterfactuals) == 9
    return made


def again(models: SeamModels, store: Store, study: Study, classifier: str = "") -> Study:
    """What the same order makes of it now."""
    *_, made = studio.edit(models, store, study.photo.key, study.perturbations, SETTINGS, classifier)
    assert contents(store.load_study(study.photo.key, made.photo.classifier)) == contents(made)
    return made


def predictions(study: Study) -> list[object]:
    return [study.photo.prediction, study.control, *(item.prediction for item in study.counterfactuals)]


def seen_by(judge: ColourClassifier, study: Study) -> list[object]:
    assert study.reconstruction is not None
    images = (study.photo.image, study.reconstruction, *(item.image for item in study.counterfactuals))
    return list(judge.predict(images))


def test_another_classifier_judges_the_stored_pictures_and_draws_none(models: SeamModels, store: Store) -> None:
    made = worked_on(models, store)
    drawn, inverted = len(models.editor.edited), models.editor.inversions
    other = again(models, store, made, "other")
    assert (len(models.editor.edited), models.editor.inversions) == (drawn, inverted)
    assert [item.key for item in other.counterfactuals] == [item.key for item in made.counterfactuals]
    assert predictions(other) == seen_by(models.classifier("other"), made) != predictions(made)
    assert contents(again(models, store, made, "colour")) == contents(made)
    assert len(store.entries()) == 9


def test_a_classifier_that_was_changed_under_its_name_judges_anew_and_draws_none(
    models: SeamModels, store: Store
) -> None:
    made = worked_on(models, store)
    second = studio.take_in(models, store, picture("green", 3), "green")
    drawn = len(models.editor.edited)
    models.classifiers["colour"] = ColourClassifier(np.tile(np.eye(3), 4) * 3, (0, 0.2, 0), "colour")
    after = again(models, store, made)
    assert predictions(after) == seen_by(models.classifier(), made) != predictions(made)
    assert len(models.editor.edited) == drawn
    assert {entry.key: entry.after for entry in store.entries()} == {
        item.key: item.prediction.probability("red") for item in after.counterfactuals
    }
    untouched = store.load_study(second.photo.key)  # it was judged anew as well
    assert untouched is not None
    assert untouched.photo.prediction == models.classifier().predict([second.photo.image])[0]
    assert {study.photo.fingerprint for study in store.records()} == {models.classifier().fingerprint}
    models.classifiers["colour"] = ColourClassifier.plain()  # and back: what was judged then is still there
    seen = models.classifier().seen
    studio.refresh_classifier(models, store)
    assert models.classifier().seen == seen
    store.set_classifier(made.photo.key, models.classifier())
    assert contents(store.load_study(made.photo.key)) == contents(made)


def test_another_clip_scores_the_stored_pictures_and_draws_none(models: SeamModels, store: Store) -> None:
    made = worked_on(models, store)

    class Harsher(ColourScorer):
        def score(self, *asked: object) -> tuple[object, ...]:  # type: ignore[override]
            return tuple(replace(item, image_similarity=0.1) for item in super().score(*asked))  # type: ignore[arg-type]

    models.scorer = Harsher()
    models.scorer.fingerprint = "another"
    drawn = len(models.editor.edited)
    after = again(models, store, made)
    assert len(models.editor.edited) == drawn
    assert {item.scorer for item in after.counterfactuals} == {"another"}
    assert {item.scores.image_similarity for item in after.counterfactuals} == {0.1}
    assert all(item.missed for item in after.counterfactuals)
    assert models.scorer.batches == [9]
    assert not any(entry.passes for entry in store.entries())


@pytest.mark.parametrize("change", ["weights", "family", "settings", "seed", "words"])
def test_whatever_draws_another_picture_draws_it(models: SeamModels, store: Store, change: str) -> None:
    made = worked_on(models, store)
    wanted, asked = made.perturbations, SETTINGS
    if change in ("weights", "family"):
        models.editor.fingerprint = change
    elif change == "words":
        wanted = (replace(wanted[0], edited_caption="a photo of a red plane in rain"),)
    else:
        asked = settings(seed=5) if change == "seed" else settings(guidance_scale=2.0)
    *_, more = studio.edit(models, store, made.photo.key, wanted, asked)
    assert len(more.counterfactuals) == 9 + 3 * len(wanted)


def test_models_of_one_name_in_two_folders_are_not_mixed_up(tmp_path: Path) -> None:
    keys = set()
    for version in ("v1", "v2"):
        folder = tmp_path / version / "best" / "model"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(version)
        models = SeamModels(profile=replace(PROFILE, perturber=str(folder)))
        keys.add(run_key(models, SETTINGS, models.classifier()))
    moved = Path(shutil.move(tmp_path / "v2", tmp_path / "elsewhere"))
    models = SeamModels(profile=replace(PROFILE, perturber=str(moved / "best" / "model")))
    assert run_key(models, SETTINGS, models.classifier()) in keys
    assert len(keys) == 2


def test_a_classifier_whose_fingerprint_nobody_noted_is_recognised(models: SeamModels, store: Store) -> None:
    studies = [study_of(seed) for seed in range(3)]
    for study in studies:
        save(store, replace(study, photo=replace(study.photo, fingerprint="")))
    judge = studio.refresh_classifier(models, store)
    assert judge.seen == studio.SAMPLE  # of 33
    known = store.known_judge("colour")
    assert known is not None
    assert known.fingerprint == judge.fingerprint
    assert [contents(store.load_study(study.photo.key)) for study in studies] == [contents(study) for study in studies]


def test_one_that_judges_otherwise_is_not_recognised(models: SeamModels, store: Store) -> None:
    study = study_of()
    save(store, replace(study, photo=replace(study.photo, fingerprint="")))
    models.classifiers["colour"] = ColourClassifier(np.tile(np.eye(3), 4), (0, 0.2, 0), "colour")
    studio.refresh_classifier(models, store)
    after = store.load_study(study.photo.key)
    assert after is not None
    assert predictions(after) == seen_by(models.classifier(), study)


def test_what_came_from_elsewhere_is_judged_by_the_classifier_that_is_here(models: SeamModels, store: Store) -> None:
    worked_on(models, store)
    foreign = study_of(7)
    studio.save_study(store, replace(foreign, photo=replace(foreign.photo, fingerprint="")))
    assert store.load_study(foreign.photo.key) is None  # nobody knows who judged it
    studio.refresh_classifiers(models, store)
    assert contents(store.load_study(foreign.photo.key)) == contents(foreign)


@pytest.mark.parametrize("version", ["v5"])
def test_what_an_earlier_version_drew_is_not_drawn_again(tmp_path: Path, models: SeamModels, version: str) -> None:
    store = Store(Path(shutil.copytree(FOLDERS / version, tmp_path / "data")))
    few = settings(factors=("background", "object"), taus=(0.3, 0.6))
    held = [entry for summary in store.studies() if (entry := store.load_study(summary.key)) and entry.counterfactuals]
    whole = 0
    for study in held:
        wanted = {item.perturbation.edited_caption: item.perturbation for item in study.counterfactuals}
        drawn = len(models.editor.edited)
        chosen = tuple(replace(entry, rejected_by=()) for entry in wanted.values())
        *_, after = studio.edit(models, store, study.photo.key, chosen, few)
        whole += len(models.editor.edited) == drawn
        assert {item.key for item in study.counterfactuals} <= {item.key for item in after.counterfactuals}
    assert whole >= 2
    store.close()


def test_a_label_keeps_to_who_knows_best(models: SeamModels, store: Store) -> None:
    image = picture("red")
    taken = studio.take_in(models, store, image)
    assert (taken.photo.label, taken.photo.label_source) == ("red", GUESS)
    taken = studio.take_in(models, store, image, "green", name="g.png")
    assert (taken.photo.label, taken.photo.label_source, taken.photo.name) == ("green", FOLDER, "g.png")
    store.set_label(taken.photo.key, "blue", analyst="Ada")
    for label in ("", "green"):
        taken = studio.take_in(models, store, image, label)
        assert (taken.photo.label, taken.photo.label_source, taken.photo.label_analyst) == ("blue", ANALYST, "Ada")
    assert store.entries() == ()
    assert store.studies()[0].label_source == ANALYST


def test_ticks_outlive_a_new_judgement_of_the_gates(store: Store) -> None:
    study = study_of()
    save(store, study)
    key, (ticked, unticked, left) = study.photo.key, study.perturbations
    refusals = ("A gate objects.",)
    store.add_proposals(key, study.caption, [replace(ticked, rejected_by=refusals)])
    store.tick(key, study.caption, {ticked.edited_caption: (), unticked.edited_caption: ("You rejected it.",)})
    judged = [replace(variation, rejected_by=refusals) for variation in study.perturbations]
    store.add_proposals(key, study.caption, [*judged, _another(left)])
    after = store.load_study(key)
    assert after is not None
    assert [variation.rejected_by for variation in after.perturbations] == [(), ("You rejected it.",), refusals, ()]
    store.tick(key, study.caption, {ticked.edited_caption: None})
    after = store.load_study(key)
    assert after is not None
    assert after.perturbations[0].rejected_by == refusals


def _another(item: Perturbation) -> Perturbation:
    return replace(item, edited_caption=f"{item.edited_caption} at night", edit="at night")


def test_the_control_is_a_judgement_like_any_other(models: SeamModels, store: Store) -> None:
    made = worked_on(models, store)
    assert made.reconstruction is not None
    assert store.media.path(key_of(made.reconstruction)).is_file()
    assert store.unjudged(made.photo.key, models.classifier()) == ()


def test_a_classifier_judges_every_stored_picture_once_and_draws_none(models: SeamModels, store: Store) -> None:
    made = worked_on(models, store)
    away = studio.take_in(models, store, picture("blue", 5), "blue")
    store.put_away([away.photo.key])
    drawn, told = len(models.editor.edited), list[tuple[int, int]]()
    judged = studio.judge_stored(models, store, "other", step=lambda done, total: told.append((done, total)))
    assert (judged, told, len(models.editor.edited)) == (11, [(0, 11)], drawn)
    (record,) = store.records("other")
    assert len(record.counterfactuals) == 9
    assert predictions(require(store, made, "other")) == seen_by(models.classifier("other"), made)
    assert studio.judge_stored(models, store, "other") == 0
    assert require(store, made).photo.classifier == "colour"  # the photo is shown as before


def test_judging_that_is_cancelled_keeps_what_was_done(
    models: SeamModels, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_on(models, store)
    monkeypatch.setattr(studio, "CHUNK", 4)

    def stop_at_four(done: int, _total: int) -> None:
        if done >= 4:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        studio.judge_stored(models, store, "other", step=stop_at_four)
    assert studio.judge_stored(models, store, "other") == 7


def require(store: Store, study: Study, classifier: str = "") -> Study:
    return studio.require_study(store, study.photo.key, classifier)
