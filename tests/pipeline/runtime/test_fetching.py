"""A model on its way from a hub: told how far it is, ended at once, and not more of it than was told."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import Cancelled, ModelError
from pipeline.runtime.fetching import MB, fetch_apart
from pipeline.runtime.hub import HubModel, cached
from tests.hub import COMMIT, SILENT, hub

SIZE = 5_000_000


@pytest.fixture
def fetchable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache of a hub with owner/good, owner/silent and owner/lying."""
    for name in ("good", "silent", "lying"):
        folder = tmp_path / "hub" / "owner" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(os.urandom(SIZE))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with hub(tmp_path / "hub") as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield tmp_path / "home" / "hub"


def model(name: str) -> HubModel:
    return HubModel(role="classifier", repo=f"owner/{name}", revision=COMMIT)


def test_it_tells_how_far_it_is_and_arrives(fetchable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, int]] = []
    fetch_apart(model("good"), SIZE, lambda done, total: steps.append((done, total)))
    assert steps[-1] == (SIZE // MB, SIZE // MB)
    assert steps == sorted(steps)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(fetchable))
    folder = cached(model("good"))
    assert folder is not None
    assert (folder / "model.safetensors").stat().st_size == SIZE


def test_a_cancel_ends_it_at_once_though_the_hub_is_silent(fetchable: Path) -> None:
    def step(done: int, total: int) -> None:
        if (fetchable.parents[1] / "hub" / "owner" / SILENT).exists():
            raise Cancelled("Enough.")

    with pytest.raises(Cancelled):
        fetch_apart(model("silent"), SIZE, step)
    assert not multiprocessing.active_children()


def test_more_than_was_told_is_not_taken(fetchable: Path) -> None:
    with pytest.raises(ModelError, match=r"More of 'owner/lying@a+' arrived than its hub had told"):
        fetch_apart(model("lying"), SIZE // 1000, lambda done, total: None)


def test_a_fault_is_told_in_its_sentence(fetchable: Path) -> None:
    with pytest.raises(ModelError, match="is not on the hub, or is private"):
        fetch_apart(model("none"), SIZE, lambda done, total: None)
