"""The stages at work on a store: each result is saved by the command that means it, as soon as it is there.

What was read when the work began is never written back, so what people did meanwhile stays. A picture that is there is
judged and scored anew where classifier or CLIP are others by now, and never drawn twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from PIL.Image import Image

from pipeline import workflow
from pipeline.classifiers.labels import find_label, refuse_merged
from pipeline.editing.inversion_cache import Inversions
from pipeline.errors import Cancelled, ConflictError, DataError, PipelineError, StoreError
from pipeline.images import fit, key_of, open_image
from pipeline.importing.folders import load_folder
from pipeline.settings import Settings
from pipeline.store.keys import run_key
from pipeline.store.schema import STUDIED
from pipeline.store.store import Failure, Store
from pipeline.types import (
    ANALYST,
    FOLDER,
    GUESS,
    Classifier,
    CounterfactualRecord,
    Models,
    Perturbation,
    Prediction,
    Step,
    Study,
)

SAMPLE = 16  # judgements by which a classifier whose fingerprint nobody noted is recognised
CLOSE = 1e-3  # greatest difference of a probability between two machines
CHUNK = 64  # pictures opened at once
logger = logging.getLogger(__name__)


def take_in(
    models: Models,
    store: Store,
    image: Image,
    label: str = "",
    classifier: str = "",
    name: str = "",
    source: str = FOLDER,
    collection: int | None = None,
) -> Study:
    """Return the picture as a photo of the store, with all that is known of it; arguments as `workflow.open_photo`.

    It is in this collection from then on, or in that of single photos.

    A photo that is known comes back under the classifier that is named, or the one it is shown under.
    """
    judge = refresh_classifier(models, store, classifier)
    opened = workflow.open_photo(models, image, label, judge.name, name, source)
    store.add_photo(opened.photo, collection)
    return require_study(store, opened.photo.key, classifier)


def require_study(store: Store, photo_key: str, classifier: str = "") -> Study:
    """Load a study as `Store.load_study`. Raises `DataError` when the photo is not there."""
    study = store.load_study(photo_key, classifier)
    if study is None:
        raise DataError("The photo is no longer in the data folder; upload it again.")
    return study


def refresh_classifier(models: Models, store: Store, classifier: str = "") -> Classifier:
    """Return the classifier, once it has judged all that others of its name judged in this store.

    So a folder that was trained anew under its old name is noticed. One whose fingerprint was not noted, by an earlier
    version, is recognised by its judgements.
    """
    judge = models.classifier(classifier)
    known = store.outdated(judge)
    if not known:
        return judge
    before = store.known_judge(judge.name)
    if before is not None and not before.fingerprint and before.labels == judge.labels:
        sample = dict(islice(sorted(known.items()), SAMPLE))
        made = _judge_pictures(store, judge, list(sample))
        if all(np.allclose(made[key].probabilities, sample[key].probabilities, atol=CLOSE) for key in sample):
            store.recognise(judge)
            return judge
    logger.info("the classifier %s is another than before and judges %d pictures anew", judge.name, len(known))
    store.add_judgements(judge, _judge_pictures(store, judge, sorted(known)))
    return judge


def refresh_classifiers(models: Models, store: Store) -> None:
    """Refresh every classifier that this store and the profile both know; a fault of any is logged."""
    for name in store.judges():
        if name in models.profile.classifiers:
            try:
                refresh_classifier(models, store, name)
            except PipelineError as error:
                logger.warning("the classifier %s could not look at what is stored: %s", name, error.in_full())


def judge_photo(models: Models, store: Store, photo_key: str, classifier: str = "") -> Study:
    """Return the photo under this classifier, which judges every picture of it that it has not judged; none is drawn.

    Raises `LabelError` when the classifier does not know the photo's label; a guess gives way to its own.
    """
    judge = refresh_classifier(models, store, classifier)
    study = require_study(store, photo_key)
    if study.photo.label not in judge.labels:
        prediction = judge.predict([study.photo.image])[0]
        prediction.probability(study.photo.protected or prediction.top(1)[0][0])
        store.set_label(photo_key, prediction.top(1)[0][0], source=GUESS, expected="")
    left = store.unjudged(photo_key, judge)
    if left:
        store.add_judgements(judge, _judge_pictures(store, judge, left))
    return require_study(store, photo_key, judge.name)


def judge_stored(models: Models, store: Store, classifier: str, *, step: Step | None = None) -> int:
    """Have a classifier judge every stored picture that it has not judged, and return how many there were.

    None is drawn: of photos, reconstructions and edits under the present captions. Each portion is saved as soon as it
    is there, so what was done before a `Cancelled` of `step` is kept. Photos are shown under the classifiers that they
    were shown under.
    """
    judge = refresh_classifier(models, store, classifier)
    left = store.unjudged_pictures(judge)
    for start in range(0, len(left), CHUNK):
        if step is not None:
            step(start, len(left))
        store.add_judgements(judge, _judge_pictures(store, judge, left[start : start + CHUNK]))
    return len(left)


def say_label(
    models: Models,
    store: Store,
    photo_key: str,
    label: str,
    settings: Settings,
    *,
    analyst: str = "",
    expected: str | None = None,
) -> tuple[str, ...]:
    """Say what a photo shows; its variations are judged anew, and unticked where the gate on the label now objects.

    Returns the edited captions that were ticked before and are no longer. No model is asked while there are no
    variations. Raises `LabelError` for a label that its classifier does not know, `ConflictError` when the label is
    neither this one nor the `expected` one.
    """
    before = require_study(store, photo_key)
    label = find_label(label, before.photo.prediction.labels)
    store.set_label(photo_key, label, analyst=analyst, expected=expected)
    study = require_study(store, photo_key)
    if not study.perturbations or before.photo.protected == label:
        return ()
    fresh = workflow.rejudge(models, study, settings)
    store.add_proposals(photo_key, study.caption, fresh)
    lost = [
        perturbation
        for perturbation in fresh
        if any(check.gate == workflow.LABEL_GATE and not check.passed for check in perturbation.checks)
    ]
    if lost:
        store.tick(photo_key, study.caption, {perturbation.edited_caption: None for perturbation in lost})
    ticked = {
        perturbation.edited_caption
        for perturbation in require_study(store, photo_key).perturbations
        if perturbation.accepted
    }
    return tuple(
        perturbation.edited_caption
        for perturbation in before.perturbations
        if perturbation.accepted and perturbation.edited_caption not in ticked
    )


def edit(
    models: Models,
    store: Store,
    photo_key: str,
    perturbations: Sequence[Perturbation],
    settings: Settings,
    classifier: str = "",
    *,
    caption: str = "",
    step: Step | None = None,
    inversions: Inversions | None = None,
) -> Iterator[Study]:
    """Edit a photo of the store as `workflow.edit`; everything is saved before it is handed over.

    Raises `DataError` when the photo has another caption than this one ("": whichever it has). One that is written
    while the edits are made puts them aside with the old caption's.
    """
    study = judge_photo(models, store, photo_key, classifier)
    if caption and study.caption != caption:
        raise DataError("The photo has another caption by now; start again for that one.")
    for grown in workflow.edit(
        models, study, perturbations, settings, study.photo.classifier, step=step, inversions=inversions
    ):
        _save_growth(store, study, grown)
        study = grown
        yield grown


def save_study(store: Store, study: Study, collection: int | None = None) -> None:
    """Add all of a study that was made outside the store, to this collection or to that of single photos.

    What is there already stays as it is, and a caption that a person wrote there the present one.
    """
    key, caption = study.photo.key, study.caption
    store.add_photo(study.photo, collection)
    present, written = store.caption_of(key)
    if caption and not written:
        with suppress(ConflictError):  # a person was quicker
            store.set_caption(key, caption, expected=present)
    if study.perturbations:
        store.add_proposals(key, caption, study.perturbations)
    _save_growth(store, replace(study, reconstruction=None, control=None, counterfactuals=()), study)


def stress(
    models: Models,
    folder: Path,
    store: Store,
    settings: Settings,
    classifier: str = "",
    *,
    step: Step | None = None,
    begun: Callable[[int, int, str], object] | None = None,
    failed: Callable[[Failure], object] | None = None,
) -> Iterator[Study]:
    """Yield a finished and saved study per picture of an ImageFolder.

    Pictures that an earlier call with the same models and settings has finished are passed over; a caption that a
    person wrote is kept. A picture that fails is noted in the store (`Store.failures`), and the others go on; a model
    that cannot be opened, a store that cannot be written and a `Cancelled` end the run.

    `begun` hears of every picture before it is studied: how many of the folder come before it, how many there are, and
    its name; `failed` of every one that is left out by this call.
    """
    _ = models.captioner, models.perturber, models.editor, models.scorer  # opened now, not blamed on a picture later
    judge = refresh_classifier(models, store, classifier)
    job, collection = run_key(models, settings, judge), store.open_collection(STUDIED, folder.resolve().name)
    finished = set(store.finished(job))
    entries = load_folder(folder).pictures
    refuse_merged((entry.label for entry in entries), judge.labels)
    for place, entry in enumerate(entries):
        name = entry.path.relative_to(folder).as_posix()
        try:
            image = fit(open_image(entry.path), models.profile.image_size)
            if key_of(image) in finished:
                store.collect(collection, [key_of(image)])
                continue
            if begun is not None:
                begun(place, len(entries), name)
            opened = workflow.open_photo(models, image, entry.label, judge.name, name)
            study = _finish(models, store, opened, settings, step, collection)
        except (StoreError, Cancelled):
            raise
        except PipelineError as error:
            logger.warning("%s is left out: %s", name, error.in_full())
            store.fail(job, name, str(error))
            if failed is not None:
                failed(Failure(name=name, message=str(error)))
            continue
        store.finish(job, study.photo.key, name)
        finished.add(study.photo.key)
        yield study


def _finish(
    models: Models, store: Store, opened: Study, settings: Settings, step: Step | None, collection: int
) -> Study:
    """Run all stages on a picture and save the study at its end."""
    known = store.load_study(opened.photo.key, opened.photo.classifier)
    caption, written = store.caption_of(opened.photo.key) if known is not None else ("", False)
    if known is not None and (known.photo.label_source == ANALYST or known.photo.confirmed > opened.photo.confirmed):
        if opened.photo.confirmed and opened.photo.label != known.photo.label:
            told = "%s is '%s' in its folder; '%s' counts, which was said before"
            logger.warning(told, opened.photo.name, opened.photo.label, known.photo.label)
        opened = replace(opened, photo=known.photo)
    study = workflow.describe(models, opened, settings, caption if written else "")
    if known is not None and known.caption == study.caption:
        study = replace(known, photo=opened.photo, perturbations=())
    study = workflow.propose(models, study, settings)
    for grown in workflow.edit(models, study, study.perturbations, settings, study.photo.classifier, step=step):
        study = grown
    save_study(store, study, collection)
    return study


def _save_growth(store: Store, before: Study, after: Study) -> None:
    """Save what a study has that it had not before."""
    key, caption, judge = after.photo.key, after.caption, after.photo.judge
    if after.reconstruction is not None and after.control is not None and after.control is not before.control:
        picture = key_of(after.reconstruction)
        if before.reconstruction is None or key_of(before.reconstruction) != picture:
            picture = store.set_reconstruction(key, caption, after.reconstruction)
        store.add_judgements(judge, {picture: after.control})
    held = {counterfactual.key: counterfactual for counterfactual in before.counterfactuals}
    changed = [
        counterfactual
        for counterfactual in after.counterfactuals
        if counterfactual.key in held and _scores_of(counterfactual) != _scores_of(held[counterfactual.key])
    ]
    if changed:
        store.set_scores(changed)
    fresh = [counterfactual for counterfactual in after.counterfactuals if counterfactual.key not in held]
    if fresh:
        store.add_counterfactuals(key, caption, fresh, judge)


def _scores_of(counterfactual: CounterfactualRecord) -> object:
    return counterfactual.scores, counterfactual.scorer, counterfactual.missed


def _judge_pictures(store: Store, judge: Classifier, pictures: Sequence[str]) -> dict[str, Prediction]:
    """Return what the classifier makes of each picture, opened a few at a time."""
    found: dict[str, Prediction] = {}
    for start in range(0, len(pictures), CHUNK):
        keys = pictures[start : start + CHUNK]
        found |= zip(keys, judge.predict([store.media.get(key) for key in keys]), strict=True)
    return found
