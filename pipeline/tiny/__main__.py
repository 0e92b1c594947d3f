"""`python -m pipeline.tiny`: makes the tiny profile's models, writes sample pictures, measures what was made."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "assets" / "models" / "tiny"
WORK = ROOT / "build" / "tiny"

app = typer.Typer(add_completion=False, help=__doc__)


@app.callback(invoke_without_command=True)
def make(
    context: typer.Context,
    only: Annotated[list[str] | None, typer.Option(help="Make this model again; may be repeated.")] = None,
    out: Annotated[Path, typer.Option(help="Where the finished models go.")] = MODELS,
    work: Annotated[Path, typer.Option(help="Scenes and checkpoints; an interrupted run goes on from here.")] = WORK,
    smoke: Annotated[bool, typer.Option("--smoke", help="Run every step small, to see that it works.")] = False,
) -> None:
    """Make every model from nothing (hours on two cores; resumable)."""
    if context.invoked_subcommand:
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from pipeline.tiny import train

    if unknown := set(only or ()) - set(train.MAKERS):
        raise typer.BadParameter(f"unknown model {', '.join(sorted(unknown))}; known are {', '.join(train.MAKERS)}")
    if smoke:
        work = WORK / "smoke" if work == WORK else work
        out = work / "models" if out == MODELS else out
        shop = train.Workshop(out=out, work=work, uniform=400, biased=128, share=0.002)
    else:
        shop = train.Workshop(out=out, work=work)
    train.make(shop, tuple(only or ()))


@app.command()
def sample(
    n: Annotated[int, typer.Option("--n", min=1, help="How many scenes.")],
    seed: Annotated[int, typer.Option(help="Which scenes.")],
    out: Annotated[Path, typer.Option(help="An ImageFolder with metadata.jsonl is written here.")],
    biased: Annotated[
        bool, typer.Option("--biased", help="Tie labels to backgrounds, as the classifiers' training.")
    ] = False,
    twins: Annotated[bool, typer.Option("--twins", help="Also draw each scene's true counterfactuals.")] = False,
) -> None:
    """Write pictures of the miniature world with their true captions, labels and factors."""
    from pipeline.tiny import world

    rows = []
    for number, scene in enumerate(world.sample(n, seed, world.BIAS if biased else 0.0)):
        name = f"{scene.label}/{seed}-{number:05d}.png"
        row: dict[str, object] = (
            _draw(scene, out, name)
            | {"label": scene.label}
            | {factor: getattr(scene, factor) for factor in world.VALUES}
        )
        if twins:
            row["twins"] = [
                {"factor": factor, "value": value}
                | _draw(twin, out, f"twins/{seed}-{number:05d}-{factor}-{value.replace(' ', '-')}.png")
                for factor, value, twin in world.twins(scene)
            ]
        rows.append(json.dumps(row))
    (out / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    typer.echo(f"{n} pictures in {out}")


def _draw(scene: object, out: Path, name: str) -> dict[str, str]:
    from pipeline.tiny.world import Scene, draw

    assert isinstance(scene, Scene)
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(scene).save(path)
    return {"file_name": name, "caption": scene.caption()}


@app.command()
def measure(
    models: Annotated[Path, typer.Option(help="The models to measure.")] = MODELS,
    n: Annotated[int, typer.Option("--n", min=4, help="Held-out scenes a figure; edits use a third of them.")] = 120,
    only: Annotated[list[str] | None, typer.Option(help="Measure this only; may be repeated.")] = None,
) -> None:
    """Measure every bar on held-out scenes; write the figures to the model cards and to docs/results.md."""
    from pipeline.tiny import cards, measure

    figures = measure.measure(models, n, tuple(only or measure.MEASURES))
    cards.write(models, figures, ROOT / "docs" / "results.md")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="A new folder.")] = ROOT / "assets" / "demo",
    n: Annotated[int, typer.Option("--n", min=12, help="Scenes; the labels take turns.")] = 26,
) -> None:
    """Make the demo project that a new data folder starts with: scenes with edits, verdicts, a set and a run."""
    import tempfile

    from pipeline.tiny import demo

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        typer.echo(f"{demo.make(Path(folder), out, n)} photos in {out}")


@app.command()
def study(
    out: Annotated[Path, typer.Option(help="Rows and report; the same command again goes on where it stopped.")],
    models: Annotated[Path, typer.Option(help="The models to study.")] = MODELS,
    scenes: Annotated[int, typer.Option(min=1, help="Scenes to edit.")] = 200,
    rounds: Annotated[int, typer.Option(min=0, help="Changed settings a scene, beside the default.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="These variants only; may be repeated.")] = None,
) -> None:
    """Edit scenes under one setting after the other and compare with the true counterfactuals (hours)."""
    import shlex
    import sys

    from pipeline.tiny import study

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("pipeline.tiny").setLevel(logging.INFO)
    if unknown := set(only or ()) - set(study.VARIANTS):
        raise typer.BadParameter(f"unknown variant {', '.join(sorted(unknown))}; known are {', '.join(study.VARIANTS)}")
    rows = study.run(models, out, scenes, rounds, tuple(only or ()))
    text = study.report(rows, f"python -m pipeline.tiny {shlex.join(sys.argv[1:])}")
    (out / "study.md").write_text(text, encoding="utf-8")
    study.figure(rows).write_html(out / "study.html")
    typer.echo(text)


if __name__ == "__main__":
    app()
