"""README and docs/ tell the truth: links lead somewhere, commands and options exist, lists are whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from pipeline.__main__ import app as commands
from tests import replay_dockerfile
from tests.tree import PAGE, ROOT, written

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """What a link can lead to within a page, as GitHub names headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith(("http:", "https:")):
            place, _, anchor = link.partition("#")
            target = (page.parent / place).resolve() if place else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_the_readme_fits_one_page() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 8000


def test_pages_name_commands_that_exist() -> None:
    named = {name for page in PAGES for name in re.findall(r"python -m pipeline ([a-z][a-z-]+)", page.read_text())}
    assert named <= set(typer.main.get_command(commands).commands)  # type: ignore[attr-defined]
    modules = {name for page in PAGES for name in re.findall(r"python -m (tests[.\w]+)", page.read_text())}
    assert all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in modules)


def test_the_command_line_is_told_whole() -> None:
    told = text_of("command-line.md")
    command = typer.main.get_command(commands)
    for name, group in command.commands.items():  # type: ignore[attr-defined]
        part = told.partition(f"## `python -m pipeline {name}`\n")[2].partition("\n## `")[0]
        assert part, name
        for inner in getattr(group, "commands", {"": group}).values():
            for parameter in inner.params:
                assert any(f"`{flag}" in part or f", {flag}" in part for flag in parameter.opts if flag[0] == "-") or (
                    parameter.param_type_name == "argument"
                ), (name, parameter.name)


def test_the_table_of_endpoints_is_that_of_the_doors() -> None:
    doors = text_of("security.md").partition("\n## Endpoints for programs\n")[2].partition("\n## ")[0]
    rows = set(re.findall(r"^\| `(\w+)` \|", doors, re.M))
    assert rows
    assert set(re.findall(r"^\| `/(\w+)` \|", text_of("api.md"), re.M)) == rows


def test_the_tree_is_todays() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(PAGE.read_text(encoding="utf-8"))


def test_paths_that_pages_name_are_there() -> None:
    for page in PAGES:
        for path in re.findall(r"`((?:pipeline|explorer|tests|assets)/[\w./-]+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_the_examples_of_the_command_line_are_understood() -> None:
    """`--help` behind a command's words says that it exists; wrong options end with status 2."""
    block = text_of("command-line.md").partition("```bash\n")[2].partition("```")[0]
    for line in block.strip().splitlines():
        words = re.findall(r'"[^"]*"|\S+', line)[3:]
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *(word.strip('"') for word in words), "--help"],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, line


def test_the_documented_container_is_open_to_this_computer_alone() -> None:
    page, dockerfile = text_of("deployment.md"), (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert replay_dockerfile.settings(dockerfile, page)["EXPLORER_OPEN"] == "1"
    assert "docker run -p 127.0.0.1:" in page
