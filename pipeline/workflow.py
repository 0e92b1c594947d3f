"""The order of the stages: photo, caption, perturbations, inversion and control, edits, scores, predictions.

The only module that knows the order; it sees the stages through the protocols of `pipeline/types.py` alone. Everything
that takes long is a generator that yields the study one step richer each time, so that a page can show it, a test can
list it and the command line can count it. How the stages work on a store is told in `pipeline/tasks/studio.py`.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

from PIL.Image import Image

from pipeline.captions.factors import FACTORS
from pipeline.classifiers.labels import find_label
from pipeline.curation.selection import chosen
from pipeline.editing.inversion_cache import Inversions
from pipeline.errors import CaptionError, PerturbationError, SettingsError
from pipeline.images import fit, key_of
from pipeline.scoring.clip import missed_gates
from pipeline.settings import Settings
from pipeline.store.keys import drawing_of, earlier_keys, edit_key, models_used
from pipeline.types import (
    FOLDER,
    GUESS,
    Classifier,
    Counterfactual,
    Edit,
    Models,
    Perturbation,
    Photo,
    Step,
    Study,
)

__all__ = [
    "Inversions",
    "chosen",
    "describe",
    "edit",
    "edit_key",
    "explore",
    "judged_by",
    "open_photo",
    "proposals",
    "propose",
    "short_round_trip",
    "tidy",
]
LABEL_GATE = "label"  # which judges whether the words still name what the photo shows
logger = logging.getLogger(__name__)


def open_photo(
    models: Models, image: Image, label: str = "", classifier: str = "", name: str = "", source: str = FOLDER
) -> Study:
    """Return a new study of the picture, fitted to the profile's size and classified.

    The label, which comes from this `source`, is whatever `find_label` understands; without one the classifier's top-1
    takes its place as a guess. Raises `LabelError` for a label that the classifier does not know.
    """
    picture = fit(image, models.profile.image_size)
    judge = models.classifier(classifier)
    prediction = judge.predict([picture])[0]
    source = source if label else GUESS
    label = find_label(label, judge.labels) if label else prediction.top(1)[0][0]
    photo = Photo(
        key=key_of(picture),
        image=picture,
        label=label,
        label_source=source,
        prediction=prediction,
        name=name,
        classifier=judge.name,
        fingerprint=judge.fingerprint,
    )
    return Study(photo=photo)


def short_round_trip(models: Models, study: Study) -> float | None:
    """Return the PSNR in dB that rebuilding the photo reaches where that is below the profile's least, else None.

    The autoencoder does not know this kind of picture then, nor do the models behind it.
    """
    least = models.profile.min_round_trip
    if least <= 0 or (reached := models.editor.round_trip(study.photo.image)) >= least:
        return None
    return reached


def describe(models: Models, study: Study, settings: Settings, caption: str = "") -> Study:
    """Return the study with its caption: the analyst's words, or the captioner's when they are "".

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
    """Return the caption on one line, without invisible characters. Raises `CaptionError` when nothing is left."""
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
    """Return the study with proposals for every factor in `settings.factors` added to the perturbations it has.

    An edited caption that is there already takes the new judgement. A factor for which the language model gives
    nothing readable loses none of the others; `PerturbationError` is raised when that is so for all of them.
    """
    found = {perturbation.edited_caption: perturbation for perturbation in study.perturbations}
    proposed = proposals(models, study.caption, study.photo.protected, settings)
    found |= {perturbation.edited_caption: perturbation for perturbation in proposed}
    return replace(study, perturbations=tuple(found.values()))


def rejudge(models: Models, study: Study, settings: Settings) -> tuple[Perturbation, ...]:
    """Return the study's perturbations as the gates judge them under the photo's present label; nothing is proposed."""
    return tuple(
        _rejudge(models, perturbation, study.photo.protected, settings) for perturbation in study.perturbations
    )


def _rejudge(models: Models, perturbation: Perturbation, label: str, settings: Settings) -> Perturbation:
    """Judge anew; what only the proposer's gates measured, such as a repeated proposal, stays as it was."""
    fresh = models.perturber.judge(
        perturbation.caption, perturbation.edited_caption, perturbation.factor, label, settings
    )
    judged = {check.gate for check in fresh.checks} | {LABEL_GATE}
    others = [check for check in perturbation.checks if check.gate not in judged]
    failed = [check.says for check in others if not check.passed]
    return replace(perturbation, checks=(*fresh.checks, *others), rejected_by=(*fresh.rejected_by, *failed))


