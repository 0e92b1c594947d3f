"""What all tests share: the shipped tiny profile, and no network."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before any library reads them.
os.environ |= {"HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "TOKENIZERS_PARALLELISM": "false"}

import gradio as gr
import pytest
from gradio.routes import App

from explorer import build_app
from explorer.desk import Desk
from pipeline.errors import PipelineError
from pipeline.models.loader import LoadedModels, load
from pipeline.profiles import load_profile
from pipeline.store.store import Store
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import Scene, sample
from pipeline.types import Models
from tests.browser import CHROMIUM, FLAGS, browser_is_missing, launched, visiting
from tests.postgres import Server, binaries
from tests.postgres import serving as serving_postgres

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
WORKERS = 2  # each opens models of its own, 2 to 3 GB
OWN = f"{re.escape(f'{ROOT}/')}|{re.escape(f'{Path.home()}/')}|{re.escape(tempfile.gettempdir())}/(pytest|explorer)-"
FOLDERS = re.compile(rf"(?<![\w.~])({OWN})")
SLOW = {"models", "browser", "postgres", "built", "server"}  # fixtures that open what takes seconds


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite runs in two processes that share the cores; what is asked for by name, in this one."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))  # read by their torch
    return WORKERS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what opens models, a browser or a server as slow; what is so for another reason says it itself."""
    for item in items:
        if isinstance(item, pytest.Function) and SLOW & set(item.fixturenames):
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def refuse_folders_in_messages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which any error, shown or not, had a message that names a folder of this computer."""
    found: list[str] = []
    begin = PipelineError.__init__

    def note(self: PipelineError, message: str, **data: Any) -> None:
        begin(self, message, **data)
        found.extend([message] if FOLDERS.search(message) else [])

    monkeypatch.setattr(PipelineError, "__init__", note)
    yield
    assert not found


@pytest.fixture(scope="session")
def models() -> LoadedModels:
    """The shipped tiny profile; parts are loaded on first use and shared by all tests."""
    return load(load_profile("tiny"), "cpu")


@pytest.fixture(scope="session")
def scenes() -> tuple[Scene, ...]:
    """Scenes that no model was trained on."""
    return sample(24, HELD_OUT_SEED + 7)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; where there is none tests are skipped with the reason, but fail in CI."""
    if reason := browser_is_missing():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server; where its package or driver is missing tests are skipped, but fail in CI."""
    programs = binaries()
    missing = "initdb is not there; install Debian's postgresql" if programs is None else ""
    if importlib.util.find_spec("psycopg") is None:
        missing = "psycopg is not there; pip install 'psycopg[binary]'"
    if missing or programs is None:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with serving_postgres(programs) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty data folder."""
    opened = Store(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def desk(models: Models, store: Store) -> Iterator[Desk]:
    """What all pages share."""
    opened = Desk(models=models, store=store)
    yield opened
    opened.close()


@pytest.fixture
def address(desk: Desk) -> Iterator[str]:
    """The application on a free port."""
    with launched(desk) as url:
        yield url


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The first page, opened."""
    with visiting(browser, address) as opened:
        opened.goto(address)
        opened.wait_for_selector("#examples .thumb")
        yield opened


@pytest.fixture
def built(desk: Desk) -> gr.Blocks:
    """The application with its routes, behind no port."""

    async def making() -> gr.Blocks:  # where no loop runs Gradio makes one for every page, and leaves it open
        made = build_app(desk)
        made.app = App.create_app(made, app_kwargs={})
        return made

    return asyncio.run(making())
