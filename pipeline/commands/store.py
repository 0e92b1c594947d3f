"""The commands `python -m pipeline store check|backup|restore|gc`: the care of a data folder, told in rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.rows import show
from pipeline.commands.terminal import Address, AsJson, Sentences, run_of

if TYPE_CHECKING:
    from pipeline.store.maintenance import Finding

app = typer.Typer(cls=Sentences, no_args_is_help=True, help="Check, copy or tidy a data folder.")
Data = Annotated[Path, typer.Option("--data", envvar="EXPLORER_DATA", help="The data folder.")]
HERE = Path("data")


@app.command()
def check(data: Data = HERE, database: Address = "", as_json: AsJson = False) -> None:
    """Tell whether every record and picture is there and whole; status 1 when something is lost or damaged."""
    from pipeline.store.maintenance import check as findings

    found = tuple(findings(run_of(data, database)))
    show(map(_row, found), as_json) if found or as_json else typer.echo("Everything is there and whole.", err=True)
    raise typer.Exit(int(any(finding.is_fault for finding in found)))


@app.command()
def backup(
    out: Annotated[Path, typer.Option(help="A new folder.")],
    data: Data = HERE,
    database: Address = "",
    as_json: AsJson = False,
) -> None:
    """Copy everything as it is now into a new data folder, while the application may run."""
    from pipeline.store.maintenance import backup as copy

    show([{"backup": str(out), "pictures": copy(run_of(data, database), out)}], as_json)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="A folder that backup has written.")],
    data: Data = HERE,
    database: Address = "",
    as_json: AsJson = False,
) -> None:
    """Copy a backup into a new data folder, its records into an empty PostgreSQL database if one is named."""
    from pipeline.store.maintenance import backup as copy

    pictures = copy(run_of(source, ""), data, database)
    show([{"restored": str(data), "pictures": pictures}], as_json)


@app.command()
def gc(
    data: Data = HERE,
    database: Address = "",
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Really remove them.")] = False,
    hours: Annotated[float, typer.Option(min=0.0, help="Leave what was touched since.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """List the files that nothing needs: pictures without a row, caches, leftovers; remove them with --delete."""
    from pipeline.store.maintenance import HOUR
    from pipeline.store.maintenance import gc as sweep

    found = sweep(run_of(data, database), delete=delete, older=hours * HOUR)
    show(map(_row, found), as_json) if found or as_json else None
    size = sum(finding.size for finding in found) / 1e6
    ending = "removed." if delete else "can go; add --delete to remove them."
    typer.echo(f"{len(found)} files, {size:.1f} MB, {ending}", err=True)


def _row(finding: Finding) -> dict[str, object]:
    return {"what": finding.kind, "where": finding.where, "size": finding.size, "detail": finding.detail}
