"""The command line: caption, perturb, classify, edit, stress, weakness, quality, export, reinforce, promote,
reproduce, train-perturber, doctor, fetch, store.

Presentation only: every command asks the workflow and turns what comes back into rows, one JSON object a line with
--json, a table without. Rows go to standard output, progress and messages to standard error. What a person can mend
is told in one sentence with exit status 2; a run that left pictures out ends with status 1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands import models, store
from pipeline.commands.rows import (
    appraisal_cells,
    appraisal_row,
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
from pipeline.commands.terminal import (
    Address,
    AsJson,
    Blend,
    Changed,
    Classifier,
    CrossAttention,
    CrossReplace,
    Device,
    Factors,
    Images,
    Inversion,
    Label,
    Number,
    ProfileName,
    Run,
    Sentences,
    Steps,
    Taus,
    alpha_of,
    changed,
    item_of,
    models_of,
    opened,
    progress,
    run_of,
    settings_of,
    splits_of,
    written,
)
from pipeline.errors import CaptionError, DataError, SettingsError
from pipeline.types import Perturbation

if TYPE_CHECKING:
    from pipeline.curation.selection import Material
    from pipeline.store.store import Failure, Store

app = typer.Typer(cls=Sentences, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(models.app)
app.add_typer(store.app, name="store")


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
    from pipeline.captions.captioning import quality

    models = models_of(profile, device)
    pictures, settings = opened(images, models), models.profile.settings
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
    classifier: Classifier = "",
    profile: ProfileName = "tiny",
    device: Device = "",
    as_json: AsJson = False,
) -> None:
    """Show the five most probable labels of pictures."""
    models = models_of(profile, device, classifier)
    pictures = opened(images, models)
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
    settings = changed(settings, setting)
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
    show(edit_rows(study, written(study, out), models.axis), as_json)


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
    from pipeline.importing.folders import load_folder
    from pipeline.store.store import Store
    from pipeline.tasks.studio import stress as studies

    models = models_of(profile, device, classifier)
    changes = {"factors": factor, "proposals": number, "taus": tau, "inversion": inversion}
    settings = settings_of(models, **changes, num_inference_steps=steps)
    found = load_folder(folder)  # one that cannot be used leaves no run behind
    store = Store(out)
    failures: list[Failure] = []
    with progress("denoising") as step:
        made = studies(models, folder, store, settings, classifier, step=step, failed=failures.append)
        show(map(study_row, made), as_json)
    for sentence in found.told:
        typer.echo(sentence, err=True)
    for fault in found.faults:
        typer.echo(f"{fault.name}: {fault.reason}", err=True)
    for failure in failures:
        typer.echo(f"{failure.name} was left out: {failure.message}", err=True)
    raise typer.Exit(1 if failures or found.faults else 0)


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
    database: Address = "",
    as_json: AsJson = False,
) -> None:
    """Show what the counterfactuals of a run cost the classifier, by class and factor."""
    from pipeline.analysis import weakness as tables
    from pipeline.analysis.clusters import insights
    from pipeline.curation.selection import countable
    from pipeline.workflow import judged_by

    if by not in ("class", "tau", "words", "item"):
        raise SettingsError(f"--by is '{by}'; use class, tau, words or item.")
    store = run_of(run, database)
    studies, left_out = countable(study for study in store.records(classifier) if study.counterfactuals)
    if not studies and not left_out.sentences:
        raise DataError(f"No study with an edit is in {run}; stress some pictures into it first.")
    if not studies:
        raise DataError(f"There is nothing to tell of {run}: {' '.join(left_out.sentences)}")
    for sentence in left_out.sentences:
        typer.echo(sentence, err=True)
    if confirm:
        second = models_of(profile, device, confirm).classifier(confirm)
        loaded = (store.load_study(study.photo.key, study.photo.classifier) for study in studies)
        share = tables.confirmation(studies, [judged_by(study, second) for study in loaded if study is not None])
        show([confirmation_row(second.name, share)], as_json)
    elif by == "words":
        show(map(insight_row, insights(studies, models_of(profile, device).perturber.embed)), as_json)
    elif by == "item":
        show(map(failure_row, tables.failure_points(studies)), as_json)
    else:
        rows = tables.weakness(studies) if by == "class" else tables.weakness_by_tau(studies)
        show((weakness_row(row) if as_json else weakness_cells(row) for row in rows), as_json)


@app.command()
def export(
    run: Run,
    *,
    chosen_set: Annotated[str, typer.Option("--set", help="A frozen set.")],
    out: Annotated[Path, typer.Option(help="The folder in which the set's own folder or file is made.")],
    version: Annotated[int, typer.Option(min=0, help="Of the set; the latest else.")] = 0,
    form: Annotated[
        list[str] | None, typer.Option("--format", help="imagefolder, parquet, webdataset or csv; repeat.")
    ] = None,
    database: Address = "",
    as_json: AsJson = False,
) -> None:
    """Write a frozen set for other programs, with everything that is known of each pair."""
    from pipeline.curation import exporting
    from pipeline.curation.selection import labelled

    store = run_of(run, database)
    found = exporting.find_set(store, chosen_set, version)
    written = [(one, exporting.export(store, found, out, one)) for one in form or ["imagefolder"]]
    material = labelled(store, found.items)
    for sentence in material.left_out:
        typer.echo(sentence, err=True)
    show(({"format": one, "pairs": len(material.labels), "path": str(path)} for one, path in written), as_json)


@app.command()
def quality(
    run: Run,
    *,
    classifier: Classifier = "",
    profile: ProfileName = "tiny",
    device: Device = "",
    database: Address = "",
    as_json: AsJson = False,
) -> None:
    """Measure the chosen edits of a run as pictures: sparsity, diversity, COUT, SSIM, PSNR, KID on the profile's CLIP.

    LPIPS and DINO structure distances where the profile names their weights under [measures]; else the reason is told.
    """
    from pipeline.analysis.edit_quality import appraise
    from pipeline.curation.selection import countable
    from pipeline.scoring.perceptual import open_distances

    store = run_of(run, database)
    loaded = (store.load_study(summary.key, classifier) for summary in store.studies())
    studies, left_out = countable(study for study in loaded if study is not None)
    for sentence in left_out.sentences:
        typer.echo(sentence, err=True)
    models = models_of(profile, device)
    judge = models.classifier(models.admit(classifier or (studies[0].photo.classifier if studies else "")))
    clip = f"CLIP {'/'.join(Path(models.profile.clip).parts[-2:])}"
    distances, absent = open_distances(models.profile.measures, models.device)
    found = appraise(studies, models.scorer.embed, judge, distances)
    show(((appraisal_row if as_json else appraisal_cells)(one, clip) for one in found), as_json)
    for name, reason in absent.items():
        typer.echo(f"{name} was not measured: {reason}.", err=True)


@app.command()
def reinforce(
    run: Run,
    *,
    out: Annotated[Path, typer.Option(help="A new folder for the reinforced classifier.")],
    classifier: Classifier = "",
    alpha: Annotated[str, typer.Option(help="0 to 1, or auto: the best on validation.")] = "auto",
    evaluate: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE:NAME=PATH", help="Test set (id, ood, hybrid; folder or CSV); repeat."),
    ] = None,
    chosen_set: Annotated[str, typer.Option("--set", help="A frozen set; all kept counterfactuals else.")] = "",
    method: Annotated[str, typer.Option(help="counterfactual, fine-tuning, afr, dfr, standard or reconstruction.")] = (
        "counterfactual"
    ),
    unfreeze: Annotated[str, typer.Option(help="What is trained: head, or last-block: it and the head.")] = "head",
    seed: Annotated[int, typer.Option(help="Of the split by photo and of the training.")] = 0,
    profile: ProfileName = "tiny",
    device: Device = "",
    database: Address = "",
    as_json: AsJson = False,
) -> None:
    """Fine-tune the classifier's head on the counterfactuals of a run, and save it blended with the old one."""
    import time

    from pipeline.curation.selection import selection
    from pipeline.reinforcement import reinforcement
    from pipeline.runtime.staging import refuse_used
    from pipeline.types import Look

    store = run_of(run, database)
    share = alpha_of(alpha)
    refuse_used(out)
    models = models_of(profile, device)
    rate = models.profile.settings.learning_rate
    recipe = reinforcement.Recipe(method=method, alpha=share, seed=seed, learning_rate=rate, unfreeze=unfreeze)
    material = selection(store, chosen_set)
    judge = models.classifier(models.admit(classifier or _studied(store, material)))
    splits = splits_of(models, evaluate, judge.labels)
    material = material.known_to(judge.name, judge.labels)
    for sentence in material.left_out:
        typer.echo(sentence, err=True)
    items = [item_of(store, *pair, material.labels[pair[1].key]) for pair in store.pairs(list(material.labels))]
    with progress("training") as step:
        unfinished = reinforcement.checkpoint_file(store.root, judge.name, recipe)
        told = lambda at: step(at.number, at.of)  # noqa: E731
        made = reinforcement.reinforce(judge, items, splits, recipe, told, checkpoint=unfinished)
    made = reinforcement.looked(made, Look(alpha=made.alpha, time=time.time()))  # they are printed below
    reinforcement.save(replace(made, source=material.told), judge, out)
    show(reinforcement_rows(made, out), as_json)


