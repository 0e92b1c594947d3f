"""The order of the stages: photo, caption, perturbations, inversion and control, edits, scores, predictions.

The only module that knows the order; it sees the stages through the protocols of `pipeline/types.py` alone. Everything
that takes long is a generator that yields the study one step richer each time, so that a page can show it, a test can
list it and the command line can count it.
"""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from PIL.Image import Image

from pipeline.curation import chosen, load_folder
from pipeline.errors import Cancelled, CaptionError, PerturbationError, PipelineError, SettingsError, StoreError
from pipeline.factors import FACTORS
from pipeline.images import fit, key_of, open_image
from pipeline.inversions import Inversions
from pipeline.profiles import models_of
from pipeline.scoring import missed_gates
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.types import Classifier, Counterfactual, Edit, Models, Perturbation, Photo, Step, Study

__all__ = [
    "Inversions",
    "chosen",
    "describe",
    "edit",
    "edit_key",
    "explore",
    "judged_by",
    "model_name",
    "open_photo",
    "outside",
    "proposals",
    "propose",
    "run_key",
    "stress",
    "tidy",
]
logger = logging.getLogger(__name__)


def open_photo(models: Models, image: Image, label: str = "", classifier: str = "", name: str = "") -> Study:
    """A new study of the picture, fitted to the profile's size and classified; the label defaults to the top-1.

    Raises `LabelError` for a label that the classifier does not know.
    """
    picture = fit(image, models.profile.image_size)
    judge = models.classifier(classifier)
    prediction = judge.predict([picture])[0]
    label = label or prediction.top(1)[0][0]
    prediction.probability(label)
    photo = Photo(
        key=key_of(picture), image=picture, label=label, prediction=prediction, name=name, classifier=judge.name
    )
    return Study(photo=photo)


def outside(models: Models, study: Study) -> str:
    """The profile's hint when the autoencoder does not know this kind of picture, else ""."""
    least = models.profile.min_round_trip
    if least <= 0 or models.editor.round_trip(study.photo.image) >= least:
        return ""
    return models.profile.outside_hint


def describe(models: Models, study: Study, settings: Settings, caption: str = "") -> Study:
    """The study with its caption: the analyst's words, or the captioner's when they are "".

    A caption that differs from the study's drops everything that rested on the old one. Raises `CaptionError` for
    blank words and for more than `settings.caption_max_tokens` of them.
    """
    if not caption:
        caption = models.captioner.caption(study.photo.image, settings)
        spared = len(settings.caption_prefix.split())  # the captioner counts the words behind its prefix
        settings = replace(settings, caption_max_tokens=settings.caption_max_tokens + spared)
    words = tidy(caption, settings)
    return study if words == study.caption else Study(photo=study.photo, caption=words)


def tidy(caption: str, settings: Settings) -> str:
    """The caption on one line, without characters that cannot be seen. Raises `CaptionError` when nothing is left."""
    visible = (" " if char.isspace() else char for char in caption if char.isspace() or not _is_invisible(char))
    words = "".join(visible).split()
    if not words:
        raise CaptionError("The caption is empty; describe the picture in a sentence.")
    if len(words) > settings.caption_max_tokens or sum(map(len, words)) > 20 * settings.caption_max_tokens:
        raise CaptionError(
            f"The caption has {len(words)} words; use at most {settings.caption_max_tokens}, none overlong."
        )
    return " ".join(words)


def propose(models: Models, study: Study, settings: Settings) -> Study:
    """The study with proposals for every factor in `settings.factors` added to the perturbations it has.

    An edited caption that is there already takes the new judgement. A factor for which the language model gives
    nothing readable loses none of the others; `PerturbationError` is raised when that is so for all of them.
    """
    found = {one.edited_caption: one for one in study.perturbations}
    proposed = proposals(models, study.caption, study.photo.label, settings)
    return replace(study, perturbations=tuple((found | {one.edited_caption: one for one in proposed}).values()))


def proposals(models: Models, caption: str, label: str, settings: Settings) -> Iterator[Perturbation]:
    """What the language model proposes for every factor in turn, with its gates judged; errors as in `propose`."""
    for name in settings.factors:
        if name not in FACTORS:
            raise SettingsError(f"The factor '{name}' is unknown; use {', '.join(FACTORS)}.")
    failed: list[PerturbationError] = []
    for name in settings.factors:
        try:
            yield from models.perturber.perturb(caption, FACTORS[name], label, settings)
        except PerturbationError as error:
            logger.warning("no perturbation of the %s: %s", name, error)
            failed.append(error)
    if failed and len(failed) == len(settings.factors):
        raise failed[0]


