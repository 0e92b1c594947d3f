"""The commands about single pictures and captions: caption, perturb, classify, edit."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.rows import edit_rows, image_row, perturbation_cells, perturbation_row, show, top5
from pipeline.commands.terminal import (
    AsJson,
    BlendOption,
    Changed,
    ClassifierOption,
    CrossAttention,
    CrossReplace,
    Device,
    Factors,
    Images,
    InversionOption,
    Label,
    Number,
    ProfileName,
    Sentences,
    Steps,
    Taus,
    models_of,
    open_pictures,
    progress,
    settings_of,
)
from pipeline.errors import CaptionError, SettingsError, StoreError, display_name
from pipeline.settings import Settings
from pipeline.types import Perturbation, Study

if TYPE_CHECKING:
    from PIL.Image import Image

    pass


app = typer.Typer(cls=Sentences)


@app.command()
def caption(
    images: Images,
    number: Annotated[int, typer.Option("-n", min=1, max=20, help="Captions to choose from for each picture.")] = 1,
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Describe pictures in a sentence, and tell what to look at before relying on it."""
    from pipeline.captions.captioning import caption_notes

    models = models_of(profile, device)
    pictures, settings = open_pictures(images, models), models.profile.settings
    if number == 1:
        texts: Iterable[tuple[str, ...]] = ((text,) for text in models.captioner.captions(pictures, settings))
    else:
        texts = (models.captioner.candidates(picture, settings, number) for picture in pictures)
    found = ((path, text) for path, several in zip(images, texts, strict=True) for text in several)
    show((image_row(path, caption=text, notes=list(caption_notes(text))) for path, text in found), as_json)


@app.command()
def perturb(
    caption: Annotated[str, typer.Argument(help="The caption to vary.")],
    *,
    factor: Factors = None,
    label: Label = "",
    number: Number = None,
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Propose variations of a caption, one factor at a time."""
    from pipeline.classifiers.labels import find_label
    from pipeline.workflow import proposals, tidy

    models = models_of(profile, device)
    settings = settings_of(models, factors=factor, proposals=number)
    words = tidy(caption, settings)
    label = label and find_label(label, models.classifier().labels)
    told = perturbation_row if as_json else perturbation_cells
    show(map(told, proposals(models, words, label, settings)), as_json)


@app.command()
def classify(
    images: Images,
    classifier: ClassifierOption = "",
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Show the five most probable labels of pictures."""
    models = models_of(profile, device, classifier)
    pictures = open_pictures(images, models)
    predictions = (models.classifier(classifier).predict([picture])[0] for picture in pictures)
    show((image_row(path, top5=top5(found)) for path, found in zip(images, predictions, strict=True)), as_json)


@app.command()
def edit(
    image: Annotated[Path, typer.Argument(help="A PNG, JPEG or WebP file.")],
    *,
    edited_caption: Annotated[str, typer.Option(help="The caption that the edited picture should have.")],
    out: Annotated[Path, typer.Option(help="The folder for the pictures.")],
    caption: Annotated[str | None, typer.Option(help="What the picture shows now; written when not given.")] = None,
    label: Label = "",
    classifier: ClassifierOption = "",
    tau: Taus = None,
    inversion: InversionOption = None,
    steps: Steps = None,
    cross_attention: CrossAttention = None,
    cross_replace: CrossReplace = None,
    local_blend: BlendOption = None,
    setting: Changed = None,
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Edit a picture towards another caption, at every tau, and measure what changed."""
    from pipeline import workflow
    from pipeline.captions.wording import occurs, word_diff
    from pipeline.images import open_image

    models = models_of(profile, device, classifier)
    settings = settings_of(
        models,
        taus=tau,
        inversion=inversion,
        num_inference_steps=steps,
        cross_attention=cross_attention,
        cross_replace_words=cross_replace,
        local_blend=local_blend,
    )
    settings = _change_settings(settings, setting)
    if caption is not None:
        caption = workflow.tidy(caption, settings)
    words = workflow.tidy(edited_caption, settings)
    study = workflow.open_photo(models, open_image(image), label, classifier, image.name)
    study = workflow.describe(models, study, settings, caption or "")
    if words == study.caption:
        raise CaptionError("The edited caption is the picture's own; change at least one word.")
    for phrase, _ in settings.word_fractions:
        if not occurs(phrase, words):
            raise CaptionError(f"--cross-replace names '{phrase}', which the edited caption does not hold.")
    gone, come = word_diff(study.caption, words)
    wish = Perturbation(caption=study.caption, edited_caption=words, factor="own", original=gone, edit=come)
    with progress("denoising") as step:
        study = deque(workflow.edit(models, study, [wish], settings, step=step), maxlen=1).pop()
    show(edit_rows(study, _write_pictures(study, out), models.axis), as_json)


def _change_settings(settings: Settings, entries: Sequence[str] | None) -> Settings:
    """Return the settings with "name=value" entries, the value as JSON or a plain word. Raises `SettingsError`."""
    values: dict[str, object] = {}
    for entry in entries or ():
        name, _, text = entry.partition("=")
        known = getattr(settings, name, None) if name in {field.name for field in fields(settings)} else None
        if known is None:
            raise SettingsError(f"There is no setting '{name[:60]}'; use one of a profile's [settings].")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        value = tuple(value) if isinstance(value, list) else value
        value = float(value) if isinstance(known, float) and type(value) is int else value
        if type(value) is not type(known):
            raise SettingsError(f"The setting {name} is '{text[:60]}'; give a value like the profile's, {known!r}.")
        values[name] = value
    return replace(settings, **values)  # type: ignore[arg-type]


def _write_pictures(study: Study, folder: Path) -> dict[str, Path]:
    """Write the reconstruction and every edit as PNG; return their files, the reconstruction's under ""."""
    from pipeline.images import encode

    pictures: dict[str, tuple[str, Image | None]] = {"": ("reconstruction.png", study.reconstruction)}
    pictures |= {
        counterfactual.key: (f"tau-{counterfactual.tau:g}.png", counterfactual.image)
        for counterfactual in study.counterfactuals
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.values():
            if picture is not None:
                (folder / name).write_bytes(encode(picture))
    except OSError as error:
        message = f"The pictures cannot be written to '{display_name(folder)}': {error.strerror}; choose another."
        raise StoreError(message, path=folder) from error
    return {key: folder / name for key, (name, _) in pictures.items()}
