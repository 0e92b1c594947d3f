"""The command line: `python -m pipeline caption | perturb | classify | edit | stress | weakness | reinforce |
train-perturber`.

Presentation only: every command asks the workflow and turns what comes back into rows, one JSON object a line with
--json, a table without. Rows go to standard output, progress and messages to standard error. What a person can mend
is told in one sentence with exit status 2; a run that left pictures out ends with status 1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from pipeline.errors import CaptionError, DataError, LabelError, PipelineError, SettingsError, StoreError
from pipeline.rows import (
    adapter_rows,
    edit_rows,
    image_row,
    perturbation_cells,
    perturbation_row,
    reinforcement_rows,
    show,
    study_row,
    top5,
    weakness_cells,
    weakness_row,
)
from pipeline.types import Models, Perturbation, Settings, Step, Study

if TYPE_CHECKING:
    from PIL.Image import Image


class Sentences(TyperGroup):
    """A command group that tells a `PipelineError` in one sentence."""

    def invoke(self, ctx: object) -> object:
        """Runs the command; exit status 2 for a `PipelineError`."""
        try:
            return super().invoke(ctx)  # type: ignore[arg-type]  # typer exports no name for its type
        except PipelineError as error:
            typer.echo(" ".join(str(error).split()), err=True)
            raise typer.Exit(2) from error


app = typer.Typer(cls=Sentences, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

ProfileName = Annotated[str, typer.Option("--profile", metavar="NAME|FILE.toml", help="Which models to use.")]
Device = Annotated[str, typer.Option(help="Where to run them, such as cpu or cuda; chosen when not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG or WebP files.")]
Classifier = Annotated[str, typer.Option(help="A classifier of the profile, or a folder written by reinforce.")]
Factors = Annotated[list[str] | None, typer.Option("--factor", help="What may vary; repeat for several.")]
Label = Annotated[str, typer.Option(help="What the picture shows and every edit must keep.")]
Number = Annotated[int | None, typer.Option("-n", help="Proposals per factor.")]
Taus = Annotated[list[float] | None, typer.Option("--tau", help="Fraction of steps that keep the layout; repeat.")]
Inversion = Annotated[str | None, typer.Option(help="pnp, null-text or negative-prompt.")]
Steps = Annotated[int | None, typer.Option(help="DDIM steps.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A folder written by stress, or the application's data.")]


@app.callback()
def about() -> None:
    """Find what confuses an image classifier with counterfactual pictures, and reinforce it with them."""


@app.command()
def caption(
    images: Images,
    number: Annotated[int, typer.Option("-n", min=1, max=20, help="Captions to choose from for each picture.")] = 1,
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Describe pictures in a sentence, and tell what to look at before relying on it."""
    from pipeline.captioning import quality

    models = _models(profile, device)
    pictures, settings = _open(images, models), models.profile.settings
    if number == 1:
        texts: Iterable[tuple[str, ...]] = ((text,) for text in models.captioner.captions(pictures, settings))
    else:
        texts = (models.captioner.candidates(picture, settings, number) for picture in pictures)
    found = ((path, text) for path, several in zip(images, texts, strict=True) for text in several)
    show((image_row(path, caption=text, notes=list(quality(text))) for path, text in found), as_json)


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
    from pipeline.workflow import proposals, tidy

    models = _models(profile, device)
    settings = _settings(models, factors=factor, proposals=number)
    words = tidy(caption, settings)
    if label and label not in models.classifier().labels:
        raise LabelError(f"The classifier does not know the label '{label}'; use one of its own.")
    told = perturbation_row if as_json else perturbation_cells
    show(map(told, proposals(models, words, label, settings)), as_json)


