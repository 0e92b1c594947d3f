"""What all tests share: the shipped tiny profile, and no network."""

from __future__ import annotations

import os
import socket
from pathlib import Path

# Before any library reads them.
os.environ |= {"HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "TOKENIZERS_PARALLELISM": "false"}

import pytest

from pipeline.models import LoadedModels, load
from pipeline.profiles import load_profile
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import Scene, sample

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def models() -> LoadedModels:
    """The shipped tiny profile; parts are loaded on first use and shared by all tests."""
    return load(load_profile("tiny"), "cpu")


@pytest.fixture(scope="session")
def scenes() -> tuple[Scene, ...]:
    """Scenes that no model was trained on."""
    return sample(24, HELD_OUT_SEED + 7)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection that leaves this machine fails the test."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "local"
        assert host in {"127.0.0.1", "::1", "localhost", "local"}, f"a test tried to reach {host}"
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", local_only)
