"""The command that reinforces a classifier with the counterfactuals of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.rows import reinforcement_rows, show
from pipeline.commands.terminal import (
    Address,
    AsJson,
    ClassifierOption,
    Device,
    ProfileName,
    RunArgument,
    Sentences,
    models_of,
    open_pictures,
    progress,
    run_of,
)
from pipeline.errors import SettingsError
from pipeline.reinforcement.recipes import OFFERED, Recipe
from pipeline.types import Counterfactual, Models, Photo

if TYPE_CHECKING:
    from pipeline.curation.selection import Material
    from pipeline.reinforcement.training_data import Example, Pictures
    from pipeline.store.store import Store


app = typer.Typer(cls=Sentences)


@app.command()
def reinforce(
    run: RunArgument,
    *,
    out: Annotated[Path, typer.Option(help="A new folder for the reinforced classifier.")],
    classifier: ClassifierOption = "",
    alpha: Annotated[str, typer.Option(help="0 to 1, or auto: the best on validation.")] = "auto",
    evaluate: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE:NAME=PATH", help="Test set (id, ood, hybrid; folder or CSV); repeat."),
    ] = None,
    chosen_set: Annotated[str, typer.Option("--set", help="A frozen set; all kept counterfactuals else.")] = "",
    method: Annotated[
        str, typer.Option(help="; ".join(f"{name}: {method.help}" for name, method in OFFERED.items()) + ".")
    ] = "counterfactual",
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
    from pipeline.reinforcement import reinforcement, saving
    from pipeline.runtime.staging import refuse_used
    from pipeline.types import Look

    store = run_of(run, database)
    share = _alpha_of(alpha)
    refuse_used(out)
    models = models_of(profile, device)
    rate = models.profile.settings.learning_rate
    recipe = Recipe(method=method, alpha=share, seed=seed, learning_rate=rate, unfreeze=unfreeze)
    material = selection(store, chosen_set)
    judge = models.classifier(models.admit(classifier or _classifier_of(store, material)))
    splits = _splits_of(models, evaluate, judge.labels)
    material = material.known_to(judge.name, judge.labels)
    for sentence in material.left_out:
        typer.echo(sentence, err=True)
    items = [_item_of(store, *pair, material.labels[pair[1].key]) for pair in store.pairs(list(material.labels))]
    with progress("training") as step:
        unfinished = reinforcement.checkpoint_file(store.root, judge.name, recipe)
        told = lambda at: step(at.number, at.of)  # noqa: E731
        made = reinforcement.reinforce(judge, items, splits, recipe, told, checkpoint=unfinished)
    made = saving.looked(made, Look(alpha=made.alpha, time=time.time()))  # they are printed below
    saving.save(replace(made, source=material.told), judge, out)
    show(reinforcement_rows(made, out), as_json)


def _classifier_of(store: Store, material: Material) -> str:
    """Return the classifier under which the first of the counterfactuals was made; "" for none."""
    first = next(iter(material.labels), "")
    return next((entry.classifier for entry in store.entries() if entry.key == first), "")


def _item_of(store: Store, photo: Photo, counterfactual: Counterfactual, shows: str) -> Example:
    """Return the item with the reconstruction, which some recipes take in the edit's place, and what the edit shows."""
    from pipeline.reinforcement.training_data import Example

    study = store.load_study(photo.key, photo.classifier)
    control = study.reconstruction if study is not None else None
    return Example(
        photo.label,
        photo.image,
        counterfactual.image,
        photo.key,
        counterfactual.perturbation.factor,
        control,
        corrected=shows,
    )


def _alpha_of(text: str) -> float | None:
    """Return 0 to 1, or None for "auto". Raises `SettingsError`."""
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f"alpha is '{text}'; give a number from 0 to 1, or auto.") from error


def _splits_of(models: Models, evaluate: Sequence[str] | None, labels: Sequence[str]) -> dict[str, Pictures]:
    """Return what was named to be evaluated on, under the classifier's own names for it, else the profile's sets."""
    from pipeline.classifiers.labels import match_labels
    from pipeline.importing.testsets import hybrid, load_test_set

    given = evaluate or [f"{name}={folder}" for name, folder in models.profile.evaluation.items()]
    sets = [load_test_set(text) for text in given]
    splits: dict[str, Pictures] = {}
    for test_set in hybrid(sets) if evaluate else sets:
        entries = match_labels(test_set.pictures, labels)
        pictures = open_pictures([entry.path for entry in entries], models)
        splits[test_set.name] = [(picture, entry.label) for picture, entry in zip(pictures, entries, strict=True)]
    return splits