@app.command()
def classify(
    images: Images,
    classifier: Classifier = "",
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Show the five most probable labels of pictures."""
    models = _models(profile, device)
    pictures = _open(images, models)
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
    classifier: Classifier = "",
    tau: Taus = None,
    inversion: Inversion = None,
    steps: Steps = None,
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Edit a picture towards another caption, at every tau, and measure what changed."""
    from pipeline import workflow
    from pipeline.images import open_image
    from pipeline.wording import word_diff

    models = _models(profile, device)
    settings = _settings(models, taus=tau, inversion=inversion, num_inference_steps=steps)
    if caption is not None:
        caption = workflow.tidy(caption, settings)
    words = workflow.tidy(edited_caption, settings)
    study = workflow.open_photo(models, open_image(image), label, classifier, image.name)
    study = workflow.describe(models, study, settings, caption or "")
    if words == study.caption:
        raise CaptionError("The edited caption is the picture's own; change at least one word.")
    gone, come = word_diff(study.caption, words)
    wish = Perturbation(caption=study.caption, edited_caption=words, factor="own", original=gone, edit=come)
    with _progress("denoising") as step:
        study = deque(workflow.edit(models, study, [wish], settings, step=step), maxlen=1).pop()
    show(edit_rows(study, _write(study, out)), as_json)


@app.command()
def stress(
    folder: Annotated[Path, typer.Argument(help="Pictures in one sub-folder per label, or with metadata.jsonl.")],
    *,
    out: Annotated[Path, typer.Option(help="The run's folder; the same again goes on where it stopped.")],
    factor: Factors = None,
    number: Number = None,
    classifier: Classifier = "",
    tau: Taus = None,
    inversion: Inversion = None,
    steps: Steps = None,
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Study every picture of a folder under every factor; can be stopped and started again."""
    from pipeline.curation import load_folder
    from pipeline.store import Store
    from pipeline.workflow import stress as studies

    models = _models(profile, device)
    changes = {"factors": factor, "proposals": number, "taus": tau, "inversion": inversion}
    settings = _settings(models, **changes, num_inference_steps=steps)
    load_folder(folder)  # a folder that cannot be used leaves no run behind
    store = Store(out)
    with _progress("denoising") as step:
        show(map(study_row, studies(models, folder, store, settings, classifier, step=step)), as_json)
    failures = store.failures()
    for failure in failures:
        typer.echo(f"{failure.name} was left out: {failure.message}", err=True)
    raise typer.Exit(1 if failures else 0)


@app.command()
def weakness(run: Run, classifier: Classifier = "", as_json: AsJson = False) -> None:
    """Show what the counterfactuals of a run cost the classifier, by class and factor."""
    from pipeline.store import Store
    from pipeline.weakness import weakness as table

    store = Store.existing(run)
    studies = (store.load_study(summary.key, classifier) for summary in store.studies())
    rows = table(study for study in studies if study is not None)
    if not rows:
        raise DataError(f"No study with an edit is in {run}; stress some pictures into it first.")
    show((weakness_row(row) if as_json else weakness_cells(row) for row in rows), as_json)


@app.command()
def reinforce(
    run: Run,
    *,
    out: Annotated[Path, typer.Option(help="A new folder for the reinforced classifier.")],
    classifier: Classifier = "",
    alpha: Annotated[str, typer.Option(help="0 to 1, or auto: the best on validation.")] = "0.3",
    evaluate: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER", help="Pictures to evaluate on; repeat. The profile's when not given."),
    ] = None,
    chosen_set: Annotated[str, typer.Option("--set", help="A frozen set; all kept counterfactuals else.")] = "",
    seed: Annotated[int, typer.Option(help="Of the split by photo and of the training.")] = 0,
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Fine-tune the classifier's head on the counterfactuals of a run, and save it blended with the old one."""
    from pipeline import reinforcement
    from pipeline.curation import refuse_used, selection
    from pipeline.store import Store

    store = Store.existing(run)
    share = _alpha(alpha)
    refuse_used(out)
    models = _models(profile, device)
    recipe = reinforcement.Recipe(alpha=share, seed=seed, learning_rate=models.profile.settings.learning_rate)
    pairs = selection(store, chosen_set)
    items = [reinforcement.Item(photo.label, photo.image, one.image, photo.key) for photo, one in pairs]
    splits = _splits(models, evaluate)
    judge = models.classifier(classifier or (pairs[0][0].classifier if pairs else ""))
    with _progress("training") as step:
        made = reinforcement.reinforce(judge, items, splits, recipe, lambda done, total, _: step(done, total))
    reinforcement.save(made, judge, out)
    show(reinforcement_rows(made, out), as_json)


@app.command()
def train_perturber(
    *,
    base: Annotated[str, typer.Option(help="A LlamaForCausalLM: a folder or a hub id.")],
    data: Annotated[Path, typer.Option(help="Variations, one JSON object a line, as assets/perturbations.jsonl.")],
    out: Annotated[Path, typer.Option(help="The adapter's folder; the same again goes on where it stopped.")],
    rank: Annotated[int, typer.Option(help="Of the two matrices of LoRA.")] = 8,
    alpha: Annotated[int, typer.Option(help="The adapter's weight is alpha / rank.")] = 16,
    dropout: Annotated[float, typer.Option(help="Share of inputs left out in training.")] = 0.05,
    target: Annotated[list[str] | None, typer.Option(help="Layers with an adapter; q_proj and v_proj else.")] = None,
    learning_rate: Annotated[float, typer.Option(help="The highest, reached after a twentieth of the steps.")] = 3e-4,
    epochs: Annotated[float, typer.Option(help="Times that all variations are read.")] = 3.0,
    steps: Annotated[int, typer.Option(help="Optimiser steps instead of epochs.")] = 0,
    batch: Annotated[int, typer.Option(help="Variations at once.")] = 8,
    accumulation: Annotated[int, typer.Option(help="Batches per optimiser step.")] = 1,
    max_tokens: Annotated[int, typer.Option(help="What is longer is cut.")] = 256,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or 4-bit (CUDA, with bitsandbytes).")] = "float32",
    checkpointing: Annotated[bool, typer.Option("--checkpointing", help="Less memory, more time.")] = False,
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a LoRA adapter that varies captions, on a frozen LLaMA."""
    from pipeline import adapter, written

    recipe = adapter.Recipe(
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        targets=tuple(target or ("q_proj", "v_proj")),
        learning_rate=learning_rate,
        epochs=epochs,
        steps=steps,
        batch=batch,
        accumulation=accumulation,
        max_tokens=max_tokens,
        dtype=dtype,
        checkpointing=checkpointing,
        seed=seed,
    )
    variations = written.read(data)
    told = f"Trained on the split 'train' of {data.name}, {len(variations)} variations in all."
    with _progress("training") as step:
        made = adapter.train(base, variations, out, recipe, told, step)
    show(adapter_rows(made, out), as_json)


def _models(profile: str, device: str) -> Models:
    from pipeline.models import load
    from pipeline.profiles import load_profile

    return load(load_profile(profile), device)


def _settings(models: Models, **changes: object) -> Settings:
    """The profile's settings with what was given on the command line."""
    wished = {name: one for name, one in changes.items() if one is not None and one != []}
    given = {name: tuple(one) if isinstance(one, list) else one for name, one in wished.items()}
    return replace(models.profile.settings, **given)  # type: ignore[arg-type]


def _open(paths: Sequence[Path], models: Models) -> list[Image]:
    """All pictures before any model is asked, so that a bad one costs no waiting."""
    from pipeline.images import fit, open_image

    return [fit(open_image(path), models.profile.image_size) for path in paths]


def _alpha(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f"alpha is '{text}'; give a number from 0 to 1, or auto.") from error


def _splits(models: Models, evaluate: Sequence[str] | None) -> dict[str, list[tuple[Image, str]]]:
    from pipeline.curation import load_folder

    folders = dict(models.profile.evaluation)
    if evaluate:
        pairs = [text.partition("=") for text in evaluate]
        if not all(name and folder for name, _, folder in pairs):
            raise SettingsError("--evaluate takes NAME=FOLDER, such as ood=pictures/ood.")
        folders = {name: folder for name, _, folder in pairs}
    splits = {}
    for name, folder in folders.items():
        entries = load_folder(Path(folder))
        if not all(entry.label for entry in entries):
            raise DataError(f"A picture in {folder} has no label; put each into a folder named by its label.")
        pictures = _open([entry.path for entry in entries], models)
        splits[name] = [(picture, entry.label) for picture, entry in zip(pictures, entries, strict=True)]
    return splits


def _write(study: Study, folder: Path) -> dict[str, Path]:
    """The reconstruction and every edit as PNG; their files, the reconstruction's under ""."""
    from pipeline.images import encode

    pictures: dict[str, tuple[str, Image | None]] = {"": ("reconstruction.png", study.reconstruction)}
    pictures |= {one.key: (f"tau-{one.tau:g}.png", one.image) for one in study.counterfactuals}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.values():
            if picture is not None:
                (folder / name).write_bytes(encode(picture))
    except OSError as error:
        raise StoreError(f"The pictures cannot be written to {folder}: {error.strerror}; choose another.") from error
    return {key: folder / name for key, (name, _) in pictures.items()}


@contextmanager
def _progress(what: str) -> Iterator[Step]:
    """A bar on standard error while it is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


if __name__ == "__main__":
    app(prog_name="python -m pipeline")
