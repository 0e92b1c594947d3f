"""Stores for tests, and studies to keep in them."""

from dataclasses import fields, replace

import pytest

from pipeline import workflow
from pipeline.images import encode
from pipeline.store.store import Store
from pipeline.tasks import studio
from pipeline.types import CounterfactualRecord, Decision, PhotoRecord, Study, StudyRecord
from tests.seams import SETTINGS, SeamModels, picture

DATABASES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.slow))
ON_BOTH = pytest.mark.parametrize("store", DATABASES, indirect=True)


def study_of(seed: int = 0, caption: str = "", classifier: str = "") -> Study:
    """A study with three captions at three tau each."""
    models = SeamModels()
    study = workflow.open_photo(models, picture("red", seed), "red", classifier, f"{seed}.png")
    study = workflow.propose(models, workflow.describe(models, study, SETTINGS, caption), SETTINGS)
    return list(workflow.edit(models, study, study.perturbations, SETTINGS))[-1]


def save(store: Store, study: Study) -> None:
    """Has the store hold the study, under its caption and its classifier, by the commands that everybody uses."""
    studio.save_study(store, study)
    if study.caption:
        store.set_caption(study.photo.key, study.caption)
    store.set_classifier(study.photo.key, study.photo.judge)


def contents(study: Study | None) -> object:
    """Everything in a study, pictures by their pixels, so that two can be compared."""
    assert study is not None
    photo = study.photo
    return (
        (photo.key, encode(photo.image), photo.label, photo.prediction, photo.name, photo.classifier),
        (study.caption, study.reconstruction and encode(study.reconstruction), study.control, study.perturbations),
        [
            (
                *(item.key, item.perturbation, item.tau, encode(item.image), item.scores, item.prediction, item.missed),
                *(item.seed, item.models),
            )
            for item in study.counterfactuals
        ],
    )


def told(study: StudyRecord) -> object:
    """Everything in a study but the pictures, of whichever kind; of an edit's prediction how the label stands."""
    known = (StudyRecord, PhotoRecord, CounterfactualRecord)

    def plain(part: object) -> object:
        if isinstance(part, CounterfactualRecord):
            part = replace(part, prediction=part.prediction.standing(study.photo.label))
        if isinstance(part, tuple):
            return [plain(element) for element in part]
        kind = next((kind for kind in known if isinstance(part, kind)), None)
        return part if kind is None else {field.name: plain(getattr(part, field.name)) for field in fields(kind)}

    return plain(study)


def keep(store: Store, key: str, number: int, verdict: str = "keep") -> Decision:
    return store.decide(Decision(id=f"id-{number}", counterfactual=key, verdict=verdict))