def _studied(store: Store, material: Material) -> str:
    """Return the classifier under which the first of the counterfactuals was made; "" for none."""
    first = next(iter(material.labels), "")
    return next((one.classifier for one in store.entries() if one.key == first), "")


@app.command()
def reproduce(
    *,
    out: Annotated[Path, typer.Option(help="The study's folder; the same command again goes on where it stopped.")],
    small: Annotated[bool, typer.Option("--small", help="A tenth of the size, to see that it works.")] = False,
    photos: Annotated[int | None, typer.Option(min=12, help="Photos to edit and learn from.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Splits and trainings.")] = None,
    replicates: Annotated[int | None, typer.Option(min=2, help="Draws of the photos, for intervals.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Text-to-image pictures a counterfactual.")] = None,
    strength: Annotated[
        list[float] | None, typer.Option(min=0.01, max=1, help="Of the classifiers' bias; may be repeated.")
    ] = None,
    tau: Taus = None,
    profile: ProfileName = "tiny",
    device: Device = "",
) -> None:
    """Make the paper's two tables in the miniature world, with intervals, and write a report."""
    import logging
    import shlex
    import sys

    from pipeline.study.report import as_json, html, markdown
    from pipeline.tiny import reproduce as study

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("pipeline.tiny").setLevel(logging.INFO)
    wished = {
        "photos": photos, "seeds": seeds, "replicates": replicates, "samples": samples,
        "strengths": tuple(strength or ()), "taus": tuple(tau or ()),
    }  # fmt: skip
    plan = replace(study.SMALL if small else study.Plan(), **{name: one for name, one in wished.items() if one})  # type: ignore[arg-type]
    command = f"python -m pipeline {shlex.join(sys.argv[1:])}"
    with progress("working") as step:
        results = study.reproduce(models_of(profile, device), out, plan, command, step)
    files = {
        "report.md": markdown(results),
        "report.html": html(results),
        "results.json": as_json(results),
    }
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    typer.echo(markdown(results))


if __name__ == "__main__":
    app(prog_name="python -m pipeline")
