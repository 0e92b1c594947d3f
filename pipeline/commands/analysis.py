"""The commands on a stress test: pictures are studied into a run, and what it holds is told, measured and exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.rows import (
    appraisal_cells,
    appraisal_row,
    comparison_cells,
    comparison_row,
    confirmation_row,
    failure_row,
    insight_row,
    show,
    study_row,
    weakness_cells,
    weakness_row,
)
from pipeline.commands.terminal import (
    Address,
    AsJson,
    ClassifierOption,
    Device,
    Factors,
    InversionOption,
    Number,
    ProfileName,
    RunArgument,
    Sentences,
    Steps,
    Taus,
    models_of,
    progress,
    run_of,
    settings_of,
)
from pipeline.errors import DataError, SettingsError

if TYPE_CHECKING:
    from pipeline.store.store import Failure

app = typer.Typer(cls=Sentences)


@app.command()
def stress(
    folder: Annotated[Path, typer.Argument(help="Pictures in one sub-folder per label, or with metadata.jsonl.")],
    *,
    out: Annotated[Path, typer.Option(help="The run's folder; the same again goes on where it stopped.")],
    factor: Factors = None,
    number: Number = None,
    classifier: ClassifierOption = "",
    tau: Taus = None,
    inversion: InversionOption = None,
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
    run: RunArgument,
    *,
    classifier: ClassifierOption = "",
    by: Annotated[
        str, typer.Option(help="class, tau, words (alike edits together) or item (failure points).")
    ] = "class",
    confirm: Annotated[str, typer.Option(help="A second classifier, to confirm the flips.")] = "",
    compare: Annotated[
        str, typer.Option(help="A second classifier, which judges the same pictures: both side by side.")
    ] = "",
    profile: ProfileName = "tiny",
    device: Device = "",
    database: Address = "",
    as_json: AsJson = False,
) -> None:
    """Show what the counterfactuals of a run cost the classifier, by class and factor."""
    from pipeline.analysis import weakness as tables
    from pipeline.analysis.clusters import insights
    from pipeline.analysis.comparison import compare as comparisons
    from pipeline.analysis.comparison import pair_up
    from pipeline.curation.selection import countable
    from pipeline.tasks.studio import judge_stored
    from pipeline.workflow import judged_by

    if by not in ("class", "tau", "words", "item"):
        raise SettingsError(f"--by is '{by}'; use class, tau, words or item.")
    store = run_of(run, database)
    studies, left_out = countable(study for study in store.records(classifier) if study.counterfactuals)
    if not studies and not left_out.sentences:
        raise DataError("No study with an edit is in this run; stress some pictures into it first.", path=run)
    if not studies:
        raise DataError(f"There is nothing to tell of this run: {' '.join(left_out.sentences)}", path=run)
    for sentence in left_out.sentences:
        typer.echo(sentence, err=True)
    if compare:
        models, first = models_of(profile, device, compare), classifier or studies[0].photo.classifier
        with progress("judging") as step:
            judge_stored(models, store, compare, step=step)
        own, others = (countable(store.records(name))[0] for name in (first, models.classifier(compare).name))
        found = comparisons(pair_up(own, others))
        row_of = comparison_row if as_json else comparison_cells
        show((row_of(row, first, compare) for row in found), as_json)
    elif confirm:
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
    run: RunArgument,
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
    written = [(name, exporting.export(store, found, out, name)) for name in form or ["imagefolder"]]
    material = labelled(store, found.items)
    for sentence in material.left_out:
        typer.echo(sentence, err=True)
    show(({"format": name, "pairs": len(material.labels), "path": str(path)} for name, path in written), as_json)


@app.command()
def quality(
    run: RunArgument,
    *,
    classifier: ClassifierOption = "",
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
    show(((appraisal_row if as_json else appraisal_cells)(appraisal, clip) for appraisal in found), as_json)
    for name, reason in absent.items():
        typer.echo(f"{name} was not measured: {reason}.", err=True)
