"""The command line: caption, perturb, classify, edit, stress, weakness, reinforce, promote, reproduce,
train-perturber, doctor, fetch.

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
    confirmation_row,
    edit_rows,
    failure_row,
    image_row,
    insight_row,
    perturbation_cells,
    perturbation_row,
    reinforcement_rows,
    show,
    study_row,
    top5,
    weakness_cells,
    weakness_row,
)
from pipeline.types import Counterfactual, Models, Perturbation, Photo, Settings, Step, Study

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipeline.lessons import Item, Pictures
    from pipeline.models import LoadedModels
    from pipeline.store import Store


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
Classifier = Annotated[
    str, typer.Option(help="A classifier of the profile, a folder, or what else a profile may name.")
]
Factors = Annotated[list[str] | None, typer.Option("--factor", help="What may vary; repeat for several.")]
Label = Annotated[str, typer.Option(help="What the picture shows and every edit must keep.")]
Number = Annotated[int | None, typer.Option("-n", help="Proposals per factor.")]
Taus = Annotated[list[float] | None, typer.Option("--tau", help="Fraction of steps that keep the layout; repeat.")]
Inversion = Annotated[str | None, typer.Option(help="pnp, null-text, negative-prompt or ddim (the plain control).")]
Steps = Annotated[int | None, typer.Option(help="DDIM steps.")]
CrossAttention = Annotated[str | None, typer.Option(help="refine, replace or auto (by the two captions).")]
Blend = Annotated[float | None, typer.Option(help="Edit only where changed words look, such as 0.3; 0 for everywhere.")]
CrossReplace = Annotated[
    list[str] | None, typer.Option(metavar="WORD=FRACTION", help="Steps that keep a word's old map; repeat.")
]
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
    cross_attention: CrossAttention = None,
    cross_replace: CrossReplace = None,
    local_blend: Blend = None,
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Edit a picture towards another caption, at every tau, and measure what changed."""
    from pipeline import workflow
    from pipeline.images import open_image
    from pipeline.wording import word_diff

    models = _models(profile, device)
    settings = _settings(
        models,
        taus=tau,
        inversion=inversion,
        num_inference_steps=steps,
        cross_attention=cross_attention,
        cross_replace_words=cross_replace,
        local_blend=local_blend,
    )
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
    show(edit_rows(study, _write(study, out), models.axis), as_json)


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
def weakness(
    run: Run,
    *,
    classifier: Classifier = "",
    by: Annotated[
        str, typer.Option(help="class, tau, words (alike edits together) or item (failure points).")
    ] = "class",
    confirm: Annotated[str, typer.Option(help="A second classifier, to confirm the flips.")] = "",
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Show what the counterfactuals of a run cost the classifier, by class and factor."""
    from pipeline import weakness as tables
    from pipeline.insights import insights
    from pipeline.store import Store
    from pipeline.workflow import judged_by

    if by not in ("class", "tau", "words", "item"):
        raise SettingsError(f"--by is '{by}'; use class, tau, words or item.")
    store = Store.existing(run)
    loaded = (store.load_study(summary.key, classifier) for summary in store.studies())
    studies = [study for study in loaded if study is not None and study.counterfactuals]
    if not studies:
        raise DataError(f"No study with an edit is in {run}; stress some pictures into it first.")
    if confirm:
        second = _models(profile, device).classifier(confirm)
        share = tables.confirmation(studies, [judged_by(study, second) for study in studies])
        show([confirmation_row(second.name, share)], as_json)
    elif by == "words":
        show(map(insight_row, insights(studies, _models(profile, device).perturber.embed)), as_json)
    elif by == "item":
        show(map(failure_row, tables.failure_points(studies)), as_json)
    else:
        rows = tables.weakness(studies) if by == "class" else tables.weakness_by_tau(studies)
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
        typer.Option(metavar="ROLE:NAME=PATH", help="Test set (id, ood, hybrid; folder or CSV); repeat."),
    ] = None,
    chosen_set: Annotated[str, typer.Option("--set", help="A frozen set; all kept counterfactuals else.")] = "",
    method: Annotated[str, typer.Option(help="counterfactual, fine-tuning, afr, dfr, standard or reconstruction.")] = (
        "counterfactual"
    ),
    seed: Annotated[int, typer.Option(help="Of the split by photo and of the training.")] = 0,
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Fine-tune the classifier's head on the counterfactuals of a run, and save it blended with the old one."""
    from pipeline import reinforcement
    from pipeline.curation import refuse_used, selection, source_of
    from pipeline.store import Store

    store = Store.existing(run)
    share = _alpha(alpha)
    refuse_used(out)
    models = _models(profile, device)
    rate = models.profile.settings.learning_rate
    recipe = reinforcement.Recipe(method=method, alpha=share, seed=seed, learning_rate=rate)
    pairs = selection(store, chosen_set)
    items = [_item(store, photo, one) for photo, one in pairs]
    judge = models.classifier(classifier or (pairs[0][0].classifier if pairs else ""))
    splits = _splits(models, evaluate, judge.labels)
    with _progress("training") as step:
        made = reinforcement.reinforce(judge, items, splits, recipe, lambda at: step(at.number, at.of))
    reinforcement.save(replace(made, source=source_of(store, chosen_set)), judge, out)
    show(reinforcement_rows(made, out), as_json)


@app.command()
def doctor(profile: ProfileName = "tiny", device: Device = "", as_json: AsJson = False) -> None:
    """Tell what a profile needs, what is here, and what will not work; status 1 when something will not."""
    from pipeline.doctor import examine
    from pipeline.profiles import load_profile

    findings = list(examine(load_profile(profile), device))
    show(({"what": one.what, "state": one.state, "detail": one.detail} for one in findings), as_json)
    raise typer.Exit(int(any(one.hinders for one in findings)))


@app.command()
def fetch(profile: ProfileName, as_json: AsJson = False) -> None:
    """Download the models of a profile that are not here; files that arrived whole are not fetched again."""
    from pipeline.doctor import on_hub
    from pipeline.hub import located
    from pipeline.profiles import load_profile

    models = on_hub(load_profile(profile))
    show(({"role": role, "model": text, "folder": located(role, text)} for role, text in models), as_json)


@app.command()
def promote(
    folder: Annotated[Path, typer.Argument(help="A folder written by reinforce.")],
    *,
    name: Annotated[str, typer.Option(help="What the classifier is to be called.")],
    data: Annotated[Path, typer.Option(help="The application's data folder.")] = Path("data"),
    profile: ProfileName = "tiny",
) -> None:
    """Make a reinforced classifier selectable in the application, beside the profile's own."""
    from pipeline.profiles import load_profile
    from pipeline.promotion import promote as copy

    typer.echo(copy(folder, data, name, load_profile(profile)))


@app.command()
def reproduce(
    *,
    out: Annotated[Path, typer.Option(help="The study's folder; the same command again goes on where it stopped.")],
    small: Annotated[bool, typer.Option("--small", help="A tenth of the size, to see that it works.")] = False,
    photos: Annotated[int | None, typer.Option(min=12, help="Photos to edit and learn from.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Splits and trainings.")] = None,
    tau: Taus = None,
    profile: ProfileName = "tiny",
    device: Device = "",
) -> None:
    """Make the paper's two tables in the miniature world, with intervals, and write a report."""
    import json
    import logging
    import shlex
    import sys
    from dataclasses import asdict

    from pipeline.report import html, markdown
    from pipeline.tiny import reproduce as study

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("pipeline.tiny").setLevel(logging.INFO)
    wished = {"photos": photos, "seeds": seeds, "taus": tuple(tau) if tau else None}
    plan = replace(study.SMALL if small else study.Plan(), **{name: one for name, one in wished.items() if one})  # type: ignore[arg-type]
    command = f"python -m pipeline {shlex.join(sys.argv[1:])}"
    with _progress("working") as step:
        results = study.reproduce(_models(profile, device), out, plan, command, step)
    files = {
        "report.md": markdown(results),
        "report.html": html(results),
        "results.json": json.dumps(asdict(results), indent=1),
    }
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    typer.echo(markdown(results))


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


def _models(profile: str, device: str) -> LoadedModels:
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


def _item(store: Store, photo: Photo, one: Counterfactual) -> Item:
    """With the reconstruction, which some recipes take in the counterfactual's place."""
    from pipeline.lessons import Item

    study = store.load_study(photo.key, photo.classifier)
    control = study.reconstruction if study is not None else None
    return Item(photo.label, photo.image, one.image, photo.key, one.perturbation.factor, control)


def _alpha(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f"alpha is '{text}'; give a number from 0 to 1, or auto.") from error


def _splits(models: Models, evaluate: Sequence[str] | None, labels: Sequence[str]) -> dict[str, Pictures]:
    """What was named to be evaluated on, under the classifier's own names for it; the profile's own sets else."""
    from pipeline.testsets import hybrid, load_test_set, match_labels

    given = evaluate or [f"{name}={folder}" for name, folder in models.profile.evaluation.items()]
    sets = [load_test_set(text) for text in given]
    splits: dict[str, Pictures] = {}
    for one in hybrid(sets) if evaluate else sets:
        entries = match_labels(one.pictures, labels)
        pictures = _open([entry.path for entry in entries], models)
        splits[one.name] = [(picture, entry.label) for picture, entry in zip(pictures, entries, strict=True)]
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
