"""A store of either kind: its records in a file, or on a server for those that ask for both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.store.store import Store


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty data folder; a module whose tests are `tests.stores.ON_BOTH` gets each kind in turn."""
    kind = getattr(request, "param", "sqlite")
    address = request.getfixturevalue("postgres").database() if kind == "postgresql" else ""
    opened = Store(tmp_path / "data", address)
    yield opened
    opened.close()
