"""The rules of the house: imports point down, every file says what it is for, nothing is named after nothing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.captions.factors import FACTORS
from pipeline.scores import SCORES
from pipeline.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([ROOT / "app.py", *(ROOT / "explorer").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py")])
WINGS = (
    ("errors",),
    ("settings", "scores", "types", "profiles", "images"),
    ("runtime", "importing", "statistics"),
    ("captions", "editing", "classifiers", "scoring"),  # the stages, which never import one another
    ("store",),
    ("curation",),
    ("analysis",),
    ("reinforcement",),
    ("workflow", "study"),
    ("tasks",),
    ("models",),
    ("commands",),
)
LEVELS = {wing: level for level, wings in enumerate(WINGS) for wing in wings}
CONTRACT = WINGS[0] + WINGS[1]


def module_name(path: Path) -> str:
    """`pipeline/editing/__init__.py` -> `pipeline.editing`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def wing_of(module: str) -> str:
    """Return the wing of `pipeline` that a module belongs to, or ""."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "pipeline" else ""


def test_every_module_of_the_pipeline_lies_in_a_wing() -> None:
    assert {wing_of(module_name(path)) for path in SOURCES} - {"", "__main__", "tiny"} == set(LEVELS)
    alone = {path.stem for path in (ROOT / "pipeline").glob("*.py")}
    assert alone == {"__init__", "__main__", "workflow", *CONTRACT}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    module, used = module_name(path), set(imports(path))
    wing = wing_of(module)
    if module.startswith("pipeline"):
        assert not {name for name in used if name.split(".")[0] in ("gradio", "explorer")}
    if wing in LEVELS:
        others = {wing_of(name) for name in used} & set(LEVELS) - {wing}
        above = {other for other in others if LEVELS[other] >= LEVELS[wing]}
        assert above <= (set(CONTRACT) if wing in CONTRACT else set())
    if not module.startswith("pipeline.tiny") and module != "pipeline.commands.reproduction":
        assert not {name for name in used if name.startswith("pipeline.tiny")}
    if not module.startswith(("pipeline.editing", "pipeline.tiny")):
        assert not {name for name in used if name.split(".")[0] == "diffusers"}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert path.stem not in {"utils", "helpers", "common", "misc", "core"}


def test_a_class_has_a_name_of_its_own() -> None:
    nodes = (node for path in SOURCES for node in ast.walk(ast.parse(path.read_text())))
    classes = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    assert [name for name, count in classes.items() if count > 1] == []


@pytest.mark.parametrize("path", [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))], ids=module_name)
def test_a_variable_has_the_name_of_a_thing(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    assert "one" not in names | {node.arg for node in nodes if isinstance(node, ast.arg)}


@pytest.mark.parametrize("command", [("app.py",), ("-m", "pipeline"), ("-m", "pipeline.tiny")], ids=" ".join)
def test_help_needs_no_model_library(command: tuple[str, ...]) -> None:
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in finished.stderr.splitlines()}
    assert not imported & {"torch", "gradio", "transformers", "diffusers", "timm", "open_clip"}


def test_the_environment_table_is_what_the_code_reads() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text()
    table = page.partition("<!-- environment: begin -->")[2].partition("<!-- environment")[0]
    code = "\n".join(path.read_text() for path in SOURCES)
    read = set(re.findall(r"""environ(?:\.get\(|\[)"(\w+)\"""", code)) | set(re.findall(r"\bHF_[A-Z_]*[A-Z]\b", code))
    read -= {"HF_HUB_CACHE"}  # a constant of huggingface_hub
    read |= {"GRADIO_ROOT_PATH", "MALLOC_ARENA_MAX"}  # which Gradio and glibc read themselves
    assert set(re.findall(r"^\| `(\w+)`", table, re.M)) == read
    set_by_image = re.findall(r"(\w+)=", " ".join(re.findall(r"^ENV (.*)$", (ROOT / "Dockerfile").read_text(), re.M)))
    assert set(set_by_image) <= read


def test_the_front_matter_is_that_of_a_gradio_space() -> None:
    front = (ROOT / "README.md").read_text().split("---")[1]
    told = dict(line.split(": ", 1) for line in front.strip().splitlines())
    assert (told["sdk"], (ROOT / told["app_file"]).is_file(), told["license"]) == ("gradio", True, "apache-2.0")
    pinned = re.search(r"gradio~=([\d.]+)", (ROOT / "requirements.txt").read_text())
    assert pinned
    assert told["sdk_version"].startswith(pinned[1])
    assert told["suggested_hardware"] == "cpu-basic"  # the tiny profile's


def test_direct_dependencies_are_pinned() -> None:
    lines = [
        line
        for name in ("requirements.txt", "tests/requirements.txt")
        for line in (ROOT / name).read_text().splitlines()
    ]
    wanted = [line for line in lines if line and not line.startswith(("#", "-r"))]
    assert all(re.search(r"~=|==|<", line) for line in wanted)


def test_no_file_is_too_large_for_a_space() -> None:
    shipped = [path for path in (ROOT / "assets").rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in shipped) < 10_000_000
    assert sum(path.stat().st_size for path in (ROOT / "assets" / "models").rglob("*") if path.is_file()) < 60_000_000


def test_profiles_are_read_by_nothing_but_their_names() -> None:
    for path in SOURCES:
        assert not re.search(r"""profile(\.name)?\s*==\s*["']""", path.read_text()), path
    for profile in (ROOT / "assets" / "profiles").glob("*.toml"):
        assert tomllib.loads(profile.read_text())["description"]


def test_every_factor_has_a_judge_of_its_grammar() -> None:
    """Without one any change in one place would pass as that factor."""
    assert all(factor.name == name and factor.judge for name, factor in FACTORS.items())


def test_the_bound_of_every_gate_is_a_setting_or_a_number() -> None:
    for score in SCORES.values():
        assert score.gate is None or score.gate.figure(Settings()) < 1
