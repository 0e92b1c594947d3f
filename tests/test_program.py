"""The documented script for programs, as it stands in docs/api.md, against the application."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import gradio as gr
import pytest

from explorer import api
from explorer.alerts import guard_handler
from explorer.desk import Desk
from pipeline.importing.folders import load_folder
from pipeline.reinforcement.runs import runs
from pipeline.store.store import Store
from pipeline.types import Models
from tests.browser import SLOW

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.usefixtures("browser")  # in whose event loop Gradio makes its locks; alone it leaves loops open
def test_the_documented_script_goes_round_the_whole_loop(address: str, store: Store, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    part = page.partition("<!-- client: begin -->")[2].partition("<!-- client: end -->")[0]
    script = part.strip().removeprefix("```python\n").removesuffix("```").replace("http://127.0.0.1:7860", address)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [decision.verdict for decision in store.log()] == ["keep"] * 4
    (frozen,) = store.sets()
    assert set(frozen.items) == set(store.decisions())
    archive = Path(re.findall(r"and here: (.*)$", done.stdout, re.M)[0])
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(tmp_path / "out")
    assert len(load_folder(tmp_path / "out" / "by-program-v001").pictures) == 4
    assert len(load_folder(store.root / "sets" / "by-program-v001").pictures) == 4
    job = re.findall(r"reinforced/(\S+)$", done.stdout, re.M)[0]
    end = time.monotonic() + SLOW / 1000
    while not runs(store.root / "reinforced") and time.monotonic() < end:
        time.sleep(0.1)
    assert [folder.name for folder in runs(store.root / "reinforced")] == [job]


@pytest.mark.parametrize(("name", "version"), [("../../etc", 0), ("/etc", 0), ("", 0), ("none", 3)])
def test_only_a_frozen_set_is_exported(models: Models, store: Store, name: str, version: int) -> None:
    with pytest.raises(gr.Error, match="There is no set") as caught:
        guard_handler(api.export)(Desk(models=models, store=store), name, version)
    assert str(store.root) not in str(caught.value)
    assert not (store.root / "sets").exists()
