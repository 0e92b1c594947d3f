"""What is imported is declared, what is declared is imported or says why, and all of it has a tested version."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.test_house import ROOT, SOURCES, imports

TESTS = sorted((ROOT / "tests").rglob("*.py"))
OF_APPLICATION, OF_TESTS = ROOT / "requirements.txt", ROOT / "tests" / "requirements.txt"
OWN = {"app", "explorer", "pipeline", "tests"}
BY_PLATFORM = ("nvidia-", "cuda-", "triton")  # what torch's wheels for CUDA bring, in versions of their own


def same(name: str) -> str:
    """Return a distribution's name as indexes compare it: "Open_CLIP_torch" -> "open-clip-torch"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(file: Path) -> dict[str, str]:
    """Return the names in a file of requirements, each with the comment behind it."""
    lines = re.findall(r"^([\w.-]+)[^#\n]*(?:# *(.*))?$", file.read_text(encoding="utf-8"), re.M)
    return {same(name): comment for name, comment in lines}


def imported(files: Iterable[Path]) -> dict[str, set[str]]:
    """Return every package of others that the files import, each with the distributions that may hold it."""
    packages = {name.split(".")[0] for path in files for name in imports(path)} - OWN - sys.stdlib_module_names
    holders = packages_distributions()
    return {name: {same(holder) for holder in holders.get(name, [name])} for name in packages}


@pytest.mark.parametrize(
    ("files", "requirements"), [(SOURCES, [OF_APPLICATION]), (TESTS, [OF_APPLICATION, OF_TESTS])], ids=["code", "tests"]
)
def test_what_is_imported_is_declared(files: list[Path], requirements: list[Path]) -> None:
    names = {name for file in requirements for name in declared(file)}
    assert not {package for package, holders in imported(files).items() if not holders & names}


@pytest.mark.parametrize(
    ("files", "requirements"), [(SOURCES, OF_APPLICATION), (TESTS, OF_TESTS)], ids=["code", "tests"]
)
def test_what_is_declared_is_imported_or_says_why(files: list[Path], requirements: Path) -> None:
    used = {holder for holders in imported(files).values() for holder in holders}
    names = declared(requirements)
    assert {name for name, reason in names.items() if not reason} == used & set(names)


def test_everything_declared_has_a_tested_version_for_every_platform() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)  # no address, no path, no build such as +cu130
    names = [same(line.split("==")[0]) for line in lines]
    assert len(names) == len(set(names))
    assert {*declared(OF_APPLICATION), *declared(OF_TESTS)} <= set(names)
    assert not [name for name in names if name.startswith(BY_PLATFORM)]
