"""What all tests share: the shipped tiny profile, and no network."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Before any library reads them.
os.environ |= {"HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "TOKENIZERS_PARALLELISM": "false"}

import pytest

from explorer import build_app, serving
from explorer.desk import Desk
from pipeline.models.loader import LoadedModels, load
from pipeline.profiles import load_profile
from pipeline.store.store import Store
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import Scene, sample
from pipeline.types import Models
from tests.browser import CHROMIUM, FLAGS, SLOW, Faults, browser_is_missing
from tests.postgres import Server, binaries
from tests.postgres import serving as serving_postgres

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
WORKERS = 2  # each opens models of its own, 2 to 3 GB


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite runs in two processes that share the cores; what is asked for by name, in this one."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))  # read by their torch
    return WORKERS


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
def address(models: Models, store: Store) -> Iterator[str]:
    """The application on a free port."""
    desk = Desk(models=models, store=store)
    app = build_app(desk)
    # Gradio's own search for a port leaves a socket behind for every port that is taken.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _, url, _ = app.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, **serving())
    yield url.rstrip("/")
    app.close()
    desk.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The first page, opened; whatever the browser complains about fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(SLOW)
    opened, faults = context.new_page(), Faults(address)
    faults.watch(opened)
    opened.goto(address)
    opened.wait_for_selector("#examples .thumb")
    yield opened
    context.close()
    assert faults.found == []


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection that leaves this machine fails the test."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "local"
        assert host in {"127.0.0.1", "::1", "localhost", "local"}, f"a test tried to reach {host}"
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", local_only)
