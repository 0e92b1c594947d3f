"""What the tests of the pipeline share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data")
    yield store
    store.close()
