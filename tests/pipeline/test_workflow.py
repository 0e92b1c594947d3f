"""The order of the stages, on seams of the same protocols."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import workflow
from pipeline.errors import Cancelled, CaptionError, LabelError, PerturbationError, SettingsError, StoreError
from pipeline.images import key_of
from pipeline.store.store import Store
from pipeline.tasks import studio
from pipeline.types import Models, Study
from tests.seams import SETTINGS, SIZE, SeamModels, WordPerturber, folder_of, picture, settings


@pytest.fixture
def models() -> SeamModels:
    return SeamModels()


def opened(models: Models, seed: int = 0) -> Study:
    study = workflow.open_photo(models, picture("red", seed), "red", name="a.png")
    return workflow.describe(models, study, SETTINGS)


def complete(models: Models, seed: int = 0) -> Study:
    study = workflow.propose(models, opened(models, seed), SETTINGS)
    return list(workflow.edit(models, study, study.perturbations, SETTINGS))[-1]


def test_open_photo_fits_names_and_classifies(models: SeamModels) -> None:
    study = workflow.open_photo(models, picture("blue", size=40), name="sea.png")
    assert study.photo.image.size == (SIZE, SIZE)
    assert study.photo.key == key_of(study.photo.image)
    assert (study.photo.label, study.photo.name, study.photo.classifier) == ("blue", "sea.png", "colour")


def test_open_photo_refuses_an_unknown_label(models: SeamModels) -> None:
    with pytest.raises(LabelError, match="'sled'"):
        workflow.open_photo(models, picture("red"), "sled")


def test_describe_takes_the_analysts_words_or_the_captioners(models: SeamModels) -> None:
    study = workflow.open_photo(models, picture("red"))
    assert workflow.describe(models, study, SETTINGS).caption == "a photo of a red plane on white"
    assert models.captioner.calls == 1
    assert workflow.describe(models, study, SETTINGS, "  a\tred\nplane\u200b ").caption == "a red plane"
    assert models.captioner.calls == 1


@pytest.mark.parametrize("words", [" ", "\n\t", "\u200b\u202e", "word " * 101, "x" * 5000, "\ud800"])
def test_describe_refuses_empty_and_overlong_captions(models: SeamModels, words: str) -> None:
    with pytest.raises(CaptionError):
        workflow.describe(models, workflow.open_photo(models, picture("red")), SETTINGS, words)


def test_a_new_caption_drops_what_rested_on_the_old_one(models: SeamModels) -> None:
    study = complete(models)
    assert workflow.describe(models, study, SETTINGS, study.caption) is study
    fresh = workflow.describe(models, study, SETTINGS, "a red wall")
    assert not (fresh.perturbations)
    assert not (fresh.counterfactuals)
    assert not (fresh.control)
    assert not (fresh.reconstruction)


def test_propose_keeps_what_is_there_and_takes_the_new_judgement(models: SeamModels) -> None:
    study = workflow.propose(models, opened(models), settings(factors=("background",)))
    models.perturber.rejected = ("background",)
    again = workflow.propose(models, study, SETTINGS)
    assert [(variation.factor, variation.accepted) for variation in again.perturbations] == [
        ("background", False),
        ("subject", True),
        ("object", True),
    ]


def test_one_broken_factor_loses_none_of_the_others(models: SeamModels, caplog: pytest.LogCaptureFixture) -> None:
    models.perturber.broken = ("object",)
    study = workflow.propose(models, opened(models), SETTINGS)
    assert [variation.factor for variation in study.perturbations] == ["subject", "background"]
    assert "object" in caplog.text


def test_propose_raises_when_every_factor_is_broken(models: SeamModels) -> None:
    models.perturber.broken = SETTINGS.factors
    with pytest.raises(PerturbationError) as caught:
        workflow.propose(models, opened(models), SETTINGS)
    assert caught.value.raw == "?!"


def test_propose_refuses_an_unknown_factor(models: SeamModels) -> None:
    with pytest.raises(SettingsError, match="season"):
        workflow.propose(models, opened(models), settings(factors=("background", "season")))


def test_edit_yields_the_control_and_then_one_more_each_time(models: SeamModels) -> None:
    study = workflow.propose(models, opened(models), SETTINGS)
    steps: list[tuple[int, int]] = []
    grown = list(
        workflow.edit(models, study, study.perturbations, SETTINGS, step=lambda done, all: steps.append((done, all)))
    )
    assert [len(study.counterfactuals) for study in grown] == list(range(10))
    first, last = grown[0], grown[-1]
    assert first.reconstruction is not None
    assert first.control is not None
    assert first.control != first.photo.prediction
    assert models.editor.inversions == 1
    assert models.scorer.batches == [3, 3, 3]
    assert [item.tau for item in last.counterfactuals] == [0.2, 0.5, 0.8] * 3
    assert len({item.key for item in last.counterfactuals}) == 9
    assert steps == [(1, 3), (2, 3), (3, 3)] * 2
    for item in last.counterfactuals:
        alone = models.classifier().predict([item.image])[0].probabilities
        assert item.prediction.probabilities.tolist() == pytest.approx(alone.tolist())


def test_edit_passes_over_rejected_and_doubled_perturbations(models: SeamModels) -> None:
    models.perturber.rejected = ("object",)
    study = workflow.propose(models, opened(models), SETTINGS)
    wanted = (*study.perturbations, study.perturbations[0])
    list(workflow.edit(models, study, wanted, SETTINGS))
    assert [words.split()[-1] for words in models.editor.edited] == ["blue", "yellow"]
    overruled = [replace(variation, rejected_by=()) for variation in study.perturbations]
    assert len(list(workflow.edit(models, study, overruled, SETTINGS))) == 10


def test_edit_with_nothing_to_do_gives_the_control_only(models: SeamModels) -> None:
    assert len(list(workflow.edit(models, opened(models), (), SETTINGS))) == 1
    assert models.editor.edited == []


def test_edit_makes_nothing_twice_and_judges_again(models: SeamModels) -> None:
    study = complete(models)
    strict = settings(min_image_similarity=0.999)
    again = list(workflow.edit(models, study, study.perturbations, strict))
    assert len(again) == 1
    assert len(models.editor.edited) == 3
    assert not all(item.missed for item in study.counterfactuals)
    assert all(any("image similarity" in line for line in item.missed) for item in again[0].counterfactuals)
    more = list(workflow.edit(models, study, study.perturbations, settings(taus=(0.2, 0.3))))
    assert len(more[-1].counterfactuals) == 12


def test_another_classifier_judges_anew(models: SeamModels) -> None:
    study = complete(models)
    other = list(workflow.edit(models, study, study.perturbations, SETTINGS, classifier="other"))[-1]
    assert other.photo.classifier == "other"
    assert other.photo.prediction == models.classifier("other").predict([study.photo.image])[0]
    assert [item.key for item in other.counterfactuals] == [item.key for item in study.counterfactuals]
    expected = models.classifier("other").predict([item.image for item in study.counterfactuals])
    assert tuple(item.prediction for item in other.counterfactuals) == expected
    assert len(models.editor.edited) == 3  # no picture was drawn again


@pytest.mark.parametrize(
    "change",
    [
        {"inversion": "null-text"},
        {"num_inference_steps": 4},
        {"guidance_scale": 3.0},
        {"cross_replace_steps": 0.1},
        {"word_weight": 1.0},
        {"cross_attention": "replace"},
        {"cross_replace_words": ("white=0.5",)},
        {"local_blend": 0.3},
        {"seed": 1},
        {"taus": (0.21, 0.51, 0.81)},
    ],
)
def test_the_key_hangs_on_everything_that_determines_the_picture(models: SeamModels, change: dict[str, object]) -> None:
    study = workflow.propose(models, opened(models), SETTINGS)
    plain = list(workflow.edit(models, study, study.perturbations, SETTINGS))[-1]
    changed = list(workflow.edit(models, study, study.perturbations, settings(**change)))[-1]
    assert not {item.key for item in plain.counterfactuals} & {item.key for item in changed.counterfactuals}


def test_edits_share_a_given_cache(models: SeamModels) -> None:
    study, inversions = opened(models), workflow.Inversions()
    for _ in range(2):
        list(workflow.edit(models, study, (), SETTINGS, inversions=inversions))
    assert models.editor.inversions == 1


def test_explore_runs_all_stages(models: SeamModels) -> None:
    studies = list(workflow.explore(models, picture("green"), "", SETTINGS))
    assert len(studies) == 3 + 10
    assert studies[-1].photo.label == "green"


def test_chosen_is_the_best_passing_tau_of_each_caption(models: SeamModels) -> None:
    study = complete(models)
    best = workflow.chosen(study)
    for item in best:
        rivals = [
            other
            for other in study.counterfactuals
            if other.perturbation.edited_caption == item.perturbation.edited_caption and not other.missed
        ]
        assert item.scores.directional_similarity == max(other.scores.directional_similarity for other in rivals)
    missed = tuple(replace(item, missed=("no",)) for item in study.counterfactuals)
    assert best
    assert workflow.chosen(replace(study, counterfactuals=missed)) == ()


def test_a_picture_that_is_rebuilt_worse_than_the_profile_asks_is_told_with_its_figure(models: SeamModels) -> None:
    study = opened(models)
    reached = models.editor.round_trip(study.photo.image)
    for least, told in ((0.0, None), (reached, None), (reached + 1, reached)):
        strict = replace(models, profile=replace(models.profile, min_round_trip=least))
        assert workflow.short_round_trip(strict, study) == told


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "run")
    yield store
    store.close()


def test_stress_goes_on_where_it_stopped(models: SeamModels, store: Store, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "pictures")
    run = studio.stress(models, folder, store, SETTINGS)
    first = [next(run) for _ in range(2)]
    run.close()
    assert len(store.studies()) == 2
    assert models.editor.inversions == 2
    rest = list(studio.stress(models, folder, store, SETTINGS))
    assert models.editor.inversions == 6
    assert len({study.photo.key for study in (*first, *rest)}) == 6
    assert {(study.photo.name, study.photo.label) for study in rest} == {
        ("green/0.png", "green"),
        ("green/1.png", "green"),
        ("red/0.png", "red"),
        ("red/1.png", "red"),
    }
    seen = models.classifier().seen
    assert list(studio.stress(models, folder, store, SETTINGS)) == []
    assert models.classifier().seen == seen
    assert models.editor.inversions == 6


def test_stress_works_again_under_other_settings(models: SeamModels, store: Store, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "pictures", each=1)
    assert len(list(studio.stress(models, folder, store, SETTINGS))) == 3
    assert len(list(studio.stress(models, folder, store, settings(taus=(0.4,))))) == 3
    loaded = store.load_study(store.studies()[0].key)
    assert loaded is not None
    assert len(loaded.counterfactuals) == 12


def test_one_bad_picture_does_not_stop_a_run(models: SeamModels, store: Store, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "pictures", each=1)
    (folder / "blue" / "text.png").write_text("not a picture")
    (folder / "sled").mkdir()
    picture("red", 99).save(folder / "sled" / "0.png")
    picture("blue", 98).point(lambda value: value // 8).save(folder / "blue" / "dark.png")
    models.editor.broken_below = 0.1
    assert len(list(studio.stress(models, folder, store, SETTINGS))) == 3
    assert [failure.name for failure in store.failures()] == ["blue/dark.png", "blue/text.png", "sled/0.png"]
    assert "'sled'" in store.failures()[2].message
    models.editor.broken_below = -1.0
    assert [study.photo.name for study in studio.stress(models, folder, store, SETTINGS)] == ["blue/dark.png"]
    assert [failure.name for failure in store.failures()] == ["blue/text.png", "sled/0.png"]


def test_cancelling_and_a_failing_store_end_a_run(models: SeamModels, store: Store, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "pictures", each=1)

    def stop(done: int, total: int) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        list(studio.stress(models, folder, store, SETTINGS, step=stop))
    assert store.failures() == ()
    assert store.studies() == ()
    (store.root / "media").rename(store.root / "elsewhere")
    (store.root / "media").write_text("in the way")
    with pytest.raises(StoreError):
        list(studio.stress(models, folder, store, SETTINGS))
    assert store.studies() == ()


def test_a_model_that_cannot_be_opened_is_not_blamed_on_a_picture(store: Store, tmp_path: Path) -> None:
    class Lacking(SeamModels):
        @property
        def perturber(self) -> WordPerturber:  # type: ignore[override]
            raise SettingsError("no such model")

        @perturber.setter
        def perturber(self, _: WordPerturber) -> None: ...

    with pytest.raises(SettingsError):
        list(studio.stress(Lacking(), folder_of(tmp_path / "pictures", each=1), store, SETTINGS))
    assert store.failures() == ()
