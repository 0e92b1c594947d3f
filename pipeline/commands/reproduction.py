"""The command that makes the paper's two tables in the miniature world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.terminal import Device, ProfileName, Sentences, Taus, models_of, progress

if TYPE_CHECKING:
    pass

app = typer.Typer(cls=Sentences)


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
        "photos": photos,
        "seeds": seeds,
        "replicates": replicates,
        "samples": samples,
        "strengths": tuple(strength or ()),
        "taus": tuple(tau or ()),
    }
    plan = replace(study.SMALL if small else study.Plan(), **{name: value for name, value in wished.items() if value})  # type: ignore[arg-type]
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
