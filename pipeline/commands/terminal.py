"""What the commands share: their options, how they open models, settings and pictures, and how they tell progress."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from pipeline.errors import PipelineError, SettingsError, StoreError
from pipeline.settings import Settings
from pipeline.types import Counterfactual, Models, Photo, Step, Study

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipeline.models.loader import LoadedModels
    from pipeline.reinforcement.training_data import Item, Pictures
    from pipeline.store.store import Store

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
Changed = Annotated[
    list[str] | None,
    typer.Option("--setting", metavar="NAME=VALUE", help="Any setting of a profile, as guidance_scale=5; repeat."),
]
Address = Annotated[
    str, typer.Option("--database", metavar="URL", envvar="EXPLORER_DATABASE", help="PostgreSQL, if records lie there.")
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A folder written by stress, or the application's data.")]

OPENED = ExitStack()  # what the command under way has opened, to be closed when it ends


class Sentences(TyperGroup):
    """A command group that tells a `PipelineError`, or a file that cannot be used, in one sentence."""

    def invoke(self, ctx: object) -> object:
        """Runs the command; exit status 2 for either."""
        try:
            with OPENED:
                return super().invoke(ctx)  # type: ignore[arg-type]  # typer exports no name for its type
        except PipelineError as error:
            typer.echo(" ".join(str(error).split()), err=True)
            raise typer.Exit(2) from error
        except OSError as error:
            what = f"'{str(error.filename)[:80]}' cannot be used: {error.strerror}" if error.filename else str(error)
            typer.echo(f"{what}; give another file or folder.", err=True)
            raise typer.Exit(2) from error


def models_of(profile: str, device: str, classifier: str = "") -> LoadedModels:
    """The models of a profile, by name or file, and the classifier that was named beside them; none is opened yet."""
    from pipeline.models.loader import load
    from pipeline.profiles import load_profile

    models = load(load_profile(profile), device)
    models.admit(classifier)
    return models


def settings_of(models: Models, **changes: object) -> Settings:
    """The profile's settings with what was given on the command line."""
    wished = {name: one for name, one in changes.items() if one is not None and one != []}
    given = {name: tuple(one) if isinstance(one, list) else one for name, one in wished.items()}
    return replace(models.profile.settings, **given)  # type: ignore[arg-type]


def changed(settings: Settings, entries: Sequence[str] | None) -> Settings:
    """The settings with "name=value" entries, the value as JSON or a plain word. Raises `SettingsError`."""
    values: dict[str, object] = {}
    for entry in entries or ():
        name, _, text = entry.partition("=")
        known = getattr(settings, name, None) if name in {one.name for one in fields(settings)} else None
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


def opened(paths: Sequence[Path], models: Models) -> list[Image]:
    """All pictures before any model is asked, so that a bad one costs no waiting."""
    from pipeline.images import fit, open_image

    return [fit(open_image(path), models.profile.image_size) for path in paths]


def run_of(run: Path, database: str = "") -> Store:
    """Open a run's store, for as long as the command lasts. Raises `DataError` when there is none."""
    from pipeline.store.store import Store

    store = Store.existing(run, database)
    OPENED.callback(store.close)
    return store


def item_of(store: Store, photo: Photo, one: Counterfactual, shows: str) -> Item:
    """With the reconstruction, which some recipes take in the counterfactual's place, and what the edit shows."""
    from pipeline.reinforcement.training_data import Item

    study = store.load_study(photo.key, photo.classifier)
    control = study.reconstruction if study is not None else None
    return Item(photo.label, photo.image, one.image, photo.key, one.perturbation.factor, control, corrected=shows)


def alpha_of(text: str) -> float | None:
    """0 to 1, or None for "auto". Raises `SettingsError`."""
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f"alpha is '{text}'; give a number from 0 to 1, or auto.") from error


def splits_of(models: Models, evaluate: Sequence[str] | None, labels: Sequence[str]) -> dict[str, Pictures]:
    """What was named to be evaluated on, under the classifier's own names for it; the profile's own sets else."""
    from pipeline.classifiers.labels import match_labels
    from pipeline.importing.testsets import hybrid, load_test_set

    given = evaluate or [f"{name}={folder}" for name, folder in models.profile.evaluation.items()]
    sets = [load_test_set(text) for text in given]
    splits: dict[str, Pictures] = {}
    for one in hybrid(sets) if evaluate else sets:
        entries = match_labels(one.pictures, labels)
        pictures = opened([entry.path for entry in entries], models)
        splits[one.name] = [(picture, entry.label) for picture, entry in zip(pictures, entries, strict=True)]
    return splits


def written(study: Study, folder: Path) -> dict[str, Path]:
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
def progress(what: str) -> Iterator[Step]:
    """A bar on standard error while it is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
