"""The folders of the source with what each is for, as docs/development.md shows them.

`python -m tests.tree` writes them there; a test compares.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "development.md"
BEGIN, END = "<!-- tree: begin -->", "<!-- tree: end -->"


def tree() -> str:
    """Return one line for each folder and each module of the top, with the first line of its docstring."""
    lines = []
    for top in ("explorer", "pipeline"):
        for folder in sorted(path.parent for path in (ROOT / top).rglob("__init__.py")):
            lines.append(_line(folder.relative_to(ROOT).as_posix() + "/", folder / "__init__.py"))
            if folder.name == "pipeline":
                alone = sorted(path for path in folder.glob("*.py") if path.stem != "__init__")
                lines += [_line(path.relative_to(ROOT).as_posix(), path) for path in alone]
    return "\n".join(["```", *lines, "```"])


def _line(name: str, file: Path) -> str:
    said = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    return f"{name:<30}{said}"


def written(text: str) -> str:
    """Return the page with the tree of today between its marks."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{tree()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