def edit(
    models: Models,
    study: Study,
    perturbations: Sequence[Perturbation],
    settings: Settings,
    classifier: str = "",
    *,
    step: Step | None = None,
    inversions: Inversions | None = None,
) -> Iterator[Study]:
    """First the study with its reconstruction and control, then one counterfactual richer each time.

    Rejected perturbations are passed over (clear `rejected_by` to overrule a gate), and so is what the study holds
    already; `step` hears of every denoising step, `inversions` spares those made before. `classifier` defaults to the
    study's own; another one judges the photo anew and drops the counterfactuals that the old one judged.
    """
    judge = models.classifier(classifier or study.photo.classifier)
    study = _under(study, judge)
    inversion = (inversions or Inversions()).get(models, study, settings, step)
    control = judge.predict([inversion.reconstruction])[0]
    held = tuple(replace(one, missed=missed_gates(one.scores, settings)) for one in study.counterfactuals)
    study = replace(study, reconstruction=inversion.reconstruction, control=control, counterfactuals=held)
    yield study
    wanted = _wanted(models, study, perturbations, settings)
    if not wanted:
        return
    edits = models.editor.edit(inversion, [one.edited_caption for one in wanted], settings, step)
    for group in _by_caption(edits, len(settings.taus)):
        for counterfactual in _measure(models, study, judge, wanted[group[0].index], group, settings=settings):
            if all(counterfactual.key != one.key for one in study.counterfactuals):
                study = replace(study, counterfactuals=(*study.counterfactuals, counterfactual))
                yield study


def explore(
    models: Models,
    image: Image,
    label: str,
    settings: Settings,
    classifier: str = "",
    *,
    step: Step | None = None,
    inversions: Inversions | None = None,
) -> Iterator[Study]:
    """All stages of one picture, a richer study after each; "" as the label takes the classifier's own."""
    study = open_photo(models, image, label, classifier)
    yield study
    study = describe(models, study, settings)
    yield study
    study = propose(models, study, settings)
    yield study
    yield from edit(models, study, study.perturbations, settings, classifier, step=step, inversions=inversions)


def stress(
    models: Models, folder: Path, store: Store, settings: Settings, classifier: str = "", *, step: Step | None = None
) -> Iterator[Study]:
    """One finished and saved study per picture of an ImageFolder.

    Pictures that an earlier call with the same models and settings has finished are passed over. A picture that fails
    is noted in the store (`Store.failures`), and the others go on; a model that cannot be opened, a store that cannot
    be written and a `Cancelled` end the run.
    """
    _ = models.captioner, models.perturber, models.editor, models.scorer  # opened now, not blamed on a picture later
    job = run_key(models, settings, classifier)
    finished = set(store.finished(job))
    for entry in load_folder(folder):
        name = entry.path.relative_to(folder).as_posix()
        try:
            image = fit(open_image(entry.path), models.profile.image_size)
            if key_of(image) in finished:
                continue
            study = _finish(models, open_photo(models, image, entry.label, classifier, name), settings, step)
        except (StoreError, Cancelled):
            raise
        except PipelineError as error:
            logger.warning("%s is left out: %s", name, error)
            store.fail(job, name, str(error))
            continue
        store.save_study(study)
        store.finish(job, study.photo.key, name)
        finished.add(study.photo.key)
        yield study


def judged_by(study: Study, judge: Classifier) -> Study:
    """The study with every prediction made anew by another classifier; pictures, scores and keys stay."""
    made = judge.predict([one.image for one in study.counterfactuals])
    prediction = judge.predict([study.photo.image])[0]
    prediction.probability(study.photo.label)
    return replace(
        study,
        photo=replace(study.photo, prediction=prediction, classifier=judge.name),
        control=judge.predict([study.reconstruction])[0] if study.reconstruction is not None else None,
        counterfactuals=tuple(
            replace(one, prediction=found, models=one.models | {"classifier": judge.name})
            for one, found in zip(study.counterfactuals, made, strict=True)
        ),
    )