def proposals(models: Models, caption: str, label: str, settings: Settings) -> Iterator[Perturbation]:
    """Yield what the language model proposes for every factor in turn, gates judged; errors as in `propose`."""
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
    """Yield the study with its reconstruction and control, then one counterfactual richer each time.

    Rejected perturbations are passed over (clear `rejected_by` to overrule a gate), and so is what the study holds
    already; `step` hears of every denoising step, `inversions` spares those made before. `classifier` defaults to the
    study's own; another one, or another CLIP, judges the pictures that are there anew and draws none of them again.
    """
    judge = models.classifier(classifier or study.photo.classifier)
    if (judge.name, judge.fingerprint) != (study.photo.classifier, study.photo.fingerprint):
        study = judged_by(study, judge)
    study = _scored(models, study, settings)
    wanted = _wanted(models, study, perturbations, settings)
    if not wanted and study.reconstruction is not None:
        yield replace(study, control=study.control or judge.predict([study.reconstruction])[0])
        return
    inversion = (inversions or Inversions()).get(models, study, settings, step)
    control = judge.predict([inversion.reconstruction])[0]
    study = replace(study, reconstruction=inversion.reconstruction, control=control)
    yield study
    if not wanted:
        return
    edits = models.editor.edit(inversion, [perturbation.edited_caption for perturbation in wanted], settings, step)
    for group in _by_caption(edits, len(settings.taus)):
        for counterfactual in _measure(models, study, judge, wanted[group[0].index], group, settings=settings):
            if all(counterfactual.key != held.key for held in study.counterfactuals):
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
    """Run all stages on one picture and yield a richer study after each; "" as label takes the classifier's own."""
    study = open_photo(models, image, label, classifier)
    yield study
    study = describe(models, study, settings)
    yield study
    study = propose(models, study, settings)
    yield study
    yield from edit(models, study, study.perturbations, settings, classifier, step=step, inversions=inversions)


def judged_by(study: Study, judge: Classifier) -> Study:
    """Return the study with every prediction made anew by another classifier; pictures, scores and keys stay."""
    made = judge.predict([counterfactual.image for counterfactual in study.counterfactuals])
    prediction = judge.predict([study.photo.image])[0]
    prediction.probability(study.photo.label)
    return replace(
        study,
        photo=replace(study.photo, prediction=prediction, classifier=judge.name, fingerprint=judge.fingerprint),
        control=judge.predict([study.reconstruction])[0] if study.reconstruction is not None else None,
        counterfactuals=tuple(
            replace(counterfactual, prediction=found)
            for counterfactual, found in zip(study.counterfactuals, made, strict=True)
        ),
    )


def _scored(models: Models, study: Study, settings: Settings) -> Study:
    """Return the study as this CLIP scores it and these gates judge it; what another one scored is scored anew."""
    known = models.scorer.fingerprint
    foreign = [
        counterfactual
        for counterfactual in study.counterfactuals
        if counterfactual.scorer != known or not counterfactual.scores.complete
    ]
    pictures = [(counterfactual.image, counterfactual.perturbation.edited_caption) for counterfactual in foreign]
    fresh = models.scorer.score(study.photo.image, study.caption, pictures) if pictures else ()
    scores = {counterfactual.key: score for counterfactual, score in zip(foreign, fresh, strict=True)}
    held = (
        replace(counterfactual, scores=scores.get(counterfactual.key, counterfactual.scores))
        for counterfactual in study.counterfactuals
    )
    judged = (
        replace(counterfactual, scorer=known, missed=missed_gates(counterfactual.scores, settings))
        for counterfactual in held
    )
    return replace(study, counterfactuals=tuple(judged))


def _wanted(
    models: Models, study: Study, perturbations: Sequence[Perturbation], settings: Settings
) -> tuple[Perturbation, ...]:
    """Return one accepted perturbation per edited caption, without those that the study holds at every tau."""
    held = {counterfactual.key for counterfactual in study.counterfactuals}
    unnoted = {counterfactual.key for counterfactual in study.counterfactuals if counterfactual.settings is None}

    def is_held(perturbation: Perturbation, tau: float) -> bool:
        asked = (models, study, perturbation, tau, settings)
        return edit_key(*asked) in held or bool(unnoted and unnoted & earlier_keys(*asked))

    accepted: dict[str, Perturbation] = {}
    for perturbation in perturbations:
        if perturbation.accepted:
            accepted.setdefault(perturbation.edited_caption, perturbation)
    return tuple(
        perturbation
        for perturbation in accepted.values()
        if not all(is_held(perturbation, tau) for tau in settings.taus)
    )


def _by_caption(edits: Iterator[Edit], each: int) -> Iterator[list[Edit]]:
    """Yield the edits of one caption together, as soon as all its `each` tau are there, in whatever order they come."""
    waiting: dict[int, list[Edit]] = {}
    for edited in edits:
        waiting.setdefault(edited.index, []).append(edited)
        if len(waiting[edited.index]) == each:
            yield waiting.pop(edited.index)
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
    """Yield the counterfactuals of one caption's edits with scores and predictions, each model asked once."""
    words = perturbation.edited_caption
    scores = models.scorer.score(study.photo.image, study.caption, [(edited.image, words) for edited in group])
    predictions = judge.predict([edited.image for edited in group])
    for edited, score, prediction in zip(group, scores, predictions, strict=True):
        yield Counterfactual(
            key=edit_key(models, study, perturbation, edited.tau, settings),
            perturbation=perturbation,
            tau=edited.tau,
            image=edited.image,
            scores=score,
            prediction=prediction,
            missed=missed_gates(score, settings),
            seed=settings.seed,
            models=models_used(models.profile),
            settings=drawing_of(models.profile, settings),
            scorer=models.scorer.fingerprint,
        )


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn")
