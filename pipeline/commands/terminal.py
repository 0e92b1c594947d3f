"""What the commands share: their options, how they open models, settings and pictures, and how they tell progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from pipeline.editing.inversion import METHODS, method_of
from pipeline.errors import PipelineError
from pipeline.settings import Settings
from pipeline.types import Models, Step

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipeline.models.loader import LoadedModels
    from pipeline.store.store import Store

ProfileName = Annotated[str, typer.Option("--profile", metavar="NAME|FILE.toml", help="Which models to use.")]
Device = Annotated[str, typer.Option(help="Where to run them, such as cpu or cuda; chosen when not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG or WebP files.")]
ClassifierOption = Annotated[
    str, typer.Option(help="A classifier of the profile, a folder, or what else a profile may name.")
]
Factors = Annotated[list[str] | None, typer.Option("--factor", help="What may vary; repeat for several.")]
Label = Annotated[str, typer.Option(help="What the picture shows and every edit must keep.")]
Number = Annotated[int | None, typer.Option("-n", help="Proposals per factor.")]
Taus = Annotated[list[float] | None, typer.Option("--tau", help="Fraction of steps that keep the layout; repeat.")]
InversionOption = Annotated[
    str | None,
    typer.Option(help="; ".join(f"{name}: {method.help}" for name, method in METHODS.items()) + "."),
]
Steps = Annotated[int | None, typer.Option(help="DDIM steps.")]
CrossAttention = Annotated[str | None, typer.Option(help="refine, replace or auto (by the two captions).")]
BlendOption = Annotated[
    float | None, typer.Option(help="Edit only where changed words look, such as 0.3; 0 for everywhere.")
]
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
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A folder written by stress, or the application's data.")
]

OPENED = ExitStack()  # what the command under way has opened, to be closed when it ends


class Sentences(TyperGroup):
    """A command group that tells a `PipelineError` in full, or a file that cannot be used, in one line."""

    def invoke(self, ctx: object) -> object:
        """Run the command; exit status 2 for either."""
        try:
            with OPENED:
                return super().invoke(ctx)  # type: ignore[arg-type]  # typer exports no name for its type
        except PipelineError as error:
            typer.echo(" ".join(error.in_full().split()), err=True)
            raise typer.Exit(2) from error
        except OSError as error:
            what = f"'{str(error.filename)[:80]}' cannot be used: {error.strerror}" if error.filename else str(error)
            typer.echo(f"{what}; give another file or folder.", err=True)
            raise typer.Exit(2) from error


def models_of(profile: str, device: str, classifier: str = "") -> LoadedModels:
    """Return the models of a profile, by name or file, with the classifier that was named; none is opened yet."""
    from pipeline.models.loader import load
    from pipeline.profiles import load_profile

    models = load(load_profile(profile), device)
    models.admit(classifier)
    return models


def settings_of(models: Models, **changes: object) -> Settings:
    """Return the profile's settings with what was given on the command line. Raises `SettingsError`."""
    wished = {name: value for name, value in changes.items() if value is not None and value != []}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in wished.items()}
    settings = replace(models.profile.settings, **given)  # type: ignore[arg-type]
    method_of(settings)  # before any model is opened
    return settings


def open_pictures(paths: Sequence[Path], models: Models) -> list[Image]:
    """Open all pictures before any model is asked, so that a bad one costs no waiting."""
    from pipeline.images import fit, open_image

    return [fit(open_image(path), models.profile.image_size) for path in paths]


def run_of(run: Path, database: str = "") -> Store:
    """Open a run's store, for as long as the command lasts. Raises `DataError` when there is none."""
    from pipeline.store.store import Store

    store = Store.existing(run, database)
    OPENED.callback(store.close)
    return store


@contextmanager
def progress(what: str) -> Iterator[Step]:
    """Draw a bar on standard error while it is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
