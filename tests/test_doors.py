"""docs/security.md against the running application: every door is listed, and every listed one is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import typer

import app as program
from explorer import PAGES, UNLISTED
from explorer.middleware import open_routes
from pipeline.__main__ import app as commands
from pipeline.importing.archives import OPENED
from pipeline.importing.lists import FORMATS

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "security.md").read_text()


def listed(heading: str, table: int = 0) -> set[str]:
    """What stands in the first column of a section's table."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    tables = [part for part in re.split(r"\n(?!\|)", section) if part.count("\n|") > 1]
    rows = [line.split("|")[1] for line in tables[table].splitlines() if line.startswith("|")]
    return {name for row in rows[2:] for name in re.findall(r"`([^`]+)`", row)}


def test_every_endpoint_and_function_is_listed(built: gr.Blocks) -> None:
    found = [function for function in built.fns.values() if function.fn is not None]
    names = {
        is_public: {
            str(item.api_name) if is_public else f"{item.fn.__module__.rpartition('.')[2]}.{item.fn.__name__}"
            for item in found
            if (item.api_visibility == "public") is is_public
        }
        for is_public in (True, False)
    }
    assert names[True] == listed("Endpoints for programs")
    assert names[False] == listed("Functions of the pages")


def test_every_server_function_is_listed(built: gr.Blocks) -> None:
    found = {
        (block.elem_id, name)
        for block in built.blocks.values()
        for name in dir(block)
        if getattr(getattr(block, name, None), "_is_server_fn", False)
    }
    deck = {("deck", name) for name in listed("Server functions of the deck")}
    assert found == deck | {("label-grid", name) for name in listed("Server functions of the label grid")}


def test_every_kind_of_upload_is_listed(built: gr.Blocks) -> None:
    assert not any(getattr(block, "file_types", None) for block in built.blocks.values())  # each gets a true reason
    assert listed("Uploads") == {*OPENED, *FORMATS, "anything else"}


def paths(routes: object) -> Iterator[str]:
    """Of all routes, however they are nested, without a slash at the end."""
    for route in routes:  # type: ignore[attr-defined]
        if hasattr(route, "path"):
            yield route.path.rstrip("/") or "/"
        else:
            yield from paths(route.original_router.routes)


def test_every_route_is_listed_and_open_or_shut_as_it_says(built: gr.Blocks) -> None:
    there = set(paths(built.app.routes))
    is_open, shut = listed("Gradio's routes", 0), listed("Gradio's routes", 1)
    assert there - is_open - shut == set()
    assert is_open - there == set()
    passing = open_routes(page.ROUTE for page in (*PAGES, *UNLISTED))
    for route in is_open | shut:
        asked = re.sub(r"\{[^}]+\}", "7", route)
        assert bool(passing.fullmatch(asked)) is (route in is_open), route


def test_every_option_and_command_is_listed() -> None:
    options = {text for action in program.build_parser()._actions for text in action.option_strings}
    assert options - {"-h", "--help"} == listed("Command line", 0)
    assert set(typer.main.get_command(commands).commands) == listed("Command line", 1)  # type: ignore[attr-defined]