def _finish(models: Models, study: Study, settings: Settings, step: Step | None) -> Study:
    """All stages after the first, at one go."""
    study = propose(models, describe(models, study, settings), settings)
    return deque(edit(models, study, study.perturbations, settings, step=step), maxlen=1).pop()


def _under(study: Study, judge: Classifier) -> Study:
    """The study as this classifier sees it."""
    if judge.name == study.photo.classifier:
        return study
    prediction = judge.predict([study.photo.image])[0]
    prediction.probability(study.photo.label)
    return replace(
        study,
        photo=replace(study.photo, prediction=prediction, classifier=judge.name),
        control=None,
        counterfactuals=(),
    )


def _wanted(
    models: Models, study: Study, perturbations: Sequence[Perturbation], settings: Settings
) -> tuple[Perturbation, ...]:
    """One accepted perturbation per edited caption, without those that the study holds at every tau."""
    held = {one.key for one in study.counterfactuals}
    accepted: dict[str, Perturbation] = {}
    for one in perturbations:
        if one.accepted:
            accepted.setdefault(one.edited_caption, one)
    return tuple(
        one
        for one in accepted.values()
        if any(edit_key(models, study, one, tau, settings) not in held for tau in settings.taus)
    )


def _by_caption(edits: Iterator[Edit], each: int) -> Iterator[list[Edit]]:
    """The edits of one caption together, as soon as all its `each` tau are there, in whatever order they come."""
    waiting: dict[int, list[Edit]] = {}
    for one in edits:
        waiting.setdefault(one.index, []).append(one)
        if len(waiting[one.index]) == each:
            yield waiting.pop(one.index)
    yield from waiting.values()


def _measure(
    models: Models,
    study: Study,
    judge: Classifier,
    perturbation: Perturbation,
    group: Sequence[Edit],
    *,
    settings: Settings,
) -> Iterator[Counterfactual]:
    """Scores and predictions of one caption's edits, each model asked once."""
    words = perturbation.edited_caption
    scores = models.scorer.score(study.photo.image, study.caption, [(one.image, words) for one in group])
    predictions = judge.predict([one.image for one in group])
    for one, score, prediction in zip(group, scores, predictions, strict=True):
        yield Counterfactual(
            key=edit_key(models, study, perturbation, one.tau, settings),
            perturbation=perturbation,
            tau=one.tau,
            image=one.image,
            scores=score,
            prediction=prediction,
            missed=missed_gates(score, settings),
            seed=settings.seed,
            models=_used(models, judge),
        )


def edit_key(models: Models, study: Study, perturbation: Perturbation, tau: float, settings: Settings) -> str:
    """Hash of everything that determined a counterfactual."""
    return _digest(
        study.photo.key,
        study.caption,
        perturbation.edited_caption,
        tau,
        settings.inversion,
        (settings.null_text_learning_rate, settings.null_text_min_gain),
        settings.num_inference_steps,
        settings.guidance_scale,
        settings.cross_replace_steps,
        settings.cross_replace_words,
        settings.cross_attention,
        settings.word_weight,
        (settings.local_blend, settings.local_blend_start),
        model_name(models.profile.diffusion),
        study.photo.classifier,
    )


def run_key(models: Models, settings: Settings, classifier: str = "") -> str:
    """Hash of everything that determines what a run makes of a picture."""
    profile = models.profile
    used = (profile.captioner, profile.perturber, profile.perturber_adapter, profile.sentences, profile.diffusion)
    instructions = [FACTORS[name].instruction for name in settings.factors if name in FACTORS]
    models_used = [model_name(path) for path in (*used, profile.clip)]
    return _digest(models_used, profile.image_size, models.classifier(classifier).name, settings, instructions)


def _used(models: Models, judge: Classifier) -> dict[str, str]:
    """Role -> model, of everything that has a part in a counterfactual; of the classifiers only the one that judged."""
    profile = models.profile
    named = {role: model_name(path) for role, _, path in models_of(profile) if role != "classifier"}
    return {**named, "classifier": model_name(profile.classifiers.get(judge.name, judge.name))}


def model_name(path: str) -> str:
    """A hub id, or the last two parts of a folder's path, so that a run can be moved with its models."""
    return "/".join(Path(path).parts[-2:])


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(repr(part) for part in parts).encode()).hexdigest()


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn")
