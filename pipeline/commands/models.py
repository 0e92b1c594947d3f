"""The commands about models themselves: what a profile needs, fetching it, promoting and training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.rows import adapter_rows, show
from pipeline.commands.terminal import AsJson, Device, ProfileName, Sentences, progress

app = typer.Typer(cls=Sentences)


@app.command()
def doctor(profile: ProfileName = "tiny", device: Device = "", as_json: AsJson = False) -> None:
    """Tell what a profile needs, what is here, and what will not work; status 1 when something will not."""
    from pipeline.models.doctor import examine
    from pipeline.profiles import load_profile

    report = list(examine(load_profile(profile), device))
    show(({"what": line.what, "state": line.state, "detail": line.detail} for line in report), as_json)
    raise typer.Exit(int(any(line.hinders for line in report)))


@app.command()
def fetch(profile: ProfileName, as_json: AsJson = False) -> None:
    """Download the models of a profile that are not here; files that arrived whole are not fetched again."""
    from pipeline.models.doctor import hub_models
    from pipeline.profiles import load_profile
    from pipeline.runtime.hub import located

    models = hub_models(load_profile(profile))
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
    from pipeline.classifiers.promotion import promote as copy
    from pipeline.profiles import load_profile

    typer.echo(copy(folder, data, name, load_profile(profile)))


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
    from pipeline.captions import adapter, examples

    recipe = adapter.AdapterRecipe(
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
    variations = examples.read(data)
    told = f"Trained on the split 'train' of {data.name}, {len(variations)} variations in all."
    with progress("training") as step:
        made = adapter.train(base, variations, out, recipe, told, step)
    show(adapter_rows(made, out), as_json)
