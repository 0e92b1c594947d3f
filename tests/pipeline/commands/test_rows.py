"""What the command line prints: tables for people, in which nothing steers the terminal."""

from pathlib import Path

from pipeline.commands.rows import _cell
from tests.commands import call


def test_tables_are_for_people(run: Path, red: Path, tmp_path: Path) -> None:
    for arguments in (
        ["caption", red],
        ["classify", red],
        ["perturb", "a wall on white [bold]x"],
        ["edit", red, "--edited-caption", "a red plane on yellow", "--out", tmp_path / "out"],
        ["weakness", run],
        ["reinforce", run, "--out", tmp_path / "new"],
    ):
        result = call(*arguments)
        assert result.exit_code == 0, result.output
        assert result.stdout.count("\n") > 3
        assert "{" not in result.stdout
    assert "[bold]x" in "".join(call("perturb", "[bold]x").stdout.split())


def test_nothing_in_a_cell_steers_the_terminal() -> None:
    assert _cell("a\x1b[31mb\u202e\n") == "a?[31mb??"
    assert (_cell(None), _cell(True), _cell(0.12345), _cell([])) == ("", "yes", "0.123", "")
