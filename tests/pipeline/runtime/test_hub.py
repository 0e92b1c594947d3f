"""Models by hub id against a hub on this computer: what is fetched, and one sentence for each way of failing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import ModelError
from pipeline.runtime import hub
from pipeline.runtime.hub import hub_model, located
from tests.hub import hub as serving

pytestmark = pytest.mark.slow  # a process for every fetch

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = 3_000_000
Fetch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where owner/good, owner/gated, owner/slow and owner/pickled can be had."""
    root = tmp_path_factory.mktemp("hub")
    for name in ("good", "gated", "slow", "pickled"):
        (root / "owner" / name).mkdir(parents=True)
        (root / "owner" / name / "config.json").write_text("{}")
        (root / "owner" / name / "pytorch_model.bin").write_bytes(b"a pickle")
        if name != "pickled":
            (root / "owner" / name / "model.safetensors").write_bytes(os.urandom(WEIGHTS))
    with serving(root) as made:
        yield made


@pytest.fixture
def fetch(address: str, tmp_path: Path) -> Fetch:
    """Runs `python -m pipeline fetch` on a profile whose captioner is given."""

    def run(captioner: str, **environment: str) -> subprocess.CompletedProcess[str]:
        profile = tmp_path / "mine.toml"
        profile.write_text(f'base = "tiny"\ncaptioner = "{captioner}"\n')
        settings = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", **environment}
        return subprocess.run(
            [sys.executable, "-m", "pipeline", "fetch", "--profile", str(profile), "--json"],
            cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_what_a_profile_says_is_told_apart() -> None:
    commit = "b" * 40
    pinned = hub_model("captioner", f"owner/name@{commit}")
    assert pinned
    assert (pinned.repo, pinned.revision, pinned.is_pinned) == ("owner/name", commit, True)
    assert str(hub_model("classifier", "hf-hub:owner/na.me")) == "owner/na.me"
    clip = hub_model("clip", "ViT-B-32:owner/name@v1")
    assert clip
    assert (clip.architecture, clip.revision, clip.is_pinned) == ("ViT-B-32", "v1", False)
    for text in ("", "/a/folder", "resnet50.tv_in1k", "torchvision:resnet50", "a/b + c.safetensors + d.txt", "a/b/c"):
        assert hub_model("classifier", text) is None
    assert located("classifier", "resnet50.tv_in1k") == "resnet50.tv_in1k"


def test_fetching_takes_safetensors_only_and_no_whole_file_twice(fetch: Fetch, tmp_path: Path) -> None:
    done = fetch("owner/slow")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "hub" / "models--owner--slow" / "snapshots").iterdir()
    assert str(folder) in done.stdout
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors"}
    assert (folder / "model.safetensors").stat().st_size == WEIGHTS
    (folder / "config.json").unlink()
    before = (folder / "model.safetensors").stat().st_mtime_ns
    again = fetch("owner/slow")
    assert again.returncode == 0, again.stderr
    assert (folder / "config.json").read_text() == "{}"
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_what_was_fetched_is_opened_without_the_hub(fetch: Fetch) -> None:
    assert fetch("owner/good").returncode == 0
    assert fetch("owner/good", HF_HUB_OFFLINE="1").returncode == 0
    assert fetch("owner/good", HF_ENDPOINT="http://127.0.0.1:9").returncode == 0


def test_a_gated_model_is_fetched_with_a_token(fetch: Fetch) -> None:
    assert fetch("owner/gated", HF_TOKEN="good").returncode == 0


@pytest.mark.parametrize(
    ("captioner", "environment", "words"),
    [
        ("owner/good@nowhere", {}, "has no such revision on the hub; correct what stands behind the @"),
        (f"owner/good@{'c' * 40}", {}, "has no such revision on the hub; correct what stands behind the @"),
        ("owner/none", {}, "is not on the hub, or is private; correct its name"),
        ("owner/gated", {}, "is gated: sign in to the hub, accept its licence"),
        ("owner/pickled", {}, "has no .safetensors weights, and other formats can run code"),
        (
            "owner/good",
            {"HF_ENDPOINT": "http://127.0.0.1:9"},
            "the hub does not answer (ConnectError); check",
        ),
        ("owner/good", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids to fetch it; unset that variable"),
    ],
)
def test_each_failure_is_one_sentence(fetch: Fetch, captioner: str, environment: dict[str, str], words: str) -> None:
    refused = fetch(captioner, **environment)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert f"'{captioner}'" in refused.stderr
    assert words in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_full_disk_is_told_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hub_model("diffusion", "owner/good")
    assert model
    monkeypatch.setattr(hub, "free_bytes", lambda folder: hub.SPARE + 10)
    hub._check_disk(model, 10)
    with pytest.raises(
        ModelError, match=r"no room for 'owner/good' .* set HF_HOME to a folder on another disk"
    ) as caught:
        hub._check_disk(model, 11)
    assert caught.value.path == hub.cache_folder()
    full = OSError(28, "No space left on device")
    assert "no room for 'owner/good' (the disk is full)" in str(hub._refusal(model, full))
