"""Call the command line as a terminal does: rows out, one sentence for what can be mended."""

import json

from typer.testing import CliRunner, Result

from pipeline.__main__ import app


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def rows(*arguments: object, status: int = 0) -> list[dict[str, object]]:
    result = call(*arguments, "--json")
    assert result.exit_code == status, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def refusal(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    return result.stderr
